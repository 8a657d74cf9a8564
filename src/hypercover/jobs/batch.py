"""What a batch system offers: take a script, tell where it stands, take it back."""

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from hypercover.errors import CallError, RunError
from hypercover.jobs.executor import State
from hypercover.jobs.stages import Array
from hypercover.jobs.wanted import Wanted

__all__ = ["BatchSystem", "Places", "asked", "is_there"]

_PATIENCE = 60.0
"""Seconds a command of a batch system may take."""

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


def asked(system: BatchSystem, command: Sequence[str]) -> str:
    """Call a command of a batch system and return what it says.

    Raises
    ------
    CallError
        If there is no such command, or it refuses; with its own words.
    RunError
        If it does not answer.
    """
    program = shutil.which(command[0])
    if program is None:
        raise CallError(
            f"{command[0]} is not on the PATH, so nothing can be asked of {system.name}; call "
            "hypercover where jobs are submitted, or let --dry-run write the scripts only."
        )
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
