"""The training of a trial: what reaches the network, and what survives a kill."""

import filecmp
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import yaml

from hypercover.errors import ExperimentError, ModelError, RunError
from hypercover.experiment.config.builders import (
    build_classifier,
    build_split,
    load_scene,
)
from hypercover.experiment.config.experiment_check import check_experiment, check_models
from hypercover.experiment.config.experiment_file import load_experiment
from hypercover.experiment.config.schema import CNNSpec
from hypercover.experiment.run import run_experiment
from hypercover.experiment.tasks.trial import fit_classifier
from hypercover.scene.scene import Scene
from hypercover.scene.simulation.simulate import simulate
from hypercover.splits.random_split import RandomSplit
from hypercover.splits.split import Split

pytestmark = pytest.mark.usefixtures("sketched")

AT_EVERY_BATCH = (
    "import hypercover.classifiers.cnn.checkpoint as c; c.INTERVAL = 0.0; "
    "from hypercover.cli.main import main; main()"
)
"""The command, with checkpoints as often as can be: a test cannot wait for them."""


@pytest.fixture(scope="module")
def image(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("scene") / "tiny.tif"
    simulate(path, rows=40, cols=40, bands=12, classes=3, seed=1)
    return path


def written(image: Path, folder: Path, *, cnn=None, **changes) -> Path:
    """Write an experiment with one small network into a folder."""
    network = {"kind": "cnn", "window": 3, "epochs": 3, "batch_size": 16}
    document = {
        "name": "tiny",
        "scene": {"path": str(image), "labels": str(image.with_name("tiny-labels.tif"))},
        "split": {"kind": "random", "train": 0.2, "validation": 0.25},
        "models": {"cnn": network | (cnn or {})},
        "map": False,
        "device": "cpu",
    } | changes
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def curve(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def test_recipe_and_precision_reach_the_network():
    recipe = {"loss": "squared", "mix": 0.2}
    spec = CNNSpec(recipe=recipe, precision="mixed", epochs=7)
    given = build_classifier(spec, seed=4, device="cpu").get_params()
    assert given["recipe"] == recipe
    assert (given["precision"], given["epochs"], given["random_state"]) == ("mixed", 7, 4)
    plain = build_classifier(CNNSpec(), seed=0).get_params()
    assert (plain["recipe"], plain["precision"]) == (None, "float32")


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        ({"mixx": 0.2}, "A recipe has no field 'mixx'; its fields are optimiser,"),
        ({"optimiser": "adam"}, "The optimiser must be one of sgd, adamw, got 'adam'."),
        ({"warm_up": 1}, "The warm up must be a number from 0 to below 1, got 1."),
        (
            {"clip": "1e-3"},
            "The clip must be a number above 0, at most 1e+38, got '1e-3'; w",
        ),
        (
            {"momentum": 0.9},
            "The momentum of a recipe has an effect only with optimiser sgd, and",
        ),
    ],
)
def test_a_wrong_recipe_is_named_before_anything_runs(image, tmp_path, recipe, words):
    experiment = load_experiment(written(image, tmp_path, cnn={"recipe": recipe}))
    with pytest.raises(ModelError) as caught:
        run_experiment(experiment, tmp_path / "run")
    assert str(caught.value).startswith(words)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"batch_size": 10**21}, "The batch size must be a whole number from 1 to"),
        ({"epochs": 10**21}, "The epochs must be a whole number from 1 to"),
        ({"learning_rate": 1e42}, "The learning rate must be a number above 0, at most"),
    ],
)
def test_a_setting_out_of_bounds_is_named_before_anything_runs(
    image, tmp_path, setting, words
):
    path = written(image, tmp_path, cnn=setting)
    for experiment in (path, yaml.safe_load(path.read_text())):
        with pytest.raises(ModelError, match=words):
            run_experiment(experiment, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_network_is_compiled_where_that_can_be(image, tmp_path, monkeypatch):
    assert build_classifier(CNNSpec(compile=True), seed=0).compile is True
    experiment = load_experiment(written(image, tmp_path, cnn={"compile": True}))
    monkeypatch.setenv("CXX", "no-compiler-of-this-name")
    with pytest.raises(
        ModelError, match="but no-compiler-of-this-name was not found; inst"
    ):
        check_experiment(experiment)


def test_a_training_that_ran_away_in_its_last_step_is_no_run(image, tmp_path):
    hostile = {
        "epochs": 1,
        "batch_size": 1000,
        "learning_rate": 1e28,
        "recipe": {"optimiser": "sgd", "schedule": "constant"},
    }
    split = {"kind": "random", "train": 0.2}
    experiment = load_experiment(written(image, tmp_path, cnn=hostile, split=split))
    with pytest.raises(RunError, match=r"no longer finite|not finite"):
        run_experiment(experiment, tmp_path / "run")


def test_patience_needs_validation_pixels(image, tmp_path):
    patient = {"recipe": {"patience": 3}}
    bare = {"kind": "random", "train": 0.2}
    lacking = load_experiment(written(image, tmp_path, cnn=patient, split=bare))
    with pytest.raises(ExperimentError, match=r"recipe\.patience.*random split has none"):
        check_experiment(lacking)
    beside = written(image, tmp_path, cnn=patient, beside={"other": bare})
    with pytest.raises(ExperimentError, match=r"recipe\.patience"):
        check_experiment(load_experiment(beside))
    check_experiment(load_experiment(written(image, tmp_path, cnn=patient)))


def test_patience_stops_early_and_nothing_else_does(image, tmp_path):
    # weights at rest: no epoch is better than the first
    still = {"optimiser": "sgd", "learning_rate": 1e-12}
    both = {
        "patient": {
            "kind": "cnn",
            "window": 3,
            "epochs": 9,
            "recipe": still | {"patience": 2},
        },
        "stubborn": {"kind": "cnn", "window": 3, "epochs": 9, "recipe": still},
    }
    experiment = load_experiment(written(image, tmp_path, models=both))
    metrics = run_experiment(experiment, tmp_path / "run")
    epochs = {name: one["training"]["epochs"] for name, one in metrics["models"].items()}
    assert epochs["stubborn"] == 9
    assert epochs["patient"] < 9


def test_curves_follow_the_validation_pixels_where_there_are_any(image, tmp_path):
    beside = {"bare": {"kind": "random", "train": 0.2}}
    experiment = load_experiment(written(image, tmp_path, beside=beside))
    metrics = run_experiment(experiment, tmp_path / "run")
    rows = curve(tmp_path / "run")
    assert [(row["split"], row["epoch"]) for row in rows] == [
        (split, epoch) for split in ("main", "bare") for epoch in (1, 2, 3)
    ]
    shown = {"validation_loss", "validation_accuracy"}
    for row in rows:
        assert {"model", "seed", "loss", "accuracy", "learning_rate", "seconds"} <= set(row)
        assert (shown <= set(row)) == (row["split"] == "main")
    model = metrics["models"]["cnn"]
    assert rows[2]["validation_accuracy"] == pytest.approx(model["validation_accuracy"])
    told = model["training"]
    assert (told["device"], told["precision"], told["processes"]) == ("cpu", "float32", 1)
    assert told["samples"] == 3 * metrics["split"]["train"]["count"]
    report = (tmp_path / "run" / "report.html").read_text()
    assert f"on cpu in float32, 3 epochs, {told['samples']:,} samples seen" in report


def test_tensorboard_has_the_curves_of_each_task_of_a_run(image, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    experiment = load_experiment(written(image, tmp_path, tensorboard=True, repeats=2))
    run_experiment(experiment, tmp_path / "run", workers=1)
    rows = curve(tmp_path / "run")
    for seed in (0, 1):
        folder = tmp_path / "run" / "tensorboard" / f"train-main-{seed}-cnn"
        events = EventAccumulator(str(folder)).Reload()
        for key, chart in (
            ("loss", "loss/training"),
            ("validation_loss", "loss/validation"),
        ):
            read = [(each.step, each.value) for each in events.Scalars(chart)]
            own = [
                (row["epoch"], pytest.approx(row[key]))
                for row in rows
                if row["seed"] == seed
            ]
            assert read == own


class Witness:
    """A network that only remembers what it was shown."""

    def predict_dense(self, tile):
        raise NotImplementedError

    def fit(self, X, y, *, checkpoint, validation=None):
        self.seen, self.shown, self.checkpoint = (X, y), validation, checkpoint


@pytest.mark.parametrize("window", [1, 3])
@pytest.mark.parametrize("share", [0.0, 0.4])
def test_a_network_sees_training_and_validation_pixels_and_no_others(window, share):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, (20, 20))
    cube = 1 + np.arange(400.0).reshape(1, 20, 20)
    scene = Scene(xr.DataArray(cube, dims=("band", "y", "x")), labels)
    split = RandomSplit(train=0.5, validation=share).split(labels, seed=0, window=window)
    witness = Witness()
    fit_classifier(witness, scene, split, window=window, checkpoint=Path("here"))
    assert witness.checkpoint == Path("here")
    told = {"train": witness.seen, "validation": witness.shown}
    assert (witness.shown is None) == (share == 0)
    for part in ("train", *(["validation"] if share else [])):
        X, y = told[part]
        spectra = X if window == 1 else X.centres()
        at = np.flatnonzero(split.mask(part))
        np.testing.assert_array_equal(np.ravel(spectra) - 1, at)
        np.testing.assert_array_equal(y, labels.ravel()[at])


def test_a_class_that_only_validates_is_not_shown_to_the_network():
    labels = np.array([[1, 2, 1, 2], [1, 2, 3, 3]])
    parts = {part: np.zeros((2, 4), bool) for part in ("train", "validation", "test")}
    parts["train"][:, 0], parts["train"][:, 1] = True, True
    parts["validation"][:, 2], parts["test"][:, 3] = True, True
    split = Split.from_parts(**parts, kind="blocks", seed=0, settings={}, window=1)
    cube = 1 + np.arange(8.0).reshape(1, 2, 4)
    witness = Witness()
    fit_classifier(
        witness, Scene(xr.DataArray(cube, dims=("band", "y", "x")), labels), split
    )
    X, y = witness.shown
    assert (X.tolist(), y.tolist()) == ([[3.0]], [1])


def killed_in_training(path: Path, folder: Path, checkpoints: Path) -> None:
    """Begin a run, and kill it when its network has left a checkpoint."""
    words = ["run", path, "-o", folder]
    process = subprocess.Popen(
        [sys.executable, "-c", AT_EVERY_BATCH, *map(str, words)], stderr=subprocess.PIPE
    )
    give_up = time.monotonic() + 300
    # one that was left in the second epoch or later
    while not any(int(path.stem[5:]) > 20 for path in checkpoints.glob("step-*.json")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < give_up
        time.sleep(0.005)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL


def test_a_training_killed_on_its_way_goes_on_to_the_same_weights(image, tmp_path, caplog):
    path = written(image, tmp_path, cnn={"epochs": 25})
    experiment = load_experiment(path)
    run_experiment(experiment, tmp_path / "whole")
    folder = tmp_path / "killed"
    kept = folder / "checkpoints" / "train-main-0-cnn"
    killed_in_training(path, folder, kept)
    assert kept.exists()
    caplog.clear()
    run_experiment(experiment, folder)
    said = [text for text in caplog.messages if "resumes at epoch" in text]
    assert len(said) == 1
    assert said[0].startswith("train-main-0-cnn resumes at epoch ")
    weights = Path("models", "cnn", "weights.safetensors")
    assert filecmp.cmp(folder / weights, tmp_path / "whole" / weights, shallow=False)
    assert [row["epoch"] for row in curve(folder)] == list(range(1, 26))
    timeless = [
        [{**row, "seconds": 0} for row in curve(run)]
        for run in (folder, tmp_path / "whole")
    ]
    assert timeless[0] == timeless[1]
    assert not (folder / "checkpoints").exists()


@pytest.mark.parametrize(
    ("cnn", "processes", "said"),
    [
        ({"batch_size": 1}, 1, "needs at least 2 windows in a batch, got batch_size 1"),
        ({"batch_size": None, "recipe": {"batch_size": 1}}, 1, "2 windows in a batch"),
        (
            {"batch_size": 3},
            2,
            "2 processes share every batch and need 4 windows for it, "
            "got a batch size of 3; use fewer processes or larger batches.",
        ),
        ({"batch_size": 32}, 40, "need 80 windows for it, got a batch size of 32;"),
        ({"batch_size": 4096}, 900, "got {train} training windows; use fewer processes"),
    ],
)
def test_batches_that_cannot_be_are_named_before_anything_runs(
    image, tmp_path, cnn, processes, said
):
    path = written(image, tmp_path, cnn=cnn, processes=processes)
    experiment = load_experiment(path)
    with pytest.raises(ModelError) as caught:
        run_experiment(experiment, tmp_path / "run")
    if "{train}" in said:
        scene = load_scene(experiment.scene)
        made = build_split(experiment.split, scene, seed=0, window=3)
        said = said.format(train=made.count("train"))
    assert said in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_batches_as_small_as_can_be_are_taken(image, tmp_path):
    check_experiment(
        load_experiment(written(image, tmp_path, cnn={"batch_size": 4}, processes=2))
    )
    lecture = {"network": "lecture", "window": 7, "batch_size": 1}
    small = load_experiment(written(image, tmp_path, cnn=lecture))
    check_models(small)
