from __future__ import annotations

import math

import pytest
import torch

from bccd_d2.losses.weighting import FixedWeights, UncertaintyWeights


def test_fixed_weights_by_hand():
    module = FixedWeights({"cell": 1, "centre": 2.5, "flow": 0})
    losses = {"cell": torch.tensor(3.0), "centre": torch.tensor(2.0), "flow": torch.tensor(9.0)}
    terms = module(losses)
    assert {task: term.item() for task, term in terms.items()} == {
        "cell": 3,
        "centre": 5,
        "flow": 0,
    }
    assert not list(module.parameters())


def test_learned_weights_settle_where_the_paper_says():
    """The least of exp(-s) L + s / 2 lies at exp(-s) = 1 / (2 L)."""
    module = UncertaintyWeights(["easy", "hard"], start={"easy": 1.0, "hard": 3.0})
    losses = {"easy": torch.tensor(0.2), "hard": torch.tensor(2.0)}
    assert module.weights() == pytest.approx({"easy": 1, "hard": 3})
    terms = module(losses)
    assert terms["hard"].item() == pytest.approx(6 - math.log(3) / 2)
    optimizer = torch.optim.Adam(module.parameters(), lr=0.05)
    for _ in range(400):
        optimizer.zero_grad()
        sum(module(losses).values()).backward()
        optimizer.step()
    assert module.weights() == pytest.approx({"easy": 2.5, "hard": 0.25}, rel=0.02)


def test_a_task_without_loss_is_bounded():
    module = UncertaintyWeights(["cell"], limit=2.0)
    with torch.no_grad():
        module.log_variances.fill_(-9.0)
    assert module.weights()["cell"] == pytest.approx(math.exp(2))
    assert module({"cell": torch.tensor(0.0)})["cell"].item() == pytest.approx(-1)


def test_gradient_reaches_losses_and_weights_and_survives_saving():
    module = UncertaintyWeights(["a", "b"], start=2.0).double()
    inputs = torch.tensor([0.7, 1.3], dtype=torch.double, requires_grad=True)

    def total(values, variances):
        terms = torch.func.functional_call(
            module, {"log_variances": variances}, ({"a": values[0], "b": values[1]},)
        )
        return sum(terms.values())

    variances = module.log_variances.detach().clone().requires_grad_()
    assert torch.autograd.gradcheck(total, (inputs, variances))
    other = UncertaintyWeights(["a", "b"])
    other.load_state_dict(module.state_dict())
    assert other.weights() == pytest.approx({"a": 2, "b": 2})


def test_refusals():
    for module in (FixedWeights({"a": 1.0}), UncertaintyWeights(["a"])):
        with pytest.raises(KeyError, match="wanted those of"):
            module({"a": torch.tensor(1.0), "b": torch.tensor(1.0)})
    for weights in ({}, {"a": -1.0}, {"a": math.nan}):
        with pytest.raises(ValueError, match="weights"):
            FixedWeights(weights)
    with pytest.raises(ValueError, match="different names"):
        UncertaintyWeights(["a", "a"])
    for wrong in ({"start": 0.0}, {"start": {"b": 1.0}}, {"limit": 0.0}):
        with pytest.raises(ValueError, match="start, limit"):
            UncertaintyWeights(["a"], **wrong)
