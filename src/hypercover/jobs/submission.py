"""A plan sent to a batch system: scripts, the numbers of the jobs, and where they stand.

All of it lies in ``jobs/`` of the folder that is worked on: ``NAME.sh`` and
``NAME.tasks`` of each array, what its elements print, and ``submission.json``.
"""

import logging
import re
import shlex
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hypercover.errors import CallError, HypercoverError, RunError
from hypercover.files import make_folder, write_json, write_text
from hypercover.jobs.batch_system import BatchSystem, ElementStates, is_available
from hypercover.jobs.executor import TaskState
from hypercover.jobs.job_arrays import JobArray
from hypercover.jobs.job_script import array_script, current_umask, task_list
from hypercover.jobs.pbs import PBSPro, Torque
from hypercover.jobs.plan import Plan, Registry
from hypercover.jobs.record import TaskFiles, read_json
from hypercover.jobs.resources import JobResources
from hypercover.jobs.runner import folder_lock
from hypercover.jobs.slurm import Slurm

__all__ = [
    "SYSTEMS",
    "SentArray",
    "Submission",
    "active_jobs",
    "cancel_jobs",
    "check_idle",
    "own_jobs",
    "query_states",
    "remove_empty_output",
    "scripts_folder",
    "submit_arrays",
    "write_scripts",
]

SYSTEMS: Mapping[str, BatchSystem] = {
    system.name: system for system in (Slurm(), Torque(), PBSPro())
}
"""The batch systems by the names they have on the command line."""
_FILE = "submission.json"
_log = logging.getLogger(__name__)
_TOO_MANY = re.compile(r"array|limit|exceed|too many|maximum", re.IGNORECASE)
"""In what is said where a system takes no more elements or jobs."""
_BIGGEST = 2**26
_PATIENCE = 120.0
"""Seconds in which jobs that are taken back must end: they may leave a checkpoint."""
_PAUSE = 40.0
"""Seconds after which what runs is told again."""
_TRIES, _LOOKS = 5, 3
"""Times that what waits is deleted, and looks after each whether it is gone."""
_AT_WORK = (TaskState.WAITING, TaskState.RUNNING)
_LOOK = 0.5
"""Seconds between looks whether they did."""
_ENDED = 5.0
"""Seconds after which a file that is empty stays so."""

_Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]{0,200}$")]


class SentArray(BaseModel):
    """A job array as it was sent."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: _Name
    """Name of the array and its files."""
    job: Annotated[str, Field(pattern=r"^\d{1,12}(\[\])?(\.[A-Za-z0-9._-]{1,200})?$")]
    """What the batch system calls it."""
    elements: tuple[tuple[_Name, ...], ...]
    """Names of the tasks of each element."""


class Submission(BaseModel):
    """What was sent last from a folder, and how."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    format: Literal["hypercover-submission"] = "hypercover-submission"
    version: Literal[1] = 1
    scheduler: Literal["slurm", "pbs-torque", "pbs-pro"]
    """Name of the batch system."""
    resources: Annotated[JobResources, Field(alias="wanted")]
    """What each element was given."""
    arrays: tuple[SentArray, ...] = ()
    """The arrays in the order in which they were sent."""
    cancelled: bool = False
    """Whether its jobs were taken back."""

    @property
    def system(self) -> BatchSystem:
        """The batch system."""
        return SYSTEMS[self.scheduler]

    @property
    def jobs(self) -> list[str]:
        """What the batch system calls the arrays."""
        return [array.job for array in self.arrays]

    @property
    def sizes(self) -> dict[str, int]:
        """How many elements each job has."""
        return {array.job: len(array.elements) for array in self.arrays}

    def save(self, folder: Path) -> None:
        """Write it into a folder that is worked on."""
        write_json(
            scripts_folder(folder) / _FILE, self.model_dump(mode="json", by_alias=True)
        )

    @classmethod
    def load(cls, folder: Path) -> "Submission | None":
        """Return what was sent from a folder, if anything was.

        Raises
        ------
        CallError
            If the file is not what was written.
        """
        path = scripts_folder(folder) / _FILE
        if not path.exists():
            return None
        if path.stat().st_size > _BIGGEST:
            raise CallError(f"{path} is too large to be a submission; remove it.")
        try:
            return cls.model_validate(read_json(path))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "the file"
            raise CallError(
                f"{path} is damaged ({where}: {first['msg']}); remove it after cancelling "
                "the jobs by hand."
            ) from None


def scripts_folder(folder: Path) -> Path:
    """Return where the scripts of a folder that is worked on lie."""
    return folder / "jobs"


def query_states(submission: Submission | None) -> ElementStates | None:
    """Say where the elements stand; None where the batch system cannot be asked here."""
    if submission is None or not submission.jobs or not is_available(submission.system):
        return None
    try:
        return submission.system.states(submission.jobs)
    except HypercoverError as error:
        _log.warning("Where the jobs stand is not known: %s", error.args[-1])
        return None


