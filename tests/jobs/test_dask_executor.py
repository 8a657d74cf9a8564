"""Running plans on Dask: real schedulers, real workers, and what befalls them."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from pbs_double import pbs_double
from threadpoolctl import threadpool_info, threadpool_limits

from hypercover.cli.options import choose_executor
from hypercover.errors import CallError, ModelError, RunError
from hypercover.jobs import dask_executor
from hypercover.jobs.dask_executor import DaskExecutor
from hypercover.jobs.executor import InProcessExecutor, TaskState
from hypercover.jobs.local import LocalExecutor, thread_limits
from hypercover.jobs.plan import Plan, Task
from hypercover.jobs.resources import JobResources
from hypercover.jobs.runner import run_plan


def squares(registry, count=3, pause=0.0):
    """A plan of some squares and their sum."""
    tasks = [Task(f"s{n}", "square", {"number": n, "pause": pause}) for n in range(count)]
    names = [task.name for task in tasks]
    return Plan((*tasks, Task("sum", "total", {"parts": names}, tuple(names))), registry)


def one(registry, function, **arguments):
    return Plan((Task("only", function, arguments),), registry)


@pytest.fixture(scope="module")
def registry(shared_tasks):
    return shared_tasks


@pytest.fixture(scope="module")
def cluster(registry):
    """Two workers of this machine, shared by the tests of this file."""
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0", silence_logs=50
    ) as started:
        yield started


@pytest.fixture
def executor(cluster):
    return DaskExecutor(cluster.scheduler_address)


def test_results_come_back_and_are_kept(tmp_path, registry, executor, marks):
    plan = squares(registry, 6)
    here = run_plan(plan, tmp_path / "here", InProcessExecutor())
    assert run_plan(plan, tmp_path / "dask", executor) == here
    events = []
    assert run_plan(plan, tmp_path / "dask", executor, progress=events.append) == here
    assert {event.what for event in events} == {"kept"}
    assert all(marks(tmp_path / "dask")[f"square {n}"] == 1 for n in range(6))


def test_a_failure_stops_only_its_own(tmp_path, registry, executor):
    plan = Plan(
        (
            Task("bad", "fall"),
            Task("after", "total", {"parts": []}, ("bad",)),
            Task("good", "square", {"number": 3}),
        ),
        registry,
    )
    events = []
    with pytest.raises(RunError, match=r"1 task failed.*bad: KeyError: 'no such"):
        run_plan(plan, tmp_path, executor, progress=events.append)
    ends = {event.task: event.what for event in events}
    assert ends == {"bad": "failed", "after": "skipped", "good": "done"}
    assert "in fall" in executor.logs(plan.task("bad"))
    with pytest.raises(ModelError, match="The model is wrong; train it again"):
        run_plan(one(registry, "refuse"), tmp_path / "other", executor)


def test_a_worker_prints_into_the_log_of_its_task(tmp_path, registry, executor):
    plan = one(registry, "environment")
    run_plan(plan, tmp_path, executor)
    assert executor.logs(plan.task("only")) == "printed by python\nprinted by a child\n"


def test_one_hears_how_far_a_task_is(tmp_path, registry, executor):
    events = []
    run_plan(one(registry, "steps"), tmp_path, executor, progress=events.append)
    assert events[0].what == "started"
    said = [event.message for event in events if event.what == "progress"]
    assert said
    assert set(said) <= {"step 1", "step 2", "step 3"}


def test_a_task_whose_worker_dies_is_done_on_another(tmp_path, registry, executor, marks):
    results = run_plan(one(registry, "die", times=1), tmp_path, executor)
    assert results == {"only": "alive"}
    assert marks(tmp_path)["died"] == 2


def test_a_task_taken_back_ends_where_it_is(tmp_path, registry, executor):
    plan = one(registry, "steps")
    plan.save(tmp_path)
    task = plan.task("only")
    executor.open(plan, tmp_path, lambda *_said: None)
    try:
        executor.submit(task)
        while executor.state(task) is TaskState.WAITING:
            assert executor.wait(0.1) == []
        executor.cancel(task)
        assert executor.wait(5.0) == [task]
        assert executor.state(task) is TaskState.CANCELLED
        time.sleep(1.5)
    finally:
        executor.close()
    assert not list((tmp_path / "tasks").glob("only.json"))
    assert not list((tmp_path / "tasks").glob("only.error"))


def test_a_scheduler_file_is_as_good_as_an_address(tmp_path, registry, cluster):
    file = tmp_path / "scheduler.json"
    file.write_text(f'{{"address": "{cluster.scheduler_address}"}}')
    assert (
        run_plan(squares(registry), tmp_path / "run", DaskExecutor(str(file)))["sum"] == 5
    )


def test_workers_of_this_machine_share_its_cores(tmp_path, registry, monkeypatch):
    monkeypatch.setattr("hypercover.jobs.dask_executor.cores", lambda: 6)
    tasks = [Task(f"t{n}", "environment") for n in range(4)]
    before = dict(os.environ)
    results = run_plan(Plan(tuple(tasks), registry), tmp_path, DaskExecutor(workers=2))
    assert {found["threads"] for found in results.values()} == {"3"}
    assert os.getpid() not in {found["pid"] for found in results.values()}
    changed = dict(os.environ).items() ^ before.items()
    assert {name for name, _ in changed} <= {"__DASK_PARENT_PID"}


def test_a_worker_is_held_to_the_threads_it_has(monkeypatch):
    for name in thread_limits(1):
        monkeypatch.setenv(name, "7")
    # What is changed in this process is set back for the tests that follow.
    with threadpool_limits(1):
        dask_executor._pin(3)
        held = {library["num_threads"] for library in threadpool_info()}
    assert os.environ["OMP_NUM_THREADS"] == "3"
    assert held <= {3}


def test_another_user_runs_no_code_on_the_workers_of_this_machine(
    tmp_path, registry, cluster, intruded
):
    """Dask runs what it is sent as whoever started it, and any user reaches its port."""
    plan = squares(registry)
    plan.save(tmp_path)
    executor = DaskExecutor(workers=1)
    executor.open(plan, tmp_path, lambda *_said: None)
    try:
        address = executor._client.scheduler.address
        assert address.startswith("tls://127.0.0.1:")
        plain = address.replace("tls:", "tcp:")
        # The intruder knows how: a cluster without keys runs the code.
        tried = intruded(cluster.scheduler_address, address, plain)
        assert tried == ["0", *["refused"] * 5]
    finally:
        executor.close()


def test_a_worker_that_sees_no_run_folder_or_another_version_says_so(tmp_path):
    from importlib.metadata import version

    own = version("hypercover")
    assert "0.0.0" in dask_executor._unfit(tmp_path, "0.0.0", "tcp://a:1")
    said = dask_executor._unfit(tmp_path / "none", own, "tcp://a:1")
    assert said.startswith("The Dask worker tcp://a:1 cannot write to the run folder")
    Plan((), registry).save(tmp_path)
    assert dask_executor._unfit(tmp_path, own, "tcp://a:1") is None


def settings_of(where, resources, logs):
    """What is asked for the job of a worker that has the cores of its resources."""
    executor = DaskExecutor(where, resources=resources)
    executor._folder = logs
    return executor._job_settings(where, resources.cpus, logs)


@pytest.mark.parametrize(
    ("where", "spec"),
    [
        ("slurm", {"job_cpu": 3}),
        ("pbs-pro", {"resource_spec": "select=1:ncpus=3:mem=2147483648B"}),
        ("pbs-torque", {"resource_spec": "nodes=1:ppn=3,mem=2147483648B"}),
    ],
)
def test_a_job_of_a_worker_asks_for_what_is_resources(tmp_path, where, spec):
    import dask_jobqueue

    resources = JobResources(
        partition="fast",
        account="a1",
        time="2h",
        cpus=3,
        memory="2GiB",
        modules=["cuda/12"],
        directives=["--constraint=k80"],
    )
    asked = settings_of(where, resources, tmp_path)
    assert asked.items() >= spec.items()
    job = getattr(dask_jobqueue, dask_executor.BATCH_CLUSTERS[where]).job_cls
    own = {name: value for name, value in asked.items() if name != "scheduler_options"}
    script = job(scheduler="tcp://127.0.0.1:1", name="w", **own).job_script()
    for said in ("fast", "a1", "02:00:00", "load_module cuda/12", "--constraint=k80"):
        assert said in script
    assert "--nthreads 1" in script
    assert "None" not in script
    bare = settings_of(where, JobResources(), tmp_path)
    assert not {"queue", "account", "walltime"} & set(bare)


def test_a_batch_system_that_is_not_there_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CallError, match="qsub is not on the PATH"):
        choose_executor(None, dask="pbs-torque")


def test_a_run_ends_where_no_worker_can_do_it(tmp_path, registry, executor, monkeypatch):
    monkeypatch.setattr("hypercover.jobs.dask_executor.version", lambda _name: "0.0.0")
    with pytest.raises(CallError, match=r"has hypercover .*, but the run needs 0\.0\.0"):
        run_plan(squares(registry), tmp_path, executor)


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("tcp://127.0.0.1:9", "No Dask scheduler answers at tcp://127.0.0.1:9"),
        ("nonsense://x", "No Dask scheduler answers at nonsense://x"),
        ("/nowhere/scheduler.json", "There is no scheduler file /nowhere/scheduler.json"),
    ],
)
def test_a_scheduler_that_does_not_answer_is_one_sentence(
    tmp_path, registry, where, said, monkeypatch
):
    monkeypatch.setattr("hypercover.jobs.dask_executor._CONNECT", 1.0)
    prepared = []
    with pytest.raises(CallError, match=said):
        run_plan(
            squares(registry),
            tmp_path,
            DaskExecutor(where),
            prepare=lambda: prepared.append(1),
        )
    assert not prepared


def test_the_executor_is_chosen_by_words():
    assert choose_executor(None) is None
    assert isinstance(choose_executor("inprocess"), InProcessExecutor)
    assert choose_executor("local", workers=3).workers == 3
    assert isinstance(choose_executor("local"), LocalExecutor)
    assert choose_executor("dask", workers=3).workers == 3
    for asked, said in (
        ({"kind": "ray"}, "no executor 'ray'"),
        ({"kind": "local", "dask": "tcp://a:1"}, "leave out one"),
        ({"kind": "inprocess", "workers": 2}, "one task at a time"),
    ):
        with pytest.raises(CallError, match=said):
            choose_executor(**asked)


_RUN = """
import sys
from hypercover.jobs.dask_executor import DaskExecutor
from hypercover.jobs.plan import Plan
from hypercover.jobs.plan import Registry
from hypercover.jobs.runner import run_plan
if __name__ == "__main__":
    folder, *where = sys.argv[1:]
    print(run_plan(Plan.load(folder, Registry.at("trial_tasks:REGISTRY")), folder, DaskExecutor(*where, workers=2)))
