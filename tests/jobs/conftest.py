"""Trivial tasks, for this process and for those it starts."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from hypercover.jobs.plan import Registry

_TASKS = '''
"""Tasks that leave a mark each time they are done."""
import os, signal, time
from pathlib import Path
from hypercover.errors import ModelError, OutputError
from hypercover.jobs.task_files import result_of
from hypercover.jobs.plan import Arguments, Registry, TaskKind

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
    from hypercover.stopping import Stopped, stop_requested
    _mark(folder, "begun")
    while not stop_requested():
        time.sleep(0.02)
    raise Stopped

def listening(folder):
    return input()


class Square(Arguments):
    number: int = 0
    pause: float = 0.0

class Total(Arguments):
    parts: list[str] = []

class Times(Arguments):
    times: int

class Pause(Arguments):
    pause: float

def _kinds(arguments, *functions):
    return {each.__name__: TaskKind(f"trial_tasks:{each.__name__}", arguments) for each in functions}

REGISTRY = Registry(
    "trial_tasks:REGISTRY",
    _kinds(Square, square)
    | _kinds(Total, total)
    | _kinds(Times, die)
    | _kinds(Pause, with_child, tidy)
    | _kinds(Arguments, environment, fall, refuse, full, not_plain, steps, stopping, listening),
)
'''


def _install(home: Path, monkeypatch) -> Registry:
    """Put a module of trivial tasks where every process finds it; return its registry."""
    (home / "trial_tasks.py").write_text(_TASKS)
    monkeypatch.setenv(
        "PYTHONPATH", str(home) + os.pathsep + os.environ.get("PYTHONPATH", "")
    )
    monkeypatch.syspath_prepend(str(home))
    monkeypatch.delitem(sys.modules, "trial_tasks", raising=False)
    return Registry.at("trial_tasks:REGISTRY")


@pytest.fixture
def trial_tasks(tmp_path_factory, monkeypatch) -> Registry:
    """Trivial tasks that every process finds."""
    return _install(tmp_path_factory.mktemp("tasks"), monkeypatch)


@pytest.fixture(scope="module")
def shared_tasks(tmp_path_factory):
    """The same for all tests of a file, whose processes outlive a test."""
    with pytest.MonkeyPatch.context() as patch:
        yield _install(tmp_path_factory.mktemp("tasks"), patch)


_INTRUDER = """
import os, sys
from distributed import Client, Security
own = Security.temporary()
os.setgid(65534)
os.setuid(65534)
for address in sys.argv[1:]:
    for keys in (None, own):
        # Each in a process of its own: one that is refused leaves Dask half alive.
        if child := os.fork():
            os.waitpid(child, 0)
            continue
        try:
            client = Client(address, security=keys, timeout=1)
            print(client.submit(os.getuid).result(timeout=5), flush=True)
        except Exception as error:
            print("refused", flush=True)
        os._exit(0)
"""
"""Another user of the machine, without keys and then with keys of their own."""


@pytest.fixture
def intruded():
    """Say what comes of running code at Dask schedulers as another user, twice at each."""
    if os.getuid() != 0:
        pytest.skip("NO OTHER USER WAS TRIED ON DASK: only root can become one")

    def tried(*addresses: str) -> list[str]:
        words = [sys.executable, "-c", _INTRUDER, *addresses]
        done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60)
        return done.stdout.split()

    return tried


@pytest.fixture
def marks():
    """Count the marks that tasks left in a run folder."""

    def count(folder: Path) -> Counter[str]:
        path = folder / "marks"
        return Counter(path.read_text().splitlines() if path.exists() else [])

    return count