def active_jobs(submission: Submission | None) -> list[str]:
    """Return the jobs that wait or run.

    Raises
    ------
    CallError
        If the batch system cannot be asked here.
    RunError
        If it does not answer.
    """
    if submission is None or not submission.jobs:
        return []
    return _busy(submission.system, submission.jobs)


def _busy(system: BatchSystem, jobs: Sequence[str]) -> list[str]:
    """Return the jobs that wait or run, in their order."""
    busy = {job for job, state in _live(system, jobs) if state in _AT_WORK}
    return [job for job in jobs if job in busy]


def _live(system: BatchSystem, jobs: Sequence[str]) -> Iterator[tuple[str, TaskState]]:
    """Go through the elements of jobs that the system still knows."""
    for (job, _), place in system.states(jobs).items():
        yield job, place.state


def own_jobs(submission: Submission, folder: Path) -> tuple[list[str], list[str]]:
    """Return the jobs that wait or run and come from a folder, and those that do not.

    Numbers in a file that came from elsewhere, or from a cluster that counts anew, may
    be those of other jobs of the same user.

    Raises
    ------
    CallError
        If the batch system cannot be asked here.
    RunError
        If it does not answer.
    """
    known = submission.system.job_paths(submission.jobs)
    place = scripts_folder(folder).resolve()
    # Asked last, so that a job that ended meanwhile is none of either.
    busy = active_jobs(submission)
    own = [
        job
        for job in busy
        if any(
            place in (path, *path.parents) for path in map(Path.resolve, known.get(job, ()))
        )
    ]
    return own, [job for job in busy if job not in own]


def cancel_jobs(submission: Submission, jobs: Sequence[str]) -> None:
    """Take jobs back, and see that none of them waits or runs any more.

    Raises
    ------
    RunError
        If some still do after a while, which are named.
    """
    system, left = submission.system, list(jobs)
    end = time.monotonic() + _PATIENCE
    said = ""
    while left and time.monotonic() < end:
        try:
            # The last first, as the end of a job lets others begin.
            for job in reversed(left):
                said = _take(system, job, submission.sizes[job]) or said
            pause = min(end, time.monotonic() + _PAUSE)
            while (left := _busy(system, left)) and time.monotonic() < pause:
                time.sleep(_LOOK)
        except RunError as error:
            said = f" ({str(error).partition(';')[0]})"
    if left:
        verb = "still waits or runs" if len(left) == 1 else "still wait or run"
        raise RunError(
            f"{', '.join(left)} {verb} after being taken back{said}; call cancel again, or "
            "ask whoever runs the cluster."
        )


def _take(system: BatchSystem, job: str, elements: int) -> str:
    """Delete a job until none of it waits; return what the system refuses, if it does.

    A busy server may accept a deletion and not do it.
    """
    said = ""
    for _ in range(_TRIES):
        try:
            system.cancel(job, elements)
        except CallError as error:
            said = f" ({str(error).rstrip('.')})"
        for _ in range(_LOOKS):
            # Torque may never answer again where deletions follow each other at once.
            time.sleep(_LOOK)
            if (job, TaskState.WAITING) not in _live(system, [job]):
                return said
    return said


def remove_empty_output(submission: Submission | None, folder: Path) -> None:
    """Remove the empty files that a batch system leaves beside what elements print."""
    if submission is None:
        return
    before = time.time() - _ENDED
    for pattern in submission.system.empty_file_patterns():
        for path in scripts_folder(folder).glob(pattern):
            with suppress(OSError):
                facts = path.stat()
                if facts.st_size == 0 and facts.st_mtime < before:
                    path.unlink()


def check_idle(folder: Path, registry: Registry) -> None:
    """Refuse a folder from which jobs are at work, or may be.

    Raises
    ------
    CallError
    """
    submission = Submission.load(folder)
    try:
        busy = active_jobs(submission)
    except HypercoverError as error:
        if submission is None or _is_done(submission, folder, registry):
            return
        raise CallError(
            f"Jobs were sent from {folder} to {submission.scheduler}, and whether they are at "
            f"work is not known ({str(error.args[-1]).partition(';')[0]}); go where it can be "
            f"asked, or remove {scripts_folder(folder) / _FILE} if they ended."
        ) from None
    if busy:
        raise CallError(
            f"The jobs {', '.join(busy)} are at work in {folder}; wait until they end, or "
            f"call hypercover cancel {shlex.quote(str(folder))}."
        )


def _is_done(submission: Submission, folder: Path, registry: Registry) -> bool:
    """Tell whether everything that was sent is done, so that nobody need be asked."""
    try:
        prints = Plan.load(folder, registry).fingerprints
    except CallError:
        return False
    names = (
        name for array in submission.arrays for tasks in array.elements for name in tasks
    )
    return all(
        name in prints and TaskFiles(folder, name).read_record(prints[name])
        for name in names
    )


