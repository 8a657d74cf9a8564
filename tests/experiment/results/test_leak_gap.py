"""A leak gap is one experiment under three splits that differ in what leaks alone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypercover.errors import ExperimentError
from hypercover.experiment.config.experiment_file import parse
from hypercover.experiment.config.schema import gap_splits
from hypercover.experiment.results.leak_gap import leak_gap_experiment


@pytest.fixture
def written(tmp_path):
    np.save(tmp_path / "cube.npy", np.ones((3, 9, 9)))

    def write(**changes):
        document = {
            "name": "a",
            "seed": 4,
            "scene": {"path": "cube.npy"},
            "split": {"kind": "blocks", "size": 12, "train": 0.3, "validation": 0.1},
            "features": {"five": "pca:5"},
            "models": {
                "svm": {"kind": "svm", "features": "five"},
                "cnn": {"kind": "cnn", "window": 7},
                "wide": {"kind": "cnn", "window": 11},
            },
            "repeats": 3,
        }
        return parse(document | changes, tmp_path)

    return write


def test_everything_but_the_splits_stays(written):
    asked = written(beside={"mine": {"kind": "random"}}, learning_curve=[0.1, 0.6])
    gap = leak_gap_experiment(asked)
    kept = {"scene", "models", "features", "seed", "repeats", "map", "device"}
    assert gap.model_dump(include=kept) == asked.model_dump(include=kept)
    assert (gap.name, gap.gap) == ("a-gap", True)
    assert set(gap.splits) == {"main", "centre-free", "random"}


def test_the_guards_follow_the_largest_window(written):
    splits = leak_gap_experiment(written()).splits
    assert (splits["main"].guard, splits["centre-free"].guard) == (10, 5)
    assert {(one.train, one.validation) for one in splits.values()} == {(0.3, 0)}
    assert splits["main"].size == splits["centre-free"].size == 12


def test_a_network_that_stops_early_keeps_its_validation_pixels(written):
    models = {"cnn": {"kind": "cnn", "recipe": {"patience": 5}}}
    splits = leak_gap_experiment(written(models=models, map="best")).splits
    assert {one.validation for one in splits.values()} == {0.1}


def test_no_map_is_chosen_where_nothing_validates(written):
    assert leak_gap_experiment(written(map="best")).map is True
    assert leak_gap_experiment(written(map=False)).map is False


def test_single_pixels_are_asked_about_the_usual_window(written):
    splits = leak_gap_experiment(written(models={"svm": {"kind": "svm"}})).splits
    assert (splits["main"].guard, splits["centre-free"].guard) == (8, 4)


@pytest.mark.parametrize(
    ("split", "size", "train"),
    [
        ({"kind": "random", "train": 0.1}, 15, 0.1),
        ({"kind": "random", "train": 50}, 15, 0.25),
        ({"kind": "fields", "train": 0.4, "guard": 2}, 15, 0.4),
        ({"kind": "masks", "train": "cube.npy"}, 15, 0.25),
        ({"kind": "blocks", "size": 20, "train": 0.4, "guard": 1}, 20, 0.4),
    ],
)
def test_size_and_share_come_from_the_file_where_it_has_them(written, split, size, train):
    made = leak_gap_experiment(written(split=split)).split
    assert (made.size, made.train) == (size, train)
    asked = leak_gap_experiment(written(split=split), size=7, train=0.5, repeats=9)
    assert (asked.split.size, asked.split.train, asked.repeats) == (7, 0.5, 9)
    assert asked.beside["random"].train == 0.5


def test_a_gap_of_a_gap_is_the_same(written):
    once = leak_gap_experiment(written())
    assert leak_gap_experiment(once) == once


def test_a_long_name_stays_a_name(written):
    assert len(leak_gap_experiment(written(name="n" * 64)).name) == 64


@pytest.mark.parametrize(
    ("asked", "place"),
    [
        ({"size": 0}, "split.size"),
        ({"train": 1.5}, "split.train"),
        ({"repeats": -1}, "repeats"),
    ],
)
def test_what_cannot_be_is_named(written, asked, place):
    with pytest.raises(ExperimentError, match=rf"leak gap of a is not valid: {place} "):
        leak_gap_experiment(written(), **asked)


def test_a_file_that_asks_for_a_gap_needs_its_splits(written):
    blocks = {"kind": "blocks", "size": 12, "train": 0.3, "guard": 10}
    centre = blocks | {"guard": 5}
    random = {"kind": "random", "train": 0.3}
    whole = {"split": blocks, "beside": {"centre-free": centre, "random": random}}
    assert written(gap=True, **whole).gap
    faults = [
        {"split": random},
        {"split": blocks | {"guard": "auto"}},
        {"split": blocks | {"guard": 8}},
        {"beside": {"random": random}},
        {"beside": {"centre-free": centre | {"size": 9}, "random": random}},
        {"beside": {"centre-free": centre, "random": random | {"train": 0.1}}},
    ]
    for fault in faults:
        with pytest.raises(
            ExperimentError, match=r"gap: true .* guard of 10 pixels or more"
        ):
            written(gap=True, **whole | fault)


@given(half=st.integers(1, 20), size=st.integers(1, 50), train=st.floats(0.01, 0.99))
def test_guards_are_those_of_the_window(half, size, train):
    from hypercover.experiment.config.schema import BlocksSpec

    window = 2 * half + 1
    blocks = BlocksSpec(size=size, train=train, guard=window - 1)
    beside = gap_splits(blocks, window - 1)
    assert beside["centre-free"].guard == window // 2
    assert beside["random"].train == beside["centre-free"].train == train
