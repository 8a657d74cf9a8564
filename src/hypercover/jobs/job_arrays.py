"""Job arrays: the tasks of a plan in groups, and the arrays that each waits for."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Literal

from hypercover.errors import CallError
from hypercover.jobs.plan import Plan, Task

MINUTES = 5.0
"""Minutes of work in an element by default: starting one costs seconds."""
_MAX_ELEMENTS = 1000
"""Elements of an array that batch systems accept by default."""
_MAX_EXTRA_ARRAYS = 50
"""Arrays that may be added because an array has too many elements."""

ArrayKind = Literal["plain", "gpu", "ranks"]
"""Cores, cores and GPUs, or several processes that torchrun starts."""


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

    Tasks that need each other are put into different arrays, unless all of several
    arrays fit into one element, which does them in turn.

    Parameters
    ----------
    names : the missing tasks; other tasks that they need are done
    kinds : kind of each task; ``plain`` by default
    seconds : expected time of each task
    chunk : tasks per element; by default as many as take some minutes
    limit : time limit of an element in seconds
    most : elements that the batch system accepts in an array

    Raises
    ------
    CallError
        If too many arrays were needed.
    """
    levels = [
        (kind, _elements(tasks, seconds, kind=kind, chunk=chunk, limit=limit))
        for kind, tasks in _levels(plan, set(names), kinds)
    ]
    joined = _joined(levels, seconds, limit)
    most = _MAX_ELEMENTS if most is None else most
    split = [
        (kind, elements[at : at + most])
        for kind, elements in joined
        for at in range(0, len(elements), most)
    ]
    if len(split) - len(joined) > _MAX_EXTRA_ARRAYS:
        raise CallError(
            f"{sum(len(elements) for _, elements in joined)} elements would need "
            f"{len(split)} arrays of {most}, the most that the batch system accepts; put more "
            f"tasks into an element with --array-chunk{f', now {chunk}' if chunk else ''}."
        )
    return tuple(_named(plan, split))


def _levels(
    plan: Plan, names: set[str], kinds: Mapping[str, ArrayKind]
) -> list[tuple[ArrayKind, list[Task]]]:
    """Sort tasks by the depth of their needs, then by kind."""
    depths: dict[str, int] = {}
    tasks = [task for task in plan.ordered if task.name in names]
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


def _elements(
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
    # Half of the limit, as expected times may be wrong.
    most = min(MINUTES * 60, limit / 2)
    while len(elements := list(_chunks(names, seconds, most))) > _MAX_ELEMENTS:
        most *= 2
    return elements


def _chunks(
    names: Sequence[str], seconds: Mapping[str, float], most: float
) -> Iterator[tuple[str, ...]]:
    """Yield elements that each hold as many tasks as fit into ``most`` seconds."""
    element: list[str] = []
    total = 0.0
    for name in names:
        if element and total + seconds[name] > most:
            yield tuple(element)
            element, total = [], 0.0
        element.append(name)
        total += seconds[name]
    yield tuple(element)


def _joined(
    levels: list[tuple[ArrayKind, Elements]], seconds: Mapping[str, float], limit: float
) -> list[tuple[ArrayKind, Elements]]:
    """Join successive arrays of one element each: they would run in turn anyway."""
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


def _named(plan: Plan, levels: list[tuple[ArrayKind, Elements]]) -> Iterator[JobArray]:
    """Name the arrays, and list for each the arrays it waits for."""
    array_of: dict[str, str] = {}
    made: list[JobArray] = []
    for number, (kind, elements) in enumerate(levels, start=1):
        names = [name for element in elements for name in element]
        title = f"{number}-{names[0].partition('-')[0]}"
        needs = {
            array_of[need]
            for name in names
            for need in plan.task(name).needs
            if need in array_of
        }
        array = JobArray(title, tuple(elements), kind, tuple(sorted(needs)))
        array_of |= dict.fromkeys(names, title)
        made.append(array)
    if made:
        # The last array reports what failed, so it waits for all others.
        made[-1] = replace(made[-1], after=tuple(array.name for array in made[:-1]))
    yield from made
