"""The ablation: its plan, its arithmetic by hand, and the tools end to end on eight smears."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest

pytest.importorskip("detectron2")

import torch

from bccd_d2.config.files import SWITCHES
from bccd_d2.experiments import ablation
from bccd_d2.experiments.ablation import load_switches, plan, summarise

from ..small import SMALL_DETECTOR

REPO = Path(__file__).resolve().parents[2]
CONFIG = REPO / "configs" / "cpu_tiny_maskrcnn.yaml"
SMALL = [*SMALL_DETECTOR, "INPUT.CROP_SIZE", "96", "SOLVER.IMS_PER_BATCH", "2",
         "SOLVER.WARMUP_ITERS", "0",
         "TEST.LOSS_BATCHES", "0"]  # fmt: skip


def test_every_shipped_switch_can_be_planned(tmp_path):
    assert SWITCHES.names() == ["data", "detector"]
    for file in SWITCHES.names():
        switches = load_switches(file)
        runs = plan(CONFIG, switches, [0, 1], tmp_path)
        assert len(runs) == 2 * (len(switches) + 1)
        base = runs[0].config
        assert [r.switch for r in runs[: len(runs) // 2]] == ["base", *(s.name for s in switches)]
        for run in runs:
            assert run.config.TEST.EVAL_PERIOD == 0 and run.config.SEED == run.seed
            assert run.config.SOLVER == base.SOLVER
            changed = {k for k in ("INPUT", "MODEL", "TEST") if run.config[k] != base[k]}
            allowed = {"INPUT"} if file == "data" else {"MODEL", "TEST"}
            assert changed <= allowed and bool(changed) == (run.switch != "base")
        assert len({r.config.OUTPUT_DIR for r in runs}) == len(runs)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("base: {INPUT.CLAHE: 1}", "other than 'base'"),
        ("[]", "must be an object"),
        ("a: 3", "a must be"),
        ("a: {INPUT.CLAHEE: 3}", "INPUT.CLAHE"),
        ("a: {INPUT.EXTRA.ELASTIC: 99}", "elastic"),
        ("a: {INPUT.STAIN.METHOD: vahadane}", "vahadane"),
    ],
)
def test_bad_switches_are_refused_before_anything_runs(tmp_path, text, match):
    file = tmp_path / "s.yaml"
    file.write_text(text)
    with pytest.raises((KeyError, ValueError), match=match):
        plan(CONFIG, load_switches(file), [0], tmp_path)
    with pytest.raises(FileNotFoundError):
        load_switches(tmp_path / "none.yaml")


def scored(ap: float, count: float) -> dict[str, float]:
    return {"AP": ap, "AP50": 0.9, "AP75": 0.7, "F1": ap + 0.2, "PQ": 0.6, "count_mae": count}


def test_a_switch_of_detectors_is_refused_for_a_dense_model(tmp_path):
    [giou] = [switch for switch in load_switches("detector") if switch.name == "giou"]
    with pytest.raises(ValueError, match="switch giou is of detectors alone, and cpu_tiny_flows"):
        plan("cpu_tiny_flows", [giou], [0], tmp_path)


def test_means_spreads_and_paired_gains_by_hand():
    scores = {
        ("base", 0): scored(0.50, 4.0),
        ("worse", 0): scored(0.40, 3.0),
        ("better", 0): scored(0.56, 5.0),
        ("base", 1): scored(0.60, 6.0),
        ("better", 1): scored(0.62, 5.0),
    }
    base, better, worse = summarise(scores)
    assert [r["switch"] for r in (base, better, worse)] == ["base", "better", "worse"]
    assert base["AP"] == pytest.approx(0.55) and base["AP_gain"] is None and base["seeds"] == 2
    assert base["AP_spread"] == pytest.approx(0.05 * 2**0.5)
    assert better["AP_gain"] == pytest.approx(0.04)
    assert better["AP_gain_spread"] == pytest.approx(0.02 * 2**0.5)
    assert worse["AP_gain"] == pytest.approx(-0.10)  # to the base of its own seed
    assert worse["AP_spread"] is None and worse["count_mae_gain"] == pytest.approx(1.0)
    assert better["count_mae_gain"] == pytest.approx(0.0)
    table = ablation.format_markdown([base, better, worse]).splitlines()
    assert len(table) == 5 and len({line.count("|") for line in table}) == 1
    assert table[2].startswith("| base | 2 | 0.550 ± 0.071 |") and table[2].endswith("|  |  |")
    assert "| +0.040 ± 0.028 | +0.040 ± 0.028 |" in table[3]
    assert "| -0.100 | -0.100 |" in table[4]


@pytest.fixture
def quiet():
    """Leave no log handler behind that writes to this test's captured output."""
    with ablation.own_log_handlers():
        yield


