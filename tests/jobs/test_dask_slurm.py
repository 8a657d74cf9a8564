"""Dask's workers as jobs of a real Slurm, killed in every way: all results arrive."""

import os
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from hypercover.errors import RunError
from hypercover.jobs.dask_executor import DaskExecutor
from hypercover.jobs.plan import Plan, Task
from hypercover.jobs.resources import JobResources
from hypercover.jobs.runner import run_plan
from hypercover.jobs.task_files import TaskFiles

pytestmark = pytest.mark.slow
COUNT = 12


@pytest.fixture
def cluster(slurm, shared_tasks, monkeypatch):
    """The Slurm, as those see it who send jobs from here."""
    for name, value in slurm.environment.items():
        monkeypatch.setenv(name, value)
    yield slurm
    slurm.call("scancel", "--partition", "main")
    slurm.wait(lambda: not slurm.call("squeue", "-h", "-t", "running,pending"))
    for node in ("n1", "n2"):
        with suppress(AssertionError):
            slurm.call("scontrol", "update", f"NodeName={node}", "State=RESUME")


def plan_of(registry):
    tasks = [Task(f"s{n}", "square", {"number": n, "pause": 0.4}) for n in range(COUNT)]
    names = tuple(task.name for task in tasks)
    return Plan((*tasks, Task("sum", "total", {"parts": list(names)}, names)), registry)


def workers(count, **wishes):
    return DaskExecutor(
        "slurm",
        workers=count,
        memory="400MiB",
        resources=JobResources(partition="main", cpus=2, time="10min", **wishes),
        settings={"interface": "lo"},
    )


def a_worker(plan, folder):
    """Return the process of a worker that has done a task."""
    for task in plan.tasks:
        record = TaskFiles(folder, task.name).read_record(plan.fingerprints[task.name])
        if record is not None:
            return record.pid
    return None


def parent_of(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])


def job_of(pid):
    facts = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return next(fact[13:].decode() for fact in facts if fact.startswith(b"SLURM_JOB_ID="))


def processes_of(job):
    """List the processes of a job."""
    wanted, found = f"SLURM_JOB_ID={job}".encode(), []
    for facts in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if wanted in facts.read_bytes().split(b"\0"):
                found.append(int(facts.parent.name))
    return found


def cancel_job(slurm, pid):
    slurm.call("scancel", job_of(pid))


def kill_worker(_slurm, pid):
    os.kill(pid, signal.SIGKILL)


def kill_nanny(_slurm, pid):
    os.kill(parent_of(pid), signal.SIGKILL)


def lose_node(slurm, pid):
    """End the daemon of the node and all of the job, as if it had lost its power."""
    job = job_of(pid)
    slurm.kill_node(slurm.call("squeue", "-h", "-j", job, "-o", "%N").strip())
    for process in processes_of(job):
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


@pytest.mark.parametrize("count", [1, 2], ids=["alone", "of two"])
@pytest.mark.parametrize("strike", [cancel_job, kill_worker, kill_nanny, lose_node])
def test_every_result_arrives_once_whoever_dies(
    cluster, shared_tasks, tmp_path, marks, strike, count
):
    """Alone, the worker must be replaced, or nothing would arrive any more."""
    plan, struck = plan_of(shared_tasks), []

    def disturb():
        end = time.monotonic() + 60
        while (pid := a_worker(plan, tmp_path)) is None and time.monotonic() < end:
            time.sleep(0.05)
        struck.append(pid)
        strike(cluster, pid)

    beside = threading.Thread(target=disturb)
    beside.start()
    ended = []
    results = run_plan(
        plan,
        tmp_path,
        workers(count),
        progress=lambda event: ended.append(event.task) if event.what == "done" else None,
    )
    beside.join()
    assert struck != [None]
    assert results["sum"] == sum(n * n for n in range(COUNT))
    assert sorted(ended) == sorted(task.name for task in plan.tasks)
    done = marks(tmp_path)
    again = [n for n in range(COUNT) if done[f"begun {n}"] > 1]
    assert len(again) <= 2, "more than the worker's own task was done again"
    if strike is lose_node:
        for node in ("n1", "n2"):
            with suppress(AssertionError):
                cluster.start_node(node)
    cluster.wait(lambda: not cluster.call("squeue", "-h", "-t", "running,pending"), 60)


def test_workers_whose_jobs_end_at_once_are_asked_for_three_times(
    cluster, shared_tasks, tmp_path, monkeypatch
):
    monkeypatch.setattr("hypercover.jobs.dask_executor._JOBS_POLL", 1.0)
    said = (
        r"3 jobs of Dask's workers on slurm ended one after another before any did a task; "
        r"the last, \d+, printed: .*the module Nope cannot be loaded on "
    )
    with pytest.raises(RunError, match=said):
        run_plan(plan_of(shared_tasks), tmp_path, workers(1, modules=["Nope"]))


def test_another_user_runs_no_code_on_the_workers(
    cluster, shared_tasks, tmp_path, intruded
):
    plan, executor = plan_of(shared_tasks), workers(1)
    plan.save(tmp_path)
    executor.open(plan, tmp_path, lambda *_said: None)
    try:
        address = executor._client.scheduler.address
        assert intruded(address) == ["refused", "refused"]
    finally:
        executor.close()
    assert run_plan(plan, tmp_path, workers(1))["sum"] == sum(n * n for n in range(COUNT))
