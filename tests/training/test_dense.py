"""Every dense config at small size: trains two steps and evaluates, like any detector."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("detectron2")

from bccd_d2.config.load import load_config
from bccd_d2.training.run import evaluate, prepare, train

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
DENSE = [p for p in sorted(CONFIGS.glob("dense/*.yaml")) if "DenseSegmentor" in p.read_text()]
SMALL = ["MODEL.DEVICE", "cpu", "MODEL.VIT.WEIGHTS", "", "MODEL.VIT.DIM", "32",
         "MODEL.VIT.HEADS", "2", "MODEL.VIT.DEPTH", "2", "MODEL.VIT.GLOBAL_BLOCKS", "()",
         "MODEL.PYRAMID.CHANNELS", "16", "MODEL.UNET.CHANNELS", "(8, 16)",
         "MODEL.DENSE.CHANNELS", "8", "INPUT.CROP_SIZE", "96", "SOLVER.IMS_PER_BATCH", "2",
         "SOLVER.EPOCHS", "0", "SOLVER.MAX_ITER", "2", "SOLVER.WARMUP_ITERS", "1",
         "SOLVER.PATIENCE", "0", "MODEL.VIT.FROZEN_EPOCHS", "0", "TEST.EVAL_EPOCHS", "0",
         "TEST.LOSS_BATCHES", "1", "DATALOADER.NUM_WORKERS", "0"]  # fmt: skip


def small(path: Path, dataset: Path, folder: Path, *options: str) -> Any:
    where = ["DATASETS.ROOT", str(dataset), "OUTPUT_DIR", str(folder)]
    return prepare(load_config(path, [*SMALL, *where, *options]))


def test_there_are_dense_configs() -> None:
    names = {path.stem for path in DENSE}
    assert {"uni_watershed", "dinobloom_semantic", "dinov2_boundary"} <= names
    assert {"cpu_tiny_watershed", "cpu_tiny_flows"} <= names


@pytest.mark.parametrize("path", DENSE, ids=[path.stem for path in DENSE])
def test_it_trains_and_evaluates(path: Path, tiny_dataset: Path, tmp_path: Path) -> None:
    config = small(path, tiny_dataset, tmp_path)
    scores = train(config)
    assert {"segm", "instances", "pixels"} <= set(scores)
    line = json.loads((tmp_path / "metrics.json").read_text().splitlines()[-1])
    for head in config.MODEL.DENSE.HEADS:
        assert {f"loss_{head}", f"validation/loss_{head}"} <= set(line)
    if not config.MODEL.VIT.FROZEN:
        assert line["gradient_norm"] > 0
    tested = evaluate(config)
    assert 0 <= tested["segm"]["AP"] <= 1
    saved = torch.load(tmp_path / "model_best.pth", weights_only=True)
    assert saved["operating_point"]["origin"] == "bccd_val at iteration 2"


# Config: timm's name of what its authors trained, the input's side, and how their file wraps it.
PUBLISHED = {
    "uni_watershed": ("vit_large_patch16_224", 224, lambda s: s),
    "dinobloom_semantic": (
        "vit_small_patch14_dinov2",
        224,
        lambda s: {
            "teacher": {f"backbone.{k}": v for k, v in s.items()}
            | {"backbone.mask_token": torch.zeros(1, 32), "dino_head.mlp.0.weight": torch.ones(4)}
        },
    ),
    "dinov2_boundary": (
        "vit_large_patch14_dinov2", 518, lambda s: s | {"mask_token": torch.zeros(1, 32)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED)
def test_it_reads_what_its_backbones_authors_publish(
    name: str, tiny_dataset: Path, tmp_path: Path
) -> None:
    import timm

    from bccd_d2.modeling.build import dense_parts

    architecture, side, wrap = PUBLISHED[name]
    size = {"embed_dim": 32, "depth": 2, "num_heads": 2, "init_values": 1e-5}
    theirs = timm.create_model(architecture, img_size=side, num_classes=0, **size).state_dict()
    path = tmp_path / "weights.pth"
    torch.save(wrap(dict(theirs)), path)
    config = small(CONFIGS / f"{name}.yaml", tiny_dataset, tmp_path, "MODEL.VIT.WEIGHTS", str(path))
    backbone = dense_parts(config)["backbone"]
    ours = getattr(backbone, "net", backbone).vit.state_dict()
    assert set(ours) == set(theirs)
    for key, tensor in ours.items():
        if tensor.shape == theirs[key].shape:
            torch.testing.assert_close(tensor, theirs[key], rtol=0, atol=0)
        else:
            assert key == "patch_embed.proj.weight" and tensor.shape[-1] == 16


def test_the_backbone_stays_frozen_as_long_as_the_config_says(
    tiny_dataset: Path, tmp_path: Path
) -> None:
    """UNI's five epochs, here two iterations of three: the heads learn, then the ViT too."""
    from detectron2.engine import HookBase

    seen = []

    class Watch(HookBase):
        def before_step(self) -> None:
            vit = self.trainer.model.backbone.vit
            seen.append(vit.blocks[0].mlp.fc1.weight.detach().clone())

        def after_train(self) -> None:
            self.before_step()

    options = ["MODEL.VIT.FROZEN_ITERS", "2", "SOLVER.MAX_ITER", "3"]
    config = small(CONFIGS / "uni_watershed.yaml", tiny_dataset, tmp_path, *options)
    train(config, extra_hooks=[Watch()])
    assert torch.equal(seen[0], seen[1]) and torch.equal(seen[1], seen[2])
    assert not torch.equal(seen[2], seen[3])


