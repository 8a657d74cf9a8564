import copy

import numpy as np
import pytest
import torch
from torch import nn

from hypercover.classifiers.cnn.cnn_classifier import CNNClassifier
from hypercover.classifiers.cnn.training import Trainer
from hypercover.classifiers.cnn.window_loader import WindowLoader
from hypercover.classifiers.networks.network import Network
from hypercover.classifiers.networks.recipe import Recipe
from hypercover.classifiers.scaling import Scaling
from hypercover.errors import ModelError, RunError

PLAIN = Recipe("sgd", 0.1, "constant", "squared", 8, 1)
EVERYTHING = {
    "symmetries": True,
    "jitter": 0.1,
    "band_dropout": 0.2,
    "mix": 0.4,
    "class_weight": "balanced",
    "label_smoothing": 0.1,
    "clip": 0.5,
}


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Plain(Network):
    """A network small enough to follow by hand, and without normalised batches."""

    recipe = PLAIN
    at_once = None

    def __init__(self, bands=5, classes=3, window=3, dropout=0.0):
        super().__init__(bands, classes, window)
        self.first = nn.Conv2d(bands, 8, window)
        self.silent = nn.Dropout(dropout)
        self.last = nn.Conv2d(8, classes, 1)

    def forward(self, windows):
        return self.last(self.silent(torch.tanh(self.first(windows))))

    def micro_batch_size(self):
        return self.at_once


def plain(seed=0, **settings):
    torch.manual_seed(seed)
    return Plain(**settings)


def data(count=30, seed=0):
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, 3, count)
    windows = rng.normal(size=(count, 5, 3, 3)) + targets[:, None, None, None]
    scaling = Scaling(np.zeros(5, np.float32), np.ones(5, np.float32))
    return WindowLoader(windows, scaling), torch.from_numpy(targets)


def trained(network, recipe, examples=None, seed=0, progress=None, **settings):
    feed, targets = examples or data()
    generator = torch.Generator().manual_seed(seed)
    settings = {"classes": 3, "generator": generator} | settings
    trainer = Trainer(network, (feed, targets), recipe, **settings)
    history = trainer.run(progress=progress)
    return history, copy.deepcopy(network.state_dict())


def assert_near(first, second, atol=0.0):
    for name, value in first.items():
        torch.testing.assert_close(value, second[name], atol=atol, rtol=0)


def gradient(network, feed, targets, recipe):
    """Gradient of the mean squared error of the probabilities, by hand."""
    network.zero_grad()
    scores = network(feed.batch(torch.arange(len(feed))))[:, :, 0, 0]
    wanted = nn.functional.one_hot(targets, 3).float()
    ((scores.softmax(1) - wanted) ** 2).mean().backward()
    return {name: weight.grad.clone() for name, weight in network.named_parameters()}


@pytest.mark.parametrize("clip", [None, 0.01, 100.0])
def test_one_step_is_the_gradient_times_the_rate_and_no_longer_than_the_clip(clip):
    network, examples = plain(), data()
    before = copy.deepcopy(network.state_dict())
    steps = gradient(network, *examples, PLAIN)
    norm = float(torch.stack([each.norm() for each in steps.values()]).norm())
    assert 0.01 < norm < 100
    shorter = 1.0 if clip is None else min(1.0, clip / norm)
    _, after = trained(network, PLAIN.changed({"batch_size": 30, "clip": clip}), examples)
    expected = {name: before[name] - 0.1 * shorter * steps[name] for name in before}
    assert_near(after, expected, atol=1e-6)


def test_momentum_takes_a_share_of_the_last_step_again():
    recipe = PLAIN.changed({"batch_size": 30, "passes": 2, "momentum": 0.5})
    examples, network = data(), plain()
    weights = [dict(network.state_dict())]
    moved = {name: torch.zeros_like(value) for name, value in weights[0].items()}
    by_hand = plain()
    for _ in range(2):
        for name, step in gradient(by_hand, *examples, recipe).items():
            moved[name] = 0.5 * moved[name] + step
        state = by_hand.state_dict()
        by_hand.load_state_dict({name: state[name] - 0.1 * moved[name] for name in state})
    _, after = trained(network, recipe, examples)
    assert_near(after, by_hand.state_dict(), atol=1e-6)


