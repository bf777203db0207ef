"""The core: what predicts, converts and reports needs neither PyTorch nor detectron2."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
BLOCK = (
    "import sys\n"
    "for name in ('torch', 'torchvision', 'timm', 'detectron2', 'fvcore', 'onnx', 'tensorboard',\n"
    "             'matplotlib', 'pandas', 'optuna'):\n"
    "    sys.modules[name] = None\n"
)


def run(code: str, folder: Path) -> str:
    """What a program prints in a Python without them."""
    done = subprocess.run(
        [sys.executable, "-c", BLOCK + code], capture_output=True, text=True, cwd=folder,
        env={**os.environ, "PYTHONPATH": str(REPO), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_demo_ends_with_a_page(tmp_path):
    """Drawing, the shipped model, all outputs and the page, as a bare installation has them."""
    code = (
        "from bccd_d2.cli import main\n"
        "import bccd_d2.synth.smear as smear\n"
        "draw = smear.draw_smear\n"
        "smear.draw_smear = lambda seed: draw(seed, size=(300, 400))\n"
        "assert main(['demo', '--out', 'd', '--smears', '1', '--no-browser']) == 0\n"
    )
    printed = run(code, tmp_path)
    page = (tmp_path / "d" / "demo.html").read_text()
    assert "demo.html" in printed and "data:image/jpeg" in page and "smear1" in page
    written = {path.parent.name for path in (tmp_path / "d" / "results").glob("*/smear1.*")}
    assert written >= {"labels", "coco", "geojson", "csv", "overlay"}


def test_what_needs_them_says_so_in_a_line(tmp_path):
    code = (
        "from bccd_d2.cli import main\n"
        "import bccd_d2\n"
        "(__import__('pathlib').Path('run.pth')).touch()\n"
        "try:\n    bccd_d2.load_pretrained('run.pth')\n"
        "except ImportError as error:\n    print(error)\n"
        "print(main(['train', '--config-file', 'cpu_best']))\n"
    )
    printed = run(code, tmp_path)
    assert "bccd_d2[train]" in printed and printed.splitlines()[-1] == "2"
    code = (
        "sys.modules['openvino'] = None\n"
        "from bccd_d2.models.backend import _best\n"
        "print(_best('cpu', 'fp32'), _best('cpu', 'bf16'))\n"
    )
    assert run(code, tmp_path).split() == ["onnx", "openvino"]


def test_the_rooms_of_the_core_import_nothing_of_the_training(tmp_path):
    modules = (
        "segmenter", "inference.batch.predict", "data.convert.run", "data.catalog",
        "report.run.page", "report.dataset.page", "report.results", "report.comparison.write",
        "export.table", "export.geojson", "evaluation.coco", "evaluation.scores",
        "evaluation.failures", "evaluation.evaluators", "evaluation.predicted",
        "app.worker", "synth.dataset", "models.backend",
    )  # fmt: skip
    run("\n".join(f"import bccd_d2.{name}" for name in modules), tmp_path)
