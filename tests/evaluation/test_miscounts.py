"""What a model makes of cells, and the numbers of a slide corrected by it."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from bccd_d2.evaluation.cell_kinds import (
    GAMETOCYTE,
    INFECTED,
    OTHER,
    RED,
    WHITE,
    are_typed,
    kind_of,
)
from bccd_d2.evaluation.miscounts import Miscounts, TypedCells, compare_counts, read_miscounts
from bccd_d2.evaluation.slide_counts import Factors, cells_more, count_slide
from bccd_d2.masks.cells import Cells

TYPES = ("red blood cell", "ring", "gametocyte", "neutrophil", "lymphocyte", "platelet")
TRUE = np.array([3000, 60, 10, 50, 30, 150])  # in ten images
RATES = np.diag([0.95, 0.8, 0.9, 0.9, 0.9, 0.7])
RATES[0, 1] = 0.004  # red cells taken for rings
RATES[3, 4] = RATES[4, 3] = 0.1
BOTH = np.array([True, True])


def measured(images: int = 10) -> Miscounts:
    """The same errors in every image, a tenth of them each."""
    truth = np.tile(TRUE // images, (images, 1)) * 10
    found = np.round(truth[:, :, None] * RATES).astype(int)
    return Miscounts(TYPES, truth, found, np.zeros_like(truth), ("abc",), "a test")


def squares(places, image_size=(60, 60)) -> Cells:
    labels = np.zeros(image_size, np.int32)
    for index, (y, x) in enumerate(places, start=1):
        labels[y : y + 10, x : x + 10] = index
    return Cells.from_label_map(labels)


def typed(places, types) -> TypedCells:
    cells = squares(places)
    return TypedCells(cells.rles, cells.boxes, np.array(types, dtype=int), cells.image_size)


def test_names_of_types():
    assert kind_of("Red_Blood-Cell") == RED and kind_of("RBCs") == RED
    assert kind_of("Ring") == INFECTED and kind_of("gametocyte") == GAMETOCYTE
    assert kind_of("Neutrophils") == WHITE and kind_of("dust") == OTHER
    assert are_typed(["cell", "ring"]) and not are_typed(["cell"])


def test_matched_confused_missed_and_invented():
    truth = typed([(5, 5), (5, 20), (20, 5), (50, 20)], [0, 0, 1, 0])  # the last at the bottom
    found = typed([(5, 5), (6, 20), (35, 35)], [0, 1, 0])
    true, found_as, invented = compare_counts(truth, found, BOTH)
    assert true.tolist() == [2, 1]
    assert found_as.tolist() == [[1, 1], [0, 0]]
    assert invented.tolist() == [1, 0]


def test_a_true_cell_of_no_type_says_nothing_of_types():
    places = [(5, 5), (5, 20), (20, 5), (20, 20)]
    true, found_as, invented = compare_counts(
        typed(places, [0, -1, 1, -1]), typed(places[:3], [0, 0, 0]), BOTH
    )
    assert true.tolist() == [1, 1] and found_as.tolist() == [[1, 0], [1, 0]]
    assert invented.tolist() == [0, 0]
    *_, most = compare_counts(typed(places, [-1] * 4), typed([(35, 35), (35, 5)], [0, 1]), BOTH)
    assert most.tolist() == [0, 0]


def test_a_type_that_nobody_marks_is_not_invented_and_an_unsure_cell_is_missed():
    truth = typed([(5, 5), (5, 20)], [0, 0])
    found = typed([(5, 5), (5, 20), (35, 35), (35, 5)], [1, -1, 1, 0])
    true, found_as, invented = compare_counts(truth, found, np.array([True, False]))
    assert true.tolist() == [2, 0] and found_as.tolist() == [[0, 1], [0, 0]]
    assert invented.tolist() == [1, 0]


def test_boxes_without_masks_are_matched_by_boxes():
    truth = replace(typed([(5, 5), (20, 20)], [0, 1]), rles=None)
    found = typed([(6, 5), (35, 35)], [0, 0])
    true, found_as, invented = compare_counts(truth, found, BOTH)
    assert true.tolist() == [1, 1] and found_as.tolist() == [[1, 0], [0, 0]]
    assert invented.tolist() == [1, 0]


def test_inventions_are_for_each_true_cell_of_images_where_the_type_is_marked():
    truth, told = np.array([[100, 10], [900, 0]]), np.array([[True, True], [True, False]])
    found = np.zeros((2, 2, 2), dtype=int)
    rates = Miscounts(("red", "platelet"), truth, found, np.array([[0, 11], [10, 0]]), told=told)
    np.testing.assert_allclose(rates.rates()[0], [10 / 1010, 11 / 110])
    more = count_slide(("red", "platelet", "white"), np.array([[90, 9, 0]] * 5), rates)
    assert more[0].key == "red_cells"


def test_inventions_widen_what_is_known_of_false_alarms():
    truth = np.array([[90, 10]] * 6)
    found = np.array([[[90, 0], [0, 10]]] * 6)
    one, other, counts = np.array([False, True]), np.array([True, False]), np.array([90, 10])
    plain = Miscounts(("red", "infected"), truth, found, np.zeros((6, 2), int))
    more = replace(plain, invented=np.array([[0, 1]] * 6))
    quiet, loud = (m.channel(one, other, counts).alarms for m in (plain, more))
    assert quiet.rate == 0 and loud.n == pytest.approx(540 + 6 * 0.9)
    assert loud.rate == pytest.approx(0.06 / 5.46, rel=0.12)  # an invention for each 100 true cells
    assert loud.variance > quiet.variance


def test_a_file_comes_back_and_a_broken_one_is_named(tmp_path):
    path = tmp_path / "m.json"
    told = np.array([[True] * 6, [False] * 6] + [[True] * 6] * 8)
    path.write_text(json.dumps(replace(measured(), told=told).to_json()))
    back = read_miscounts(path)
    np.testing.assert_array_equal(back.found_as, measured().found_as)
    assert back.models == ("abc",) and back.types == TYPES
    np.testing.assert_array_equal(back.told, told)
    broken = measured().to_json()
    broken["images"][0]["truth"].pop()
    path.write_text(json.dumps(broken))
    with pytest.raises(ValueError, match=r"m\.json: an image has not one row .* bccd tune counts"):
        read_miscounts(path)


def test_a_mixed_count_is_unmixed():
    true = np.array([900, 30, 5, 20, 10, 60])
    np.testing.assert_allclose(measured().unmixed(RATES.T @ true), true, atol=0.5)


def test_a_type_of_which_hardly_a_cell_was_shown_takes_none_of_the_others():
    truth, found = measured().truth.copy(), measured().found_as.copy()
    truth[:, 3], found[:, 3] = 0, 0
    truth[0, 3] = found[0, 3, 0] = 1  # one neutrophil, taken for a red cell
    few = replace(measured(), truth=truth, found_as=found)
    counts = np.array([900, 30, 5, 0, 10, 60])
    assert few.unmixed(counts)[3] == 0
    both = (np.arange(6) == 3, np.arange(6) == 0)
    assert few.channel(*both, counts) is None


def slide(fields: int = 20) -> dict:
    """Quantities of a slide of 5% rings, of which the model sees what it should."""
    true = np.array([95, 5, 1, 4, 2, 8])
    counts = np.tile(np.round(RATES.T @ true * 100).astype(int), (fields, 1))
    found = count_slide(TYPES, counts, measured(), Factors(field_mm2=0.019))
    return {q.key: q for q in found}


def test_the_numbers_of_a_slide_are_corrected():
    found = slide()
    assert found["parasitaemia"].estimate.value == pytest.approx(100 * 5 / 101, rel=0.02)
    assert found["gametocytes"].estimate.value == pytest.approx(100 * 1 / 101, rel=0.02)
    assert found["white_neutrophil"].estimate.value == pytest.approx(100 * 4 / 6, rel=0.02)
    per_100 = found["platelets_per_100_red_cells"].estimate
    assert per_100.value == pytest.approx(100 * 8 / 101, rel=0.02)
    assert per_100.low < 100 * 8 / 101 < per_100.high
    reds = found["red_cells"].estimate.value
    assert found["red_cells_per_mm2"].estimate.value == pytest.approx(reds / 0.019)
    platelets = found["platelets_per_ul"]
    assert platelets.estimate.value == pytest.approx(per_100.value / 100 * reds * 2 * 15000)
    assert "x 15000" in platelets.remark


def test_gametocytes_are_no_part_of_the_parasitaemia():
    counts = np.zeros((6, 6), dtype=int)
    counts[:, 0], counts[:, 2] = 97, 3
    found = {q.key: q for q in count_slide(TYPES, counts)}
    assert found["parasitaemia"].estimate.value == 0
    assert found["gametocytes"].estimate.value == pytest.approx(3, abs=0.01)


def test_too_few_red_cells_ask_for_more_and_no_pixel_size_for_one():
    counts = np.array([[100, 2, 0, 1, 1, 3]] * 4)
    found = count_slide(TYPES, counts)
    assert cells_more(found) == [
        "count 92 more red cells: 500 is the least",
        "count 92 more white cells: 100 is the least",
    ]
    by_key = {q.key: q for q in found}
    assert by_key["platelets_per_ul"].estimate.value is None
    assert "give the pixel size" in by_key["platelets_per_ul"].estimate.note
    given = {q.key: q for q in count_slide(TYPES, counts, None, Factors(None, 20000, True))}
    assert given["platelets_per_ul"].estimate.value == pytest.approx(60000, rel=1e-3)


def test_cells_without_types_are_cells():
    found = count_slide(("cell",), np.array([[70], [80], [90]]))
    assert [q.key for q in found] == ["cells"] and found[0].estimate.value == 80


def test_types_that_nobody_counts_are_said():
    found = count_slide(("rbc", "dust", "unsure"), np.array([[90, 3, 2]] * 3))
    left = {q.key: q for q in found}
    assert left["other"].counted == 9 and "dust" in left["other"].remark
    assert left["unsure"].counted == 6
