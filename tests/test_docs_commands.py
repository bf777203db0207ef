"""Every command that a document shows parses: words, flags, configs and config keys exist."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import re
import shlex
import sys
from pathlib import Path

import pytest

pytest.importorskip("detectron2")

from bccd_d2 import cli
from bccd_d2.cli import common
from bccd_d2.config.files import SEARCH_SPACES, SWITCHES, configs_folder, find_config
from bccd_d2.config.load import leaves, load_config

REPO = Path(__file__).resolve().parents[1]
DOCUMENTS = [REPO / "README.md", *(REPO / "docs").glob("*.md"), *(REPO / "datasets").glob("*.md")]
DOCUMENTS += (REPO / "bccd_d2" / "models" / "pretrained").glob("*.md")
COMMENTED = [*configs_folder().rglob("*.yaml"), *(REPO / "bccd_d2/experiments").rglob("*.yaml")]
KEYS = dict(leaves(load_config()))
START = re.compile(r"(\.venv/bin/)?bccd |python (tools|benchmarks)/|torchrun |make ")
ONCE_SHOWN = [  # by earlier versions; they keep working
    'python tools/convert_to_coco.py --root "BCCD Dataset with mask" --out O --folds 5 --workers 2',
    "python tools/convert_to_coco.py --images I --masks M --out O --test-fraction 0.2",
    "python tools/make_smears.py --out datasets/smears",
    "python tools/train_net.py --config-file configs/uni_maskrcnn.yaml MODEL.VIT.WEIGHTS /F",
    "python tools/train_net.py --config-file configs/cpu_tiny_maskrcnn.yaml --num-gpus 2",
    "python tools/train_net.py --config-file configs/cpu_best.yaml --eval-only DATASETS.ROOT D",
    "torchrun --nproc-per-node 4 tools/train_net.py --config-file configs/r50fpn_maskrcnn.yaml",
    "torchrun --nproc-per-node 2 tools/predict.py --input smears/ --output results",
    "bccd predict --input my/smears --output results",
    'bccd predict --input a.tif "b/*.png" --output results --pixel-size 0.1 --save csv geojson',
    "python tools/fit_anchors.py --dataset D --scale 0.5 --picture anchors.png",
    "python tools/cross_validate.py --config-file configs/cpu_best.yaml --ensemble --num-gpus 2 "
    "DATASETS.ROOT D OUTPUT_DIR O SOLVER.MAX_ITER 1100",
    "python tools/choose_threshold.py --config-file configs/cpu_best.yaml "
    "--cross-validation output/cross_validation.json MODEL.WEIGHTS output/model_final.pth",
    "python tools/export_weights.py output/best80 --name cpu_best --ship --half "
    "--config-file configs/cpu_best.yaml",
    "python tools/export_model.py --weights RUN --output model.onnx --images 2",
    "python tools/compare.py --dataset D --out O --train-budget 25 "
    "--model cpu_tiny_flows=configs/cpu_tiny_flows.yaml --labels stardist=L,0.676",
    "python tools/ablate.py --config-file configs/cpu_tiny_maskrcnn.yaml "
    "--switches configs/ablations/detector.yaml --only redrawn --dataset D --out O --seeds 0 1",
    "python tools/tune.py --config-file configs/cpu_tiny_maskrcnn.yaml --trials 12 --startup 4 "
    "--space configs/_search/detector.yaml DATASETS.ROOT D OUTPUT_DIR output/tune",
    "python tools/tune_dense.py --config-file configs/dinov2_boundary.yaml --criterion F1 --table",
    "python tools/tune_otsu.py --dataset OUT --images 24",
    "python tools/count_parameters.py configs/otsu_watershed.yaml",
    "python tools/show_features.py --config-file configs/dinobloom_s_maskrcnn.yaml --image I",
    "python tools/preview_augmentations.py --config-file configs/cpu_tiny_maskrcnn.yaml --dataset "
    "D --out sheet.png INPUT.EXTRA.ELASTIC 6",
    "python tools/preview_stain.py --dataset D --method macenko --out stain.png",
    'python tools/demo.py --out output/demo --data "path/to it"',
    "python tools/app.py --weights output/cpu_tiny_maskrcnn --port 8000",
    "python tools/report.py output/best_folds/fold0 --split bccd_fold0_val --examples 24",
    "python tools/explore.py --dataset datasets/bccd",
]


def blocks(text: str) -> list[str]:
    """Lines of fenced and indented code, with continued ones joined."""
    fenced = re.findall(r"^```\w*\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    outside = re.sub(r"^```\w*\n.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    code = "\n".join(fenced) + "\n" + "\n".join(re.findall(r"^    (.*)$", outside, re.MULTILINE))
    return re.sub(r"\\\n\s*", "", code).splitlines()


def commands(text: str) -> list[str]:
    """Whole command lines of code blocks, without variables set before them."""
    lines = (re.sub(r"^([A-Z_]+=\S+ )+", "", line.strip()) for line in blocks(text))
    return [line for line in lines if START.match(line)]


def mentions(text: str) -> list[str]:
    """Commands in running text, which may leave out what a call would need."""
    text = re.sub(r"^```\w*\n.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    quoted = (" ".join(part.split()) for part in re.findall(r"`([^`]+)`", text))
    return [part for part in quoted if START.match(part)]


def commented(text: str) -> list[str]:
    """Commands in the comments of a YAML file."""
    lines = re.findall(r"^ *# ?(.*)$", text, re.MULTILINE)
    return commands("```\n" + "\n".join(lines) + "\n```\n")


def parser_of(words: list[str]) -> tuple[argparse.ArgumentParser | None, list[str]]:
    """The parser of a command and its arguments; none for a make target, looked up here."""
    if words[0] == "make":
        assert f"\n{words[1]}:" in (REPO / "Makefile").read_text()
        return None, []
    if words[0] == "torchrun":
        words = words[3:]
    if words[:2] == ["-m", "bccd_d2"] or words[0].endswith("bccd"):
        word, rest = cli.split_word(words[2 if words[0] == "-m" else 1 :])
        if rest == ["--help"] or words[1] in ("WORD", "--help"):
            return None, []
        assert word, f"{words} names no word"
        return importlib.import_module(f"bccd_d2.cli.{word.replace(' ', '.')}").get_parser(), rest
    script = next(word for word in words if word.endswith(".py"))
    spec = importlib.util.spec_from_file_location(f"shown_{Path(script).stem}", REPO / script)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_parser(), words[words.index(script) + 1 :]


def check_flags(command: str) -> None:
    """Assert that the word and each flag exist."""
    parser, rest = parser_of(shlex.split(command, comments=True))
    known = [name for action in parser._actions for name in action.option_strings] if parser else []
    assert [word for word in rest if word.startswith("--") and word not in known] == []


def check_command(command: str) -> None:
    """Assert that a command parses and that configs, switches and keys it names exist."""
    parser, rest = parser_of(shlex.split(command, comments=True))
    if parser is None or "..." in rest:
        return check_flags(command)
    args = parser.parse_args(rest)
    models = [text.partition("=")[2].partition(",")[0] for text in getattr(args, "model", [])]
    named = [getattr(args, "config_file", None), *models, *getattr(args, "configs", [])]
    for name in filter(None, named):
        if not re.search(r"\$|\*|^[A-Z]+$", name):  # a placeholder or a pattern
            find_config(name)
    if getattr(args, "switches", None):
        SWITCHES.find(args.switches)
    if getattr(args, "space", None):
        SEARCH_SPACES.find(args.space)
    options = [text for text in getattr(args, "options", []) if not text.startswith("$")]
    assert len(options) % 2 == 0 and set(options[::2]) <= set(KEYS)
    if hasattr(args, "config_flags"):
        common.config_options(args)
    return None


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_commands_of_documents_parse(path, monkeypatch):
    monkeypatch.chdir(REPO)
    text = path.read_text(encoding="utf-8")
    for command in commands(text):
        check_command(command)
    for command in mentions(text):
        check_flags(command)


def test_the_documents_show_commands():
    """The patterns above find them: most words are shown with all that they need."""
    shown = [c for path in DOCUMENTS for c in commands(path.read_text(encoding="utf-8"))]
    assert len(shown) >= 30
    words = {cli.split_word(shlex.split(c)[1:])[0] for c in shown if c.startswith("bccd ")}
    assert len(words) >= 10


@pytest.mark.parametrize("path", COMMENTED, ids=lambda path: path.stem)
def test_commands_of_config_headers_parse(path):
    for command in commented(path.read_text(encoding="utf-8")):
        check_command(command)


@pytest.mark.parametrize("word", cli.WORDS)
def test_examples_of_helps_parse(word):
    doc = importlib.import_module(cli.load_main(word).__module__).__doc__
    examples = commands(f"```\n{doc}```\n")
    assert examples
    for command in examples:
        check_command(command)


@pytest.mark.parametrize("command", ONCE_SHOWN)
def test_commands_once_shown_still_parse(command):
    check_command(command)


@pytest.mark.parametrize(
    "command",
    [
        "bccd trian --config-file cpu_best",
        "bccd train --config-file cpu_best --no-such",
        "bccd train --config-file cpu_bset",
        "bccd train --config-file cpu_best SOLVER.MAXITER 3",
        "bccd train --config-file cpu_best SEED 3 --eval-only x",
        "bccd compare --out o --model a=cpu_bset",
        "bccd ablate --config-file cpu_best --out o --switches dta",
        "python tools/no_such.py",
        "python tools/predict.py --images a",
        "make no-such",
    ],
)
def test_a_command_that_rotted_is_found(command, capsys):
    with pytest.raises((AssertionError, FileNotFoundError, SystemExit, ValueError)):
        check_command(command)


def test_links_to_files_exist():
    for path in DOCUMENTS:
        text = path.read_text(encoding="utf-8")
        for link in re.findall(r"\]\((?!https?:)([^)# ]+)", text):
            assert (path.parent / link).exists(), f"{path.name}: {link}"
