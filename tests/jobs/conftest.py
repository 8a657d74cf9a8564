"""Trivial tasks inside the package, for this process and for those it starts."""

import os
from collections import Counter
from pathlib import Path

import pytest

import hypercover

_TASKS = '''
"""Tasks that leave a mark each time they are done."""
import json, os, signal, time
from pathlib import Path
from hypercover.errors import ModelError, OutputError
from hypercover.jobs.record import result_of

def _mark(folder, what):
    with open(Path(folder) / "marks", "a") as marks:
        marks.write(what + "\\n")

def square(folder, number, pause=0.0):
    _mark(folder, f"begun {number}")
    time.sleep(pause)
    _mark(folder, f"square {number}")
    return {"value": number * number}

def total(folder, parts):
    return sum(result_of(folder, part)["value"] for part in parts)

def environment(folder):
    print("printed by python")
    os.system("echo printed by a child")
    return {"threads": os.environ.get("OMP_NUM_THREADS"), "pid": os.getpid()}

def fall(folder):
    raise KeyError("no such\\nthing")

def refuse(folder):
    raise ModelError("The model is wrong; train it again.")

def full(folder):
    raise OutputError(28, "Cannot write x: the disk is full.")

def not_plain(folder):
    return {"value": object()}

def die(folder, times):
    _mark(folder, "died")
    if (Path(folder) / "marks").read_text().count("died") <= times:
        print("last words", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    return "alive"

def steps(folder, report):
    for step in range(4):
        report(step / 4, f"step {step}")
        time.sleep(0.3)
    return "done"

def with_child(folder, pause):
    import subprocess
    child = subprocess.Popen(["sleep", str(pause)])
    Path(folder, "pids").write_text(f"{os.getpid()} {child.pid}")
    child.wait()
    return "slept"

def tidy(folder, pause):
    try:
        _mark(folder, "begun")
        time.sleep(pause)
    finally:
        _mark(folder, "tidied")

def stopping(folder):
    from hypercover.stopping import Stopped, stop_asked
    _mark(folder, "begun")
    while not stop_asked():
        time.sleep(0.02)
    raise Stopped

def listening(folder):
    return input()

borrowed = json.dumps
from pathlib import PurePath as pure
from os.path import join as joined
'''


def _install(home: Path, monkeypatch) -> str:
    """Put a module of trivial tasks where every process finds it in the package."""
    (home / "trial_tasks.py").write_text(_TASKS)
    (home / "sitecustomize.py").write_text(
        f"import hypercover\nhypercover.__path__.append({str(home)!r})\n"
    )
    monkeypatch.setenv(
        "PYTHONPATH", str(home) + os.pathsep + os.environ.get("PYTHONPATH", "")
    )
    monkeypatch.setattr(hypercover, "__path__", [*hypercover.__path__, str(home)])
    return "hypercover.trial_tasks"


@pytest.fixture
def trial_tasks(tmp_path_factory, monkeypatch) -> str:
    """Name of a module of trivial tasks that every process finds in the package."""
    return _install(tmp_path_factory.mktemp("tasks"), monkeypatch)


@pytest.fixture(scope="module")
def shared_tasks(tmp_path_factory):
    """The same for all tests of a file, whose processes outlive a test."""
    with pytest.MonkeyPatch.context() as patch:
        yield _install(tmp_path_factory.mktemp("tasks"), patch)


@pytest.fixture
def marks():
    """Count the marks that tasks left in a run folder."""

    def count(folder: Path) -> Counter[str]:
        path = folder / "marks"
        return Counter(path.read_text().splitlines() if path.exists() else [])

    return count
