"""Box clusters and anchor recall, against brute force and detectron2's own generator."""

from __future__ import annotations

import json

import numpy as np
import pytest

from bccd_d2.data.anchor_report import describe
from bccd_d2.data.anchors import (
    Anchors,
    BoxTable,
    anchor_recall,
    best_anchor_iou,
    cluster_sizes,
    load_boxes,
    propose_anchors,
    shape_iou,
)


def table_of(boxes, size=(200, 300)) -> BoxTable:
    """A table of boxes in one image."""
    boxes = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
    return BoxTable(boxes, np.tile(size, (len(boxes), 1)), np.ones(len(boxes), dtype=np.int64))


def random_boxes(count, size=(200, 300), seed=0) -> np.ndarray:
    """Boxes wholly inside an image, some of them at its border."""
    rng = np.random.default_rng(seed)
    extent = rng.uniform(8, 90, size=(count, 2))
    corner = rng.uniform(-0.2, 1.2, size=(count, 2)) * (np.array(size)[::-1] - extent)
    corner = np.clip(corner, 0, np.array(size)[::-1] - extent)
    return np.hstack([corner, corner + extent])


def iou(a, b) -> np.ndarray:
    """(N, M) IoU of boxes, plainly."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    overlap = np.clip(high - low, 0, None).prod(axis=2)
    areas = [(x[:, 2:] - x[:, :2]).prod(axis=1) for x in (a, b)]
    return overlap / (areas[0][:, None] + areas[1][None] - overlap)


@pytest.mark.parametrize("offset", [0.0, 0.5])
def test_best_anchor_equals_detectron2s_grid(offset):
    pytest.importorskip("detectron2", reason="needs detectron2")
    import torch
    from detectron2.modeling.anchor_generator import DefaultAnchorGenerator

    sizes = ((20.0, 33.0), (45.0, 60.0), (90.0, 120.0))
    anchors = Anchors(sizes, (0.5, 1.0, 1.7), (4, 8, 32), offset)
    generator = DefaultAnchorGenerator(
        sizes=[list(s) for s in anchors.sizes], aspect_ratios=[list(anchors.ratios)],
        strides=list(anchors.strides), offset=offset,
    )  # fmt: skip
    # 200x300 is padded to 224x320 before the features are computed.
    features = [torch.zeros(1, 1, 224 // s, 320 // s) for s in anchors.strides]
    grid = torch.cat([b.tensor for b in generator(features)]).numpy()
    boxes = random_boxes(60)
    expected = iou(boxes, grid).max(axis=1)
    assert np.allclose(best_anchor_iou(table_of(boxes), anchors), expected, atol=1e-5)


def test_recall_by_hand():
    anchors = Anchors(((32.0,),), (1.0,), (16,))
    on_grid = [48 - 16, 64 - 16, 48 + 16, 64 + 16]
    half_as_high = [48 - 16, 64 - 8, 48 + 16, 64 + 8]
    far_smaller = [40, 60, 44, 64]
    table = table_of([on_grid, half_as_high, far_smaller])
    assert np.allclose(best_anchor_iou(table, anchors)[:2], [1.0, 0.5])
    assert anchor_recall(table, anchors) == {0.5: pytest.approx(2 / 3), 0.7: pytest.approx(1 / 3)}
    assert anchor_recall(table_of([]), anchors) == {0.5: 0.0, 0.7: 0.0}


def test_grid_ends_at_the_padded_image():
    # 33 px wide: padded to 64, so stride 32 has centres at 0 and 32, none at 64.
    anchors = Anchors(((20.0,),), (1.0,), (32,))
    at_edge = [[23, 6, 33, 26]]
    shifted = best_anchor_iou(table_of(at_edge, (32, 33)), anchors)
    grid = np.array([[x - 10, y - 10, x + 10, y + 10] for x in (0, 32) for y in (0,)])
    assert np.allclose(shifted, iou(np.array(at_edge, float), grid.astype(float)).max())


def test_shapes_have_the_area_and_the_ratio():
    shapes = Anchors(((10.0, 20.0),), (0.5, 1.0, 2.0), (4,)).shapes(0)
    assert np.allclose(shapes.prod(axis=1), [100] * 3 + [400] * 3)
    assert np.allclose(shapes[:, 1] / shapes[:, 0], [0.5, 1, 2, 0.5, 1, 2])


def test_clusters_find_known_shapes():
    rng = np.random.default_rng(1)
    shapes = np.array([[20, 20], [60, 30], [100, 110]])
    sizes = np.repeat(shapes, [100, 200, 100], axis=0) * rng.uniform(0.95, 1.05, (400, 2))
    middles, shares, fit = cluster_sizes(sizes, 3, seed=0)
    assert np.allclose(middles, shapes, rtol=0.02)
    assert shares.tolist() == [0.25, 0.5, 0.25]
    assert fit > 0.93
    again = cluster_sizes(sizes, 3, seed=0)
    assert np.array_equal(again[0], middles)
    assert cluster_sizes(sizes, 1)[2] < fit
    same = cluster_sizes(np.full((5, 2), 8.0), 2)
    assert np.allclose(same[0], 8) and same[2] == 1.0
    with pytest.raises(ValueError, match=r"\[1, 400\]"):
        cluster_sizes(sizes, 401)


def test_shape_iou_by_hand():
    assert np.allclose(shape_iou(np.array([[4.0, 2.0]]), np.array([[2.0, 4.0]])), 4 / 12)


def test_proposal_covers_what_it_saw():
    squares = table_of([[x, y, x + 48, y + 48] for x in (8, 57, 130) for y in (3, 90, 140)])
    proposal = propose_anchors(squares, ratio_count=1, growth=2.0)
    assert anchor_recall(squares, proposal)[0.7] == 1.0
    assert any(abs(size - 48) < 10 for level in proposal.sizes for size in level)
    assert proposal.ratios == (1.0,)
    # Sizes grow by the factor asked for, up to rounding.
    assert all(abs(b[0] / a[0] - 2) < 0.1 for a, b in zip(proposal.sizes, proposal.sizes[1:],
                                                       strict=False))  # fmt: skip

    long = table_of([[10, 20, 80, 58], [60, 80, 130, 117], [100, 50, 138, 119]])
    assert propose_anchors(long).ratios[2] > 1.35
    better = anchor_recall(long, propose_anchors(long))[0.7]
    assert better >= anchor_recall(long, propose_anchors(long, ratio_count=1))[0.7]


def test_proposal_is_at_least_as_good_as_the_usual_anchors():
    table = table_of(random_boxes(300, seed=4))
    usual = Anchors(((32.0,), (64.0,), (128.0,), (256.0,)))
    proposal = propose_anchors(table)
    best = [np.minimum(best_anchor_iou(table, a), 0.7).mean() for a in (proposal, usual)]
    assert best[0] > best[1]


def test_wrong_arguments():
    with pytest.raises(ValueError, match="one list for each of the 4 strides"):
        Anchors(((32.0,),))
    with pytest.raises(ValueError, match="above 0"):
        Anchors(((0.0,),), strides=(4,))
    with pytest.raises(ValueError, match="at least one box"):
        propose_anchors(table_of([]))
    with pytest.raises(ValueError, match="ratio_count"):
        propose_anchors(table_of([[0, 0, 5, 5]]), ratio_count=2)


def test_loading_and_scaling(hand_made):
    table = load_boxes(hand_made, "val")
    assert table.boxes.tolist() == [[25, 25, 56, 56], [85, 45, 116, 76]]
    assert table.image_sizes.tolist() == [[120, 160]] * 2
    half = table.scaled(0.5)
    assert half.boxes[0].tolist() == [12.5, 12.5, 28, 28]
    assert half.image_sizes[0].tolist() == [60, 80]
    assert len(load_boxes(hand_made, "train")) == 49
    assert len(load_boxes(hand_made, "train").sample(10)) == 10


def test_a_split_without_cells(hand_made, tmp_path):
    (tmp_path / "annotations").mkdir()
    text = json.loads((hand_made / "dataset.json").read_text(encoding="utf-8"))
    (tmp_path / "dataset.json").write_text(json.dumps(text))
    empty = {"images": [], "annotations": [], "categories": []}
    (tmp_path / "annotations/instances_train.json").write_text(json.dumps(empty))
    with pytest.raises(ValueError, match="no cells"):
        load_boxes(tmp_path, "train")


def test_description_names_both_recalls():
    table = table_of(random_boxes(4))
    text = describe(table, Anchors(((50.0,),), (1.0,), (8,)), Anchors(((5.0,),), (1.0,), (8,)))
    assert "SIZES: [[50]]" in text and "current: 1 anchors a place, recall 0.000" in text


def test_tool_prints_and_draws(hand_made, tmp_path, capsys):
    pytest.importorskip("detectron2", reason="needs detectron2")
    pytest.importorskip("bccd_d2.report.draw")
    import fit_anchors

    picture = tmp_path / "anchors.png"
    arguments = ["--dataset", str(hand_made), "--scale", "1", "--sizes", "16", "32", "64", "128",
                 "--picture", str(picture)]  # fmt: skip
    assert fit_anchors.main(arguments) == 0
    output = capsys.readouterr().out
    assert "49 boxes in 1 images" in output and "proposed:" in output and "current:" in output
    assert picture.stat().st_size > 1000
