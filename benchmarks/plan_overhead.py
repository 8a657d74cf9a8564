"""What a plan itself costs: a thousand trivial tasks, done by each executor.

A task does nothing, and one more task needs them all.  The
time from an empty folder to the last result, over the number of tasks, is the
cost of one: its place in the plan, its fingerprint, its result written beside
itself, synced and renamed, and its share of starting the processes.  Beside it
stands what the synced files alone cost on this disk.

With ``--experiment`` an experiment of so many tasks is planned instead, and every
tenth left open: the processor time of what a process of ``hypercover work`` does once
(finding and checking the plan), of what it does before each task, and of what
``hypercover status`` does; Python's own start is left out.

    python benchmarks/plan_overhead.py [--tasks 1000] [--rounds 3] [--executors here local dask]
    python benchmarks/plan_overhead.py --experiment --tasks 10000

Medians over the rounds.  The last line is the bound (5 ms locally, 10 ms on Dask, its
cluster started and ended) over the cost of a task, where that is least: above 1 all
bounds are kept.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from unittest.mock import patch

import numpy as np
import yaml

from hypercover.experiment.config.experiment_file import load_experiment
from hypercover.experiment.run import PreparedRun, load_prepared, prepare
from hypercover.experiment.tasks.experiment_plan import make_plan
from hypercover.files import write_json
from hypercover.jobs.dask_executor import DaskExecutor
from hypercover.jobs.executor import Executor, InProcessExecutor
from hypercover.jobs.local import LocalExecutor
from hypercover.jobs.plan import Plan, Registry, Task, TaskKind
from hypercover.jobs.runner import run_plan
from hypercover.jobs.task_files import TaskFiles, TaskRecord
from hypercover.jobs.task_status import task_statuses

EXECUTORS: Mapping[str, Callable[[], Executor]] = {
    "here": InProcessExecutor,
    "local": lambda: LocalExecutor(2, threads=1),
    "dask": lambda: DaskExecutor(workers=2, threads=1),
}
"""Who does the tasks, by name: another executor is one more line."""
BOUNDS = {"here": 5.0, "local": 5.0, "dask": 10.0}
"""Milliseconds that a task may cost each."""


def nothing(_folder: Path) -> None:
    """Do what costs next to nothing."""


REGISTRY = Registry(
    "plan_overhead:REGISTRY", {"nothing": TaskKind("plan_overhead:nothing")}
)
"""The kinds of task here, which the processes that do them find beside this file."""


def plan_of(count: int) -> Plan:
    """Return a plan of so many trivial tasks, and one that needs them all."""
    names = [f"t{number:05d}" for number in range(count)]
    tasks = [Task(name, "nothing", key=name) for name in names]
    return Plan((*tasks, Task("last", "nothing", needs=tuple(names))), REGISTRY)


def cost(executor: Executor, count: int) -> float:
    """Return the milliseconds that a task of a plan costs."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        done = run_plan(plan_of(count), folder, executor)
        seconds = time.perf_counter() - began
    if len(done) != count + 1:
        raise SystemExit("not all tasks were done")
    return 1e3 * seconds / len(done)


def cost_of_files(count: int) -> float:
    """Return the milliseconds of writing a small file so that it is whole."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        for number in range(count):
            write_json(Path(folder) / f"{number}.json", {"number": number})
        return 1e3 * (time.perf_counter() - began) / count


def experiment_of(count: int, home: Path) -> Path:
    """Write an experiment of about so many tasks and a scene for it; return its path."""
    np.save(home / "cube.npy", np.random.default_rng(0).normal(size=(4, 12, 12)))
    np.save(home / "labels.npy", np.repeat([1, 2], 72).reshape(12, 12).astype(np.uint8))
    document = {
        "name": "plan",
        "scene": {"path": "cube.npy", "labels": "labels.npy"},
        "split": {"kind": "random"},
        "models": {f"svm-{number}": {"kind": "svm"} for number in range(9)},
        "repeats": max(1, min(1000, count // 10)),
        "map": False,
    }
    path = home / "plan.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def cost_of_looking(count: int) -> tuple[int, float, float, float]:
    """Return the tasks of an experiment, and the processor seconds of looking at them.

    Once a process, before each task, and for the standing of all.
    """
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder, "run")
        experiment = load_experiment(experiment_of(count, Path(folder)))
        plan = make_plan(experiment)
        prepare(PreparedRun(experiment, plan, run, search=False))
        # How long a disk takes to hold them for certain is measured above.
        with patch("os.fsync"):
            for number, task in enumerate(plan.tasks):
                if number % 10:
                    record = TaskRecord(plan.fingerprints[task.name], {}, 1.0, "host", 1)
                    TaskFiles(run, task.name).write_record(record)
        began = time.process_time()
        found = load_prepared(run)
        once = time.process_time() - began
        began = time.process_time()
        for _ in range(100):
            found.check()
        each = (time.process_time() - began) / 100
        began = time.process_time()
        task_statuses(found.plan, run, None, None)
        return len(plan.tasks), once, each, time.process_time() - began


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--executors", nargs="+", choices=list(EXECUTORS), default=list(EXECUTORS)
    )
    parser.add_argument("--experiment", action="store_true")
    given = parser.parse_args()
    if given.experiment:
        rounds = [cost_of_looking(given.tasks) for _ in range(given.rounds)]
        once, each, standing = (median(one[at] for one in rounds) for at in (1, 2, 3))
        print(
            f"{rounds[0][0]} tasks: {once:.2f} s once a process, {1e3 * each:.2f} ms before"
        )
        print(f"each task, {once + standing:.2f} s for status (processor time)")
        return
    here, known = str(Path(__file__).resolve().parent), os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = here if known is None else f"{here}{os.pathsep}{known}"
    files = median(cost_of_files(given.tasks) for _ in range(given.rounds))
    print(f"files alone: {files:.2f} ms each")
    found = {}
    for name in given.executors:
        found[name] = median(
            cost(EXECUTORS[name](), given.tasks) for _ in range(given.rounds)
        )
        print(f"{name}: {found[name]:.2f} ms a task (bound {BOUNDS[name]:.0f})")
    print(f"ratio: {min(BOUNDS[name] / found[name] for name in found):.2f}")


if __name__ == "__main__":
    main()
