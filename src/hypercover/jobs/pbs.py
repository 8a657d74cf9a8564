"""PBS in its two dialects: Torque, and OpenPBS or PBS Pro."""

import math
import re
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
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

_MAX_NAME = 15
"""Characters of a job name that every PBS takes."""
_GONE = re.compile(
    r"Unknown Job Id|nonexistent job id|has finished|already completed|invalid state"
    r"|privilege to use -m parameter"
)
"""Complaints about jobs that ended, or were deleted with those they waited for; Torque
complains about -m if it no longer knows an array."""
_LIMIT = re.compile(r"^\s*max_(?:job_)?array_size = (\d+)\s*$", re.MULTILINE)
_SIGNALS = 256
"""Exit codes above it mean that a signal ended the job."""
_MEGABYTE = 2**20
_STATES = {
    "Q": TaskState.WAITING,
    "H": TaskState.WAITING,
    "W": TaskState.WAITING,
    "T": TaskState.WAITING,
    "S": TaskState.WAITING,
    "B": TaskState.RUNNING,
    "R": TaskState.RUNNING,
    "E": TaskState.RUNNING,
    "C": TaskState.DONE,
    "F": TaskState.DONE,
    "X": TaskState.DONE,
}
_ROW = re.compile(r"(\d+)(?:\[(\d*)\])?\S*\s+\S+\s+\S+\s+\S+\s+([A-Z])\s")
"""A row of ``qstat -t``: number, [element], name, user, time, state, queue."""


class _PBS:
    """The part that both dialects share."""

    name = "pbs"
    commands = ("qsub", "qstat", "qdel", "qrls")
    _index = ""
    """Shell variable of an element's number."""
    _waits = ""
    """Dependency on the end of other jobs, however they end."""
    _history: tuple[str, ...] = ()
    """Options of ``qstat`` that show ended jobs."""

    def header(
        self,
        array: JobArray,
        resources: JobResources,
        title: str,
        output: Path,
        *,
        umask: str = "0022",
    ) -> list[str]:
        """Return the ``#PBS`` lines of an array.

        Raises
        ------
        CallError
            If several machines are requested, or a ``#PBS`` line cannot name the folder.
        """
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
        lines = [f"-N {job_name(title, array.name)}", *self._array(len(array.elements))]
        lines += [
            f"-l {resource}" for resource in self._resources(resources, resources.gpus)
        ]
        lines += [f"-q {resources.partition}"] if resources.partition else []
        lines += [f"-A {resources.account}"] if resources.account else []
        # By default PBS runs a script in the login shell of the user.
        lines.append("-S /bin/bash")
        lines += [
            "-j oe",
            f"-o {output}/",
            "-r y",
            f"-W umask={umask}",
            *resources.directives,
        ]
        return [f"#PBS {line}" for line in lines]

    def shell_variables(self, array: JobArray) -> Mapping[str, str]:
        """Return the shell code of an element's number."""
        return {"element": f"${{{self._index}:-1}}", "requeue": ""}

    @abstractmethod
    def _array(self, count: int) -> list[str]:
        """Return the option that makes an array."""

    @abstractmethod
    def _resources(self, resources: JobResources, gpus: int) -> list[str]:
        """Return the values of ``-l``."""

    def submit(self, script: Path, after: Sequence[str], *, hold: bool = False) -> str:
        """Submit a script and return the number of its job."""
        words = ["-h"] if hold else []
        words += ["-W", f"depend={self._waits}:{':'.join(after)}"] if after else []
        return parse_job_id(
            run_command(self, ["qsub", *words, str(script)], timeout=SUBMIT_TIMEOUT)
        )

    def release(self, jobs: Sequence[str]) -> None:
        """Release held jobs by ``qrls``."""
        run_command(self, ["qrls", *jobs])

    def states(self, jobs: Sequence[str]) -> ElementStates:
        """Query ``qstat``, which forgets a job when it ends or a little later."""
        numbers, states = _numbers(jobs), {}
        output = run_command(self, ["qstat", "-t", *jobs], ignore=_GONE) if jobs else ""
        for line in output.splitlines():
            row = _ROW.match(f"{line} ")
            if row is None or row[1] not in numbers or row[2] == "":
                continue
            state = _STATES.get(row[3], TaskState.FAILED)
            states[numbers[row[1]], int(row[2] or 1)] = ElementStatus(state)
        return states

    def reasons(self, waiting: Sequence[str], ended: Sequence[str]) -> Reasons:
        """Query ``qstat -f`` for the comments of jobs and the exit codes of elements."""
        reasons: dict[tuple[str, int], str] = {}
        # Reasons are optional: what qstat does not tell is left out.
        with suppress(HypercoverError):
            for job, element, attributes in self._attributes_of([], waiting):
                comment = attributes.get("comment", "")
                # The comment of an array that has begun only says when.
                if comment and not comment.startswith("Job "):
                    reasons[job, element] = comment
        with suppress(HypercoverError):
            for job, element, attributes in self._attributes_of(
                [*self._history, "-t"], ended
            ):
                code = attributes.get("exit_status", "")
                if code.lstrip("-").isdecimal() and int(code) != 0:
                    reasons[job, element or 1] = _exit_reason(int(code))
        return reasons

    def _attributes_of(
        self, options: Sequence[str], jobs: Sequence[str]
    ) -> Iterator[tuple[str, int, dict[str, str]]]:
        """Yield the attributes of jobs and elements; element 0 is an array, or a single job."""
        if not jobs:
            return
        output = run_command(self, ["qstat", *options, "-f", *jobs], ignore=_GONE)
        numbers = _numbers(jobs)
        for part in re.split(r"^Job Id: *", output, flags=re.MULTILINE)[1:]:
            head = re.match(r"(\d+)(?:\[(\d*)\])?", part)
            if head is not None and head[1] in numbers:
                yield numbers[head[1]], int(head[2] or 0), _attributes(part)

    def job_paths(self, jobs: Sequence[str]) -> Mapping[str, Sequence[Path]]:
        """Query ``qstat -f`` for the script and the output folder of each job."""
        paths = {}
        for job, _, attributes in self._attributes_of([], jobs):
            words = attributes.get(
                "submit_arguments", attributes.get("submit_args", "")
            ).split()
            words.append(attributes.get("output_path", "").partition(":")[2])
            paths[job] = [Path(word) for word in words if word.startswith("/")]
        return paths

    def cancel(self, job: str, elements: int) -> None:
        """Cancel a job by ``qdel``."""
        run_command(self, ["qdel", *self._deleted(job, elements)], ignore=_GONE)

    @abstractmethod
    def output_patterns(self, job: str, element: int) -> Sequence[str]:
        """Return patterns of the files into which PBS prints for an element."""

    @abstractmethod
    def empty_file_patterns(self) -> Sequence[str]:
        """Return patterns of files that PBS leaves for every element, even empty."""

    @abstractmethod
    def _deleted(self, job: str, count: int) -> list[str]:
        """Return the arguments by which ``qdel`` deletes all elements of a job."""

    def max_array_size(self, partition: str | None) -> int | None:
        """Query the server and the queue for the largest array."""
        output = run_command(self, ["qstat", "-B", "-f"])
        if partition is not None:
            output += run_command(self, ["qstat", "-Q", "-f", partition])
        sizes = [int(size) for size in _LIMIT.findall(output)]
        return min(sizes, default=None)


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


