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

__all__ = ["PBSPro", "Torque", "job_name"]

_LONGEST = 15
"""Letters of a name that every PBS takes."""
_GONE = re.compile(
    r"Unknown Job Id|nonexistent job id|has finished|already completed|invalid state"
    r"|privilege to use -m parameter"
)
"""What is said of jobs that ended, or that went with those they waited for; Torque speaks
of -m where it no longer knows an array."""
_LIMIT = re.compile(r"^\s*max_(?:job_)?array_size = (\d+)\s*$", re.MULTILINE)
_SIGNALS = 256
"""An exit code above it is that of a job ended by a signal."""
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
    """What both dialects share."""

    name = "pbs"
    commands = ("qsub", "qstat", "qdel", "qrls")
    _waits = ""
    """The dependency on the end of other jobs, however they end."""
    _history: tuple[str, ...] = ()
    """Options of ``qstat`` that show jobs that ended."""

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
            If several machines are asked for, or no line of ``#PBS`` can name the folder.
        """
        if not re.fullmatch(r"/[\w./+=@~-]+", str(output)):
            raise CallError(
                f"{self.name} prints into no path with spaces or signs such as : and %, got "
                f"{str(output)!r}; choose another run folder with --out."
            )
        if array.kind == "ranks" and resources.nodes > 1:
            raise CallError(
                f"{self.name} is asked for {resources.nodes} machines that train a network "
                "together, which hypercover starts under Slurm alone; ask for --nodes 1."
            )
        lines = [f"-N {job_name(title, array.name)}", *self._array(len(array.elements))]
        lines += [
            f"-l {resource}" for resource in self._resources(resources, resources.gpus)
        ]
        lines += [f"-q {resources.partition}"] if resources.partition else []
        lines += [f"-A {resources.account}"] if resources.account else []
        # The shell of a person, which runs a script unless it says otherwise, may be another.
        lines.append("-S /bin/bash")
        # Several elements may share a folder, and each prints into a file of its own.
        lines += [
            "-j oe",
            f"-o {output}/",
            "-r y",
            f"-W umask={umask}",
            *resources.directives,
        ]
        return [f"#PBS {line}" for line in lines]

    @abstractmethod
    def shell_variables(self, array: JobArray) -> Mapping[str, str]:
        """Return the shell's words for the number of an element."""

    @abstractmethod
    def _array(self, count: int) -> list[str]:
        """Return the option that makes an array."""

    @abstractmethod
    def _resources(self, resources: JobResources, gpus: int) -> list[str]:
        """Return what is asked for by ``-l``."""

    def submit(self, script: Path, after: Sequence[str], *, hold: bool = False) -> str:
        """Send a script and return the number of its job."""
        words = ["-h"] if hold else []
        words += ["-W", f"depend={self._waits}:{':'.join(after)}"] if after else []
        return parse_job_id(
            run_command(self, ["qsub", *words, str(script)], patience=SUBMIT_TIMEOUT)
        )

    def release(self, jobs: Sequence[str]) -> None:
        """Call ``qrls``."""
        run_command(self, ["qrls", *jobs])

    def states(self, jobs: Sequence[str]) -> ElementStates:
        """Ask ``qstat``, which forgets a job when it ends or a little later."""
        numbers, places = _numbers(jobs), {}
        said = run_command(self, ["qstat", "-t", *jobs], forgive=_GONE) if jobs else ""
        for line in said.splitlines():
            found = _ROW.match(f"{line} ")
            if found is None or found[1] not in numbers or found[2] == "":
                continue
            state = _STATES.get(found[3], TaskState.FAILED)
            places[numbers[found[1]], int(found[2] or 1)] = ElementStatus(state)
        return places

    def reasons(self, waiting: Sequence[str], ended: Sequence[str]) -> Reasons:
        """Ask ``qstat -f`` for the comments of jobs and the exit codes of elements."""
        found: dict[tuple[str, int], str] = {}
        # What cannot be told is left out.
        with suppress(HypercoverError):
            for job, element, facts in self._facts([], waiting):
                comment = facts.get("comment", "")
                # Of an array that has begun it is only said when.
                if comment and not comment.startswith("Job "):
                    found[job, element] = comment
        with suppress(HypercoverError):  # without a history nothing is known
            for job, element, facts in self._facts([*self._history, "-t"], ended):
                code = facts.get("exit_status", "")
                if code.lstrip("-").isdecimal() and int(code) != 0:
                    found[job, element or 1] = _ending(int(code))
        return found

    def _facts(
        self, options: Sequence[str], jobs: Sequence[str]
    ) -> Iterator[tuple[str, int, dict[str, str]]]:
        """Go through what is known of jobs and elements; 0 is an array, or a job alone."""
        if not jobs:
            return
        said = run_command(self, ["qstat", *options, "-f", *jobs], forgive=_GONE)
        numbers = _numbers(jobs)
        for part in re.split(r"^Job Id: *", said, flags=re.MULTILINE)[1:]:
            head = re.match(r"(\d+)(?:\[(\d*)\])?", part)
            if head is not None and head[1] in numbers:
                yield numbers[head[1]], int(head[2] or 0), _attributes(part)

    def job_paths(self, jobs: Sequence[str]) -> Mapping[str, Sequence[Path]]:
        """Ask ``qstat -f`` for the script of each job and where it prints."""
        found = {}
        for job, _, facts in self._facts([], jobs):
            words = facts.get("submit_arguments", facts.get("submit_args", "")).split()
            words.append(facts.get("output_path", "").partition(":")[2])
            found[job] = [Path(word) for word in words if word.startswith("/")]
        return found

    def cancel(self, job: str, elements: int) -> None:
        """Call ``qdel``."""
        run_command(self, ["qdel", *self._deleted(job, elements)], forgive=_GONE)

    @abstractmethod
    def output_patterns(self, job: str, element: int) -> Sequence[str]:
        """Return patterns of the files into which PBS itself prints for an element."""

    @abstractmethod
    def empty_file_patterns(self) -> Sequence[str]:
        """Return patterns of files that PBS leaves for every element, empty or not."""

    @abstractmethod
    def _deleted(self, job: str, count: int) -> list[str]:
        """Return the words by which ``qdel`` takes back all elements of a job."""

    def max_array_size(self, partition: str | None) -> int | None:
        """Ask the server, and the queue, how large an array may be."""
        said = run_command(self, ["qstat", "-B", "-f"])
        if partition is not None:
            said += run_command(self, ["qstat", "-Q", "-f", partition])
        sizes = [int(size) for size in _LIMIT.findall(said)]
        return min(sizes, default=None)


