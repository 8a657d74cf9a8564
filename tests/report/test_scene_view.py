"""What a run keeps for its page: thinned out by a rule, whole or not there at all."""

import base64
import json
import zipfile
import zlib

import numpy as np
import pytest
import xarray as xr

from hypercover.evaluation.run_metrics import RunMetrics
from hypercover.figures.map_figures import choose_composites
from hypercover.prediction.scene_prediction import predict_scene
from hypercover.report.report import write_report
from hypercover.report.scene_view import (
    LEVELS,
    ClassRanking,
    ModelView,
    SceneView,
    make_scene_view,
    read_view_arrays,
    read_viewer_data,
    view_step,
)
from hypercover.scene.legend import Legend
from hypercover.scene.scene import Scene
from hypercover.scene.tiling import tiles


@pytest.fixture
def small(land, split):
    return make_scene_view(land, {"main": split.parts}, metres=20.0)


def values_of(spectra):
    share = (spectra.values.astype(float) - 1) / LEVELS
    return spectra.low[:, None, None] + share * (spectra.high - spectra.low)[:, None, None]


def test_kept_spectra_are_those_of_the_scene(land, small):
    spectra = small.spectra
    assert spectra.step == small.step == 1
    wanted = np.where(land.valid, land.cube.values, np.nan)
    reach = (spectra.high - spectra.low)[:, None, None]
    found = np.where(spectra.values > 0, values_of(spectra), np.nan)
    assert np.array_equal(np.isnan(found), np.isnan(wanted))
    assert np.nanmax(np.abs(found - wanted) / reach) <= 0.5001 / LEVELS
    assert spectra.breaks.tolist() == [False] * 4 + [True] + [False] * 3


def test_class_means_are_those_of_the_training_pixels_alone(land, split, small):
    spectra = small.spectra
    assert spectra.codes.tolist() == [1, 4, 9]
    for at, code in enumerate((1, 4, 9)):
        trained = (split.parts == 1) & (land.labels == code) & land.valid
        wanted = land.cube.values[:, trained].astype(float)
        assert spectra.counts[at] == trained.sum()
        assert spectra.means[at] == pytest.approx(wanted.mean(axis=1), rel=1e-6)
        assert spectra.deviations[at] == pytest.approx(wanted.std(axis=1), rel=1e-4)


def test_bands_out_of_order_are_kept_in_order_of_wavelength(land, split, small):
    shuffled = land.take_bands([5, 0, 7, 2, 1, 6, 3, 4])
    again = make_scene_view(shuffled, {"main": split.parts}).spectra
    assert again.wavelengths.tolist() == small.spectra.wavelengths.tolist()
    assert np.array_equal(again.values, small.spectra.values)
    assert np.array_equal(again.means, small.spectra.means)


def test_a_large_scene_is_thinned_out_to_its_very_pixels(monkeypatch, land, split):
    monkeypatch.setattr("hypercover.report.scene_view.view_step", thin_steps)
    for name in ("_STRIP", "_MOST_STRIP"):
        monkeypatch.setattr(f"hypercover.scene.scene.{name}", 7 * 53 * 8)
    view = make_scene_view(land, {"main": split.parts})
    assert (view.step, view.spectra.step) == (3, 6)
    assert np.array_equal(view.labels, land.usable_labels[::3, ::3])
    assert np.array_equal(view.parts["main"], split.parts[::3, ::3])
    assert view.shown == (14, 18)
    wanted = land.cube.values[:, ::6, ::6][:, 1:]
    assert values_of(view.spectra)[:, 1:] == pytest.approx(wanted, rel=2e-3)
    whole = make_scene_view(land, {"main": split.parts})
    assert np.array_equal(view.spectra.means, whole.spectra.means)


def thin_steps(_shape, _most=0, multiple=1):
    return 3 if multiple == 1 else 6


