"""A map must not depend on how the scene was cut into tiles."""

from dataclasses import dataclass, field
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

from hypercover.errors import CallError, ModelError, SceneError
from hypercover.maps.predict import predict_scene, predict_to_files
from hypercover.maps.tiles import tiles
from hypercover.samples.windows import Windows
from hypercover.scene.grid import Grid, with_grid
from hypercover.scene.legend import Legend
from hypercover.scene.scene import Scene, blank_invalid

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
    found = predict_scene(classifier, scene, memory=memory)
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

    predict_scene(Watching(), scene, memory=2**16)
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

    found = predict_scene(Contrary(), scene, memory=memory)
    positive = scene.read(slice(None), slice(None))[0] > 0
    np.testing.assert_array_equal(found.labels, np.where(positive, 2, 1))
    np.testing.assert_allclose(found.confidence, np.where(positive, 0.2, 0.3), rtol=1e-6)


def test_scikit_learn_classifiers_make_the_map_they_predict(scene):
    random = np.random.default_rng(0)
    spectra = random.normal(size=(60, 3))
    codes = np.where(spectra[:, 0] > 0, 300, 4)
    forest = RandomForestClassifier(10, random_state=0).fit(spectra, codes)
    found = predict_scene(forest, scene, memory=2**16)
    pixels = scene.read(slice(None), slice(None)).reshape(3, -1).T
    np.testing.assert_array_equal(found.labels.ravel(), forest.predict(pixels))
    assert found.labels.dtype == np.uint16
    np.testing.assert_allclose(
        found.confidence.ravel(), forest.predict_proba(pixels).max(axis=1), rtol=1e-6
    )


def test_classifier_without_probabilities_gives_no_confidence(scene, tmp_path):
    spectra = np.random.default_rng(0).normal(size=(60, 3))
    svc = SVC().fit(spectra, np.where(spectra[:, 0] > 0, 2, 1))
    assert predict_scene(svc, scene).confidence is None
    written = predict_to_files(
        svc, scene, tmp_path / "m.tif", confidence_path=tmp_path / "c.tif"
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
    return scene_of(values, nodata=-9999 if kind == "nodata" else None)


@pytest.mark.parametrize("kind", ["nan", "infinite", "nodata", "zero"])
@pytest.mark.parametrize("memory", [2**16, 2**28])
def test_pixels_without_data_stay_empty_and_harm_nobody_beside_them(kind, memory):
    scene = holey(kind)
    found = predict_scene(WindowMean(2), scene, memory=memory)
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
    found = predict_scene(WindowMean(), scene)
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
    written = predict_to_files(
        classifier,
        scene,
        tmp_path / "map.tif",
        confidence_path=tmp_path / "sure.tif",
        legend=legend,
        memory=2**16,
    )
    assert written == (tmp_path / "map.tif", tmp_path / "sure.tif")
    found = predict_scene(classifier, scene)
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
    paths = predict_to_files(
        WindowMean(3), scene, tmp_path / "map.tif", confidence_path=tmp_path / "sure.tif"
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
        predict_to_files(WindowMean(1), scene, path, memory=memory)
    assert files[0].read_bytes() == files[1].read_bytes()


def test_progress_counts_pixels_up_to_all_of_them(scene):
    seen = []
    predict_scene(WindowMean(), scene, memory=2**16, progress=lambda *now: seen.append(now))
    done = [now for now, _ in seen]
    assert done == sorted(done)
    assert seen[-1] == (40 * 53, 40 * 53)


def test_failure_half_way_leaves_the_old_map_and_nothing_else(scene, tmp_path):
    class Failing(WindowMean):
        def predict_dense(self, tile, memory=None):
            raise KeyboardInterrupt

    predict_to_files(WindowMean(), scene, tmp_path / "map.tif")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(KeyboardInterrupt):
        predict_to_files(
            Failing(), scene, tmp_path / "map.tif", confidence_path=tmp_path / "c.tif"
        )
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_wrong_bands_codes_and_windows_are_named(scene):
    with pytest.raises(ModelError, match="trained on 5 bands and the scene field has 3"):
        predict_scene(WindowMean(n_features_in_=5), scene)
    for classes in (["a", "b"], [0, 1], [1, 70_000], [1.5, 2.0]):
        with pytest.raises(ModelError, match="from 1 to 65535"):
            predict_scene(WindowMean(classes_=np.array(classes)), scene)
    with pytest.raises(CallError, match="larger than the image"):
        predict_scene(WindowMean(margin_=20), scene)


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
            predict_to_files(WindowMean(), scene, tmp_path / "map.tif")
    assert [item.name for item in tmp_path.iterdir()] == ["cut.tif"]


@settings(max_examples=25, deadline=None)
@given(
    values=hnp.arrays(np.int16, (2, 20, 18), elements=st.integers(-3, 3)),
    margin=st.integers(0, 4),
)
def test_any_integer_scene_is_mapped_as_window_by_window(values, margin):
    scene = scene_of(values, grid=Grid(20, 18))
    classifier = WindowMean(margin, np.array([1, 2]), 2)
    found = predict_scene(classifier, scene, memory=2**16)
    labels, confidence = window_by_window(classifier, scene)
    # Equal sums may be rounded apart: only clear winners are compared.
    clear = scene.valid & (confidence > 0.5 + 1e-6)
    np.testing.assert_array_equal(found.labels[clear], labels[clear])
    np.testing.assert_array_equal(found.labels == 0, ~scene.valid)
