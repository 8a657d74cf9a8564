"""What a batch system offers: take a script, tell where it stands, take it back."""

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

__all__ = [
    "SUBMIT_TIMEOUT",
    "BatchSystem",
    "ElementStates",
    "ElementStatus",
    "Reasons",
    "check_commands",
    "is_available",
    "parse_job_id",
    "run_command",
]

_PATIENCE = 60.0
"""Seconds a command of a batch system may take."""
SUBMIT_TIMEOUT = 300.0
"""Seconds a busy server may take to accept a script."""

_JOB = re.compile(r"(\d{1,12}(?:\[\])?(?:\.[A-Za-z0-9._-]{1,200})?)(?:;\S*)?")
"""What a batch system calls a job; Slurm may name the cluster after a semicolon."""


@dataclass(frozen=True)
class ElementStatus:
    """Where an element of a job stands, by the word of its batch system."""

    state: TaskState
    """What hypercover makes of it."""
    reason: str = ""
    """Why it waits, or how it ended, in the words of the system."""


ElementStates = Mapping[tuple[str, int], ElementStatus]
"""Where each element of each job stands: by the number of the job and its own, from 1."""
Reasons = Mapping[tuple[str, int], str]
"""Why elements wait, or how they ended; element 0 stands for all of a job."""


class BatchSystem(Protocol):
    """Runs job arrays whether or not whoever sent them is still there.

    Why it exists: what differs between Slurm and the dialects of PBS is in one
    place each.  An executor does tasks one by one while it is watched; a batch
    system is given the whole plan at once.
    """

    @property
    def name(self) -> str:
        """What the system is called on the command line."""

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
        """Return the lines of a script by which the system knows what is asked.

        Parameters
        ----------
        resources : what an element of this kind is given
        title : what the run is called
        output : folder for what elements print
        umask : of the files in it, as four octal digits
        """

    def shell_variables(self, array: JobArray) -> Mapping[str, str]:
        """Return the shell's words for ``element`` and how to ``requeue`` it, where one can."""

    def submit(self, script: Path, after: Sequence[str], *, hold: bool = False) -> str:
        """Send a script that waits for the end of other jobs; return its number.

        Held, it does not start before `release`.
        """

    def release(self, jobs: Sequence[str]) -> None:
        """Let jobs start that were sent held."""

    def states(self, jobs: Sequence[str]) -> ElementStates:
        """Say where the elements of jobs stand; those it has forgotten are left out."""

    def reasons(self, waiting: Sequence[str], ended: Sequence[str]) -> Reasons:
        """Say why jobs wait and how elements ended, as far as `states` does not."""

    def job_paths(self, jobs: Sequence[str]) -> Mapping[str, Sequence[Path]]:
        """Return paths by which jobs that wait or run are known: script, output folder."""

    def cancel(self, job: str, elements: int) -> None:
        """Take back a job of so many elements, whether it waits or runs.

        What the system no longer knows has ended.  That nothing is left is for the
        caller to check: systems accept what they do not do.
        """

    def max_array_size(self, partition: str | None) -> int | None:
        """Return how many elements an array may have; None where that is not said."""

    def output_patterns(self, job: str, element: int) -> Sequence[str]:
        """Return patterns of the files into which the system itself prints for an element."""

    def empty_file_patterns(self) -> Sequence[str]:
        """Return patterns of files that the system leaves for every element, empty or not."""


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
    """Find a command of a batch system."""
    found = shutil.which(command)
    if found is None:
        raise CallError(
            f"{command} is not on the PATH, so nothing can be asked of {system.name}; call "
            "hypercover where jobs are submitted, or let --dry-run write the scripts only."
        )
    return found


def parse_job_id(said: str) -> str:
    r"""Return the number of a job in what a system says when it takes one.

    Sites put words of their own around it.

    Raises
    ------
    CallError
        If there is none.

    Examples
    --------
    >>> job_in("Your account has 5 hours left.\n17[].head\n"), job_in("42;cluster")
    ('17[].head', '42')
    """
    found = [
        match[1] for line in said.split("\n") if (match := _JOB.fullmatch(line.strip()))
    ]
    if not found:
        raise CallError(
            f"A script was sent, but no number of a job is in the answer "
            f"({' '.join(said.split())[:200] or 'nothing'}); look for it with the commands "
            "of the batch system and cancel it."
        )
    return found[-1]


def run_command(
    system: BatchSystem,
    command: Sequence[str],
    *,
    forgive: re.Pattern[str] | None = None,
    patience: float = _PATIENCE,
) -> str:
    """Call a command of a batch system and return what it says.

    Parameters
    ----------
    forgive : complaints that are no failure, such as that a job is not known any more
    patience : seconds it may take

    Raises
    ------
    CallError
        If there is no such command, or it refuses; with its own words.
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
            timeout=patience,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        raise RunError(
            f"{command[0]} has not answered within {patience:.0f} s; try again later."
        ) from None
    complaints = list(filter(None, map(str.strip, done.stderr.splitlines())))
    forgiven = forgive and complaints and all(map(forgive.search, complaints))
    if done.returncode and not forgiven:
        said = " ".join((done.stderr or done.stdout).split()).rstrip(".")
        raise CallError(
            f"{command[0]} refuses ({said or f'exit code {done.returncode}'}); change what "
            "was asked for, or ask whoever runs the cluster."
        )
    return done.stdout
