"""Job arrays: the tasks of a plan in groups, and the shell script of each array.

Users may read a script, change it and submit it by hand.
"""

import math
import os
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from textwrap import dedent

from hypercover.errors import CallError
from hypercover.jobs.batch_system import (
    SYSTEMS,
    ArrayKind,
    BatchSystem,
    JobArray,
    SystemName,
)
from hypercover.jobs.plan import Plan
from hypercover.jobs.resources import JobResources, warning_seconds

MINUTES = 5.0
"""Minutes of work in an element by default: starting one costs seconds."""
_MAX_ELEMENTS = 1000
"""Elements of an array that batch systems accept by default."""
_MAX_EXTRA_ARRAYS = 50
"""Arrays that may be added because an array has too many elements."""

Elements = list[tuple[str, ...]]
"""Names of the tasks of each element."""


def make_job_arrays(
    plan: Plan,
    names: Sequence[str],
    *,
    kinds: Mapping[str, ArrayKind],
    seconds: Mapping[str, float],
    chunk: int | None = None,
    limit: float = math.inf,
    most: int | None = None,
) -> tuple[JobArray, ...]:
    """Sort tasks of a plan into job arrays.

    Tasks that need each other are put into different arrays, unless all of several
    arrays fit into one element, which does them in turn.

    Parameters
    ----------
    names : the missing tasks; other tasks that they need are done
    kinds : kind of each task; ``plain`` by default
    seconds : expected time of each task
    chunk : tasks per element; by default as many as take some minutes
    limit : time limit of an element in seconds
    most : elements that the batch system accepts in an array

    Raises
    ------
    CallError
        If too many arrays were needed.
    """
    depths = plan.depths(set(names))
    levels: list[tuple[ArrayKind, Elements]] = []

    def level_of(name: str) -> tuple[int, ArrayKind]:
        return depths[name], kinds.get(name, "plain")

    for (_, kind), level in groupby(sorted(depths, key=level_of), level_of):
        elements = _elements(list(level), seconds, kind=kind, chunk=chunk, limit=limit)
        last_kind, last = levels[-1] if levels else ("ranks", [])
        # Successive arrays of one element each would run in turn anyway.
        both = (*last[0], *elements[0]) if last else elements[0]
        fits = sum(seconds[name] for name in both) <= limit / 2
        if len(last) == len(elements) == 1 and last_kind == kind != "ranks" and fits:
            levels[-1] = kind, [both]
        else:
            levels.append((kind, elements))
    most = _MAX_ELEMENTS if most is None else most
    split = [
        (kind, elements[at : at + most])
        for kind, elements in levels
        for at in range(0, len(elements), most)
    ]
    if len(split) - len(levels) > _MAX_EXTRA_ARRAYS:
        raise CallError(
            f"{sum(len(elements) for _, elements in levels)} elements would need "
            f"{len(split)} arrays of {most}, the most that the batch system accepts; put more "
            f"tasks into an element with --array-chunk{f', now {chunk}' if chunk else ''}."
        )
    return _named(plan, split)


def _elements(
    names: list[str],
    seconds: Mapping[str, float],
    *,
    kind: ArrayKind,
    chunk: int | None,
    limit: float,
) -> Elements:
    """Fill elements with tasks, by number or up to some minutes of work."""
    if kind == "ranks" or chunk is not None:
        step = 1 if kind == "ranks" else chunk or 1
        return [tuple(names[at : at + step]) for at in range(0, len(names), step)]
    # Half of the limit, as expected times may be wrong.
    most = min(MINUTES * 60, limit / 2)
    while len(elements := list(_filled(names, seconds, most))) > _MAX_ELEMENTS:
        most *= 2
    return elements


def _filled(
    names: Sequence[str], seconds: Mapping[str, float], most: float
) -> Iterator[tuple[str, ...]]:
    """Yield elements that each hold as many tasks as fit into ``most`` seconds."""
    element, total = [names[0]], seconds[names[0]]
    for name in names[1:]:
        if total + seconds[name] > most:
            yield tuple(element)
            element, total = [], 0.0
        element.append(name)
        total += seconds[name]
    yield tuple(element)


