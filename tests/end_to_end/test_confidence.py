"""A run that scales its confidences: what the metrics, the maps and the models say is one."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import rasterio

from hypercover.classifiers.bundle import load_bundle
from hypercover.evaluation.calibration import apply_temperature, calibration_error
from hypercover.prediction.scene_prediction import predict_scene
from hypercover.scene.io.reading import open_scene

pytestmark = pytest.mark.usefixtures("sketched")

NAMES = ("svm", "cnn", "forest")
TRAIN, VALIDATION, TEST = 1, 2, 3


@pytest.fixture(scope="module")
def run(desk, scene, tmp_path_factory) -> SimpleNamespace:
    """Random pixels lie in many places, so that temperatures are used."""
    folder = tmp_path_factory.mktemp("confidence")
    split = {"kind": "random", "train": 0.1, "validation": 0.4}
    models = desk.models | {"svm": {"kind": "svm", "probability": True}}
    path = desk.experiment(scene, folder, split=split, models=models)
    ended = desk.here("run", path, "-o", folder / "run")
    assert ended.code == 0
    metrics = json.loads((folder / "run" / "metrics.json").read_text())
    return SimpleNamespace(folder=folder / "run", out=ended.out, metrics=metrics)


@pytest.mark.parametrize("model", NAMES)
def test_the_model_keeps_the_temperature_that_the_metrics_tell(desk, run, model):
    told = run.metrics["models"][model]["calibration"]
    parts = desk.pixels(run.folder / "split.tif")
    assert told["temperature"] == told["proposed"] > 0
    held = VALIDATION if model == "cnn" else TRAIN
    assert told["by"] == ("validation" if model == "cnn" else "folds")
    assert told["fitted_on"] == np.sum(parts == held)
    assert told["patches"] >= 30
    assert load_bundle(run.folder / "models" / model).temperature == told["temperature"]
    assert f"{model} {100 * told['error']:.1f} % (unscaled" in run.out


@pytest.mark.parametrize("model", NAMES)
def test_the_confidence_map_holds_the_scaled_probability_of_the_label(
    desk, scene, run, model
):
    told = run.metrics["models"][model]["calibration"]
    labels = desk.pixels(run.folder / "maps" / f"{model}.tif")
    sure = desk.pixels(run.folder / "maps" / f"{model}-confidence.tif")
    classifier = load_bundle(run.folder / "models" / model).classifier
    layers = ("labels", "confidence", "probabilities")
    own = predict_scene(classifier, open_scene(scene.image), layers=layers)
    assert np.array_equal(own.labels, labels)
    shares = apply_temperature(own.probabilities.values, told["temperature"], axis=0)
    place = np.searchsorted(classifier.classes_, labels)
    expected = np.take_along_axis(shares, place[None], axis=0)[0]
    np.testing.assert_allclose(sure, expected, rtol=1e-4, atol=1e-6)
    test = desk.pixels(run.folder / "split.tif") == TEST
    right = labels[test] == scene.codes[test]
    errors = [
        calibration_error(each[test], right) for each in (sure, own.confidence.values)
    ]
    assert (told["error"], told["error_before"]) == pytest.approx(errors, abs=1e-4)


@pytest.mark.parametrize("model", NAMES)
def test_a_kept_model_predicts_the_confidence_of_the_run(
    desk, scene, call, run, model, tmp_path
):
    bundle, maps = run.folder / "models" / model, run.folder / "maps"
    made = {name: tmp_path / f"{name}.tif" for name in ("confidence", "probabilities")}
    words = [word for name, path in made.items() for word in (f"--{name}", path)]
    answer = call("predict", bundle, scene.image, "-o", tmp_path / "map.tif", *words)
    assert answer.code == 0, answer.err
    labels, sure = desk.pixels(tmp_path / "map.tif"), desk.pixels(made["confidence"])
    assert np.array_equal(labels, desk.pixels(maps / f"{model}.tif"))
    assert np.array_equal(sure, desk.pixels(maps / f"{model}-confidence.tif"))
    with rasterio.open(made["probabilities"]) as file:
        shares = file.read()
    place = np.searchsorted(load_bundle(bundle).classifier.classes_, labels)
    np.testing.assert_array_equal(np.take_along_axis(shares, place[None], axis=0)[0], sure)
