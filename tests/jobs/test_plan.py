"""Plans: what cannot be carried out is refused, what a stranger changed is noticed."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from hypercover.errors import CallError
from hypercover.jobs.plan import Arguments, Plan, Registry, Task, TaskKind, select_tasks


class Square(Arguments):
    number: int = 0
    names: list[str] = Field(default_factory=list)


KINDS = Registry(
    "shop:KINDS",
    {"square": TaskKind("shop:square", Square), "tidy": TaskKind("shop:tidy")},
)


def task(name, *needs, **facts):
    return Task(name, "square", needs=needs, **facts)


def test_tasks_come_after_what_they_need():
    plan = Plan((task("c", "a", "b"), task("b", "a"), task("a")), KINDS)
    assert [one.name for one in plan.ordered] == ["a", "b", "c"]


@given(st.data())
def test_any_plan_without_a_circle_has_an_order(data):
    names = [f"t{number}" for number in range(data.draw(st.integers(1, 12)))]
    tasks = [
        task(name, *data.draw(st.sets(st.sampled_from(names[:place]))) if place else ())
        for place, name in enumerate(names)
    ]
    plan = Plan(tuple(data.draw(st.permutations(tasks))), KINDS)
    order = [one.name for one in plan.ordered]
    assert sorted(order) == sorted(names)
    for one in plan.tasks:
        assert all(order.index(need) < order.index(one.name) for need in one.needs)


@pytest.mark.parametrize(
    ("tasks", "says"),
    [
        ((task("a"), task("a")), "twice: a"),
        ((task("a", "b"),), "needs b, which the plan lacks"),
        ((task("a", "c"), task("b", "a"), task("c", "b")), "circle"),
        ((task("a", "a"),), "circle: a → a"),
    ],
)
def test_a_plan_that_cannot_be_carried_out_is_refused(tasks, says):
    with pytest.raises(CallError, match=says):
        Plan(tasks, KINDS)


@pytest.mark.parametrize(
    "name", ["", "../escape", "a/b", ".hidden", "plan", "lock", "a b", "a\n", "x" * 152]
)
def test_a_name_must_be_fit_for_a_file(name):
    with pytest.raises(CallError, match="name"):
        task(name)


@pytest.mark.parametrize(
    "kind",
    [
        "os:system",
        "hypercover.files:write_text",
        "",
        "square\n",
        "../square",
        "S",
        "x" * 99,
    ],
)
def test_a_kind_is_a_word(kind):
    with pytest.raises(CallError, match="must name its kind"):
        Task("a", kind)


@pytest.mark.parametrize(
    ("kind", "arguments", "says"),
    [
        ("system", {}, "There is no kind of task 'system'; known are square, tidy"),
        ("tidy", {"number": 1}, "number: extra inputs are not permitted"),
        ("square", {"number": "1"}, "number: input should be a valid integer"),
        ("square", {"number": True}, "number: input should be a valid integer"),
        ("square", {"number": 1.5}, "number: input should be a valid integer"),
        ("square", {"names": [["x"]]}, r"names\.0: input should be a valid string"),
        ("square", {"folder": "/"}, "folder: extra inputs are not permitted"),
    ],
)
def test_only_the_kinds_of_the_registry_are_planned(kind, arguments, says):
    with pytest.raises(CallError, match=f"The task a is refused: .*{says}"):
        Plan((Task("a", kind, arguments),), KINDS)


@pytest.mark.parametrize("arguments", [{"a": object()}, {"a": float("nan")}, {"a": {1, 2}}])
def test_arguments_are_plain(arguments):
    with pytest.raises(CallError, match="plain JSON"):
        Task("a", "square", arguments)


@pytest.mark.parametrize("weight", [0, -1, float("nan"), float("inf")])
def test_weights_are_above_zero(weight):
    with pytest.raises(CallError, match="weight"):
        task("a", weight=weight)


def test_dependents_are_found_at_any_distance():
    plan = Plan((task("a"), task("b", "a"), task("c", "b"), task("d")), KINDS)
    assert plan.dependents(["a"]) == {"b", "c"}
    assert plan.dependents(["d"]) == set()


def test_the_width_is_what_may_be_ready_at_once():
    fan = [task(f"s{n}", "a") for n in range(4)]
    assert Plan((task("a"), *fan, task("z", *[one.name for one in fan])), KINDS).width == 4
    assert Plan((task("a"), task("b", "a")), KINDS).width == 1
    assert Plan((), KINDS).width == 1


def test_the_fingerprint_follows_arguments_key_function_and_needs():
    def prints(first):
        return Plan((first, task("b", "a"), task("c")), KINDS).fingerprints

    before = prints(task("a"))
    for changed in (
        Task("a", "square", {"number": 1}),
        Task("a", "square", key="other"),
        Task("a", "tidy"),
    ):
        after = prints(changed)
        assert after["a"] != before["a"]
        assert after["b"] != before["b"]
        assert after["c"] == before["c"]
    assert prints(task("a", weight=7)) == before


def test_a_plan_comes_back_from_its_folder(tmp_path):
    plan = Plan(
        (
            task("b", "a", weight=2.5, key="k"),
            Task("a", "square", {"number": 3, "names": ["é"]}),
        ),
        KINDS,
    )
    plan.save(tmp_path)
    back = Plan.load(tmp_path, KINDS)
    assert back == plan
    assert back.fingerprints == plan.fingerprints


def rewritten(folder, change):
    """Change a saved plan as a hostile hand would: with the right hash."""
    from hypercover.jobs.plan import _hash_of

    path = folder / "tasks" / "plan.json"
    document = json.loads(path.read_text())
    change(document)
    document["sha256"] = _hash_of(document["tasks"])
    path.write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda d: d["tasks"][0].update(kind="os:system"), "must name its kind"),
        (
            lambda d: d["tasks"][0].update(kind="system"),
            "There is no kind of task 'system'",
        ),
        (lambda d: d["tasks"][0].update(arguments={"x": 1}), "takes other arguments"),
        (lambda d: d["tasks"][0].update(function="os:system"), "damaged"),
        (lambda d: d["tasks"][0].update(name="../../x"), "must have a name"),
        (lambda d: d["tasks"][0].update(name=3), "damaged"),
        (lambda d: d["tasks"][0].update(needs=3), "damaged"),
        (lambda d: d["tasks"][0].update(needs=["z"]), "needs z"),
        (lambda d: d["tasks"][0].update(arguments=[]), "damaged"),
        (lambda d: d["tasks"][0].update(weight="1"), "damaged"),
        (lambda d: d["tasks"][0].update(extra=1), "damaged"),
        (lambda d: d["tasks"][0].pop("key"), "damaged"),
        (lambda d: d["tasks"].append("text"), "damaged"),
        (lambda d: d.update(format="other"), "another version"),
        (lambda d: d.update(version=99), "another version"),
        (lambda d: d.update(tasks={}), "not a plan"),
    ],
)
def test_a_hostile_plan_is_refused(tmp_path, change, says):
    Plan((task("a"),), KINDS).save(tmp_path)
    rewritten(tmp_path, change)
    with pytest.raises(CallError, match=says):
        Plan.load(tmp_path, KINDS)


def test_a_changed_cut_or_missing_plan_is_refused(tmp_path):
    with pytest.raises(CallError, match="There is no plan"):
        Plan.load(tmp_path, KINDS)
    Plan((task("a"),), KINDS).save(tmp_path)
    path = tmp_path / "tasks" / "plan.json"
    whole = path.read_text()
    path.write_text(whole.replace('"weight": 1.0', '"weight": 2.0'))
    with pytest.raises(CallError, match="was changed"):
        Plan.load(tmp_path, KINDS)
    for text in (whole[:-20], "[]", "[" * 100_000):
        path.write_text(text)
        with pytest.raises(CallError, match="is not a plan"):
            Plan.load(tmp_path, KINDS)


KINDS_OF_SELECTION = Registry("shop:KINDS", {"tidy": TaskKind("shop:tidy")})

PLAN = Plan(
    tuple(Task(name, "tidy") for name in ("a", "b-1", "c", "7")), KINDS_OF_SELECTION
)


def test_numbers_ranges_and_names():
    assert select_tasks(PLAN, "2-3,a", "1") == ["b-1", "c", "a"]
    assert select_tasks(PLAN, "b-1", " 4 ") == ["b-1", "7"]
    assert select_tasks(PLAN, "") == []


@pytest.mark.parametrize("text", ["0", "5", "3-2", "1-5", "nobody", "1-", "-1", "١"])
def test_others_are_refused(text):
    with pytest.raises(CallError, match="plan has"):
        select_tasks(PLAN, text)
