"""The submission of a plan to a batch system: job arrays, their scripts and their jobs.

The folder ``jobs/`` of a run holds ``NAME.sh`` and ``NAME.tasks`` of each array, the output
of its elements, and ``submission.json``.  Users may read a script, change it and submit it
by hand.
"""

import math
import os
import re
import shlex
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from textwrap import dedent
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hypercover.errors import CallError, HypercoverError, RunError, first_fault
from hypercover.files import make_folder, write_json, write_text
from hypercover.jobs import batch_system
from hypercover.jobs.batch_system import SYSTEMS, ArrayKind, BatchSystem, JobArray
from hypercover.jobs.executor import TaskState
from hypercover.jobs.plan import Plan, Registry
from hypercover.jobs.resources import JobResources, warning_seconds
from hypercover.jobs.runner import folder_lock
from hypercover.jobs.task_files import TaskFiles, read_json

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
        step = 1 if kind == "ranks" else chunk
        elements = _elements(list(level), seconds, step, limit)
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
    names: list[str], seconds: Mapping[str, float], step: int | None, limit: float
) -> Elements:
    """Fill elements with tasks, by number or up to some minutes of work."""
    if step is not None:
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
    scheduler: batch_system.SystemName
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


_FILE = "submission.json"
_TOO_MANY = re.compile(r"array|limit|exceed|too many|maximum", re.IGNORECASE)
"""Found in complaints of a system that accepts no more elements or jobs."""
_MAX_BYTES = 2**26
_CANCEL_TIMEOUT = 120.0
"""Seconds in which cancelled jobs must end: they may leave a checkpoint."""
_REPEAT = 40.0
"""Seconds after which running jobs are cancelled again."""
_TRIES, _CHECKS = 5, 3
"""Times that a waiting job is deleted, and checks after each whether it is gone."""
_POLL = 0.5
"""Seconds between checks whether cancelled jobs have ended."""
_SETTLED = 5.0
"""Seconds after which an empty file remains empty."""

_Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]{0,200}$")]


