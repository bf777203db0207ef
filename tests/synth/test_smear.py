"""One synthetic smear: determinism, exact labels, and a mask like an annotator's."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from bccd_d2.masks import labels
from bccd_d2.synth.annotate import annotate, leave_out_border_cells, part_cells
from bccd_d2.synth.cell import KINDS, Look, draw_red_cell, draw_white_cell, outline
from bccd_d2.synth.layout import place
from bccd_d2.synth.smear import draw_smear
from bccd_d2.synth.stains import STAINS

SMALL = (300, 400)


def components(mask: np.ndarray) -> np.ndarray:
    """Label map of the 8-connected components, by scipy rather than by OpenCV."""
    from scipy import ndimage

    return ndimage.label(mask, structure=np.ones((3, 3)))[0]


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
@pytest.mark.parametrize("size", [SMALL, (200, 260), (601, 433)])
def test_each_component_of_the_mask_is_one_annotated_cell(seed, size):
    smear = draw_smear(seed, size=size)
    parts = components(smear.mask == 255)
    assert np.all(np.bincount(parts.ravel())[1:] > 15)
    pairs = np.unique(np.stack([parts.ravel(), smear.annotation.ravel()]), axis=1)
    assert pairs.shape[1] == parts.max() + 1 == smear.annotation.max() + 1
    assert 10 <= smear.annotation.max() <= 190


@pytest.mark.parametrize("size", [(1200, 1600), (1383, 1944)])
def test_full_size_smears_have_the_datasets_cells(size):
    smear = draw_smear(3, size=size, n_cells=70)
    assert smear.image.shape == (*size, 3) and smear.image.dtype == np.uint8
    inside = ~labels.cell_touches_border(smear.label_map)
    assert smear.label_map.max() == 70
    assert 5500 < labels.cell_areas(smear.label_map)[inside].mean() < 11000
    assert 0.1 < (smear.mask > 0).mean() < 0.6


def test_the_seed_alone_decides():
    first, again, other = (draw_smear(seed, size=SMALL) for seed in (5, 5, 6))
    for name in ("image", "label_map", "annotation", "mask"):
        assert np.array_equal(getattr(first, name), getattr(again, name))
    assert not np.array_equal(first.image, other.image)


def test_arrays_are_as_promised():
    smear = draw_smear(1, size=SMALL)
    assert smear.image.shape == (*SMALL, 3) and smear.image.dtype == np.uint8
    assert smear.label_map.dtype == smear.annotation.dtype == np.int32
    assert smear.mask.dtype == np.uint8 and set(np.unique(smear.mask)) == {0, 255}
    assert np.array_equal(np.unique(smear.label_map), np.arange(smear.label_map.max() + 1))


def test_the_annotation_lies_within_the_drawn_cells():
    smear = draw_smear(2, size=SMALL, n_cells=25)
    assert not np.any((smear.annotation > 0) & (smear.label_map == 0))
    for cell in range(1, smear.annotation.max() + 1):
        owners = np.bincount(smear.label_map[smear.annotation == cell])
        assert owners[1:].max() > 0.5 * owners.sum()


@pytest.mark.parametrize("n_cells", [0, 1, 30, 190])
def test_n_cells_are_drawn(n_cells):
    smear = draw_smear(4, size=(480, 640), n_cells=n_cells)
    assert 0.97 * n_cells <= smear.label_map.max() <= n_cells
    assert smear.annotation.max() <= n_cells
    assert smear.annotation.max() >= min(n_cells, 10) * 0.9


@pytest.mark.parametrize("style", STAINS)
def test_every_stain_leaves_cells_darker_than_glass(style):
    smear = draw_smear(8, size=SMALL, style=style, n_cells=12)
    grey = smear.image.mean(axis=2)
    away = cv2.erode((smear.label_map == 0).astype(np.uint8), np.ones((15, 15))) > 0
    assert grey[smear.label_map > 0].mean() < grey[away].mean() - 4
    assert smear.style == style


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_cells": 191}, "n_cells must be a whole number from 0 to 190, got 191"),
        ({"n_cells": -1}, "got -1"),
        ({"n_cells": 2.5}, "got 2.5"),
        ({"size": (20, 400)}, "size must be .* at least 32"),
        ({"style": "green"}, "style must be one of violet, .*got 'green'"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        draw_smear(0, **arguments)


@pytest.mark.parametrize("vertical", [True, False])
def test_straight_cuts_are_one_to_four_pixels_wide(vertical):
    widths = set()
    for seed in range(40):
        label_map = np.ones((40, 40), dtype=np.int32)
        label_map[:, 20:] = 2
        parted = part_cells(label_map if vertical else label_map.T, np.random.default_rng(seed))
        cut = (parted if vertical else parted.T) == 0
        assert np.all(cut == cut[0])
        widths.add(int(cut[0].sum()))
    assert widths == {1, 2, 3, 4}


def test_slanting_cuts_stay_within_four_pixels():
    yy, xx = np.mgrid[:120, :120]
    for seed, turn in enumerate(np.linspace(0, np.pi, 24, endpoint=False)):
        side = (xx - 60) * np.cos(turn) + (yy - 60) * np.sin(turn)
        parted = part_cells(np.where(side < 0, 1, 2), np.random.default_rng(seed))
        assert components(parted > 0).max() == 2
        across = np.abs(side[(parted == 0)])
        assert across.max() <= 2.5


def test_cutting_leaves_lone_cells_alone():
    label_map = np.zeros((50, 90), dtype=np.int32)
    cv2.circle(label_map, (20, 25), 15, 1, -1)
    cv2.circle(label_map, (65, 25), 15, 2, -1)
    assert np.array_equal(part_cells(label_map, np.random.default_rng(0)), label_map)
    empty = np.zeros((50, 90), dtype=np.int32)
    assert np.array_equal(part_cells(empty, np.random.default_rng(0)), empty)


def test_border_cells_go_missing_and_interior_ones_do_not():
    label_map = np.zeros((400, 400), dtype=np.int32)
    for index in range(40):
        label_map[index * 10 : index * 10 + 6, :6] = index + 1
        label_map[index * 10 : index * 10 + 6, 50:80] = index + 41
    full = np.full(80, 180)
    kept = leave_out_border_cells(label_map, full, np.random.default_rng(0))
    left = np.unique(kept)
    assert np.count_nonzero(left > 40) == 40
    assert 0 < np.count_nonzero((left > 0) & (left <= 40)) < 20


def test_fragments_and_specks_are_not_annotated():
    label_map = np.zeros((60, 60), dtype=np.int32)
    label_map[5:40, 5:20] = 1
    label_map[5:40, 30:40] = 1
    label_map[50:53, 50:53] = 2
    drawn = annotate(label_map, np.array([900, 9]), np.random.default_rng(0))
    assert drawn.max() == 1
    assert np.array_equal(np.argwhere(drawn).min(axis=0), [5, 5])
    assert np.array_equal(np.argwhere(drawn).max(axis=0), [39, 19])


@pytest.mark.parametrize("kind", [*KINDS, "white"])
def test_cells_cover_the_area_of_their_radius(kind):
    rng = np.random.default_rng(1)
    look = Look(rng.standard_normal((300, 300), dtype=np.float32), 0.6, 0.2)
    assert outline(kind, 30, rng).shape == (1024,)
    if kind == "white":
        patch = draw_white_cell((50.3, 49.7), 30, look, rng)
        assert patch.purple.max() > 0.5
    else:
        patch = draw_red_cell(kind, (50.3, 49.7), 30, look, rng)
    area = np.count_nonzero(patch.depth > 0)
    assert area == pytest.approx(np.pi * 30**2, rel=0.02)
    centre = np.argwhere(patch.depth > 0).mean(axis=0) + np.array([patch.y0, patch.x0])
    assert np.abs(centre - (50.3, 49.7)).max() < 12
    assert np.all(patch.red[patch.depth < -2] == 0) and patch.red.min() >= 0


def test_pallor_makes_the_middle_thinner_than_the_rim():
    rng = np.random.default_rng(0)
    look = Look(np.zeros((300, 300), dtype=np.float32), 0.9, 0.2)
    thinner = 0
    for _ in range(10):
        patch = draw_red_cell("disc", (60, 60), 40, look, rng)
        inner, rim = patch.depth > 30, (patch.depth > 4) & (patch.depth < 12)
        thinner += patch.red[inner].mean() < 0.7 * patch.red[rim].mean()
    assert thinner >= 9


def test_unknown_kind_is_named():
    with pytest.raises(ValueError, match="kind must be one of disc"):
        outline("square", 10, np.random.default_rng(0))


def test_layout_parts_loose_cells_and_joins_clumped_ones():
    radii = np.full(40, 20.0)
    nearest = {}
    for clumped in (0.0, 1.0):
        layout = place(np.random.default_rng(2), (600, 800), radii, clumped)
        apart = np.linalg.norm(layout.centres[:, None] - layout.centres[None], axis=2)
        np.fill_diagonal(apart, np.inf)
        nearest[clumped] = apart.min(axis=1)
    assert nearest[0.0].min() > 41
    assert np.mean(nearest[1.0] < 42) > 0.8
