"""tools/app.py: mistakes in one line, and a page that leaves nothing behind when it is stopped."""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import app
import pytest

REPO = Path(__file__).resolve().parents[2]


def test_without_gradio_it_says_how_to_get_it(monkeypatch, capsys):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "gradio" else find(name)
    )
    assert app.main([]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "pip install 'bccd_d2[app]'" in said


def test_what_cannot_work_is_named(tmp_path, capsys):
    pytest.importorskip("gradio", reason="needs gradio: pip install 'bccd_d2[app]'")
    pytest.importorskip("detectron2")
    assert app.main(["--weights", str(tmp_path)]) == 2
    assert "none of model_best" in capsys.readouterr().err
    assert app.main(["--port", "99999"]) == 2
    assert "the port must be 0 to 65535, got 99999" in capsys.readouterr().err
    assert app.main(["--max-megapixels", "0"]) == 2
    assert "limits must be above 0" in capsys.readouterr().err


@pytest.mark.slow
def test_served_until_it_is_told_to_stop(tmp_path):
    pytest.importorskip("gradio", reason="needs gradio: pip install 'bccd_d2[app]'")
    pytest.importorskip("detectron2")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    call = [sys.executable, str(REPO / "tools" / "app.py"), "--port", str(port), "--device", "cpu",
            "--config-file", str(REPO / "configs" / "otsu_watershed.yaml")]  # fmt: skip
    scratch = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(REPO)}
    killed, others = tmp_path / "bccd_d2_app_killed", tmp_path / "bccd_d2_appendix"
    for left in (killed, others):  # by a server that was killed; by another program
        (left / "uploads").mkdir(parents=True)
        (left / "uploads" / "smear.png").write_bytes(b"x")
    with subprocess.Popen(call, stdout=subprocess.PIPE, text=True, env=scratch) as process:
        try:
            line = process.stdout.readline()
            assert line.startswith(f"otsu_watershed at http://127.0.0.1:{port}/")
            [folder] = tmp_path.glob("bccd_d2_app_*")
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=30) as page:
                assert "Cells of a blood smear" in page.read().decode()
            assert [path.name for path in folder.iterdir() if path.is_file()] == [".in_use.json"]
            assert list((folder / "uploads").rglob("*.*")) == []
            assert not killed.exists() and others.exists()
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=10) == 0
        finally:
            process.kill()
    assert not folder.exists()
