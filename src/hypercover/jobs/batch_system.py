"""Batch systems: Slurm, and PBS in its two dialects, Torque and PBS Pro (OpenPBS).

An executor is given task after task; a batch system is given the whole plan at once, as
job arrays, and runs them whether or not this process is still there.
"""

import getpass
import math
import re
import shutil
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hypercover.errors import CallError, HypercoverError, RunError
from hypercover.jobs.executor import ACTIVE, TaskState
from hypercover.jobs.resources import JobResources, format_time, warning_seconds

ArrayKind = Literal["plain", "gpu", "ranks"]
"""Cores, cores and GPUs, or several processes that torchrun starts."""
SystemName = Literal["slurm", "pbs-torque", "pbs-pro"]

_TIMEOUT, _SUBMIT_TIMEOUT = 60.0, 300.0
"""Seconds a command may take, and those in which a busy server must accept a script."""
_JOB_ID = re.compile(r"(\d{1,12}(?:\[\])?(?:\.[A-Za-z0-9._-]{1,200})?)(?:;\S*)?")
"""The number of a job; Slurm may append the cluster after a semicolon."""


@dataclass(frozen=True)
class JobArray:
    """A job array: elements that may run at the same time, each with some tasks in turn."""

    name: str
    """Number and first word of its tasks, as in ``2-train``."""
    elements: tuple[tuple[str, ...], ...]
    """Names of the tasks of each element, in an order in which they can be done."""
    kind: ArrayKind
    """What its tasks run on."""
    after: tuple[str, ...]
    """Names of the arrays it waits for."""


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