@pytest.mark.parametrize("shape", [(1, 1), (145, 145), (1417, 617), (100_000, 3)])
@pytest.mark.parametrize(("most", "multiple"), [(250_000, 1), (5_000, 2), (1, 3), (0, 1)])
def test_the_step_is_the_smallest_that_is_allowed(shape, most, multiple):
    def shown(step):
        return -(-shape[0] // step) * -(-shape[1] // step)

    step = view_step(shape, most, multiple)
    assert step % multiple == 0
    assert shown(step) <= max(most, 1)
    assert step == multiple or shown(step - multiple) > max(most, 1)


def test_a_scene_without_wavelengths_data_or_classes_has_a_view(tmp_path):
    cube = xr.DataArray(np.zeros((2, 4, 5), np.int16), dims=("band", "y", "x"))
    cube.attrs["nodata"] = 0
    scene = Scene(cube, np.zeros((4, 5), np.uint8), Legend())
    make_scene_view(scene, {"main": np.zeros((4, 5), np.uint8)}).save(
        tmp_path / "scene.npz"
    )
    view = SceneView.load(tmp_path / "scene.npz")
    assert list(view.composites) == ["grey"]
    assert not view.spectra.values.any()
    assert len(view.spectra.codes) == 0


def test_sensors_of_the_infrared_get_false_colours():
    waves = np.linspace(400, 2500, 200)
    composites = choose_composites(waves, 200)
    assert list(composites) == ["true", "infrared", "shortwave"]
    for key in ("infrared", "shortwave"):
        red, green, blue = waves[list(composites[key])]
        assert red > green > blue


class Shares:
    """A pixel classifier whose shares are its bands."""

    classes_ = np.array([4, 1, 9])
    n_features_in_ = 3
    probability = False

    def predict(self, X):
        return self.classes_[X.argmax(axis=1)]

    def predict_proba(self, X):
        return X


def test_a_ranking_holds_the_highest_classes_of_each_shown_pixel():
    random = np.random.default_rng(3)
    shares = random.dirichlet([1, 1, 1], size=(20, 17)).transpose(2, 0, 1)
    shares[:, 6, 4] = np.nan
    for step in (1, 3):
        ranking = ClassRanking(
            Shares.classes_,
            np.zeros((3, -(-20 // step), -(-17 // step)), np.uint16),
            np.zeros((3, -(-20 // step), -(-17 // step)), np.uint8),
            step,
        )
        for tile in tiles((20, 17), 7):
            ranking.add(tile, shares[:, tile.rows, tile.cols])
        thin = shares[:, ::step, ::step]
        order = np.argsort(-thin, axis=0)
        known = np.isfinite(thin).all(axis=0)
        assert np.array_equal(ranking.codes, np.where(known, Shares.classes_[order], 0))
        wanted = np.round(255 * np.sort(np.nan_to_num(thin), axis=0)[::-1])
        assert np.array_equal(ranking.shares, wanted)


def test_mapping_a_scene_fills_the_ranking(land):
    random = np.random.default_rng(3)
    shares = random.dirichlet([1, 1, 1], size=land.shape).transpose(2, 0, 1)
    cube = xr.DataArray(shares.astype(np.float32), dims=("band", "y", "x"))
    scene = Scene(cube, land.labels, land.legend)
    ranking = ClassRanking.of(scene.shape, Shares())
    found = predict_scene(Shares(), scene, on_probabilities=ranking.add)
    assert np.array_equal(ranking.codes[0], found.labels)
    assert ranking.shares[0] == pytest.approx(255 * found.confidence.values, abs=0.51)
    assert list(found) == ["labels", "confidence"]


def test_a_model_without_shares_has_an_empty_ranking(land, tmp_path):
    class Plain:
        classes_ = np.array([1, 4])

        def predict(self, X):
            return np.full(len(X), 4)

    ranking = ClassRanking.of(land.shape, Plain())
    found = predict_scene(Plain(), land, on_probabilities=ranking.add)
    assert "confidence" not in found
    view = ModelView.of(found.labels.values, None, ranking, calibrated=False)
    view.save(tmp_path / "map.npz")
    again = ModelView.load(tmp_path / "map.npz", land.shape)
    assert again.confidence is None
    assert len(again.codes) == 0
    assert np.array_equal(again.labels, found.labels)


def page_of(folder, models=("svm", "cnn")):
    legend = [{"code": 1, "name": "</script><b>", "color": "#112233"}]
    models, split = {name: {} for name in models}, {"kind": "blocks"}
    record = {"legend": legend, "models": models, "split": split, "best": "cnn"}
    return read_viewer_data(folder, RunMetrics.model_validate(record))


def test_the_page_takes_every_array_as_it_was(run_folder, maps, split):
    view = json.loads(str(page_of(run_folder).text))
    packed = {layer["key"]: layer["data"]["packed"] for layer in view["layers"]}
    for key, wanted, kind in (
        ("map-svm", maps["svm"], "<u2"),
        ("split", split.parts, "u1"),
    ):
        plain = zlib.decompress(base64.b64decode(packed[key]), -zlib.MAX_WBITS)
        found = np.frombuffer(plain, kind).reshape(wanted.shape)
        assert np.array_equal(found, wanted)
    names = [row["name"] for row in view["legends"]["land"]]
    assert names == ["</script><b>", "Class 4", "Class 9"]


def test_no_name_can_end_the_script_it_stands_in(run_folder):
    text = str(page_of(run_folder).text)
    assert not set("<>&") & set(text)


def test_a_full_scene_of_mere_noise_fits_the_page(tmp_path):
    random = np.random.default_rng(0)
    values = random.integers(0, 2**15, (200, 145, 145)).astype(np.int16)
    labels = random.integers(1, 17, (145, 145)).astype(np.uint8)
    names = {code: f"class {code}" for code in range(1, 17)}
    scene = Scene(xr.DataArray(values, dims=("band", "y", "x")), labels, Legend.of(names))
    parts = {name: random.integers(0, 5, (145, 145)).astype(np.uint8) for name in "ab"}
    (tmp_path / "view").mkdir()
    make_scene_view(scene, parts).save(tmp_path / "view" / "scene.npz")
    for model in "abcd":
        codes = random.integers(1, 17, (5, 145, 145)).astype(np.uint16)
        shares = random.integers(0, 256, (5, 145, 145)).astype(np.uint8)
        view = ModelView(codes[0], shares[0], codes, shares, True)
        view.save(tmp_path / "view" / f"map-{model}.npz")
    page = page_of(tmp_path, "abcd")
    assert page.spectra.step == 1
    assert page.thinned == ""
    assert len(page.text) < 12 * 2**20


def test_spectra_are_thinned_out_where_the_page_would_be_too_large(run_folder, monkeypatch):
    whole = page_of(run_folder)
    monkeypatch.setattr("hypercover.report.scene_view._MOST_TEXT", len(whole.text) - 1500)
    page = page_of(run_folder)
    assert page.spectra.step == 2
    assert page.thinned == "Spectra are kept of every 2nd pixel of every 2nd row."
    assert np.array_equal(page.spectra.values, whole.spectra.values[:, ::2, ::2])
    monkeypatch.setattr("hypercover.report.scene_view._MOST_TEXT", 0)
    assert page_of(run_folder).spectra is None


def damaged(path, how):
    whole = path.read_bytes()
    if how == "cut":
        path.write_bytes(whole[: len(whole) // 2])
    elif how == "text":
        path.write_text("no archive")
    elif how == "empty":
        path.write_bytes(b"")
    else:
        arrays = dict(np.load(path))
        how(arrays)
        np.savez_compressed(path, **arrays)


def change(name, value):
    return lambda arrays: arrays.update({name: value(arrays[name])})


SCENE_DAMAGE = [
    "cut",
    "text",
    "empty",
    lambda arrays: arrays.pop("labels"),
    change("labels", lambda a: a[1:]),
    change("labels", lambda a: a.astype(float)),
    change("shape", lambda a: a * 1000),
    change("shape", lambda a: -a),
    change("step", lambda a: np.int32(0)),
    change("composite-spread", lambda a: a[..., :2]),
    change("parts-main", lambda a: a.ravel()),
    change("labels", lambda a: np.array(["x"], dtype=object)),
]


@pytest.mark.parametrize("how", SCENE_DAMAGE)
def test_a_damaged_view_is_left_out(run_folder, how):
    damaged(run_folder / "view" / "scene.npz", how)
    assert page_of(run_folder) is None


@pytest.mark.parametrize(
    "how",
    [
        change("spectra-values", lambda a: a[:, 1:]),
        change("spectra-step", lambda a: np.int32(10**6)),
        change("spectra-means", lambda a: a[:, 1:]),
        lambda arrays: arrays.pop("spectra-low"),
    ],
)
def test_damaged_spectra_leave_the_maps(run_folder, how):
    damaged(run_folder / "view" / "scene.npz", how)
    page = page_of(run_folder)
    assert page.scene.spectra is None
    assert json.loads(str(page.text))["spectra"] is None


@pytest.mark.parametrize(
    "how",
    [
        "cut",
        change("labels", lambda a: a[1:]),
        change("shares", lambda a: a[:1]),
        lambda arrays: arrays.pop("calibrated"),
    ],
)
def test_a_damaged_map_leaves_the_others(run_folder, how):
    damaged(run_folder / "view" / "map-svm.npz", how)
    assert list(page_of(run_folder).models) == ["cnn"]


def test_a_missing_view_of_a_map_is_told_and_its_pictures_stand_in(run_folder, caplog):
    (run_folder / "view" / "map-svm.npz").unlink()
    write_report(run_folder)
    assert not caplog.messages  # no map was made, so none is lost
    (run_folder / "maps").mkdir()
    (run_folder / "maps" / "svm.tif").touch()
    page = write_report(run_folder).read_text()
    (said,) = caplog.messages
    assert "map-svm.npz is missing, so the report shows pictures of the map of svm" in said
    assert 'id="plate-map-svm"' in page
    assert 'id="plate-map-cnn"' not in page
    assert "No map of the whole scene" not in page


def test_a_header_that_promises_more_than_its_file_holds_is_not_believed(tmp_path):
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999,), }"
    header = header.ljust(117) + b"\n"
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("labels.npy", b"\x93NUMPY\x01\x00v\x00" + header + b"12345678")
    assert read_view_arrays(tmp_path / "a.npz") is None


def test_an_archive_that_swells_is_not_opened(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("labels.npy", bytes(2**28 + 1))
    assert read_view_arrays(tmp_path / "a.npz") is None


def test_model_names_reach_no_file_outside_the_folder(run_folder):
    (run_folder / "map-secret.npz").write_bytes(
        (run_folder / "view" / "map-svm.npz").read_bytes()
    )
    page = page_of(run_folder, ("/../../map-secret", "x/../map-svm", "a\0b", "svm"))
    assert list(page.models) == ["svm"]
