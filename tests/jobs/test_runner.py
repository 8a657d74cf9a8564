"""Running plans: each task once, in order, wherever it runs and whatever happens."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from hypercover.errors import CallError, ModelError, OutputError, RunError
from hypercover.jobs.executor import InProcessExecutor, TaskState
from hypercover.jobs.local import LocalExecutor, cores
from hypercover.jobs.plan import Plan, Task
from hypercover.jobs.runner import run_plan
from hypercover.jobs.task_files import Failure, result_of
from hypercover.jobs.worker import main as worker


@pytest.fixture(params=[InProcessExecutor, lambda: LocalExecutor(2)], ids=["here", "local"])
def executor(request):
    return request.param()


def squares(registry, count=3, pause=0.0, key=""):
    """A plan of some squares and their sum."""
    tasks = [
        Task(f"s{n}", "square", {"number": n, "pause": pause}, key=key)
        for n in range(count)
    ]
    names = [task.name for task in tasks]
    return Plan((*tasks, Task("sum", "total", {"parts": names}, tuple(names))), registry)


def one(registry, function, **arguments):
    return Plan((Task("only", function, arguments),), registry)


def test_results_come_back_by_name(tmp_path, trial_tasks, executor):
    results = run_plan(squares(trial_tasks), tmp_path, executor)
    assert results == {"s0": {"value": 0}, "s1": {"value": 1}, "s2": {"value": 4}, "sum": 5}
    assert result_of(tmp_path, "sum") == 5


@pytest.mark.parametrize("executor", [InProcessExecutor(), LocalExecutor(1)])
def test_of_ready_tasks_the_first_of_the_plan_is_begun(tmp_path, trial_tasks, executor):
    """What the first task made ready goes before another that was ready all along."""
    number = {"number": 1, "pause": 0.0}
    tasks = (
        Task("first", "square", number),
        Task("second", "square", number, ("first",)),
        Task("third", "square", number, ("second",)),
        Task("last", "square", number),
    )
    done = []

    def watch(event):
        if event.what == "done":
            done.append(event.task)

    run_plan(Plan(tasks, trial_tasks), tmp_path, executor, progress=watch)
    assert done == ["first", "second", "third", "last"]


def test_done_tasks_are_not_done_again(tmp_path, trial_tasks, executor, marks):
    plan = squares(trial_tasks)
    first = run_plan(plan, tmp_path, executor)
    events = []
    assert run_plan(plan, tmp_path, executor, progress=events.append) == first
    assert [event.what for event in events] == ["kept"] * 4
    assert marks(tmp_path)["square 2"] == 1


def test_only_what_changed_is_done_again(tmp_path, trial_tasks, marks):
    executor = InProcessExecutor()
    run_plan(squares(trial_tasks, 3), tmp_path, executor)
    longer = squares(trial_tasks, 4)
    assert run_plan(longer, tmp_path, executor)["sum"] == 14
    assert marks(tmp_path)["square 2"] == 1
    run_plan(squares(trial_tasks, 4, key="new"), tmp_path, executor)
    assert marks(tmp_path)["square 2"] == 2


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"fingerprint": "x"}', "null"])
def test_a_damaged_result_is_made_again(tmp_path, trial_tasks, marks, damage):
    plan = squares(trial_tasks)
    run_plan(plan, tmp_path, InProcessExecutor())
    (tmp_path / "tasks" / "s1.json").write_text(damage)
    assert run_plan(plan, tmp_path, InProcessExecutor())["sum"] == 5
    assert marks(tmp_path) == {
        f"{w} {n}": 1 + (n == 1) for n in range(3) for w in ("begun", "square")
    }


def test_a_failure_stops_only_its_own(tmp_path, trial_tasks, executor):
    plan = Plan(
        (
            Task("bad", "fall"),
            Task("after", "total", {"parts": []}, ("bad",)),
            Task("later", "total", {"parts": []}, ("after",)),
            Task("good", "square", {"number": 3}),
        ),
        trial_tasks,
    )
    events = []
    with pytest.raises(RunError, match=r"1 task failed.*bad: KeyError: 'no such"):
        run_plan(plan, tmp_path, executor, progress=events.append)
    assert result_of(tmp_path, "good") == {"value": 9}
    ends = {e.task: e.what for e in events}
    assert ends == {"bad": "failed", "after": "skipped", "later": "skipped", "good": "done"}
    report = json.loads((tmp_path / "tasks" / "bad.error").read_text())
    assert "in fall" in report["trace"]
    assert "in fall" in executor.logs(plan.task("bad"))


def test_an_error_raised_on_purpose_keeps_its_type(tmp_path, trial_tasks, executor):
    with pytest.raises(ModelError, match="The model") as refused:
        run_plan(one(trial_tasks, "refuse"), tmp_path, executor)
    assert str(refused.value) == "The model is wrong; train it again."
    assert refused.value.__notes__ == ["only: The model is wrong; train it again."]
    with pytest.raises(OutputError) as caught:
        run_plan(one(trial_tasks, "full"), tmp_path, executor)
    assert caught.value.errno == 28
    assert caught.value.strerror == "Cannot write x: the disk is full."


def test_a_failure_of_a_stranger_is_an_error_of_this_package_or_a_failed_run():
    """Its kind is the name of a type in `errors`, and never of anything else there."""
    for kind in ("counted", "SceneError2", "__doc__"):
        assert type(Failure(kind, "x", errno=5).error()) is RunError
    assert type(Failure("ModelError", "x").error()) is ModelError


def test_purpose_and_accident_together_are_a_failed_run(tmp_path, trial_tasks):
    plan = Plan((Task("a", "refuse"), Task("b", "fall")), trial_tasks)
    with pytest.raises(
        RunError, match=r"2 tasks failed.*a: The model is wrong.*b: KeyError"
    ):
        run_plan(plan, tmp_path, InProcessExecutor())


def test_a_mended_task_loses_its_error(tmp_path, trial_tasks, executor):
    with pytest.raises(ModelError):
        run_plan(one(trial_tasks, "refuse"), tmp_path, executor)
    assert run_plan(one(trial_tasks, "square", number=2), tmp_path, executor)
    assert not (tmp_path / "tasks" / "only.error").exists()


def test_a_result_that_is_not_plain_is_a_failure(tmp_path, trial_tasks, executor):
    with pytest.raises(RunError, match="not JSON serializable"):
        run_plan(one(trial_tasks, "not_plain"), tmp_path, executor)
    assert not (tmp_path / "tasks" / "only.json").exists()


def test_a_result_that_cannot_be_written_is_a_failure(tmp_path, trial_tasks, executor):
    (tmp_path / "tasks" / "only.json").mkdir(parents=True)
    with pytest.raises(OutputError, match=r"Cannot write .*only\.json"):
        run_plan(one(trial_tasks, "square", number=1), tmp_path, executor)


def test_a_thousand_tasks_are_all_done_and_kept(tmp_path, trial_tasks):
    tasks = tuple(Task(f"t{n}", "total", {"parts": []}, key=str(n)) for n in range(1000))
    events = []
    for _ in range(2):
        run_plan(
            Plan(tasks, trial_tasks), tmp_path, InProcessExecutor(), progress=events.append
        )
    assert [event.what for event in events].count("done") == 1000
    assert [event.what for event in events].count("kept") == 1000


def test_threads_are_pinned_and_output_is_kept(tmp_path, trial_tasks):
    executor = LocalExecutor(2)
    tasks = [Task(f"t{n}", "environment", key=str(n)) for n in range(2)]
    for width in (1, 2):
        results = run_plan(
            Plan(tuple(tasks[:width]), trial_tasks), tmp_path / str(width), executor
        )
        assert results["t0"]["threads"] == str(max(1, cores() // width))
    assert results["t0"]["pid"] != os.getpid()
    said = executor.logs(tasks[0]).splitlines()
    assert {"printed by python", "printed by a child"} <= set(said)


def test_a_process_serves_many_tasks(tmp_path, trial_tasks):
    tasks = tuple(Task(f"t{n}", "environment", key=str(n)) for n in range(6))
    results = run_plan(Plan(tasks, trial_tasks), tmp_path, LocalExecutor(1))
    assert len({result["pid"] for result in results.values()}) == 1


def test_tasks_run_side_by_side(tmp_path, trial_tasks):
    """Two tasks of 1.5 s that run one after the other would take 3 s."""
    tasks = tuple(Task(f"t{n}", "square", {"number": n, "pause": 1.5}) for n in range(2))
    run_plan(Plan(tasks, trial_tasks), tmp_path, LocalExecutor(2))
    lines = (tmp_path / "marks").read_text().splitlines()
    assert {line.split()[0] for line in lines[:2]} == {"begun"}


def test_tasks_can_tell_how_far_they_are(tmp_path, trial_tasks, executor):
    events = []
    run_plan(one(trial_tasks, "steps"), tmp_path, executor, progress=events.append)
    shares = [event.share for event in events]
    assert events[0].what == "started"
    assert events[-1].what == "done"
    assert events[-1].done == 1.0
    assert shares == sorted(shares)
    told = [event for event in events if event.what == "progress" and event.message]
    assert told
    assert told[-1].message.startswith("step ")
    assert all(event.seconds_left >= 0 for event in told if event.share > 0)
    assert not (tmp_path / "tasks" / "only.progress").exists()


def test_a_killed_process_costs_one_more_try(tmp_path, trial_tasks, marks):
    events = []
    plan = one(trial_tasks, "die", times=1)
    results = run_plan(plan, tmp_path, LocalExecutor(1), progress=events.append)
    assert results == {"only": "alive"}
    assert marks(tmp_path)["died"] == 2
    assert any("SIGKILL; trying again" in event.message for event in events)


def test_a_task_that_always_kills_its_process_fails(tmp_path, trial_tasks, marks):
    plan = Plan(
        (
            Task("only", "die", {"times": 99}),
            Task("good", "square", {"number": 3}),
        ),
        trial_tasks,
    )
    with pytest.raises(RunError, match="SIGKILL 2 times"):
        run_plan(plan, tmp_path, LocalExecutor(1))
    assert marks(tmp_path)["died"] == 2
    assert (
        "last words" in json.loads((tmp_path / "tasks" / "only.error").read_text())["trace"]
    )
    assert result_of(tmp_path, "good") == {"value": 9}


def test_a_worker_that_cannot_start_is_reported(tmp_path, trial_tasks, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(RunError, match="exit code 1"):
        run_plan(one(trial_tasks, "square", number=1), tmp_path, LocalExecutor(1))


def test_tasks_cannot_read_the_names_meant_for_their_process(tmp_path, trial_tasks):
    with pytest.raises(RunError, match="EOFError"):
        run_plan(one(trial_tasks, "listening"), tmp_path, LocalExecutor(1))


@pytest.mark.parametrize("make", [InProcessExecutor, lambda: LocalExecutor(1)])
def test_tasks_can_be_taken_back(tmp_path, trial_tasks, make, marks):
    plan = squares(trial_tasks, 2, pause=0.0 if make is InProcessExecutor else 60.0)
    plan.save(tmp_path)
    executor = make()
    executor.open(plan, tmp_path, lambda *event: None)
    first, second = plan.task("s0"), plan.task("s1")
    executor.submit(first)
    executor.submit(second)
    executor.cancel(second)
    if make is not InProcessExecutor:
        executor.wait(0.1)
        while not marks(tmp_path)["begun 0"]:
            executor.wait(0.1)
        executor.cancel(first)
        executor.wait(0.1)
        assert executor.state(first) is TaskState.CANCELLED
    assert executor.state(second) is TaskState.CANCELLED
    executor.close()
    assert not (tmp_path / "tasks" / "s1.json").exists()


def test_a_second_run_is_kept_out(tmp_path, trial_tasks):
    plan = one(trial_tasks, "square", number=1, pause=3)
    first = threading.Thread(target=run_plan, args=(plan, tmp_path, LocalExecutor(1)))
    first.start()
    while not (tmp_path / "marks").exists():
        time.sleep(0.02)
    with pytest.raises(
        CallError, match=rf"Another run is active .*process {os.getpid()} on"
    ):
        run_plan(plan, tmp_path, InProcessExecutor())
    first.join()
    assert run_plan(plan, tmp_path, InProcessExecutor()) == {"only": {"value": 1}}


def test_a_folder_that_cannot_be_written_is_named(tmp_path, trial_tasks):
    (tmp_path / "run").write_text("a file")
    with pytest.raises(OutputError, match="Cannot write"):
        run_plan(squares(trial_tasks), tmp_path / "run", InProcessExecutor())


def test_at_least_one_worker():
    with pytest.raises(CallError, match="at least 1, got 0"):
        LocalExecutor(0)


_RUN = """
import sys
from hypercover.jobs.local import LocalExecutor
from hypercover.jobs.plan import Plan
from hypercover.jobs.plan import Registry
from hypercover.jobs.runner import run_plan
folder = sys.argv[1]
print(run_plan(Plan.load(folder, Registry.at("trial_tasks:REGISTRY")), folder, LocalExecutor(2)))
"""


def started(plan: Plan, folder: Path) -> subprocess.Popen:
    plan.save(folder)
    return subprocess.Popen(
        [sys.executable, "-c", _RUN, str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def until(condition, seconds=20.0):
    """Wait until something is true; fail if it does not come true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_run_ended_on_the_way_goes_on(tmp_path, trial_tasks, marks, number):
    plan = squares(trial_tasks, 8, pause=0.3)
    undisturbed = run_plan(squares(trial_tasks, 8), tmp_path / "other", InProcessExecutor())
    folder = tmp_path / "run"
    run = started(plan, folder)
    until(lambda: marks(folder)["square 2"])
    run.send_signal(number)
    run.communicate(timeout=120)
    assert run.returncode != 0
    time.sleep(0.5)
    finished = {path.stem for path in (folder / "tasks").glob("s[0-9].json")}
    assert 0 < len(finished) < 8
    assert run_plan(plan, folder, LocalExecutor(2)) == undisturbed
    counts = marks(folder)
    assert all(counts[f"begun {name[1:]}"] == 1 for name in finished)
    assert not list((folder / "tasks").glob(".*part*"))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_nobody_outlives_the_run(tmp_path, trial_tasks, number):
    run = started(one(trial_tasks, "with_child", pause=300), tmp_path)
    until((tmp_path / "pids").exists)
    until(lambda: (tmp_path / "pids").read_text())
    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    assert all(alive(pid) for pid in pids)
    run.send_signal(number)
    run.communicate(timeout=120)
    until(lambda: not any(alive(pid) for pid in pids))


