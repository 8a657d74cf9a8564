"""Every kind of task is a function of its own file, and takes what its model says."""

import inspect

import pytest

from hypercover.errors import CallError
from hypercover.experiment.tasks.task_registry import REGISTRY
from hypercover.jobs.plan import Registry
from hypercover.prediction.map_prediction import REGISTRY as OF_MAPS


@pytest.mark.parametrize(
    ("registry", "kind"),
    [(registry, kind) for registry in (REGISTRY, OF_MAPS) for kind in registry.kinds],
)
def test_a_kind_has_the_arguments_of_its_function(registry, kind):
    function = registry[kind].load()
    assert f"{function.__module__}:{function.__name__}" == registry[kind].function
    folder, *rest = inspect.signature(function).parameters.values()
    assert folder.name == "folder"
    own = {one.name: one for one in rest if one.name != "report"}
    fields = registry[kind].arguments.model_fields
    assert set(own) == set(fields)
    for name, one in own.items():
        assert one.kind is one.KEYWORD_ONLY
        assert fields[name].is_required() == (one.default is one.empty)


@pytest.mark.parametrize("registry", [REGISTRY, OF_MAPS])
def test_a_registry_is_found_by_its_home(registry):
    assert Registry.at(registry.home) is registry


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        ("train", {"model": "svm", "split": "main", "seed": 0}),
        ("make_split", {"split": "train-0.05", "seed": 2**32 + 5}),
        ("search_gamma", {"model": "svm", "by": "blocks", "costs": [1.0], "scale": 2}),
        ("draw_map", {"model": "svm", "best_of": "reduce"}),
    ],
)
def test_what_a_plan_holds_is_taken(kind, arguments):
    REGISTRY.check(kind, arguments)


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        ("train", {"model": "../svm", "split": "main", "seed": 0}),
        ("train", {"model": "svm", "split": "main", "seed": -1}),
        ("train", {"model": "svm", "split": "main", "seed": 10**30}),
        ("train", {"model": "svm", "split": "main", "seed": True}),
        ("train", {"model": "svm", "split": "main"}),
        ("make_features", {"name": "/etc/passwd"}),
        ("make_features", {"name": "a", "folder": "/"}),
        ("search_gamma", {"model": "svm", "by": "fields", "costs": [1.0], "scale": 2}),
        ("search_gamma", {"model": "svm", "by": "blocks", "costs": [1.0]}),
        ("search_gamma", {"model": "s", "by": "blocks", "costs": [], "scale": 1}),
        ("search_gamma", {"model": "s", "by": "blocks", "costs": [0.0], "scale": 1}),
        ("draw_scene", {"report": "x"}),
        ("compute_tiles", {"first": 0, "stop": "4"}),
    ],
)
def test_nothing_else_is_taken(kind, arguments):
    with pytest.raises(CallError, match=f"of the kind {kind} takes other arguments"):
        REGISTRY.check(kind, arguments)
