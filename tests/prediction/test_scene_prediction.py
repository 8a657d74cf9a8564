"""A map must not depend on how the scene was cut into tiles."""

import os
import subprocess
import sys
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import rasterio
import rioxarray
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.ensemble import RandomForestClassifier
from sklearn.svm import SVC

from hypercover.classifiers.svm.svm_classifier import SVMClassifier
from hypercover.errors import ModelError, SceneError
from hypercover.evaluation.calibration import apply_temperature
from hypercover.gis.map_writing import write_class_map
from hypercover.prediction.map_prediction import predict_scene_to_files
from hypercover.prediction.scene_prediction import (
    predict_pixels,
    predict_scene,
)
from hypercover.scene.class_map import open_class_map
from hypercover.scene.grid import Grid, grid_of, with_grid
from hypercover.scene.legend import Legend
from hypercover.scene.scene import Scene, blank_invalid
from hypercover.scene.tiling import tiles
from hypercover.windows.windows import Windows

LAYERS = ("labels", "confidence", "probabilities", "entropy")
GRID = Grid(40, 53, "EPSG:32616", (20.0, 0.0, 500_000.0, 0.0, -20.0, 4_480_000.0))


@dataclass
class WindowMean:
    """A dense classifier known in closed form: softmax of the windows' band means."""

    margin_: int = 2
    classes_: Any = field(default_factory=lambda: np.array([3, 7, 40]))
    n_features_in_: int = 3

    def predict_dense(self, tile, memory=None):
        size = 2 * self.margin_ + 1
        views = np.lib.stride_tricks.sliding_window_view(tile, (size, size), axis=(1, 2))
        scores = np.exp(views.astype(float).mean(axis=(3, 4)))
        return (scores / scores.sum(axis=0)).astype(np.float32)


def scene_of(values, nodata=None, grid=GRID, **fields):
    cube = xr.DataArray(values, dims=("band", "y", "x"))
    if nodata is not None:
        cube.attrs["nodata"] = nodata
    return Scene(with_grid(cube, grid), name="field", **fields)


@pytest.fixture
def scene():
    random = np.random.default_rng(4)
    return scene_of(random.normal(size=(3, 40, 53)).astype(np.float32))


def predict_layers(*arguments, **options):
    """Predict a scene into plain arrays; None for a layer that is not there."""
    found = predict_scene(*arguments, **options)
    layers = {name: found[name].values if name in found else None for name in LAYERS}
    return SimpleNamespace(**layers)


def window_by_window(classifier, scene):
    """The same map computed one window at a time."""
    rows, cols = np.indices(scene.shape).reshape(2, -1)
    cube = scene.read(slice(None), slice(None))
    size = 2 * classifier.margin_ + 1
    cuts = Windows(cube, rows, cols, size).cut().astype(float)
    scores = np.exp(cuts.mean(axis=(2, 3)))
    scores /= scores.sum(axis=1, keepdims=True)
    best = np.asarray(classifier.classes_)[scores.argmax(axis=1)]
    return best.reshape(scene.shape), scores.max(axis=1).reshape(scene.shape)


@pytest.mark.parametrize("margin", [0, 1, 2, 6])
@pytest.mark.parametrize("memory", [2**16, 2**18, 2**28])
def test_dense_map_equals_window_by_window_for_every_tile_size(scene, margin, memory):
    classifier = WindowMean(margin)
    found = predict_layers(classifier, scene, memory=memory)
    labels, confidence = window_by_window(classifier, scene)
    np.testing.assert_array_equal(found.labels, labels)
    np.testing.assert_allclose(found.confidence, confidence, rtol=1e-5)
    assert found.labels.dtype == np.uint8
    assert found.confidence.dtype == np.float32


def test_small_memory_really_cuts_small_tiles(scene):
    seen = []

    class Watching(WindowMean):
        def predict_dense(self, tile, memory=None):
            seen.append(tile.shape)
            return super().predict_dense(tile, memory)

    predict_layers(Watching(), scene, memory=2**16)
    assert max(rows for _, rows, _ in seen) == 8 + 4
    assert len(seen) == 5 * 7


