import numpy as np
import pytest
import torch
from torch.nn import functional as F

from hypercover.classifiers.batches import batches
from hypercover.classifiers.networks.catalog import NETWORKS, build
from hypercover.classifiers.networks.lecture import LectureNetwork
from hypercover.classifiers.networks.recipe import Recipe
from hypercover.classifiers.scaling import Scaling
from hypercover.classifiers.stack import local_noise
from hypercover.errors import ModelError


def ready(name, bands, classes, window):
    network = build(name, bands=bands, classes=classes, window=window)
    network.to_empty(device="cpu").reset(torch.Generator().manual_seed(0))
    return network.eval()


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


@pytest.mark.parametrize("name", VALID)
def test_networks_are_spatially_valid(name):
    network = ready(name, 24, 3, 9)
    tile = torch.randn(1, 24, 12, 11, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        dense = network(tile)
        single = network(tile[:, :, 2:11, 1:10])
    assert dense.shape == (1, 3, 4, 3)
    torch.testing.assert_close(dense[:, :, 2, 1], single[:, :, 0, 0], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_networks_are_built_without_memory_and_drawn_from_one_seed(name):
    network = build(name, bands=24, classes=3, window=9)
    assert {weight.device.type for weight in network.parameters()} == {"meta"}
    first, second = ready(name, 24, 3, 9).state_dict(), ready(name, 24, 3, 9).state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("window", [8, 5, 0, -3])
def test_networks_refuse_windows_they_cannot_take(window):
    with pytest.raises(ModelError, match="minimum window is 7"):
        build("lecture", bands=200, classes=2, window=window)


@pytest.mark.parametrize("windows", [2, 20, 100, 695, 2_590, 33_000])
def test_default_recipe_takes_steps_by_the_root_of_the_windows(windows):
    recipe = NETWORKS["default"].recipe
    steps = recipe.epochs(windows) * len(
        batches(torch.arange(windows), recipe.batch_size, 2)
    )
    assert steps == pytest.approx(recipe.pace * windows**0.5, rel=0.03)
    assert NETWORKS["lecture"].recipe.epochs(windows) == 600


def test_standardising_gives_mean_0_and_deviation_1_with_constant_bands_silenced():
    spectra = np.random.default_rng(0).normal(3000, 500, size=(50, 4))
    spectra[:, 2] = 8000.1
    scaled = Scaling.standardising(spectra).apply(spectra[:, :, None, None])[:, :, 0, 0]
    assert scaled.dtype == torch.float32
    np.testing.assert_allclose(scaled.mean(0), np.zeros(4), atol=1e-4)
    np.testing.assert_allclose(scaled.std(0, correction=0), [1, 1, 0, 1], atol=1e-4)


def noisy(bands=8, signals=2, count=4000, seed=0):
    """Few strong directions under noise that is much louder in the last bands."""
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(signals, bands))
    loud = np.linspace(0.05, 1.5, bands)
    clean = rng.normal(size=(count, signals)) @ mixing
    return clean + rng.normal(size=(count, bands)) * loud, np.diag(loud**2), mixing


def test_cleared_directions_are_uncorrelated_and_weigh_by_what_is_not_noise():
    spectra, noise, _ = noisy()
    scaled = Scaling.clearing(spectra, noise, 8).apply(spectra[:, :, None, None])
    covariance = np.cov(scaled[:, :, 0, 0].numpy().T, ddof=0)
    variances = np.diag(covariance)
    np.testing.assert_allclose(covariance, np.diag(variances), atol=0.05)
    assert (np.diff(variances) <= 1e-6).all()
    assert variances[0] > 0.8
    assert (variances[2:] < 0.02).all()


def test_clearing_finds_the_signal_where_loud_noise_hides_it():
    spectra, noise, mixing = noisy()
    quiet = np.concatenate([mixing, -mixing])
    scaled = Scaling.clearing(spectra, noise, 2).apply((quiet)[:, :, None, None])
    assert np.linalg.matrix_rank(scaled[:2, :, 0, 0].numpy(), tol=0.1) == 2
    loudest = np.eye(8)[[7]] + spectra.mean(0)
    assert (
        float(Scaling.clearing(spectra, noise, 2).apply(loudest[:, :, None, None]).norm())
        < 0.5
    )


def test_local_noise_is_the_covariance_of_independent_noise():
    rng = np.random.default_rng(0)
    loud = np.array([1.0, 3.0, 0.5])
    windows = 1000 + rng.normal(size=(20_000, 3, 3, 3)) * loud[:, None, None]
    np.testing.assert_allclose(local_noise(windows), np.diag(loud**2), atol=0.1)
    assert local_noise(windows[:, :, :1, :1]) is None


def test_clearing_gives_no_more_components_than_there_are():
    spectra = np.random.default_rng(0).normal(size=(6, 3))
    assert 1 <= Scaling.clearing(spectra, None, 40).outputs <= 3
    assert Scaling.clearing(np.ones((4, 3)), None, 40).outputs == 1
