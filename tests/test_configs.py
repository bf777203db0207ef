"""Every shipped config: short, documented, normalised as its weights want, and buildable."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("detectron2")

from detectron2.modeling.anchor_generator import build_anchor_generator

from bccd_d2.config.files import CONFIGS as SHIPPED
from bccd_d2.config.files import find_config
from bccd_d2.config.load import finalize, load_config
from bccd_d2.modeling.backbones.presets import get_preset
from bccd_d2.modeling.build import build_model

CONFIGS = [find_config(name) for name in SHIPPED.names()]
IDS = [path.stem for path in CONFIGS]
OFFLINE = ["MODEL.DEVICE", "cpu", "MODEL.VIT.WEIGHTS", "", "MODEL.RESNETS.WEIGHTS", ""]


def test_there_are_configs() -> None:
    backbones = "uni uni2h vitb dinov2s dinov2l dinobloom_s dinobloom_b cpu_tiny".split()
    backbones += ["r50fpn", "r50fpn_tuned", "r50fpn_scratch"]
    assert {f"{name}_maskrcnn" for name in backbones} <= set(IDS)


@pytest.mark.parametrize("path", CONFIGS, ids=IDS)
def test_a_leaf_is_short_and_opens_with_its_command_and_result(path: Path) -> None:
    text = path.read_text()
    head = "".join(line for line in text.splitlines(True) if line.startswith("#"))
    assert len(text.splitlines()) <= 30 and f"--config-file {path.stem}" in head
    assert "result" in head.lower()


@pytest.mark.parametrize("path", CONFIGS, ids=IDS)
def test_pixels_are_normalised_as_the_weights_were_trained(path: Path) -> None:
    config = load_config(path)
    if not config.MODEL.VIT.WEIGHTS:
        return
    preset = get_preset(config.MODEL.VIT.PRESET)
    assert config.MODEL.PIXEL_MEAN == pytest.approx([255 * m for m in preset.mean], abs=0.01)
    assert config.MODEL.PIXEL_STD == pytest.approx([255 * s for s in preset.std], abs=0.01)
    assert config.MODEL.VIT.WEIGHTS == preset.hub


@pytest.mark.parametrize("path", CONFIGS, ids=IDS)
def test_tiled_positions_fit_the_window(path: Path) -> None:
    vit = load_config(path).MODEL.VIT
    if vit.POSITION == "tile":
        assert vit.WINDOW_SIZE == (vit.GRID or get_preset(vit.PRESET).grid)


@pytest.mark.parametrize("path", CONFIGS, ids=IDS)
def test_the_model_builds_on_the_cpu(path: Path) -> None:
    config = finalize(load_config(path, OFFLINE), train_images=100)
    model = build_model(config)
    if config.MODEL.META_ARCHITECTURE == "OtsuWatershed":
        assert not list(model.parameters())
        return
    if config.MODEL.META_ARCHITECTURE == "DenseSegmentor":
        assert set(model.heads.names) == set(config.MODEL.DENSE.HEADS)
        assert set(model.answer.decode.needs) <= set(model.heads.names)
        return
    shapes = model.backbone.output_shape()
    used = [shapes[name] for name in config.MODEL.RPN.IN_FEATURES]
    generator = build_anchor_generator(config, used)
    assert generator.num_cell_anchors and generator.strides == [s.stride for s in used]
    names = {name for name, _ in model.named_parameters()}
    if config.MODEL.BACKBONE.NAME == "build_resnet_pyramid":
        assert "backbone.bottom_up.res5.2.conv3.weight" in names
        return
    depth = len(model.backbone.net.vit.blocks)
    assert f"backbone.net.vit.blocks.{depth - 1}.mlp.fc2.weight" in names


SIZES = {  # and whose weights: all that a user with UNI exchanges
    "MODEL.VIT.PRESET", "MODEL.VIT.WEIGHTS", "MODEL.VIT.WINDOW_SIZE", "MODEL.VIT.POSITION",
    "MODEL.VIT.CACHE_MB", "MODEL.PIXEL_MEAN", "MODEL.PIXEL_STD", "MODEL.PYRAMID.CHANNELS",
    "MODEL.PYRAMID.STEM", "MODEL.ANCHOR_GENERATOR.SIZES", "MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS",
    "MODEL.RPN.PRE_NMS_TOPK_TRAIN", "MODEL.RPN.POST_NMS_TOPK_TRAIN", "MODEL.ROI_BOX_HEAD.FC_DIM",
    "MODEL.ROI_MASK_HEAD.CONV_DIM", "INPUT.IMAGE_SCALE", "INPUT.CROP_SIZE",
    "DATALOADER.NUM_WORKERS", "DATALOADER.CACHE_MB", "SOLVER.IMS_PER_BATCH", "SOLVER.MAX_ITER",
    "SOLVER.CHECKPOINT_PERIOD", "TEST.EVAL_PERIOD", "TEST.CLEANUP.BORDER_AREA", "OUTPUT_DIR",
}  # fmt: skip


@pytest.mark.parametrize(
    "name", "uni uni2h vitb dinobloom_s dinobloom_b dinov2l dinov2s".split()
)
def test_every_pretrained_detector_follows_the_recipe_that_was_measured(name: str) -> None:
    measured = _flat(load_config(find_config("dinov2s_cpu_maskrcnn")))
    given = _flat(load_config(find_config(f"{name}_maskrcnn")))
    assert {key for key in given if given[key] != measured[key]} <= SIZES
    assert given["MODEL.VIT.FROZEN"] and given["MODEL.PYRAMID.UNET"]


def _flat(node, start: str = "") -> dict:
    """Values by their whole key."""
    if not isinstance(node, dict):
        return {start[:-1]: node}
    return {k: v for name, one in node.items() for k, v in _flat(one, f"{start}{name}.").items()}
