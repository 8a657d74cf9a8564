"""The main job, end to end: an image and labels in; maps, report and accuracy out.

A small scene is simulated once, and one run of it by the real command is held
against figures computed here anew from its maps, its split and the labels.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import rasterio
import yaml
from sklearn.metrics import (
    accuracy_score,
    cohen_kappa_score,
    confusion_matrix,
    f1_score,
    precision_score,
    recall_score,
)

COMMAND = Path(sys.executable).with_name("hypercover")
MODELS = {
    "svm": {"kind": "svm"},
    "cnn": {"kind": "cnn", "window": 5, "epochs": 2},
    "forest": {
        "kind": "sklearn",
        "estimator": "sklearn.ensemble.RandomForestClassifier",
        "parameters": {"n_estimators": 15},
    },
}
BLOCKS = {"kind": "blocks", "size": 8, "train": 0.3, "guard": 4, "validation": 0.2}
ONE_THREAD = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
TRAIN, VALIDATION, TEST = 1, 2, 3


def on_two_cores() -> None:
    """Give a process two cores, so that one worker of two has one thread anywhere."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])


def shell(*words: object, **options) -> subprocess.CompletedProcess[str]:
    """Call the real command in a process of its own."""
    command = [str(COMMAND), *map(str, words)]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        env=ONE_THREAD,
        check=False,
        preexec_fn=on_two_cores,
        **options,
    )


def experiment(scene: SimpleNamespace, folder: Path, **changes) -> Path:
    """Write an experiment on the small scene into a folder."""
    document = {
        "name": "tiny",
        "seed": 3,
        "scene": {"path": str(scene.image), "labels": str(scene.labels)},
        "split": BLOCKS,
        "models": MODELS,
        "device": "cpu",
    } | changes
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> SimpleNamespace:
    """A simulated scene of 64 × 64 pixels, 24 bands and 4 classes."""
    image = tmp_path_factory.mktemp("scene") / "tiny.tif"
    size = ["--rows", 64, "--cols", 64, "--bands", 24, "--classes", 4, "--seed", 1]
    made = shell("simulate", image, *size)
    assert made.returncode == 0, made.stderr
    labels = image.with_name("tiny-labels.tif")
    assert f"Image (simulated): {image}\nLabels: {labels}\n" == made.stdout
    with rasterio.open(labels) as file:
        codes = file.read(1)
    return SimpleNamespace(image=image, labels=labels, codes=codes)


@pytest.fixture(scope="module")
def finished(scene, tmp_path_factory) -> SimpleNamespace:
    """A whole run: three models, blocks and a random split beside them, all maps."""
    folder = tmp_path_factory.mktemp("finished")
    beside = {"random": {"kind": "random", "train": 0.1}}
    path = experiment(scene, folder, beside=beside)
    ended = shell("run", path, "-o", folder / "run")
    assert ended.returncode == 0, ended.stderr
    return SimpleNamespace(
        path=path,
        folder=folder / "run",
        out=ended.stdout,
        err=ended.stderr,
        metrics=json.loads((folder / "run" / "metrics.json").read_text()),
    )


def pixels(path: Path) -> np.ndarray:
    with rasterio.open(path) as file:
        return file.read(1)


def figures(metrics: dict) -> dict:
    """Return the metrics without what no two runs share: the clock and the times."""
    timed = {"created", "train_seconds", "predict_seconds"}

    def bare(value):
        if isinstance(value, dict):
            return {key: bare(inner) for key, inner in value.items() if key not in timed}
        return [bare(inner) for inner in value] if isinstance(value, list) else value

    return bare(metrics)


def figures_of(folder: Path) -> dict:
    return figures(json.loads((folder / "metrics.json").read_text()))


