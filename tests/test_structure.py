"""Sizes, docstrings, types and prints: the habits that keep the code readable, counted."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[1]
MAX_FILE, MAX_FUNCTION, MAX_ARGUMENTS, MAX_TOOL = 350, 50, 8, 80
LONGER_TOOLS = {"tools/install_detectron2.py"}  # runs before the package can be imported
FOLDERS = ("bccd_d2", "tools", "benchmarks", "tests")
PATHS = [path for folder in FOLDERS for path in (REPO / folder).rglob("*.py")]
FILES = sorted(path.relative_to(REPO).as_posix() for path in PATHS)
# What torch and detectron2 call by name on a subclass: their own docstring holds.
OVERRIDES = set(
    "forward train state_dict load_state_dict from_config output_shape size_divisibility "
    "padding_constraints before_train after_train before_step after_step run_step "
    "reset process evaluate write tag_last_checkpoint".split()
)


def complaints(source: str, file: str) -> list[str]:
    """What in ``source`` breaks a rule for a file at the path ``file``."""
    tree = ast.parse(source)
    lines = source.count("\n")
    in_tools = file.startswith("tools/") and file not in LONGER_TOOLS
    limit = MAX_TOOL if in_tools else MAX_FILE
    prints_nothing = file.startswith("bccd_d2/") and not file.startswith("bccd_d2/cli/")
    wrong = [f"{file}: {lines} lines, at most {limit}"] if lines > limit else []
    if file.startswith("tests/"):
        return wrong
    if not ast.get_docstring(tree):
        wrong.append(f"{file}: no module docstring")
    if len(tree.body) < 2 and not file.endswith("__init__.py"):
        wrong.append(f"{file}: empty module")
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            wrong += [f"{file}:{node.lineno} {text}" for text in _function_complaints(node)]
        if prints_nothing and _is_print(node):
            wrong.append(f"{file}:{node.lineno} print in the package; use logging")
    if file.startswith("bccd_d2/"):
        wrong += [f"{file}:{line} {name}: no types" for name, line in _untyped(tree)]
    return wrong + [f"{file}:{line} {name}: no docstring" for name, line in _undocumented(tree)]


def _function_complaints(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    arguments = node.args.posonlyargs + node.args.args + node.args.kwonlyargs
    count = len([a for a in arguments if a.arg not in ("self", "cls")])
    length = node.end_lineno - node.lineno + 1
    wrong = []
    if length > MAX_FUNCTION:
        wrong.append(f"{node.name}: {length} lines, at most {MAX_FUNCTION}")
    if count > MAX_ARGUMENTS:
        wrong.append(f"{node.name}: {count} arguments, at most {MAX_ARGUMENTS}; make a dataclass")
    return wrong


def _is_print(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print"


def _undocumented(scope: ast.Module | ast.ClassDef) -> list[tuple[str, int]]:
    """Public functions, classes and their public methods without a docstring."""
    found = []
    for node in scope.body:
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            continue
        if node.name.startswith("_"):
            continue
        overrides = isinstance(scope, ast.ClassDef) and scope.bases and node.name in OVERRIDES
        if not ast.get_docstring(node) and not overrides:
            found.append((node.name, node.lineno))
        if isinstance(node, ast.ClassDef):
            found += _undocumented(node)
    return found


def _untyped(scope: ast.Module | ast.ClassDef) -> list[tuple[str, int]]:
    """Public functions and methods that leave an argument or what they return without a type."""
    found = []
    for node in scope.body:
        if isinstance(node, ast.ClassDef):
            found += _untyped(node)
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        given = node.args
        arguments = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
        named = [a for a in arguments if a is not None and a.arg not in ("self", "cls")]
        typed = node.returns is not None and all(a.annotation is not None for a in named)
        if not node.name.startswith("_") and not typed:
            found.append((node.name, node.lineno))
    return found


@pytest.mark.parametrize("file", FILES)
def test_file_keeps_the_rules(file):
    assert not complaints((REPO / file).read_text(encoding="utf-8"), file)


@pytest.mark.parametrize(
    ("file", "source", "expected"),
    [
        ("bccd_d2/a.py", '"""A."""\n' + "x = 1\n" * 350, "351 lines"),
        ("tests/test_a.py", "x = 1\n" * 351, "351 lines"),
        ("tools/a.py", '"""A."""\n' + "x = 1\n" * 80, "at most 80"),
        ("bccd_d2/a.py", '"""A."""\ndef _f():\n' + "    x = 1\n" * 50, "51 lines"),
        ("bccd_d2/a.py", '"""A."""\ndef _f(a, b, c, d, e, *, f, g, h, i): ...\n', "9 arguments"),
        ("bccd_d2/a.py", '"""A."""\ndef f() -> None: ...\n', "f: no docstring"),
        ("bccd_d2/a.py", '"""A."""\nclass B:\n    "B."\n    def m(self) -> int: ...\n', "m: no"),
        ("tools/a.py", '"""A."""\nclass B:\n    "B."\n    def reset(self): ...\n', "reset: no"),
        ("bccd_d2/a.py", '"""A."""\ndef f(a):\n    "A."\n', "f: no types"),
        ("bccd_d2/a.py", '"""A."""\ndef f(a: int):\n    "A."\n', "f: no types"),
        ("bccd_d2/a.py", '"""A."""\ndef f(a: int, *b) -> int:\n    "A."\n', "f: no types"),
        ("bccd_d2/a.py", '"""A."""\ndef f(*, a: int = 1, **b) -> int:\n    "A."\n', "f: no types"),
        ("bccd_d2/a.py", '"""A."""\nclass _B:\n    def m(s, a) -> int: ...\n', "m: no"),
        ("bccd_d2/a.py", '"""A."""\nprint(1)\n', "print"),
        ("bccd_d2/a.py", '"""A."""\n', "empty module"),
        ("bccd_d2/a/__init__.py", "", "no module docstring"),
    ],
)
def test_a_broken_rule_is_found(file, source, expected):
    found = complaints(source, file)
    assert len(found) == 1
    assert expected in found[0]


def test_an_override_needs_no_docstring():
    source = '"""A."""\nclass B(Base):\n    "B."\n    def reset(self) -> None: ...\n'
    assert complaints(source, "bccd_d2/a.py") == []


def test_code_at_the_limits_passes():
    body = '"""A."""\n\n\ndef _f(self, a, b, c, d, e, f, g, h):\n' + "    x = 1\n" * 49
    assert complaints(body + "x = 1\n" * (350 - 53), "bccd_d2/a.py") == []


def test_no_script_hides_a_module_of_python():
    """A script's folder comes first on the path: benchmarks/types.py would end every benchmark."""
    scripts = [path for folder in ("benchmarks", "tools") for path in (REPO / folder).glob("*.py")]
    assert scripts and not {path.stem for path in scripts} & sys.stdlib_module_names