def test_adamw_is_that_of_pytorch_along_the_schedule():
    recipe = PLAIN.changed(
        {
            "optimiser": "adamw",
            "batch_size": 30,
            "passes": 5,
            "weight_decay": 0.1,
            "schedule": "cosine",
        }
    )
    examples, by_hand = data(), plain()
    oracle = torch.optim.AdamW(by_hand.parameters(), lr=0.1, weight_decay=0.1)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(oracle, T_max=5)
    rates = []
    for _ in range(5):
        rates.append(oracle.param_groups[0]["lr"])
        gradient(by_hand, *examples, recipe)
        oracle.step()
        falling.step()
    history, after = trained(plain(), recipe, examples)
    assert_near(after, by_hand.state_dict(), atol=1e-6)
    assert [record["learning_rate"] for record in history] == pytest.approx(rates)


@pytest.mark.parametrize("recipe", [PLAIN, PLAIN.changed(EVERYTHING)])
@pytest.mark.parametrize("at_once", [1, 3, 8])
def test_pieces_of_a_batch_add_up_to_the_batch(recipe, at_once):
    recipe = recipe.changed({"passes": 3})
    whole, in_pieces = plain(), plain()
    in_pieces.at_once = at_once
    history, weights = trained(whole, recipe)
    again, same = trained(in_pieces, recipe)
    assert_near(weights, same, atol=1e-6)
    for record, other in zip(history, again, strict=True):
        assert record["loss"] == pytest.approx(other["loss"], rel=1e-6)
        assert record["samples"] == other["samples"]


def test_layers_that_draw_by_themselves_repeat_and_touch_no_global_seed():
    recipe = PLAIN.changed({"passes": 3})
    _, without = trained(plain(), recipe)
    torch.manual_seed(5)
    network = plain(dropout=0.5)
    before = torch.random.get_rng_state()
    _, first = trained(network, recipe)
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.rand(1)
    _, second = trained(plain(dropout=0.5), recipe)
    assert_near(first, second)
    assert not torch.equal(first["last.bias"], without["last.bias"])


def test_a_class_that_no_window_has_is_a_class_all_the_same():
    network = plain(classes=5)
    feed, targets = data()
    history, _ = trained(network, PLAIN, (feed, targets), classes=5)
    assert np.isfinite(history[0]["loss"])


def test_validation_is_recorded_and_changes_no_weight():
    recipe = PLAIN.changed({"passes": 3})
    _, without = trained(plain(), recipe)
    network, held = plain(), data(count=20, seed=1)
    history, weights = trained(network, recipe, validation=held)
    assert_near(weights, without)
    scores = network(held[0].batch(torch.arange(20)))[:, :, 0, 0].detach()
    wanted = nn.functional.one_hot(held[1], 3).float()
    loss = ((scores.softmax(1) - wanted) ** 2).mean()
    right = (scores.argmax(1) == held[1]).float().mean()
    assert history[-1]["validation_loss"] == pytest.approx(float(loss), rel=1e-5)
    assert history[-1]["validation_accuracy"] == pytest.approx(float(right))


def test_patience_ends_a_training_and_brings_the_best_weights_back():
    recipe = PLAIN.changed({"passes": 60, "learning_rate": 3.0, "patience": 4})
    feed, targets = data()
    shuffled = targets[torch.randperm(30, generator=torch.Generator().manual_seed(0))]
    held, network, seen = (feed, shuffled), plain(), []
    history, weights = trained(
        network,
        recipe,
        (feed, targets),
        validation=held,
        progress=lambda _: seen.append(copy.deepcopy(network.state_dict())),
    )
    losses = [record["validation_loss"] for record in history]
    best = int(np.argmin(losses)) + 1
    assert history[-1]["best_epoch"] == best == len(history) - 4 < 56
    assert_near(weights, seen[best - 1])
    assert not torch.equal(weights["last.bias"], seen[-1]["last.bias"])


def test_patience_without_validation_windows_is_refused():
    with pytest.raises(ModelError, match="no validation windows; give some, or leave"):
        trained(plain(), PLAIN.changed({"patience": 2}))


def test_a_training_that_runs_away_is_stopped_with_advice():
    recipe = PLAIN.changed({"loss": "cross-entropy", "learning_rate": 1e38, "passes": 9})
    with pytest.raises(RunError, match=r"no longer finite in epoch .* below 1e.38"):
        trained(plain(), recipe)