def test_thresholds_are_tuned_on_validation_and_printed_as_keys(
    tiny_dataset: Path, tmp_path: Path, capsys
) -> None:
    import tune_dense

    path = CONFIGS / "dinov2_boundary.yaml"
    config = small(path, tiny_dataset, tmp_path)
    train(config)
    options = [*SMALL, "DATASETS.ROOT", str(tiny_dataset), "OUTPUT_DIR", str(tmp_path)]
    capsys.readouterr()
    assert tune_dense.main(["--config-file", str(path), "--criterion", "F1", *options]) == 0
    score, keys = capsys.readouterr().out.splitlines()[-2:]
    assert score.startswith("AP ") and "count error" in score
    tuned = small(path, tiny_dataset, tmp_path, *keys.split())
    assert tuned.MODEL.DENSE.DECODE.METHOD == "boundary"
    detector = str(CONFIGS / "otsu_watershed.yaml")
    given = ["--config-file", detector, "DATASETS.ROOT", str(tiny_dataset)]
    assert tune_dense.main([*given, "MODEL.DEVICE", "cpu"]) == 2
    assert "gives no maps" in capsys.readouterr().err


def test_the_search_finds_the_threshold_that_is_right(tiny_dataset: Path, tmp_path: Path) -> None:
    """A model whose background is at .6 needs a threshold above that."""
    from torch import nn

    from bccd_d2.experiments.dense_tuning import DenseSearch
    from bccd_d2.io.label_images import read_label_file
    from bccd_d2.masks.decode import DecodeOptions
    from bccd_d2.modeling.dense.answer import AnswerOptions
    from bccd_d2.training import loaders

    config = small(CONFIGS / "dinov2_boundary.yaml", tiny_dataset, tmp_path,
                   "INPUT.IMAGE_SCALE", "1.0")  # fmt: skip
    records = loaders.records(["bccd_val"])
    pictures = iter([read_label_file(record["label_file"]) for record in records])

    class Told(nn.Module):
        answer = AnswerOptions(DecodeOptions(method="threshold"))

        def maps(self, image):
            cell = torch.from_numpy(next(pictures) > 0).float()
            return {"cell": (0.6 + 0.3 * cell)[None]}

    search = DenseSearch(config, Told(), ["bccd_val"])
    trials = search.tune({"cell_threshold": (0.5, 0.7)}, criterion="count_error")
    assert [t.options.cell_threshold for t in trials] == [0.7, 0.5]
    assert trials[0].ap > trials[1].ap and trials[0].f1 > trials[1].f1
    with pytest.raises(ValueError, match="no options"):
        search.tune({"threshold": (0.5,)})


def test_detectron2s_resnet_with_fpn_is_a_backbone_too(tiny_dataset: Path, tmp_path: Path) -> None:
    options = ["MODEL.BACKBONE.NAME", "build_resnet_fpn_backbone", "MODEL.RESNETS.DEPTH", "18",
               "MODEL.RESNETS.RES2_OUT_CHANNELS", "64", "MODEL.RESNETS.OUT_FEATURES",
               "('res2', 'res3', 'res4', 'res5')", "MODEL.FPN.IN_FEATURES",
               "('res2', 'res3', 'res4', 'res5')", "MODEL.FPN.OUT_CHANNELS", "16",
               "MODEL.DENSE.IN_FEATURES", "('p2', 'p3', 'p4', 'p5')"]  # fmt: skip
    config = small(CONFIGS / "dinov2_boundary.yaml", tiny_dataset, tmp_path, *options)
    assert 0 <= train(config)["segm"]["AP"] <= 1


def test_multiply_adds_of_a_dense_model_are_counted() -> None:
    from bccd_d2.experiments.cost import gflops
    from bccd_d2.modeling.build import build_model

    given = ["MODEL.UNET.CHANNELS", "(8, 16)", "MODEL.DENSE.CHANNELS", "4", "MODEL.DEVICE", "cpu"]
    model = build_model(load_config(CONFIGS / "cpu_tiny_flows.yaml", given))
    counts = [
        gflops(model, [{"image": torch.zeros(3, side, side, dtype=torch.uint8)}])
        for side in (32, 64)
    ]
    assert counts[0] > 32 * 32 * 8e-9 and counts[1] == pytest.approx(4 * counts[0], rel=0.01)


@pytest.mark.graph
def test_a_model_file_of_a_dense_model_predicts_as_its_run(
    tiny_dataset: Path, tmp_path: Path
) -> None:
    from bccd_d2 import load_pretrained
    from bccd_d2.models.export import export_run
    from bccd_d2.synth.smear import draw_smear

    train(small(CONFIGS / "cpu_tiny_watershed.yaml", tiny_dataset, tmp_path / "run"))
    export_run(tmp_path / "run", tmp_path / "out", "dense")
    assert "residual U-Net" in next((tmp_path / "out").glob("*.md")).read_text()
    image = draw_smear(seed=3, size=(160, 220)).image
    first, second = (
        load_pretrained(path).predict(image, 0.0)
        for path in (tmp_path / "run", tmp_path / "out" / "dense.safetensors")
    )
    assert first.image_size == (160, 220)
    assert [r["counts"] for r in first.rles] == [r["counts"] for r in second.rles]
