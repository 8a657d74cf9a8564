"""Field splits keep whole connected fields on one side and the test a guard away."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypercover.errors import SplitError
from hypercover.splits.fields import Fields, FieldSplit, field_map


def flooded(labels):
    """Number fields by hand: walk from each unseen pixel to its like, corners included."""
    labels, numbers, count = np.asarray(labels), np.zeros(np.shape(labels), int), 0
    for start in zip(*np.nonzero(labels), strict=True):
        if numbers[start]:
            continue
        count += 1
        numbers[start], queue = count, [start]
        while queue:
            row, col = queue.pop()
            for near in np.ndindex(3, 3):
                there = row + near[0] - 1, col + near[1] - 1
                if min(there) < 0 or there[0] >= len(labels) or there[1] >= labels.shape[1]:
                    continue
                if labels[there] == labels[start] and not numbers[there]:
                    numbers[there] = count
                    queue.append(there)
    return numbers


def same_partition(one, other):
    """Tell whether two maps of numbers put the same pixels together."""
    pairs = {*zip(one.ravel().tolist(), other.ravel().tolist(), strict=True)}
    return len(pairs) == len(np.unique(one)) == len(np.unique(other))


small_maps = st.integers(0, 10**6).map(
    lambda seed: np.random.default_rng(seed).integers(0, 4, (9, 12))
)


@given(small_maps)
def test_fields_are_what_walking_finds(labels):
    assert same_partition(field_map(labels), flooded(labels))


@given(labels=small_maps, guard=st.integers(0, 3), seed=st.integers(0, 99))
def test_judging_a_choice_agrees_with_counting_pixels(labels, guard, seed):
    labels[0, 0] = 1
    numbers = field_map(labels)
    fields = Fields(labels, numbers, guard)
    chosen = np.random.default_rng(seed).random((3, fields.n_regions)) < 0.3
    codes = np.unique(labels[labels > 0])
    for choice, left, taken in zip(
        chosen, fields.left(chosen), fields.drawn(chosen), strict=True
    ):
        inside = fields.pixels(choice)
        away = [
            not inside[
                max(r - guard, 0) : r + guard + 1, max(c - guard, 0) : c + guard + 1
            ].any()
            for r, c in np.ndindex(labels.shape)
        ]
        away = np.reshape(away, labels.shape)
        assert left.tolist() == [np.sum(away & (labels == code)) for code in codes]
        assert taken.tolist() == [np.sum(inside & (labels == code)) for code in codes]


@given(
    guard=st.integers(0, 3),
    drawn=st.sampled_from([(0.2, 0), (0.5, 0), (0.5, 0.3)]),
    seed=st.integers(0, 99),
)
def test_no_field_is_cut_and_the_guard_is_kept(make_squares, brute, guard, drawn, seed):
    train, validation = drawn
    labels = make_squares(gap=seed % 3, side=4)
    split = FieldSplit(train, guard, validation).split(labels, seed=seed)
    numbers = flooded(labels)
    sides = [set(numbers[split.mask(part)]) for part in ("train", "validation", "test")]
    assert sum(map(len, sides)) == len(set.union(*sides))
    assert not split.parts[labels == 0].any()
    assert split.count("guard") + sum(
        split.count(part) for part in ("train", "validation", "test")
    ) == np.count_nonzero(labels)
    drawn = split.mask("train") | split.mask("validation")
    for row, col in zip(*np.nonzero(split.mask("test")), strict=True):
        assert brute.nearest(drawn, row, col) > guard
    for row, col in zip(*np.nonzero(split.mask("validation")), strict=True):
        assert brute.nearest(split.mask("train"), row, col) > guard


def test_every_class_gives_its_share_where_fields_allow_it(make_squares):
    labels = make_squares(gap=3)
    for seed in range(5):
        split = FieldSplit(0.5, guard=2).split(labels, seed=seed)
        assert set(split.per_class("train", labels).values()) <= {50, 75, 100}
        assert split.count("train") + split.count("test") == np.count_nonzero(labels)
        assert split.unscored(labels) == []


def test_a_seed_repeats_its_draw_and_others_draw_otherwise(make_squares):
    labels = make_squares(gap=3)
    draws = [FieldSplit(0.3, guard=2).split(labels, seed=seed) for seed in (0, 0, 1, 2, 3)]
    assert draws[0] == draws[1]
    assert len({draw.digest for draw in draws}) == 4


def test_classes_of_one_field_are_named():
    labels = np.zeros((12, 30), int)
    labels[:3, :3] = labels[:3, 12:16] = labels[8:, 20:] = 1
    labels[9:, :4] = 7
    labels[:2, 25:] = labels[8:10, 8:11] = 2
    split = FieldSplit(0.3, guard=1).split(labels)
    assert split.unscored(labels) == [(7, "no test pixel")]
    assert "Class 7 has only one field, which cannot both train and test." in split.notes


def test_a_guard_that_brings_more_classes_to_both_sides_is_worth_a_swap():
    # Class 2 has two fields; the one beside the large field of class 1 is lost to its guard
    # whenever class 1 trains there, so only some draws keep class 2 on both sides.
    labels = np.zeros((8, 60), int)
    labels[:, :10] = labels[:, 50:] = labels[:, 25:28] = 1
    labels[:, 10:12] = labels[:, 48:50] = 2
    for seed in range(10):
        assert FieldSplit(0.4, guard=2).split(labels, seed=seed).unscored(labels) == []


def test_what_cannot_be_split_is_said():
    one_each = [[1, 1, 0, 2, 2]]
    with pytest.raises(
        SplitError, match=r"Every class has only one field.*split by blocks"
    ):
        FieldSplit().split(one_each)
    near = [[1, 2, 1, 2, 1, 2]]
    with pytest.raises(SplitError, match=r"guard of 9 pixels around fields.*some is 3"):
        FieldSplit(0.4, guard=9).split(near)
    with pytest.raises(SplitError, match="between 0 and 1, got 1"):
        FieldSplit(train=1.0)
    with pytest.raises(SplitError, match="needs a class with two fields"):
        FieldSplit(0.4, guard=0, validation=0.2).split([[1, 0, 1, 2, 0, 2]])


def test_indian_pines_keeps_every_class_of_several_fields_on_both_sides(real):
    alone = {1, 4, 7, 8, 9, 13, 16}
    for guard in (0, 8):
        for seed in range(3):
            split = FieldSplit(0.25, guard).split(real.site3, seed=seed, window=9)
            assert {code for code, _ in split.unscored(real.site3)} == alone


def test_a_share_that_whole_fields_cannot_give_is_told():
    labels = np.repeat([[1, 1, 0, 2, 2, 0, 1, 1, 0, 2, 2]], 4, axis=0)
    split = FieldSplit(train=0.01, guard=0).split(labels)
    assert split.notes == (
        "Whole fields for training hold 50% of the labelled pixels instead of 1%.",
    )
    assert FieldSplit(train=0.5, guard=0).split(labels).notes == ()