def test_a_last_step_that_runs_away_leaves_no_trained_network():
    # One step: its loss is that of the weights before it.
    changes = {"loss": "cross-entropy", "learning_rate": 1e38, "batch_size": 30}
    network = plain()
    with torch.no_grad():
        network.last.weight *= 1e3
    with pytest.raises(RunError, match=r"weights are no longer finite in epoch 1; use a"):
        trained(network, PLAIN.changed(changes))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_compiled_network_learns_the_same_and_keeps_its_names():
    recipe = PLAIN.changed({"passes": 2})
    _, weights = trained(plain(), recipe)
    network = plain()
    _, compiled = trained(network, recipe, compile=True)
    assert list(compiled) == list(weights)
    assert_near(weights, compiled, atol=1e-5)


def test_to_compile_without_a_compiler_is_one_sentence(monkeypatch):
    monkeypatch.setenv("CXX", "no-compiler-of-this-name")
    with pytest.raises(
        ModelError, match=r"but no-compiler-of-this-name was not found; ins"
    ):
        trained(plain(), PLAIN, compile=True)


def estimator(**settings):
    return CNNClassifier(**({"epochs": 2, "random_state": 0} | settings))


def labelled(count=40, seed=0):
    rng = np.random.default_rng(seed)
    y = np.arange(count) % 3 * 10 + 1
    return rng.normal(size=(count, 5, 3, 3)) + y[:, None, None, None], y


@pytest.mark.parametrize(
    "recipe",
    [
        EVERYTHING,
        {"loss": "squared", "optimiser": "sgd", "momentum": 0.9, "learning_rate": 0.05},
        {"schedule": "cosine", "warm_up": 0.1},
    ],
)
def test_an_estimator_learns_by_any_recipe(recipe):
    X, y = labelled(90)
    first = estimator(epochs=40, recipe=recipe).fit(X, y)
    assert first.score(X, y) > 0.9
    again = estimator(epochs=40, recipe=recipe).fit(X, y)
    np.testing.assert_array_equal(first.predict_proba(X), again.predict_proba(X))


def test_what_is_named_beside_the_recipe_goes_before_it():
    X, y = labelled()
    cnn = estimator(epochs=3, recipe={"passes": 5, "batch_size": 20}).fit(X, y)
    assert len(cnn.history_) == 3
    assert len(estimator(epochs=None, recipe={"passes": 5}).fit(X, y).history_) == 5


def test_an_estimator_is_validated_on_windows_it_does_not_learn_from():
    X, y = labelled()
    held, codes = labelled(21, seed=1)
    cnn = estimator(epochs=6).fit(X, y, validation=(held, codes))
    assert cnn.history_[-1]["validation_accuracy"] == pytest.approx(cnn.score(held, codes))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda X, y: (X[:, :4], y), "4 features, but CNNClassifier is expecting 5"),
        (lambda X, y: (X[:, :, :1, :1], y), "3 × 3 pixels, got 1 × 1"),
        (lambda X, y: (X, y + 1), "hold the class 2, which no training window has"),
        (lambda X, y: (X, y[1:]), "21 windows and 20 labels"),
        (lambda X, y: (X * np.nan, y), "NaN"),
        (lambda X, y: (X[:0], y[:0]), "no validation window|minimum of 1"),
    ],
)
def test_validation_windows_that_do_not_fit_are_refused(change, sentence):
    with pytest.raises(ValueError, match=sentence):
        estimator().fit(*labelled(), validation=change(*labelled(21)))


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"recipe": {"mixx": 0.1}}, "no field 'mixx'"),
        ({"recipe": {"mix": "much"}}, "mix must be a number from 0 to 1000000, got 'much'"),
        ({"recipe": {"batch_size": 1}}, "at least 2 windows in a batch"),
        ({"recipe": {"patience": 2}}, "no validation windows"),
        ({"recipe": 5}, "must be a mapping"),
        ({"precision": "double"}, "precision"),
    ],
)
def test_recipes_without_meaning_are_refused(settings, sentence):
    with pytest.raises(ModelError, match=sentence):
        estimator(**settings).fit(*labelled())
