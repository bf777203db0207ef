"""Maps back to cells: round trips on crowded discs, each option by what it changes."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from bccd_d2.masks.cells import Cells
from bccd_d2.masks.components import label_cells
from bccd_d2.masks.decode import DecodeOptions, cell_scores, decode, find_seeds, grow
from bccd_d2.masks.encode import TARGETS, EncodeOptions, encode
from bccd_d2.masks.labels import relabel
from bccd_d2.masks.overlap import iou_matrix, match

from .discs import disc

WAYS = {
    "boundary": DecodeOptions(method="boundary", min_seed_area=16),
    "watershed, shape": DecodeOptions(method="watershed"),
    "watershed, boundary": DecodeOptions(method="watershed", landscape="boundary"),
    "watershed, centre": DecodeOptions(method="watershed", landscape="centre"),
    "watershed, peaks": DecodeOptions(method="watershed", landscape="distance", seed_distance=6),
    "flow": DecodeOptions(method="flow"),
}


def crowd(seed: int = 0) -> np.ndarray:
    """About 45 discs that touch and cover each other by up to a fifth, some cut by the edge."""
    rng = np.random.default_rng(seed)
    label_map = np.zeros((200, 250), dtype=np.int32)
    for index, (row, column) in enumerate(np.ndindex(7, 8)):
        if rng.random() > 0.2:
            y, x = 8 + 32 * row + rng.normal(0, 2), 6 + 34 * column + rng.normal(0, 2)
            label_map[disc(label_map.shape, y, x, rng.uniform(13, 19))] = index + 1
    return relabel(label_map)


def ious(*maps: np.ndarray) -> np.ndarray:
    return iou_matrix(*(Cells.from_label_map(labels).rles for labels in maps))


def f1(found: np.ndarray, truth: np.ndarray, iou: float) -> float:
    pairs = len(match(ious(found, truth), iou))
    return 2 * pairs / (found.max() + truth.max())


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("centre", ["gaussian", "disc", "point"])
def test_crowded_discs_come_back(way, centre):
    options = WAYS[way]
    if centre != "gaussian" and (options.landscape == "centre" or options.seed_distance):
        pytest.skip("neither peaks nor a landscape in a map of points or discs")
    truth = crowd()
    maps = encode(truth, options.needs, EncodeOptions(centre=centre))
    found = decode(maps, options)
    assert found.dtype == np.int32 and found.shape == truth.shape
    # The shape of the foreground alone does not tell which of two discs lies on top.
    if way == "watershed, shape":
        assert f1(found, truth, 0.5) >= 0.95
    else:
        assert f1(found, truth, 0.9) == 1


def test_threshold_gives_components_and_merges_what_touches():
    truth = np.zeros((40, 60), dtype=np.int32)
    truth[5:15, 5:15], truth[5:15, 15:25], truth[20:35, 40:55] = 1, 2, 3
    found = decode(encode(truth, ["cell"]), DecodeOptions(method="threshold"))
    assert found.max() == 2 and (found == found[6, 6]).sum() == 200


def test_hysteresis_wants_one_sure_pixel():
    cell = np.zeros((20, 40), dtype=np.float32)
    cell[5:15, 5:15], cell[5:15, 25:35] = 0.6, 0.6
    cell[8, 8] = 0.95
    low = DecodeOptions(method="threshold")
    assert decode({"cell": cell}, low).max() == 2
    found = decode({"cell": cell}, DecodeOptions(method="threshold", cell_high=0.9))
    assert found.max() == 1 and found[6, 6] == 1 and (found > 0).sum() == 100


def test_specks_go_and_holes_are_filled():
    cell = np.zeros((30, 40), dtype=np.float32)
    cell[5:20, 5:20], cell[10, 10], cell[25, 30:35] = 1, 0, 1
    found = decode({"cell": cell}, DecodeOptions(method="threshold", min_area=6))
    assert found.max() == 1 and (found > 0).sum() == 225
    found = decode({"cell": cell}, DecodeOptions(method="threshold", min_area=5, fill_holes=False))
    assert found.max() == 2 and (found > 0).sum() == 224 + 5


def test_boundary_method_grows_back_to_the_whole_foreground():
    truth = np.zeros((30, 60), dtype=np.int32)
    truth[5:25, 5:30], truth[5:25, 30:55] = 1, 2
    maps = encode(truth, ["cell", "boundary"], EncodeOptions(boundary_width=3))
    found = decode(maps, DecodeOptions(method="boundary"))
    assert np.array_equal(found > 0, truth > 0)
    assert found.max() == 2 and (found != truth).mean() < 0.02


def test_foreground_without_a_seed():
    truth = np.zeros((30, 60), dtype=np.int32)
    truth[5:25, 5:25], truth[5:25, 35:55] = 1, 2
    maps = encode(truth, ["cell", "centre"])
    maps["centre"][:, 30:] = 0
    assert decode(maps).max() == 2
    found = decode(maps, DecodeOptions(method="watershed", keep_unseeded=False))
    assert found.max() == 1 and np.array_equal(found > 0, truth == 1)


def test_seeds_by_component_and_by_peak():
    heat = np.zeros((20, 40), dtype=np.float32)
    heat[10, 8:13] = (0.6, 0.9, 0.6, 0.8, 0.6)
    heat[10, 30] = 0.7
    everywhere = np.ones(heat.shape, dtype=bool)
    assert find_seeds(heat, everywhere).max() == 2
    assert find_seeds(heat, everywhere, DecodeOptions(min_seed_area=2)).max() == 1
    assert find_seeds(heat, everywhere, DecodeOptions(seed_distance=1)).max() == 3
    peaks = find_seeds(heat, everywhere, DecodeOptions(seed_distance=4))
    assert sorted(map(tuple, np.argwhere(peaks))) == [(10, 9), (10, 30)]
    assert find_seeds(heat, everywhere, DecodeOptions(seed_threshold=0.95)).max() == 0


def test_growing_floods_only_where_seeds_compete():
    foreground = np.zeros((10, 40), dtype=bool)
    foreground[2:8, 2:20] = foreground[2:8, 25:35] = True
    seeds = np.zeros(foreground.shape, dtype=np.int32)
    seeds[4, 4], seeds[4, 18], seeds[5, 30], seeds[0, 0] = 4, 7, 9, 11
    ridge = np.zeros(foreground.shape)
    ridge[:, 8] = 1
    cells = grow(foreground, seeds, ridge)
    assert set(np.unique(cells)) == {0, 4, 7, 9}
    assert (cells[2:8, 2:8] == 4).all() and (cells[2:8, 9:20] == 7).all()
    assert (cells[2:8, 25:35] == 9).all() and np.array_equal(cells > 0, foreground)


def test_a_cell_that_its_flows_deny_is_dropped():
    truth = crowd()
    maps = encode(truth, ["cell", "flow"])
    rng = np.random.default_rng(0)
    target = truth == truth[100, 125] if truth[100, 125] else truth == truth.max()
    noise = rng.normal(size=(2, int(target.sum()))).astype(np.float32)
    noise /= np.sqrt((noise**2).sum(axis=0))
    maps["flow"][:, target] = 0.8 * maps["flow"][:, target] + noise
    found = decode(maps, DecodeOptions(method="flow", min_area=50))
    kept = decode(maps, DecodeOptions(method="flow", min_area=50, max_flow_error=0.5))
    assert 0 < kept.max() < found.max()
    assert f1(kept, np.where(target, 0, truth), 0.9) > 0.98


@pytest.mark.parametrize("method", ["threshold", "boundary", "watershed", "flow"])
def test_empty_and_full_maps(method):
    options = DecodeOptions(method=method)
    empty = encode(np.zeros((16, 20), np.int32), TARGETS)
    assert decode(empty, options).shape == (16, 20) and decode(empty, options).max() == 0
    full = encode(np.ones((16, 20), np.int32), TARGETS)
    assert (decode(full, options) == 1).all()


@pytest.mark.parametrize("method", ["threshold", "boundary", "watershed", "flow"])
def test_noise_gives_a_valid_label_map(method):
    rng = np.random.default_rng(3)
    maps = {name: rng.random((70, 75), dtype=np.float32) for name in ("cell", "boundary", "centre")}
    maps["flow"] = rng.normal(size=(2, 70, 75)).astype(np.float32) * 3
    found = decode(maps, DecodeOptions(method=method, min_area=10))
    areas = np.bincount(found.ravel())[1:]
    assert found.shape == (70, 75) and (areas >= 10).all()
    assert all(cv2.connectedComponents((found == i + 1).astype(np.uint8))[0] == 2
               for i in range(found.max()))  # fmt: skip


def test_scores_by_hand():
    label_map = np.zeros((4, 5), dtype=np.int32)
    label_map[0, :2], label_map[2, :4] = 1, 3
    probability = np.zeros((4, 5), dtype=np.float32)
    probability[0, 0], probability[2] = 1, 0.75
    scores = cell_scores(label_map, probability)
    assert scores.dtype == np.float32 and scores.tolist() == [0.5, 0, 0.75]
    assert cell_scores(np.zeros((4, 5), np.int32), probability).shape == (0,)
    with pytest.raises(ValueError, match="label map's size"):
        cell_scores(label_map, probability[1:])


def test_refusals():
    cell = np.zeros((5, 6), dtype=np.float32)
    with pytest.raises(KeyError, match=r"'watershed' needs.*\['centre'\] missing"):
        decode({"cell": cell}, DecodeOptions(method="watershed"))
    with pytest.raises(ValueError, match="'flow' must be"):
        decode({"cell": cell, "flow": cell}, DecodeOptions(method="flow"))
    with pytest.raises(ValueError, match="NaN"):
        decode({"cell": cell + np.nan}, DecodeOptions(method="threshold"))
    flow = np.full((2, 5, 6), np.inf)
    with pytest.raises(ValueError, match="'flow' holds NaN or infinity"):
        decode({"cell": cell + 1, "flow": flow}, DecodeOptions(method="flow"))
    for wrong in (
        {"method": "magic"},
        {"landscape": "hills"},
        {"seed_map": "cell"},
        {"cell_threshold": 0},
        {"cell_high": 0.2},
        {"min_area": -1},
        {"max_flow_error": 0},
    ):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            DecodeOptions(**wrong)


# -- the real annotations: decode(encode(label map)) on all 100 sample images ------------------


def sample_label_maps(sample_root, step, share):
    """Label maps of every ``step``-th mask at full size, or every second pixel where share is 2."""
    paths = sorted(sample_root.glob("*/mask/*.png"))[::step]
    for path in paths:
        mask = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_GRAYSCALE) == 255
        yield relabel(label_cells(mask).label_map[::share, ::share])


def pooled_f1(label_maps, options, encoding) -> float:
    pairs = cells = 0
    for truth in label_maps:
        found = decode(encode(truth, options.needs, encoding), options)
        pairs += len(match(ious(found, truth), 0.9))
        cells += int(found.max()) + int(truth.max())
    assert cells > 0
    return 2 * pairs / cells


@pytest.mark.data
@pytest.mark.parametrize("way", ["watershed, boundary", "flow"])
def test_some_annotations_come_back(sample_root, way):
    assert pooled_f1(sample_label_maps(sample_root, 25, 2), WAYS[way], EncodeOptions()) >= 0.995


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize("share", [1, 2])
@pytest.mark.parametrize("way", WAYS)
def test_all_annotations_come_back(sample_root, way, share):
    encoding = EncodeOptions(boundary_width=2, boundary_gap=4 if share == 1 else 2)
    assert pooled_f1(sample_label_maps(sample_root, 1, share), WAYS[way], encoding) >= 0.995
