"""Minimum noise fraction, held against the formula and the package ``spectral``."""

import numpy as np
import pytest
import spectral as spy

from hypercover.errors import SceneError
from hypercover.features.spectral_features import MNF, noise_covariance


def naive_noise(cube, valid):
    total, pairs = np.zeros((len(cube), len(cube))), 0
    for row in range(cube.shape[1]):
        for col in range(cube.shape[2]):
            for other in ((row, col + 1), (row + 1, col)):
                inside = other[0] < cube.shape[1] and other[1] < cube.shape[2]
                if inside and valid[row, col] and valid[other]:
                    difference = cube[:, row, col] - cube[:, *other]
                    total += np.outer(difference, difference)
                    pairs += 1
    return total / (2 * pairs)


def test_noise_is_half_the_mean_square_of_neighbours_differences(textured, monkeypatch):
    expected = naive_noise(textured.cube.values, textured.valid)
    np.testing.assert_allclose(noise_covariance(textured), expected)
    monkeypatch.setattr("hypercover.scene.scene._STRIP", 3 * 17 * 12)
    np.testing.assert_allclose(noise_covariance(textured), expected)


def test_components_are_those_of_spectral(textured):
    feature = MNF(6).fit(textured)
    found = feature.transform(textured).cube.values[:, textured.valid].T
    spectra = textured.cube.values[:, textured.valid].T
    signal = spy.calc_stats(spectra[None])
    noise = spy.GaussianStats(
        mean=np.zeros(12), cov=noise_covariance(textured), nsamples=signal.nsamples
    )
    truth = spy.mnf(signal, noise)
    expected = truth.get_reduction_transform(num=6)(spectra)
    for ours, theirs in zip(found.T, expected.T, strict=True):
        assert abs(np.corrcoef(ours, theirs)[0, 1]) > 1 - 1e-6
    np.testing.assert_allclose(
        np.sort(truth.napc.eigenvalues)[::-1][:6], feature.ratios_, rtol=1e-5
    )


def test_noise_has_variance_one_and_components_their_ratio(textured):
    feature = MNF(5).fit(textured)
    directions = feature.components_.T
    noise = directions.T @ noise_covariance(textured) @ directions
    np.testing.assert_allclose(noise, np.eye(5), atol=1e-5)
    stack = feature.transform(textured).cube.values[:, textured.valid]
    np.testing.assert_allclose(stack.var(axis=1, ddof=1), feature.ratios_, rtol=1e-4)
    assert (np.diff(feature.ratios_) <= 0).all()


def test_signal_is_found_under_stronger_noise(placed):
    """Band 2 holds the land, the others only louder noise: PCA would miss it."""
    chance = np.random.default_rng(1)
    cube = chance.normal(0, 30, (4, 40, 40))
    land = np.add.outer(np.arange(40.0), np.arange(40.0))
    cube[1] = land / land.std() + chance.normal(0, 0.1, land.shape)
    stack = MNF(1).fit(scene := placed(cube)).transform(scene)
    assert abs(np.corrcoef(stack.cube.values[0].ravel(), land.ravel())[0, 1]) > 0.99


def test_bands_that_repeat_each_other_or_are_constant_do_no_harm(textured, placed):
    cube = textured.cube.values
    flat = np.where(textured.valid, 3.0, 0.0)[None]
    more = placed(np.concatenate([cube, cube[:2], flat]))
    feature = MNF(5).fit(more)
    plain = MNF(5).fit(placed(cube)).transform(placed(cube))
    np.testing.assert_allclose(
        np.abs(feature.transform(more).cube), np.abs(plain.cube), rtol=1e-2, atol=1e-2
    )
    with pytest.raises(SceneError, match="vary in only 12 directions"):
        MNF(13).fit(more)


def test_pixels_that_stand_alone_show_no_noise(placed):
    cube = np.random.default_rng(0).normal(size=(2, 6, 6))
    cube[:, np.indices((6, 6)).sum(axis=0) % 2 == 1] = np.nan
    with pytest.raises(SceneError, match="no two adjacent valid pixels; use pca instead"):
        MNF(1).fit(placed(cube))


def test_what_was_learnt_can_be_kept(textured):
    feature = MNF(3).fit(textured)
    again = MNF.from_state(*feature.state())
    np.testing.assert_array_equal(
        again.transform(textured).cube, feature.transform(textured).cube
    )
