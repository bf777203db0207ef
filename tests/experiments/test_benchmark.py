"""The comparison and the baseline's tuning end to end, on eight smears."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("detectron2")

OTSU = Path(__file__).resolve().parents[2] / "configs" / "otsu_watershed.yaml"


def test_truth_as_labels_beats_the_baseline(tiny_dataset: Path, tmp_path: Path, capsys) -> None:
    """Another tool's label images that equal the truth score 1; the baseline scores less."""
    import compare

    labels = tmp_path / "perfect"
    labels.mkdir()
    for path in (tiny_dataset / "labels" / "test").glob("*.png"):
        (labels / path.name).write_bytes(path.read_bytes())
    out = tmp_path / "out"
    call = ["--dataset", str(tiny_dataset), "--out", str(out), "--model", f"otsu={OTSU}"]
    call += ["--labels", f"perfect={labels}", "--reference", "perfect", "--error-maps", "1"]
    assert compare.main([*call, "MODEL.DEVICE", "cpu"]) == 0
    assert "perfect" in capsys.readouterr().out
    texts = {path: path.read_text() for path in out.rglob("*.csv")}
    (table,) = [path for path, text in texts.items() if "otsu" in text and "AP75" in text]
    with table.open(newline="") as stream:
        rows = {next(iter(row.values())): row for row in csv.DictReader(stream)}
    assert float(rows["perfect"]["AP"]) == pytest.approx(1.0)
    assert 0.0 < float(rows["otsu"]["AP"]) < 1.0
    assert list(out.rglob("*.png"))


def test_scores_of_labels_rank_them_and_a_threshold_drops_the_weak(
    tiny_dataset: Path, tmp_path: Path, capsys
) -> None:
    """Truth plus false cells of low score: AP as of the truth, the count right at a threshold."""
    import compare

    from bccd_d2.io.label_images import read_label_file, write_label_map

    labels, rows = tmp_path / "scored", ["image,label,score"]
    labels.mkdir()
    for path in (tiny_dataset / "labels" / "test").glob("*.png"):
        label_map = read_label_file(path)
        true, free = int(label_map.max()), np.argwhere(label_map == 0)[:200]
        label_map[tuple(free.T)] = true + 1
        write_label_map(labels / path.name, label_map)
        rows += [f"{path.stem},{k},{0.9 if k <= true else 0.1}" for k in range(1, true + 2)]
    (labels / "scores.csv").write_text("\n".join(rows) + "\n")
    out = tmp_path / "out"
    call = ["--dataset", str(tiny_dataset), "--out", str(out), "--error-maps", "0"]
    call += ["--labels", f"all={labels}", "--labels", f"strong={labels},0.5", "MODEL.DEVICE", "cpu"]
    assert compare.main(call) == 0
    with (out / "comparison.csv").open(newline="") as stream:
        rows = {row["method"]: row for row in csv.DictReader(stream)}
    assert float(rows["all"]["AP"]) == float(rows["strong"]["AP"]) == pytest.approx(1.0)
    assert float(rows["all"]["count error"]) == 1 and float(rows["strong"]["count error"]) == 0
    capsys.readouterr()
    (labels / "scores.csv").write_text("image,label,score\n")
    assert compare.main(call[:6] + ["--labels", f"all={labels}"]) == 2
    assert "but scores.csv 0 for it" in capsys.readouterr().err


def test_mistakes_are_named(tiny_dataset: Path, tmp_path: Path, capsys) -> None:
    import compare

    base = ["--dataset", str(tiny_dataset), "--out", str(tmp_path / "out")]
    for call, message in [
        (["--labels", f"a={tmp_path / 'none'}"], "none"),
        (["--labels", f"a={tmp_path},0.5"], "has no scores.csv"),
        (["--labels", f"a={tmp_path},half"], "is no number"),
        (["--model", f"otsu={OTSU}", "--reference", "b"], "--reference"),
        (["--model", "a=nothing.yaml"], "nothing.yaml"),
    ]:
        assert compare.main([*base, *call]) == 2
        assert message in capsys.readouterr().err


def test_tuning_prints_keys_that_the_config_takes(tiny_dataset: Path, capsys) -> None:
    import tune_otsu

    from bccd_d2.config.load import load_config

    call = ["--config-file", str(OTSU), "--dataset", str(tiny_dataset), "--images", "2"]
    assert tune_otsu.main([*call, "--rounds", "1"]) == 0
    keys = capsys.readouterr().out.splitlines()[-1].split()
    assert keys[0].startswith("MODEL.OTSU.") and len(keys) % 2 == 0
    load_config(OTSU, keys)


def test_eval_only_scores_the_baseline(tiny_dataset: Path, tmp_path: Path) -> None:
    import train_net

    options = ["DATASETS.ROOT", str(tiny_dataset), "OUTPUT_DIR", str(tmp_path)]
    assert train_net.main(["--config-file", str(OTSU), "--eval-only", *options]) == 0
    scores = json.loads((tmp_path / "evaluation" / "metrics.json").read_text())["scores"]
    assert np.isfinite(scores["segm"]["AP"]) and scores["pixels"]["Dice"] > 0.5
    assert train_net.main(["--config-file", str(OTSU), *options]) == 2


def test_a_budget_trains_what_has_no_weights(
    tiny_dataset: Path, tmp_path: Path, small_options: list[str], capsys
) -> None:
    import compare

    from bccd_d2.experiments import benchmark

    tiny = OTSU.with_name("cpu_tiny_maskrcnn.yaml")
    out = tmp_path / "out"
    call = ["--out", str(out), "--error-maps", "0", "--model", f"tiny={tiny}"]
    call += ["--model", f"otsu={OTSU}"]
    options = [*small_options, "SOLVER.CHECKPOINT_PERIOD", "1000"]
    assert compare.main([*call, *options]) == 2
    assert "--train-budget" in capsys.readouterr().err
    assert compare.main([*call, "--train-budget", "0.01", *options]) == 0
    with (out / "comparison.csv").open(newline="") as stream:
        rows = {row["method"]: row for row in csv.DictReader(stream)}
    assert float(rows["tiny"]["training (min)"]) == pytest.approx(0.01, rel=0.5)
    assert rows["otsu"]["training (min)"] == "" and int(rows["tiny"]["steps"]) > 1
    final = out / "runs" / "tiny" / "model_final.pth"
    before = final.stat().st_mtime_ns
    tiny_alone = [benchmark.Model("tiny", str(tiny))]
    (again,) = benchmark.run_benchmark(tiny_alone, out, options)  # the run in OUT is used again
    assert final.stat().st_mtime_ns == before
    assert str(again.scores["AP"]) == rows["tiny"]["AP"] and again.cost["steps"] > 1