"""


def started(plan, folder, *where):
    """Begin a run in a process of its own."""
    plan.save(folder)
    script = folder / "run.py"
    script.write_text(_RUN)
    return subprocess.Popen(
        [sys.executable, str(script), str(folder), *where],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def until(condition, seconds=30.0):
    """Wait until something is true; fail if it does not come true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


def members(session):
    """List the processes of a session that are alive."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _, _, own = stat.read_text().rsplit(")", 1)[1].split()[:4]
            if own == str(session) and state != "Z":
                found.append(int(stat.parent.name))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_run_ended_on_the_way_goes_on_and_nobody_outlives_it(
    tmp_path, registry, marks, number
):
    plan = squares(registry, 8, pause=0.4)
    run = started(plan, tmp_path)
    until(lambda: list((tmp_path / "tasks").glob("s[0-9].json")))
    run.send_signal(number)
    run.communicate(timeout=300)
    assert run.returncode != 0
    until(lambda: not members(run.pid), seconds=10)
    finished = {path.stem for path in (tmp_path / "tasks").glob("s[0-9].json")}
    assert 0 < len(finished) < 8
    assert run_plan(plan, tmp_path, InProcessExecutor())["sum"] == 140
    assert all(marks(tmp_path)[f"begun {name[1:]}"] == 1 for name in finished)


@pytest.mark.slow
def test_a_task_that_kills_every_worker_fails_alone(tmp_path, registry, executor):
    plan = Plan(
        (
            Task("bad", "die", {"times": 99}),
            Task("good", "square", {"number": 3}),
        ),
        registry,
    )
    with pytest.raises(RunError, match=r"bad: The workers it was on ended 4 times; see"):
        run_plan(plan, tmp_path, executor)
    assert (tmp_path / "tasks" / "good.json").exists()
    assert executor.logs(plan.task("bad")).count("last words") == 4


@pytest.mark.slow
def test_a_scheduler_that_is_lost_ends_the_run_in_a_sentence(tmp_path, registry, marks):
    dask = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--port", "0"]
    file = tmp_path / "scheduler.json"
    words = ["--scheduler-file", str(file), "--no-dashboard", "--host", "127.0.0.1"]
    scheduler = subprocess.Popen([*dask, *words], stderr=subprocess.DEVNULL)
    worker = [sys.executable, "-m", "distributed.cli.dask_worker", "--nthreads", "1"]
    until(file.exists)
    serving = subprocess.Popen(
        [*worker, "--scheduler-file", str(file), "--no-dashboard"],
        stderr=subprocess.DEVNULL,
        cwd=tmp_path,
    )
    folder = tmp_path / "run"
    plan = squares(registry, 6, pause=1.0)
    try:
        run = started(plan, folder, str(file))
        until(lambda: list((folder / "tasks").glob("s[0-9].json")))
        scheduler.kill()
        _, said = run.communicate(timeout=300)
        assert "was lost; finished tasks are kept" in said
    finally:
        for process in (scheduler, serving):
            process.kill()
            process.wait()
    finished = {path.stem for path in (folder / "tasks").glob("s[0-9].json")}
    assert run_plan(plan, folder, InProcessExecutor())["sum"] == 55
    assert all(marks(folder)[f"square {name[1:]}"] == 1 for name in finished)


@pytest.fixture(params=["torque", pytest.param("pro", marks=pytest.mark.slow)])
def pbs(request, monkeypatch):
    """A stand-in for PBS; what Slurm makes of workers is in ``test_dask_slurm.py``."""
    for name in ("_JOBS_POLL", "_ADAPT", "_POLL"):
        monkeypatch.setattr(dask_executor, name, 0.2)
    with (
        TemporaryDirectory(prefix="pbs-") as home,
        pbs_double(Path(home) / "d", request.param) as double,
    ):
        monkeypatch.setenv("PATH", double.path)
        yield double


def on(pbs, **wishes):
    """Return an executor whose one worker is a job of PBS."""
    where = f"pbs-{pbs.dialect}"
    settings = {"interface": "lo"}
    resources = JobResources(**wishes)
    return DaskExecutor(
        where, workers=1, memory="1GiB", resources=resources, settings=settings
    )


def test_another_user_runs_no_code_on_workers_of_a_batch_system(
    tmp_path, registry, intruded, pbs
):
    plan = squares(registry)
    plan.save(tmp_path)
    executor = on(pbs)
    executor.open(plan, tmp_path, lambda *_said: None)
    try:
        keys = list((tmp_path / "tasks" / "dask").glob(".dask-jobqueue.worker.*"))
        assert len(keys) == 3
        assert {path.stat().st_mode & 0o777 for path in keys} == {0o600}
        address = executor._client.scheduler.address
        assert intruded(address) == ["refused", "refused"]
        task = plan.task("s2")
        executor.submit(task)
        until(lambda: executor.wait(1.0) or executor.state(task) is TaskState.DONE, 60.0)
        assert executor.state(task) is TaskState.DONE
    finally:
        executor.close()
    assert not list((tmp_path / "tasks" / "dask").glob(".dask-jobqueue.worker.*"))


def test_workers_whose_jobs_end_at_once_are_asked_for_three_times(tmp_path, registry, pbs):
    """dask-jobqueue would wait for them for ever."""
    said = (
        rf"3 jobs of Dask's workers on pbs-{pbs.dialect} ended one after another before any "
        r"did a task; the last, 3, printed: .*the module Nope cannot be loaded on .*; its "
        rf"log is in {tmp_path}/tasks/dask\."
    )
    with pytest.raises(RunError, match=said):
        run_plan(squares(registry), tmp_path, on(pbs, modules=["Nope"]))
    assert [words[0] for words in pbs.calls].count("qsub") == 3
    assert pbs.left() == []


@pytest.mark.slow
def test_workers_whose_jobs_are_refused_are_asked_for_three_times(tmp_path, registry, pbs):
    pbs.refused = lambda _script: True
    said = r"qsub repeatedly refuses the jobs .* \(qsub: would exceed the limit of jobs of a user\);"
    with pytest.raises(RunError, match=said):
        run_plan(squares(registry), tmp_path, on(pbs))
    # Dask asks by itself and may be on its way once more when the third is counted.
    assert 3 <= [words[0] for words in pbs.calls].count("qsub") <= 5


@pytest.mark.slow
def test_a_worker_whose_job_ended_once_is_sent_again(tmp_path, registry, pbs, monkeypatch):
    broken = tmp_path / "broken"
    broken.touch()
    lines = [f"[ ! -e {broken} ] || {{ rm {broken}; exit 1; }}"]
    monkeypatch.setattr(dask_executor, "module_lines", lambda _modules: lines)
    assert run_plan(squares(registry), tmp_path, on(pbs))["sum"] == 5
    assert len(pbs.begun) == 2


def test_a_folder_that_a_job_of_dask_cannot_name_is_refused(tmp_path):
    with pytest.raises(CallError, match="Dask's jobs cannot name a folder with spaces"):
        dask_executor._key_folder(tmp_path / "a b")


@pytest.mark.parametrize(
    ("wishes", "slurm", "torque", "pro"),
    [
        ({"memory": "none"}, None, "nodes=1:ppn=2", "select=1:ncpus=2"),
        (
            {"memory_per_cpu": "1GiB"},
            "--mem-per-cpu=1024M",
            "nodes=1:ppn=2,mem=2147483648B",
            "select=1:ncpus=2:mem=2147483648B",
        ),
    ],
)
def test_memory_of_workers_can_be_left_out_or_asked_for_by_the_core(
    tmp_path, wishes, slurm, torque, pro
):
    resources = JobResources(cpus=2, **wishes)
    asked = settings_of("slurm", resources, tmp_path)
    assert asked["job_directives_skip"] == ["--mem="]
    assert [line for line in asked.get("job_extra_directives", []) if "mem" in line] == (
        [slurm] if slurm else []
    )
    for where, spec in (("pbs-torque", torque), ("pbs-pro", pro)):
        assert settings_of(where, resources, tmp_path)["resource_spec"] == spec
