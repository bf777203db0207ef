"""Who may import whom, and which third-party library may appear where."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "bccd_d2"
# Room: the rooms it may import. A folder inside a room has the room's rules unless it stands here.
BASE = {"io", "masks"}
ROOMS = {
    "io": set(),
    "masks": {"io"},
    "losses": set(),
    "synth": BASE,
    "data": BASE,
    "inference": BASE,
    "evaluation": BASE,
    "export": BASE,
    "modeling": {*BASE, "losses"},
    "config": {*BASE, "data", "modeling"},
    "models": {*BASE, "data", "modeling", "config"},
    "report": {*BASE, "evaluation"},
    "slide": {*BASE, "inference", "evaluation", "report"},
    "inference/batch": {*BASE, "inference", "export", "report"},
    "training": {*BASE, "data", "modeling", "evaluation", "config", "models"},
}
ROOMS["experiments"] = {*ROOMS["training"], "training", "inference", "report"}
TORCH = ROOMS.keys() - {"io", "masks", "synth", "export", "report"}
FENCES = {  # library: the files or rooms that may import it
    "timm": {"modeling/backbones/vit.py", "modeling/backbones/weights.py"},
    "gradio": {"app/page.py", "app/correcting.py", "app/server.py"},
    "matplotlib": {"report/search_plots.py"},
    "jinja2": {"report/page.py"},
    "onnx": {"models/graph.py", "models/int8.py"},
    "onnxscript": {"models/graph.py"},
    "onnxruntime": {"models/network.py", "models/int8.py"},
    "openvino": {"models/network.py"},
    "torch": TORCH,
    "torchvision": TORCH - {"losses"},
    "detectron2": TORCH - {"losses"},
}
# Folders above the rooms: they may use any room, no room may use them.
OVER_ALL = {"app", "cli", "plugins"}
ABOVE = {"_detectron2", "__version__"}  # what a room may take from the package outside the rooms
MAY_CLIMB = {"inference/batch": {"api", "segmenter"}}  # and what a room may take from above
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


def room_of(path: str) -> str:
    """The longest room that a file or a dotted name, with slashes, lies in; "" for none."""
    parts = path.split("/")
    prefixes = ["/".join(parts[:n]) for n in range(len(parts), 0, -1)]
    return next((prefix for prefix in prefixes if prefix in ROOMS), "")


def complaints(source: str, file: str) -> list[str]:
    """Imports of ``file`` that the tables above forbid."""
    room = room_of(file)
    wrong = []
    for name in imported(source, file):
        top, _, rest = name.partition(".")
        if top == "tools":
            wrong.append(f"{file} imports {name}; nobody imports tools")
        if top == "bccd_d2" and room:
            other, first = room_of(rest.replace(".", "/")), rest.split(".")[0]
            if other and other != room and other not in ROOMS[room]:
                wrong.append(f"{file} imports {name}; {room} may import {sorted(ROOMS[room])}")
            if first and not other and first not in ABOVE | MAY_CLIMB.get(room, set()):
                wrong.append(f"{file} imports {name}, which stands above the rooms")
        fence = FENCES.get(top)
        if fence and not {file, room, file.split("/")[0]} & fence:
            wrong.append(f"{file} imports {name}; only {sorted(fence)} may")
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
        ("modeling/backbones/build.py", "import timm"),
        ("evaluation/x.py", "from matplotlib import pyplot"),
        ("report/draw.py", "import matplotlib"),
        ("report/run/page.py", "import jinja2"),
        ("training/x.py", "import tools.train_net"),
        ("report/x.py", "from bccd_d2.api import PredictedCells"),
        ("export/x.py", "from bccd_d2 import PredictedCells"),
        ("inference/x.py", "from bccd_d2.segmenter import Segmenter"),
        ("report/x.py", "from bccd_d2.app.overlay import result_html"),
        ("app/overlay.py", "import gradio"),
        ("app/results.py", "import torch"),
        ("training/x.py", "from bccd_d2 import load_pretrained"),
        ("inference/x.py", "from bccd_d2.models.load import load_model"),
    ],
)
def test_a_forbidden_import_is_found(file, source):
    assert len(complaints(source, file)) == 1


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("data/x.py", "from . import splits\nfrom ..masks import cells"),
        ("modeling/backbones/vit.py", "import timm, torch\nfrom bccd_d2.losses import region"),
        ("report/search_plots.py", "import matplotlib"),
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


def modules() -> dict[str, str]:
    """Dotted name of every module of the package, with its source."""
    found = {}
    for file in FILES:
        parts = ("bccd_d2", *Path(file).with_suffix("").parts)
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = (PACKAGE / file).read_text(encoding="utf-8")
    return found


def cycles(sources: dict[str, str]) -> list[list[str]]:
    """Modules that import each other in a ring, at the top or inside a function."""
    graph: dict[str, set[str]] = {}
    for name, source in sources.items():
        file = name.partition(".")[2].replace(".", "/") + ".py"
        given = {n if n in sources else n.rpartition(".")[0] for n in imported(source, file)}
        graph[name] = {n for n in given & sources.keys() if n not in (name, "bccd_d2")}
    rings = []
    for start in graph:
        seen, todo = set(), [(start, [start])]
        while todo:
            name, path = todo.pop()
            for other in graph[name]:
                if other == start:
                    rings.append([*path, start])
                elif other not in seen:
                    seen.add(other)
                    todo.append((other, [*path, other]))
    return rings


def test_nothing_imports_itself_by_a_detour():
    assert cycles(modules()) == []


def test_a_ring_is_found_also_where_an_import_is_lazy():
    sources = {
        "bccd_d2.a": "from bccd_d2.b import f",
        "bccd_d2.b": "def f():\n    from bccd_d2 import c",
        "bccd_d2.c": "import bccd_d2.a",
        "bccd_d2.d": "import bccd_d2.a",
    }
    assert {frozenset(ring) for ring in cycles(sources)} == {
        frozenset({"bccd_d2.a", "bccd_d2.b", "bccd_d2.c"})
    }


def test_a_shipped_model_loads_without_the_trainer(tmp_path):
    code = (
        "import sys; from bccd_d2 import load_pretrained; load_pretrained(device='cpu'); "
        "print(sorted(n for n in sys.modules if n.startswith(('bccd_d2.training', "
        "'bccd_d2.experiments', 'bccd_d2.evaluation', 'bccd_d2.report'))))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True, text=True, check=True, cwd=tmp_path,
    )  # fmt: skip
    assert done.stdout.strip().splitlines()[-1] == "[]"
