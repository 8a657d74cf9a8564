"""From a plan to job arrays: which tasks go together, and which array waits for which."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Literal

from hypercover.errors import CallError
from hypercover.jobs.plan import Plan, Task

__all__ = ["MINUTES", "ArrayKind", "JobArray", "make_job_arrays"]

MINUTES = 5.0
"""Minutes of work that an element holds by default: starting one costs seconds."""
_MOST = 1000
"""Elements of an array that batch systems take by default, and of a stage by ours."""
_PARTS = 50
"""Arrays into which stages may be cut beyond their number."""

ArrayKind = Literal["plain", "gpu", "ranks"]
"""What a task runs on: cores, cores and GPUs, or several processes that torchrun starts."""


@dataclass(frozen=True)
class JobArray:
    """A job array: elements that may run at once, each some tasks one after another."""

    name: str
    """Number and first word of its tasks, as in ``2-train``."""
    elements: tuple[tuple[str, ...], ...]
    """Names of the tasks of each element, in an order in which they can be done."""
    kind: ArrayKind
    """What its tasks run on."""
    after: tuple[str, ...]
    """Names of the arrays it waits for."""


def make_job_arrays(
    plan: Plan,
    names: Sequence[str],
    *,
    kinds: Mapping[str, ArrayKind],
    seconds: Mapping[str, float],
    chunk: int | None = None,
    limit: float = math.inf,
    most: int | None = None,
) -> tuple[JobArray, ...]:
    """Sort tasks of a plan into job arrays.

    Tasks that need each other stand in different arrays, unless all of several
    arrays fits into one element: then one does them in turn.

    Parameters
    ----------
    names : the tasks that are to be done; what else they need is done
    kinds : what each task runs on; ``plain`` where it is not named
    seconds : estimate of each task
    chunk : tasks of an element; by default as many as take some minutes
    limit : seconds an element may take
    most : elements that the batch system takes in an array; more become several arrays

    Raises
    ------
    CallError
        If more arrays were needed than any batch system is to be sent.
    """
    wanted = set(names)
    levels = _levels(plan, wanted, kinds)
    filled = [
        (kind, _filled(tasks, seconds, kind=kind, chunk=chunk, limit=limit))
        for kind, tasks in levels
    ]
    joined = _joined(filled, seconds, limit)
    most = _MOST if most is None else most
    split = [
        (kind, elements[at : at + most])
        for kind, elements in joined
        for at in range(0, len(elements), most)
    ]
    if len(split) - len(joined) > _PARTS:
        raise CallError(
            f"{sum(len(elements) for _, elements in joined)} elements would need "
            f"{len(split)} arrays of {most}, the most that the batch system takes; put more "
            f"tasks into an element with --array-chunk{f', now {chunk}' if chunk else ''}."
        )
    return tuple(_waiting(plan, split))


def _levels(
    plan: Plan, wanted: set[str], kinds: Mapping[str, ArrayKind]
) -> list[tuple[ArrayKind, list[Task]]]:
    """Sort tasks by how deep their needs are, and by what they run on."""
    depths: dict[str, int] = {}
    tasks = [task for task in plan.ordered if task.name in wanted]
    for task in tasks:
        depths[task.name] = 1 + max(
            (depths.get(need, -1) for need in task.needs), default=-1
        )

    def level(task: Task) -> tuple[int, ArrayKind]:
        return depths[task.name], kinds.get(task.name, "plain")

    return [
        (kind, list(group)) for (_, kind), group in groupby(sorted(tasks, key=level), level)
    ]


Elements = list[tuple[str, ...]]


def _filled(
    tasks: Sequence[Task],
    seconds: Mapping[str, float],
    *,
    kind: ArrayKind,
    chunk: int | None,
    limit: float,
) -> Elements:
    """Fill elements with tasks, by number or up to some minutes of work."""
    names = [task.name for task in tasks]
    if kind == "ranks":
        return [(name,) for name in names]
    if chunk is not None:
        return [tuple(names[at : at + chunk]) for at in range(0, len(names), chunk)]
    # Half of the limit, as estimates may be wrong.
    most = min(MINUTES * 60, limit / 2)
    while len(elements := list(_poured(names, seconds, most))) > _MOST:
        most *= 2
    return elements


def _poured(
    names: Sequence[str], seconds: Mapping[str, float], most: float
) -> Iterator[tuple[str, ...]]:
    """Go through elements that each hold as many tasks as take no longer than that."""
    held: list[str] = []
    total = 0.0
    for name in names:
        if held and total + seconds[name] > most:
            yield tuple(held)
            held, total = [], 0.0
        held.append(name)
        total += seconds[name]
    yield tuple(held)


def _joined(
    levels: list[tuple[ArrayKind, Elements]], seconds: Mapping[str, float], limit: float
) -> list[tuple[ArrayKind, Elements]]:
    """Join neighbours of one element each: they would run in turn anyway."""
    joined: list[tuple[ArrayKind, Elements]] = []
    for kind, elements in levels:
        last_kind, last = joined[-1] if joined else ("ranks", [])
        both = (*last[0], *elements[0]) if last else elements[0]
        fits = sum(seconds[name] for name in both) <= limit / 2
        if len(last) == len(elements) == 1 and last_kind == kind != "ranks" and fits:
            joined[-1] = kind, [both]
        else:
            joined.append((kind, elements))
    return joined


def _waiting(plan: Plan, levels: list[tuple[ArrayKind, Elements]]) -> Iterator[JobArray]:
    """Name the arrays, and say for each which of those before it are needed."""
    home: dict[str, str] = {}
    made: list[JobArray] = []
    for number, (kind, elements) in enumerate(levels, start=1):
        names = [name for element in elements for name in element]
        title = f"{number}-{names[0].partition('-')[0]}"
        needs = {
            home[need] for name in names for need in plan.task(name).needs if need in home
        }
        array = JobArray(title, tuple(elements), kind, tuple(sorted(needs)))
        home |= dict.fromkeys(names, title)
        made.append(array)
    if made:
        # The last one has the last word, on whatever failed.
        made[-1] = replace(made[-1], after=tuple(array.name for array in made[:-1]))
    yield from made
