"""Flows against plain diffusion, against the direction to a disc's middle, and followed home."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from bccd_d2.masks.flows import (
    FlowOptions,
    cell_centres,
    cells_from_flow,
    encode_flow,
    flow_errors,
    follow_flows,
)

from .discs import disc


def diffused(inside: np.ndarray, centre: tuple[int, int]) -> np.ndarray:
    """The definition, four times as long: (2, H, W) for one cell that keeps off the edge."""
    rows, columns = np.nonzero(inside)
    heat = np.zeros(inside.shape)
    for _ in range(8 * (np.ptp(rows) + np.ptp(columns))):
        heat[centre] += 1
        heat = ndimage.uniform_filter(heat, 3, mode="constant") * inside
    level = np.log1p(heat)
    flow = np.stack([ndimage.correlate1d(level, [-1, 0, 1], axis) for axis in (0, 1)]) * inside
    flow /= np.maximum(np.sqrt((flow**2).sum(axis=0)), 1e-30)
    flow[:, centre[0], centre[1]] = 0
    return flow


def banana(size: int) -> np.ndarray:
    """The lower half of a ring: its centroid lies outside it."""
    ring = disc((size, size), size // 2, size // 2, 0.45 * size)
    ring &= ~disc((size, size), size // 2, size // 2, 0.25 * size)
    ring[: size // 2] = False
    return ring


def test_the_centre_lies_inside_the_cell():
    cell = banana(40)
    assert not cell[tuple(int(np.mean(i)) for i in np.nonzero(cell))]
    label_map = cell.astype(np.int32) * 2
    centres = cell_centres(label_map)
    assert centres[0].tolist() == [-1, -1]
    assert label_map[tuple(centres[1])] == 2


@pytest.mark.parametrize(("size", "least"), [(22, 0.999), (60, 0.98), (130, 0.95)])
def test_equals_plain_diffusion(size, least):
    cell = banana(size)
    centre = tuple(cell_centres(cell.astype(np.int32))[0])
    flow, wanted = encode_flow(cell.astype(np.int32)), diffused(cell, centre)
    there = cell.copy()
    there[centre] = False
    agreement = (flow * wanted).sum(axis=0)[there]
    assert agreement.min() > least and np.median(agreement) > 0.999


def test_a_disc_flows_straight_to_its_middle():
    cell = disc((90, 100), 44, 50, 36)
    flow = encode_flow(cell.astype(np.int32))
    rows, columns = np.mgrid[:90, :100]
    toward = np.stack([44 - rows, 50 - columns]).astype(float)
    length = np.sqrt((toward**2).sum(axis=0))
    cosine = (flow * toward).sum(axis=0)[cell & (length > 0)] / length[cell & (length > 0)]
    assert cosine.min() > 0.95 and np.median(cosine) > 0.999
    assert np.allclose((flow**2).sum(axis=0)[cell & (length > 0)], 1, atol=1e-4)
    assert not flow[:, 44, 50].any() and not flow[:, ~cell].any()


def test_touching_cells_flow_apart():
    label_map = np.zeros((30, 40), dtype=np.int32)
    label_map[5:25, 4:20], label_map[5:25, 20:36] = 4, 2
    flow = encode_flow(label_map)
    assert (flow[1, 6:24, 19] < 0).all() and (flow[1, 6:24, 20] > 0).all()


def test_pixels_reach_the_centre_of_their_own_cell():
    label_map = np.zeros((120, 180), dtype=np.int32)
    label_map[disc(label_map.shape, 60, 50, 40)] = 1
    label_map[disc(label_map.shape, 60, 125, 40) & (label_map == 0)] = 2
    foreground = label_map > 0
    end = follow_flows(encode_flow(label_map), foreground)
    centres = cell_centres(label_map)[label_map[foreground] - 1]
    away = np.stack(np.divmod(end, 180), axis=1) - centres
    assert np.abs(away).max() <= 2
    walked = follow_flows(encode_flow(label_map), foreground, FlowOptions(steps=150, leaps=0))
    assert np.abs(np.stack(np.divmod(walked, 180), axis=1) - centres).max() <= 2


def test_flows_give_back_shapes_that_touch_and_bend():
    label_map = np.zeros((150, 150), dtype=np.int32)
    label_map[10:140, 10:140][banana(130)] = 1
    label_map[disc(label_map.shape, 75, 75, 24)] = 2
    label_map[disc(label_map.shape, 20, 20, 15)] = 3
    found = cells_from_flow(encode_flow(label_map), label_map > 0)
    assert found.max() == 3 and found.dtype == np.int32
    for cell in (1, 2, 3):
        values, counts = np.unique(found[label_map == cell], return_counts=True)
        assert counts.max() >= 0.99 * counts.sum() and values[counts.argmax()] > 0
    assert np.array_equal(found > 0, label_map > 0)


def test_flows_without_a_sink_give_no_cell():
    flow = np.zeros((2, 20, 20))
    assert cells_from_flow(flow, np.zeros((20, 20), bool)).max() == 0
    assert follow_flows(flow, np.zeros((20, 20), bool)).size == 0
    alone = np.zeros((20, 20), bool)
    alone[3, 3] = True
    assert cells_from_flow(flow, alone, FlowOptions(sink_count=2)).max() == 0


def test_errors_tell_a_cell_from_two_merged():
    label_map = np.zeros((60, 110), dtype=np.int32)
    label_map[disc(label_map.shape, 30, 30, 24)], label_map[disc(label_map.shape, 30, 79, 24)] = (
        1,
        2,
    )
    flow = encode_flow(label_map)
    assert flow_errors(label_map, flow).tolist() == [0, 0]
    merged = (label_map > 0).astype(np.int32)
    assert flow_errors(merged, flow)[0] > 0.5
    assert flow_errors(np.zeros((60, 110), np.int32), flow).shape == (0,)
    assert flow_errors(label_map, -flow) == pytest.approx([4, 4], abs=0.01)


@pytest.mark.parametrize("wrong", [{"step_size": 0}, {"steps": 0}, {"leaps": -1}])
def test_options_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        FlowOptions(**wrong)
