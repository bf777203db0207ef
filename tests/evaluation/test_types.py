"""Scores of types on small cases by hand, and against pycocotools' way with ignored objects."""

from __future__ import annotations

import numpy as np
import pytest

from bccd_d2.evaluation import types
from bccd_d2.evaluation.coco import coco_dataset, coco_scores
from bccd_d2.evaluation.typed import class_precisions, typed_details, typed_groups
from bccd_d2.evaluation.types import TypedImage
from bccd_d2.masks.cells import Cells
from bccd_d2.masks.classes import Classes
from bccd_d2.masks.overlap import Matches
from bccd_d2.masks.rle import encode_crop

RED, INFECTED, WHITE, PLATELET = range(4)
CLASSES = Classes(
    ("red", "ring", "white", "platelet"), ("cell", "cell/red/infected", "cell", "cell")
)
ANY = [True] * 4


def typed(truth: list, predicted: list[int], pairs: list[tuple], scores=None) -> TypedImage:
    """Truth by class id, or by what it may be; pairs (predicted, true, IoU)."""
    allowed = [t if isinstance(t, list) else [k == t for k in range(4)] for t in truth]
    rows, columns, iou = np.array(pairs).reshape(-1, 3).T
    scores = np.ones(len(predicted)) if scores is None else np.array(scores)
    return TypedImage(
        np.array(allowed, dtype=bool).reshape(-1, 4), np.array(predicted, dtype=np.int64),
        scores, np.ones(len(predicted)), Matches(rows.astype(int), columns.astype(int), iou),
    )  # fmt: skip


@pytest.fixture
def image() -> TypedImage:
    """A red found, a red called ring, a ring missed, a white found; a platelet invented.

    Another true cell is of unknown type, and found as a ring. The last prediction is weak.
    """
    return typed(
        [RED, RED, INFECTED, WHITE, ANY],
        [RED, INFECTED, WHITE, PLATELET, INFECTED, WHITE],
        [(0, 0, 0.9), (1, 1, 0.8), (2, 3, 0.6), (4, 4, 0.7)],
        [1, 1, 1, 1, 1, 0.2],
    )


def test_confusion_matrix_by_hand(image) -> None:
    assert types.confusion_matrix([image], 0.5, 4).tolist() == [
        [1, 1, 0, 0, 0],
        [0, 0, 0, 0, 1],
        [0, 0, 1, 0, 0],
        [0, 0, 0, 0, 0],
        [0, 0, 0, 1, 0],
    ]
    assert types.confusion_matrix([image], 0.1, 4)[4].tolist() == [0, 0, 1, 1, 0]
    nothing = typed([], [], [])
    assert types.confusion_matrix([nothing], 0.5, 4).sum() == 0
    assert types.confusion_matrix([typed([RED], [], [])], 0.5, 4)[RED].tolist() == [0, 0, 0, 0, 1]


def test_class_scores_by_hand(image) -> None:
    red, ring, white, platelet = types.class_scores([image], 0.5, 4)
    assert (red["truth"], red["predicted"], red["matched"]) == (2, 1, 1)
    assert red["precision"] == 1 and red["recall"] == 0.5
    assert red["F1"] == pytest.approx(2 / 3) and red["PQ"] == pytest.approx(2 * 0.9 / 3)
    # The ring that found a cell of unknown type is no mistake; the other one is.
    assert (ring["truth"], ring["predicted"], ring["matched"], ring["F1"]) == (1, 1, 0, 0)
    assert white["F1"] == 1 and white["PQ"] == pytest.approx(0.6)
    assert platelet["F1"] is None and platelet["predicted"] == 1


def test_a_cell_of_the_right_type_is_preferred() -> None:
    """Two outlines on one white cell: the better overlap is red, the white one still matches."""
    image = typed([WHITE], [RED, WHITE], [(0, 0, 0.8), (1, 0, 0.55)])
    assert types.class_scores([image], 0.5, 4)[WHITE]["matched"] == 1
    assert types.confusion_matrix([image], 0.5, 4)[WHITE].tolist() == [1, 0, 0, 0, 0]


def test_summary_is_over_classes_that_are_there(image) -> None:
    scores = types.class_scores([image], 0.5, 4)
    values = types.summary(scores, types.confusion_matrix([image], 0.5, 4))
    assert values["mF1"] == pytest.approx((2 / 3 + 0 + 1) / 3)
    assert values["accuracy"] == pytest.approx(2 / 3) and values["typed"] == 3
    assert values["balanced_accuracy"] == pytest.approx((0.5 + 1) / 2)
    assert "mAP" not in values
    empty = types.summary(
        types.class_scores([typed([], [], [])], 0.5, 4), np.zeros((5, 5), dtype=int)
    )
    assert empty["mF1"] is None and empty["accuracy"] is None


