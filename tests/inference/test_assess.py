"""Candidates, cut afterwards, are the answer; and a Segmenter says whether to trust it."""

from __future__ import annotations

from types import SimpleNamespace

import cv2
import numpy as np
import pytest

pytest.importorskip("detectron2")

from bccd_d2.inference.diameter import DiameterEstimate
from bccd_d2.masks.cells import Cells
from bccd_d2.segmenter import Segmenter

DISCS = [(60, 60), (60, 160), (160, 60), (160, 160), (110, 110)]


def smear(size: int = 220) -> np.ndarray:
    image = np.full((size, size, 3), (235, 225, 230), np.uint8)
    for x, y in DISCS:
        cv2.circle(image, (x, y), 20, (190, 110, 130), -1, cv2.LINE_AA)
    return image


class Discs(SimpleNamespace):
    """Finds the red-brown parts of an image; the scores are given, from the top."""

    looks_at_whole, name, score_threshold = False, "discs", 0.5

    def __call__(self, images, *, zoom, whole):
        self.zooms.append(zoom)
        return [self.cells(image) for image in images]

    def cells(self, image: np.ndarray) -> Cells:
        count, labels = cv2.connectedComponents((image[..., 1] < 160).astype(np.uint8))
        return Cells.from_label_map(labels, np.resize(self.scores, count - 1))


def model(scores=(0.95,), diameter: float | None = 40.0) -> Segmenter:
    return Segmenter([Discs(scores=scores, diameter=diameter, zooms=[])])


@pytest.mark.parametrize("tile", [0, 120])
def test_candidates_above_the_threshold_are_the_answer(tile):
    asked = model((0.9, 0.3, 0.6, 0.1, 0.5))
    options = asked.options(tile=tile, overlap=60, scale=1.0)
    candidates = asked.candidates(smear(), options)
    answer = asked.predict_with(smear(), options)
    kept = candidates.above(0.5)
    assert kept.rles == answer.rles and kept.scores.tolist() == answer.scores.tolist()
    lowest = min(candidates.scores)
    assert lowest == pytest.approx(0.3 if tile == 0 else 0.5, abs=0.11)


def test_a_prediction_says_its_size_and_that_it_is_fine():
    cells = model().predict(smear(), diameter=40)
    assert (len(cells), cells.diameter, cells.trust.complaint) == (5, 40.0, "")
    assert cells.trust.score > 0.8 and cells[:2].trust is cells.trust
    assert cells.above(0.99).diameter == 40.0
    assert model().predict(smear(), scale=1.0).diameter is None


def test_missed_and_doubtful_cells_are_a_reason_to_look():
    cells = model((0.9, 0.3, 0.3, 0.3, 0.3)).predict(smear(), diameter=40)
    assert len(cells) == 1
    assert "of the stained area has no outline" in cells.trust.complaint
    assert "scored too low to be reported" in cells.trust.complaint
    wrong = model().predict(smear(), diameter=120)
    assert wrong.trust.measures["size"] == pytest.approx(1.0, abs=0.05)


def test_all_candidates_asked_for_are_trusted_at_the_operating_point():
    asked = model((0.9, 0.3, 0.3, 0.3, 0.1))
    weak = asked.predict(smear(), 0.05, diameter=40)
    assert len(weak) == 5
    assert weak.trust == asked.predict(smear(), diameter=40).trust


def test_a_model_of_one_size_goes_by_its_own_cells():
    cells = model(diameter=None).predict(smear())
    assert cells.diameter is None and cells.trust.complaint == ""
    assert cells.trust.measures["size"] < 0.05 and cells.trust.measures["unsized"] == 0.0


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (40, 40)])
@pytest.mark.parametrize("diameter", [None, 40.0])
def test_an_image_without_cells_is_to_be_checked(size, diameter):
    cells = model(diameter=diameter).predict(np.full((*size, 3), 230, np.uint8), scale=1.0)
    assert len(cells) == 0 and cells.trust.complaint == "no cell was found"


def test_nothing_is_said_of_cells_where_there_are_none():
    weak = model((0.3,)).predict(smear(), diameter=40).trust.reasons
    assert weak[0] == "no cell was found" and len(weak) == 3
    assert sum("scored too low" in reason for reason in weak) == 1
    asked = model()
    none = asked.assess(smear(), Cells.empty((220, 220)), asked.options(scale=1.0))
    assert none.reasons == ("no cell was found", "100% of the stained area has no outline")


def test_an_unknown_size_counts_against_it():
    asked = model()
    options = asked.options(scale=1.0)
    candidates = asked.candidates(smear(), options)
    unknown = DiameterEstimate(None, 0.0, 0, "no cell was found at any size")
    found = asked.assess(smear(), candidates, options, unknown)
    assert found.measures["unsized"] == 1.0 and found.needs_a_look()
    assert found.complaint.startswith("the cells' size could not be estimated: say what it is")
    assert asked.assess(smear(), candidates, options).measures["unsized"] == 0.0
