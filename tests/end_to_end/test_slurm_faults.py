"""What goes wrong on a cluster, on a real Slurm: nothing is lost, nothing counts twice."""

import json
import os
import signal
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest

pytestmark = pytest.mark.slow

FOREST = {
    "kind": "sklearn",
    "estimator": "sklearn.ensemble.RandomForestClassifier",
    # some ten seconds, so that there is something to interrupt
    "parameters": {"n_estimators": 4000},
}
MODELS = {"svm": {"kind": "svm"}, "forest": FOREST}
RANDOM = {"kind": "random", "train": 0.3, "validation": 0.2}
NETWORK = {"kind": "cnn", "window": 5, "epochs": 20, "batch_size": 32}
AT_EVERY_LOOK = "import hypercover.classifiers.cnn.checkpoint as c; c.INTERVAL = 0.0\n"


@pytest.fixture(scope="module")
def wanted(desk, scene, tmp_path_factory) -> SimpleNamespace:
    """An experiment, and what it comes to where nothing goes wrong."""
    folder = tmp_path_factory.mktemp("wanted")
    path = desk.experiment(scene, folder, models=MODELS, map=False)
    ended = desk.shell("run", path, "-o", folder / "run", "--workers", 1)
    assert ended.returncode == 0, ended.stderr
    return SimpleNamespace(path=path, figures=desk.figures_of(folder / "run"))


@pytest.fixture
def sent(cluster, wanted, tmp_path) -> SimpleNamespace:
    """The experiment on Slurm, its forest being trained."""
    folder = tmp_path / "run"
    submit(cluster, wanted.path, folder)
    return under_way(cluster, folder, "train-main-3-forest")


def submit(cluster, path: Path, folder: Path, *words: object, **environment: str) -> str:
    return cluster.call(
        "submit",
        path,
        "-o",
        folder,
        "--scheduler",
        "slurm",
        "--array-chunk",
        1,
        "--mem",
        "400MB",
        *words,
        **environment,
    )


def under_way(cluster, folder: Path, task: str) -> SimpleNamespace:
    """Wait until a worker is at a task; return it with its element."""
    submission = json.loads((folder / "jobs" / "submission.json").read_text())
    job = next(
        f"{array['job']}_{number}"
        for array in submission["arrays"]
        for number, element in enumerate(array["elements"], start=1)
        if task in element
    )
    log = folder / "tasks" / f"{task}.log"
    cluster.slurm.wait(lambda: log.exists() and processes("hypercover.jobs.worker", folder))
    return SimpleNamespace(folder=folder, job=job, task=task)


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


def worker_of(sent: SimpleNamespace) -> int:
    """Return the process that does the task: the child of the one that was given it."""
    (parent,) = processes("work", sent.folder, sent.task)
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return int(children[0])


def finished(desk, cluster, folder: Path, wanted: SimpleNamespace) -> str:
    """Wait for the end, and check that all is there as if nothing had gone wrong."""
    watched = cluster.call("status", folder, "--watch", "--interval", 1)
    assert "8 tasks: 8 done." in watched, (watched, cluster.outputs(folder))
    assert desk.figures_of(folder) == wanted.figures
    assert len(list((folder / "predictions").iterdir())) == len(MODELS)
    return watched


def test_a_cancelled_element(desk, cluster, sent, wanted):
    cluster.slurm.call("scancel", sent.job)
    watched = cluster.call("status", sent.folder, "--watch", "--interval", 1)
    assert "train-main-3-forest gone: its job was cancelled" in watched
    assert "hypercover resume" in watched
    kept = (sent.folder / "tasks" / "train-main-3-svm.json").read_bytes()
    cluster.call("resume", sent.folder)
    finished(desk, cluster, sent.folder, wanted)
    assert (sent.folder / "tasks" / "train-main-3-svm.json").read_bytes() == kept


def test_a_killed_worker_is_tried_again(desk, cluster, sent, wanted):
    os.kill(worker_of(sent), signal.SIGKILL)
    finished(desk, cluster, sent.folder, wanted)