class BatchSystem(ABC):
    """Runs job arrays on a cluster by the commands of a batch system."""

    name: str
    """Name of the system on the command line."""
    commands: tuple[str, ...]
    """The commands it needs, the one that submits first."""
    element: str
    """Shell code of the number of an element."""
    requeue = ""
    """Shell code that requeues an element, if the system can."""
    empty_files: tuple[str, ...] = ()
    """Patterns of files that the system leaves for every element, even empty."""

    @abstractmethod
    def header(
        self, array: JobArray, resources: JobResources, title: str, output: Path, umask: str
    ) -> list[str]:
        """Return the lines of a script that request the resources of an array.

        Parameters
        ----------
        resources : of an element of this kind
        title : name of the run
        output : folder for the output of elements
        umask : of the files in it, as four octal digits

        Raises
        ------
        CallError
            If the system cannot provide the resources or print into the folder.
        """

    @abstractmethod
    def submit(self, script: Path, after: Sequence[str], *, hold: bool = False) -> str:
        """Submit a script that waits for the end of other jobs; return its number.

        A held job does not start before `release`.
        """

    @abstractmethod
    def release(self, jobs: Sequence[str]) -> None:
        """Release held jobs."""

    @abstractmethod
    def states(self, jobs: Sequence[str]) -> ElementStates:
        """Return the status of the elements of jobs, without those the system has forgotten."""

    def active_jobs(
        self, jobs: Sequence[str], states: Sequence[TaskState] = ACTIVE
    ) -> list[str]:
        """Return the jobs with elements that wait or run, in their order."""
        found = self.states(jobs).items()
        active = {job for (job, _), element in found if element.state in states}
        return [job for job in jobs if job in active]

    @abstractmethod
    def reasons(self, waiting: Sequence[str], ended: Sequence[str]) -> Reasons:
        """Explain why jobs wait and how elements ended, beyond what `states` returns."""

    @abstractmethod
    def job_paths(self, jobs: Sequence[str]) -> Mapping[str, Sequence[Path]]:
        """Return the script or output folder of jobs that wait or run."""

    @abstractmethod
    def cancel(self, job: str, elements: int) -> None:
        """Cancel a job with this many elements; a job that the system forgot has ended.

        The caller must check that nothing is left: a system may accept a request
        and not carry it out.
        """

    @abstractmethod
    def max_array_size(self, partition: str | None) -> int | None:
        """Return how many elements an array may have; None if unknown."""

    def output_patterns(self, job: str, element: int) -> Sequence[str]:
        """Return patterns of the files into which the system itself prints for an element."""
        return []

    def is_available(self) -> bool:
        """Tell whether its commands are on the PATH."""
        return all(map(shutil.which, self.commands))

    def check_commands(self) -> None:
        """Refuse a system whose commands are not on the PATH.

        Raises
        ------
        CallError
        """
        for command in self.commands:
            self.program(command)

    def program(self, command: str) -> str:
        """Return the path of a command.

        Raises
        ------
        CallError
            If it is not on the PATH.
        """
        program = shutil.which(command)
        if program is None:
            raise CallError(
                f"{command} is not on the PATH, so {self.name} cannot be used; call hypercover "
                "on a machine where jobs are submitted (submit --dry-run only writes scripts)."
            )
        return program

    def run(
        self,
        command: str,
        *words: str,
        ignore: re.Pattern[str] | None = None,
        timeout: float = _TIMEOUT,
    ) -> str:
        """Call a command of the system and return its output.

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
        call = [self.program(command), *words]
        try:
            done = subprocess.run(
                call,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=timeout,
                check=False,
                stdin=subprocess.DEVNULL,
            )
        except subprocess.TimeoutExpired:
            raise RunError(
                f"{command} has not answered within {timeout:.0f} s; try again later."
            ) from None
        complaints = [line for line in map(str.strip, done.stderr.splitlines()) if line]
        ignored = ignore and complaints and all(map(ignore.search, complaints))
        if done.returncode and not ignored:
            message = " ".join((done.stderr or done.stdout).split()).rstrip(".")
            raise CallError(
                f"{command} refuses ({message or f'exit code {done.returncode}'}); change "
                "the request."
            )
        return done.stdout

    def _submitted(self, *words: str) -> str:
        """Call the command that submits; return the number of the job."""
        return parse_job_id(self.run(self.commands[0], *words, timeout=_SUBMIT_TIMEOUT))


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
            "A script was submitted, but the answer holds no job number "
            f"({' '.join(output.split())[:200] or 'nothing'}); find the job and cancel it by hand."
        )
    return ids[-1]


def _by_name(names: Mapping[TaskState, str]) -> dict[str, TaskState]:
    return {name: state for state, listed in names.items() for name in listed.split()}


def _mebibytes(size: int, unit: str) -> str:
    return f"{math.ceil(size / 2**20)}{unit}"


_SLURM_STATES = _by_name(
    {
        TaskState.WAITING: "PENDING REQUEUED REQUEUE_HOLD REQUEUE_FED SPECIAL_EXIT RESV_DEL_HOLD "
        "SUSPENDED PREEMPTED",
        TaskState.RUNNING: "CONFIGURING RUNNING COMPLETING RESIZING SIGNALING STAGE_OUT STOPPED",
        TaskState.DONE: "COMPLETED",
        TaskState.CANCELLED: "CANCELLED",
    }
)
"""Any other state is a failure."""
_SLURM_GONE = re.compile("Invalid job id specified|already completing or completed")
"""Complaints about jobs that have ended."""
_SIGNALS = 64
"""The largest number of a signal."""
_MAX_REQUEUES = 100


class Slurm(BatchSystem):
    """Slurm, with or without accounting.

    Elements print into files of their own, which begin with their tasks.
    """

    name = "slurm"
    commands = ("sbatch", "squeue", "scancel", "scontrol")
    element = "${SLURM_ARRAY_TASK_ID:-1}"
    # The number of an element's own job may be that of the whole array.
    requeue = (
        f'[ "${{SLURM_RESTART_COUNT:-0}}" -lt {_MAX_REQUEUES} ] && '
        'scontrol requeue "${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}" && sleep 60'
    )

    def header(
        self, array: JobArray, resources: JobResources, title: str, output: Path, umask: str
    ) -> list[str]:
        """Return the ``#SBATCH`` lines of an array."""
        memory, per_cpu = resources.memory, resources.memory_per_cpu
        given = {
            "job-name": re.sub(r"[^\w.+-]", "-", f"{title}-{array.name}"),
            "array": f"1-{len(array.elements)}",
            "partition": resources.partition,
            "account": resources.account,
            "time": resources.time and format_time(resources.time),
            "nodes": resources.nodes if array.kind == "ranks" else 1,
            "ntasks-per-node": 1,
            "cpus-per-task": resources.cpus,
            "mem": _mebibytes(memory, "M") if memory else None,
            "mem-per-cpu": _mebibytes(per_cpu, "M") if per_cpu else None,
            "gres": f"gpu:{resources.gpus}" if resources.gpus else None,
            "output": _quoted(output / array.name, "-%a.out"),
            "open-mode": "append",
            "signal": resources.time and f"B:USR1@{warning_seconds(resources.time)}",
        }
        lines = [f"--{key}={value}" for key, value in given.items() if value is not None]
        return [f"#SBATCH {line}" for line in (*lines, "--requeue", *resources.directives)]

    def submit(self, script: Path, after: Sequence[str], *, hold: bool = False) -> str:
        """Submit a script by ``sbatch`` and return the number of its job."""
        waits = [f"--dependency=afterany:{':'.join(after)}"] if after else []
        held = ["--hold"] if hold else []
        return self._submitted("--parsable", *held, *waits, str(script))

    def release(self, jobs: Sequence[str]) -> None:
        """Release held jobs by ``scontrol release``."""
        self.run("scontrol", "release", ",".join(jobs))

    def _own_jobs(self, form: str, *options: str) -> Iterator[list[str]]:
        """Yield the fields of each of the user's jobs in the queue."""
        words = ["-h", *options, "-u", getpass.getuser(), "-o", form]
        for line in self.run("squeue", *words).splitlines():
            yield line.split("|", form.count("|"))

    def states(self, jobs: Sequence[str]) -> ElementStates:
        """Query ``squeue``, which needs no accounting and forgets jobs after some minutes."""
        states = {}
        for fields in self._own_jobs("%F|%K|%T|%r", "-r", "-t", "all"):
            job, element, name, reason = [*fields, "", "", ""][:4]
            # A job that is not an array has no element.
            element = "1" if element == "N/A" else element
            if job in jobs and element.isdecimal():
                state = _SLURM_STATES.get(name, TaskState.FAILED)
                why = "" if state is TaskState.RUNNING else _reason(name, reason)
                states[job, int(element)] = ElementStatus(state, why)
        return states

    def reasons(self, waiting: Sequence[str], ended: Sequence[str]) -> Reasons:
        """Query ``sacct``, if there is accounting, for how elements ended."""
        if not ended or shutil.which("sacct") is None:
            return {}
        form = ("-o", "JobID,State,ExitCode")
        try:
            output = self.run("sacct", "-n", "-X", "-P", "-j", ",".join(ended), *form)
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
        pairs = ([*fields, ""][:2] for fields in self._own_jobs("%F|%o"))
        return {job: [Path(script)] for job, script in pairs if job in jobs}

    def cancel(self, job: str, elements: int) -> None:
        """Cancel a job by ``scancel``."""
        self.run("scancel", job, ignore=_SLURM_GONE)

    def max_array_size(self, partition: str | None) -> int | None:
        """Query the controller; elements are numbered below its ``MaxArraySize``."""
        size = re.search(
            r"MaxArraySize\s*=\s*(\d+)", self.run("scontrol", "show", "config")
        )
        return max(1, int(size[1]) - 1) if size is not None else None