@given(
    shape=st.tuples(st.integers(1, 700), st.integers(1, 700)),
    side=st.sampled_from([16, 64, 256, 512]),
    smaller=st.sampled_from([8, 64, 256]),
)
def test_tiles_cover_every_pixel_once(shape, side, smaller):
    count = np.zeros(shape, np.uint8)
    for tile in tiles(shape, side):
        inner = np.zeros(tile.shape, np.uint8)
        for part in tile.cut(smaller):
            assert max(part.shape) <= min(side, smaller)
            assert part.pixels == part.shape[0] * part.shape[1]
            count[part.rows, part.cols] += 1
            inner[part.within(tile)] += 1
        assert (inner == 1).all()
    assert (count == 1).all()


@pytest.mark.parametrize("memory", [2**16, 2**28])
def test_pixel_classifier_is_asked_for_labels_not_for_the_largest_probability(
    scene, memory
):
    class Contrary:
        classes_ = np.array([1, 2])

        def predict(self, spectra):
            return np.where(spectra[:, 0] > 0, 2, 1)

        def predict_proba(self, spectra):
            return np.where(spectra[:, :1] > 0, [[0.8, 0.2]], [[0.3, 0.7]])

    found = predict_layers(Contrary(), scene, memory=memory)
    positive = scene.read(slice(None), slice(None))[0] > 0
    np.testing.assert_array_equal(found.labels, np.where(positive, 2, 1))
    np.testing.assert_allclose(found.confidence, np.where(positive, 0.2, 0.3), rtol=1e-6)


def test_scikit_learn_classifiers_make_the_map_they_predict(scene):
    random = np.random.default_rng(0)
    spectra = random.normal(size=(60, 3))
    codes = np.where(spectra[:, 0] > 0, 300, 4)
    forest = RandomForestClassifier(10, random_state=0).fit(spectra, codes)
    found = predict_layers(forest, scene, memory=2**16)
    pixels = scene.read(slice(None), slice(None)).reshape(3, -1).T
    np.testing.assert_array_equal(found.labels.ravel(), forest.predict(pixels))
    assert found.labels.dtype == np.uint16
    np.testing.assert_allclose(
        found.confidence.ravel(), forest.predict_proba(pixels).max(axis=1), rtol=1e-6
    )


def test_classifier_without_probabilities_gives_no_confidence(scene, tmp_path):
    spectra = np.random.default_rng(0).normal(size=(60, 3))
    svc = SVC().fit(spectra, np.where(spectra[:, 0] > 0, 2, 1))
    assert predict_layers(svc, scene).confidence is None
    written = predict_scene_to_files(
        svc, scene, tmp_path / "m.tif", confidence=tmp_path / "c.tif"
    )
    assert written == (tmp_path / "m.tif",)
    assert not (tmp_path / "c.tif").exists()


def holey(kind):
    values = np.random.default_rng(1).normal(5, 1, size=(3, 40, 53)).astype(np.float32)
    where = (slice(None), slice(10, 20), slice(5, 30))
    if kind == "nan":
        values[(0, *where[1:])] = np.nan
    elif kind == "infinite":
        values[(2, *where[1:])] = np.inf
    elif kind == "nodata":
        values[(1, *where[1:])] = -9999
    else:
        values[where] = 0
    scene = scene_of(values, nodata=-9999 if kind == "nodata" else None)
    scene.cube.attrs["zero_is_nodata"] = kind == "zero"
    return scene


@pytest.mark.parametrize("kind", ["nan", "infinite", "nodata", "zero"])
@pytest.mark.parametrize("memory", [2**16, 2**28])
def test_pixels_without_data_stay_empty_and_harm_nobody_beside_them(kind, memory):
    scene = holey(kind)
    found = predict_layers(WindowMean(2), scene, memory=memory)
    hole = np.zeros(scene.shape, bool)
    hole[10:20, 5:30] = True
    np.testing.assert_array_equal(found.labels == 0, hole)
    np.testing.assert_array_equal(np.isnan(found.confidence), hole)
    filled = scene_of(blank_invalid(scene.read(slice(None), slice(None)), scene.valid))
    labels, confidence = window_by_window(WindowMean(2), filled)
    np.testing.assert_array_equal(found.labels[~hole], labels[~hole])
    np.testing.assert_allclose(found.confidence[~hole], confidence[~hole], rtol=1e-5)


