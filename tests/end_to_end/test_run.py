"""One run of the real command, held against its own maps, its split and the labels."""

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
from sklearn.metrics import (
    accuracy_score,
    cohen_kappa_score,
    confusion_matrix,
    f1_score,
    precision_score,
    recall_score,
)

from hypercover.evaluation.calibration import calibration_error
from hypercover.evaluation.predictions import Predictions

NAMES = ("svm", "cnn", "forest")
TRAIN, VALIDATION, TEST = 1, 2, 3


def test_every_file_of_a_run_is_there(desk, finished):
    per_model = [
        name
        for model in desk.models
        for name in (
            f"models/{model}/model.json",
            f"models/{model}/weights.safetensors",
            f"view/map-{model}.npz",
            *(f"maps/{model}{what}.tif" for what in ("", "-confidence", "-check")),
            *(f"maps/{model}{what}.tif.aux.xml" for what in ("", "-check")),
            *(f"maps/{model}{what}.qml" for what in ("", "-confidence", "-check")),
            *(
                f"figures/{what}-{model}.png"
                for what in (
                    *("map", "confidence", "check", "confusion"),
                    *("reliability", "abstention", "classes", "confused"),
                )
            ),
        )
    ]
    found = {
        str(path.relative_to(finished.folder))
        for path in finished.folder.rglob("*")
        if path.is_file() and "tasks" not in path.parts
    }
    assert found == {
        *("experiment.yaml", "metrics.json", "confusion.csv", "log.jsonl", "report.html"),
        *("stages.csv", "view/scene.npz"),
        *("split.tif", "split.tif.aux.xml", "split.json"),
        *(f"splits/random-0.{kind}" for kind in ("tif", "tif.aux.xml", "json")),
        *(f"figures/{name}.png" for name in ("scene", "labels", "spectra", "split")),
        *("figures/split-random.png", "figures/training-cnn.png"),
        *(
            f"predictions/{split}-3-{model}.npz"
            for split in ("main", "random")
            for model in desk.models
        ),
        *per_model,
    }


@pytest.mark.parametrize("model", NAMES)
def test_kept_predictions_are_those_of_the_maps(desk, scene, finished, model):
    kept = Predictions.load(finished.folder / "predictions" / f"main-3-{model}.npz")
    test = desk.pixels(finished.folder / "split.tif") == TEST
    maps = finished.folder / "maps"
    assert kept.shape == test.shape
    assert (np.flatnonzero(test) == kept.rows * test.shape[1] + kept.cols).all()
    assert (kept.labels == scene.codes[test]).all()
    assert (kept.predicted == desk.pixels(maps / f"{model}.tif")[test]).all()
    sure = desk.pixels(maps / f"{model}-confidence.tif")[test]
    assert kept.confidence == pytest.approx(sure, abs=1e-6)


@pytest.mark.parametrize("model", NAMES)
def test_accuracies_are_those_of_the_map(desk, scene, finished, model):
    """Computed anew by scikit-learn from map, split and labels."""
    told = finished.metrics["models"][model]
    test = desk.pixels(finished.folder / "split.tif") == TEST
    truth = scene.codes[test]
    answer = desk.pixels(finished.folder / "maps" / f"{model}.tif")[test]
    codes = [1, 2, 3, 4]
    recalls = recall_score(truth, answer, labels=codes, average=None)
    assert told["overall_accuracy"] == pytest.approx(accuracy_score(truth, answer))
    assert told["kappa"] == pytest.approx(cohen_kappa_score(truth, answer))
    assert told["average_accuracy"] == pytest.approx(recalls.mean())
    assert told["confusion"] == {
        "codes": codes,
        "matrix": confusion_matrix(truth, answer, labels=codes).tolist(),
    }
    kept = {"labels": codes, "average": None, "zero_division": 0}
    users, f1 = precision_score(truth, answer, **kept), f1_score(truth, answer, **kept)
    for row, recall, precision, score in zip(
        told["per_class"], recalls, users, f1, strict=True
    ):
        assert row["producers_accuracy"] == pytest.approx(recall)
        assert (row["users_accuracy"] or 0) == pytest.approx(precision)
        assert (row["f1"] or 0) == pytest.approx(score)
        assert row["test_count"] == np.sum(truth == row["code"])
    validation = desk.pixels(finished.folder / "split.tif") == VALIDATION
    on_map = desk.pixels(finished.folder / "maps" / f"{model}.tif")[validation]
    share = np.mean(on_map == scene.codes[validation])
    assert told["validation_accuracy"] == pytest.approx(share)
    assert told["repeats"] == [
        {key: told.get(key, 3) for key in ("seed", "overall_accuracy", "average_accuracy")}
        | {"kappa": told["kappa"]}
    ]
    assert told["spread"] is None
    assert told["train_seconds"] > 0
    assert told["predict_seconds"] > 0