def test_every_file_of_a_run_is_there(finished):
    per_model = [
        name
        for model in MODELS
        for name in (
            f"models/{model}/model.json",
            f"models/{model}/weights.safetensors",
            *(f"maps/{model}{what}.tif" for what in ("", "-confidence", "-check")),
            *(f"maps/{model}{what}.tif.aux.xml" for what in ("", "-check")),
            *(f"maps/{model}{what}.qml" for what in ("", "-confidence", "-check")),
            *(
                f"figures/{what}-{model}.png"
                for what in ("map", "confidence", "check", "confusion")
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
        *("split.tif", "split.json", "splits/random-0.tif", "splits/random-0.json"),
        *(f"figures/{name}.png" for name in ("scene", "labels", "spectra", "split")),
        *("figures/split-random.png", "figures/training-cnn.png"),
        *per_model,
    }


@pytest.mark.parametrize("model", MODELS)
def test_accuracies_are_those_of_the_map(scene, finished, model):
    """Computed anew by scikit-learn from map, split and labels."""
    told = finished.metrics["models"][model]
    test = pixels(finished.folder / "split.tif") == TEST
    truth = scene.codes[test]
    answer = pixels(finished.folder / "maps" / f"{model}.tif")[test]
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
    validation = pixels(finished.folder / "split.tif") == VALIDATION
    on_map = pixels(finished.folder / "maps" / f"{model}.tif")[validation]
    share = np.mean(on_map == scene.codes[validation])
    assert told["validation_accuracy"] == pytest.approx(share)
    assert told["repeats"] == [
        {key: told.get(key, 3) for key in ("seed", "overall_accuracy", "average_accuracy")}
        | {"kappa": told["kappa"]}
    ]
    assert told["spread"] is None
    assert told["train_seconds"] > 0
    assert told["predict_seconds"] > 0


def test_the_confusion_table_is_that_of_the_metrics(finished):
    lines = (finished.folder / "confusion.csv").read_text().split("\n")
    for model, told in finished.metrics["models"].items():
        start = lines.index(f'"{model}: rows = reference, columns = predicted"')
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
def test_the_leak_audit_is_that_of_brute_force(scene, finished, split):
    """Every test pixel against every training pixel, by Chebyshev distance."""
    run, metrics = finished.folder, finished.metrics
    stem = "split" if split == "main" else "splits/random-0"
    parts = pixels(run / f"{stem}.tif")
    about = metrics if split == "main" else metrics["beside"]["random"]
    train, test = (np.argwhere(parts == part) for part in (TRAIN, TEST))
    nearest = np.abs(test[:, None] - train[None]).max(axis=2).min(axis=1)
    assert sorted(map(int, about["split"]["leakage"])) == [1, 3, 5, 9, 15]
    for window, told in about["split"]["leakage"].items():
        side = int(window)
        assert told["centre_in_window"] == pytest.approx(np.mean(nearest <= side // 2))
        assert told["window_overlap"] == pytest.approx(np.mean(nearest <= side - 1))
    for model in MODELS:
        side = MODELS[model].get("window", 1)
        told = about["models"][model]["leakage"]
        assert told == {"window": side} | about["split"]["leakage"][str(side)]
    for name, code in (("train", TRAIN), ("validation", VALIDATION), ("test", TEST)):
        counts = about["split"][name]
        assert counts["count"] == np.sum(parts == code)
        for label, count in counts["per_class"].items():
            assert count == np.sum((parts == code) & (scene.codes == int(label)))
    if split == "main":
        assert nearest.min() > BLOCKS["guard"]


@pytest.mark.parametrize("model", MODELS)
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


@pytest.mark.parametrize("model", MODELS)
def test_the_class_check_tells_right_from_wrong(scene, finished, model):
    parts = pixels(finished.folder / "split.tif")
    predicted = pixels(finished.folder / "maps" / f"{model}.tif")
    check = pixels(finished.folder / "maps" / f"{model}-check.tif")
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
    assert set(rows[0]) == {
        "model",
        "split",
        "seed",
        "epoch",
        "loss",
        "accuracy",
        "seconds",
    }


def test_a_random_split_flatters(finished):
    """The gap that the product exists to show."""
    main, random = finished.metrics, finished.metrics["beside"]["random"]
    for model in ("svm", "forest"):
        gap = (
            random["models"][model]["overall_accuracy"]
            - main["models"][model]["overall_accuracy"]
        )
        assert gap > 0


def test_results_go_to_stdout_and_progress_to_stderr(finished):
    assert "simulated scene" in finished.out
    for model in MODELS:
        assert f"Map: {finished.folder}/maps/{model}.tif\n" in finished.out
    assert f"Report: {finished.folder}/report.html\n" in finished.out
    assert "Note: 1," in finished.out
    assert "done" not in finished.out
    lines = finished.err.splitlines()
    assert all(line.startswith("[") and "%]" in line for line in lines), finished.err
    assert lines[-1] == "[100 %] report: done, 0 s left"


def test_the_report_is_one_whole_page_with_the_notes(finished):
    page = (finished.folder / "report.html").read_text()
    assert page.rstrip().endswith("</html>")
    assert "simulated" in page
    assert all(note in page for note in finished.metrics["scene"]["notes"])
    assert "http-equiv" in page
    assert 'src="http' not in page


def test_running_again_costs_nothing_and_changes_nothing(finished, call):
    """The experiment file a run leaves runs again: every task is kept."""
    run = finished.folder
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    answer = call("run", run / "experiment.yaml", "-o", run)
    assert answer.code == 0
    assert answer.err == ""
    assert answer.out == finished.out
    after = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    lock = run / "tasks" / "lock"
    assert {**after, lock: b""} == {**before, lock: b""}


def test_what_was_deleted_is_made_again(finished, call, tmp_path):
    import shutil

    run = tmp_path / "run"
    shutil.copytree(finished.folder, run)
    for name in ("metrics.json", "maps/svm.tif", "figures/scene.png", "split.json"):
        (run / name).unlink()
    shutil.rmtree(run / "models" / "forest")
    assert call("run", finished.path, "-o", run).code == 0
    assert figures_of(run) == figures(finished.metrics)
    for name in ("maps/svm.tif", "models/forest/weights.safetensors"):
        assert (run / name).read_bytes() == (finished.folder / name).read_bytes()
    assert (run / "figures" / "scene.png").exists()


@pytest.mark.parametrize("model", MODELS)
def test_a_kept_model_makes_the_same_map(scene, finished, call, tmp_path, model):
    target, sure = tmp_path / "map.tif", tmp_path / "sure.tif"
    bundle = finished.folder / "models" / model
    answer = call("predict", bundle, scene.image, "-o", target, "--confidence", sure)
    assert (answer.code, answer.out) == (0, f"Map: {target}\nConfidence: {sure}\n")
    own = finished.folder / "maps"
    assert pixels(target).tobytes() == pixels(own / f"{model}.tif").tobytes()
    confidence = pixels(own / f"{model}-confidence.tif")
    assert np.allclose(pixels(sure), confidence, atol=1e-5)


def test_a_scene_of_other_bands_or_wavelengths_is_refused(scene, finished, call, tmp_path):
    from hypercover.scene.bands import select_bands
    from hypercover.scene.reading import open_scene
    from hypercover.scene.writing import write_scene

    whole = open_scene(scene.image)
    fewer = write_scene(select_bands(whole, drop="5-7"), tmp_path / "fewer.tif")
    moved = whole.cube.assign_coords(wavelength=("band", whole.wavelengths + 100))
    shifted = write_scene(whole.replace(cube=moved), tmp_path / "shifted.tif")
    bundle, target = finished.folder / "models" / "cnn", tmp_path / "map.tif"
    said = call("predict", bundle, fewer, "-o", target).sentence
    assert "5" in said
    assert "7" in said
    assert "band" in said
    assert "nm" in call("predict", bundle, shifted, "-o", target).sentence
    assert not target.exists()


def test_the_same_call_gives_the_same_figures(scene, finished, call, tmp_path):
    again = call("run", finished.path, "-o", tmp_path / "again")
    assert again.code == 0
    assert figures_of(tmp_path / "again") == figures(finished.metrics)


def test_only_the_best_is_mapped_if_so_asked(scene, call, tmp_path):
    """And a map of another experiment in the same folder does not stay behind."""
    models = {name: MODELS[name] for name in ("svm", "forest")}
    path = experiment(scene, tmp_path, models=models)
    run = tmp_path / "run"
    assert call("run", path, "-o", run).code == 0
    assert len(list((run / "maps").glob("*.tif"))) == 6
    answer = call("run", path, "-o", run, "--set", "map=best")
    best = json.loads((run / "metrics.json").read_text())["best"]
    assert [line for line in answer.out.splitlines() if line.startswith("Map: ")] == [
        f"Map: {run}/maps/{best}.tif"
    ]
    assert sorted(path.name for path in (run / "maps").glob("*.tif")) == [
        f"{best}-check.tif",
        f"{best}-confidence.tif",
        f"{best}.tif",
    ]
    answer = call("run", path, "-o", run, "--set", "map=false")
    assert "Map: " not in answer.out
    assert list((run / "maps").iterdir()) == []
    assert not (run / "figures" / f"map-{best}.png").exists()


# Interrupted, and gone on with


@pytest.fixture(scope="module")
def repeated(scene, tmp_path_factory) -> SimpleNamespace:
    """Five seeds of an SVM and a small CNN, undisturbed, in one process."""
    folder = tmp_path_factory.mktemp("repeated")
    models = {"svm": MODELS["svm"], "cnn": MODELS["cnn"] | {"epochs": 1}}
    path = experiment(scene, folder, models=models, repeats=5, map=False)
    ended = shell("run", path, "-o", folder / "run", "--workers", 1)
    assert ended.returncode == 0, ended.stderr
    return SimpleNamespace(path=path, figures=figures_of(folder / "run"))


def test_repeats_are_averaged(repeated):
    for told in repeated.figures["models"].values():
        seeds = [row["seed"] for row in told["repeats"]]
        shares = [row["overall_accuracy"] for row in told["repeats"]]
        assert seeds == [3, 4, 5, 6, 7]
        assert told["overall_accuracy"] == pytest.approx(np.mean(shares))
        assert told["spread"]["overall_accuracy"] == pytest.approx(np.std(shares, ddof=1))


def begun(path: Path, folder: Path, until: str, workers: int) -> subprocess.Popen[str]:
    """Begin a run and return when a file that matches is there."""
    command = [str(COMMAND), "run", str(path), "-o", str(folder)]
    process = subprocess.Popen(
        [*command, "--workers", str(workers)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ONE_THREAD,
        preexec_fn=on_two_cores,
    )
    give_up = time.monotonic() + 60
    while not list(folder.glob(until)):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < give_up, f"no {until} within a minute"
        time.sleep(0.005)
    return process


def workers_of(pid: int) -> list[int]:
    """Return the worker processes that a run has started."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for file in tasks for child in file.read_text().split()]


linux = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")


@linux
def test_a_killed_worker_changes_no_figure(repeated, tmp_path):
    """One of two processes is killed while it trains; its task is tried once more."""
    process = begun(repeated.path, tmp_path, "tasks/split-main-7.json", workers=2)
    os.kill(workers_of(process.pid)[-1], signal.SIGKILL)
    _, err = process.communicate(timeout=120)
    if process.returncode:
        again = shell("run", repeated.path, "-o", tmp_path, "--workers", 2)
        assert again.returncode == 0, (err, again.stderr)
    assert figures_of(tmp_path) == repeated.figures


@linux
def test_a_killed_command_goes_on(repeated, tmp_path):
    process = begun(repeated.path, tmp_path, "tasks/train-main-4-cnn.json", workers=1)
    process.kill()
    process.communicate()
    assert not (tmp_path / "metrics.json").exists()
    done = {path.name: path.read_bytes() for path in tmp_path.glob("tasks/*-main-*.json")}
    assert len(done) > 5
    again = shell("run", repeated.path, "-o", tmp_path, "--workers", 1)
    assert again.returncode == 0, again.stderr
    assert figures_of(tmp_path) == repeated.figures
    for name, content in done.items():
        assert (tmp_path / "tasks" / name).read_bytes() == content


@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_says_how_to_go_on(scene, tmp_path, workers):
    long = {"slow": MODELS["cnn"] | {"epochs": 100_000}}
    path = experiment(scene, tmp_path / "in", models=long, map=False)
    folder = tmp_path / "run"
    process = begun(path, folder, "tasks/train-main-3-slow.progress", workers=workers)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert out == ""
    last = err.splitlines()[-1]
    assert last == "hypercover: stopped; run the same command again to go on."
    assert "Traceback" not in err
    left = [path.name for path in folder.rglob("*.part*")]
    assert [name for name in left if ".progress." not in name] == []
    assert not (folder / "metrics.json").exists()


def test_drafts_of_a_killed_run_are_swept_up(scene, call, tmp_path):
    path = experiment(scene, tmp_path, models={"svm": MODELS["svm"]})
    run = tmp_path / "run"
    assert call("run", path, "-o", run).code == 0
    drafts = [run / "maps" / ".svm.99-3.part.tif", run / ".metrics.99-4.part.json"]
    mine = run / ".notes.part.txt"
    for file in (*drafts, mine):
        file.write_text("half")
    assert call("run", path, "-o", run).code == 0
    assert not any(draft.exists() for draft in drafts)
    assert mine.exists()


# The analyst's one line


def test_classify_needs_no_experiment_file(scene, call, tmp_path):
    """And leaves one that runs again at no cost."""
    run = tmp_path / "fields"
    words = ["--labels", scene.labels, "--model", "svm", "--seed", 2, "-o", run]
    answer = call("classify", scene.image, *words)
    assert answer.code == 0, answer.err
    left = yaml.safe_load((run / "experiment.yaml").read_text())
    assert left["split"]["kind"] == "blocks"
    assert left["beside"]["random"]["kind"] == "random"
    assert left["map"] == "best"
    assert (left["seed"], list(left["models"])) == (2, ["svm"])
    assert f"Map: {run}/maps/svm.tif\n" in answer.out
    assert "random" in answer.out
    again = call("run", run / "experiment.yaml", "-o", run)
    assert (again.code, again.out, again.err) == (0, answer.out, "")


@pytest.fixture
def polygons(scene, tmp_path) -> Path:
    """The labelled fields as polygons with a text attribute, in degrees."""
    import pyogrio
    import shapely
    from rasterio.features import shapes
    from rasterio.warp import transform_geom

    with rasterio.open(scene.image) as image:
        crs, transform = image.crs, image.transform
    found = list(shapes(scene.codes, mask=scene.codes > 0, transform=transform))
    degrees = [
        shapely.geometry.shape(transform_geom(crs, "EPSG:4326", shape))
        for shape, _ in found
    ]
    names = np.array([f"crop {int(code)}" for _, code in found], dtype=object)
    path = tmp_path / "fields.gpkg"
    wkb = shapely.to_wkb(np.array(degrees, dtype=object))
    pyogrio.raw.write(
        str(path),
        wkb,
        [names],
        fields=["crop"],
        geometry_type="Polygon",
        crs="EPSG:4326",
        driver="GPKG",
    )
    return path


def test_classify_takes_polygons_of_another_coordinate_system(
    scene, polygons, call, tmp_path
):
    run = tmp_path / "run"
    words = ["--labels", polygons, "--label-field", "crop", "--model", "svm", "-o", run]
    answer = call("classify", scene.image, *words)
    assert answer.code == 0, answer.err
    told = json.loads((run / "metrics.json").read_text())
    assert [row["name"] for row in told["legend"]] == [f"crop {n}" for n in (1, 2, 3, 4)]
    counted = sum(told["split"][part]["count"] for part in ("train", "validation", "test"))
    assert counted + told["split"]["guard"]["count"] == np.sum(scene.codes > 0)
    assert "attribute 'crop'" in answer.out
    assert "attribute &#39;crop&#39;" in (run / "report.html").read_text()
    again = call("run", run / "experiment.yaml", "-o", run)
    assert (again.code, again.err) == (0, "")


def test_classify_says_loudly_when_no_blocks_can_be_drawn(scene, call, tmp_path):
    """Labels in one small corner: only a random split is left."""
    codes = np.zeros_like(scene.codes)
    codes[30:34, 30:34] = 1 + np.arange(16).reshape(4, 4) % 2
    np.save(tmp_path / "corner.npy", codes)
    run = tmp_path / "run"
    words = ["--labels", tmp_path / "corner.npy", "--model", "svm", "-o", run]
    answer = call("classify", scene.image, *words)
    assert answer.code == 0, answer.err
    note = "No guard-banded blocks can be drawn from these labels"
    assert f"Note: {note}" in answer.out
    assert note in (run / "report.html").read_text()
    left = yaml.safe_load((run / "experiment.yaml").read_text())
    assert left["split"]["kind"] == "random"
    assert note in left["notes"][0]


# The small verbs


def test_report_writes_the_page_anew(finished, call, tmp_path):
    import shutil

    run = tmp_path / "run"
    shutil.copytree(finished.folder, run)
    page = (run / "report.html").read_bytes()
    (run / "report.html").write_text("gone")
    answer = call("report", run)
    assert (answer.code, answer.out) == (0, f"Report: {run}/report.html\n")
    assert (run / "report.html").read_bytes() == page


def test_info_tells_and_draws(scene, call, tmp_path):
    answer = call("info", scene.image, "-l", scene.labels, "-o", tmp_path)
    assert answer.code == 0
    for fact in ("64 rows × 64 columns × 24 bands", "400.0 to 2500.0 nm", "EPSG:32616"):
        assert fact in answer.out
    for code in (1, 2, 3, 4):
        assert str(np.sum(scene.codes == code)) in answer.out
    for what in ("quicklook", "labels", "spectra"):
        picture = tmp_path / f"tiny-{what}.png"
        assert f"Picture: {picture}\n" in answer.out
        assert picture.read_bytes().startswith(b"\x89PNG")


def test_scenes_are_listed(call):
    answer = call("scenes")
    assert answer.code == 0
    for name in ("indian-pines", "salinas"):
        assert name in answer.out


VERBS = ["demo", "classify", "info", "run", "predict", "report", "simulate", "scenes"]


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_every_command_has_an_example(call, verb):
    answer = call(verb, "--help")
    assert answer.code == 0
    assert f"Example: hypercover {verb}" in " ".join(answer.out.split())


def test_help_imports_nothing_heavy():
    """That is what keeps it quick; the clock of a busy machine is no measure."""
    program = (
        "import sys; from hypercover.cli.main import main; sys.argv = ['hypercover', "
        "'--help']\ntry: main()\nexcept SystemExit: pass\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    heavy = {"numpy", "torch", "rasterio", "matplotlib", "sklearn", "pydantic", "xarray"}
    assert not heavy & set(ended.stderr.split())
    for verb in VERBS:
        assert f"  {verb} " in ended.stdout


def test_a_terminal_of_few_letters_loses_nothing_else(scene, tmp_path):
    ended = subprocess.run(
        [str(COMMAND), "info", str(scene.image), "-o", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        env=ONE_THREAD | {"PYTHONIOENCODING": "ascii"},
    )
    assert ended.returncode == 0, ended.stderr
    assert "64 rows ? 64 columns" in ended.stdout


@pytest.mark.slow
def test_the_demo_takes_less_than_three_minutes(tmp_path):
    began = time.monotonic()
    ended = shell("demo", "--out", tmp_path / "demo")
    assert ended.returncode == 0, ended.stderr
    assert time.monotonic() - began < 180
    assert "demo: accuracy in % (simulated scene)" in ended.stdout
    told = json.loads((tmp_path / "demo" / "metrics.json").read_text())
    for model in ("svm", "cnn"):
        beside = told["beside"]["random"]["models"][model]
        assert beside["overall_accuracy"] > told["models"][model]["overall_accuracy"]


def test_a_terminal_gets_a_bar(scene, tmp_path):
    """On a terminal stderr shows a bar; stdout, which is a file, gets the table alone."""
    import pty

    path = experiment(scene, tmp_path, models={"svm": MODELS["svm"]}, map=False)
    mine, theirs = pty.openpty()
    with (tmp_path / "out").open("w") as out:
        process = subprocess.Popen(
            [str(COMMAND), "run", str(path), "-o", str(tmp_path / "run")],
            stdout=out,
            stderr=theirs,
            env=ONE_THREAD | {"TERM": "xterm", "COLUMNS": "100"},
        )
        os.close(theirs)
        shown = b""
        while True:
            try:
                chunk = os.read(mine, 4096)
            except OSError:
                break
            if not chunk:
                break
            shown += chunk
        os.close(mine)
        assert process.wait(60) == 0
    assert b"\x1b[" in shown
    assert b"%" in shown
    assert b"done\r\n" not in shown
    assert "\x1b" not in (tmp_path / "out").read_text()
    assert "blocks" in (tmp_path / "out").read_text()
