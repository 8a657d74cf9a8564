"""Maps are made by models trained on all labelled pixels; figures are those of the split."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from hypercover.classifiers.bundle import load_bundle
from hypercover.classifiers.svm.svm_classifier import SVMClassifier
from hypercover.evaluation.predictions import Predictions
from hypercover.experiment.config.experiment_file import load_experiment
from hypercover.experiment.run import run_experiment
from hypercover.experiment.tasks.temperature_scaling import (
    fit_held_out_temperature,
    out_of_fold,
)
from hypercover.gis.map_writing import RIGHT, TRAINING, WRONG
from hypercover.jobs.task_files import result_of
from hypercover.scene.io.reading import open_scene
from hypercover.scene.samples import Samples, spectra_of

SVM = {"kind": "svm", "C": 100.0}
FOREST = {
    "kind": "sklearn",
    "estimator": "sklearn.ensemble.RandomForestClassifier",
    "parameters": {"n_estimators": 15},
}
TRAIN, VALIDATION, TEST = 1, 2, 3
pytestmark = pytest.mark.usefixtures("sketched")


def ran(desk, scene, folder: Path, workers: int = 1, **changes) -> SimpleNamespace:
    asked = {"models": {"svm": SVM, "forest": FOREST}, "map_from": "all"} | changes
    path = desk.experiment(scene, folder, **asked)
    metrics = run_experiment(load_experiment(path), folder / "run", workers=workers)
    return SimpleNamespace(path=path, folder=folder / "run", metrics=metrics)


@pytest.fixture(scope="module")
def both(desk, scene, tmp_path_factory) -> SimpleNamespace:
    """One experiment, mapped with models of all labels and with those of the split."""
    with pytest.MonkeyPatch.context():
        folder = tmp_path_factory.mktemp("both")
        return SimpleNamespace(
            all=ran(desk, scene, folder / "all"),
            split=ran(desk, scene, folder / "split", map_from="split"),
        )


@pytest.fixture(scope="module")
def opened(scene):
    return open_scene(scene.image, scene.labels).load()


def test_the_map_is_that_of_an_svm_fitted_on_every_label(desk, scene, both, opened):
    """Fitted anew, beside the run."""
    spectra = np.asarray(opened.cube.values).reshape(opened.n_bands, -1).T
    labelled = scene.codes.ravel() > 0
    fitted = SVMClassifier(C=100.0, random_state=3)
    fitted.fit(spectra[labelled], scene.codes.ravel()[labelled].astype(np.int64))
    wanted = fitted.predict(spectra).reshape(scene.codes.shape)
    assert (desk.pixels(both.all.folder / "maps" / "svm.tif") == wanted).all()
    assert (desk.pixels(both.split.folder / "maps" / "svm.tif") != wanted).any()


def test_figures_and_check_do_not_depend_on_what_maps(desk, both):
    """The class check holds answers of the split's model against the labels."""
    plain = [desk.figures(one.metrics) for one in (both.all, both.split)]
    for metrics in plain:
        metrics.pop("map")
        for model in metrics["models"].values():
            model.pop("training", None)
    assert plain[0] == plain[1]
    for model in ("svm", "forest"):
        checks = [
            desk.pixels(one.folder / "maps" / f"{model}-check.tif")
            for one in (both.all, both.split)
        ]
        assert (checks[0] == checks[1]).all()
        test = desk.pixels(both.all.folder / "split.tif") == TEST
        told = both.all.metrics["models"][model]["overall_accuracy"]
        assert np.mean(checks[0][test] == RIGHT) == pytest.approx(told)
        kept = Predictions.load(both.all.folder / "predictions" / f"main-3-{model}.npz")
        assert ((checks[0][test] == WRONG) == (kept.predicted != kept.labels)).all()
        assert (
            checks[0][desk.pixels(both.all.folder / "split.tif") == TRAIN] == TRAINING
        ).all()


