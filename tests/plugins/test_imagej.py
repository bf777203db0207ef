"""The macro in ImageJ itself, on a screen that is not there. Needs Debian's imagej and xvfb."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import cv2
import pytest
from own_command import ENVIRONMENT, REPO, write_command

from bccd_d2.synth.smear import draw_smear

JAR = Path("/usr/share/java/ij.jar")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (JAR.is_file() and shutil.which("java") and shutil.which("xvfb-run")),
        reason="needs imagej, java and xvfb",
    ),
]
DRIVE = """
open("FOLDER/smear.png");
run("Set Scale...", "distance=1 known=0.1 unit=um");
runMacro("FOLDER/bccd.ijm");
File.saveString(roiManager("count") + " " + getValue("results.count"), "FOLDER/said.txt");
run("Quit");
"""


def test_every_cell_becomes_a_roi_and_a_row(tmp_path):
    smear = draw_smear(seed=11, size=(300, 400), n_cells=6, style="grey")
    cv2.imwrite(str(tmp_path / "smear.png"), smear.image[..., ::-1])
    command = write_command(tmp_path)
    macro = (REPO / "integrations" / "fiji" / "bccd.ijm").read_text(encoding="utf-8")
    given = macro.replace('BCCD = "bccd";', f'BCCD = "{command}";')
    (tmp_path / "bccd.ijm").write_text(given, encoding="utf-8")
    (tmp_path / "drive.ijm").write_text(DRIVE.replace("FOLDER", str(tmp_path)))
    call = ["xvfb-run", "-a", "java", "-jar", str(JAR), "-macro", str(tmp_path / "drive.ijm")]
    subprocess.run(call, timeout=180, env=ENVIRONMENT, capture_output=True)
    rois, rows = (tmp_path / "said.txt").read_text().split()
    assert int(rois) == int(rows) >= 4
