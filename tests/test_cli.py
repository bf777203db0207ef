"""``bccd WORD`` runs the script; an installation has scripts and models and needs no configs."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from bccd_d2 import cli

REPO = Path(__file__).resolve().parents[1]


def test_the_words_are_those_of_the_scripts(capsys):
    assert cli.main(["--help"]) == 0
    out = capsys.readouterr().out
    for word, (script, _) in cli.COMMANDS.items():
        assert f"  {word} " in out
        if (REPO / "tools" / f"{script}.py").is_file():
            assert cli.find_script(script) == REPO / "tools" / f"{script}.py"


@pytest.mark.parametrize("word", ["convert", "train", "predict", "compare"])
def test_a_word_runs_its_script(word, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["bccd", word, "--help"])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 0
    assert f"usage: bccd {word}" in capsys.readouterr().out


def test_what_is_no_command_ends_with_code_2(capsys, monkeypatch):
    assert cli.main(["predct"]) == cli.main([]) == 2
    assert "'predct' is no command" in capsys.readouterr().err
    monkeypatch.setitem(cli.COMMANDS, "report", ("no_such_script", ""))
    assert cli.main(["report"]) == 2
    assert "has no script no_such_script.py" in capsys.readouterr().err


def test_help_loads_nothing_heavy():
    code = (
        "import sys; from bccd_d2 import cli; cli.main(['--help']); "
        "sys.exit(bool({'torch', 'numpy'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The package unpacked from a wheel that setup.py built, apart from the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    build = "import sys; from setuptools import build_meta; print(build_meta.build_wheel('OUT'))"
    source = folder / "source"
    source.mkdir()
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE", "bccd_d2", "tools"):
        (source / name).symlink_to(REPO / name)
    code = build.replace("OUT", str(folder))
    subprocess.run([sys.executable, "-c", code], cwd=source, check=True, capture_output=True)
    [file] = folder.glob("*.whl")
    with zipfile.ZipFile(file) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def test_a_wheel_has_scripts_models_and_the_command(wheel):
    package = wheel / "bccd_d2"
    pretrained = {path.name for path in (REPO / "bccd_d2" / "models" / "pretrained").iterdir()}
    assert pretrained == {path.name for path in (package / "models" / "pretrained").iterdir()}
    scripts = {path.name for path in (REPO / "tools").glob("*.py")}
    assert scripts == {path.name for path in (package / "tools").glob("*.py")}
    [entries] = wheel.glob("*.dist-info/entry_points.txt")
    assert "bccd = bccd_d2.cli:main" in entries.read_text()
    assert not (wheel / "configs").exists()


def test_the_installed_command_finds_its_own_scripts(wheel, tmp_path):
    call = [sys.executable, "-m", "bccd_d2", "predict", "--help"]
    environment = {"PYTHONPATH": str(wheel), "PATH": ""}
    done = subprocess.run(
        call, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("usage: bccd predict")
    where = "from bccd_d2 import cli; print(cli.find_script('predict'))"
    done = subprocess.run(
        [sys.executable, "-c", where], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.stdout.strip() == str(wheel / "bccd_d2" / "tools" / "predict.py")