def test_bundles_and_metrics_say_which_pixels_taught_them(scene, both):
    codes, counts = np.unique(scene.codes[scene.codes > 0], return_counts=True)
    per_class = dict(zip(map(str, codes.tolist()), counts.tolist(), strict=True))
    every = {"pixels": int(counts.sum()), "per_class": per_class}
    told = both.all.metrics["map"]
    assert told == {"from": "all", "again": True, **every, "missing": []}
    split = both.all.metrics["split"]["train"]
    parted = {"pixels": split["count"], "per_class": split["per_class"]}
    told = both.split.metrics["map"]
    assert told == {"from": "split", "again": False, **parted, "missing": []}
    models = both.all.folder / "models"
    cards = [load_bundle(models / name).card for name in ("svm", "svm/split")]
    assert [card["training"] for card in cards] == [
        {"from": "all", **every},
        {"from": "split", **parted},
    ]
    alone = load_bundle(both.split.folder / "models" / "svm").card
    assert alone["training"] == {"from": "split", **parted}
    assert not (both.split.folder / "models" / "svm" / "split").exists()


def test_the_map_of_a_random_split_is_as_sure_as_of_land_away_from_the_training(
    desk, scene, both, opened, tmp_path
):
    """The tested model's temperature is for pixels beside the training; the map is of all land."""
    models = {"svm": SVM}
    split = {"kind": "random", "train": 0.1}
    made = ran(desk, scene, tmp_path, models=models, split=split)
    maps, tested = (
        load_bundle(made.folder / "models" / name).temperature
        for name in ("svm", "svm/split")
    )
    assert tested == made.metrics["models"]["svm"]["calibration"]["temperature"]
    fitted = load_bundle(made.folder / "models" / "svm").classifier
    land = Samples.of(opened.usable_labels)
    held = out_of_fold(fitted, land, spectra_of(opened, land), guard=0)
    assert maps == pytest.approx(fit_held_out_temperature(fitted, held))
    assert maps != pytest.approx(tested, rel=0.01)
    guarded = [
        load_bundle(both.all.folder / "models" / name).temperature
        for name in ("svm", "svm/split")
    ]
    assert guarded[0] == guarded[1] is not None


def test_the_page_holds_the_same_answers_against_the_labels(desk, both):
    pages = [(one.folder / "report.html").read_text() for one in (both.all, both.split)]
    pixels = both.all.metrics["map"]["pixels"]
    assert f"trained again on all {pixels:,} labelled pixels" in pages[0]
    assert "the models that were tested" in pages[1]
    layers = [_layers(page) for page in pages]
    for model in ("svm", "forest"):
        assert layers[0][f"check-{model}"] == layers[1][f"check-{model}"]
    assert layers[0]["map-svm"] != layers[1]["map-svm"]


def _layers(page: str) -> dict[str, str]:
    text = page.split('id="view">')[1].split("</script>")[0]
    return {one["key"]: one["data"]["packed"] for one in json.loads(text)["layers"]}


@pytest.mark.slow
def test_two_workers_make_the_same_files(desk, scene, both, tmp_path):
    again = ran(desk, scene, tmp_path, workers=2)
    for pattern in ("models/**/weights.safetensors", "maps/*.tif", "predictions/*"):
        names = sorted(
            path.relative_to(again.folder) for path in again.folder.glob(pattern)
        )
        assert names
        for name in names:
            first, second = ((one.folder / name).read_bytes() for one in (both.all, again))
            assert first == second, name


def test_the_best_alone_is_trained_again(desk, scene, both, tmp_path):
    made = ran(desk, scene, tmp_path, map="best")
    best = made.metrics["best"]
    (other,) = {"svm", "forest"} - {best}
    assert result_of(made.folder, f"train-all-3-{best}")["trained"]
    assert result_of(made.folder, f"train-all-3-{other}") == {"trained": False}
    same = made.folder / "models" / best / "weights.safetensors"
    assert (
        same.read_bytes() == (both.all.folder / same.relative_to(made.folder)).read_bytes()
    )
    kept = made.folder / "models" / other
    for name in ("model.json", "weights.safetensors"):
        assert (kept / name).read_bytes() == (kept / "split" / name).read_bytes()
    assert load_bundle(kept).card["training"]["from"] == "split"


