"""What is said of a training while it goes, and what TensorBoard reads of it."""

import subprocess
import sys

import pytest

from hypercover.experiment.tasks.network_training import report_epochs

EPOCHS = 6


def record(epoch: int, **more: float) -> dict[str, float]:
    """Return the record of an epoch whose values tell which it was of."""
    given = {"loss": 1 / epoch, "accuracy": epoch / 10, "learning_rate": 0.1 * epoch}
    return {"epoch": epoch, "epochs": EPOCHS, "seconds": 1.0 * epoch, **given, **more}


def heard(epochs, events=None, **more):
    """Return what a training reports, epoch by epoch."""
    reports = []
    with report_epochs("train-x", lambda *said: reports.append(said), events) as curves:
        for epoch in epochs:
            curves(record(epoch, **more))
    return reports


def charts(folder) -> dict[str, list[tuple[int, float]]]:
    """Read event files with TensorBoard's own reader."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder)).Reload()
    return {
        name: [(each.step, each.value) for each in found.Scalars(name)]
        for name in found.Tags()["scalars"]
    }


def test_each_epoch_is_told_with_the_time_left():
    reports = heard(range(1, EPOCHS + 1), validation_accuracy=0.875)
    assert [share for share, _ in reports] == [epoch / EPOCHS for epoch in range(1, 7)]
    first, last = reports[0][1], reports[-1][1]
    assert first.startswith("epoch 1 of 6 (")
    assert " left), loss 1.000, validation 87.5 %" in first
    assert last == "epoch 6 of 6 (0 ms left), loss 0.167, validation 87.5 %"


def test_going_on_is_said_once_and_only_then(caplog):
    heard([1, 2])
    assert not caplog.messages
    heard([4, 5, 6])
    assert caplog.messages == ["train-x resumes at epoch 4 of 6, from its checkpoint."]


def test_tensorboard_reads_the_curves(tmp_path):
    heard([1, 2], tmp_path / "events", validation_loss=0.5, validation_accuracy=0.25)
    found = charts(tmp_path / "events")
    assert found.pop("loss/training") == [(1, 1.0), (2, 0.5)]
    assert found.pop("loss/validation") == [(1, 0.5), (2, 0.5)]
    assert found.pop("accuracy/validation") == [(1, 0.25), (2, 0.25)]
    assert found.pop("accuracy/training") == [
        (1, pytest.approx(0.1)),
        (2, pytest.approx(0.2)),
    ]
    assert found.pop("learning rate") == [(1, pytest.approx(0.1)), (2, pytest.approx(0.2))]
    assert not found


def test_events_are_there_while_the_training_goes(tmp_path):
    with report_epochs("train-x", lambda *_: None, tmp_path / "events") as curves:
        curves(record(1))
        assert charts(tmp_path / "events")["loss/training"] == [(1, 1.0)]


def test_an_interrupted_training_has_one_curve_in_tensorboard(tmp_path):
    heard([1, 2, 3, 4], tmp_path / "events")
    heard([3, 4, 5], tmp_path / "events")
    steps = [step for step, _ in charts(tmp_path / "events")["loss/training"]]
    assert steps == [1, 2, 3, 4, 5]


def test_a_training_that_begins_anew_forgets_the_old_curve(tmp_path):
    heard([1, 2, 3, 4], tmp_path / "events")
    heard([1, 2], tmp_path / "events")
    steps = [step for step, _ in charts(tmp_path / "events")["loss/training"]]
    assert steps == [1, 2]


def test_without_tensorboard_one_sentence_says_how_to_get_it(tmp_path):
    lacking = "import sys; sys.modules['tensorboard'] = None; "
    script = lacking + "from hypercover.cli.main import main; main()"
    words = ["run", "demo", "-o", tmp_path / "run", "--set", "tensorboard=true"]
    here = tmp_path / "x.tif"
    here.touch()
    words += ["--set", f"scene.path={here}", "--set", f"scene.labels={here}"]
    ended = subprocess.run(
        [sys.executable, "-c", script, *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2
    assert ended.stderr == (
        "hypercover: tensorboard: true needs the package tensorboard, which is not "
        "installed; install it with pip install 'hypercover[tensorboard]', or set "
        "tensorboard: false.\n"
    )
    assert not (tmp_path / "run").exists()
