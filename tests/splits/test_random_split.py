"""Random splits are stratified, leave every class a test pixel, and repeat by seed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hypercover.errors import CallError, LabelError, SplitError
from hypercover.splits.random_split import RandomSplit

LABEL_MAPS = arrays(
    np.uint8, st.tuples(st.integers(3, 9), st.integers(3, 9)), elements=st.integers(0, 4)
).filter(lambda labels: np.count_nonzero(np.bincount(labels.ravel())[1:] > 1) >= 2)


@given(labels=LABEL_MAPS, train=st.floats(0.01, 0.99), seed=st.integers(0, 9))
def test_each_class_gives_its_share_but_never_its_last_pixel(labels, train, seed):
    split = RandomSplit(train).split(labels, seed=seed)
    trained, tested = split.per_class("train", labels), split.per_class("test", labels)
    for code, n in trained.items():
        total = int(np.sum(labels == code))
        if total == 1:
            assert (n, tested[code]) == (0, 0)
        else:
            assert n == min(max(round(train * total), 1), total - 1)
            assert n + tested[code] == total


@given(labels=LABEL_MAPS, count=st.integers(1, 30))
def test_a_whole_number_is_a_count_for_each_class(labels, count):
    split = RandomSplit(train=count).split(labels)
    for code, n in split.per_class("train", labels).items():
        assert n == min(count, max(int(np.sum(labels == code)) - 1, 0))


def test_a_tenth_of_known_counts():
    labels = np.repeat([1, 2, 3], [44, 100, 15]).reshape(1, -1)
    split = RandomSplit(train=0.1).split(labels)
    assert split.per_class("train", labels) == {1: 4, 2: 10, 3: 2}


def test_a_class_of_one_pixel_is_left_out_and_named(labels):
    labels[0, 0] = 99
    split = RandomSplit().split(labels)
    assert split.parts[0, 0] == 0
    assert split.unscored(labels) == [(99, "only one labelled pixel")]


def test_only_labelled_pixels_take_part(labels):
    split = RandomSplit(validation=0.3).split(labels)
    assert not split.parts[labels == 0].any()
    assert split.parts[labels > 0].all()


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5])
def test_validation_is_a_share_of_each_class_of_the_training_part(labels, share):
    without = RandomSplit(0.4).split(labels, seed=2)
    split = RandomSplit(0.4, validation=share).split(labels, seed=2)
    for code, n in without.per_class("train", labels).items():
        taken = split.per_class("validation", labels)[code]
        assert taken == max(round(share * n), 1)
        assert split.per_class("train", labels)[code] == n - taken


def test_validation_costs_the_test_nothing(labels):
    without = RandomSplit(0.4).split(labels, seed=2)
    split = RandomSplit(0.4, validation=0.5).split(labels, seed=2)
    np.testing.assert_array_equal(without.mask("test"), split.mask("test"))


def test_one_seed_draws_once_and_another_draws_anew(labels):
    draw = RandomSplit(0.3, validation=0.2)
    assert draw.split(labels, seed=5) == draw.split(labels, seed=5)
    first, other = (draw.split(labels, seed=seed).mask("train") for seed in (5, 6))
    assert (first & other).sum() / (first | other).sum() < 0.4


def test_every_pixel_of_a_class_is_as_likely_to_be_drawn():
    labels = np.repeat([[1, 2]], 10, axis=1)
    drawn = sum(RandomSplit(0.5).split(labels, seed=s).mask("train") for s in range(400))
    assert np.abs(drawn / 400 - 0.5).max() < 0.11


@pytest.mark.parametrize("train", [0, -0.1, 1.5, 2.5, float("nan")])
def test_a_share_no_class_can_give_is_refused(train):
    with pytest.raises(SplitError, match="share between 0 and 1 or a whole number"):
        RandomSplit(train)


@pytest.mark.parametrize("validation", [-0.1, 1, 3, float("nan")])
def test_a_validation_share_out_of_range_is_refused(validation):
    with pytest.raises(SplitError, match="from 0 to below 1"):
        RandomSplit(validation=validation)


def test_validation_without_a_pixel_to_spare_is_refused(labels):
    with pytest.raises(SplitError, match="needs a class with two training pixels"):
        RandomSplit(train=1, validation=0.5).split(labels)


def test_classes_of_one_pixel_each_cannot_be_split():
    with pytest.raises(SplitError, match="at least two classes, got 0"):
        RandomSplit().split(np.array([[1, 2, 3]]))


@pytest.mark.parametrize(
    ("window", "words"), [(8, "odd and at least 1, got 8"), (41, "larger than the image")]
)
def test_a_window_that_does_not_fit_is_refused(labels, window, words):
    with pytest.raises(CallError, match=words):
        RandomSplit().split(labels, window=window)


def test_one_class_is_refused():
    with pytest.raises(LabelError, match="only one class"):
        RandomSplit().split(np.ones((4, 4), int))
