"""What is left of trainings that were stopped: what goes on, and what is put aside aloud."""

import filecmp
from pathlib import Path

import pytest
import rasterio
import yaml

from hypercover.classifiers.cnn.inference import resolve_device
from hypercover.experiment.config.experiment_file import load_experiment
from hypercover.experiment.results.run_folder import RunFolder
from hypercover.experiment.run import run_experiment
from hypercover.experiment.tasks.network_training import (
    CheckpointFolder,
    set_aside_checkpoints,
)
from hypercover.scene.simulation.simulate import simulate

pytestmark = pytest.mark.usefixtures("sketched")


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


def stopped(path: Path, folder: Path) -> Path:
    """Stop a run in the second epoch of its network; return the folder of its checkpoints."""

    def stop(event):
        if event.message.startswith("epoch 2 "):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_experiment(load_experiment(path), folder, progress=stop)
    kept = folder / "checkpoints" / "train-main-0-cnn"
    assert list(kept.glob("step-*.json"))
    return kept


@pytest.fixture
def eager(monkeypatch):
    """Checkpoints as often as can be."""
    monkeypatch.setattr("hypercover.classifiers.cnn.checkpoint.INTERVAL", 0.0)


@pytest.mark.parametrize(
    ("cnn", "changes", "why"),
    [
        ({"window": 5}, {}, "models.cnn.window was 3, not 5"),
        ({"epochs": 2}, {"map": True}, "models.cnn.epochs was 3, not 2"),
        (
            {"learning_rate": 0.1},
            {"seed": 0, "split": {"kind": "random", "train": 0.2}},
            "split.validation was 0.25, not 0.0, "
            "models.cnn.learning_rate was left to its default, not 0.1",
        ),
    ],
)
def test_checkpoints_of_another_experiment_are_put_aside_in_a_sentence(
    image, tmp_path, caplog, eager, cnn, changes, why
):
    folder = tmp_path / "run"
    stopped(written(image, tmp_path), folder)
    changed = load_experiment(written(image, tmp_path, cnn=cnn, **changes))
    metrics = run_experiment(changed, folder)
    assert metrics["models"]["cnn"]["training"]["epochs"] == cnn.get("epochs", 3)
    assert caplog.messages == [
        f"The checkpoints of train-main-0-cnn belong to another experiment ({why}): training "
        f"starts from the beginning, and they are kept in {folder}/checkpoints/aside for that experiment; "
        "delete them if you do not need them."
    ]
    (kept,) = (folder / "checkpoints").glob("*/*")
    assert list(kept.glob("step-*.json"))


def test_a_training_survives_what_was_mistyped(image, tmp_path, caplog, eager):
    """Run to its end with another number of epochs, and then as it was begun."""
    folder, weights = tmp_path / "run", Path("models", "cnn", "weights.safetensors")
    first, other = written(image, tmp_path), tmp_path / "other"
    stopped(first, folder)
    run_experiment(load_experiment(written(image, other, cnn={"epochs": 1})), folder)
    assert (folder / "checkpoints" / "aside").is_dir()
    caplog.clear()
    run_experiment(load_experiment(first), folder)
    assert [text[:33] for text in caplog.messages] == ["train-main-0-cnn resumes at epoch"]
    assert not (folder / "checkpoints").exists()
    run_experiment(load_experiment(first), tmp_path / "whole")
    assert filecmp.cmp(folder / weights, tmp_path / "whole" / weights, shallow=False)


def test_a_changed_file_and_a_lost_experiment_are_told(image, tmp_path, caplog, eager):
    own = tmp_path / image.name
    for path in (image, image.with_name("tiny-labels.tif")):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    experiment = written(own, tmp_path)
    folder = tmp_path / "run"
    stopped(experiment, folder)
    with rasterio.open(own, "r+") as file:
        file.update_tags(NOTE="another file, not one that was merely touched")
    stopped(experiment, folder)
    assert "(a file that it reads has changed):" in caplog.messages[0]
    (folder / "experiment.yaml").write_text("damaged: [")
    run_experiment(load_experiment(written(own, tmp_path, cnn={"epochs": 2})), folder)
    assert "(its experiment.yaml cannot be read):" in caplog.messages[1]


def test_a_training_goes_on_with_another_device(image, tmp_path, caplog, eager):
    """Where auto is the processor: to the very same weights."""
    folder, weights = tmp_path / "run", Path("models", "cnn", "weights.safetensors")
    stopped(written(image, tmp_path, device="auto"), folder)
    experiment = load_experiment(written(image, tmp_path))
    run_experiment(experiment, folder)
    assert [text[:33] for text in caplog.messages] == ["train-main-0-cnn resumes at epoch"]
    run_experiment(experiment, tmp_path / "whole")
    if resolve_device("auto").type == "cpu":
        assert filecmp.cmp(folder / weights, tmp_path / "whole" / weights, shallow=False)


@pytest.mark.slow
def test_trainings_in_other_processes_are_told_to_go_on(image, tmp_path, caplog, eager):
    path, folder = written(image, tmp_path, repeats=2), tmp_path / "run"

    def stop(event):
        if event.task.endswith("-1-cnn") and event.message.startswith("epoch 2 "):
            raise KeyboardInterrupt

    experiment = load_experiment(path)
    with pytest.raises(KeyboardInterrupt):
        run_experiment(experiment, folder, workers=1, progress=stop)
    run_experiment(experiment, folder, workers=2)
    assert caplog.messages == ["Resuming from the checkpoints of train-main-1-cnn."]
    log = (folder / "tasks" / "train-main-1-cnn.log").read_text()
    assert "train-main-1-cnn resumes at epoch" in log


def test_only_what_is_still_wanted_is_kept(image, tmp_path, caplog):
    experiment = load_experiment(written(image, tmp_path))
    run = RunFolder(tmp_path / "run")
    wanted = CheckpointFolder.of(run, experiment, "train-main-0-cnn")
    (wanted.begin() / "step").touch()
    CheckpointFolder(run.checkpoints / "train-main-0-gone", wanted.fingerprint).begin()
    set_aside_checkpoints(run, experiment, experiment)
    assert [path.name for path in run.checkpoints.iterdir()] == ["train-main-0-cnn"]
    # nothing that took any time was lost
    assert not caplog.messages
    for same in ({"processes": 2}, {"device": "auto"}, {"map": True}):
        other = experiment.model_copy(update=same)
        assert CheckpointFolder.of(run, other, "train-main-0-cnn").ours
    assert (wanted.path / "step").exists()
    other = load_experiment(written(image, tmp_path, cnn={"epochs": 4}))
    CheckpointFolder.of(run, other, "train-main-0-cnn")
    assert not wanted.path.exists()
