"""Slurm: job arrays are submitted by ``sbatch`` and followed by ``squeue``."""

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
"""Any other state is a failure."""
_GONE = re.compile("Invalid job id specified|already completing or completed")
"""Complaints about jobs that have ended."""
_MEGABYTE = 2**20
_SIGNALS = 64
"""The largest number of a signal."""
_MAX_REQUEUES = 100


def warning_seconds(limit: int) -> int:
    """Return how many seconds before its time limit a job is warned.

    Examples
    --------
    >>> warning_seconds(3600), warning_seconds(60)
    (120, 15)
    """
    return min(120, limit // 4)


def _quoted(path: Path, end: str) -> str:
    """Quote a path for sbatch, with its spaces and %."""
    text = str(path)
    if not text.isprintable() or "\\" in text:
        raise CallError(
            f"Slurm cannot print into a path with backslashes or unprintable characters, got "
            f"{text!r}; choose another run folder with --out."
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
            If Slurm cannot print into the folder.
        """
        given = {
            "job-name": re.sub(r"[^\w.+-]", "-", f"{title}-{array.name}"),
            "array": f"1-{len(array.elements)}",
            "partition": resources.partition,
            "account": resources.account,
            "time": resources.time and format_time(resources.time),
            "nodes": resources.nodes if array.kind == "ranks" else 1,
            "ntasks-per-node": 1,
            "cpus-per-task": resources.cpus,
            "mem": _megabytes(resources.memory),
            "mem-per-cpu": _megabytes(resources.memory_per_cpu),
            "gres": f"gpu:{resources.gpus}" if resources.gpus else None,
            "output": _quoted(output / array.name, "-%a.out"),
            "open-mode": "append",
            "signal": resources.time and f"B:USR1@{warning_seconds(resources.time)}",
        }
        lines = [f"--{key}={value}" for key, value in given.items() if value is not None]
        return [f"#SBATCH {line}" for line in (*lines, "--requeue", *resources.directives)]

    def shell_variables(self, array: JobArray) -> Mapping[str, str]:
        """Return the shell code of an element's number and of its requeue."""
        # The number of an element's own job may be that of the whole array.
        own = "${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}"
        return {
            "element": "${SLURM_ARRAY_TASK_ID:-1}",
            "requeue": f'[ "${{SLURM_RESTART_COUNT:-0}}" -lt {_MAX_REQUEUES} ] && '
            f'scontrol requeue "{own}" && sleep 60',
        }

    def submit(self, script: Path, after: Sequence[str], *, hold: bool = False) -> str:
        """Submit a script and return the number of its job."""
        words = ["--parsable", *(["--hold"] if hold else [])]
        words += [f"--dependency=afterany:{':'.join(after)}"] if after else []
        return parse_job_id(
            run_command(self, ["sbatch", *words, str(script)], timeout=SUBMIT_TIMEOUT)
        )

    def release(self, jobs: Sequence[str]) -> None:
        """Release held jobs by ``scontrol release``."""
        run_command(self, ["scontrol", "release", ",".join(jobs)])

    def states(self, jobs: Sequence[str]) -> ElementStates:
        """Query ``squeue``, which needs no accounting and forgets jobs after some minutes."""
        form = ["-h", "-r", "-t", "all", "-u", getpass.getuser(), "-o", "%F|%K|%T|%r"]
        states = {}
        for line in run_command(self, ["squeue", *form]).splitlines():
            job, element, name, reason = [*line.split("|", 3), "", "", ""][:4]
            # A job that is not an array has no element.
            element = "1" if element == "N/A" else element
            if job in jobs and element.isdecimal():
                state = _STATES.get(name, TaskState.FAILED)
                why = "" if state is TaskState.RUNNING else _reason(name, reason)
                states[job, int(element)] = ElementStatus(state, why)
        return states

    def reasons(self, waiting: Sequence[str], ended: Sequence[str]) -> Reasons:
        """Query ``sacct``, if there is accounting, for how elements ended."""
        if not ended or shutil.which("sacct") is None:
            return {}
        options = ["-n", "-X", "-P", "-j", ",".join(ended), "-o", "JobID,State,ExitCode"]
        try:
            output = run_command(self, ["sacct", *options])
        except HypercoverError:
            return {}  # without accounting
        found = {}
        for line in output.splitlines():
            own, state, code = [*line.split("|"), "", ""][:3]
            job, _, element = own.partition("_")
            if job in ended and element.isdecimal() and state != "COMPLETED":
                found[job, int(element)] = ", ".join([state, *_exit_parts(code)])
        return found

    def job_paths(self, jobs: Sequence[str]) -> Mapping[str, Sequence[Path]]:
        """Query ``squeue`` for the script of each job."""
        output = run_command(self, ["squeue", "-h", "-u", getpass.getuser(), "-o", "%F|%o"])
        pairs = (line.partition("|") for line in output.splitlines())
        return {job: [Path(script)] for job, _, script in pairs if job in jobs}

    def cancel(self, job: str, elements: int) -> None:
        """Cancel a job by ``scancel``."""
        run_command(self, ["scancel", job], ignore=_GONE)

    def max_array_size(self, partition: str | None) -> int | None:
        """Query the controller; elements are numbered below its ``MaxArraySize``."""
        size = re.search(
            r"MaxArraySize\s*=\s*(\d+)", run_command(self, ["scontrol", "show", "config"])
        )
        return max(1, int(size[1]) - 1) if size is not None else None

    def output_patterns(self, job: str, element: int) -> Sequence[str]:
        """Return nothing: Slurm prints into the file of the element."""
        return []

    def empty_file_patterns(self) -> Sequence[str]:
        """Return nothing: the output of an element begins with its tasks."""
        return []


def _reason(state: str, reason: str) -> str:
    """Join the state of a job and the reason that Slurm gives."""
    if state == "PENDING":
        return "" if reason == "None" else reason
    # The reason of a cancelled job is what it had waited for.
    return state if reason in ("None", "") or state == "CANCELLED" else f"{state}, {reason}"


def _exit_parts(code: str) -> Iterator[str]:
    """Describe an exit code of sacct, ``CODE:SIGNAL``."""
    number, _, signal = code.partition(":")
    if number.isdecimal() and int(number):
        yield f"exit code {number}"
    # Slurm also writes numbers that are not signals, such as 125 for lack of memory.
    if signal.isdecimal() and 0 < int(signal) <= _SIGNALS:
        yield f"signal {signal}"


def _megabytes(size: int | None) -> str | None:
    return f"{math.ceil(size / _MEGABYTE)}M" if size else None