def _numbers(jobs: Sequence[str]) -> dict[str, str]:
    """Return jobs by their bare number, with which every answer begins."""
    return {re.split(r"[.\[]", job)[0]: job for job in jobs}


def _attributes(part: str) -> dict[str, str]:
    """Read the attributes of one job in what ``qstat -f`` prints."""
    # A long value continues in the next line, after a tab.
    lines = re.sub(r"\n\t", "", part).splitlines()
    pairs = (line.split(" = ", 1) for line in lines if " = " in line)
    return {name.strip().lower(): value.strip() for name, value in pairs}


def _exit_reason(code: int) -> str:
    """Describe an exit code of PBS."""
    if code > _SIGNALS:
        return f"exit code {code}: ended by signal {code - _SIGNALS}"
    return f"exit code {code}"


def _memory(resources: JobResources) -> str | None:
    """Write memory for PBS: that of all cores, as not every PBS has memory per core."""
    size = resources.memory or (resources.memory_per_cpu or 0) * resources.cpus
    return f"{math.ceil(size / _MEGABYTE)}mb" if size else None


class Torque(_PBS):
    """Torque, the dialect of older clusters: ``nodes=1:ppn=2``, arrays by ``-t``."""

    name = "pbs-torque"
    _index = "PBS_ARRAYID"
    _waits = "afteranyarray"

    def _deleted(self, job: str, count: int) -> list[str]:
        # qdel reports a held array as deleted, but keeps it, unless elements are named.
        return ["-t", f"1-{count}", job]

    def output_patterns(self, job: str, element: int) -> Sequence[str]:
        """Return the pattern of ``NAME.oNUMBER-ELEMENT``."""
        return [f"*.o{re.split(r'[.[]', job)[0]}-{element}"]

    def empty_file_patterns(self) -> Sequence[str]:
        """Return the pattern of an element's output."""
        return ["*.o[0-9]*-[0-9]*"]

    def _array(self, count: int) -> list[str]:
        return [f"-t 1-{count}"]

    def _resources(self, resources: JobResources, gpus: int) -> list[str]:
        place = f"nodes=1:ppn={resources.cpus}" + (f":gpus={gpus}" if gpus else "")
        limit = f"walltime={format_time(resources.time)}" if resources.time else None
        memory = _memory(resources)
        return [item for item in (place, limit, memory and f"mem={memory}") if item]


class PBSPro(_PBS):
    """OpenPBS and PBS Pro: ``select=1:ncpus=2``, arrays by ``-J``."""

    name = "pbs-pro"
    _index = "PBS_ARRAY_INDEX"
    _waits = "afterany"
    _history = ("-x",)

    def _deleted(self, job: str, count: int) -> list[str]:
        return [job]

    def output_patterns(self, job: str, element: int) -> Sequence[str]:
        """Return the pattern of ``NUMBER[ELEMENT].SERVER.OU``."""
        number = re.split(r"[.[]", job)[0]
        own = f"{number}[[]{element}].*.OU"
        return [own] if "[" in job else [f"{number}.*.OU"]

    def empty_file_patterns(self) -> Sequence[str]:
        """Return the pattern of an element's output."""
        return ["[0-9]*.OU"]

    def _array(self, count: int) -> list[str]:
        # PBS refuses an array of one element.
        return [f"-J 1-{count}"] if count > 1 else []

    def _resources(self, resources: JobResources, gpus: int) -> list[str]:
        memory = _memory(resources)
        chunk = f"select=1:ncpus={resources.cpus}" + (f":ngpus={gpus}" if gpus else "")
        chunk += f":mem={memory}" if memory else ""
        return [
            chunk,
            *([f"walltime={format_time(resources.time)}"] if resources.time else []),
        ]
