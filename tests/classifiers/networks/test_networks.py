import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from hypercover.classifiers.bundle import load_bundle, save_bundle
from hypercover.classifiers.cnn.cnn_classifier import CNNClassifier
from hypercover.classifiers.cnn.window_loader import split_batches
from hypercover.classifiers.networks.lecture import LectureNetwork
from hypercover.classifiers.networks.network_catalog import NETWORKS, build
from hypercover.classifiers.networks.recipe import Recipe
from hypercover.errors import ModelError


def ready(name, bands, classes, window):
    network = build(name, bands=bands, classes=classes, window=window)
    network.to_empty(device="cpu").reset(torch.Generator().manual_seed(0))
    return network.eval()


def chance(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("window", "bands", "classes", "count"),
    [(9, 200, 16, 504_816), (9, 220, 58, 583_962)],
)
def test_lecture_network_has_the_parameters_of_the_published_one(
    window, bands, classes, count
):
    network = build("lecture", bands=bands, classes=classes, window=window)
    assert sum(weight.numel() for weight in network.parameters()) == count


@pytest.mark.parametrize(
    ("window", "bands", "classes", "millions"),
    [(15, 200, 16, 3.45), (15, 220, 58, 4.12), (29, 200, 16, 21.8), (29, 220, 58, 26.1)],
)
def test_lecture_network_grows_with_the_window_as_published(
    window, bands, classes, millions
):
    network = build("lecture", bands=bands, classes=classes, window=window)
    count = sum(weight.numel() for weight in network.parameters())
    assert count / 1e6 == pytest.approx(millions, rel=2e-3)


def test_lecture_recipe_is_the_published_one():
    assert LectureNetwork.recipe == Recipe(
        optimiser="sgd",
        learning_rate=1.0,
        schedule="inverse",
        decay=5e-6,
        loss="squared",
        batch_size=50,
        passes=600,
    )
    assert LectureNetwork.components is None


