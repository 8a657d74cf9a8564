"""The plan of a search: a row is a task, and a key changes with what its cells depend on."""

import pytest

from hypercover.errors import ExperimentError
from hypercover.experiment.config.experiment_file import parse
from hypercover.experiment.search.search_problem import preferred_folds
from hypercover.experiment.search.search_tasks import make_search_plan


@pytest.fixture
def experiment(tmp_path):
    for name in ("cube.npy", "labels.tif"):
        (tmp_path / name).write_bytes(b"")

    def made(**changes):
        document = {
            "name": "fields",
            "scene": {"path": "cube.npy", "labels": "labels.tif"},
            "split": {"kind": "blocks"},
            "features": {"few": "pca:3"},
            "models": {
                "svm": {"kind": "svm"},
                "deep": {"kind": "svm", "features": "few", "nwfe": 2},
                "cnn": {"kind": "cnn", "window": 9},
            },
            "search": {"C": [1, 10], "gamma_scale": [0.5, 1], "by": ["random", "clusters"]},
        }
        return parse(document | changes, tmp_path)

    return made


def keys(experiment):
    return {task.name: task.key for task in make_search_plan(experiment).tasks}


def test_a_row_of_cells_is_a_task_for_each_svm_and_kind_of_folds(experiment):
    plan = make_search_plan(experiment())
    names = [task.name for task in plan.tasks]
    assert names == [
        "features-few",
        *(
            f"search-{model}-{by}"
            for model in ("svm", "deep")
            for by in ("random", "clusters")
        ),
        *(
            f"search-{model}-{by}-scale-{scale}"
            for model in ("svm", "deep")
            for by in ("random", "clusters")
            for scale in (0.5, 1.0)
        ),
        "search",
    ]
    row = plan.task("search-deep-random-scale-0.5")
    assert row.needs == ("search-deep-random", "features-few")
    assert row.arguments == {
        "model": "deep",
        "by": "random",
        "costs": [1.0, 10.0],
        "scale": 0.5,
    }
    assert len(plan.task("search").needs) == 12


def test_plain_gammas_have_rows_of_their_own(experiment):
    spec = {"gamma": [0.25, 4], "by": ["random"]}
    names = [task.name for task in make_search_plan(experiment(search=spec)).tasks]
    assert "search-svm-random-gamma-0.25" in names
    assert not [name for name in names if "scale" in name]


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"split": {"kind": "blocks", "size": 9}},
        {"search": {"folds": 5}},
        {"search": {"guard": 2}},
        {"search": {"on": "all"}},
        {"models": {"svm": {"kind": "svm", "class_weight": "balanced"}}},
        {"models": {"svm": {"kind": "svm"}, "cnn": {"kind": "cnn", "window": 5}}},
    ],
)
def test_what_cells_depend_on_changes_the_key_of_their_row(experiment, change):
    grid = {"C": [1, 10], "gamma_scale": [0.5, 1], "by": ["random", "clusters"]}
    change = {
        key: grid | value if key == "search" else value for key, value in change.items()
    }
    before, after = keys(experiment()), keys(experiment(**change))
    row = "search-svm-clusters-scale-1.0"
    assert after[row] != before[row]


@pytest.mark.parametrize(
    "model",
    [
        {"kind": "svm", "C": 3, "gamma": 0.5},
        {"kind": "svm", "C": "search", "probability": True},
    ],
)
def test_what_is_searched_or_comes_after_does_not(experiment, model):
    before, after = keys(experiment()), keys(experiment(models={"svm": model}))
    # The CNN widens the windows and so the guard of the split.
    alone = keys(experiment(models={"svm": {"kind": "svm"}}))
    row = "search-svm-random-scale-0.5"
    assert after[row] == alone[row] != before[row]


def test_an_experiment_without_an_svm_has_no_grid(experiment):
    forest = {"kind": "sklearn", "estimator": "sklearn.ensemble.RandomForestClassifier"}
    with pytest.raises(ExperimentError) as refused:
        make_search_plan(experiment(models={"cnn": {"kind": "cnn"}, "forest": forest}))
    assert str(refused.value) == (
        "Only models of kind svm have a C and a gamma to search, and this experiment has "
        "cnn (cnn), forest (sklearn); add a model of kind svm."
    )


def test_the_folds_of_a_choice_suit_its_split():
    assert preferred_folds("blocks", ["random", "blocks"]) == "blocks"
    assert preferred_folds("random", ["random", "blocks"]) == "random"
    assert preferred_folds("masks", ["clusters", "random"]) == "clusters"
    assert preferred_folds("blocks", ["random"]) == "random"