@pytest.mark.parametrize("model", NAMES)
def test_the_calibration_is_that_of_the_confidence_map(desk, scene, finished, model):
    told = finished.metrics["models"][model]["calibration"]
    parts = desk.pixels(finished.folder / "split.tif")
    test = parts == TEST
    sure = desk.pixels(finished.folder / "maps" / f"{model}-confidence.tif")[test]
    right = (
        desk.pixels(finished.folder / "maps" / f"{model}.tif")[test] == scene.codes[test]
    )
    assert told["error"] == pytest.approx(calibration_error(sure, right), abs=1e-6)
    assert sum(row["count"] for row in told["bins"]) == test.sum()
    assert told["abstention"][-1]["accuracy"] == pytest.approx(right.mean())
    beside = finished.metrics["beside"]["random"]["models"][model]["calibration"]
    # The random split beside sets no validation pixels aside: only what trains in no time
    # holds training pixels out in folds.
    cheap = model != "cnn"
    assert (beside["proposed"] is not None) == (beside["fitted_on"] > 0) == cheap
    part = "train" if cheap else "validation"
    assert told["fitted_on"] == np.sum(
        parts == {"train": TRAIN, "validation": VALIDATION}[part]
    )
    assert told["by"] == ("folds" if cheap else "validation")
    assert told["proposed"] is not None
    assert 0 < told["patches"] < 30
    # A few blocks are too few to use what they ask for, but for an SVM, whose own
    # confidence is no probability.
    card = json.loads((finished.folder / "models" / model / "model.json").read_text())[
        "card"
    ]
    used = told["proposed"] if model == "svm" else None
    assert card["temperature"] == told["temperature"] == used


def test_the_confusion_table_is_that_of_the_metrics(finished):
    lines = (finished.folder / "confusion.csv").read_text().split("\n")
    for model, told in finished.metrics["models"].items():
        start = lines.index(
            f'"{model} (simulated scene): rows = reference, columns = predicted"'
        )
        rows = [line.split(",") for line in lines[start + 2 : start + 6]]
        assert [[int(cell) for cell in row[1:5]] for row in rows] == (
            told["confusion"]["matrix"]
        )


def test_the_best_is_chosen_by_validation(finished):
    models = finished.metrics["models"]
    best = max(models, key=lambda name: models[name]["validation_accuracy"])
    assert finished.metrics["best"] == best
    assert f"Best on validation pixels: {best}\n" in finished.out