def test_the_counts_that_a_lab_reads() -> None:
    """A red cell of unknown stage is red, and neither infected nor not."""
    red_or_ring = [True, True, False, False]
    first = typed(
        [RED, RED, RED, INFECTED, WHITE, PLATELET, red_or_ring],
        [RED, RED, INFECTED, WHITE, PLATELET, PLATELET, INFECTED],
        [(0, 0, 1), (1, 1, 1), (2, 3, 1), (3, 4, 1), (4, 5, 1), (6, 6, 1)],
    )
    groups = types.group_counts([first, typed([WHITE], [], [])], 0.5, CLASSES)
    assert groups["red"][0].tolist() == [5, 0] and groups["red"][1].tolist() == [4, 0]
    assert groups["infected"][0].tolist() == [1, 0] and groups["infected"][1].tolist() == [1, 0]
    figures = types.lab_figures(groups)
    assert figures["parasitaemia"][0].tolist()[0] == 20
    assert figures["parasitaemia"][1].tolist()[0] == 25
    assert figures["platelets_per_100_red"][1].tolist()[0] == 50
    assert np.isnan(figures["parasitaemia"][0][1])
    errors = types.lab_errors(groups)
    assert errors["white_mae"] == 0.5 and errors["white_bias"] == -0.5
    assert errors["parasitaemia_bias"] == pytest.approx(5)
    assert errors["parasitaemia_pooled_truth"] == 20 and errors["parasitaemia_pooled"] == 25
    rows = types.scatter_rows(["a.png", "b.png"], groups)
    assert rows[1]["parasitaemia_truth"] is None and rows[0]["white_predicted"] == 1
    plain = types.group_counts([first], 0.5, Classes(("a", "b", "c", "d")))
    assert plain == {} and types.lab_errors(plain) == {}


def squares(*places: int, size=(20, 200)) -> Cells:
    rles = [encode_crop(np.ones((10, 10), bool), 5, x, size) for x in places]
    return Cells.from_rles(rles, size)


def precisions(truth, allowed, found, classes, scores, confidence=None) -> list[dict]:
    """AP of each class where predictions lie exactly on true cells or nowhere."""
    ids = np.array(classes)
    cells = Cells(found.image_size, found.rles, np.array(scores), ids)
    confidence = np.ones(len(ids)) if confidence is None else np.array(confidence)
    image = TypedImage(np.array(allowed), ids, cells.scores, confidence,
                       Matches(*np.zeros((2, 0), int), np.zeros(0)))  # fmt: skip
    given = coco_dataset([truth], "segm"), coco_dataset([cells], "segm")
    return class_precisions([image], *given, ("segm", 100), len(allowed[0]))


def test_ap_of_each_class_by_hand() -> None:
    truth = squares(0, 20, 40)
    allowed = [[True, False], [False, True], [True, False]]
    found = precisions(truth, allowed, squares(0, 20, 40), [0, 1, 1], [0.9, 0.8, 0.7])
    assert found[0]["AP50"] == pytest.approx(51 / 101)  # recall .5 at precision 1
    assert found[1]["AP50"] == pytest.approx(1)  # the false one ranks below
    ranked = precisions(
        truth, allowed, squares(0, 20, 40), [0, 1, 1], [0.9, 0.8, 0.7], [1, 0.1, 1]
    )
    assert ranked[1]["AP50"] == pytest.approx(0.5)  # now the false one ranks first
    assert precisions(truth, [[True, False]] * 3, truth, [0] * 3, [1] * 3)[1]["AP"] is None
    nothing = precisions(truth, allowed, squares(), [], [])
    assert nothing[0] == dict.fromkeys(("AP", "AP50", "AP75", "AR"), 0.0)


def test_a_cell_of_unknown_type_is_ignored_and_of_two_by_the_third_class_alone() -> None:
    truth = squares(0, 20)
    one, two_of_three = [True, False, False], [True, True, False]
    where = squares(0, 20)
    for called, precision in ((0, 1.0), (2, None)):
        found = precisions(truth, [one, two_of_three], where, [0, called], [0.5, 0.9])
        assert found[0]["AP"] == pytest.approx(1.0)
        assert found[2]["AP"] is precision or called == 0
    third = [[True, False, False], two_of_three, [False, False, True]]
    found = precisions(squares(0, 20, 40), third, squares(0, 20, 40), [0, 2, 2], [1, 0.9, 0.8])
    assert found[2]["AP50"] == pytest.approx(0.5)  # what cannot be of the third class is wrong
    found = precisions(squares(0, 20, 40), third, squares(0, 20, 40), [0, 0, 2], [0.5, 0.9, 0.8])
    assert found[0]["AP50"] == found[2]["AP50"] == pytest.approx(1)


def test_one_class_of_known_types_has_the_class_agnostic_ap() -> None:
    rng = np.random.default_rng(0)
    truth = squares(*range(0, 180, 20))
    noisy = squares(*np.clip(np.arange(0, 180, 20) + rng.integers(-4, 5, 9), 0, 190))
    scores = rng.uniform(0.1, 1, 9).astype(np.float32)
    cells = Cells(noisy.image_size, noisy.rles, scores, np.zeros(9))
    wanted = coco_scores([truth], [cells], task="segm", max_detections=100).values
    (found,) = precisions(truth, [[True]] * 9, noisy, [0] * 9, scores)
    assert found == {name: pytest.approx(wanted[name]) for name in found}


def test_groups_and_details(image) -> None:
    groups = typed_groups([image], None, 0.5, CLASSES)
    assert list(groups) == ["types", "type red", "type ring", "type white", "type platelet"]
    assert groups["types"]["white_mae"] == 0
    details = typed_details([image], ["a.png"], 0.5, CLASSES)
    assert details["names"] == list(CLASSES.names) and len(details["confusion"]) == 5
    assert details["counts"][0]["file_name"] == "a.png" and details["colours"][0] == "#c80000"
    assert typed_groups([typed([ANY], [RED], [(0, 0, 1)])], None, 0.5, CLASSES) == {}
