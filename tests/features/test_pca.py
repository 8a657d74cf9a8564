"""Principal components, held against scikit-learn's."""

import numpy as np
import pytest
from sklearn.decomposition import PCA as SklearnPCA

from hypercover.errors import CallError, ModelError, SceneError
from hypercover.features import spectral_features
from hypercover.features.spectral_features import PCA


def spectra_of(scene):
    return scene.cube.values[:, scene.valid].T.astype(np.float64)


def test_components_are_those_of_scikit_learn(textured):
    feature = PCA(4).fit(textured)
    stack = feature.transform(textured)
    truth = SklearnPCA(4).fit(spectra_of(textured))
    np.testing.assert_allclose(feature.explained_variance_, truth.explained_variance_)
    found = stack.cube.values[:, textured.valid].T
    expected = truth.transform(spectra_of(textured))
    signs = np.sign((found * expected).sum(axis=0))
    np.testing.assert_allclose(found, expected * signs, rtol=1e-4, atol=1e-4)


def test_a_scene_stays_a_scene_with_other_bands(textured):
    stack = PCA(3).fit(textured).transform(textured)
    assert stack.cube.dtype == np.float32
    assert stack.grid == textured.grid
    assert stack.name == textured.name
    assert stack.labels is textured.labels
    assert stack.bands.tolist() == [1, 2, 3]
    assert stack.cube.coords["band_name"].values.tolist() == ["pca1", "pca2", "pca3"]
    assert stack.wavelengths is None
    np.testing.assert_array_equal(stack.valid, textured.valid)
    assert np.isnan(stack.cube.values[:, ~textured.valid]).all()


def test_neither_strips_nor_blocks_change_the_answer(textured, monkeypatch):
    whole = PCA(3).fit(textured).transform(textured)
    monkeypatch.setattr("hypercover.scene.scene._STRIP", 3 * 17 * 12)
    monkeypatch.setattr(spectral_features, "_BLOCK", 7)
    said = []
    again = textured.replace()
    pieces = PCA(3).fit(again).transform(again, progress=lambda *done: said.append(done))
    np.testing.assert_allclose(pieces.cube, whole.cube, rtol=1e-5, atol=1e-5)
    assert said == sorted(said)
    assert said[-1] == (338, 338)


def test_an_integer_cube_is_read_as_it_is(placed):
    cube = np.random.default_rng(0).integers(1, 9, (3, 6, 5)).astype(np.uint16)
    feature = PCA(2).fit(placed(cube))
    truth = SklearnPCA(2).fit(cube.reshape(3, -1).T)
    np.testing.assert_allclose(feature.explained_variance_, truth.explained_variance_)


def test_what_was_learnt_can_be_kept(textured):
    feature = PCA(3).fit(textured)
    again = PCA.from_state(*feature.state())
    np.testing.assert_array_equal(
        again.transform(textured).cube, feature.transform(textured).cube
    )


@pytest.mark.parametrize("components", [0, -1, 2.5, True, "5", None, 2**20])
def test_a_number_of_components_that_is_none_is_refused(components):
    with pytest.raises(CallError, match="at least 1 component, got"):
        PCA(components)


def test_more_components_than_the_pixels_vary_in_are_refused(textured, placed):
    with pytest.raises(SceneError, match="13 components: the 338 valid pixels"):
        PCA(13).fit(textured)
    few = placed(textured.cube.values[:, 1:2, :3])
    with pytest.raises(
        SceneError, match="3 valid pixels of field vary in only 2 directions"
    ):
        PCA(3).fit(few)


def test_constant_bands_leave_nothing_to_learn(placed):
    with pytest.raises(SceneError, match="vary in no direction; use fewer"):
        PCA(1).fit(placed(np.full((3, 4, 4), 7.0)))


def test_a_scene_without_data_is_refused(placed):
    with pytest.raises(SceneError, match="no pixel with data in all bands"):
        PCA(1).fit(placed(np.full((2, 3, 3), np.nan)))


def test_another_number_of_bands_is_refused(textured):
    feature = PCA(2).fit(textured)
    with pytest.raises(ModelError, match="fitted on 12 bands and the scene field has 3"):
        feature.transform(textured.take_bands([0, 1, 2]))


@pytest.mark.parametrize(
    "damage",
    [
        lambda settings, arrays: settings.pop("components"),
        lambda settings, arrays: settings.update(components="3"),
        lambda settings, arrays: settings.update(components=10**12),
        lambda settings, arrays: settings.update(components=2),
        lambda settings, arrays: arrays.pop("mean"),
        lambda settings, arrays: arrays.update(mean=np.zeros(0)),
        lambda settings, arrays: arrays.update(directions=np.zeros((3, 12))),
        lambda settings, arrays: arrays["directions"].fill(np.nan),
        lambda settings, arrays: arrays.update(mean=np.zeros(12, np.float32)),
    ],
)
def test_a_damaged_state_is_refused(textured, damage):
    settings, arrays = PCA(3).fit(textured).state()
    damage(settings, arrays)
    with pytest.raises(ModelError, match="train the model again"):
        PCA.from_state(settings, arrays)
