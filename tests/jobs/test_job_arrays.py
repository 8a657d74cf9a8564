"""Job arrays of a plan: each task once, after what it needs, in elements of minutes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypercover.errors import CallError
from hypercover.jobs.plan import Plan, Registry, Task, TaskKind
from hypercover.jobs.submission import make_job_arrays

KINDS = Registry("shop:KINDS", {"tidy": TaskKind("shop:tidy")})


def task(name, *needs):
    return Task(name, "tidy", needs=needs)


@st.composite
def plans(draw):
    """A plan, some of its tasks done, and an estimate of each."""
    names = [f"t{number}" for number in range(draw(st.integers(1, 14)))]
    tasks = [
        task(name, *draw(st.sets(st.sampled_from(names[:place]))) if place else ())
        for place, name in enumerate(names)
    ]
    wanted = draw(st.sets(st.sampled_from(names)))
    seconds = {name: draw(st.floats(0.1, 1000)) for name in names}
    kinds = {name: draw(st.sampled_from(["plain", "gpu", "ranks"])) for name in names}
    return Plan(tuple(tasks), KINDS), wanted, seconds, kinds


@given(plans(), st.one_of(st.none(), st.integers(1, 5)))
def test_every_task_comes_once_and_after_what_it_needs(made, chunk):
    plan, wanted, seconds, kinds = made
    arrays = make_job_arrays(
        plan, sorted(wanted), kinds=kinds, seconds=seconds, chunk=chunk
    )
    places = {
        name: (position, number, index)
        for position, array in enumerate(arrays)
        for number, element in enumerate(array.elements)
        for index, name in enumerate(element)
    }
    listed = [name for array in arrays for one in array.elements for name in one]
    assert sorted(listed) == sorted(wanted)
    for name, (position, number, index) in places.items():
        assert arrays[position].kind == kinds[name]
        for need in set(plan.task(name).needs) & wanted:
            before = places[need]
            same_element = before[:2] == (position, number) and before[2] < index
            waited_for = arrays[before[0]].name in arrays[position].after
            assert same_element or (before[0] < position and waited_for)


def fan(count):
    names = [f"s-{number}" for number in range(count)]
    return Plan(
        (
            task("first"),
            *(task(name, "first") for name in names),
            task("sum", *names),
            task("page", "sum"),
        ),
        KINDS,
    )


def sent(plan, seconds, **asked):
    everything = [one.name for one in plan.tasks]
    guessed = dict.fromkeys(everything, seconds)
    return make_job_arrays(plan, everything, kinds={}, seconds=guessed, **asked)


def sizes(arrays):
    return [[len(element) for element in array.elements] for array in arrays]


def test_an_element_holds_about_five_minutes():
    assert sizes(sent(fan(12), 60)) == [[1], [5, 5, 2], [2]]
    assert sizes(sent(fan(3), 400)) == [[1], [1, 1, 1], [2]]


def test_what_fits_into_one_element_is_one_job():
    arrays = sent(fan(4), 1)
    assert sizes(arrays) == [[7]]
    assert arrays[0].elements[0][0] == "first"
    assert arrays[0].elements[0][-2:] == ("sum", "page")


def test_the_chunk_and_the_limit_of_time_are_kept():
    assert sizes(sent(fan(7), 1, chunk=3)) == [[1], [3, 3, 1], [2]]
    assert sizes(sent(fan(4), 60, limit=240)) == [[1], [2, 2], [2]]


def test_no_array_has_more_than_a_thousand_elements():
    assert max(len(array.elements) for array in sent(fan(2500), 400)) <= 1000
    assert max(len(array.elements) for array in sent(fan(2500), 1, chunk=1)) <= 1000


def test_what_is_done_is_not_sent_and_not_waited_for():
    plan = fan(3)
    arrays = make_job_arrays(
        plan,
        ["s-1", "sum"],
        kinds={},
        seconds=dict.fromkeys(["s-1", "sum"], 900.0),
        limit=2000,
    )
    assert [array.elements for array in arrays] == [(("s-1",),), (("sum",),)]
    assert [array.after for array in arrays] == [(), (arrays[0].name,)]


def test_networks_of_several_processes_have_elements_of_their_own():
    plan = Plan((task("a"), task("b"), task("c", "a", "b")), KINDS)
    arrays = make_job_arrays(
        plan,
        ["a", "b", "c"],
        kinds={"a": "ranks", "b": "ranks"},
        seconds=dict.fromkeys("abc", 1.0),
    )
    assert [(array.kind, len(array.elements)) for array in arrays] == [
        ("ranks", 2),
        ("plain", 1),
    ]


def test_the_last_array_waits_for_all_others():
    plan = Plan(
        (task("a"), task("b", "a"), task("lone-1"), task("lone-2"), task("z", "b")), KINDS
    )
    arrays = sent(plan, 1000)
    assert arrays[-1].after == tuple(array.name for array in arrays[:-1])


@pytest.mark.parametrize("names", [[], ["nobody"]])
def test_nothing_to_do_is_no_array(names):
    assert make_job_arrays(fan(2), names, kinds={}, seconds={}) == ()


def test_an_array_is_no_larger_than_the_system_takes():
    arrays = sent(fan(25), 400.0, chunk=1, most=10)
    assert [len(array.elements) for array in arrays] == [1, 10, 10, 5, 1]
    assert arrays[4].after == tuple(array.name for array in arrays[:4])
    assert len({array.name for array in arrays}) == 5


def test_too_many_arrays_are_refused_with_what_to_change():
    with pytest.raises(
        CallError, match=r"1002 elements would need 102 .*--array-chunk, now 1"
    ):
        sent(fan(1000), 400.0, chunk=1, most=10)