def test_scene_without_any_data_gives_an_empty_map():
    scene = scene_of(np.full((3, 40, 53), np.nan, np.float32))
    found = predict_layers(WindowMean(), scene)
    assert not found.labels.any()
    assert np.isnan(found.confidence).all()


def test_blank_invalid_keeps_the_type_and_leaves_whole_tiles_alone():
    values = np.ones((2, 3, 3), np.int16)
    assert blank_invalid(values, np.ones((3, 3), bool)) is values
    hole = np.ones((3, 3), bool)
    hole[1, 1] = False
    blanked = blank_invalid(values, hole)
    assert blanked.dtype == np.int16
    assert blanked[:, 1, 1].tolist() == [0, 0]
    assert blanked.sum() == 16


def test_files_hold_what_the_memory_holds(scene, tmp_path):
    classifier = WindowMean(3)
    legend = Legend.of({3: "Corn", 7: "Soy"})
    written = predict_scene_to_files(
        classifier,
        scene,
        tmp_path / "map.tif",
        confidence=tmp_path / "sure.tif",
        legend=legend,
        memory=2**16,
    )
    assert written == (tmp_path / "map.tif", tmp_path / "sure.tif")
    found = predict_layers(classifier, scene)
    with rasterio.open(tmp_path / "map.tif") as raster:
        np.testing.assert_array_equal(raster.read(1), found.labels)
        assert raster.crs.to_epsg() == 32616
        assert tuple(raster.transform)[:6] == GRID.transform
    with rasterio.open(tmp_path / "sure.tif") as raster:
        np.testing.assert_array_equal(raster.read(1), found.confidence)
    names = (tmp_path / "map.tif.aux.xml").read_text()
    assert "Soy" in names
    assert "Class 40" in names


@pytest.mark.parametrize("simulated", [True, False])
def test_files_of_a_simulated_scene_say_so(scene, tmp_path, simulated):
    scene = scene.replace(simulated=simulated)
    paths = predict_scene_to_files(
        WindowMean(3), scene, tmp_path / "map.tif", confidence=tmp_path / "sure.tif"
    )
    for path in paths:
        with rasterio.open(path) as raster:
            assert ("HYPERCOVER_SIMULATED" in raster.tags()) is simulated


def test_streamed_file_is_the_same_for_every_tile_size(tmp_path):
    grid = Grid(300, 530)
    random = np.random.default_rng(4).normal(size=(3, 300, 530)).astype(np.float32)
    scene = scene_of(random, grid=grid)
    files = [tmp_path / "a.tif", tmp_path / "b.tif"]
    for path, memory in zip(files, [2**16, 2**28], strict=True):
        predict_scene_to_files(WindowMean(1), scene, path, memory=memory)
    assert files[0].read_bytes() == files[1].read_bytes()


def test_progress_counts_pixels_up_to_all_of_them(scene):
    seen = []
    predict_layers(
        WindowMean(), scene, memory=2**16, progress=lambda *now: seen.append(now)
    )
    done = [now for now, _ in seen]
    assert done == sorted(done)
    assert seen[-1] == (40 * 53, 40 * 53)


def test_failure_half_way_leaves_the_old_map_and_nothing_else(scene, tmp_path):
    class Failing(WindowMean):
        def predict_dense(self, tile, memory=None):
            raise KeyboardInterrupt

    predict_scene_to_files(WindowMean(), scene, tmp_path / "map.tif")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(KeyboardInterrupt):
        predict_scene_to_files(
            Failing(), scene, tmp_path / "map.tif", confidence=tmp_path / "c.tif"
        )
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_wrong_bands_codes_and_windows_are_named(scene):
    with pytest.raises(ModelError, match="trained on 5 bands and the scene field has 3"):
        predict_layers(WindowMean(n_features_in_=5), scene)
    for classes in (["a", "b"], [0, 1], [1, 70_000], [1.5, 2.0]):
        with pytest.raises(ModelError, match="from 1 to 65535"):
            predict_layers(WindowMean(classes_=np.array(classes)), scene)
    with pytest.raises(ModelError, match="an image of at least 41 rows and 41 columns"):
        predict_layers(WindowMean(margin_=20), scene)


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
def test_scene_cut_short_is_a_scene_error_and_leaves_no_map(tmp_path):
    path = tmp_path / "cut.tif"
    values = np.random.default_rng(0).normal(size=(3, 300, 300)).astype(np.float32)
    profile = {"driver": "GTiff", "height": 300, "width": 300, "count": 3}
    with rasterio.open(path, "w", dtype="float32", **profile) as raster:
        raster.write(values)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])
    with rioxarray.open_rasterio(path) as cube:
        scene = Scene(cube, name="cut")
        with pytest.raises(SceneError, match=r"cut cannot be read at rows 0 to"):
            predict_scene_to_files(WindowMean(), scene, tmp_path / "map.tif")
    assert [item.name for item in tmp_path.iterdir()] == ["cut.tif"]


