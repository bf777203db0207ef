"""The dense head's targets on cells whose answer is known, and its losses."""

from __future__ import annotations

import pytest
import torch

from bccd_d2.modeling.rcnn.outline import OFFSET_UNIT, OutlineHead, outline_targets


@pytest.fixture
def two_cells() -> tuple[torch.Tensor, torch.Tensor]:
    """Two touching 6 x 6 squares in a 12 x 16 crop, and their boxes."""
    masks = torch.zeros(2, 12, 16, dtype=torch.bool)
    masks[0, 3:9, 2:8] = True
    masks[1, 3:9, 8:14] = True
    return masks, torch.tensor([[2.0, 3, 8, 9], [8.0, 3, 14, 9]])


def test_targets(two_cells) -> None:
    cell, boundary, offset, valid = outline_targets(*two_cells, (16, 32))
    assert cell.shape == boundary.shape == valid.shape == (16, 32) and offset.shape == (2, 16, 32)
    assert cell.sum() == 72 and valid.sum() == 12 * 16 and valid[:12, :16].all()
    assert boundary[5, 7] == boundary[5, 8] == 1  # where the two touch, though all is cell
    assert boundary[5, 4] == boundary[0, 0] == 0 and boundary[2, 4] == boundary[3, 4] == 1
    # Pixel (x 2, y 3) of the first cell: centre 2.5, 3.5; its box's centre is 5, 6.
    torch.testing.assert_close(offset[:, 3, 2] * OFFSET_UNIT, torch.tensor([2.5, 2.5]))
    torch.testing.assert_close(offset[:, 3, 8] * OFFSET_UNIT, torch.tensor([2.5, 2.5]))
    assert (offset * (1 - cell) == 0).all()


def test_a_crop_without_cells_has_empty_targets() -> None:
    none = torch.zeros(0, 12, 16, dtype=torch.bool), torch.zeros(0, 4)
    cell, boundary, offset, valid = outline_targets(*none, (12, 16))
    assert not cell.any() and not boundary.any() and not offset.any() and valid.all()


def maps_of(targets, sure: float = 20.0) -> torch.Tensor:
    cell, boundary, offset, _ = targets
    return torch.cat([(cell[None] * 2 - 1) * sure, (boundary[None] * 2 - 1) * sure, offset])[None]


def test_perfect_maps_cost_nothing_and_padding_does_not_count(two_cells) -> None:
    masks, boxes = two_cells
    head = OutlineHead(4, 6, channels=8)
    maps = maps_of(outline_targets(masks, boxes, (16, 32)))
    losses = head.losses(maps, [masks], [boxes])
    assert set(losses) == {f"loss_outline_{k}" for k in ("cell", "boundary", "centre")}
    assert all(float(v) < 1e-4 for v in losses.values())
    maps[:, :, 12:] = 7.0
    again = head.losses(maps, [masks], [boxes])
    assert all(float(again[k]) == pytest.approx(float(losses[k]), abs=1e-6) for k in losses)


def test_each_loss_sees_its_own_map_and_the_weight_scales(two_cells) -> None:
    masks, boxes = two_cells
    for place, name in ((0, "cell"), (1, "boundary"), (2, "centre")):
        maps = maps_of(outline_targets(masks, boxes, (12, 16)))
        maps[:, place] = 1 - maps[:, place]
        losses = OutlineHead(4, 6, channels=8).losses(maps, [masks], [boxes])
        bad = {key for key, value in losses.items() if float(value) > 0.05}
        assert bad == {f"loss_outline_{name}"}
        twice = OutlineHead(4, 6, channels=8, loss_weight=2.0).losses(maps, [masks], [boxes])
        assert float(twice[f"loss_outline_{name}"]) == pytest.approx(2 * float(*[
            losses[f"loss_outline_{name}"]]), rel=1e-5)  # fmt: skip


def test_the_head_answers_at_full_resolution_and_learns(two_cells) -> None:
    torch.manual_seed(0)
    masks, boxes = two_cells
    head = OutlineHead(4, 6, channels=8)
    features = {"p1": torch.randn(1, 4, 6, 8), "p2": torch.randn(1, 6, 3, 4)}
    optimizer = torch.optim.Adam(head.parameters(), 0.02)
    totals = []
    for _ in range(40):
        maps = head(features)
        total = sum(head.losses(maps, [masks], [boxes]).values())
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        totals.append(float(total.detach()))
    assert maps.shape == (1, 4, 12, 16)
    assert totals[-1] < 0.5 * totals[0]


def test_crops_without_cells_have_finite_losses() -> None:
    head = OutlineHead(4, 6, channels=8)
    none = torch.zeros(0, 12, 16, dtype=torch.bool), torch.zeros(0, 4)
    losses = head.losses(torch.zeros(1, 4, 12, 16), [none[0]], [none[1]])
    assert all(torch.isfinite(v) for v in losses.values()) and losses["loss_outline_centre"] == 0
