"""Losses, class weights and learning-rate schedules, against PyTorch and Keras."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from hypercover.classifiers.networks.network_catalog import NETWORKS
from hypercover.classifiers.networks.recipe import (
    Recipe,
    balanced_class_weights,
    learning_rate_schedule,
    make_loss,
    smooth_labels,
)

PLAIN = Recipe("sgd", 1.0, "constant", "squared", 50, 600)

COUNTS = torch.tensor([10, 30, 60])


def batch(count=20, seed=0):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(count, 3, generator=generator)
    targets = torch.randint(3, (count,), generator=generator)
    return scores, targets, F.one_hot(targets, 3).float()


def test_squared_is_the_mean_squared_error_of_the_probabilities():
    scores, _, wanted = batch()
    losses = make_loss(PLAIN, COUNTS)(scores, wanted)
    odds = np.exp(scores.numpy().astype(float))
    shares = odds / odds.sum(1, keepdims=True)
    np.testing.assert_allclose(losses, ((shares - wanted.numpy()) ** 2).mean(1), rtol=1e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_is_that_of_pytorch(smoothing):
    scores, targets, wanted = batch()
    recipe = PLAIN.changed({"loss": "cross-entropy", "label_smoothing": smoothing})
    oracle = F.cross_entropy(scores, targets, label_smoothing=smoothing, reduction="none")
    torch.testing.assert_close(make_loss(recipe, COUNTS)(scores, wanted), oracle)


@pytest.mark.parametrize("loss", ["squared", "cross-entropy"])
def test_balanced_classes_weigh_the_same_whatever_their_numbers(loss):
    scores, targets, wanted = batch()
    counts = torch.bincount(targets, minlength=3)
    plain = PLAIN.changed({"loss": loss})
    losses = make_loss(plain, counts)(scores, wanted)
    weighted = make_loss(plain.changed({"class_weight": "balanced"}), counts)(
        scores, wanted
    )
    means = torch.stack([losses[targets == code].mean() for code in range(3)])
    torch.testing.assert_close(weighted.mean(), means.mean())


def test_balanced_weights_are_those_of_scikit_learn():
    from sklearn.utils.class_weight import compute_class_weight

    targets = np.repeat([0, 1, 2], COUNTS)
    wanted = compute_class_weight("balanced", classes=np.arange(3), y=targets)
    np.testing.assert_allclose(balanced_class_weights(COUNTS), wanted, rtol=1e-6)


def test_a_mixed_window_weighs_as_its_classes_do_in_their_shares():
    scores = torch.zeros(1, 3)
    wanted = torch.tensor([[0.25, 0.0, 0.75]])
    recipe = PLAIN.changed({"loss": "cross-entropy", "class_weight": "balanced"})
    weights = 0.25 * 100 / 30 + 0.75 * 100 / 180
    found = make_loss(recipe, COUNTS)(scores, wanted)
    assert float(found) == pytest.approx(weights * np.log(3), rel=1e-6)


def test_smoothed_targets_are_probabilities():
    wanted = smooth_labels(F.one_hot(torch.tensor([0, 2]), 4).float(), 0.1)
    torch.testing.assert_close(wanted.sum(1), torch.ones(2))
    assert wanted[1].tolist() == pytest.approx([0.025, 0.025, 0.925, 0.025])


def rates(steps, **changes):
    share = learning_rate_schedule(PLAIN.changed(changes), steps)
    return np.array([share(step) for step in range(steps)])


def test_constant_is_constant():
    np.testing.assert_array_equal(rates(7), np.ones(7))


def test_inverse_is_the_decay_of_keras_counted_from_0():
    found = rates(50, schedule="inverse", decay=0.25)
    np.testing.assert_allclose(found, 1 / (1 + 0.25 * np.arange(50)), rtol=1e-15)


@pytest.mark.parametrize(("per_epoch", "rate"), [(20, 0.943), (667, 0.333)])
def test_lecture_rate_after_600_epochs_is_the_published_one(per_epoch, rate):
    share = learning_rate_schedule(NETWORKS["lecture"].recipe, 600 * per_epoch)
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