def test_the_tool_trains_tables_and_goes_on(tiny_dataset, tmp_path, quiet, capsys, monkeypatch):
    import ablate

    dataset = shutil.copytree(tiny_dataset, tiny_dataset.parent / "ablated")
    switches = tmp_path / "switches.yaml"
    switches.write_text(
        "stain: {INPUT.STAIN.METHOD: reinhard}\nunused: {INPUT.CLAHE: 2.0}\n", encoding="utf-8"
    )
    out = tmp_path / "ablation"
    command = ["--config-file", str(CONFIG), "--switches", str(switches), "--only", "stain",
               "--dataset", str(dataset), "--out", str(out), "--iterations", "2",
               "--processes", "1"]  # fmt: skip
    assert ablate.main([*command, "--plan", *SMALL]) == 0
    assert "2 runs, 2 to do: about 0.0 hours" in capsys.readouterr().out
    assert not (out / "base").exists()
    assert ablate.main([*command, *SMALL]) == 0
    assert "| stain | 1 |" in capsys.readouterr().out
    rows = list(csv.DictReader((out / "ablation.csv").open(encoding="utf-8")))
    assert [row["switch"] for row in rows] == ["base", "stain"]
    line = json.loads((out / "base/seed0/metrics.json").read_text().splitlines()[-1])
    assert float(rows[0]["AP"]) == pytest.approx(line["segm/AP"])
    assert "base" in (out / "ablation.md").read_text(encoding="utf-8")
    assert [p.name for p in (out / "stain/seed0").glob("*.pth")] == ["model_final.pth"]
    saved = torch.load(out / "stain/seed0/model_final.pth", weights_only=True)["treatment"]
    assert saved["method"] == "reinhard" and len(saved["reference"]) == 6

    log = (out / "base/seed0/log.txt").read_text(encoding="utf-8")
    assert "base" in log and str(out / "stain") not in log  # each run has its own log

    def never(*_):
        raise AssertionError("trained again")

    monkeypatch.setattr("bccd_d2.experiments.run_cache.launch", never)
    assert ablate.main([*command, *SMALL]) == 0
    assert "2 runs, 0 to do: about 0.0 hours" in capsys.readouterr().out
    command[command.index("stain")] = "nothing"
    assert ablate.main([*command, *SMALL]) == 2
    assert "nothing" in capsys.readouterr().err

    # The stored reference serves --eval-only; another treatment is refused.
    import train_net

    run = ["--config-file", str(CONFIG), "--eval-only", *SMALL, "DATASETS.ROOT", str(dataset),
           "OUTPUT_DIR", str(tmp_path / "scored"), "MODEL.WEIGHTS",
           str(out / "stain/seed0/model_final.pth")]  # fmt: skip
    assert train_net.main(run) == 2
    assert "INPUT.STAIN.METHOD 'reinhard'" in capsys.readouterr().err
    assert train_net.main([*run, "INPUT.STAIN.METHOD", "reinhard"]) == 0
    capsys.readouterr()
    run[2], run[run.index("OUTPUT_DIR") + 1] = "--resume", str(out / "base/seed0")
    assert train_net.main([*run, "INPUT.CLAHE", "2", "SOLVER.MAX_ITER", "4"]) == 2
    assert "INPUT.CLAHE 0.0" in capsys.readouterr().err


def test_the_preview_tools_write_their_sheets(tiny_dataset, tmp_path, capsys):
    import cv2
    import preview_augmentations
    import preview_stain

    sheet = tmp_path / "sheet é.png"
    command = ["--config-file", str(CONFIG), "--dataset", str(tiny_dataset), "--draws", "3"]
    extra = ["INPUT.CROP_SIZE", "96", "INPUT.EXTRA.COPY_PASTE", "5"]
    assert preview_augmentations.main([*command, "--out", str(sheet), "--plain", *extra]) == 0
    assert f"wrote {sheet}" in capsys.readouterr().out
    assert sheet.stat().st_size > 10_000
    dense = ["--config-file", str(CONFIG.parent / "cpu_best.yaml"), *command[2:]]
    dense_sheet = tmp_path / "dense.png"
    assert preview_augmentations.main([*dense, "--out", str(dense_sheet), *extra[:2]]) == 0
    assert dense_sheet.stat().st_size > 10_000
    wrong = [*command, "--image", "no such", "--out", str(sheet)]
    assert preview_augmentations.main(wrong) == 2
    assert "names 0 of the" in capsys.readouterr().err

    sheet = tmp_path / "stain.png"
    command = ["--dataset", str(tiny_dataset), "--split", "train", "--images", "4"]
    assert preview_stain.main([*command, "--method", "macenko", "--out", str(sheet)]) == 0
    printed = capsys.readouterr().out
    assert printed.count("spread over") == 3 and "strength 0.5" in printed
    assert cv2.imread(str(sheet)).shape[1] == 330 * 6
    assert preview_stain.main([*command, "--strengths", "2", "--out", str(sheet)]) == 2