def test_a_killed_job(desk, cluster, sent, wanted):
    (parent,) = processes("work", sent.folder, sent.task)
    os.kill(parent, signal.SIGKILL)
    watched = cluster.call("status", sent.folder, "--watch", "--interval", 1)
    assert "train-main-3-forest gone: its job ended without a result" in watched
    cluster.call("resume", sent.folder)
    finished(desk, cluster, sent.folder, wanted)


def test_a_node_that_dies(desk, cluster, sent, wanted):
    """Its element is sent back; the copy that was left behind does no harm."""
    said = cluster.slurm.call("scontrol", "-o", "show", "job", sent.job)
    node = said.partition(" NodeList=")[2].split()[0]
    # Held, or it would be done before Slurm gives the node up.
    left_behind = worker_of(sent)
    os.kill(left_behind, signal.SIGSTOP)
    cluster.slurm.kill_node(node)
    try:
        cluster.slurm.wait(lambda: cluster.slurm.restarts(sent.job) >= 1, 180)
    finally:
        cluster.slurm.start_node(node)
        with suppress(ProcessLookupError):
            os.kill(left_behind, signal.SIGCONT)
    finished(desk, cluster, sent.folder, wanted)


def test_preemption(desk, cluster, sent, wanted):
    cluster.slurm.call(
        "sbatch",
        "-p",
        "urgent",
        "-N",
        2,
        "--exclusive",
        "-o",
        "/dev/null",
        "--wrap",
        "sleep 3",
    )
    cluster.slurm.wait(lambda: cluster.slurm.restarts(sent.job) >= 1, 60)
    finished(desk, cluster, sent.folder, wanted)


def test_a_task_that_always_fails(desk, cluster, scene, tmp_path):
    """The rest is done, and the last job names the task and its log."""
    broken = FOREST | {"parameters": {"n_estimators": 5, "max_depth": -5}}
    models = {"svm": {"kind": "svm"}, "forest": broken}
    path = desk.experiment(scene, tmp_path, models=models, map=False)
    folder = tmp_path / "run"
    submit(cluster, path, folder)
    watched = cluster.call("status", folder, "--watch", "--interval", 1)
    assert "8 tasks: 4 done, 1 failed, 3 held up." in watched
    log = folder / "tasks" / "train-main-3-forest.log"
    assert "train-main-3-forest failed: sklearn.ensemble.RandomForest" in watched
    assert "The 'max_depth' parameter" in watched
    assert str(log) in watched
    last = (folder / "jobs" / "3-reduce-1.out").read_text()
    assert "reduce: waits for train-main-3-forest, which failed" in last
    assert str(log) in last
    assert "Got -5 instead" in cluster.call("logs", folder)
    assert "max_depth" in cluster.call("logs", folder, "train-main-3-forest")


@pytest.fixture
def network(desk, scene, tmp_path) -> Callable[[int], Path]:
    """An experiment that trains a network over so many passes."""

    def made(epochs: int) -> Path:
        models = {"cnn": NETWORK | {"epochs": epochs}}
        return desk.experiment(scene, tmp_path, models=models, split=RANDOM, map=False)

    return made


def went_on(desk, cluster, path: Path, folder: Path, job: str) -> None:
    """Check that a training was stopped, sent back, and came to the same bits."""
    watched = cluster.call("status", folder, "--watch", "--interval", 1)
    assert "7 tasks: 7 done." in watched, (watched, cluster.outputs(folder))
    assert "Stopped before the time limit" in cluster.outputs(folder)
    assert cluster.slurm.restarts(job) >= 1
    local = desk.shell("run", path, "-o", folder.parent / "here", "--workers", 1)
    assert local.returncode == 0, local.stderr
    weights = "models/cnn/weights.safetensors"
    here = (folder.parent / "here" / weights).read_bytes()
    assert (folder / weights).read_bytes() == here