def test_tasks_may_tidy_up_on_ctrl_c(tmp_path, trial_tasks, marks):
    run = started(one(trial_tasks, "tidy", pause=300), tmp_path)
    until(lambda: marks(tmp_path)["begun"])
    run.send_signal(signal.SIGINT)
    run.communicate(timeout=120)
    assert marks(tmp_path)["tidied"] == 1


def test_a_worker_that_is_called_wrongly_says_so(tmp_path, trial_tasks, capsys):
    squares(trial_tasks).save(tmp_path)
    assert worker([]) == 2
    assert worker(["os:system", str(tmp_path)]) == 2
    assert "'os:system' is not a registry of tasks" in capsys.readouterr().err
    assert worker([trial_tasks.home, str(tmp_path / "none")]) == 2
    assert "There is no plan" in capsys.readouterr().err


def test_a_result_that_is_not_there_is_named(tmp_path):
    with pytest.raises(RunError, match="sum has no result"):
        result_of(tmp_path, "sum")


def test_the_worker_imports_little():
    """What a worker costs before it works is Python's own start."""
    code = (
        "import sys, hypercover.jobs.worker, hypercover.jobs.runner, hypercover.jobs.local;"
        "print([m for m in ('numpy', 'torch', 'rasterio', 'sklearn', 'xarray') if m in sys.modules])"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert out.stdout.strip() == "[]"
