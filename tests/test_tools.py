"""The scripts of tools/: each is a word of ``bccd`` under the name that documents once showed."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from bccd_d2 import cli

TOOLS = sorted((Path(__file__).resolve().parents[1] / "tools").glob("*.py"))
SHIMS = [tool for tool in TOOLS if tool.stem != "install_detectron2"]
WORDS = {  # script: word
    "ablate": "ablate",
    "app": "app",
    "choose_threshold": "tune threshold",
    "compare": "compare",
    "convert_to_coco": "convert",
    "count_parameters": "parameters",
    "cross_validate": "crossval",
    "demo": "walkthrough",
    "explore": "explore",
    "export_model": "export network",
    "export_weights": "export weights",
    "fit_anchors": "anchors",
    "make_smears": "smears",
    "predict": "predict",
    "preview_augmentations": "preview augmentations",
    "preview_stain": "preview stain",
    "report": "report",
    "show_features": "preview features",
    "train_net": "train",
    "tune": "tune search",
    "tune_dense": "tune dense",
    "tune_otsu": "tune otsu",
}
OLD_SPELLINGS = {  # script: a call that documents once showed
    "convert_to_coco": "--root R --out O --workers 2",
    "make_smears": "--out O --workers 2",
    "predict": "--input a b --output O",
    "export_model": "--weights RUN --output model.onnx --images 2",
    "train_net": "--config-file C --num-gpus 2 --eval-only SEED 1",
    "cross_validate": "--config-file C --ensemble --num-gpus 2 SEED 1",
    "fit_anchors": "--dataset D --scale 0.5 --picture P",
    "demo": "--out O --data D",
    "tune_otsu": "--dataset D --images 3",
    "tune_dense": "--config-file C --images 3 SEED 1",
    "preview_stain": "--dataset D --out P --images 3",
}


def test_every_word_that_was_a_script_still_is_one():
    assert sorted(WORDS) == [tool.stem for tool in SHIMS]
    never = ("count", "demo", "evaluate", "export int8", "finetune", "pseudo", "tune counts",
             "types")  # fmt: skip
    assert sorted([*WORDS.values(), *never]) == sorted(cli.WORDS)


@pytest.mark.parametrize("tool", SHIMS, ids=lambda path: path.name)
def test_a_script_is_its_word(tool):
    module = importlib.import_module(tool.stem)
    assert module.main is cli.load_main(WORDS[tool.stem])
    assert f"bccd {WORDS[tool.stem]}``" in module.__doc__
    assert len(tool.read_text().splitlines()) <= 10


@pytest.mark.parametrize("tool", SHIMS, ids=lambda path: path.name)
def test_every_option_is_described_and_unknown_ones_end_with_code_2(tool, capsys):
    module = importlib.import_module(tool.stem)
    parser = module.get_parser()
    assert [action.dest for action in parser._actions if not action.help] == []
    with pytest.raises(SystemExit) as stopped:
        module.main(["--no-such-option"])
    assert stopped.value.code == 2
    assert "usage:" in capsys.readouterr().err


@pytest.mark.parametrize("script", OLD_SPELLINGS)
def test_old_spellings_are_understood(script):
    given = OLD_SPELLINGS[script].split()
    known = vars(importlib.import_module(script).get_parser().parse_args(given))
    said = {str(value) for value in known.values()}
    said |= {str(one) for value in known.values() if isinstance(value, list) for one in value}
    assert {word for word in given if not word.startswith("--")} <= said


@pytest.mark.parametrize("name", ["train_net.py", "install_detectron2.py"])
def test_a_script_runs_from_anywhere(name, tmp_path):
    call = [sys.executable, str(TOOLS[0].parent / name), "--help"]
    done = subprocess.run(call, capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage: ")
