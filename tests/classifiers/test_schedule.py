import numpy as np
import pytest
import torch

from hypercover.classifiers.networks.catalog import NETWORKS
from hypercover.classifiers.networks.recipe import Recipe
from hypercover.classifiers.schedule import share_of_rate

PLAIN = Recipe("sgd", 1.0, "constant", "squared", 50, 600)


def rates(steps, **changes):
    share = share_of_rate(PLAIN.changed(changes), steps)
    return np.array([share(step) for step in range(steps)])


def test_constant_is_constant():
    np.testing.assert_array_equal(rates(7), np.ones(7))


def test_inverse_is_the_decay_of_keras_counted_from_0():
    found = rates(50, schedule="inverse", decay=0.25)
    np.testing.assert_allclose(found, 1 / (1 + 0.25 * np.arange(50)), rtol=1e-15)


@pytest.mark.parametrize(("per_epoch", "rate"), [(20, 0.943), (667, 0.333)])
def test_lecture_rate_after_600_epochs_is_the_published_one(per_epoch, rate):
    share = share_of_rate(NETWORKS["lecture"].recipe, 600 * per_epoch)
    assert share(600 * per_epoch) == pytest.approx(rate, abs=6e-4)
    assert share(0) == 1


def test_cosine_is_that_of_pytorch():
    weight = torch.nn.Parameter(torch.zeros(1))
    optimiser = torch.optim.SGD([weight], lr=1.0)
    oracle = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=40)
    wanted = []
    for _ in range(40):
        wanted.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        oracle.step()
    np.testing.assert_allclose(rates(40, schedule="cosine"), wanted, atol=1e-12)


@pytest.mark.parametrize("schedule", ["constant", "inverse", "cosine", "one-cycle"])
def test_a_warm_up_rises_in_equal_steps_to_the_full_rate(schedule):
    found = rates(100, schedule=schedule, warm_up=0.1)
    np.testing.assert_allclose(found[:10], np.arange(1, 11) / 10)
    assert (np.diff(found[9:]) <= 0).all()


def test_one_cycle_rises_for_a_fifth_and_falls_along_half_a_cosine():
    found = rates(100, schedule="one-cycle")
    np.testing.assert_allclose(found[:20], np.arange(1, 21) / 20)
    falling = 0.5 * (1 + np.cos(np.pi * np.arange(1, 81) / 80))
    np.testing.assert_allclose(found[20:], np.maximum(falling, 1e-3))


@pytest.mark.parametrize("schedule", ["constant", "inverse", "cosine", "one-cycle"])
@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.parametrize("warm_up", [None, 0.0, 0.99])
def test_short_trainings_have_rates_too(schedule, steps, warm_up):
    found = rates(steps, schedule=schedule, warm_up=warm_up)
    assert ((found > 0) & (found <= 1)).all()