def test_nothing_is_trained_again_where_nothing_maps(desk, scene, tmp_path):
    made = ran(desk, scene, tmp_path, map=False)
    assert not list(made.folder.glob("tasks/train-all-*"))
    assert load_bundle(made.folder / "models" / "svm").card["training"]["from"] == "split"
    assert "map" not in made.metrics


def test_a_folder_that_maps_from_the_split_again_holds_nothing_else(
    desk, scene, both, tmp_path
):
    made = ran(desk, scene, tmp_path, models={"svm": SVM})
    ran(desk, scene, tmp_path, models={"svm": SVM}, map_from="split")
    assert not list(made.folder.glob("models/svm/split/*"))
    for name in ("models/svm/weights.safetensors", "maps/svm.tif"):
        wanted = (both.split.folder / name).read_bytes()
        assert (made.folder / name).read_bytes() == wanted


def test_a_lost_bundle_is_made_again(desk, scene, tmp_path):
    made = ran(desk, scene, tmp_path, models={"svm": SVM})
    weights = made.folder / "models" / "svm" / "weights.safetensors"
    before = weights.read_bytes()
    weights.unlink()
    ran(desk, scene, tmp_path, models={"svm": SVM})
    assert weights.read_bytes() == before


def test_what_a_search_chose_is_what_maps(desk, scene, tmp_path):
    grid = {"C": [1, 1000], "gamma_scale": [0.25, 4], "folds": 3, "by": ["random"]}
    models = {"svm": {"kind": "svm", "C": "search", "gamma": "search", "nwfe": 3}}
    made = ran(desk, scene, tmp_path, models=models, search=grid)
    best = made.metrics["models"]["svm"]["search"]["best"]
    classifier = load_bundle(made.folder / "models" / "svm").classifier
    assert (classifier.C, classifier.gamma) == (best["C"], best["gamma"])
    split = load_bundle(made.folder / "models" / "svm" / "split").classifier
    assert (classifier.projection_ != split.projection_).any()


def test_a_network_that_stopped_early_takes_its_best_number_of_passes(
    desk, scene, tmp_path
):
    recipe = {"patience": 2}
    models = {"cnn": {"kind": "cnn", "window": 3, "epochs": 6, "recipe": recipe}}
    made = ran(desk, scene, tmp_path, models=models)
    curve = result_of(made.folder, "train-main-3-cnn")["curve"]
    again = result_of(made.folder, "train-all-3-cnn")["training"]
    assert again["epochs"] == curve[-1]["best_epoch"]
    split = desk.pixels(made.folder / "split.tif")
    check = desk.pixels(made.folder / "maps" / "cnn-check.tif")
    told = made.metrics["models"]["cnn"]["overall_accuracy"]
    assert np.mean(check[split == TEST] == RIGHT) == pytest.approx(told)


def test_a_class_without_a_pixel_is_named_where_the_report_begins(desk, scene, tmp_path):
    """Its only pixels lie where the image holds no data."""
    image = np.asarray(open_scene(scene.image).load().cube.values, dtype=np.float32)
    labels = scene.codes.copy()
    image[:, :3, :3] = np.nan
    labels[:3, :3] = 9
    np.save(tmp_path / "cube.npy", image)
    np.save(tmp_path / "labels.npy", labels)
    bare = SimpleNamespace(image=tmp_path / "cube.npy", labels=tmp_path / "labels.npy")
    made = ran(desk, bare, tmp_path, models={"svm": SVM})
    assert [row["code"] for row in made.metrics["map"]["missing"]] == [9]
    page = (made.folder / "report.html").read_text()
    assert page.index("The map cannot show") < page.index('id="table"')
