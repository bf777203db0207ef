"""A bare installation: the wheel in a fresh environment without PyTorch does the daily work."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from .report.conftest import write_small_dataset, write_small_run

REPO = Path(__file__).resolve().parents[1]
ENVIRONMENT = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "BCCD_DATASET")}
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def bare(tmp_path_factory) -> Path:
    """The folder of an environment that holds the wheel with what it asks for, and the page."""
    folder = tmp_path_factory.mktemp("bare")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    build = [*pip, "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", folder, REPO]
    subprocess.run(build, check=True, env=ENVIRONMENT)
    [wheel] = folder.glob("*.whl")
    assert wheel.stat().st_size < 64e6
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True, env=ENVIRONMENT)
    install = [_bin(folder) / "python", "-m", "pip", "--disable-pip-version-check", "install", "-q",
               "--constraint", REPO / "constraints.txt", f"{wheel}[app]"]  # fmt: skip
    subprocess.run(install, check=True, env=ENVIRONMENT)
    return folder


def _bin(folder: Path) -> Path:
    return folder / "venv" / ("Scripts" if os.name == "nt" else "bin")


def bccd(bare: Path, *call: object) -> str:
    """What the installed command prints; it runs far from the checkout."""
    words = [str(_bin(bare) / "bccd"), *map(str, call)]
    done = subprocess.run(
        words, capture_output=True, text=True, cwd=bare, env=ENVIRONMENT, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_it_holds_no_training(bare):
    listed = subprocess.run(
        [_bin(bare) / "python", "-m", "pip", "list", "--format", "json"],
        capture_output=True, text=True, check=True, env=ENVIRONMENT,
    ).stdout  # fmt: skip
    names = {package["name"].lower() for package in json.loads(listed)}
    assert "onnxruntime" in names
    assert not names & {"torch", "torchvision", "timm", "detectron2", "matplotlib", "optuna"}


def test_demo_convert_explore_and_predict(bare):
    bccd(bare, "demo", "--out", "demo", "--no-browser")
    assert "data:image/jpeg" in (bare / "demo" / "demo.html").read_text()
    printed = bccd(bare, "predict", "--images", "demo/smears", "--out", "r", "--weights",
                   "cpu_best", "--quiet")  # fmt: skip
    assert "2 images done" in printed
    bccd(bare, "convert", "--images", "demo/smears", "--labels", "demo/results/labels",
         "--out", "coco", "--val-fraction", "0")  # fmt: skip
    printed = bccd(bare, "evaluate", "--predictions", "demo/results", "--dataset", "coco",
                   "--split", "train", "--out", "scores")  # fmt: skip
    assert "F1@.5" in printed
    assert json.loads((bare / "scores" / "scores.json").read_text())["scores"]["segm"]["AP"] > 0.9
    bccd(bare, "explore", "--dataset", "coco")
    assert (bare / "coco" / "explore" / "dataset.html").is_file()


def test_report(bare):
    dataset = write_small_dataset(bare / "squares")
    run = write_small_run(bare / "run", dataset)
    assert "report.html" in bccd(bare, "report", run, "--dataset", dataset)


def test_the_page_answers(bare):
    words = [str(_bin(bare) / "bccd"), "app", "--port", "0"]
    how = {"stdout": subprocess.PIPE, "text": True, "cwd": bare, "env": ENVIRONMENT}
    with subprocess.Popen(words, **how) as page:
        try:
            line = page.stdout.readline()
            url = next(word for word in line.split() if word.startswith("http"))
            with urllib.request.urlopen(url, timeout=60) as answer:
                assert b"any_smear" in answer.read() or answer.status == 200
        finally:
            page.terminate()
