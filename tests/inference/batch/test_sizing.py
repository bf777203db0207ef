"""The size of the cells of a run: given, common, or each image's own."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("detectron2")

from bccd_d2.inference.batch.sizing import Sizing, middle, plan_sizes
from bccd_d2.inference.batch.sources import Job
from bccd_d2.inference.diameter import DiameterEstimate
from bccd_d2.segmenter import Segmenter

KNOWN = {"a": 40.0, "b": 42.0, "c": 44.0, "far": 90.0, "empty": None}


class Model(Segmenter):
    """A model that knows the size of the cells of a few images by their first pixel."""

    def __init__(self, diameter: float | None = 100.0) -> None:
        one = SimpleNamespace(name="toy", score_threshold=0.5, diameter=diameter)
        super().__init__([one])

    def estimate_diameter(self, image: np.ndarray) -> DiameterEstimate:
        px = list(KNOWN.values())[int(image[0, 0, 0])]
        return DiameterEstimate(px, float(px is not None), 9, "told")


def jobs(*names: str) -> list[Job]:
    return [Job(name, Path(f"{name}.png")) for name in names]


def read(job: Job) -> np.ndarray:
    if job.name not in KNOWN:
        raise ValueError("unreadable")
    return np.full((8, 8, 3), list(KNOWN).index(job.name), np.uint8)


def test_auto_is_the_median_and_names_images_that_are_apart():
    found = plan_sizes("auto", None, Model(), jobs("a", "b", "broken", "c", "far", "empty"), read)
    assert (found.mode, found.px, found.apart) == ("auto", 43.0, ("far",))
    assert "cells of far are of another size than the common 43 px" in found.warnings[0]
    assert "--diameter each" in found.warnings[0]


@pytest.mark.parametrize("names", [("empty",), ("broken",)])
def test_no_size_is_said_with_a_remedy_that_works(names):
    found = plan_sizes("auto", None, Model(), jobs(*names), read)
    assert found.px is None and "say --diameter PX" in found.warnings[0]
    assert plan_sizes("43", None, Model(), jobs(*names), read).px == 43.0


def test_each_given_and_scale():
    assert plan_sizes("each", None, Model(), jobs("a"), read).mode == "each"
    given = Sizing("given", 43.5, "43.5 px were given")
    assert plan_sizes("43.5", None, Model(), [], read) == given
    assert plan_sizes("auto", 2.0, Model(), jobs("a"), read).px is None
    for wrong in ("large", "0", "nan", "-3"):
        with pytest.raises(ValueError, match="diameter must be"):
            plan_sizes(wrong, None, Model(), [], read)


def test_a_model_of_one_size_keeps_its_scale_and_refuses_a_diameter():
    assert plan_sizes("auto", None, Model(None), jobs("a"), read).warnings == []
    assert plan_sizes("each", None, Model(None), jobs("a"), read).mode == "scale"
    with pytest.raises(ValueError, match="give a scale"):
        plan_sizes("40", None, Model(None), jobs("a"), read)


def test_scales_follow_the_diameter():
    assert Model().scale_for(50) == 2.0 and Model().scale_for(None) == 1.0
    assert middle(np.zeros((3000, 10, 3), np.uint8)).shape == (2048, 10, 3)
