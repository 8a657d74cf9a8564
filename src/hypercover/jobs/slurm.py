"""Slurm: job arrays by ``sbatch``, looked after by ``squeue`` and ``scancel``."""

import getpass
import math
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from hypercover.errors import CallError, HypercoverError
from hypercover.jobs.batch_system import (
    SUBMIT_TIMEOUT,
    ElementStates,
    ElementStatus,
    Reasons,
    parse_job_id,
    run_command,
)
from hypercover.jobs.executor import TaskState
from hypercover.jobs.job_arrays import JobArray
from hypercover.jobs.resources import JobResources, format_time

__all__ = ["Slurm", "warning_seconds"]

_STATES = {
    "PENDING": TaskState.WAITING,
    "REQUEUED": TaskState.WAITING,
    "REQUEUE_HOLD": TaskState.WAITING,
    "REQUEUE_FED": TaskState.WAITING,
    "SPECIAL_EXIT": TaskState.WAITING,
    "RESV_DEL_HOLD": TaskState.WAITING,
    "SUSPENDED": TaskState.WAITING,
    "PREEMPTED": TaskState.WAITING,
    "CONFIGURING": TaskState.RUNNING,
    "RUNNING": TaskState.RUNNING,
    "COMPLETING": TaskState.RUNNING,
    "RESIZING": TaskState.RUNNING,
    "SIGNALING": TaskState.RUNNING,
    "STAGE_OUT": TaskState.RUNNING,
    "STOPPED": TaskState.RUNNING,
    "COMPLETED": TaskState.DONE,
    "CANCELLED": TaskState.CANCELLED,
}
"""Every other state is a failure."""
_GONE = re.compile("Invalid job id specified|already completing or completed")
"""What is said of jobs that ended."""
_MEGABYTE = 2**20
_SIGNALS = 64
"""The largest number of a signal."""
_RETURNS = 100
"""Times an element may be sent back."""


