"""Slurm: job arrays by ``sbatch``, looked after by ``squeue`` and ``scancel``."""

import getpass
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from hypercover.errors import CallError
from hypercover.jobs.batch import Places, asked, job_in
from hypercover.jobs.executor import State
from hypercover.jobs.stages import Array
from hypercover.jobs.wanted import Wanted, clock

__all__ = ["Slurm", "warning_before"]

_STATES = {
    "PENDING": State.WAITING,
    "REQUEUED": State.WAITING,
    "REQUEUE_HOLD": State.WAITING,
    "REQUEUE_FED": State.WAITING,
    "SPECIAL_EXIT": State.WAITING,
    "RESV_DEL_HOLD": State.WAITING,
    "SUSPENDED": State.WAITING,
    "PREEMPTED": State.WAITING,
    "CONFIGURING": State.RUNNING,
    "RUNNING": State.RUNNING,
    "COMPLETING": State.RUNNING,
    "RESIZING": State.RUNNING,
    "SIGNALING": State.RUNNING,
    "STAGE_OUT": State.RUNNING,
    "STOPPED": State.RUNNING,
    "COMPLETED": State.DONE,
    "CANCELLED": State.CANCELLED,
}
"""Every other state is a failure."""
_MEGABYTE = 2**20
_RETURNS = 100
"""Times an element may be sent back."""


def warning_before(limit: int) -> int:
    """Return how many seconds before the time limit a job is warned.

    Examples
    --------
    >>> warning_before(3600), warning_before(60)
    (120, 15)
    """
    return min(120, limit // 4)


def _quoted(path: Path, end: str) -> str:
    """Write a path so that sbatch takes its spaces and % as they are."""
    text = str(path)
    if not text.isprintable() or "\\" in text:
        raise CallError(
            f"Slurm prints into no path with a backslash or letters that cannot be printed, "
            f"such as {text!r}; choose another run folder with --out."
        )
    text = text.replace("%", "%%") + end
    if re.fullmatch(r"[\w./+=@:,~%-]+", text):
        return text
    return '"' + text.replace('"', '\\"') + '"'


class Slurm:
    """Slurm, with or without accounting."""

    name = "slurm"
    commands = ("sbatch", "squeue", "scancel")

    def head(self, array: Array, wanted: Wanted, title: str, output: Path) -> list[str]:
        """Return the ``#SBATCH`` lines of an array.

        Raises
        ------
        CallError
            If Slurm cannot print into such a folder.
        """
        several = array.kind == "ranks"
        memory = wanted.memory and math.ceil(wanted.memory / _MEGABYTE)
        given = {
            "job-name": title,
            "array": f"1-{len(array.elements)}",
            "partition": wanted.partition,
            "account": wanted.account,
            "time": wanted.time and clock(wanted.time),
            "nodes": wanted.nodes if several else 1,
            "ntasks-per-node": 1,
            "cpus-per-task": wanted.cpus,
            "mem": memory and f"{memory}M",
            "gres": f"gpu:{wanted.gpus}" if wanted.gpus and array.kind != "plain" else None,
            "output": _quoted(output / array.name, "-%a.out"),
            "open-mode": "append",
            "signal": wanted.time and f"B:USR1@{warning_before(wanted.time)}",
        }
        lines = [f"--{key}={value}" for key, value in given.items() if value is not None]
        return [f"#SBATCH {line}" for line in (*lines, "--requeue", *wanted.directives)]

    def variables(self, array: Array) -> Mapping[str, str]:
        """Return the shell's words for the number of an element and its way back."""
        # The number of an element's own job may be that of the whole array.
        own = "${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}"
        return {
            "element": "${SLURM_ARRAY_TASK_ID:-1}",
            "requeue": f'[ "${{SLURM_RESTART_COUNT:-0}}" -lt {_RETURNS} ] && '
            f'scontrol requeue "{own}" && sleep 60',
        }

    def submit(self, script: Path, after: Sequence[str]) -> str:
        """Send a script and return the number of its job."""
        waits = [f"--dependency=afterany:{':'.join(after)}"] if after else []
        return job_in(asked(self, ["sbatch", "--parsable", *waits, str(script)]))

    def states(self, jobs: Sequence[str]) -> Places:
        """Ask ``squeue``, which needs no accounting and forgets jobs after some minutes."""
        form = ["-h", "-r", "-t", "all", "-u", getpass.getuser(), "-o", "%F|%K|%T"]
        places = {}
        for line in asked(self, ["squeue", *form]).splitlines():
            job, element, state = [*line.split("|"), "", ""][:3]
            if job in jobs and element.isdecimal():
                places[job, int(element)] = _STATES.get(state, State.FAILED)
        return places

    def cancel(self, jobs: Sequence[str]) -> None:
        """Call ``scancel``."""
        asked(self, ["scancel", *jobs])
