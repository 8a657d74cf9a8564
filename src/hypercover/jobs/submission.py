"""The submission of a plan to a batch system: scripts, job numbers and their state.

The folder ``jobs/`` of a run holds ``NAME.sh`` and ``NAME.tasks`` of each array, the output
of its elements, and ``submission.json``.
"""

import logging
import re
import shlex
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hypercover.errors import CallError, HypercoverError, RunError
from hypercover.files import make_folder, write_json, write_text
from hypercover.jobs.batch_system import (
    SYSTEMS,
    BatchSystem,
    ElementStates,
    JobArray,
    SystemName,
)
from hypercover.jobs.executor import ACTIVE, TaskState
from hypercover.jobs.job_arrays import ArrayBatch, array_script, scripts_folder, task_list
from hypercover.jobs.plan import Plan, Registry, first_fault
from hypercover.jobs.record import TaskFiles, read_json
from hypercover.jobs.resources import JobResources
from hypercover.jobs.runner import folder_lock

_FILE = "submission.json"
_log = logging.getLogger(__name__)
_TOO_MANY = re.compile(r"array|limit|exceed|too many|maximum", re.IGNORECASE)
"""Found in complaints of a system that accepts no more elements or jobs."""
_MAX_BYTES = 2**26
_CANCEL_TIMEOUT = 120.0
"""Seconds in which cancelled jobs must end: they may leave a checkpoint."""
_REPEAT = 40.0
"""Seconds after which running jobs are cancelled again."""
_TRIES, _LOOKS = 5, 3
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
    scheduler: SystemName
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


def query_states(submission: Submission | None) -> ElementStates | None:
    """Return the state of the elements; None if the batch system cannot be queried here."""
    if submission is None or not submission.jobs or not submission.system.is_available():
        return None
    try:
        return submission.system.states(submission.jobs)
    except HypercoverError as error:
        _log.warning("The state of the jobs is unknown: %s", error.args[-1])
        return None


def active_jobs(submission: Submission | None) -> list[str]:
    """Return the jobs that wait or run.

    Raises
    ------
    CallError
        If the batch system cannot be queried here.
    RunError
        If it does not answer.
    """
    if submission is None or not submission.jobs:
        return []
    return _busy(submission.system, submission.jobs)


def _busy(
    system: BatchSystem, jobs: Sequence[str], states: Sequence[TaskState] = ACTIVE
) -> list[str]:
    """Return the jobs with elements that wait or run, in their order."""
    found = system.states(jobs).items()
    busy = {job for (job, _), element in found if element.state in states}
    return [job for job in jobs if job in busy]


def own_jobs(submission: Submission, folder: Path) -> tuple[list[str], list[str]]:
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
    paths = submission.system.job_paths(submission.jobs)
    place = scripts_folder(folder).resolve()
    # Queried last, so that a job that ended meanwhile is in neither list.
    busy = active_jobs(submission)

    def is_own(job: str) -> bool:
        return any(path.resolve().is_relative_to(place) for path in paths.get(job, ()))

    return [job for job in busy if is_own(job)], [job for job in busy if not is_own(job)]


def cancel_jobs(submission: Submission, jobs: Sequence[str]) -> None:
    """Cancel jobs, and wait until none of them waits or runs.

    Raises
    ------
    RunError
        If some still do after two minutes.
    """
    system, left = submission.system, list(jobs)
    sizes = {array.job: len(array.elements) for array in submission.arrays}
    end = time.monotonic() + _CANCEL_TIMEOUT
    complaint = ""
    while left and time.monotonic() < end:
        try:
            # The last job first, as the end of a job lets others begin.
            for job in reversed(left):
                complaint = _delete(system, job, sizes[job]) or complaint
            pause = min(end, time.monotonic() + _REPEAT)
            while (left := _busy(system, left)) and time.monotonic() < pause:
                time.sleep(_POLL)
        except RunError as error:
            complaint = f" ({str(error).partition(';')[0]})"
    if left:
        verb = "still waits or runs" if len(left) == 1 else "still wait or run"
        raise RunError(
            f"{', '.join(left)} {verb} after being cancelled{complaint}; call cancel again, or "
            "ask the administrators of the cluster."
        )


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
        for _ in range(_LOOKS):
            # Torque may hang if deletions follow each other without a pause.
            time.sleep(_POLL)
            if not _busy(system, [job], [TaskState.WAITING]):
                return complaint
    return complaint


def remove_empty_output(submission: Submission, folder: Path) -> None:
    """Remove the empty files that a batch system leaves next to the output of elements."""
    before = time.time() - _SETTLED
    for pattern in submission.system.empty_files:
        for path in scripts_folder(folder).glob(pattern):
            with suppress(OSError):
                facts = path.stat()
                if facts.st_size == 0 and facts.st_mtime < before:
                    path.unlink()


def check_idle(folder: Path, registry: Registry) -> None:
    """Refuse a folder that has active jobs, or may have some.

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
        held = _held(batch.arrays)
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


def _held(arrays: Sequence[JobArray]) -> set[str]:
    """Name the arrays that must not start before all are submitted.

    A busy server takes a minute for a script.  An array that has ended by then is unknown
    to it, and an array that waits for it is refused, or silently deleted.
    """
    needed = {name for array in arrays for name in array.after}
    return {array.name for array in arrays if not array.after and array.name in needed}


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
        cancel_jobs(sent, sent.jobs)
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