class SentArray(BaseModel):
    """A job array that was submitted."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: _Name
    """Name of the array and its files."""
    job: Annotated[str, Field(pattern=r"^\d{1,12}(\[\])?(\.[A-Za-z0-9._-]{1,200})?$")]
    """Number of its job."""
    elements: tuple[tuple[_Name, ...], ...]
    """Names of the tasks of each element."""


class Submission(BaseModel):
    """The last submission of a run folder."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    format: Literal["hypercover-submission"] = "hypercover-submission"
    version: Literal[1] = 1
    scheduler: batch_system.SystemName
    """Name of the batch system."""
    resources: Annotated[JobResources, Field(alias="wanted")]
    """Resources of each element."""
    arrays: tuple[SentArray, ...] = ()
    """The arrays in the order of their submission."""
    cancelled: bool = False
    """Whether its jobs were cancelled."""

    @property
    def system(self) -> BatchSystem:
        """The batch system."""
        return SYSTEMS[self.scheduler]

    @property
    def jobs(self) -> list[str]:
        """Numbers of the jobs."""
        return [array.job for array in self.arrays]

    def save(self, folder: Path) -> None:
        """Write ``submission.json`` into a run folder."""
        write_json(
            scripts_folder(folder) / _FILE, self.model_dump(mode="json", by_alias=True)
        )

    @classmethod
    def load(cls, folder: Path) -> "Submission | None":
        """Read the last submission of a run folder; None if there is none.

        Raises
        ------
        CallError
            If the file is damaged.
        """
        path = scripts_folder(folder) / _FILE
        if not path.exists():
            return None
        if path.stat().st_size > _MAX_BYTES:
            raise CallError(f"{path} is too large to be a submission; remove it.")
        try:
            return cls.model_validate(read_json(path))
        except ValidationError as error:
            raise CallError(
                f"{path} is damaged ({first_fault(error)}); remove it after cancelling the jobs by "
                "hand."
            ) from None

    def own_jobs(self, folder: Path) -> tuple[list[str], list[str]]:
        """Return the active jobs that were submitted from a folder, and those that were not.

        Numbers in a file from elsewhere, or from a cluster that restarted its count, may
        belong to other jobs of the same user.

        Raises
        ------
        CallError
            If the batch system cannot be queried here.
        RunError
            If it does not answer.
        """
        paths = self.system.job_paths(self.jobs)
        place = scripts_folder(folder).resolve()
        # Queried last, so that a job that ended meanwhile is in neither list.
        busy = self.system.active_jobs(self.jobs)

        def is_own(job: str) -> bool:
            return any(path.resolve().is_relative_to(place) for path in paths.get(job, ()))

        return [job for job in busy if is_own(job)], [
            job for job in busy if not is_own(job)
        ]

    def cancel_jobs(self, jobs: Sequence[str]) -> None:
        """Cancel jobs, and wait until none of them waits or runs.

        Raises
        ------
        RunError
            If some still do after two minutes.
        """
        system, left = self.system, list(jobs)
        sizes = {array.job: len(array.elements) for array in self.arrays}
        end = time.monotonic() + _CANCEL_TIMEOUT
        complaint = ""
        while left and time.monotonic() < end:
            try:
                # The last job first, as the end of a job lets others begin.
                for job in reversed(left):
                    complaint = _delete(system, job, sizes[job]) or complaint
                pause = min(end, time.monotonic() + _REPEAT)
                while (left := system.active_jobs(left)) and time.monotonic() < pause:
                    time.sleep(_POLL)
            except RunError as error:
                complaint = f" ({str(error).partition(';')[0]})"
        if left:
            verb = "still waits or runs" if len(left) == 1 else "still wait or run"
            raise RunError(
                f"{', '.join(left)} {verb} after being cancelled{complaint}; call cancel again, or "
                "ask the administrators of the cluster."
            )

    def remove_empty_output(self, folder: Path) -> None:
        """Remove the empty files that a batch system leaves next to the output of elements."""
        before = time.time() - _SETTLED
        for pattern in self.system.empty_files:
            for path in scripts_folder(folder).glob(pattern):
                with suppress(OSError):
                    facts = path.stat()
                    if facts.st_size == 0 and facts.st_mtime < before:
                        path.unlink()


def _delete(system: BatchSystem, job: str, elements: int) -> str:
    """Delete a job until none of it waits; return the complaint of the system, if any.

    A busy server may accept a deletion and not do it.
    """
    complaint = ""
    for _ in range(_TRIES):
        try:
            system.cancel(job, elements)
        except CallError as error:
            complaint = f" ({str(error).rstrip('.')})"
        for _ in range(_CHECKS):
            # Torque may hang if deletions follow each other without a pause.
            time.sleep(_POLL)
            if not system.active_jobs([job], [TaskState.WAITING]):
                return complaint
    return complaint


def check_idle(folder: Path, registry: Registry) -> None:
    """Refuse a folder that has active jobs, or may have some.

    Raises
    ------
    CallError
    """
    submission = Submission.load(folder)
    if submission is None or not submission.jobs:
        return
    try:
        busy = submission.system.active_jobs(submission.jobs)
    except HypercoverError as error:
        if _is_done(submission, folder, registry):
            return
        raise CallError(
            f"Jobs were submitted from {folder} to {submission.scheduler}, and it is unknown "
            f"whether they still run ({str(error.args[-1]).partition(';')[0]}); call this on "
            f"the cluster, or remove {scripts_folder(folder) / _FILE} if they ended."
        ) from None
    if busy:
        raise CallError(
            f"The jobs {', '.join(busy)} are still active in {folder}; wait until they end, or "
            f"call hypercover cancel {shlex.quote(str(folder))}."
        )


def _is_done(submission: Submission, folder: Path, registry: Registry) -> bool:
    """Tell whether all submitted tasks are done, so that no query is needed."""
    try:
        prints = Plan.load(folder, registry).fingerprints
    except CallError:
        return False
    return all(
        name in prints and TaskFiles(folder, name).read_record(prints[name])
        for name in _tasks_of(submission.arrays)
    )


