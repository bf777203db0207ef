from __future__ import annotations

import pytest
import torch

from bccd_d2.losses.region import dice_loss
from bccd_d2.losses.skeleton import cldice_loss, soft_skeleton


def bars(rows: slice, columns: slice = slice(3, 27)) -> torch.Tensor:
    maps = torch.zeros(1, 1, 20, 30)
    maps[..., rows, columns] = 1
    return maps


def logits_of(maps: torch.Tensor) -> torch.Tensor:
    return 40 * (2 * maps - 1)


def test_a_bar_shrinks_to_its_middle_line():
    skeleton = soft_skeleton(bars(slice(7, 12)), iterations=4)
    assert torch.equal(skeleton.nonzero()[:, 2].unique(), torch.tensor([9]))
    assert skeleton[0, 0, 9, 6:24].min() == 1
    assert soft_skeleton(bars(slice(7, 12)), iterations=1).sum() == 0  # not yet thin enough


def test_a_line_is_its_own_skeleton_and_flat_maps_have_none():
    line = bars(slice(9, 10))
    assert torch.equal(soft_skeleton(line, 3), line)
    for value in (0.0, 0.5, 1.0):
        assert soft_skeleton(torch.full((1, 1, 8, 8), value), 3).sum() == 0


def test_limits_of_right_and_wrong():
    thick, elsewhere = bars(slice(4, 7)), bars(slice(13, 16))
    assert cldice_loss(logits_of(thick), thick).item() == pytest.approx(0, abs=1e-5)
    # A skeleton of 22 px: (0 + 1) / (22 + 1) for both shares.
    loss = cldice_loss(logits_of(elsewhere), thick).item()
    assert loss == pytest.approx(1 - 1 / 23, abs=1e-5)


def test_width_is_free_but_a_gap_is_not():
    truth, wide = bars(slice(8, 11)), bars(slice(7, 12))
    broken = truth.clone()
    broken[..., 12:18] = 0
    assert cldice_loss(logits_of(wide), truth).item() < 0.05 < dice_loss(logits_of(wide), truth)
    # A quarter of the line is missing: recall about .75, precision 1.
    assert cldice_loss(logits_of(broken), truth).item() == pytest.approx(1 - 1.5 / 1.75, abs=0.03)


def test_empty_target():
    truth = torch.zeros(1, 1, 20, 30)
    assert cldice_loss(logits_of(truth), truth).item() == pytest.approx(0, abs=1e-5)
    # Precision (0 + 1) / (24 + 1), recall 1.
    loss = cldice_loss(logits_of(bars(slice(9, 10))), truth).item()
    assert loss == pytest.approx(1 - 2 * 0.04 / 1.04, abs=1e-5)


def test_masked_pixels_do_not_count():
    truth = bars(slice(8, 11))
    wrong = torch.maximum(truth, bars(slice(14, 17)))
    mask = torch.ones_like(truth)
    mask[..., 12:, :] = 0
    assert cldice_loss(logits_of(wrong), truth).item() > 0.2
    assert cldice_loss(logits_of(wrong), truth, weight=mask).item() == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("fill", [None, 0.0, 1.0])
def test_gradient(fill):
    generator = torch.Generator().manual_seed(0)
    shape = (1, 1, 6, 7)
    logits = torch.randn(shape, generator=generator, dtype=torch.double, requires_grad=True)
    target = torch.rand(shape, generator=generator, dtype=torch.double).round()
    target = target if fill is None else torch.full_like(target, fill)
    assert torch.autograd.gradcheck(lambda x: cldice_loss(x, target, 2), (logits,))


def test_refusals():
    with pytest.raises(ValueError, match=r"\(B, C, H, W\)"):
        cldice_loss(torch.zeros(1, 4, 4), torch.zeros(1, 4, 4))
    with pytest.raises(ValueError, match="smooth"):
        cldice_loss(torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 4), smooth=0)
    with pytest.raises(ValueError, match="iterations"):
        soft_skeleton(torch.zeros(1, 1, 4, 4), -1)
