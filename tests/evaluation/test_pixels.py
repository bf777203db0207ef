"""Pixel scores against dense masks, by hand, and never 1.0 for a wrong mask."""

from __future__ import annotations

import numpy as np
import pytest

from bccd_d2.evaluation.pixels import (
    PixelCounts,
    class_ratios,
    count_pixels,
    pixel_ratios,
    pixel_scores,
)
from bccd_d2.masks.cells import Cells
from bccd_d2.masks.rle import encode_crop


def cells_of(mask: np.ndarray) -> Cells:
    return Cells.from_rles([encode_crop(mask, 0, 0, mask.shape)], mask.shape)


def ratios(truth: Cells, found: Cells) -> dict[str, float]:
    return pixel_ratios(count_pixels(truth, found))


def test_half_a_rectangle_by_hand() -> None:
    truth, found = np.zeros((10, 10), bool), np.zeros((10, 10), bool)
    truth[2:6, 0:10] = True  # 40 px
    found[4:6, 0:10] = True  # 20 of them
    found[8, 0:5] = True  # and 5 elsewhere
    values = ratios(cells_of(truth), cells_of(found))
    assert values["IoU"] == pytest.approx(20 / 45)
    assert values["Dice"] == pytest.approx(40 / 65)
    assert values["precision"] == pytest.approx(20 / 25)
    assert values["recall"] == pytest.approx(20 / 40)
    assert values["accuracy"] == pytest.approx(75 / 100)


def test_unions_of_overlapping_cells_equal_dense_counting(dense) -> None:
    for truth, found in zip(*dense, strict=True):
        one, two = truth.union(), found.union()
        wanted = PixelCounts(int((one & two).sum()), int(one.sum()), int(two.sum()), one.size)
        assert count_pixels(truth, found) == wanted


@pytest.mark.parametrize("seed", range(30))
def test_only_the_very_same_pixels_score_one(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.random((40, 50)) < 0.4
    assert set(ratios(cells_of(truth), cells_of(truth)).values()) == {1.0}
    wrong = truth.copy()
    y, x = rng.integers(0, 40), rng.integers(0, 50)
    wrong[y, x] = ~wrong[y, x]
    values = ratios(cells_of(truth), cells_of(wrong))
    assert values["IoU"] < 1 and values["Dice"] < 1 and values["accuracy"] < 1
    assert min(values["precision"], values["recall"]) < 1


def test_one_wrong_pixel_in_a_large_dataset_is_not_rounded_away() -> None:
    huge = 10**14
    values = pixel_ratios(PixelCounts(huge, huge, huge + 1, 3 * huge))
    assert values["Dice"] < 1 and values["IoU"] < 1 and values["precision"] < 1


def test_disjoint_and_empty() -> None:
    truth, found = np.zeros((10, 10), bool), np.zeros((10, 10), bool)
    truth[:3], found[5:] = True, True
    nothing = Cells.empty((10, 10))
    values = ratios(cells_of(truth), cells_of(found))
    assert [values[k] for k in ("IoU", "Dice", "precision", "recall")] == [0, 0, 0, 0]
    assert set(ratios(nothing, nothing).values()) == {1.0}
    for one, two in ((cells_of(truth), nothing), (nothing, cells_of(truth))):
        values = ratios(one, two)
        assert [values[k] for k in ("IoU", "Dice", "precision", "recall")] == [0, 0, 0, 0]
        assert values["accuracy"] == pytest.approx(0.7)


def test_pooled_and_mean_per_image_differ_as_they_should() -> None:
    images = [PixelCounts(90, 100, 100, 1000), PixelCounts(0, 10, 0, 1000)]
    values = pixel_scores(images)
    assert values["Dice"] == pytest.approx(180 / 210)
    assert values["Dice_image_mean"] == pytest.approx((0.9 + 0) / 2)
    assert values["recall_image_mean"] == pytest.approx(0.45)
    empty = pixel_scores([PixelCounts(0, 0, 0, 1000), PixelCounts(0, 0, 5, 1000)])
    assert set(empty.values()) == {None} and empty.keys() == values.keys()
    with pytest.raises(ValueError, match="images is empty"):
        pixel_scores([])


def test_classes_by_hand() -> None:
    # 100 px: 40 true, 25 found, 20 of them right; background: 60 true, 75 found, 55 right.
    values = class_ratios(PixelCounts(20, 40, 25, 100))
    assert values["IoU"] == pytest.approx(20 / 45)
    assert values["background_IoU"] == pytest.approx(55 / 80)
    assert values["background_Dice"] == pytest.approx(110 / 135)
    assert values["background_precision"] == pytest.approx(55 / 75)
    assert values["background_recall"] == pytest.approx(55 / 60)
    assert values["class_mean_IoU"] == pytest.approx((20 / 45 + 55 / 80) / 2)
    assert values["class_mean_recall"] == pytest.approx((0.5 + 55 / 60) / 2)
    assert values["accuracy"] == pytest.approx(0.75)
    assert PixelCounts(20, 40, 25, 100).background.background == PixelCounts(20, 40, 25, 100)


def test_classes_that_are_nowhere() -> None:
    nothing = class_ratios(PixelCounts(0, 0, 0, 50))
    everything = class_ratios(PixelCounts(50, 50, 50, 50))
    assert set(nothing.values()) == set(everything.values()) == {1.0}
    invented = class_ratios(PixelCounts(0, 0, 10, 50))
    assert invented["IoU"] == 0 and invented["background_IoU"] == pytest.approx(0.8)
    assert invented["background_precision"] == 1 and invented["class_mean_IoU"] == 0.4


def test_spread_over_images_by_hand() -> None:
    # Recalls .2, .4, .6, .8 and 1.
    images = [PixelCounts(20 * k, 100, 100, 1000) for k in range(1, 6)]
    values = pixel_scores(images)
    quartiles = [values[f"recall_image_{name}"] for name in ("q25", "median", "q75", "mean")]
    assert quartiles == pytest.approx([0.4, 0.6, 0.8, 0.6])
    two = pixel_scores(images[:2])
    assert two["recall_image_q25"] == pytest.approx(0.25)
    assert two["IoU_image_median"] == pytest.approx((20 / 180 + 40 / 160) / 2)
    assert (
        values["class_mean_Dice"]
        == class_ratios(PixelCounts(300, 500, 500, 5000))["class_mean_Dice"]
    )


def test_two_image_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="image size"):
        count_pixels(Cells.empty((4, 5)), Cells.empty((5, 4)))
