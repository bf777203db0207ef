"""Dense targets of discs and squares, counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from bccd_d2.masks.encode import (
    CHANNELS,
    TARGETS,
    EncodeOptions,
    encode,
    encode_boundary,
    encode_centre,
    encode_distance,
)

from .discs import disc


@pytest.fixture
def pair() -> np.ndarray:
    """A square of 7x7 labelled 3 and one of 5x6 labelled 9, one column of background between."""
    label_map = np.zeros((20, 24), dtype=np.int32)
    label_map[4:11, 3:10] = 3
    label_map[5:10, 11:17] = 9
    return label_map


def test_all_targets_have_their_shape_and_range(pair):
    targets = encode(pair, TARGETS)
    assert list(targets) == list(TARGETS)
    for name, values in targets.items():
        wanted = pair.shape if CHANNELS[name] == 1 else (CHANNELS[name], *pair.shape)
        assert values.shape == wanted and values.dtype == np.float32
        assert values.max() <= 1 and (name == "flow" or values.min() == 0)
    assert np.array_equal(targets["cell"], pair > 0)
    assert list(encode(pair, ["flow", "cell"])) == ["flow", "cell"]


def test_boundary_width_and_gap_by_hand(pair):
    one = encode_boundary(pair, width=1, gap=0)
    assert one[pair == 3].sum() == 49 - 25 and one[pair == 9].sum() == 30 - 12
    assert one[pair == 0].sum() == 0
    two = encode_boundary(pair, width=2, gap=0)
    assert two[pair == 3].sum() == 49 - 9 and two[pair == 9].sum() == 30 - 2
    gap = encode_boundary(pair, width=0, gap=1)
    assert np.array_equal(np.argwhere(gap), [[y, 10] for y in range(5, 10)])


def test_touching_cells_have_a_boundary_and_the_maps_edge_has_none():
    label_map = np.ones((6, 8), dtype=np.int32)
    label_map[:, 4:] = 2
    boundary = encode_boundary(label_map, width=1, gap=3)
    assert np.array_equal(np.flatnonzero(boundary[0]), [3, 4])
    assert boundary.sum() == 12
    assert encode_boundary(np.ones((6, 8), np.int32), 2, 3).sum() == 0


def test_centres_as_point_disc_and_heat(pair):
    points = encode_centre(pair, EncodeOptions(centre="point"))
    # 9 has two columns equally near to its centroid: the first.
    assert np.array_equal(np.argwhere(points), [[7, 6], [7, 13]])
    options = EncodeOptions(centre="disc", centre_size=2, centre_relative=False)
    discs = encode_centre(pair, options)
    assert discs[pair == 3].sum() == discs[pair == 9].sum() == 13
    options = EncodeOptions(centre="gaussian", centre_size=2, centre_relative=False)
    heat = encode_centre(pair, options)
    assert heat[7, 6] == heat[7, 13] == 1
    assert heat[9, 7] == pytest.approx(np.exp(-(4 + 1) / 8))
    assert (heat[pair == 0] == 0).all()


def test_relative_centres_grow_with_the_cell():
    label_map = np.zeros((120, 200), dtype=np.int32)
    label_map[disc(label_map.shape, 60, 40, 20)] = 1
    label_map[disc(label_map.shape, 60, 140, 40)] = 2
    discs = encode_centre(label_map, EncodeOptions(centre="disc", centre_size=0.25))
    # A quarter of the diameter is half of the radius: a quarter of the area.
    assert discs[label_map == 1].mean() == pytest.approx(0.25, abs=0.02)
    assert discs[label_map == 2].mean() == pytest.approx(0.25, abs=0.02)


def test_distance_by_hand(pair):
    depth = encode_distance(pair)
    assert depth[7, 6] == 1 and depth[7, 3] == pytest.approx(0.25)
    assert depth[6, 5] == pytest.approx(0.75)
    assert (depth[pair > 0] > 0).all() and (depth[pair == 0] == 0).all()


def test_distance_keeps_touching_cells_apart_and_ignores_the_maps_edge():
    label_map = np.ones((9, 8), dtype=np.int32)
    label_map[:, 4:] = 2
    assert encode_distance(label_map)[0].tolist() == [1, 0.75, 0.5, 0.25, 0.25, 0.5, 0.75, 1]
    assert (encode_distance(np.full((4, 5), 7, np.int32)) == 1).all()


@pytest.mark.parametrize("shape", [(12, 9), (1, 1), (0, 5)])
def test_no_cells_give_zeros(shape):
    targets = encode(np.zeros(shape, dtype=np.int64), TARGETS)
    for name, values in targets.items():
        assert values.shape[-2:] == shape and not values.any(), name


def test_a_cell_of_one_pixel_has_all_targets():
    label_map = np.zeros((5, 5), dtype=np.int32)
    label_map[2, 3] = 1
    targets = encode(label_map, TARGETS)
    for name in ("cell", "boundary", "centre", "distance"):
        assert targets[name][2, 3] == 1 and targets[name].sum() == 1
    assert not targets["flow"].any()


def test_refusals(pair):
    with pytest.raises(ValueError, match=r"targets must be of .*\['edge'\]"):
        encode(pair, ["cell", "edge"])
    with pytest.raises(ValueError, match="label_map must be"):
        encode(pair.astype(float), ["cell"])
    for wrong, match in (
        ({"centre": "blob"}, "centre must be"),
        ({"boundary_width": 1.5}, "whole number"),
        ({"boundary_gap": -1}, "boundary_gap"),
        ({"boundary_width": 0, "boundary_gap": 0}, "no boundary"),
        ({"centre_size": 0}, "centre_size"),
    ):
        with pytest.raises(ValueError, match=match):
            EncodeOptions(**wrong)
