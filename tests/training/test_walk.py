"""Few files see the config: the others take what they need."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("detectron2")

from ..walk import follow


def test_few_files_are_handed_the_config(small_config, tmp_path: Path):
    from bccd_d2.training.run import run

    def train() -> None:
        run(small_config(tmp_path / "run", "SOLVER.MAX_ITER", "2"))

    _, given = follow(train)
    builders = {"modeling/build.py", "modeling/options.py", "models/preprocessing.py",
                "modeling/rcnn/cell_rcnn.py", "modeling/rcnn/mask_head.py",
                "modeling/rcnn/roi_heads.py"}  # fmt: skip
    engine = {f"training/{name}.py" for name in ("build", "checks", "loaders", "run")}
    assert given == {"config/keys.py", "config/load.py"} | builders | engine
    assert len(given) <= 12