def _named(plan: Plan, levels: list[tuple[ArrayKind, Elements]]) -> tuple[JobArray, ...]:
    """Name the arrays, and list for each the arrays it waits for."""
    array_of: dict[str, str] = {}
    made: list[JobArray] = []
    for number, (kind, elements) in enumerate(levels, start=1):
        names = [name for element in elements for name in element]
        title = f"{number}-{names[0].partition('-')[0]}"
        needs = {need for name in names for need in plan.task(name).needs}
        after = {array_of[need] for need in needs if need in array_of}
        made.append(JobArray(title, tuple(elements), kind, tuple(sorted(after))))
        array_of |= dict.fromkeys(names, title)
    if made:
        # The last array reports what failed, so it waits for all others.
        made[-1] = replace(made[-1], after=tuple(array.name for array in made[:-1]))
    return tuple(made)


@dataclass(frozen=True)
class ArrayBatch:
    """Job arrays that are ready to be submitted."""

    plan: Plan
    """The plan whose tasks they do."""
    folder: Path
    """Run folder."""
    title: str
    """Name of the run, for the names of jobs."""
    scheduler: SystemName
    """Name of the batch system."""
    resources: JobResources
    """Resources of each element, with a time limit and memory."""
    arrays: tuple[JobArray, ...]
    """The arrays."""
    processes: int = 1
    """Processes of a machine that train a network together."""

    @property
    def system(self) -> BatchSystem:
        """The batch system."""
        return SYSTEMS[self.scheduler]


_RESTARTS = 3
"""Times that torchrun restarts dead processes."""
_GRACE = 30
"""Seconds a task has to stop if there is no time limit."""


def scripts_folder(folder: Path) -> Path:
    """Return the folder of a run's scripts and of the output of elements."""
    return folder / "jobs"


def current_umask() -> str:
    """Return the umask of this process as four octal digits."""
    # It can only be read by setting it: to a strict one, for that moment.
    mask = os.umask(0o077)
    os.umask(mask)
    return f"{mask:04o}"


def task_list(array: JobArray) -> str:
    """Return a line for each element: its tasks, separated by commas."""
    return "".join(f"{','.join(element)}\n" for element in array.elements)


def array_script(batch: ArrayBatch, array: JobArray, command: Sequence[str]) -> str:
    """Return the script of an array; ``command`` is the command line of hypercover.

    Raises
    ------
    CallError
        If the batch system cannot provide the resources.
    """
    system, resources = batch.system, batch.resources.share(gpus=array.kind != "plain")
    place, umask = scripts_folder(batch.folder), current_umask()
    waits = f"after the end of {', '.join(array.after)}" if array.after else "at once"
    limit = resources.time
    grace = _GRACE if limit is None else warning_seconds(limit) // 2
    work = f'{shlex.join(command)} work "$folder" --tasks "$tasks"'
    lines = [f"{work} --threads {resources.cpus} --grace {grace} &", "work=$!", "waited"]
    if array.kind == "ranks":
        torchrun = _torchrun(system, resources, batch.processes)
        lines = [*torchrun, 'if [ -n "$tasks" ]; then', *lines, "fi"]
    parts = [
        "#!/bin/bash",
        *system.header(array, resources, batch.title, place, umask),
        "",
        "# Written by hypercover submit. Every element does the tasks in its line of",
        f"# {array.name}.tasks; finished tasks are skipped, so it may run twice.",
        f"# By hand: {system.commands[0]} {array.name}.sh, {waits}.",
        "# The umask of the submitter: that of PBS would hide the results from others.",
        f"umask {umask}",
        f"folder={shlex.quote(str(batch.folder))}",
        f"scripts={shlex.quote(str(place))}",
        f"element={system.element}",
        f'tasks=$(sed -n "${{element}}p" "$scripts/{array.name}.tasks")',
        *_output(array, system),
        'echo "$(date) on $(hostname): $tasks"',
        *module_lines(resources.modules),
        "",
        _STOPPING,
        *lines,
        *([_REQUEUE.format(requeue=system.requeue)] if system.requeue else []),
        'exit "$code"',
    ]
    return "\n".join(parts) + "\n"


