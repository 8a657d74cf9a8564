"""Kernel principal components, held against scikit-learn's."""

import numpy as np
import pytest
from scipy.spatial.distance import pdist
from sklearn.decomposition import KernelPCA
from sklearn.preprocessing import StandardScaler

from hypercover.errors import CallError, ModelError, SceneError
from hypercover.features import spectral_features
from hypercover.features.spectral_features import KPCA, PCA


def spectra_of(scene):
    return scene.cube.values[:, scene.valid].T.astype(np.float64)


def matched(found, expected):
    """Turn the axes of one table so that they point the way of the other's."""
    return expected * np.sign((found * expected).sum(axis=0))


def test_components_are_those_of_scikit_learn(textured):
    feature = KPCA(5, gamma=0.03).fit(textured)
    found = feature.transform(textured).cube.values[:, textured.valid].T
    scaled = StandardScaler().fit_transform(spectra_of(textured))
    truth = KernelPCA(5, kernel="rbf", gamma=0.03).fit(scaled)
    np.testing.assert_allclose(
        feature.explained_variance_, truth.eigenvalues_ / len(scaled)
    )
    expected = truth.transform(scaled)
    np.testing.assert_allclose(found, matched(found, expected), rtol=1e-4, atol=1e-6)


def test_pixels_outside_the_sample_are_projected_as_scikit_learn_does(textured):
    feature = KPCA(3, sample=60, gamma=0.05).fit(textured, seed=4)
    found = feature.transform(textured).cube.values[:, textured.valid].T
    truth = KernelPCA(3, kernel="rbf", gamma=0.05).fit(feature.sample_)
    expected = truth.transform((spectra_of(textured) - feature.mean_) * feature.weight_)
    np.testing.assert_allclose(found, matched(found, expected), rtol=1e-4, atol=1e-6)


def test_projecting_the_sample_again_gives_its_own_coordinates(textured):
    feature = KPCA(4).fit(textured)
    found = feature.transform(textured).cube.values[:, textured.valid].T
    # The coordinates of the sample are the scaled eigenvectors: a · λ.
    expected = feature.coefficients_ * feature.explained_variance_ * len(found)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.var(axis=0), feature.explained_variance_, rtol=1e-4)
    assert (np.diff(feature.explained_variance_) < 0).all()


def test_a_very_wide_kernel_is_linear(textured, placed):
    """As gamma goes to 0 the kernel becomes a scalar product, and KPCA becomes PCA."""
    scaled = StandardScaler().fit_transform(spectra_of(textured)).T[:, :, None]
    straight = PCA(3).fit(scene := placed(scaled)).transform(scene).cube.values
    curved = KPCA(3, gamma=1e-7).fit(scene).transform(scene).cube.values
    for ours, theirs in zip(curved, straight, strict=True):
        assert abs(np.corrcoef(ours.ravel(), theirs.ravel())[0, 1]) > 1 - 1e-6


def test_the_width_is_chosen_by_the_median_distance(textured):
    scaled = StandardScaler().fit_transform(spectra_of(textured))
    expected = 1 / (2 * np.median(pdist(scaled)) ** 2)
    assert KPCA(2).fit(textured).gamma_ == pytest.approx(expected)


def test_the_seed_draws_the_sample_and_nothing_else(textured):
    first, same, other = (
        KPCA(2, sample=50).fit(textured, seed=seed).transform(textured).cube.values
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, same)
    assert not np.allclose(first, other, equal_nan=True)
    whole = [KPCA(2).fit(textured, seed=seed).sample_ for seed in (1, 2)]
    np.testing.assert_array_equal(*whole)


def test_blocks_change_nothing(textured, monkeypatch):
    feature = KPCA(3).fit(textured)
    whole = feature.transform(textured)
    monkeypatch.setattr(spectral_features, "_KERNEL_BLOCK", 1000)
    np.testing.assert_allclose(feature.transform(textured).cube, whole.cube, atol=1e-6)


