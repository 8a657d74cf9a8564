"""Runs that are killed or stopped go on, and come to the same figures."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest


@pytest.fixture(scope="module")
def repeated(desk, scene, tmp_path_factory) -> SimpleNamespace:
    """Two seeds of an SVM and a small CNN, undisturbed, in one process."""
    folder = tmp_path_factory.mktemp("repeated")
    models = {"svm": desk.models["svm"], "cnn": desk.models["cnn"] | {"epochs": 1}}
    path = desk.experiment(scene, folder, models=models, repeats=2, map=False)
    ended = desk.shell("run", path, "-o", folder / "run", "--workers", 1)
    assert ended.returncode == 0, ended.stderr
    return SimpleNamespace(path=path, figures=desk.figures_of(folder / "run"))


def test_repeats_are_averaged(repeated):
    for told in repeated.figures["models"].values():
        seeds = [row["seed"] for row in told["repeats"]]
        shares = [row["overall_accuracy"] for row in told["repeats"]]
        assert seeds == [3, 4]
        assert told["overall_accuracy"] == pytest.approx(np.mean(shares))
        assert told["spread"]["overall_accuracy"] == pytest.approx(np.std(shares, ddof=1))


def begun(
    desk, path: Path, folder: Path, until: str, workers: int
) -> subprocess.Popen[str]:
    """Begin a run and return when a file that matches is there."""
    command = [str(desk.command), "run", str(path), "-o", str(folder)]
    process = subprocess.Popen(
        [*command, "--workers", str(workers)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=desk.environment,
        preexec_fn=desk.on_two_cores,
    )
    give_up = time.monotonic() + 300
    while not list(folder.glob(until)):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < give_up, f"no {until} within five minutes"
        time.sleep(0.005)
    return process


def workers_of(pid: int) -> list[int]:
    """Return the worker processes that a run has started."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for file in tasks for child in file.read_text().split()]


linux = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")


@linux
@pytest.mark.slow
def test_a_killed_worker_changes_no_figure(desk, repeated, tmp_path):
    """One of two processes is killed while it trains; its task is tried once more."""
    process = begun(desk, repeated.path, tmp_path, "tasks/split-main-4.json", workers=2)
    os.kill(workers_of(process.pid)[-1], signal.SIGKILL)
    _, err = process.communicate(timeout=300)
    if process.returncode:
        again = desk.shell("run", repeated.path, "-o", tmp_path, "--workers", 2)
        assert again.returncode == 0, (err, again.stderr)
    assert desk.figures_of(tmp_path) == repeated.figures


@linux
def test_a_killed_command_goes_on(desk, repeated, tmp_path):
    process = begun(desk, repeated.path, tmp_path, "tasks/train-main-3-cnn.json", workers=1)
    process.kill()
    process.communicate()
    # What is quick was reported before the network was trained.
    assert "cnn" not in desk.figures_of(tmp_path)["models"]
    done = {path.name: path.read_bytes() for path in tmp_path.glob("tasks/*-main-*.json")}
    assert len(done) == 5
    again = desk.shell("run", repeated.path, "-o", tmp_path, "--workers", 1)
    assert again.returncode == 0, again.stderr
    assert desk.figures_of(tmp_path) == repeated.figures
    for name, content in done.items():
        assert (tmp_path / "tasks" / name).read_bytes() == content


@linux
@pytest.mark.slow
def test_ten_repeats_killed_again_and_again_come_to_the_same_figures(desk, scene, tmp_path):
    """Four times in the midst of the work: the command and its workers, or it alone.

    Workers have groups of their own; those that are left alone end when they notice,
    while the next command may have begun.
    """
    models = {"svm": desk.models["svm"], "cnn": desk.models["cnn"] | {"epochs": 2}}
    path = desk.experiment(scene, tmp_path, models=models, repeats=10, map=False)
    ended = desk.shell("run", path, "-o", tmp_path / "undisturbed", "--workers", 2)
    assert ended.returncode == 0, ended.stderr
    folder = tmp_path / "killed"
    command = [str(desk.command), "run", str(path), "-o", str(folder), "--workers", "2"]
    for done, everybody in ((1, True), (5, False), (11, True), (17, False)):
        process = subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=desk.environment,
            preexec_fn=desk.on_two_cores,
            start_new_session=True,
        )
        give_up = time.monotonic() + 300
        while len(list(folder.glob("tasks/train-main-*.json"))) < done:
            assert process.poll() is None
            assert time.monotonic() < give_up, f"no {done} trainings within five minutes"
            time.sleep(0.01)
        workers = workers_of(process.pid)
        assert len(workers) == 2
        for group in (process.pid, *(workers if everybody else ())):
            os.killpg(group, signal.SIGKILL)
        process.wait()
        # The quick models may have been reported first; the network never before its end.
        metrics = folder / "metrics.json"
        assert not metrics.exists() or "cnn" not in desk.figures_of(folder)["models"]
    ended = desk.shell("run", path, "-o", folder, "--workers", 2)
    assert ended.returncode == 0, ended.stderr
    figures = desk.figures_of(folder)
    assert figures == desk.figures_of(tmp_path / "undisturbed")
    assert len(figures["models"]["cnn"]["repeats"]) == 10
    assert figures["models"]["cnn"]["interval"]["overall_accuracy"] is not None


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_says_how_to_go_on(desk, scene, tmp_path, workers):
    long = {"slow": desk.models["cnn"] | {"epochs": 100_000}}
    path = desk.experiment(scene, tmp_path / "in", models=long, map=False)
    folder = tmp_path / "run"
    process = begun(desk, path, folder, "tasks/train-main-3-slow.progress", workers=workers)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 130
    assert out == ""
    last = err.splitlines()[-1]
    assert last == "hypercover: stopped; run the same command again to resume."
    assert "Traceback" not in err
    left = [path.name for path in folder.rglob("*.part*")]
    assert [name for name in left if ".progress." not in name] == []
    assert not (folder / "metrics.json").exists()


def test_drafts_of_a_killed_run_are_swept_up(desk, scene, call, tmp_path):
    path = desk.experiment(scene, tmp_path, models={"svm": desk.models["svm"]})
    run = tmp_path / "run"
    assert call("run", path, "-o", run).code == 0
    drafts = [run / "maps" / ".svm.99-3.part.tif", run / ".metrics.99-4.part.json"]
    mine = run / ".notes.part.txt"
    for file in (*drafts, mine):
        file.write_text("half")
    assert call("run", path, "-o", run).code == 0
    assert not any(draft.exists() for draft in drafts)
    assert mine.exists()
