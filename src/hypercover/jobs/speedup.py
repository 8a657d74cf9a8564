"""What a run cost one task after another, what it took, and how busy each worker was."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hypercover.files import csv_text
from hypercover.jobs.plan import Plan
from hypercover.jobs.record import TaskFiles, TaskRecord

__all__ = ["COLUMNS", "STAGES", "SpeedUp", "Stretch", "speed_up", "stretches_of"]

COLUMNS = ("worker", "tasks", "serial_seconds", "wall_seconds", "speed_up", "efficiency")
STAGES = ("task", "seconds", "share")
_PAUSE = 60.0
"""Seconds without any task after which a run counts as stopped meanwhile."""


@dataclass(frozen=True)
class Stretch:
    """One task: who did it, from when and for how long."""

    worker: str
    """Machine and process."""
    began: float
    """Seconds since 1970, by the clock of that machine."""
    seconds: float
    """How long it took."""
    task: str = ""
    """Its name."""
    processor: float | None = None
    """Processor seconds of it; those that passed where they are not known."""
    cores: int = 1
    """Cores that it could use."""

    @property
    def spent(self) -> float:
        """Processor seconds."""
        return self.seconds if self.processor is None else self.processor

    @property
    def ended(self) -> float:
        """When it was done."""
        return self.began + self.seconds


@dataclass(frozen=True)
class SpeedUp:
    """The lecture's comparison: processor seconds of all tasks over the time they took.

    A task that waits, for a disk or for a core that another program uses, gains nothing by
    being done beside others, so what counts is the time that processors worked.

    Examples
    --------
    >>> made = SpeedUp.of([Stretch("a", 0, 4), Stretch("b", 0, 2), Stretch("b", 2, 1)])
    >>> made.serial, made.wall, made.workers, made.factor, made.efficiency
    (7.0, 4.0, 2, 1.75, 0.875)
    """

    wall: float
    """Seconds from the first task to the last, pauses of the whole run left out."""
    tasks: dict[str, int]
    """Tasks of each worker."""
    busy: dict[str, float]
    """Processor seconds of each worker's tasks."""
    workers: int
    """Tasks that ran at the same time, at most: a worker that died counts with who took
    its place."""
    cores: int = 1
    """Cores that these tasks could use at the same time, at most."""
    stages: dict[str, float] = field(default_factory=dict)
    """Seconds of each task, in the order of the plan."""

    @classmethod
    def of(cls, stretches: Sequence[Stretch]) -> "SpeedUp":
        """Add up tasks that were done."""
        busy: dict[str, float] = {}
        tasks: dict[str, int] = {}
        for each in stretches:
            busy[each.worker] = busy.get(each.worker, 0.0) + each.spent
            tasks[each.worker] = tasks.get(each.worker, 0) + 1
        stages = {each.task: each.seconds for each in stretches if each.task}
        workers = _most_at_once([(each, 1) for each in stretches])
        cores = _most_at_once([(each, each.cores) for each in stretches])
        return cls(_wall(stretches), tasks, busy, workers, cores, stages)

    @property
    def serial(self) -> float:
        """Processor seconds of all tasks."""
        return sum(self.busy.values())

    @property
    def factor(self) -> float:
        """Processor seconds over wall time."""
        return self.serial / self.wall if self.wall > 0 else 1.0

    @property
    def efficiency(self) -> float:
        """Share of the cores' time that went into tasks."""
        return self.factor / max(1, self.cores)

    def csv(self) -> str:
        """Return a line for all workers together, and one for each.

        The speed-up of a worker is what it adds to that of all.
        """
        count, wall = sum(self.tasks.values()), f"{self.wall:.3f}"
        share = (f"{self.factor:.3f}", f"{self.efficiency:.3f}")
        together = (f"all {self.workers}", count, f"{self.serial:.3f}", wall, *share)
        rows: list[tuple[object, ...]] = [COLUMNS, together]
        for worker, busy in sorted(self.busy.items()):
            part = f"{busy / self.wall if self.wall > 0 else 1.0:.3f}"
            rows.append((worker, self.tasks[worker], f"{busy:.3f}", wall, part, part))
        return csv_text(rows)

    def stages_csv(self) -> str:
        """Return a line for each task: its seconds and its share of the sum.

        Where a run was killed, a task counts as it was done last.
        """
        return _share_lines(self.stages)


def _share_lines(stages: Mapping[str, float]) -> str:
    """Return a line for each task, with its share of the seconds of all."""
    whole = sum(stages.values())
    shares = {task: took / whole if whole > 0 else 0.0 for task, took in stages.items()}
    rows = ((task, f"{stages[task]:.3f}", f"{shares[task]:.4f}") for task in stages)
    return csv_text([STAGES, *rows])


def stretches_of(records: Iterable[tuple[str, TaskRecord]]) -> list[Stretch]:
    """Return who did which task when, of tasks by name; of old records it is not known."""
    return [
        Stretch(
            f"{record.host} {record.pid}",
            record.began,
            record.seconds,
            name,
            record.processor,
            record.cores,
        )
        for name, record in records
        if record.began is not None
    ]


def speed_up(
    plan: Plan, folder: str | Path, *, without: Collection[str] = ()
) -> SpeedUp | None:
    """Add up the tasks of a plan that are done in a folder; None where none is.

    Parameters
    ----------
    without : names of tasks to leave out, such as the one that asks
    """
    records = (
        (task.name, TaskFiles(folder, task.name).read_record(plan.fingerprints[task.name]))
        for task in plan.tasks
        if task.name not in without
    )
    found = stretches_of((name, record) for name, record in records if record is not None)
    return SpeedUp.of(found) if found else None


def _wall(stretches: Sequence[Stretch]) -> float:
    """Add up the time from the first task to the last without long pauses between tasks."""
    total, until = 0.0, None
    for each in sorted(stretches, key=lambda one: one.began):
        if until is None or each.began - until > _PAUSE:
            until = each.began
        total += max(0.0, each.ended - until)
        until = max(until, each.ended)
    return total


def _most_at_once(weighed: Sequence[tuple[Stretch, int]]) -> int:
    """Add up the weights of the tasks that ran at the same time, at most."""
    turns = [(each.began, weight) for each, weight in weighed] + [
        (each.ended, -weight) for each, weight in weighed
    ]
    most = now = 0
    # An end comes before a beginning at the same moment.
    for _, turn in sorted(turns):
        now += turn
        most = max(most, now)
    return most
