"""Naming tasks of a plan: by number, by a range of numbers, or by name."""

import re
from collections.abc import Iterator

from hypercover.errors import CallError, counted
from hypercover.jobs.plan import Plan

__all__ = ["selected"]

_RANGE = re.compile(r"([0-9]{1,9})(?:-([0-9]{1,9}))?")


def selected(plan: Plan, *texts: str) -> list[str]:
    """Return the names of the tasks that texts such as ``4-9,12,reduce`` select, each once.

    Numbers count the tasks in the order in which they can be done, from 1.

    Raises
    ------
    CallError
        If a number or a name is none of the plan.

    Examples
    --------
    >>> from hypercover.jobs.plan import Task
    >>> from hypercover.jobs.registry import Registry, TaskKind
    >>> kinds = Registry("shop:KINDS", {"tidy": TaskKind("shop.work:tidy")})
    >>> plan = Plan(tuple(Task(name, "tidy") for name in "abcd"), kinds)
    >>> selected(plan, "2-3", "d,b")
    ['b', 'c', 'd']
    """
    words = (word.strip() for text in texts for word in text.split(","))
    names = (name for word in words if word for name in _names(plan, word))
    return list(dict.fromkeys(names))


def _names(plan: Plan, word: str) -> Iterator[str]:
    """Go through the tasks of one word."""
    found = _RANGE.fullmatch(word)
    if found is None:
        yield plan.task(word).name
        return
    first, last = int(found[1]), int(found[2] or found[1])
    if not 1 <= first <= last <= len(plan.tasks):
        raise CallError(
            f"The plan has {counted(len(plan.tasks), 'task')}, numbered from 1; {word!r} is "
            "none of them: hypercover plan prints them."
        )
    yield from (task.name for task in plan.ordered[first - 1 : last])
