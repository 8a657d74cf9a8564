"""What a batch system offers: take a script, tell where it stands, take it back."""

import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from hypercover.errors import CallError, RunError
from hypercover.jobs.executor import State
from hypercover.jobs.stages import Array
from hypercover.jobs.wanted import Wanted

__all__ = ["BatchSystem", "Places", "asked", "check_there", "is_there", "job_in"]

_PATIENCE = 60.0
"""Seconds a command of a batch system may take."""

_JOB = re.compile(r"(\d{1,12}(?:\[\])?(?:\.[A-Za-z0-9._-]{1,200})?)(?:;\S*)?")
"""What a batch system calls a job; Slurm may name the cluster after a semicolon."""

Places = Mapping[tuple[str, int], State]
"""Where each element of each job stands: by the number of the job and its own, from 1."""


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

    def head(self, array: Array, wanted: Wanted, title: str, output: Path) -> list[str]:
        """Return the lines of a script by which the system knows what is asked."""

    def variables(self, array: Array) -> Mapping[str, str]:
        """Return the shell's words for ``element`` and how to ``requeue`` it, where one can."""

    def submit(self, script: Path, after: Sequence[str]) -> str:
        """Send a script that waits for the end of other jobs; return its number."""

    def states(self, jobs: Sequence[str]) -> Places:
        """Say where the elements of jobs stand; those it has forgotten are left out."""

    def cancel(self, jobs: Sequence[str]) -> None:
        """Take jobs back, whether they wait or run."""


def is_there(system: BatchSystem) -> bool:
    """Tell whether the commands of a system are on the PATH."""
    return all(shutil.which(command) for command in system.commands)


def check_there(system: BatchSystem) -> None:
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


def job_in(said: str) -> str:
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


def asked(system: BatchSystem, command: Sequence[str]) -> str:
    """Call a command of a batch system and return what it says.

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
            timeout=_PATIENCE,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        raise RunError(
            f"{command[0]} has not answered within {_PATIENCE:.0f} s; try again later."
        ) from None
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split()).rstrip(".")
        raise CallError(
            f"{command[0]} refuses ({said or f'exit code {done.returncode}'}); change what "
            "was asked for, or ask whoever runs the cluster."
        )
    return done.stdout
