import numpy as np
import pytest
import torch
from torch.nn import functional as F

from hypercover.classifiers.loss import Loss, balanced, smoothed
from hypercover.classifiers.networks.recipe import Recipe

PLAIN = Recipe("sgd", 1.0, "constant", "squared", 50, 600)
COUNTS = torch.tensor([10, 30, 60])


def batch(count=20, seed=0):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(count, 3, generator=generator)
    targets = torch.randint(3, (count,), generator=generator)
    return scores, targets, F.one_hot(targets, 3).float()


def test_squared_is_the_mean_squared_error_of_the_probabilities():
    scores, _, wanted = batch()
    losses = Loss(PLAIN, COUNTS)(scores, wanted)
    odds = np.exp(scores.numpy().astype(float))
    shares = odds / odds.sum(1, keepdims=True)
    np.testing.assert_allclose(losses, ((shares - wanted.numpy()) ** 2).mean(1), rtol=1e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_is_that_of_pytorch(smoothing):
    scores, targets, wanted = batch()
    recipe = PLAIN.changed({"loss": "cross-entropy", "label_smoothing": smoothing})
    oracle = F.cross_entropy(scores, targets, label_smoothing=smoothing, reduction="none")
    torch.testing.assert_close(Loss(recipe, COUNTS)(scores, wanted), oracle)


@pytest.mark.parametrize("loss", ["squared", "cross-entropy"])
def test_balanced_classes_weigh_the_same_whatever_their_numbers(loss):
    scores, targets, wanted = batch()
    counts = torch.bincount(targets, minlength=3)
    plain = PLAIN.changed({"loss": loss})
    losses = Loss(plain, counts)(scores, wanted)
    weighted = Loss(plain.changed({"class_weight": "balanced"}), counts)(scores, wanted)
    means = torch.stack([losses[targets == code].mean() for code in range(3)])
    torch.testing.assert_close(weighted.mean(), means.mean())


def test_balanced_weights_are_those_of_scikit_learn():
    from sklearn.utils.class_weight import compute_class_weight

    targets = np.repeat([0, 1, 2], COUNTS)
    wanted = compute_class_weight("balanced", classes=np.arange(3), y=targets)
    np.testing.assert_allclose(balanced(COUNTS), wanted, rtol=1e-6)


def test_a_mixed_window_weighs_as_its_classes_do_in_their_shares():
    scores = torch.zeros(1, 3)
    wanted = torch.tensor([[0.25, 0.0, 0.75]])
    recipe = PLAIN.changed({"loss": "cross-entropy", "class_weight": "balanced"})
    weights = 0.25 * 100 / 30 + 0.75 * 100 / 180
    found = Loss(recipe, COUNTS)(scores, wanted)
    assert float(found) == pytest.approx(weights * np.log(3), rel=1e-6)


def test_smoothed_targets_are_probabilities():
    wanted = smoothed(F.one_hot(torch.tensor([0, 2]), 4).float(), 0.1)
    torch.testing.assert_close(wanted.sum(1), torch.ones(2))
    assert wanted[1].tolist() == pytest.approx([0.025, 0.025, 0.925, 0.025])