def job_name(run: str, stage: str) -> str:
    """Name a job by its run and stage, in letters and a length that every PBS takes.

    Examples
    --------
    >>> job_name("fields of home", "2-train"), job_name("2024", "10-calibrate")
    ('fields--2-train', 'h2-10-calibrate')
    """
    room = max(1, _LONGEST - 1 - len(stage))
    plain = re.sub(r"[^A-Za-z0-9_-]", "-", run)
    first = plain if plain[:1].isalpha() else f"h{plain}"
    return f"{first[:room]}-{stage}"[:_LONGEST]


def _numbers(jobs: Sequence[str]) -> dict[str, str]:
    """Return jobs by their bare number, by which every answer begins."""
    return {re.split(r"[.\[]", job)[0]: job for job in jobs}


def _attributes(part: str) -> dict[str, str]:
    """Read the attributes of one job in what ``qstat -f`` prints."""
    # A long value goes on in the next line, after a tab.
    lines = re.sub(r"\n\t", "", part).splitlines()
    pairs = (line.split(" = ", 1) for line in lines if " = " in line)
    return {name.strip().lower(): value.strip() for name, value in pairs}


def _ending(code: int) -> str:
    """Say what an exit code of PBS means."""
    if code > _SIGNALS:
        return f"exit code {code}: ended by signal {code - _SIGNALS}"
    return f"exit code {code}"


def _memory(resources: JobResources) -> str | None:
    """Write memory as PBS reads it; it is that of all cores, as not every PBS has another."""
    size = resources.memory or (resources.memory_per_cpu or 0) * resources.cpus
    return f"{math.ceil(size / _MEGABYTE)}mb" if size else None


class Torque(_PBS):
    """Torque, the dialect of older clusters: ``nodes=1:ppn=2``, arrays by ``-t``."""

    name = "pbs-torque"
    _waits = "afteranyarray"

    def _deleted(self, job: str, count: int) -> list[str]:
        # Of a held array as a whole qdel only says that it is deleted.
        return ["-t", f"1-{count}", job]

    def output_patterns(self, job: str, element: int) -> Sequence[str]:
        """Return the pattern of ``NAME.oNUMBER-ELEMENT``."""
        return [f"*.o{re.split(r'[.[]', job)[0]}-{element}"]

    def empty_file_patterns(self) -> Sequence[str]:
        """Return the pattern of what an element prints."""
        return ["*.o[0-9]*-[0-9]*"]

    def _array(self, count: int) -> list[str]:
        return [f"-t 1-{count}"]

    def _resources(self, resources: JobResources, gpus: int) -> list[str]:
        place = f"nodes=1:ppn={resources.cpus}" + (f":gpus={gpus}" if gpus else "")
        limit = f"walltime={format_time(resources.time)}" if resources.time else None
        memory = _memory(resources)
        return [item for item in (place, limit, memory and f"mem={memory}") if item]

    def shell_variables(self, array: JobArray) -> Mapping[str, str]:
        """Return the shell's words for the number of an element."""
        return {"element": "${PBS_ARRAYID:-1}", "requeue": ""}


class PBSPro(_PBS):
    """OpenPBS and PBS Pro: ``select=1:ncpus=2``, arrays by ``-J``."""

    name = "pbs-pro"
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
        """Return the pattern of what an element prints."""
        return ["[0-9]*.OU"]

    def _array(self, count: int) -> list[str]:
        # An array of one element is refused.
        return [f"-J 1-{count}"] if count > 1 else []

    def _resources(self, resources: JobResources, gpus: int) -> list[str]:
        memory = _memory(resources)
        chunk = f"select=1:ncpus={resources.cpus}" + (f":ngpus={gpus}" if gpus else "")
        chunk += f":mem={memory}" if memory else ""
        return [
            chunk,
            *([f"walltime={format_time(resources.time)}"] if resources.time else []),
        ]

    def shell_variables(self, array: JobArray) -> Mapping[str, str]:
        """Return the shell's words for the number of an element."""
        return {"element": "${PBS_ARRAY_INDEX:-1}", "requeue": ""}
