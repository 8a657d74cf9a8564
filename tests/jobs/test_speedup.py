"""The speed-up of a run: closed forms, and the table that people read."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypercover.jobs.local import LocalExecutor
from hypercover.jobs.plan import Plan, Task
from hypercover.jobs.record import TaskRecord
from hypercover.jobs.runner import run_plan
from hypercover.jobs.speedup import (
    COLUMNS,
    STAGES,
    SpeedUp,
    Stretch,
    speed_up,
    stretches_of,
)

WHOLE = st.integers(0, 40)
STRETCHES = st.lists(
    st.builds(Stretch, st.sampled_from("abc"), WHOLE, st.integers(1, 9)), min_size=1
)


@given(STRETCHES)
def test_wall_time_and_workers_are_counted_second_by_second(stretches):
    made = SpeedUp.of(stretches)
    at_work = [
        sum(each.began <= second < each.ended for each in stretches) for second in range(60)
    ]
    first = min(each.began for each in stretches)
    assert made.wall == max(each.ended for each in stretches) - first
    assert made.workers == max(at_work)
    assert made.serial == sum(at_work)
    assert sum(made.busy.values()) == made.serial
    assert made.factor * made.wall == pytest.approx(made.serial)


def test_the_time_a_run_was_stopped_is_not_counted():
    stretches = [Stretch("a", 0, 10), Stretch("a", 40, 5), Stretch("b", 9000, 5)]
    assert SpeedUp.of(stretches).wall == 45 + 5


def test_the_table_has_a_line_for_all_and_one_for_each():
    made = SpeedUp.of([Stretch("n1 7", 0, 8), Stretch("n2, old 9", 0, 4)])
    lines = list(csv.reader(io.StringIO(made.csv())))
    assert tuple(lines[0]) == COLUMNS
    assert lines[1] == ["all 2", "2", "12.000", "8.000", "1.500", "0.750"]
    assert lines[2] == ["n1 7", "1", "8.000", "8.000", "1.000", "1.000"]
    assert lines[3] == ["n2, old 9", "1", "4.000", "8.000", "0.500", "0.500"]


def test_of_old_results_nobody_knows_when_they_began():
    old = TaskRecord("f", None, 1.0, "host", 1)
    new = stretches_of([("old", old), ("new", TaskRecord.of("f", None, 1.0))])
    assert [(each.task, each.seconds) for each in new] == [("new", 1.0)]
    assert len(stretches_of([("old", old)])) == 0


def test_each_task_has_its_share_of_the_sum():
    stretches = [Stretch("a", 0, 6.0, "train"), Stretch("b", 0, 2.0, "map")]
    lines = list(csv.reader(io.StringIO(SpeedUp.of(stretches).stages_csv())))
    assert tuple(lines[0]) == STAGES
    assert lines[1:] == [["train", "6.000", "0.7500"], ["map", "2.000", "0.2500"]]


def test_processor_seconds_count_and_cores_share_them():
    """Two tasks at once, each allowed two cores: 8 s of work in 4 s on 4 cores."""
    made = SpeedUp.of([Stretch("a", 0, 4, "x", 7.0, 2), Stretch("b", 0, 4, "y", 1.0, 2)])
    assert (made.serial, made.wall, made.workers, made.cores) == (8.0, 4, 2, 4)
    assert (made.factor, made.efficiency) == (2.0, 0.5)


def test_a_plan_that_ran_is_added_up(tmp_path, trial_tasks):
    names = [f"s{number}" for number in range(4)]
    tasks = [Task(name, "square", {"number": 1, "pause": 0.5}) for name in names]
    plan = Plan(tuple(tasks), trial_tasks)
    assert speed_up(plan, tmp_path) is None
    run_plan(plan, tmp_path, LocalExecutor(2))
    made = speed_up(plan, tmp_path)
    assert made.workers == 2
    assert made.wall > 1.0
    # They slept, which no second processor makes any shorter.
    assert 0 <= made.serial < made.wall
    assert sum(made.tasks.values()) == 4
    assert sum(speed_up(plan, tmp_path, without=("s0",)).tasks.values()) == 3