def test_the_warning_before_the_time_limit(desk, cluster, network, tmp_path):
    """The signal itself, sent by hand while there is much left to do."""
    path, folder = network(200), tmp_path / "run"
    submit(cluster, path, folder, "--time", "1h")
    sent = under_way(cluster, folder, "train-main-3-cnn")
    cluster.slurm.wait(lambda: (folder / "tasks" / "train-main-3-cnn.progress").exists())
    cluster.slurm.call("scancel", "--batch", "--signal=USR1", sent.job)
    went_on(desk, cluster, path, folder, sent.job)
    assert "resumes at epoch" in (folder / "tasks" / "train-main-3-cnn.log").read_text()


def test_the_time_limit(desk, cluster, network, tmp_path):
    """A training that takes longer than its job may."""
    # Two minutes on a fast core of today: more than twice what one job may take.
    path, folder = network(1500), tmp_path / "run"
    submit(cluster, path, folder, "--time", "1min")
    sent = under_way(cluster, folder, "train-main-3-cnn")
    went_on(desk, cluster, path, folder, sent.job)


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 24 MB."""
    if os.geteuid() != 0:
        assert "CI" not in os.environ, "a full disk needs root to mount one"
        pytest.skip("a full disk needs root to mount one")
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", place]
    subprocess.run(mount, check=True)
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def test_a_full_disk(desk, cluster, wanted, small_disk):
    folder = small_disk / "run"
    submit(cluster, wanted.path, folder)
    under_way(cluster, folder, "train-main-3-forest")
    filler = small_disk / "filler"
    with filler.open("wb") as file:
        try:
            while True:
                file.write(bytes(2**16))
                file.flush()
        except OSError:
            pass
    watched = cluster.call("status", folder, "--watch", "--interval", 1)
    assert "8 done" not in watched
    assert not (folder / "metrics.json").exists()
    filler.unlink()
    cluster.call("resume", folder)
    finished(desk, cluster, folder, wanted)


def test_a_rank_that_is_killed_on_one_of_two_nodes(desk, cluster, scene, tmp_path):
    """All go on from the checkpoint: as many samples seen, as good a network."""
    path = desk.experiment(
        scene, tmp_path, models={"cnn": NETWORK}, split=RANDOM, map=False
    )
    alone = desk.shell("run", path, "-o", tmp_path / "alone")
    assert alone.returncode == 0, alone.stderr
    hook = tmp_path / "hook" / "sitecustomize.py"
    hook.parent.mkdir()
    hook.write_text(AT_EVERY_LOOK)
    found = os.pathsep.join(filter(None, [str(hook.parent), os.environ.get("PYTHONPATH")]))
    folder = tmp_path / "run"
    submit(cluster, path, folder, "--nodes", 2, "--time", "20min", PYTHONPATH=found)
    cluster.slurm.wait(
        lambda: [
            at for at in folder.glob("checkpoints/*/step-*.json") if int(at.stem[5:]) > 20
        ],
        240,
    )
    launchers = processes("torch.distributed.run", folder)
    ranks = [
        pid
        for pid in processes("hypercover.experiment.tasks.rank", folder)
        if pid not in launchers and b"srun" not in comm(pid)
    ]
    assert len(ranks) == 2
    os.kill(ranks[-1], signal.SIGKILL)
    watched = cluster.call("status", folder, "--watch", "--interval", 1)
    assert "7 tasks: 7 done." in watched, (watched, cluster.outputs(folder))
    both, one = model_of(folder), model_of(tmp_path / "alone")
    assert both["training"]["processes"] == 2
    assert both["training"]["samples"] == one["training"]["samples"]
    assert both["overall_accuracy"] == pytest.approx(one["overall_accuracy"], abs=0.03)
    assert "goes on" in cluster.outputs(folder)


def comm(pid: int) -> bytes:
    return Path(f"/proc/{pid}/comm").read_bytes()


def model_of(folder: Path) -> dict:
    return json.loads((folder / "metrics.json").read_text())["models"]["cnn"]