def test_units_of_bands_and_constant_bands_change_nothing(textured, placed):
    cube = textured.cube.values.copy()
    plain = KPCA(3).fit(textured).transform(textured)
    stretched = cube * np.geomspace(1e-3, 1e4, 12)[:, None, None]
    flat = np.where(textured.valid, 12.5, 0.0)[None]
    other = placed(np.concatenate([stretched, flat]))
    found = KPCA(3).fit(other).transform(other)
    np.testing.assert_allclose(found.cube, plain.cube, atol=1e-5)


def test_bands_are_named_and_pixels_without_data_stay_so(textured):
    stack = KPCA(2).fit(textured).transform(textured)
    assert stack.cube.coords["band_name"].values.tolist() == ["kpca1", "kpca2"]
    assert stack.cube.dtype == np.float32
    assert np.isnan(stack.cube.values[:, ~textured.valid]).all()
    np.testing.assert_array_equal(stack.valid, textured.valid)


def test_equal_pixels_have_equal_features(placed):
    cube = np.random.default_rng(3).integers(1, 4, (2, 90, 80)).astype(float)
    stack = KPCA(2).fit(scene := placed(cube)).transform(scene).cube.values
    pairs = (cube[0] * 10 + cube[1]).astype(int)
    for pair in np.unique(pairs):
        assert len(np.unique(stack[:, pairs == pair], axis=1).T) == 1


def test_mostly_equal_pixels_still_have_a_width(placed):
    cube = np.ones((2, 10, 10))
    cube[:, 0, :3] = [[2, 3, 4], [5, 1, 2]]
    assert np.isfinite(KPCA(1).fit(placed(cube)).gamma_)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"components": 0}, "at least 1 component, got 0"),
        ({"components": 5, "sample": 5}, "needs a larger sample of pixels, got 5"),
        ({"sample": 2.5}, "needs a larger sample of pixels, got 2.5"),
        ({"gamma": 0}, "a number above 0, got 0; leave it out"),
        ({"gamma": float("inf")}, "a number above 0, got inf"),
        ({"gamma": "wide"}, "a number above 0, got 'wide'"),
    ],
)
def test_settings_that_make_no_kernel_are_refused(settings, said):
    with pytest.raises(CallError, match=said):
        KPCA(**settings)


def test_too_few_pixels_or_none_that_differ_are_refused(textured, placed):
    few = placed(textured.cube.values[:, 1:2, :4])
    with pytest.raises(SceneError, match="5 components: the 4 valid pixels"):
        KPCA(5).fit(few)
    with pytest.raises(SceneError, match="vary in no direction"):
        KPCA(2).fit(placed(np.full((3, 5, 5), 4.0)))
    with pytest.raises(SceneError, match="no pixel with data in all bands"):
        KPCA(2).fit(placed(np.full((3, 5, 5), np.nan)))


def test_a_sample_beyond_memory_is_refused(textured, monkeypatch):
    monkeypatch.setattr("hypercover.memory.available_bytes", lambda: 2**20)
    with pytest.raises(SceneError, match="draw a smaller sample for KPCA"):
        KPCA(2).fit(textured)


def test_what_was_learnt_can_be_kept(textured):
    feature = KPCA(3, sample=80).fit(textured, seed=9)
    again = KPCA.from_state(*feature.state())
    np.testing.assert_array_equal(
        again.transform(textured).cube, feature.transform(textured).cube
    )


@pytest.mark.parametrize(
    "damage",
    [
        lambda settings, arrays: settings.update(width=-1.0),
        lambda settings, arrays: settings.update(width="1"),
        lambda settings, arrays: settings.update(gamma=0),
        lambda settings, arrays: arrays.pop("sample"),
        lambda settings, arrays: arrays.update(weight=np.ones(3)),
        lambda settings, arrays: arrays.update(sample=np.ones((80, 3))),
        lambda settings, arrays: arrays["offset"].fill(np.inf),
    ],
)
def test_a_damaged_state_is_refused(textured, damage):
    settings, arrays = KPCA(3, sample=80).fit(textured).state()
    damage(settings, arrays)
    with pytest.raises(ModelError, match="train the model again"):
        KPCA.from_state(settings, arrays)
