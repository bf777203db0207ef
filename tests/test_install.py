"""The detectron2 installer stops on anything it was not written for, and reports what is there."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import install_detectron2 as installer
import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from bccd_d2._detectron2 import INSTALL_COMMAND, require_detectron2

SDIST = os.environ.get("BCCD_DETECTRON2_SDIST")


@pytest.fixture
def source(tmp_path):
    """An unpacked source in which every mend of the table finds its text as often as counted."""
    for mend in installer.MENDS:
        path = tmp_path / mend.file
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as stream:
            stream.write(f"{mend.old}\n" * mend.times)
    return tmp_path


def test_every_mend_changes_something():
    assert len(set(installer.MENDS)) == len(installer.MENDS)
    for mend in installer.MENDS:
        assert mend.times > 0
        assert mend.old != mend.new
        assert not Path(mend.file).is_absolute()


def test_mends_replace_all_they_counted(source):
    installer.apply_mends(source)
    for mend in installer.MENDS:
        text = (source / mend.file).read_text()
        assert text.count(mend.new.strip()) >= mend.times
        if mend.old not in mend.new:
            assert mend.old not in text.replace(mend.new, "")


@pytest.mark.parametrize("change", [lambda t, old: t.replace(old, "x", 1), lambda t, old: t + old])
@pytest.mark.parametrize("number", range(1, len(installer.MENDS) + 1))
def test_a_changed_source_stops_and_names_the_mend(source, number, change):
    mend = installer.MENDS[number - 1]
    path = source / mend.file
    path.write_text(change(path.read_text(), mend.old))
    before = {p: p.read_text() for p in source.rglob("*.py")}
    with pytest.raises(installer.InstallError, match=rf"mend {number} of .*wanted {mend.times}"):
        installer.apply_mends(source)
    assert {p: p.read_text() for p in source.rglob("*.py")} == before


def test_a_missing_file_stops(source):
    (source / installer.MENDS[0].file).unlink()
    with pytest.raises(installer.InstallError, match="mend 1 of .*is not in the source"):
        installer.apply_mends(source)


def test_another_archive_stops_before_it_is_unpacked(tmp_path, capsys, monkeypatch):
    fake = tmp_path / "pb1-detectron2-0.6.tar.gz"
    fake.write_bytes(b"something else")
    monkeypatch.setattr(installer, "unpack", lambda *_: pytest.fail("unpacked a wrong archive"))
    arguments = ["--sdist", str(fake), "--wheel-dir", str(tmp_path)]
    assert installer.main(arguments) == 1
    message = capsys.readouterr().err
    assert str(fake) in message
    assert installer.SHA256 in message


def test_a_missing_archive_is_named(tmp_path, capsys):
    missing = tmp_path / "none.tar.gz"
    assert installer.main(["--sdist", str(missing), "--wheel-dir", str(tmp_path)]) == 1
    assert f"{missing}: no such file" in capsys.readouterr().err


def test_an_archive_that_leaves_its_folder_is_refused(tmp_path):
    if not hasattr(tarfile, "data_filter"):
        pytest.skip("this Python's tarfile has no filters")
    archive = tmp_path / "a.tar.gz"
    (tmp_path / "x").write_text("x")
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(tmp_path / "x", arcname="top/../../outside")
    with pytest.raises(tarfile.FilterError):
        installer.unpack(archive, tmp_path / "into")


def test_check_reports_what_is_installed(capsys):
    detectron2 = pytest.importorskip("detectron2")
    assert installer.main(["--check"]) == 0
    report = dict(line.split(":", 1) for line in capsys.readouterr().out.splitlines())
    assert list(report) == "detectron2,folder,compiled ops,torch,torchvision,CUDA,GPUs".split(",")
    assert report["detectron2"].strip() == detectron2.__version__
    assert Path(report["folder"].strip()) == Path(detectron2.__file__).parent
    assert report["compiled ops"].strip() in ("yes", "no")


def test_check_without_detectron2_says_what_to_run(capsys, monkeypatch):
    monkeypatch.setattr(installer.importlib.util, "find_spec", lambda name: None)
    assert installer.main(["--check"]) == 1
    assert installer.TO_RUN in capsys.readouterr().err


def test_one_that_is_there_is_left_alone(monkeypatch, capsys):
    monkeypatch.setattr(installer, "probe", lambda: {"detectron2": "0.6"})
    monkeypatch.setattr(installer, "install", lambda _: pytest.fail("replaced a detectron2"))
    assert installer.main([]) == 0
    assert "0.6" in capsys.readouterr().out


def test_a_broken_one_is_reported_and_not_replaced(monkeypatch, capsys):
    pytest.importorskip("detectron2")
    monkeypatch.setattr(installer, "_PROBE", "import no_such_module_at_all")
    monkeypatch.setattr(installer, "install", lambda _: pytest.fail("replaced a detectron2"))
    assert installer.main([]) == 1
    message = capsys.readouterr().err
    assert "no_such_module_at_all" in message
    assert "--force" in message


def test_force_replaces_it(monkeypatch, capsys):
    called = []
    monkeypatch.setattr(installer, "install", called.append)
    monkeypatch.setattr(installer, "probe", lambda: {"detectron2": "0.6"})
    assert installer.main(["--force"]) == 0
    assert len(called) == 1


def test_the_stand_in_for_the_compiled_ops_speaks_at_call_time():
    namespace = {}
    exec(installer.MISSING_OPS, namespace)
    ops = namespace["MissingOps"]()
    assert not hasattr(ops, "__deepcopy__")
    with pytest.raises(RuntimeError, match="box_iou_rotated needs compiled ops"):
        ops.box_iou_rotated(1, 2)


def test_require_detectron2_names_the_command(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=INSTALL_COMMAND):
        require_detectron2()


def test_require_detectron2_finds_it():
    pytest.importorskip("detectron2")
    require_detectron2()
    assert INSTALL_COMMAND == installer.TO_RUN


@pytest.mark.slow
@pytest.mark.skipif(not SDIST, reason="set BCCD_DETECTRON2_SDIST to the source archive")
def test_the_wheel_builds_from_the_archive(tmp_path, capsys):
    assert installer.main(["--sdist", SDIST, "--wheel-dir", str(tmp_path)]) == 0
    with zipfile.ZipFile(tmp_path / "detectron2-0.6-py3-none-any.whl") as wheel:
        names = wheel.namelist()
        text = "".join(wheel.read(n).decode() for n in names if n.endswith(".py"))
    assert "detectron2/_missing_ops.py" in names
    assert "detectron2/projects/point_rend/__init__.py" in names
    assert not [n for n in names if n.endswith((".so", ".cu", ".cpp"))]
    assert not [w for w in ("np.bool)", "np.int)", "np.float)", "Image.LINEAR") if w in text]


def test_the_training_says_what_to_run_without_detectron2():
    code = (
        "import importlib.util as u; find = u.find_spec; "
        "u.find_spec = lambda name, *a: None if name == 'detectron2' else find(name, *a); "
        "import bccd_d2.training"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert "ImportError: bccd_d2 needs detectron2" in done.stderr and INSTALL_COMMAND in done.stderr


def test_known_noise_is_hushed_here_and_in_children(monkeypatch):
    import warnings

    from bccd_d2 import _detectron2

    monkeypatch.setenv("PYTHONWARNINGS", "error::ResourceWarning")
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        _detectron2.hush_detectron2()
        warnings.warn_explicit("old", FutureWarning, "script.py", 1, module="torch.jit._script")
        warnings.warn_explicit("mine", FutureWarning, "mine.py", 1, module="bccd_d2.x")
        code = (
            "import warnings; "
            "warnings.warn_explicit('old', FutureWarning, 's', 1, 'torch.jit._script')"
        )
        child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert [str(w.message) for w in seen] == ["mine"] and child.stderr == ""
    assert os.environ["PYTHONWARNINGS"].endswith(",error::ResourceWarning")


def test_a_pin_leaves_each_python_that_its_release_does_not_support():
    """Otherwise pip finds no set of versions there, and the set-up ends."""
    pins = (Path(__file__).parents[1] / "constraints.txt").read_text().splitlines()
    checked, broken = 0, []
    for pin in (Requirement(line) for line in pins if line and not line.startswith("#")):
        try:
            installed = importlib.metadata.metadata(pin.name)
        except importlib.metadata.PackageNotFoundError:
            continue
        if not pin.specifier.contains(installed["Version"]):
            continue
        checked += 1
        supported = SpecifierSet(installed["Requires-Python"] or "")
        for python in ("3.10", "3.11", "3.12"):  # as the Makefile asks
            asked = pin.marker is None or pin.marker.evaluate({"python_version": python})
            if asked and not supported.contains(f"{python}.9"):
                broken.append(f"{pin} on {python}")
    assert checked and not broken
