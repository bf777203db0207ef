"""Every command line tool answers at once and has the same two functions."""

from __future__ import annotations

import argparse
import importlib
import resource
import subprocess
import sys
from pathlib import Path

import pytest

TOOLS = sorted((Path(__file__).resolve().parents[1] / "tools").glob("*.py"))
by_name = pytest.mark.parametrize("tool", TOOLS, ids=lambda path: path.name)


@by_name
def test_help_costs_under_two_seconds(tool, tmp_path):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, str(tool), "--help"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=60,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr
    assert tool.name in done.stdout
    # Processor time, which other programs on the machine do not change.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 2


@by_name
def test_parser_and_main(tool, capsys):
    module = importlib.import_module(tool.stem)
    parser = module.get_parser()
    assert isinstance(parser, argparse.ArgumentParser)
    undescribed = [action.dest for action in parser._actions if not action.help]
    assert undescribed == []
    with pytest.raises(SystemExit) as stopped:
        module.main(["--no-such-option"])
    assert stopped.value.code == 2
    assert "usage:" in capsys.readouterr().err