def _output(array: JobArray, system: BatchSystem) -> Iterator[str]:
    """Yield the lines that print into a file that can be read at once, as Slurm does by itself.

    An array of one element that others precede also removes the empty files that the
    system leaves for them.
    """
    if system.name != "slurm":
        yield f'exec >>"$scripts/{array.name}-$element.out" 2>&1'
    if len(array.elements) == 1 and array.after and system.empty_files:
        names = " -o ".join(f"-name {shlex.quote(name)}" for name in system.empty_files)
        yield f'find "$scripts" -maxdepth 1 -type f -empty \\( {names} \\) -delete'


def module_lines(modules: Sequence[str]) -> list[str]:
    """Return the lines that load environment modules, or end the job if one fails.

    Old versions of ``module`` return 0 on failure, so the loaded modules are checked too.
    """
    if not modules:
        return []
    return [*_LOADING.splitlines(), *(f"load_module {module}" for module in modules)]


_LOADING = dedent("""\
    load_module() {
        before=${LOADEDMODULES-}
        if module load "$1"; then
            [ -n "${LOADEDMODULES+set}" ] || return 0
            [ "$LOADEDMODULES" = "$before" ] || return 0
            case ":$LOADEDMODULES:" in *":$1:"* | *":$1/"*) return 0 ;; esac
        fi
        echo "hypercover: the module $1 cannot be loaded on $(hostname), so nothing is done;" \\
            "name another with --module." >&2
        exit 1
    }
    """)

_STOPPING = dedent("""\
    # On USR1 (the time limit is near) or TERM the work leaves a checkpoint.
    reason=
    trap 'reason=limit; kill -TERM "$work" 2>/dev/null' USR1
    trap 'reason=end; echo "Told to end (SIGTERM)."; kill -TERM "$work" 2>/dev/null' TERM
    waited() {
        wait "$work"; code=$?
        while [ "$code" -gt 128 ] && kill -0 "$work" 2>/dev/null; do
            wait "$work"; code=$?
        done
    }
    """)

_REQUEUE = """\
# 143: the signal came before the work began.
if [ "$reason" = limit ] && {{ [ "$code" = 75 ] || [ "$code" = 143 ]; }}; then
    echo "Stopped before the time limit; requeued to resume."
    {requeue}
fi"""


def _torchrun(system: BatchSystem, resources: JobResources, processes: int) -> list[str]:
    """Return the lines that first train a network in several processes."""
    start, rendezvous, meeting = "", "", "--standalone"
    if system.name == "slurm":
        start, rendezvous = f"srun --cpus-per-task={resources.cpus} ", _RENDEZVOUS
        meeting = (
            f'--nnodes={resources.nodes} --rdzv-id="$SLURM_JOB_ID" --rdzv-backend=c10d '
            '--rdzv-endpoint="$host:$port"'
        )
    count = f"--nproc-per-node={processes} --max-restarts={_RESTARTS}"
    python = shlex.quote(sys.executable)
    return [
        "# Several processes train the network; the rest is done afterwards.",
        f"export OMP_NUM_THREADS={max(1, resources.cpus // processes)} PYTHONSAFEPATH=1",
        "# Without it a killed process is often not restarted (pytorch issue 135712).",
        "export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1",
        *rendezvous.splitlines(),
        f"{start}{python} -m torch.distributed.run {meeting} {count} \\",
        '    -m hypercover.experiment.tasks.rank "$folder" "$tasks" &',
        "work=$!",
        "waited",
        '[ "$code" = 0 ] || [ -z "$reason" ] || code=75',
        '[ "$code" = 0 ] || tasks=',
    ]


_RENDEZVOUS = """\
first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
host=$(scontrol -o show node "$first" | grep -o 'NodeAddr=[^ ]*' | cut -d= -f2)
port=$((20000 + SLURM_JOB_ID % 20000))
"""
"""The rendezvous of the processes on all machines, at an address that Slurm knows."""
