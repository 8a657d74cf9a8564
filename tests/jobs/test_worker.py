"""Some tasks one after another: done once, failures named, stopped where they can go on."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hypercover import stopping
from hypercover.errors import CallError, RunError
from hypercover.jobs.plan import Plan, Task
from hypercover.jobs.task_files import TaskFiles, result_of
from hypercover.jobs.worker import do_tasks
from hypercover.stopping import Stopped


@pytest.fixture
def done(tmp_path):
    """Do tasks of a plan in a folder; return the lines that are said."""

    def call(plan, *names, **options):
        plan.save(tmp_path)
        call.said = said = []
        do_tasks(plan, tmp_path, names, threads=1, say=said.append, **options)
        return said

    return call


@pytest.fixture
def warned(monkeypatch):
    """Ask to stop after some seconds, and forget it in the end."""
    import threading

    monkeypatch.setattr(stopping, "_requested", threading.Event())
    timers = []

    def after(seconds):
        timers.append(threading.Timer(seconds, stopping.request_stop))
        timers[-1].start()

    yield after
    for timer in timers:
        timer.cancel()


def chain(registry):
    """A task, one that needs it, one that fails, and one that needs the failing one."""
    return Plan(
        (
            Task("a", "square", {"number": 2}),
            Task("b", "total", {"parts": ["a"]}, ("a",)),
            Task("bad", "fall"),
            Task("after", "total", {"parts": []}, ("bad", "b")),
            Task("last", "total", {"parts": []}, ("after",)),
        ),
        registry,
    )


def test_tasks_are_done_in_order_and_once(tmp_path, trial_tasks, done, marks):
    plan = chain(trial_tasks)
    assert done(plan, "b", "a") == ["a: done", "b: done"]
    assert result_of(tmp_path, "b") == 4
    assert done(plan, "a", "b") == ["a: done before", "b: done before"]
    assert marks(tmp_path)["square 2"] == 1


def test_a_failure_is_named_with_its_log_and_the_rest_is_done(tmp_path, trial_tasks, done):
    with pytest.raises(RunError, match="Not done: bad, after, last; the lines above"):
        done(chain(trial_tasks), "a", "b", "bad", "after", "last")
    assert result_of(tmp_path, "b") == 4
    log = TaskFiles(tmp_path, "bad").log
    failed = f"failed (KeyError: 'no such\\nthing'; see {log})"
    assert done.said == [
        "a: done",
        f"bad: {failed}",
        "b: done",
        f"after: waits for bad, which {failed}",
        f"last: waits for bad, which {failed}",
    ]
    assert "in fall" in log.read_text()


def test_needs_that_nobody_did_are_named(trial_tasks, done):
    with pytest.raises(RunError, match=r"last waits for .*bad, which has no result yet"):
        done(chain(trial_tasks), "last")


def test_an_unknown_task_is_refused(trial_tasks, done):
    with pytest.raises(CallError, match="no task 'zzz'"):
        done(chain(trial_tasks), "a", "zzz")
    assert done.said == []


def test_a_process_that_dies_is_tried_again(tmp_path, trial_tasks, done, marks):
    plan = Plan((Task("only", "die", {"times": 1}),), trial_tasks)
    assert done(plan, "only") == ["only: done"]
    assert marks(tmp_path)["died"] == 2


def test_work_that_does_not_stop_by_itself_is_ended(tmp_path, trial_tasks, done, warned):
    plan = Plan((Task("only", "square", {"number": 1, "pause": 60}),), trial_tasks)
    warned(1.0)
    began = time.monotonic()
    with pytest.raises(Stopped):
        done(plan, "only", grace=0.5)
    assert time.monotonic() - began < 20
    assert not TaskFiles(tmp_path, "only").failure.exists()


def test_work_that_ends_within_the_grace_is_kept(trial_tasks, done, warned):
    plan = Plan((Task("only", "square", {"number": 1, "pause": 4.0}),), trial_tasks)
    warned(2.0)
    assert done(plan, "only", grace=60.0) == ["only: done"]


def test_work_that_gets_no_further_is_given_up(tmp_path, trial_tasks, done, warned):
    """Else it would be sent back for ever."""
    plan = Plan((Task("only", "square", {"number": 1, "pause": 60}),), trial_tasks)
    warned(0.0)
    for _ in range(2):
        with pytest.raises(Stopped):
            done(plan, "only", grace=0.0)
    with pytest.raises(RunError, match="makes no progress within the time limit"):
        done(plan, "only", grace=0.0)
    assert "--time" in TaskFiles(tmp_path, "only").read_failure().message


_COPY = """
import sys
from hypercover.jobs.plan import Plan, Registry
from hypercover.jobs.worker import do_tasks
plan = Plan.load(sys.argv[1], Registry.at("trial_tasks:REGISTRY"))
do_tasks(plan, sys.argv[1], ["only"], threads=1, say=print)
"""


def test_a_second_copy_does_no_harm(tmp_path, trial_tasks):
    """After the death of a machine its copy of the work runs on beside the new one."""
    plan = Plan((Task("only", "square", {"number": 3, "pause": 1.0}),), trial_tasks)
    plan.save(tmp_path)
    call = [sys.executable, "-c", _COPY, str(tmp_path)]
    both = [subprocess.Popen(call, env=os.environ) for _ in range(2)]
    assert [one.wait(60) for one in both] == [0, 0]
    found = json.loads((tmp_path / "tasks" / "only.json").read_text())
    assert found["result"] == {"value": 9}
    assert not list(Path(tmp_path).rglob("*.part*"))


def test_a_worker_told_to_stop_says_that_it_can_go_on(tmp_path, trial_tasks):
    plan = Plan((Task("only", "stopping"),), trial_tasks)
    plan.save(tmp_path)
    call = [sys.executable, "-m", "hypercover.jobs.worker", trial_tasks.home, str(tmp_path)]
    process = subprocess.Popen(call, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    process.stdin.write(b"only\n")
    process.stdin.flush()
    give_up = time.monotonic() + 300
    while not (tmp_path / "marks").exists():
        assert time.monotonic() < give_up
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=300) == 75
    process.communicate()
    assert not (tmp_path / "tasks" / "only.error").exists()
