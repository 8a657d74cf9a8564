"""The processes that train one network together, and what they say when they cannot."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from hypercover.errors import ModelError, RunError
from hypercover.experiment.config.experiment_file import load_experiment
from hypercover.experiment.run import prepare_experiment
from hypercover.experiment.tasks.rank import check_gpus, run_ranks
from hypercover.jobs.task_files import TaskFiles
from hypercover.scene.simulation.simulate import simulate

TASK = "train-main-0-cnn"


@pytest.fixture(scope="module")
def image(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("scene") / "tiny.tif"
    simulate(path, rows=40, cols=40, bands=12, classes=3, seed=1)
    return path


def prepared(image: Path, folder: Path, **cnn) -> Path:
    """Make a run ready for training and return its folder."""
    document = {
        "name": "tiny",
        "scene": {"path": str(image), "labels": str(image.with_name("tiny-labels.tif"))},
        "split": {"kind": "random", "train": 0.2, "validation": 0.25},
        "models": {
            "cnn": {"kind": "cnn", "window": 3, "epochs": 2} | cnn,
            "svm": {"kind": "svm"},
        },
        "map": False,
        "device": "cpu",
        "processes": 2,
    }
    path = folder.with_suffix(".yaml")
    path.write_text(yaml.safe_dump(document))
    assert prepare_experiment(load_experiment(path), folder) == (TASK,)
    return folder


def edited(folder: Path, key: str, value: object) -> None:
    """Change the experiment of a run behind its back, past all checks."""
    path = folder / "experiment.yaml"
    document = yaml.safe_load(path.read_text())
    document[key] = value
    path.write_text(yaml.safe_dump(document))


def trained(folder: Path) -> None:
    run_ranks(folder, TASK, 2, lambda *_: None)


def test_preparing_does_what_comes_before_a_training(image, tmp_path):
    folder = prepared(image, tmp_path / "run")
    done = {path.stem for path in folder.glob("tasks/*.json")} - {"inputs", "plan"}
    assert done == {"scene", "split-main-0", "view"}
    assert not (folder / "models").exists()


def test_no_gpu_is_one_sentence_and_no_restart(image, tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    folder = prepared(image, tmp_path / "run")
    edited(folder, "device", "cuda")
    with pytest.raises(ModelError) as caught:
        trained(folder)
    assert str(caught.value) == (
        "The device is cuda, but PyTorch finds no usable GPU here; use device auto or cpu."
    )


@pytest.mark.slow
def test_an_error_of_one_training_comes_back_in_its_own_type(image, tmp_path):
    # two processes get a window each of a batch of two, and one is too few
    folder = prepared(image, tmp_path / "run")
    edited(folder, "models", {"cnn": {"kind": "cnn", "window": 3, "batch_size": 2}})
    with pytest.raises(
        ModelError, match="2 processes share every batch and need 4 windows"
    ):
        trained(folder)


@pytest.fixture(scope="module")
def ready(image, tmp_path_factory) -> Path:
    return prepared(image, tmp_path_factory.mktemp("ready") / "run")


def refused(words: list) -> str:
    """Call a rank wrongly, as torchrun would, and return its one sentence."""
    ended = subprocess.run(
        [sys.executable, "-m", "hypercover.experiment.tasks.rank", *map(str, words)],
        env=os.environ | {"LOCAL_RANK": "0", "RANK": "0", "WORLD_SIZE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1
    return ended.stderr


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            [],
            "Give a run folder and the name of a training, and start the ranks by torchrun",
        ),
        (["{run}", "train-main-9-x"], "train-main-9-x is not a training of a network in /"),
        (["{run}", "split-main-0"], "split-main-0 is not a training of a network in /"),
        (
            ["{run}", "train-main-0-svm"],
            "train-main-0-svm is not a training of a network in /",
        ),
        (["{run}/none", TASK], "There is no plan"),
    ],
)
def test_a_wrong_call_is_one_sentence_and_leaves_nothing(ready, words, sentence):
    before = sorted(ready.rglob("*"))
    assert refused([word.format(run=ready) for word in words]).startswith(sentence)
    assert sorted(ready.rglob("*")) == before


def test_what_a_training_needs_must_be_done(ready, tmp_path):
    folder = shutil.copytree(ready, tmp_path / "run")
    TaskFiles(folder, "split-main-0").result.unlink()
    sentence = refused([folder, TASK])
    assert sentence.startswith(f"The task {TASK} needs split-main-0;")
    assert TaskFiles(folder, TASK).read_failure().message == sentence.strip()


def test_more_processes_than_gpus_are_refused():
    import torch

    found = torch.cuda.device_count()
    check_gpus(found)
    with pytest.raises(ModelError, match=f"{found + 1} processes need a GPU each"):
        check_gpus(found + 1)


def test_a_lack_of_memory_is_one_sentence_and_final(tmp_path, monkeypatch):
    import torch

    from hypercover.experiment.tasks.rank import _record_final_errors

    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    files = TaskFiles(tmp_path, TASK)
    with pytest.raises(RunError, match="Process 1 of 2 ran out of memory"):  # noqa: SIM117
        with _record_final_errors(files):
            torch.empty(2**62, dtype=torch.uint8)
    assert files.read_failure().message.endswith("smaller batch_size or fewer processes.")


def test_an_error_that_a_restart_may_mend_is_left_to_torchrun(tmp_path):
    from hypercover.experiment.tasks.rank import _record_final_errors

    files = TaskFiles(tmp_path, TASK)
    with pytest.raises(RuntimeError, match="reset by peer"):  # noqa: SIM117
        with _record_final_errors(files):
            raise RuntimeError("Connection reset by peer")
    assert files.read_failure() is None
