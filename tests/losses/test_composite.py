from __future__ import annotations

import pytest
import torch

from bccd_d2.losses.composite import LOSSES, PIXELWISE, Term, composite
from bccd_d2.losses.pixel import weighted_bce
from bccd_d2.losses.region import dice_loss


@pytest.fixture
def maps():
    generator = torch.Generator().manual_seed(0)
    target = (torch.rand(2, 1, 8, 9, generator=generator) < 0.4).float()
    return torch.randn(2, 1, 8, 9, generator=generator), target


def test_a_sum_equals_its_parts(maps):
    weight = 1 + torch.rand(2, 1, 8, 9)
    mask = (torch.rand(2, 1, 8, 9) < 0.7).float()
    loss = composite("0.5*dice + 2*bce(pos_weight=3)")
    wanted = 0.5 * dice_loss(*maps, weight=mask) + 2 * weighted_bce(*maps, weight * mask, 3)
    assert loss(*maps, weight=weight, mask=mask).item() == pytest.approx(wanted.item())
    wanted = 0.5 * dice_loss(*maps) + 2 * weighted_bce(*maps, None, 3)
    assert loss(*maps).item() == pytest.approx(wanted.item())


def test_half_precision_does_not_overflow():
    logits = torch.full((1, 1, 300, 300), 20.0, dtype=torch.float16)
    value = composite("dice + bce")(logits, torch.ones(1, 1, 300, 300))
    assert value.dtype == torch.float32 and value.item() == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_can_be_named_weighted_and_masked(name, maps):
    logits, target = maps
    mask = torch.zeros(2, 1, 8, 9)
    mask[..., :6] = 1
    if name.startswith("flow"):
        logits, target = logits.repeat(1, 2, 1, 1), target.repeat(1, 2, 1, 1)
    logits.requires_grad_()
    value = composite(name)(logits, target, weight=mask * 0.5 + 0.5, mask=mask)
    value.backward()
    assert value.dim() == 0 and torch.isfinite(value)
    assert logits.grad.any()
    assert not logits.grad[..., 6:].any()
    assert PIXELWISE < set(LOSSES)


@pytest.mark.parametrize(
    ("spec", "terms"),
    [
        ("dice", [Term("dice", 1.0)]),
        (" dice+bce ", [Term("dice", 1.0), Term("bce", 1.0)]),
        ("1e+1*dice + 2 * mse", [Term("dice", 10.0), Term("mse", 2.0)]),
        (
            ".5*focal(alpha=.3, gamma=1e+0)+dice(smooth=7)",
            [
                Term("focal", 0.5, (("alpha", 0.3), ("gamma", 1.0))),
                Term("dice", 1.0, (("smooth", 7.0),)),
            ],
        ),
    ],
)
def test_specs_are_read_and_written_back(spec, terms):
    loss = composite(spec)
    assert list(loss.terms) == terms
    assert composite(str(loss)) == loss


@pytest.mark.parametrize(
    ("spec", "match"),
    [
        ("", "empty"),
        ("dice + ", "'' is no term"),
        ("dice * 2", r"'dice \* 2' is no term"),
        ("dise + bce", "no loss 'dise'; did you mean 'dice'"),
        ("0*dice", "factor of dice must be > 0"),
        ("-1*dice", "factor of dice must be > 0"),
        ("bce(weight=2)", r"bce cannot take 'weight=2'.*\['pos_weight'\]"),
        ("focal(alpha=.1, alpha=.2)", "focal cannot take 'alpha=.2'"),
        ("focal(.25)", "focal cannot take '.25'"),
    ],
)
def test_what_cannot_be_read_is_named(spec, match):
    with pytest.raises(ValueError, match=match):
        composite(spec)