def _quoted(path: Path, end: str) -> str:
    """Quote a path for sbatch, with its spaces and %."""
    text = str(path)
    if not text.isprintable() or "\\" in text:
        raise CallError(
            "Slurm cannot print into a path with backslashes or unprintable characters, got "
            f"{text!r}; choose another run folder with --out."
        )
    text = text.replace("%", "%%") + end
    if re.fullmatch(r"[\w./+=@:,~%-]+", text):
        return text
    return '"' + text.replace('"', '\\"') + '"'


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


_MAX_NAME = 15
"""Characters of a job name that every PBS takes."""
_PBS_GONE = re.compile(
    r"Unknown Job Id|nonexistent job id|has finished|already completed|invalid state"
    r"|privilege to use -m parameter"
)
"""Complaints about jobs that ended, or were deleted with those they waited for; Torque
complains about -m if it no longer knows an array."""
_PBS_LIMIT = re.compile(r"^\s*max_(?:job_)?array_size = (\d+)\s*$", re.MULTILINE)
_PBS_SIGNALS = 256
"""Exit codes above it mean that a signal ended the job."""
_PBS_STATES = _by_name(
    {TaskState.WAITING: "Q H W T S", TaskState.RUNNING: "B R E", TaskState.DONE: "C F X"}
)
_PBS_ROW = re.compile(r"(\d+)(?:\[(\d*)\])?\S*\s+\S+\s+\S+\s+\S+\s+([A-Z])\s")
"""A row of ``qstat -t``: number, [element], name, user, time, state, queue."""