def test_lecture_network_equals_the_layers_written_out():
    """Keras's layers one by one, the dense ones as matrices over the flattened window."""
    network = ready("lecture", 30, 4, 9)
    weights = dict(network.named_parameters())
    values = torch.randn(3, 30, 9, 9, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        scores = network(values)[:, :, 0, 0]
        stack = values[:, None]
        for layer, pool in enumerate((3, 3, 2)):
            kernel = weights[f"convolutions.{layer}.weight"]
            bias = weights[f"convolutions.{layer}.bias"]
            stack = F.conv3d(stack, kernel, bias).clamp(min=0)
            depth = stack.shape[2] // pool
            stack = stack[:, :, : depth * pool].unflatten(2, (depth, pool)).amax(3)
            if layer < 2:
                zeros = torch.zeros_like(stack[:, :, :2])
                stack = torch.cat([zeros, stack, zeros], dim=2)
        flat = stack.flatten(1)
        for layer in range(3):
            matrix = weights[f"dense.{layer}.weight"].flatten(1)
            flat = flat @ matrix.T + weights[f"dense.{layer}.bias"]
            flat = flat.clamp(min=0) if layer < 2 else flat
    torch.testing.assert_close(scores, flat)


def test_lecture_weights_are_drawn_as_keras_draws_them():
    network = ready("lecture", 200, 16, 9)
    weights = dict(network.named_parameters())
    fans = {
        "convolutions.0": (1 * 45, 48 * 45),
        "convolutions.1": (48 * 45, 32 * 45),
        "convolutions.2": (32 * 45, 32 * 45),
        "dense.0": (2880, 128),
        "dense.1": (128, 128),
        "dense.2": (128, 16),
    }
    for name, (inputs, outputs) in fans.items():
        bound = (6 / (inputs + outputs)) ** 0.5
        largest = weights[f"{name}.weight"].detach().abs().max()
        assert 0.98 * bound < float(largest) <= bound
        assert not weights[f"{name}.bias"].any()


VALID = sorted(name for name, kind in NETWORKS.items() if kind.spatially_valid)
SIZES = [
    (name, window, bands)
    for name, kind in sorted(NETWORKS.items())
    for window in sorted({kind.minimum_window, 9, 11})
    for bands in (kind.minimum_bands, 31)
]


def unlike_new(network):
    """Give a network the running statistics of some training: new ones change nothing."""
    for layer in network.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            layer.running_mean.copy_(chance(len(layer.running_mean)))
            layer.running_var.copy_(chance(len(layer.running_var)).exp())
    return network


@pytest.mark.parametrize(("name", "window", "bands"), SIZES)
def test_networks_take_every_window_and_every_number_of_bands_they_promise(
    name, window, bands
):
    network = ready(name, bands, 3, window)
    with torch.no_grad():
        assert network(chance(2, bands, window, window)).shape == (2, 3, 1, 1)
        scores = network(chance(1, bands, window + 3, window + 1))
    assert scores.shape == (1, 3, 4, 2)
    assert scores.isfinite().all()


@pytest.mark.parametrize("name", VALID)
@pytest.mark.parametrize("window", [9, 13])
def test_a_tile_has_the_scores_of_all_its_windows(name, window):
    network = unlike_new(ready(name, 24, 3, window))
    tile = chance(1, 24, window + 5, window + 4)
    windows = tile.unfold(2, window, 1).unfold(3, window, 1)
    windows = windows[0].permute(1, 2, 0, 3, 4).flatten(0, 1)
    with torch.no_grad():
        dense, single = network(tile), network(windows)
    assert dense.shape == (1, 3, 6, 5)
    torch.testing.assert_close(
        dense[0].flatten(1).T, single[:, :, 0, 0], atol=1e-5, rtol=1e-5
    )


def test_only_networks_that_fill_up_borders_say_they_are_not_spatially_valid():
    assert set(NETWORKS) - set(VALID) == {"ssrn"}
    network = ready("ssrn", 24, 3, 9)
    tile = chance(1, 24, 12, 11)
    with torch.no_grad():
        dense, single = network(tile), network(tile[:, :, 2:11, 1:10])
    assert (dense[:, :, 2, 1] - single[:, :, 0, 0]).abs().max() > 1e-2


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_networks_are_built_without_memory_and_drawn_from_one_seed(name):
    network = build(name, bands=24, classes=3, window=9)
    held = [*network.parameters(), *network.buffers()]
    assert {tensor.device.type for tensor in held} == {"meta"}
    before = torch.get_rng_state()
    drawn = []
    for seed in (0, 0, 1):
        network = build(name, bands=24, classes=3, window=9).to_empty(device="cpu")
        for weight in network.parameters():
            weight.detach().fill_(torch.nan)
        network.reset(torch.Generator().manual_seed(seed))
        drawn.append(network.state_dict())
    assert torch.equal(torch.get_rng_state(), before)
    assert all(weight.isfinite().all() for weight in drawn[0].values())
    assert all(torch.equal(drawn[0][key], drawn[1][key]) for key in drawn[0])
    assert any(not torch.equal(drawn[0][key], drawn[2][key]) for key in drawn[0])


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_what_a_network_does_in_training_comes_from_its_seed_alone(name):
    windows = chance(4, 24, 9, 9)
    answers = []
    for global_seed in (1, 2):
        torch.manual_seed(global_seed)
        network = ready(name, 24, 3, 9).train()
        answers.append([network(windows) for _ in range(2)])
    assert all(map(torch.equal, *answers))


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_only_networks_that_normalise_no_batch_pass_it_in_pieces(name):
    network = build(name, bands=30, classes=3, window=9)
    kinds = {type(layer) for layer in network.modules()}
    normalises = any(issubclass(kind, nn.modules.batchnorm._BatchNorm) for kind in kinds)
    assert NETWORKS[name].minimum_batch == (2 if normalises else 1)
    if normalises:
        assert network.micro_batch_size() is None


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_networks_refuse_what_is_too_small_for_them(name):
    kind = NETWORKS[name]
    bands, window = kind.minimum_bands, kind.minimum_window
    build(name, bands=bands, classes=2, window=window)
    for small in (window - 2, window - 1, window + 1, 0, -3):
        with pytest.raises(ModelError, match=f"odd side of at least {window} pixels"):
            build(name, bands=bands, classes=2, window=small)
    with pytest.raises(ModelError, match=f"needs at least {bands} bands, got {bands - 1}"):
        build(name, bands=bands - 1, classes=2, window=window)


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_a_trained_network_comes_back_from_its_bundle(name, tmp_path):
    windows, labels = chance_windows(12)
    model = CNNClassifier(name, epochs=1, random_state=0, device="cpu")
    model.fit(windows, labels)
    save_bundle(tmp_path, model, {})
    again = load_bundle(tmp_path).classifier
    np.testing.assert_array_equal(
        again.predict_proba(windows), model.predict_proba(windows)
    )
    assert again.scaling_.outputs == model.scaling_.outputs


@pytest.mark.parametrize(
    ("name", "side", "epochs"),
    [
        ("default", 9, 30),
        ("hybridsn", 9, 40),
        ("ssrn", 5, 40),
        ("spectral-1d", 1, 150),
        ("attention", 7, 80),
    ],
)
def test_networks_can_learn_labels_by_heart(name, side, epochs):
    windows, labels = chance_windows(24, side)
    model = CNNClassifier(name, epochs=epochs, random_state=0, device="cpu")
    assert (model.fit(windows, labels).predict(windows) == labels).all()


def chance_windows(count, side=9):
    rng = np.random.default_rng(0)
    return rng.normal(size=(count, 24, side, side)), np.arange(count) % 3


@pytest.mark.parametrize("windows", [2, 20, 100, 695, 2_590, 33_000])
def test_default_recipe_takes_steps_by_the_root_of_the_windows(windows):
    recipe = NETWORKS["default"].recipe
    steps = recipe.epochs(windows) * len(
        split_batches(torch.arange(windows), recipe.batch_size, 2)
    )
    assert steps == pytest.approx(recipe.pace * windows**0.5, rel=0.03)
    assert NETWORKS["lecture"].recipe.epochs(windows) == 600