@settings(max_examples=25, deadline=None)
@given(
    values=hnp.arrays(np.int16, (2, 20, 18), elements=st.integers(-3, 3)),
    margin=st.integers(0, 4),
)
def test_any_integer_scene_is_mapped_as_window_by_window(values, margin):
    scene = scene_of(values, grid=Grid(20, 18))
    classifier = WindowMean(margin, np.array([1, 2]), 2)
    found = predict_layers(classifier, scene, memory=2**16)
    labels, confidence = window_by_window(classifier, scene)
    # Equal sums may be rounded apart: only clear winners are compared.
    clear = scene.valid & (confidence > 0.5 + 1e-6)
    np.testing.assert_array_equal(found.labels[clear], labels[clear])
    np.testing.assert_array_equal(found.labels == 0, ~scene.valid)


IDENTITY = {"model": "m", "image": "i"}


def test_probabilities_and_entropy_are_those_of_the_model():
    scene, classifier = holey("nan"), WindowMean(2)
    found = predict_layers(classifier, scene, layers=LAYERS, memory=2**16)
    filled = blank_invalid(scene.read(slice(None), slice(None)), scene.valid)
    around = np.pad(filled, ((0, 0), (2, 2), (2, 2)), mode="edge")
    expected = np.where(scene.valid, classifier.predict_dense(around), np.nan)
    np.testing.assert_allclose(found.probabilities, expected, rtol=1e-5)
    spread = -(expected * np.log(expected)).sum(axis=0) / np.log(3)
    np.testing.assert_allclose(found.entropy, spread, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(found.confidence, found.probabilities.max(axis=0))


def test_layers_that_nobody_asked_for_are_not_made(scene):
    found = predict_layers(WindowMean(), scene, layers=())
    assert found.labels.any()
    assert (found.confidence, found.probabilities, found.entropy) == (None, None, None)


def test_files_of_probabilities_name_their_bands(scene, tmp_path):
    paths = {layer: tmp_path / f"{layer}.tif" for layer in LAYERS[1:]}
    legend = Legend.of({3: "Corn", 7: "Soy"})
    classifier = WindowMean(1)
    predict_scene_to_files(classifier, scene, tmp_path / "map.tif", legend=legend, **paths)
    found = predict_layers(classifier, scene, layers=LAYERS)
    with rasterio.open(tmp_path / "probabilities.tif") as raster:
        assert raster.descriptions == ("Corn", "Soy", "Class 40")
        assert raster.dtypes == ("float32",) * 3
        assert np.isnan(raster.nodata)
        np.testing.assert_array_equal(raster.read(), found.probabilities)
    with rasterio.open(tmp_path / "entropy.tif") as raster:
        assert raster.descriptions == ("entropy",)
        np.testing.assert_array_equal(raster.read(1), found.entropy)
    for layer in LAYERS[1:]:
        assert "singlebandpseudocolor" in (tmp_path / f"{layer}.qml").read_text()


@pytest.mark.parametrize("layer", ["probabilities", "entropy"])
@pytest.mark.parametrize("make", [SVMClassifier, SVC])
def test_an_svm_without_probabilities_has_none_to_map(scene, layer, make):
    spectra = np.random.default_rng(0).normal(size=(60, 3))
    svm = make().fit(spectra, np.where(spectra[:, 0] > 0, 2, 1))
    with pytest.raises(ModelError, match=f"map of {layer} .* probability: true"):
        predict_layers(svm, scene, layers=(layer,))


def test_an_svm_with_probabilities_maps_them(scene):
    spectra = np.random.default_rng(0).normal(size=(90, 3))
    svm = SVMClassifier(probability=True).fit(spectra, np.arange(90) % 3 + 1)
    found = predict_layers(svm, scene, layers=LAYERS, memory=2**18)
    pixels = scene.read(slice(None), slice(None)).reshape(3, -1).T
    shares = svm.predict_proba(pixels).T.reshape(3, *scene.shape)
    np.testing.assert_allclose(found.probabilities, shares, rtol=1e-5)
    np.testing.assert_array_equal(found.labels.ravel(), svm.predict(pixels))


@pytest.mark.parametrize("temperature", [0.4, 3.0])
def test_a_temperature_scales_all_but_the_labels(scene, temperature):
    spectra = np.random.default_rng(0).normal(size=(90, 3))
    svm = SVMClassifier(probability=True).fit(spectra, np.arange(90) % 3 + 1)
    for classifier in (WindowMean(2), svm):
        own = predict_layers(classifier, scene, layers=LAYERS, memory=2**18)
        found = predict_layers(
            classifier, scene, layers=LAYERS, memory=2**18, temperature=temperature
        )
        np.testing.assert_array_equal(found.labels, own.labels)
        shares = apply_temperature(own.probabilities, temperature, axis=0)
        np.testing.assert_allclose(found.probabilities, shares, rtol=1e-4)
        place = np.searchsorted(classifier.classes_, own.labels)
        sure = np.take_along_axis(found.probabilities, place[None], axis=0)[0]
        np.testing.assert_array_equal(found.confidence, sure)
        spread = -(shares * np.log(shares)).sum(axis=0) / np.log(3)
        np.testing.assert_allclose(found.entropy, spread, rtol=1e-3, atol=1e-6)
        alone = predict_layers(classifier, scene, memory=2**18, temperature=temperature)
        np.testing.assert_array_equal(alone.confidence, found.confidence)
        assert alone.probabilities is None


def test_a_confidence_under_a_temperature_is_that_of_the_label(scene):
    class Tied:
        classes_ = np.array([9, 4])

        def predict(self, spectra):
            return np.full(len(spectra), 4)

        def predict_proba(self, spectra):
            return np.tile([0.8, 0.2], (len(spectra), 1))

    found = predict_layers(Tied(), scene, temperature=2.0)
    assert (found.labels == 4).all()
    np.testing.assert_allclose(found.confidence, 1 / 3, rtol=1e-6)


@pytest.mark.parametrize("temperature", [0, -1.0, np.nan, np.inf])
def test_what_is_no_temperature_is_refused(scene, temperature):
    with pytest.raises(ModelError, match="A temperature is a number above 0, got"):
        predict_layers(WindowMean(), scene, temperature=temperature)


def test_what_are_no_probabilities_has_no_temperature(scene):
    spectra = np.random.default_rng(0).normal(size=(60, 3))
    svm = SVC().fit(spectra, np.where(spectra[:, 0] > 0, 2, 1))
    with pytest.raises(
        ModelError, match="temperature 2 scales probabilities, and the model gives no"
    ):
        predict_layers(svm, scene, temperature=2.0)


def test_shares_of_an_svm_that_are_scaled_are_probabilities(scene):
    spectra = np.random.default_rng(0).normal(size=(60, 3))
    svm = SVMClassifier().fit(spectra, np.where(spectra[:, 0] > 0, 2, 1))
    layers = ("labels", "confidence", "probabilities", "entropy")
    with pytest.raises(ModelError, match="needs calibrated probabilities, which the model"):
        predict_layers(svm, scene, layers=layers)
    found = predict_layers(svm, scene, layers=layers, temperature=2.0)
    pixels = scene.cube.values.reshape(scene.n_bands, -1).T
    expected = apply_temperature(svm.predict_proba(pixels), 2.0).T.reshape(
        found.probabilities.shape
    )
    np.testing.assert_allclose(found.probabilities, expected, rtol=1e-5)
    np.testing.assert_allclose(found.confidence, expected.max(axis=0), rtol=1e-5)


def test_some_pixels_are_predicted_as_in_the_map():
    random = np.random.default_rng(0)
    values = random.normal(size=(3, 300, 300)).astype(np.float32)
    values[:, 100:200] = 0
    scene = scene_of(values, grid=Grid(300, 300))
    at = tuple(random.integers(0, 300, (2, 500)))
    found = predict_pixels(WindowMean(1), scene, at, LAYERS)
    whole = predict_layers(WindowMean(1), scene, layers=LAYERS)
    for layer in LAYERS:
        expected = getattr(whole, layer)[(..., *at)]
        np.testing.assert_array_equal(found[layer], expected)
    none = predict_pixels(WindowMean(1), scene, (at[0][:0], at[1][:0]), LAYERS)
    assert [none[layer].shape for layer in LAYERS] == [(0,), (0,), (3, 0), (0,)]


def test_tiles_without_an_asked_pixel_are_not_predicted():
    values = np.ones((3, 300, 530), np.float32)
    scene, counting = scene_of(values, grid=Grid(300, 530)), Stopping()
    predict_pixels(counting, scene, (np.array([3, 299]), np.array([5, 529])), ["labels"])
    assert counting.asked == 2


def test_too_little_memory_is_told_in_one_sentence(scene):
    with pytest.raises(
        ModelError, match=r"Predicting 8 × 8 pixels of 3 bands .* allow more"
    ):
        predict_layers(WindowMean(), scene, memory=1000)


def test_a_classifier_that_is_slow_says_so_once(scene, caplog):
    class Slow(WindowMean):
        dense_note = "It is slow."

    found = predict_layers(Slow(), scene)
    assert caplog.messages == ["It is slow."]
    np.testing.assert_array_equal(found.labels, predict_layers(WindowMean(), scene).labels)


class Stopping(WindowMean):
    """Stops after some tiles, or counts all it is asked for."""

    def __init__(self, limit=10**9):
        super().__init__(1)
        self.limit, self.asked = limit, 0

    def predict_dense(self, tile, memory=None):
        if self.asked == self.limit:
            raise KeyboardInterrupt
        self.asked += 1
        return super().predict_dense(tile, memory)


@pytest.fixture
def stopped(tmp_path):
    """A scene of six tiles, of which four are kept, and the map it should come to."""
    values = np.random.default_rng(4).normal(size=(3, 300, 530)).astype(np.float32)
    scene = scene_of(values, grid=Grid(300, 530))
    target = tmp_path / "out" / "map.tif"
    predict_scene_to_files(WindowMean(1), scene, tmp_path / "whole.tif")
    with pytest.raises(KeyboardInterrupt):
        predict_scene_to_files(Stopping(4), scene, target, identity=IDENTITY)
    assert [path.name for path in target.parent.iterdir()] == [".map.tif.tiles"]
    kept = target.parent / ".map.tif.tiles"
    assert len(list(kept.glob("*.tile"))) == 4
    return SimpleNamespace(
        scene=scene, target=target, kept=kept, whole=tmp_path / "whole.tif"
    )


def go_on(stopped, **changes):
    """Finish, check the map, and return how many tiles were predicted and the progress."""
    counting, seen = Stopping(), []
    options = {"identity": IDENTITY, "progress": lambda *now: seen.append(now)} | changes
    predict_scene_to_files(counting, stopped.scene, stopped.target, **options)
    assert stopped.target.read_bytes() == stopped.whole.read_bytes()
    names = {path.name for path in stopped.target.parent.iterdir()}
    assert names >= {"map.tif", "map.tif.aux.xml", "map.qml"}
    assert ".map.tif.tiles" not in names
    return counting.asked, seen


def test_a_stopped_prediction_goes_on_and_counts_what_is_left(stopped):
    asked, seen = go_on(stopped)
    assert asked == 2
    left = 44 * (530 - 256)
    assert seen == [(44 * 256, left), (left, left)]


def test_tiles_are_kept_whatever_the_memory(stopped):
    asked, _ = go_on(stopped, memory=2**24)
    assert asked == 2


@pytest.mark.parametrize("damage", ["cut", "longer", "changed", "empty", "gone"])
def test_a_damaged_tile_is_predicted_again(stopped, damage):
    tile = stopped.kept / "1.tile"
    content = bytearray(tile.read_bytes())
    content[-1] ^= damage == "changed"
    if damage == "gone":
        tile.unlink()
    else:
        cut = {"cut": content[:-7], "empty": b"", "longer": content + b"x"}
        tile.write_bytes(cut.get(damage, content))
    asked, _ = go_on(stopped)
    assert asked == 3


@pytest.mark.parametrize(
    "changes",
    [
        {"identity": {"model": "other", "image": "i"}},
        {"temperature": 2.0},
        {"confidence": "sure.tif"},
    ],
)
def test_tiles_of_something_else_are_not_taken(stopped, changes):
    if "confidence" in changes:
        changes = {"confidence": stopped.target.parent / "sure.tif"}
    asked, _ = go_on(stopped, **changes)
    assert asked == 6


def test_a_plan_that_is_damaged_makes_the_tiles_worthless(stopped):
    plan = stopped.kept / "plan.json"
    plan.write_text(plan.read_text()[:-3])
    asked, _ = go_on(stopped)
    assert asked == 6


def test_what_others_put_beside_the_tiles_stays(stopped):
    other = stopped.kept / "notes.txt"
    other.write_text("mine")
    predict_scene_to_files(Stopping(), stopped.scene, stopped.target, identity=IDENTITY)
    assert [path.name for path in stopped.kept.iterdir()] == ["notes.txt"]


def test_drafts_of_dead_processes_are_swept_up_and_no_others(stopped):
    folder = stopped.target.parent
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    dead = [f".map.{ended.pid}-0.part.tif", f".map.tif.aux.{ended.pid}-1.part.xml"]
    alive = [f".map.{os.getpid()}-99999.part.tif", f".mop.{ended.pid}-0.part.tif"]
    for name in dead + alive:
        (folder / name).write_text("half")
    go_on(stopped)
    left = {path.name for path in folder.glob(".*")}
    assert left == set(alive)


def test_a_scene_is_predicted_into_a_dataset_that_rioxarray_reads(scene):
    legend = Legend.of({3: "Corn", 7: "Soy"})
    plain = predict_layers(WindowMean(), scene, layers=LAYERS)
    found = predict_scene(WindowMean(), scene, layers=LAYERS, legend=legend)
    for layer in LAYERS:
        np.testing.assert_array_equal(found[layer], getattr(plain, layer))
        assert found[layer].rio.crs.to_epsg() == 32616
        assert grid_of(found[layer]).transform == GRID.transform
    assert found.x[0] == 500_010
    assert found.y[0] == 4_479_990
    assert found.labels.attrs["class_names"] == ["Corn", "Soy", "Class 40"]
    assert found.labels.attrs["flag_values"] == [3, 7, 40]
    assert found.labels.attrs["class_colors"][0] == legend[3].color
    corn = found.probabilities.sel(class_code=3)
    assert corn.class_name == "Corn"
    np.testing.assert_array_equal(corn, plain.probabilities[0])


def test_layers_a_classifier_lacks_are_not_in_the_dataset(scene):
    spectra = np.random.default_rng(0).normal(size=(60, 3))
    svc = SVC().fit(spectra, np.where(spectra[:, 0] > 0, 2, 1))
    assert list(predict_scene(svc, scene)) == ["labels"]


def test_a_predicted_dataset_survives_a_netcdf_file_and_becomes_a_map(scene, tmp_path):
    simulated = scene.replace(simulated=True)
    found = predict_scene(
        WindowMean(), simulated, legend=Legend.of({3: "Corn", 7: "Soy", 40: "Water"})
    )
    found.to_netcdf(tmp_path / "map.nc")
    with xr.open_dataset(tmp_path / "map.nc") as again:
        for name, result in (("one", found), ("two", again), ("three", found.labels)):
            write_class_map(tmp_path / f"{name}.tif", result)
            written = open_class_map(tmp_path / f"{name}.tif")
            np.testing.assert_array_equal(written.codes, found.labels)
            assert written.legend.names == ("Corn", "Soy", "Water")
            assert written.grid.transform == GRID.transform
    with rasterio.open(tmp_path / "two.tif") as raster:
        assert raster.crs.to_epsg() == 32616
        assert raster.tags()["HYPERCOVER_SIMULATED"] == "yes"
