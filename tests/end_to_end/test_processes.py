"""Networks trained in several processes: as good as in one, and none outlives the run."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")

NETWORK = {"kind": "cnn", "window": 5, "epochs": 20, "batch_size": 32}
RANDOM = {"kind": "random", "train": 0.3, "validation": 0.2}
AT_EVERY_LOOK = "import hypercover.classifiers.cnn.checkpoint as c; c.INTERVAL = 0.0\n"


def processes(*words: object) -> list[int]:
    """Return the processes whose command line holds all of these words."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            given = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if all(str(word).encode() in given for word in words):
            found.append(int(path.parent.name))
    return found


def ranks(folder: Path) -> list[int]:
    """Return the processes that train in a run folder, without those that start them."""
    named = processes(folder, "hypercover.experiment.tasks.rank")
    return [pid for pid in named if pid not in processes(folder, "torch.distributed.run")]


def until(found, seconds: float = 120.0):
    """Wait until something is found, and return it."""
    give_up = time.monotonic() + seconds
    while not (what := found()):
        assert time.monotonic() < give_up
        time.sleep(0.01)
    return what


def begun(desk, path: Path, folder: Path, *words: object, **environment: str):
    """Begin a run of two processes for each network."""
    command = [desk.command, "run", path, "-o", folder, "--processes", 2, *words]
    return subprocess.Popen(
        [str(word) for word in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=desk.environment | environment,
        preexec_fn=desk.on_two_cores,
    )


def hooked(desk, hook: Path) -> str:
    """Return where Python looks for modules, with a hook before all others."""
    return os.pathsep.join(
        filter(None, [str(hook.parent), desk.environment.get("PYTHONPATH")])
    )


def model_of(folder: Path) -> dict:
    return json.loads((folder / "metrics.json").read_text())["models"]["cnn"]


@pytest.fixture(scope="module")
def easy(desk, scene, tmp_path_factory) -> SimpleNamespace:
    """An experiment that every network solves, and its run in one process."""
    folder = tmp_path_factory.mktemp("easy")
    path = desk.experiment(
        scene, folder, models={"cnn": NETWORK}, split=RANDOM, map=False, repeats=1
    )
    ended = desk.shell("run", path, "-o", folder / "run")
    assert ended.returncode == 0, ended.stderr
    return SimpleNamespace(path=path, model=model_of(folder / "run"))


@pytest.mark.slow
def test_two_processes_come_to_what_one_comes_to(desk, easy, tmp_path):
    ended = desk.shell("run", easy.path, "-o", tmp_path, "--processes", 2)
    assert ended.returncode == 0, ended.stderr
    both, alone = model_of(tmp_path), easy.model
    assert both["training"]["processes"] == 2
    assert both["training"]["samples"] == alone["training"]["samples"]
    assert both["overall_accuracy"] == pytest.approx(alone["overall_accuracy"], abs=0.03)
    assert not (tmp_path / "checkpoints").exists()
    assert "2 processes" in (tmp_path / "report.html").read_text()
    assert (
        "train-main-3-cnn: epoch" in ended.stderr
        or "train-main-3-cnn: done" in ended.stderr
    )


@pytest.mark.slow
def test_a_killed_rank_comes_back_and_all_go_on(desk, easy, tmp_path):
    # a module that Python imports before any other sets how often checkpoints are left
    hook = tmp_path / "hook" / "sitecustomize.py"
    hook.parent.mkdir()
    hook.write_text(AT_EVERY_LOOK)
    folder = tmp_path / "run"
    process = begun(desk, easy.path, folder, PYTHONPATH=hooked(desk, hook))
    # in the second epoch or later
    until(
        lambda: [
            at for at in folder.glob("checkpoints/*/step-*.json") if int(at.stem[5:]) > 20
        ]
    )
    os.kill(ranks(folder)[-1], signal.SIGKILL)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    log = (folder / "tasks" / "train-main-3-cnn.log").read_text()
    assert "train-main-3-cnn resumes at epoch" in log
    model = model_of(folder)
    assert model["training"]["samples"] == easy.model["training"]["samples"]
    assert model["overall_accuracy"] == pytest.approx(
        easy.model["overall_accuracy"], abs=0.03
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "how"),
    [
        (signal.SIGKILL, "torchrun ended by signal SIGKILL"),
        (
            signal.SIGTERM,
            "torchrun, which restarts dead processes up to 3 times, ended",
        ),
    ],
)
def test_a_killed_launcher_is_told_and_the_same_command_goes_on(
    desk, easy, tmp_path, number, how
):
    hook = tmp_path / "hook" / "sitecustomize.py"
    hook.parent.mkdir()
    hook.write_text(AT_EVERY_LOOK)
    folder = tmp_path / "run"
    process = begun(desk, easy.path, folder, PYTHONPATH=hooked(desk, hook))
    until(lambda: list(folder.glob("checkpoints/*/step-*.json")))
    (launcher,) = processes(folder, "torch.distributed.run")
    os.kill(launcher, number)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 1
    said = err.splitlines()[-1]
    assert said.startswith(
        f"hypercover: {how}, and with it the 2 processes that train train-main-3-cnn; see "
    )
    assert said.endswith("run the same command again to resume from the last checkpoint.")
    until(lambda: not processes(folder), 20.0)
    again = begun(desk, easy.path, folder)
    _, err = again.communicate(timeout=300)
    assert again.returncode == 0, err
    assert "Resuming from the checkpoints of train-main-3-cnn." in err.splitlines()
    log = (folder / "tasks" / "train-main-3-cnn.log").read_text()
    assert "Training resumes in epoch" in log
    samples = model_of(folder)["training"]["samples"]
    assert samples == easy.model["training"]["samples"]


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_ends_all_ranks(desk, scene, tmp_path, workers):
    long = {"cnn": NETWORK | {"epochs": 100_000}}
    path = desk.experiment(scene, tmp_path / "in", models=long, map=False)
    folder = tmp_path / "run"
    process = begun(desk, path, folder, "--workers", workers)
    progress = folder / "tasks" / "train-main-3-cnn.progress"
    until(lambda: progress.exists() and "epoch" in progress.read_text())
    assert len(ranks(folder)) == 2
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 130
    assert err.splitlines()[-1] == (
        "hypercover: stopped; run the same command again to resume."
    )
    until(lambda: not processes(folder), 10.0)


