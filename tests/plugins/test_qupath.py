"""QuPath's script run by Groovy, where QuPath's own classes are stand-ins that record their calls.

Needs Debian's groovy. QuPath itself is not started.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest
from own_command import ENVIRONMENT, REPO, write_command

from bccd_d2.cli.predict import main as predict
from bccd_d2.synth.smear import draw_smear

HERE = Path(__file__).resolve().parent
X, Y, WIDTH, HEIGHT = 100, 50, 300, 260
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not shutil.which("groovy"), reason="needs groovy"),
]


def run(folder: Path, *selection: int) -> dict:
    """What the script gives QuPath for the smear in a folder."""
    command = write_command(folder)
    script = (REPO / "integrations" / "qupath" / "bccd.groovy").read_text(encoding="utf-8")
    given = script.replace('def BCCD = "bccd"', f'def BCCD = "{command}"')
    (folder / "bccd.groovy").write_text(given, encoding="utf-8")
    call = ["groovy", "-cp", HERE, HERE / "qupath" / "drive.groovy", folder / "bccd.groovy",
            folder / "smear.png", folder / "record.json", *selection]  # fmt: skip
    done = subprocess.run([*map(str, call)], timeout=240, env=ENVIRONMENT, capture_output=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads((folder / "record.json").read_text())


def corners(objects: list) -> list[np.ndarray]:
    return [np.array(one["geometry"]["coordinates"][0]) for one in objects]


def test_the_cells_of_a_selection_come_in_at_their_place_with_types(tmp_path):
    smear = draw_smear(seed=5, size=(400, 500), n_cells=14)
    cv2.imwrite(str(tmp_path / "smear.png"), smear.image[..., ::-1])
    part = smear.image[Y : Y + HEIGHT, X : X + WIDTH]
    cv2.imwrite(str(tmp_path / "part.png"), part[..., ::-1])
    taken = run(tmp_path, X, Y, WIDTH, HEIGHT)
    given = ["--images", str(tmp_path / "part.png"), "--out", str(tmp_path / "out"), "--quiet"]
    assert predict([*given, "--save", "geojson", "--pixel-size", "0.1"]) == 0
    ours = json.loads((tmp_path / "out" / "geojson" / "part.geojson").read_text())["features"]
    assert len(taken["objects"]) == len(ours) >= 3 and taken["updates"] == 1
    for here, there in zip(corners(taken["objects"]), corners(ours), strict=True):
        np.testing.assert_array_equal(here, there + [X, Y])
    for here, there in zip(taken["objects"], ours, strict=True):
        assert here["properties"] == there["properties"]
        assert {"area_um2", "pallor_area"} <= set(here["properties"]["measurements"])


def test_without_a_selection_the_whole_image_is_looked_at(tmp_path):
    smear = draw_smear(seed=5, size=(300, 400), n_cells=8)
    cv2.imwrite(str(tmp_path / "smear.png"), smear.image[..., ::-1])
    every = np.concatenate(corners(run(tmp_path)["objects"]))
    assert every[:, 0].max() > 300 and every.min() >= 0
