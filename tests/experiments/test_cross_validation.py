"""Cross-validation end to end on two folds of eight smears, and again without any training."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("detectron2")


@pytest.fixture(scope="module")
def folded(tiny_smears: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from bccd_d2.data.convert.run import ConvertOptions, convert

    out = tmp_path_factory.mktemp("folds") / "coco"
    convert(root=tiny_smears, out=out, options=ConvertOptions(workers=1, folds=2))
    return out


def test_two_folds(
    folded: Path, small_options: list[str], repo_root: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    import cross_validate

    from bccd_d2.experiments import run_cache as reuse

    calls = []
    launch = reuse.launch
    monkeypatch.setattr(reuse, "launch", lambda *a: calls.append(a) or launch(*a))
    config = str(repo_root / "configs" / "cpu_tiny_maskrcnn.yaml")
    call = ["--config-file", config, "--ensemble", *small_options, "DATASETS.ROOT", str(folded),
            "OUTPUT_DIR", str(tmp_path), "SOLVER.MAX_ITER", "1",
            "TEST.DETECTIONS_PER_IMAGE", "20"]  # fmt: skip
    assert cross_validate.main(call) == 0
    assert len(calls) == 4  # two trainings, two evaluations
    summary = json.loads((tmp_path / "cross_validation.json").read_text())
    assert len(summary["folds"]) == 2
    sweep = summary["sweep"]
    assert sweep["chosen"] == summary["score_threshold"] in sweep["thresholds"]
    assert summary["validation"]["segm"]["AP"]["values"] == [
        fold["scores"]["segm"]["AP"] for fold in summary["folds"]
    ]
    assert {"segm", "instances", "interior", "pixels"} == set(summary["test_ensemble"])
    assert not list(tmp_path.rglob("model_best.pth"))
    records = [json.loads((tmp_path / f"fold{k}" / "evaluation" / f"bccd_fold{k}_val" /
                           "per_image.csv").read_text().splitlines()[1].split(",")[0])
               for k in (0, 1)]  # fmt: skip
    assert records[0] != records[1]
    assert cross_validate.main(call) == 0
    assert len(calls) == 4
    assert "| segm/AP |" in capsys.readouterr().out


def test_a_dataset_without_folds_is_refused(
    small_options: list[str], repo_root: Path, tmp_path: Path, capsys
) -> None:
    import cross_validate

    config = str(repo_root / "configs" / "cpu_tiny_maskrcnn.yaml")
    call = ["--config-file", config, *small_options, "OUTPUT_DIR", str(tmp_path)]
    assert cross_validate.main(call) == 2
    assert "--folds" in capsys.readouterr().err