class _PBS(BatchSystem):
    """The part that both dialects share."""

    commands = ("qsub", "qstat", "qdel", "qrls")
    _waits: str
    """Dependency on the end of other jobs, however they end."""
    _history: tuple[str, ...] = ()
    """Options of ``qstat`` that show ended jobs."""

    @abstractmethod
    def _requests(self, count: int, resources: JobResources, memory: str) -> list[str]:
        """Return options, or empty text, that request an array and resources of its elements."""

    def header(
        self, array: JobArray, resources: JobResources, title: str, output: Path, umask: str
    ) -> list[str]:
        """Return the ``#PBS`` lines of an array."""
        if not re.fullmatch(r"/[\w./+=@~-]+", str(output)):
            raise CallError(
                f"{self.name} cannot print into a path with spaces or signs such as : and %, got "
                f"{str(output)!r}; choose another run folder with --out."
            )
        if array.kind == "ranks" and resources.nodes > 1:
            raise CallError(
                f"Training a network on {resources.nodes} machines was requested, which hypercover "
                f"supports under Slurm but not under {self.name}; use --nodes 1."
            )
        # That of all cores, as not every PBS has memory per core.
        size = resources.memory or (resources.memory_per_cpu or 0) * resources.cpus
        memory = f"mem={_mebibytes(size, 'mb')}" if size else ""
        lines = [
            f"-N {job_name(title, array.name)}",
            *self._requests(len(array.elements), resources, memory),
            f"-q {resources.partition}" if resources.partition else "",
            f"-A {resources.account}" if resources.account else "",
            # By default PBS runs a script in the login shell of the user.
            "-S /bin/bash",
            "-j oe",
            f"-o {output}/",
            "-r y",
            f"-W umask={umask}",
            *resources.directives,
        ]
        return [f"#PBS {line}" for line in lines if line]

    def submit(self, script: Path, after: Sequence[str], *, hold: bool = False) -> str:
        """Submit a script by ``qsub`` and return the number of its job."""
        waits = ["-W", f"depend={self._waits}:{':'.join(after)}"] if after else []
        return self._submitted(*(["-h"] if hold else []), *waits, str(script))

    def release(self, jobs: Sequence[str]) -> None:
        """Release held jobs by ``qrls``."""
        self.run("qrls", *jobs)

    def states(self, jobs: Sequence[str]) -> ElementStates:
        """Query ``qstat``, which forgets a job when it ends or a little later."""
        numbers, states = {_number(job): job for job in jobs}, {}
        output = self.run("qstat", "-t", *jobs, ignore=_PBS_GONE) if jobs else ""
        for line in output.splitlines():
            row = _PBS_ROW.match(f"{line} ")
            if row is not None and row[1] in numbers and row[2] != "":
                state = _PBS_STATES.get(row[3], TaskState.FAILED)
                states[numbers[row[1]], int(row[2] or 1)] = ElementStatus(state)
        return states

    def reasons(self, waiting: Sequence[str], ended: Sequence[str]) -> Reasons:
        """Query ``qstat -f`` for the comments of jobs and the exit codes of elements."""
        reasons: dict[tuple[str, int], str] = {}
        # Reasons are optional: what qstat does not tell is left out.
        with suppress(HypercoverError):
            for job, element, attributes in self._attributes(waiting):
                comment = attributes.get("comment", "")
                # The comment of an array that has begun only says when.
                if comment and not comment.startswith("Job "):
                    reasons[job, element] = comment
        with suppress(HypercoverError):
            for job, element, attributes in self._attributes(ended, *self._history, "-t"):
                code = attributes.get("exit_status", "")
                if code.lstrip("-").isdecimal() and int(code) != 0:
                    over = int(code) - _PBS_SIGNALS
                    end = f": ended by signal {over}" if over > 0 else ""
                    reasons[job, element or 1] = f"exit code {int(code)}{end}"
        return reasons

    def _attributes(
        self, jobs: Sequence[str], *options: str
    ) -> Iterator[tuple[str, int, dict[str, str]]]:
        """Yield the attributes of jobs and elements; element 0 is an array, or a single job."""
        if not jobs:
            return
        output = self.run("qstat", *options, "-f", *jobs, ignore=_PBS_GONE)
        numbers = {_number(job): job for job in jobs}
        for part in re.split(r"^Job Id: *", output, flags=re.MULTILINE)[1:]:
            head = re.match(r"(\d+)(?:\[(\d*)\])?", part)
            if head is not None and head[1] in numbers:
                # A long value continues in the next line, after a tab.
                lines = part.replace("\n\t", "").splitlines()
                pairs = (line.split(" = ", 1) for line in lines if " = " in line)
                attributes = {name.strip().lower(): value.strip() for name, value in pairs}
                yield numbers[head[1]], int(head[2] or 0), attributes

    def job_paths(self, jobs: Sequence[str]) -> Mapping[str, Sequence[Path]]:
        """Query ``qstat -f`` for the script and the output folder of each job."""
        paths = {}
        for job, _, attributes in self._attributes(jobs):
            words = attributes.get("submit_arguments", attributes.get("submit_args", ""))
            output = attributes.get("output_path", "").partition(":")[2]
            found = [*words.split(), output]
            paths[job] = [Path(word) for word in found if word.startswith("/")]
        return paths

    def cancel(self, job: str, elements: int) -> None:
        """Cancel a job by ``qdel``."""
        self.run("qdel", job, ignore=_PBS_GONE)

    def max_array_size(self, partition: str | None) -> int | None:
        """Query the server and the queue for the largest array."""
        output = self.run("qstat", "-B", "-f")
        if partition is not None:
            output += self.run("qstat", "-Q", "-f", partition)
        return min(map(int, _PBS_LIMIT.findall(output)), default=None)