@pytest.mark.parametrize("split", ["main", "random"])
def test_the_leak_audit_is_that_of_brute_force(desk, scene, finished, split):
    """Every test pixel against every training pixel, by Chebyshev distance."""
    run, metrics = finished.folder, finished.metrics
    stem = "split" if split == "main" else "splits/random-0"
    parts = desk.pixels(run / f"{stem}.tif")
    about = metrics if split == "main" else metrics["beside"]["random"]
    train, test = (np.argwhere(parts == part) for part in (TRAIN, TEST))
    nearest = np.abs(test[:, None] - train[None]).max(axis=2).min(axis=1)
    assert sorted(map(int, about["split"]["leakage"])) == [1, 3, 5, 9, 15]
    for window, told in about["split"]["leakage"].items():
        side = int(window)
        assert told["centre_in_window"] == pytest.approx(np.mean(nearest <= side // 2))
        assert told["window_overlap"] == pytest.approx(np.mean(nearest <= side - 1))
    for model in desk.models:
        side = desk.models[model].get("window", 1)
        told = about["models"][model]["leakage"]
        assert told == {"window": side} | about["split"]["leakage"][str(side)]
    for name, code in (("train", TRAIN), ("validation", VALIDATION), ("test", TEST)):
        counts = about["split"][name]
        assert counts["count"] == np.sum(parts == code)
        for label, count in counts["per_class"].items():
            assert count == np.sum((parts == code) & (scene.codes == int(label)))
    if split == "main":
        assert nearest.min() > desk.blocks["guard"]


@pytest.mark.parametrize("model", NAMES)
def test_maps_open_right_in_any_gis(scene, finished, model):
    legend = finished.metrics["legend"]
    with rasterio.open(scene.image) as image:
        place = image.crs, image.transform, image.shape
    with rasterio.open(finished.folder / "maps" / f"{model}.tif") as file:
        assert (file.crs, file.transform, file.shape) == place
        assert (file.count, file.dtypes, file.nodata) == (1, ("uint8",), 0)
        colors = file.colormap(1)
        for row in legend:
            wanted = tuple(bytes.fromhex(row["color"].removeprefix("#")))
            assert colors[row["code"]][:3] == wanted
    names = Path(f"{finished.folder}/maps/{model}.tif.aux.xml").read_text()
    style = (finished.folder / "maps" / f"{model}.qml").read_text()
    for row in legend:
        assert row["name"] in names
        assert row["name"] in style
    with rasterio.open(finished.folder / "maps" / f"{model}-confidence.tif") as file:
        assert (file.crs, file.transform, file.dtypes) == (*place[:2], ("float32",))
        sure = file.read(1)
    assert 0 < sure.min() <= sure.max() <= 1


@pytest.mark.parametrize("model", NAMES)
def test_the_class_check_tells_right_from_wrong(desk, scene, finished, model):
    parts = desk.pixels(finished.folder / "split.tif")
    predicted = desk.pixels(finished.folder / "maps" / f"{model}.tif")
    check = desk.pixels(finished.folder / "maps" / f"{model}-check.tif")
    marked = (scene.codes > 0) & (parts != TRAIN)
    assert np.array_equal(check == 1, marked & (predicted == scene.codes))
    assert np.array_equal(check == 2, marked & (predicted != scene.codes))
    assert np.array_equal(check == 3, parts == TRAIN)
    assert np.array_equal(check == 4, scene.codes == 0)


def test_the_metrics_say_what_was_run(scene, finished):
    told = finished.metrics
    assert (told["name"], told["seed"]) == ("tiny", 3)
    assert {"python", "hypercover", "torch", "scikit-learn"} <= set(told["versions"])
    facts = told["scene"]
    assert [facts[key] for key in ("rows", "cols", "bands")] == [64, 64, 24]
    assert facts["simulated"] is True
    assert facts["source"] == str(scene.image)
    assert facts["wavelengths"] == [400.0, 2500.0]
    assert "NaN" not in (finished.folder / "metrics.json").read_text()
    assert told["split"]["kind"] == "blocks"
    assert told["split"]["settings"]["guard"] == 4
    rows = [json.loads(line) for line in (finished.folder / "log.jsonl").open()]
    runs = [(row["model"], row["split"], row["seed"], row["epoch"]) for row in rows]
    assert runs == [("cnn", split, 3, n) for split in ("main", "random") for n in (1, 2)]
    where, curve = (
        {"model", "split", "seed", "epoch"},
        {"loss", "accuracy", "learning_rate"},
    )
    always = where | curve | {"samples", "seconds"}
    # the random split beside sets no validation pixels aside
    assert set(rows[-1]) == always
    assert set(rows[0]) == always | {"validation_loss", "validation_accuracy"}


def test_a_random_split_flatters(finished):
    """The gap that the product exists to show."""
    main, random = finished.metrics, finished.metrics["beside"]["random"]
    for model in ("svm", "forest"):
        gap = (
            random["models"][model]["overall_accuracy"]
            - main["models"][model]["overall_accuracy"]
        )
        assert gap > 0


def test_results_go_to_stdout_and_progress_to_stderr(desk, finished):
    assert "simulated scene" in finished.out
    for model in desk.models:
        assert f"Map: {finished.folder}/maps/{model}.tif\n" in finished.out
    assert f"Report: {finished.folder}/report.html\n" in finished.out
    assert "Note: 1," in finished.out
    assert "Note: The held-out pixels form only 9 separate patches" in finished.out
    assert "Calibration error under blocks: cnn" in finished.out
    assert "done" not in finished.out
    lines = finished.err.splitlines()
    first = f"First map and report, of the quick models: {finished.folder}/report.html"
    # Those of the svm and the forest stand there before the network is done.
    done = [line.split("] ")[-1].split(":")[0] for line in lines]
    assert done.index(first.split(":")[0]) < done.index("reduce")
    lines.remove(first)
    assert all(line.startswith("[") and "%]" in line for line in lines), finished.err
    assert lines[-1] == "[100 %] report: done, 0 s left"


def test_the_report_is_one_whole_page_with_the_notes(finished):
    page = (finished.folder / "report.html").read_text()
    assert page.rstrip().endswith("</html>")
    assert "simulated" in page
    assert all(note in page for note in finished.metrics["scene"]["notes"])
    assert "http-equiv" in page
    assert 'src="http' not in page
