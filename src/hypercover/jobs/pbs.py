"""PBS in its two dialects: Torque, and OpenPBS or PBS Pro."""

import math
import re
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path

from hypercover.errors import CallError
from hypercover.jobs.batch import Places, asked, job_in
from hypercover.jobs.executor import State
from hypercover.jobs.stages import Array
from hypercover.jobs.wanted import Wanted, clock

__all__ = ["PBSPro", "Torque"]

_LONGEST = 15
"""Letters of a name that every PBS takes."""
_MEGABYTE = 2**20
_STATES = {
    "Q": State.WAITING,
    "H": State.WAITING,
    "W": State.WAITING,
    "T": State.WAITING,
    "S": State.WAITING,
    "B": State.RUNNING,
    "R": State.RUNNING,
    "E": State.RUNNING,
    "C": State.DONE,
    "F": State.DONE,
    "X": State.DONE,
}
_ROW = re.compile(r"(\d+)(?:\[(\d*)\])?\S*\s+\S+\s+\S+\s+\S+\s+([A-Z])\s")
"""A row of ``qstat -t``: number, [element], name, user, time, state, queue."""


class _PBS:
    """What both dialects share."""

    name = "pbs"
    commands = ("qsub", "qstat", "qdel")
    _waits = ""
    """The dependency on the end of other jobs, however they end."""

    def head(self, array: Array, wanted: Wanted, title: str, output: Path) -> list[str]:
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
        if array.kind == "ranks" and wanted.nodes > 1:
            raise CallError(
                f"{self.name} is asked for {wanted.nodes} machines that train a network "
                "together, which hypercover starts under Slurm alone; ask for --nodes 1."
            )
        name = re.sub(r"[^A-Za-z0-9_-]", "-", f"hc-{array.name}")[:_LONGEST]
        lines = [f"-N {name}", *self._array(len(array.elements))]
        gpus = wanted.gpus if array.kind != "plain" else 0
        lines += [f"-l {resource}" for resource in self._resources(wanted, gpus)]
        lines += [f"-q {wanted.partition}"] if wanted.partition else []
        lines += [f"-A {wanted.account}"] if wanted.account else []
        # The shell of a person, which runs a script unless it says otherwise, may be another.
        lines.append("-S /bin/bash")
        # Several elements may share a folder, and each prints into a file of its own.
        lines += ["-j oe", f"-o {output}/", "-r y", *wanted.directives]
        return [f"#PBS {line}" for line in lines]

    @abstractmethod
    def variables(self, array: Array) -> Mapping[str, str]:
        """Return the shell's words for the number of an element."""

    @abstractmethod
    def _array(self, count: int) -> list[str]:
        """Return the option that makes an array."""

    @abstractmethod
    def _resources(self, wanted: Wanted, gpus: int) -> list[str]:
        """Return what is asked for by ``-l``."""

    def submit(self, script: Path, after: Sequence[str]) -> str:
        """Send a script and return the number of its job."""
        waits = ["-W", f"depend={self._waits}:{':'.join(after)}"] if after else []
        return job_in(asked(self, ["qsub", *waits, str(script)]))

    def states(self, jobs: Sequence[str]) -> Places:
        """Ask ``qstat``, which forgets a job when it ends or a little later."""
        numbers = {re.split(r"[.\[]", job)[0]: job for job in jobs}
        places = {}
        for line in asked(self, ["qstat", "-t"]).splitlines():
            found = _ROW.match(f"{line} ")
            if found is None or found[1] not in numbers or found[2] == "":
                continue
            places[numbers[found[1]], int(found[2] or 1)] = _STATES.get(
                found[3], State.FAILED
            )
        return places

    def cancel(self, jobs: Sequence[str]) -> None:
        """Call ``qdel``."""
        asked(self, ["qdel", *jobs])


def _memory(wanted: Wanted) -> str | None:
    if wanted.memory is None:
        return None
    return f"{math.ceil(wanted.memory / _MEGABYTE)}mb"


class Torque(_PBS):
    """Torque, the dialect of older clusters: ``nodes=1:ppn=2``, arrays by ``-t``."""

    name = "pbs-torque"
    _waits = "afteranyarray"

    def _array(self, count: int) -> list[str]:
        return [f"-t 1-{count}"]

    def _resources(self, wanted: Wanted, gpus: int) -> list[str]:
        place = f"nodes=1:ppn={wanted.cpus}" + (f":gpus={gpus}" if gpus else "")
        limit = f"walltime={clock(wanted.time)}" if wanted.time else None
        memory = _memory(wanted)
        return [item for item in (place, limit, memory and f"mem={memory}") if item]

    def variables(self, array: Array) -> Mapping[str, str]:
        """Return the shell's words for the number of an element."""
        return {"element": "${PBS_ARRAYID:-1}", "requeue": ""}


class PBSPro(_PBS):
    """OpenPBS and PBS Pro: ``select=1:ncpus=2``, arrays by ``-J``."""

    name = "pbs-pro"
    _waits = "afterany"

    def _array(self, count: int) -> list[str]:
        # An array of one element is refused.
        return [f"-J 1-{count}"] if count > 1 else []

    def _resources(self, wanted: Wanted, gpus: int) -> list[str]:
        memory = _memory(wanted)
        chunk = f"select=1:ncpus={wanted.cpus}" + (f":ngpus={gpus}" if gpus else "")
        chunk += f":mem={memory}" if memory else ""
        return [chunk, *([f"walltime={clock(wanted.time)}"] if wanted.time else [])]

    def variables(self, array: Array) -> Mapping[str, str]:
        """Return the shell's words for the number of an element."""
        return {"element": "${PBS_ARRAY_INDEX:-1}", "requeue": ""}
