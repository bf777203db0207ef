"""Who may import whom, and which third-party library may appear where."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "bccd_d2"
ROOMS = {
    "masks": set(),
    "losses": set(),
    "synth": {"masks"},
    "data": {"masks"},
    "inference": {"masks"},
    "evaluation": {"masks"},
    "export": {"masks"},
    "modeling": {"masks", "losses"},
    "report": {"masks", "evaluation"},
    "pipeline": {"masks", "inference", "export", "report"},
    "training": {"data", "modeling", "evaluation", "masks"},
}
FENCES = {  # library: the files or rooms that may import it
    "timm": {"modeling/vit.py", "modeling/weights.py"},
    "gradio": {"app/page.py", "app/server.py"},
    "matplotlib": {
        "report/comparison_plots.py",
        "report/plotting.py",
        "report/run_plots.py",
        "report/dataset_plots.py",
    },
    "jinja2": {"report/page.py"},
    "torch": ROOMS.keys() - {"masks", "synth", "export"} | {"batch.py"},
    "torchvision": ROOMS.keys() - {"masks", "synth", "export", "losses"},
    "detectron2": ROOMS.keys() - {"masks", "synth", "export", "losses"} | {"batch.py"},
}
OVER_ALL = {"app"}  # folders above the rooms: they may use any room, no room may use them
ABOVE = {"_detectron2", "__version__"}  # what a room may take from the package outside the rooms
FILES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))


def imported(source: str, file: str) -> set[str]:
    """Dotted names that ``source`` imports anywhere; ``file`` is its path in the package."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = ["bccd_d2", *Path(file).parent.parts][: -node.level + 1 or None]
                base = ".".join([*parents, base]).strip(".")
            names |= {f"{base}.{alias.name}" for alias in node.names}
    return names


def complaints(source: str, file: str) -> list[str]:
    """Imports of ``file`` that the tables above forbid."""
    room = file.split("/")[0]
    wrong = []
    for name in imported(source, file):
        top, _, rest = name.partition(".")
        if top == "tools":
            wrong.append(f"{file} imports {name}; nobody imports tools")
        if top == "bccd_d2" and room in ROOMS:
            other = rest.split(".")[0]
            if other in ROOMS and other != room and other not in ROOMS[room]:
                wrong.append(f"{file} imports {name}; {room} may import {sorted(ROOMS[room])}")
            if other and other not in ROOMS.keys() | ABOVE:
                wrong.append(f"{file} imports {name}, which stands above the rooms")
        if top in FENCES and not {file, room} & set(FENCES[top]):
            wrong.append(f"{file} imports {name}; only {sorted(FENCES[top])} may")
    return sorted(wrong)


@pytest.mark.parametrize("file", FILES)
def test_imports_stay_inside_the_table(file):
    assert not complaints((PACKAGE / file).read_text(encoding="utf-8"), file)


def test_every_folder_is_a_known_room():
    assert {Path(file).parts[0] for file in FILES if "/" in file} <= ROOMS.keys() | OVER_ALL


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("data/x.py", "def f():\n    from bccd_d2.modeling import vit"),
        ("modeling/x.py", "from ..data.catalog import register_dataset"),
        ("modeling/x.py", "from bccd_d2 import data"),
        ("masks/x.py", "import torch.nn"),
        ("losses/x.py", "from detectron2 import layers"),
        ("modeling/build.py", "import timm"),
        ("evaluation/x.py", "from matplotlib import pyplot"),
        ("report/draw.py", "import matplotlib"),
        ("report/run_report.py", "import jinja2"),
        ("training/x.py", "import tools.train_net"),
        ("report/x.py", "from bccd_d2.api import PredictedCells"),
        ("export/x.py", "from bccd_d2 import PredictedCells"),
        ("pipeline/x.py", "from bccd_d2.segmenter import Segmenter"),
        ("report/x.py", "from bccd_d2.app.overlay import result_html"),
        ("app/overlay.py", "import gradio"),
        ("app/findings.py", "import torch"),
        ("training/x.py", "from bccd_d2 import load_pretrained"),
        ("inference/x.py", "from bccd_d2.training.trained import load_model"),
    ],
)
def test_a_forbidden_import_is_found(file, source):
    assert len(complaints(source, file)) == 1


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("data/x.py", "from . import splits\nfrom ..masks import cells"),
        ("modeling/vit.py", "import timm, torch\nfrom bccd_d2.losses import region"),
        ("report/plotting.py", "import matplotlib"),
        ("report/page.py", "import jinja2"),
    ],
)
def test_an_allowed_import_passes(file, source):
    assert complaints(source, file) == []


def test_importing_the_package_loads_nothing_heavy(tmp_path):
    code = (
        "import sys, bccd_d2; "
        "print(bccd_d2.__version__, {'torch', 'detectron2', 'numpy', 'cv2'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    version, loaded = done.stdout.split(maxsplit=1)
    assert version[0].isdigit()
    assert loaded.strip() == "set()"