def job_name(run: str, stage: str) -> str:
    """Name a job by its run and array, with characters and a length that every PBS takes.

    Examples
    --------
    >>> job_name("fields of home", "2-train"), job_name("2024", "10-calibrate")
    ('fields--2-train', 'h2-10-calibrate')
    """
    room = max(1, _MAX_NAME - 1 - len(stage))
    plain = re.sub(r"[^A-Za-z0-9_-]", "-", run)
    first = plain if plain[:1].isalpha() else f"h{plain}"
    return f"{first[:room]}-{stage}"[:_MAX_NAME]


def _number(job: str) -> str:
    """Return the bare number of a job, with which every answer begins."""
    return re.split(r"[.[]", job)[0]


def _time_limit(resources: JobResources) -> str:
    return f"-l walltime={format_time(resources.time)}" if resources.time else ""


class Torque(_PBS):
    """Torque, the dialect of older clusters: ``nodes=1:ppn=2``, arrays by ``-t``."""

    name = "pbs-torque"
    element = "${PBS_ARRAYID:-1}"
    empty_files = ("*.o[0-9]*-[0-9]*",)
    _waits = "afteranyarray"

    def cancel(self, job: str, elements: int) -> None:
        """Cancel a job by ``qdel``, which keeps a held array unless elements are named."""
        self.run("qdel", "-t", f"1-{elements}", job, ignore=_PBS_GONE)

    def output_patterns(self, job: str, element: int) -> Sequence[str]:
        """Return the pattern of ``NAME.oNUMBER-ELEMENT``."""
        return [f"*.o{_number(job)}-{element}"]

    def _requests(self, count: int, resources: JobResources, memory: str) -> list[str]:
        gpus = f":gpus={resources.gpus}" if resources.gpus else ""
        place = f"-l nodes=1:ppn={resources.cpus}{gpus}"
        return [f"-t 1-{count}", place, _time_limit(resources), memory and f"-l {memory}"]


class PBSPro(_PBS):
    """OpenPBS and PBS Pro: ``select=1:ncpus=2``, arrays by ``-J``."""

    name = "pbs-pro"
    element = "${PBS_ARRAY_INDEX:-1}"
    empty_files = ("[0-9]*.OU",)
    _waits = "afterany"
    _history = ("-x",)

    def output_patterns(self, job: str, element: int) -> Sequence[str]:
        """Return the pattern of ``NUMBER[ELEMENT].SERVER.OU``."""
        index = f"[[]{element}]" if "[" in job else ""
        return [f"{_number(job)}{index}.*.OU"]

    def _requests(self, count: int, resources: JobResources, memory: str) -> list[str]:
        gpus = f":ngpus={resources.gpus}" if resources.gpus else ""
        place = f"-l select=1:ncpus={resources.cpus}{gpus}{memory and f':{memory}'}"
        # PBS refuses an array of one element.
        return [f"-J 1-{count}" if count > 1 else "", place, _time_limit(resources)]


SYSTEMS: Mapping[str, BatchSystem] = {
    system.name: system for system in (Slurm(), Torque(), PBSPro())
}
"""The batch systems by their names on the command line."""
