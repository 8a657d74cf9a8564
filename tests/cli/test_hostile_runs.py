"""Run folders of strangers: nothing in them chooses what code runs, and each is refused in a sentence."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from hypercover.errors import CallError, OutputError
from hypercover.experiment.tasks.task_registry import REGISTRY
from hypercover.jobs.executor import do_task
from hypercover.jobs.plan import Plan
from hypercover.jobs.worker import main as worker


def task(**changes):
    plain = {
        "name": "a",
        "kind": "train",
        "arguments": {},
        "needs": [],
        "weight": 1.0,
        "key": "",
    }
    return {key: value for key, value in (plain | changes).items() if value is not None}


def asked(mark):
    return {"system": {"commands": ["touch"]}, "command": ["touch", str(mark)]}


def hostile(mark: Path) -> dict[str, dict]:
    """A task of each sort, by what it tries."""
    old = {"kind": None}
    return {
        "a function that runs a program": task(
            **old, function="hypercover.jobs.batch_system:asked", arguments=asked(mark)
        ),
        "a function that writes a file": task(
            **old, function="hypercover.files:write_text", arguments={"text": "x"}
        ),
        "a function for a kind": task(
            kind="hypercover.jobs.batch_system:asked", arguments=asked(mark)
        ),
        "its bare name": task(kind="asked", arguments=asked(mark)),
        "a dunder": task(kind="__class__"),
        "more arguments": task(
            arguments={"model": "svm", "split": "main", "seed": 0, "path": str(mark)}
        ),
        "a path for a model": task(
            arguments={"model": str(mark), "split": "main", "seed": 0}
        ),
        "a way out": task(kind="make_features", arguments={"name": "../../x"}),
        "a text for a number": task(
            arguments={"model": "svm", "split": "main", "seed": "0"}
        ),
        "a list for arguments": task(arguments=["touch", str(mark)]),
        "a path for a name": task(name="../../x"),
        "another key": task(shell=f"touch {mark}"),
        "a very long kind": task(kind="x" * 10**6),
    }


def plant(folder: Path, tasks: list[dict], version: int) -> None:
    """Write a plan as a stranger would, with the right checksum."""
    text = json.dumps(tasks, sort_keys=True)
    plan = {
        "format": "hypercover-plan",
        "version": version,
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
        "tasks": tasks,
    }
    (folder / "tasks" / "plan.json").write_text(json.dumps(plan))


@pytest.fixture
def run(call, fields):
    folder = fields.folder / "run"
    assert call("plan", fields.experiment, "-o", folder, "--ready").code == 0
    return folder


def everything(folder):
    return {
        str(path): path.read_bytes() for path in folder.parent.rglob("*") if path.is_file()
    }


@pytest.mark.parametrize("version", [1, 2])
def test_a_hostile_plan_runs_nothing(call, run, version, tmp_path, capfd):
    """Every sort is planted into one folder, one after another, and every command is tried."""
    mark = tmp_path / "mark"
    for what, planted in hostile(mark).items():
        plant(run, [planted], version)
        before = everything(run)
        for command in (
            ("work", run),
            ("work", run, "--tasks", "a"),
            ("status", run),
            ("resume", run),
            ("cancel", run),
        ):
            said = call(*command).sentence
            assert len(said) < 1500, (what, command)
        assert worker([REGISTRY.home, str(run)]) == 2
        assert capfd.readouterr().err.count("\n") == 1
        assert everything(run) == before, what
    assert not mark.exists()


_NOWHERE = {
    "train": {"model": "other", "split": "main", "seed": 0},
    "refit": {"model": "other", "split": "all", "seed": 0},
    "draw_map": {"model": "other"},
    "reduce_run": {"models": ["svm", "other"]},
    "make_split": {"split": "other", "seed": 0},
    "make_features": {"name": "other"},
    "fold_samples": {"model": "other", "by": "blocks"},
    "search_gamma": {"model": "other", "by": "blocks", "costs": [1.0], "gamma": 1.0},
}


def refused(folder: Path, name: str) -> str:
    """Do a task of a planted plan, and return the sentence that refuses it."""
    failure = do_task(Plan.load(folder, REGISTRY), name, folder)
    assert isinstance(failure.error(), CallError | OutputError), name
    assert "\n" not in failure.message
    return failure.message


def test_a_name_that_the_experiment_lacks_is_one_sentence(run):
    """A worker takes the plan as it is; the commands compare it with the experiment."""
    planted = [task(name=kind, kind=kind, arguments=of) for kind, of in _NOWHERE.items()]
    far = {"model": "svm", "split": "main", "seed": 9}
    plant(run, [*planted, task(name="far", arguments=far)], 2)
    for kind in _NOWHERE:
        folder = run / "search" if kind in ("fold_samples", "search_gamma") else run
        if folder != run:
            (folder / "tasks").mkdir(parents=True, exist_ok=True)
            shutil.copy(run / "tasks" / "plan.json", folder / "tasks")
            shutil.copy(run / "experiment.yaml", folder)
        assert "'other', but the experiment next to it has" in refused(folder, kind)
    assert "the seed 9 of the split 'main'" in refused(run, "far")
    (run / "experiment.yaml").unlink()
    assert "experiment.yaml" in refused(run, "far")


@pytest.mark.parametrize(
    "name", ["tasks", "maps", "models", "models/svm", "jobs", "jobs/1.out"]
)
def test_a_link_out_of_a_run_folder_is_not_followed(call, run, fields, tmp_path, name):
    away = tmp_path / "away"
    away.mkdir()
    link = run / name
    link.parent.mkdir(exist_ok=True)
    if name == "tasks":
        link.rename(away / "tasks")
    link.symlink_to(away / "tasks" if name == "tasks" else away)
    before = everything(away)
    for command in (
        ("work", run),
        ("status", run),
        ("resume", run),
        ("run", fields.experiment, "-o", run),
    ):
        assert f"{link} is a link" in call(*command).sentence
    assert everything(away) == before


@pytest.mark.parametrize(
    "name", ["lock", "scene.log", "scene.json", ".scene.progress.part"]
)
def test_a_linked_file_elsewhere_stays_as_it_is(call, run, tmp_path, name):
    precious = tmp_path / "precious"
    precious.write_text("precious")
    path = run / "tasks" / name
    path.unlink(missing_ok=True)
    path.symlink_to(precious)
    call("work", run, "--tasks", "scene")
    call("plan", run / "experiment.yaml", "-o", run, "--ready")
    assert precious.read_text() == "precious"


def test_an_image_that_was_touched_is_the_same(call, run, fields):
    """People touch files so that a cluster does not purge them."""
    assert call("work", run, "--tasks", "scene").code == 0
    fields.image.touch()
    assert ": 1 done, " in call("status", run).out
    assert call("work", run, "--tasks", "scene").out == "scene: done before\n"
    content = bytearray(fields.image.read_bytes())
    content[-1] ^= 1
    fields.image.write_bytes(bytes(content))
    assert "was changed since its plan was made" in call("status", run).sentence


def test_the_plan_is_made_once_for_all_tasks_of_a_process(call, run, monkeypatch):
    from hypercover.experiment import run as runs

    made, make_plan = [], runs.make_plan

    def counting(experiment):
        made.append(experiment)
        return make_plan(experiment)

    monkeypatch.setattr(runs, "make_plan", counting)
    assert call("work", run, "--tasks", "scene,split-main-0,view").code == 0
    assert len(made) == 1


def test_a_task_that_prints_nothing_leaves_one_file(call, run):
    names = ("scene", "split-main-0", "train-main-0-svm", "view")
    assert call("work", run, "--tasks", ",".join(names)).code == 0
    left = {path.name for path in (run / "tasks").iterdir()} - {
        "inputs.json",
        "lock",
        "plan.json",
    }
    assert left == {f"{name}.json" for name in names}
