"""The scripts for QuPath and Fiji ask `bccd predict` for what it knows, and read what it writes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bccd_d2.cli.predict import KINDS, get_parser
from bccd_d2.inference.batch.outputs import KINDS as WRITTEN

FOLDER = Path(__file__).resolve().parents[2] / "integrations"
SCRIPTS = ["qupath/bccd.groovy", "fiji/bccd.ijm"]


@pytest.mark.parametrize("script", SCRIPTS)
def test_flags_and_kinds_exist(script):
    text = (FOLDER / script).read_text(encoding="utf-8")
    known = {flag for action in get_parser()._actions for flag in action.option_strings}
    flags = set(re.findall(r'"(--[a-z-]+)"', text))
    assert {"--images", "--out", "--quiet"} <= flags <= known
    saved = re.findall(r'"--save"((?:, "[a-z]+")+)', text)
    kinds = {kind for one in saved for kind in re.findall(r'"([a-z]+)"', one)}
    assert kinds and kinds <= set(KINDS)


@pytest.mark.parametrize("script", SCRIPTS)
def test_files_have_the_names_that_are_read(script):
    text = (FOLDER / script).read_text(encoding="utf-8")
    text = text.replace('" + File.separator + "', "/")
    read = set(re.findall(r"(labels|csv|geojson)/field(\.[a-z]+)", text))
    assert read and all(WRITTEN[kind] == suffix for kind, suffix in read)
