"""The interface of a batch system, and how its commands are called."""

import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from hypercover.errors import CallError, RunError
from hypercover.jobs.executor import TaskState
from hypercover.jobs.job_arrays import JobArray
from hypercover.jobs.resources import JobResources

_TIMEOUT = 60.0
"""Seconds a command of a batch system may take."""
SUBMIT_TIMEOUT = 300.0
"""Seconds a busy server may take to accept a script."""
_JOB_ID = re.compile(r"(\d{1,12}(?:\[\])?(?:\.[A-Za-z0-9._-]{1,200})?)(?:;\S*)?")
"""The number of a job; Slurm may append the cluster after a semicolon."""


@dataclass(frozen=True)
class ElementStatus:
    """The status of an element of a job array, according to its batch system."""

    state: TaskState
    """The state."""
    reason: str = ""
    """Why it waits, or how it ended, in the words of the system."""


ElementStates = Mapping[tuple[str, int], ElementStatus]
"""Status of elements by the number of their job and their own, from 1."""
Reasons = Mapping[tuple[str, int], str]
"""Why elements wait, or how they ended; element 0 is the whole job."""


class BatchSystem(Protocol):
    """Runs job arrays on a cluster, whether or not this process is still there.

    An executor is given task after task; a batch system is given the whole plan at once.
    """

    @property
    def name(self) -> str:
        """Name of the system on the command line."""

    @property
    def commands(self) -> tuple[str, ...]:
        """The commands it needs, the one that submits first."""

    def header(
        self,
        array: JobArray,
        resources: JobResources,
        title: str,
        output: Path,
        *,
        umask: str,
    ) -> list[str]:
        """Return the lines of a script that request the resources of an array.

        Parameters
        ----------
        resources : of an element of this kind
        title : name of the run
        output : folder for the output of elements
        umask : of the files in it, as four octal digits
        """

    def shell_variables(self, array: JobArray) -> Mapping[str, str]:
        """Return the shell code of ``element``, its number, and of ``requeue`` if there is one."""

    def submit(self, script: Path, after: Sequence[str], *, hold: bool = False) -> str:
        """Submit a script that waits for the end of other jobs; return its number.

        A held job does not start before `release`.
        """

    def release(self, jobs: Sequence[str]) -> None:
        """Release held jobs."""

    def states(self, jobs: Sequence[str]) -> ElementStates:
        """Return the status of the elements of jobs, without those the system has forgotten."""

    def reasons(self, waiting: Sequence[str], ended: Sequence[str]) -> Reasons:
        """Explain why jobs wait and how elements ended, beyond what `states` returns."""

    def job_paths(self, jobs: Sequence[str]) -> Mapping[str, Sequence[Path]]:
        """Return the script or output folder of jobs that wait or run."""

    def cancel(self, job: str, elements: int) -> None:
        """Cancel a job with so many elements; a job that the system forgot has ended.

        The caller must check that nothing is left: systems accept what they do not do.
        """

    def max_array_size(self, partition: str | None) -> int | None:
        """Return how many elements an array may have; None if unknown."""

    def output_patterns(self, job: str, element: int) -> Sequence[str]:
        """Return patterns of the files into which the system itself prints for an element."""

    def empty_file_patterns(self) -> Sequence[str]:
        """Return patterns of files that the system leaves for every element, even empty."""


def is_available(system: BatchSystem) -> bool:
    """Tell whether the commands of a system are on the PATH."""
    return all(shutil.which(command) for command in system.commands)


def check_commands(system: BatchSystem) -> None:
    """Refuse a system whose commands are not on the PATH.

    Raises
    ------
    CallError
    """
    for command in system.commands:
        _program(system, command)


def _program(system: BatchSystem, command: str) -> str:
    program = shutil.which(command)
    if program is None:
        raise CallError(
            f"{command} is not on the PATH, so {system.name} cannot be used; call hypercover "
            "where jobs are submitted, or only write the scripts with --dry-run."
        )
    return program


def parse_job_id(output: str) -> str:
    r"""Return the number of a job from the output of the command that submitted it.

    Sites add lines of their own; the last line with a number counts.

    Raises
    ------
    CallError
        If no line is the number of a job.

    Examples
    --------
    >>> parse_job_id("Your account has 5 hours left.\n17[].head\n"), parse_job_id("42;cluster")
    ('17[].head', '42')
    """
    lines = map(str.strip, output.split("\n"))
    ids = [match[1] for line in lines if (match := _JOB_ID.fullmatch(line))]
    if not ids:
        raise CallError(
            f"A script was submitted, but the answer holds no job number "
            f"({' '.join(output.split())[:200] or 'nothing'}); find the job with the "
            "commands of the batch system and cancel it."
        )
    return ids[-1]


def run_command(
    system: BatchSystem,
    command: Sequence[str],
    *,
    ignore: re.Pattern[str] | None = None,
    timeout: float = _TIMEOUT,
) -> str:
    """Call a command of a batch system and return its output.

    Parameters
    ----------
    ignore : complaints on stderr that are not failures, such as an unknown job
    timeout : seconds it may take

    Raises
    ------
    CallError
        If the command is missing, or refuses; with its own words.
    RunError
        If it does not answer.
    """
    program = _program(system, command[0])
    try:
        done = subprocess.run(
            [program, *command[1:]],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        raise RunError(
            f"{command[0]} has not answered within {timeout:.0f} s; try again later."
        ) from None
    complaints = [line for line in map(str.strip, done.stderr.splitlines()) if line]
    ignored = ignore and complaints and all(map(ignore.search, complaints))
    if done.returncode and not ignored:
        message = " ".join((done.stderr or done.stdout).split()).rstrip(".")
        raise CallError(
            f"{command[0]} refuses ({message or f'exit code {done.returncode}'}); change the "
            "request, or ask the administrators of the cluster."
        )
    return done.stdout
