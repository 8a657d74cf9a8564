"""Tasks by number, by range and by name."""

import pytest

from hypercover.errors import CallError
from hypercover.jobs.plan import Plan, Task
from hypercover.jobs.registry import Registry, TaskKind
from hypercover.jobs.selection import selected

KINDS = Registry("shop:KINDS", {"tidy": TaskKind("shop:tidy")})
PLAN = Plan(tuple(Task(name, "tidy") for name in ("a", "b-1", "c", "7")), KINDS)


def test_numbers_ranges_and_names():
    assert selected(PLAN, "2-3,a", "1") == ["b-1", "c", "a"]
    assert selected(PLAN, "b-1", " 4 ") == ["b-1", "7"]
    assert selected(PLAN, "") == []


@pytest.mark.parametrize("text", ["0", "5", "3-2", "1-5", "nobody", "1-", "-1", "١"])
def test_others_are_refused(text):
    with pytest.raises(CallError, match="plan has"):
        selected(PLAN, text)