@pytest.mark.slow
def test_no_rank_outlives_a_run_that_was_killed(desk, scene, tmp_path):
    long = {"cnn": NETWORK | {"epochs": 100_000}}
    path = desk.experiment(scene, tmp_path / "in", models=long, map=False)
    folder = tmp_path / "run"
    process = begun(desk, path, folder)
    until(lambda: len(ranks(folder)) == 2)
    process.kill()
    process.communicate()
    until(lambda: not processes(folder), 20.0)


@pytest.mark.slow
def test_workers_times_processes_share_the_cores(desk, scene, tmp_path):
    """Two workers on two cores: four ranks, and no more than one thread in each."""
    long = {"cnn": NETWORK | {"epochs": 100_000}}
    path = desk.experiment(scene, tmp_path / "in", models=long, map=False, repeats=2)
    folder = tmp_path / "run"
    process = begun(desk, path, folder, "--workers", 2, OMP_NUM_THREADS="8")
    found = until(lambda: len(ranks(folder)) == 4 and ranks(folder))
    threads = [Path(f"/proc/{pid}/environ").read_bytes() for pid in found]
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=300)
    for variables in threads:
        assert b"OMP_NUM_THREADS=1" in variables.split(b"\0")
    until(lambda: not processes(folder), 10.0)


@pytest.mark.slow
def test_a_batch_job_trains_and_the_run_takes_it_from_there(desk, easy, tmp_path):
    folder = tmp_path / "run"
    ready = desk.shell("run", easy.path, "-o", folder, "--processes", 2, "--prepare")
    assert ready.returncode == 0, ready.stderr
    words = ready.stdout.split()
    assert words[0] == "torchrun"
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    trained = subprocess.run(
        [*torchrun, *words[1:]],
        capture_output=True,
        text=True,
        env=desk.environment | {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"},
        check=False,
    )
    assert trained.returncode == 0, trained.stderr
    weights = (
        folder / "checkpoints" / words[-1] / "trained" / "weights.safetensors"
    ).read_bytes()
    ended = desk.shell("run", easy.path, "-o", folder, "--processes", 2)
    assert ended.returncode == 0, ended.stderr
    assert (folder / "models" / "cnn" / "weights.safetensors").read_bytes() == weights
    assert model_of(folder)["training"]["processes"] == 2
