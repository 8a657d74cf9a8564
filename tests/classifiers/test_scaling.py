"""Scaling: what is learnt from training spectra, against closed forms and scikit-learn."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA

from hypercover.classifiers.cnn.window_loader import noise_covariance
from hypercover.classifiers.scaling import Scaling
from hypercover.errors import ModelError


def test_standardising_gives_mean_0_and_deviation_1_with_constant_bands_silenced():
    spectra = np.random.default_rng(0).normal(3000, 500, size=(50, 4))
    spectra[:, 2] = 8000.1
    scaled = Scaling.standard(spectra).apply(spectra[:, :, None, None])[:, :, 0, 0]
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
    scaled = Scaling.noise_adjusted(spectra, noise, 8).apply(spectra[:, :, None, None])
    covariance = np.cov(scaled[:, :, 0, 0].numpy().T, ddof=0)
    variances = np.diag(covariance)
    np.testing.assert_allclose(covariance, np.diag(variances), atol=0.05)
    assert (np.diff(variances) <= 1e-6).all()
    assert variances[0] > 0.8
    assert (variances[2:] < 0.02).all()


def test_clearing_finds_the_signal_where_loud_noise_hides_it():
    spectra, noise, mixing = noisy()
    quiet = np.concatenate([mixing, -mixing])
    scaled = Scaling.noise_adjusted(spectra, noise, 2).apply((quiet)[:, :, None, None])
    assert np.linalg.matrix_rank(scaled[:2, :, 0, 0].numpy(), tol=0.1) == 2
    loudest = np.eye(8)[[7]] + spectra.mean(0)
    assert (
        float(
            Scaling.noise_adjusted(spectra, noise, 2)
            .apply(loudest[:, :, None, None])
            .norm()
        )
        < 0.5
    )


def test_local_noise_is_the_covariance_of_independent_noise():
    rng = np.random.default_rng(0)
    loud = np.array([1.0, 3.0, 0.5])
    windows = 1000 + rng.normal(size=(20_000, 3, 3, 3)) * loud[:, None, None]
    np.testing.assert_allclose(noise_covariance(windows), np.diag(loud**2), atol=0.1)
    assert noise_covariance(windows[:, :, :1, :1]) is None


def test_clearing_gives_no_more_components_than_there_are():
    spectra = np.random.default_rng(0).normal(size=(6, 3))
    assert 1 <= Scaling.noise_adjusted(spectra, None, 40).outputs <= 3
    assert Scaling.noise_adjusted(np.ones((4, 3)), None, 40).outputs == 1


def scaled(scaling, spectra):
    return scaling.apply(spectra[:, :, None, None])[:, :, 0, 0].numpy()


@given(st.integers(2, 40), st.integers(1, 12), st.integers(1, 15), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_principal_components_are_those_of_scikit_learn(count, bands, wanted, seed):
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(bands, bands)) + 2 * np.eye(bands)
    spectra = 3000 + 50 * rng.normal(size=(count, bands)) @ mixing
    found = scaled(Scaling.whitened(spectra, wanted), spectra)
    assert found.shape == (count, min(wanted, bands))
    varied = min(wanted, bands, count - 1)
    expected = PCA(varied, whiten=True).fit_transform(spectra)
    np.testing.assert_allclose(np.abs(found[:, :varied]), np.abs(expected), atol=5e-3)
    assert not found[:, varied:].any()


def test_the_sign_of_a_component_does_not_hang_on_the_order_of_the_pixels():
    spectra = np.random.default_rng(0).normal(size=(50, 6)) * np.arange(1, 7)
    first, second = (Scaling.whitened(rows, 4).weight for rows in (spectra, spectra[::-1]))
    np.testing.assert_allclose(first, second, atol=1e-5)
    largest = first[np.arange(4), np.abs(first).argmax(axis=1)]
    assert (largest > 0).all()


def test_equal_spectra_have_no_component_that_differs():
    scaling = Scaling.whitened(np.full((5, 3), 7, np.uint16), 30)
    assert scaling.outputs == 3
    assert not scaled(scaling, np.array([[7, 7, 9]], np.uint16)).any()


@pytest.mark.parametrize(
    ("kind", "components", "outputs"),
    [("standard", None, 8), ("cleared", 5, 5), ("principal", 5, 5), ("principal", 30, 8)],
)
def test_each_kind_is_learnt_by_name_and_comes_back_as_saved(kind, components, outputs):
    spectra, noise, _ = noisy()
    scaling = Scaling.fit(kind, spectra, noise, components)
    made = {
        "standard": lambda: Scaling.standard(spectra),
        "cleared": lambda: Scaling.noise_adjusted(spectra, noise, components),
        "principal": lambda: Scaling.whitened(spectra, components),
    }[kind]()
    assert (scaling.bands, scaling.outputs) == (8, outputs)
    again = Scaling.from_arrays(scaling.arrays(), 8, matrix=components is not None)
    for other in (made, again):
        np.testing.assert_array_equal(scaled(scaling, spectra), scaled(other, spectra))


def test_a_matrix_is_not_taken_for_one_weight_per_band():
    spectra, _, _ = noisy()
    arrays = Scaling.whitened(spectra, 8).arrays()
    with pytest.raises(ModelError, match="does not fit its 8 bands"):
        Scaling.from_arrays(arrays, 8, matrix=False)