def warning_seconds(limit: int) -> int:
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
    commands = ("sbatch", "squeue", "scancel", "scontrol")

    def header(
        self,
        array: JobArray,
        resources: JobResources,
        title: str,
        output: Path,
        *,
        umask: str = "",
    ) -> list[str]:
        """Return the ``#SBATCH`` lines of an array.

        Raises
        ------
        CallError
            If Slurm cannot print into such a folder.
        """
        several = array.kind == "ranks"
        memory, share = _megabytes(resources.memory), _megabytes(resources.memory_per_cpu)
        given = {
            "job-name": re.sub(r"[^\w.+-]", "-", f"{title}-{array.name}"),
            "array": f"1-{len(array.elements)}",
            "partition": resources.partition,
            "account": resources.account,
            "time": resources.time and format_time(resources.time),
            "nodes": resources.nodes if several else 1,
            "ntasks-per-node": 1,
            "cpus-per-task": resources.cpus,
            "mem": memory,
            "mem-per-cpu": share,
            "gres": f"gpu:{resources.gpus}" if resources.gpus else None,
            "output": _quoted(output / array.name, "-%a.out"),
            "open-mode": "append",
            "signal": resources.time and f"B:USR1@{warning_seconds(resources.time)}",
        }
        lines = [f"--{key}={value}" for key, value in given.items() if value is not None]
        return [f"#SBATCH {line}" for line in (*lines, "--requeue", *resources.directives)]

    def shell_variables(self, array: JobArray) -> Mapping[str, str]:
        """Return the shell's words for the number of an element and its way back."""
        # The number of an element's own job may be that of the whole array.
        own = "${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}"
        return {
            "element": "${SLURM_ARRAY_TASK_ID:-1}",
            "requeue": f'[ "${{SLURM_RESTART_COUNT:-0}}" -lt {_RETURNS} ] && '
            f'scontrol requeue "{own}" && sleep 60',
        }

    def submit(self, script: Path, after: Sequence[str], *, hold: bool = False) -> str:
        """Send a script and return the number of its job."""
        words = ["--parsable", *(["--hold"] if hold else [])]
        words += [f"--dependency=afterany:{':'.join(after)}"] if after else []
        return parse_job_id(
            run_command(self, ["sbatch", *words, str(script)], patience=SUBMIT_TIMEOUT)
        )

    def release(self, jobs: Sequence[str]) -> None:
        """Call ``scontrol release``."""
        run_command(self, ["scontrol", "release", ",".join(jobs)])

    def states(self, jobs: Sequence[str]) -> ElementStates:
        """Ask ``squeue``, which needs no accounting and forgets jobs after some minutes."""
        form = ["-h", "-r", "-t", "all", "-u", getpass.getuser(), "-o", "%F|%K|%T|%r"]
        places = {}
        for line in run_command(self, ["squeue", *form]).splitlines():
            job, element, word, reason = [*line.split("|", 3), "", "", ""][:4]
            # A job that is no array has no number.
            element = "1" if element == "N/A" else element
            if job in jobs and element.isdecimal():
                state = _STATES.get(word, TaskState.FAILED)
                said = _reason(word, reason) if state is not TaskState.RUNNING else ""
                places[job, int(element)] = ElementStatus(state, said)
        return places

    def reasons(self, waiting: Sequence[str], ended: Sequence[str]) -> Reasons:
        """Ask ``sacct`` how elements ended, where there is accounting; squeue says the rest."""
        if not ended or shutil.which("sacct") is None:
            return {}
        words = ["-n", "-X", "-P", "-j", ",".join(ended), "-o", "JobID,State,ExitCode"]
        try:
            said = run_command(self, ["sacct", *words])
        except HypercoverError:
            return {}  # without accounting
        found = {}
        for line in said.splitlines():
            own, word, code = [*line.split("|"), "", ""][:3]
            job, _, element = own.partition("_")
            # A cancelled job is followed by who did it.
            if job in ended and element.isdecimal() and word != "COMPLETED":
                found[job, int(element)] = ", ".join([word, *_ending(code)])
        return found

    def job_paths(self, jobs: Sequence[str]) -> Mapping[str, Sequence[Path]]:
        """Ask ``squeue`` for the script of each job."""
        said = run_command(self, ["squeue", "-h", "-u", getpass.getuser(), "-o", "%F|%o"])
        pairs = (line.partition("|") for line in said.splitlines())
        return {job: [Path(script)] for job, _, script in pairs if job in jobs}

    def cancel(self, job: str, elements: int) -> None:
        """Call ``scancel``."""
        run_command(self, ["scancel", job], forgive=_GONE)

    def max_array_size(self, partition: str | None) -> int | None:
        """Ask the controller; the largest number of an element is one less than what it says."""
        said = re.search(
            r"MaxArraySize\s*=\s*(\d+)", run_command(self, ["scontrol", "show", "config"])
        )
        return max(1, int(said[1]) - 1) if said is not None else None

    def output_patterns(self, job: str, element: int) -> Sequence[str]:
        """Return nothing: Slurm prints where the work does."""
        return []

    def empty_file_patterns(self) -> Sequence[str]:
        """Return nothing: what an element prints begins with its tasks."""
        return []


def _reason(word: str, reason: str) -> str:
    """Put the state of a job and what Slurm says of it into words."""
    if word == "PENDING":
        return "" if reason == "None" else reason
    # Of a cancelled job it is what it had waited for.
    return word if reason in ("None", "") or word == "CANCELLED" else f"{word}, {reason}"


def _ending(code: str) -> Iterator[str]:
    """Say what an exit code of sacct, ``CODE:SIGNAL``, tells beyond the state."""
    number, _, signal = code.partition(":")
    if number.isdecimal() and int(number):
        yield f"exit code {number}"
    # Slurm writes numbers that are no signal too, such as 125 where memory ran out.
    if signal.isdecimal() and 0 < int(signal) <= _SIGNALS:
        yield f"signal {signal}"


def _megabytes(size: int | None) -> str | None:
    return f"{math.ceil(size / _MEGABYTE)}M" if size else None