def _tasks_of(arrays: Iterable[JobArray | SentArray]) -> Iterator[str]:
    return (name for array in arrays for names in array.elements for name in names)


def write_scripts(batch: ArrayBatch) -> list[Path]:
    """Write the scripts of job arrays and the tasks of their elements.

    Raises
    ------
    CallError
        If the batch system cannot provide the resources.
    OutputError
        If they cannot be written.
    """
    place, command = make_folder(scripts_folder(batch.folder)), _command()
    # All of them first: one that is refused must not replace the scripts that are there.
    texts = {array: array_script(batch, array, command) for array in batch.arrays}
    for stale in (*place.glob("[0-9]*.sh"), *place.glob("[0-9]*.tasks")):
        stale.unlink(missing_ok=True)
    for array, text in texts.items():
        write_text(place / f"{array.name}.tasks", task_list(array))
        write_text(place / f"{array.name}.sh", text)
    return [place / f"{array.name}.sh" for array in batch.arrays]


def submit_arrays(batch: ArrayBatch) -> Submission:
    """Write the scripts of job arrays and submit them, each after those it waits for.

    Raises
    ------
    CallError
        If the folder has active jobs, its plan was changed meanwhile, or the batch
        system refuses; then no job is left.
    """
    folder, plan = batch.folder, batch.plan
    with folder_lock(folder):
        check_idle(folder, plan.registry)
        if Plan.load(folder, plan.registry).fingerprints != plan.fingerprints:
            raise CallError(f"The plan in {folder} was changed meanwhile; submit again.")
        write_scripts(batch)
        for name in _tasks_of(batch.arrays):
            TaskFiles(folder, name).forget()
        before = Submission.load(folder)
        sent = Submission(scheduler=batch.scheduler, resources=batch.resources)
        # A busy server takes a minute for a script.  An array that has ended by then is unknown
        # to it, and an array that waits for it is refused, or silently deleted.
        needed = {name for array in batch.arrays for name in array.after}
        held = needed & {array.name for array in batch.arrays if not array.after}
        try:
            for array in _sent(batch, held):
                sent = sent.model_copy(update={"arrays": (*sent.arrays, array)})
                sent.save(folder)
            if held:
                jobs = [array.job for array in sent.arrays if array.name in held]
                batch.system.release(jobs)
        except BaseException as error:
            _roll_back(sent, folder, before, error)
            raise
    return sent


def _sent(batch: ArrayBatch, held: set[str]) -> Iterator[SentArray]:
    """Submit arrays one by one."""
    jobs: dict[str, str] = {}
    for array in batch.arrays:
        after = [jobs[name] for name in array.after]
        script = scripts_folder(batch.folder) / f"{array.name}.sh"
        try:
            jobs[array.name] = batch.system.submit(script, after, hold=array.name in held)
        except CallError as error:
            if len(array.elements) > 1 and _TOO_MANY.search(str(error)):
                raise CallError(
                    f"{str(error).rstrip('.')}; {array.name} has {len(array.elements)} "
                    "elements, and a larger --array-chunk makes fewer."
                ) from None
            raise
        yield SentArray(name=array.name, job=jobs[array.name], elements=array.elements)


def _roll_back(
    sent: Submission, folder: Path, before: Submission | None, cause: BaseException
) -> None:
    """Undo a submission that failed half-way, and restore the record of the previous one.

    Raises
    ------
    RunError
        If jobs are left; status and cancel still know them.
    """
    try:
        sent.cancel_jobs(sent.jobs)
    except HypercoverError as error:
        raise RunError(
            f"{str(cause).rstrip('.')}; of the submitted jobs, {error}"
        ) from cause
    if before is not None:
        before.save(folder)
        return
    (scripts_folder(folder) / _FILE).unlink(missing_ok=True)


def _command() -> list[str]:
    """Return the command line that calls this installation from anywhere."""
    script = Path(sys.executable).with_name("hypercover")
    if script.is_file():
        return [str(script)]
    return [sys.executable, "-P", "-m", "hypercover.cli.main"]
