"""Run folders of strangers: nothing in them chooses what code runs, and each is refused in a sentence."""

import hashlib
import json
from pathlib import Path

import pytest

from hypercover.experiment.task_kinds import REGISTRY
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
            **old, function="hypercover.jobs.batch:asked", arguments=asked(mark)
        ),
        "a function that writes a file": task(
            **old, function="hypercover.files:write_text", arguments={"text": "x"}
        ),
        "a function for a kind": task(kind="hypercover.jobs.batch:asked", arguments=asked(mark)),
        "its bare name": task(kind="asked", arguments=asked(mark)),
        "a dunder": task(kind="__class__"),
        "more arguments": task(
            arguments={"model": "svm", "split": "main", "seed": 0, "path": str(mark)}
        ),
        "a path for a model": task(arguments={"model": str(mark), "split": "main", "seed": 0}),
        "a way out": task(kind="make_features", arguments={"name": "../../x"}),
        "a text for a number": task(arguments={"model": "svm", "split": "main", "seed": "0"}),
        "a list for arguments": task(arguments=["touch", str(mark)]),
        "a path for a name": task(name="../../x"),
        "another key": task(shell=f"touch {mark}"),
        "a very long kind": task(kind="x" * 10**6),
    }  # fmt: skip


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
def test_a_hostile_plan_runs_nothing(call, run, version, tmp_path, capsys):
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
        assert worker([REGISTRY.home, str(run), "a"]) == 2
        assert capsys.readouterr().err.count("\n") == 1
        assert everything(run) == before, what
    assert not mark.exists()