def write_scripts(
    arrays: Sequence[JobArray],
    system: BatchSystem,
    resources: JobResources,
    *,
    folder: Path,
    processes: int = 1,
    title: str = "hypercover",
) -> list[Path]:
    """Write the scripts of job arrays and the tasks of their elements.

    Parameters
    ----------
    processes : of each machine that train a network together
    title : what the run is called, for the names of jobs

    Raises
    ------
    CallError
        If the batch system cannot do what is asked.
    OutputError
        If they cannot be written.
    """
    place = make_folder(scripts_folder(folder))
    texts = {
        array.name: array_script(
            array,
            system,
            resources,
            folder=folder,
            place=place,
            command=_command(),
            python=[sys.executable],
            processes=processes,
            title=title,
            umask=current_umask(),
        )
        for array in arrays
    }
    for stale in (*place.glob("[0-9]*.sh"), *place.glob("[0-9]*.tasks")):
        stale.unlink(missing_ok=True)
    for array in arrays:
        write_text(place / f"{array.name}.tasks", task_list(array))
        write_text(place / f"{array.name}.sh", texts[array.name])
    return [place / f"{array.name}.sh" for array in arrays]


def submit_arrays(
    arrays: Sequence[JobArray],
    scheduler: Literal["slurm", "pbs-torque", "pbs-pro"],
    resources: JobResources,
    *,
    plan: Plan,
    folder: Path,
    processes: int = 1,
    title: str = "hypercover",
) -> Submission:
    """Write the scripts of job arrays and send them, each after those it waits for.

    Raises
    ------
    CallError
        If jobs are at work in the folder, its plan was changed meanwhile, or the
        batch system refuses; then none is left there.
    """
    system = SYSTEMS[scheduler]
    with folder_lock(folder):
        check_idle(folder, plan.registry)
        if Plan.load(folder, plan.registry).fingerprints != plan.fingerprints:
            raise CallError(f"The plan in {folder} was changed meanwhile; submit again.")
        write_scripts(
            arrays, system, resources, folder=folder, processes=processes, title=title
        )
        for name in (
            name for array in arrays for tasks in array.elements for name in tasks
        ):
            TaskFiles(folder, name).forget()
        before = Submission.load(folder)
        sent = Submission(scheduler=scheduler, resources=resources)
        try:
            for array in _sent(arrays, system, folder):
                sent = sent.model_copy(update={"arrays": (*sent.arrays, array)})
                sent.save(folder)
            if held := _held(arrays):
                system.release([one.job for one in sent.arrays if one.name in held])
        except BaseException as error:
            _take_back(sent, folder, before, error)
            raise
    return sent


def _held(arrays: Sequence[JobArray]) -> set[str]:
    """Name the arrays that must not start before all are sent.

    A busy server takes a minute for a script; an array that has ended by then is
    unknown to it, and what was to wait for that is refused, or deleted in silence.
    """
    needed = {name for array in arrays for name in array.after}
    return {array.name for array in arrays if not array.after and array.name in needed}


def _sent(
    arrays: Sequence[JobArray], system: BatchSystem, folder: Path
) -> Iterator[SentArray]:
    """Send arrays one by one."""
    jobs: dict[str, str] = {}
    held = _held(arrays)
    for array in arrays:
        after = [jobs[name] for name in array.after]
        script = scripts_folder(folder) / f"{array.name}.sh"
        try:
            jobs[array.name] = system.submit(script, after, hold=array.name in held)
        except CallError as error:
            if len(array.elements) > 1 and _TOO_MANY.search(str(error)):
                raise CallError(
                    f"{str(error).rstrip('.')}; {array.name} has {len(array.elements)} "
                    "elements, and a larger --array-chunk makes fewer."
                ) from None
            raise
        yield SentArray(name=array.name, job=jobs[array.name], elements=array.elements)


def _take_back(
    sent: Submission, folder: Path, before: Submission | None, cause: BaseException
) -> None:
    """Leave nothing of a submission that failed half-way, but what was sent before it.

    Raises
    ------
    RunError
        If jobs are left, which stay known to status and cancel.
    """
    try:
        cancel_jobs(sent, sent.jobs)
    except HypercoverError as error:
        raise RunError(f"{str(cause).rstrip('.')}; of what was sent, {error}") from cause
    if before is not None:
        before.save(folder)
        return
    (scripts_folder(folder) / _FILE).unlink(missing_ok=True)


def _command() -> list[str]:
    """Return the words that call hypercover from anywhere, as it is called here."""
    script = Path(sys.executable).with_name("hypercover")
    if script.is_file():
        return [str(script)]
    return [sys.executable, "-P", "-m", "hypercover.cli.main"]
