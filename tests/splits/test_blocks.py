"""Block splits keep whole squares together and the test a guard away."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hypercover.errors import CallError, SplitError
from hypercover.splits.blocks import Blocks, BlockSplit


def block_of(split, rows, cols):
    """Number the block that each pixel lies in."""
    top, left = split.settings["origin"]
    size = split.settings["size"]
    return (rows - top) // size * 10_000 + (cols - left) // size


@pytest.fixture(scope="module")
def patchwork():
    rng = np.random.default_rng(3)
    codes = rng.integers(1, 4, (4, 4)).repeat(7, 0).repeat(7, 1)
    return np.where(rng.random((28, 28)) < 0.2, 0, codes).astype(np.uint8)


@settings(deadline=None, max_examples=25)
@given(
    size=st.integers(2, 9),
    guard=st.integers(0, 4),
    validation=st.sampled_from([0, 0.3]),
    seed=st.integers(0, 99),
)
def test_every_labelled_pixel_is_where_the_rules_put_it(
    patchwork, brute, size, guard, validation, seed
):
    split = BlockSplit(size, 0.3, guard, validation).split(patchwork, seed=seed)
    drawn = BlockSplit(size, 0.3, guard).split(patchwork, seed=seed).mask("train")
    rows, cols = np.nonzero(patchwork)
    blocks, parts = block_of(split, rows, cols), split.parts[rows, cols]
    own = drawn[rows, cols]
    assert not split.parts[patchwork == 0].any()
    assert not set(blocks[own]) & set(blocks[~own])
    assert not set(blocks[parts == 1]) & set(blocks[parts == 2])
    validating = split.mask("validation")
    for row, col, part, is_drawn in zip(rows, cols, parts, own, strict=True):
        away = brute.nearest(validating if is_drawn else drawn, row, col)
        kept = (1, 2) if is_drawn else (3,)
        assert part in (kept if away > guard or part == 2 else (4,))


@given(st.integers(0, 10**6))
def test_judging_a_choice_agrees_with_counting_pixels(seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, rng.integers(6, 20, 2))
    labels[0, 0] = labels[-1, -1] = 1
    size, guard = int(rng.integers(2, 6)), int(rng.integers(0, 4))
    origin = tuple(rng.integers(0, size, 2).tolist())
    blocks = Blocks(labels, size, guard, origin)
    chosen = rng.random((3, blocks.grid[0] * blocks.grid[1])) < 0.3
    rows, cols = np.indices(labels.shape)
    number = (rows + origin[0]) // size * blocks.grid[1] + (cols + origin[1]) // size
    codes = np.unique(labels[labels > 0])
    for choice, left, taken in zip(
        chosen, blocks.left(chosen), blocks.drawn(chosen), strict=True
    ):
        inside = choice[number]
        near = [
            [
                inside[
                    max(r - guard, 0) : r + guard + 1, max(c - guard, 0) : c + guard + 1
                ].any()
                for c in range(labels.shape[1])
            ]
            for r in range(labels.shape[0])
        ]
        away = ~np.array(near)
        assert left.tolist() == [np.sum(away & (labels == code)) for code in codes]
        assert taken.tolist() == [np.sum(inside & (labels == code)) for code in codes]
        np.testing.assert_array_equal(blocks.pixels(choice), inside & (labels > 0))


@pytest.mark.parametrize("train", [0.1, 0.25, 0.5])
def test_about_the_asked_share_is_drawn(make_fields, train):
    labels = make_fields((120, 100), classes=6, side=14)
    split = BlockSplit(size=10, train=train, guard=2).split(labels)
    share = split.count("train") / np.count_nonzero(labels)
    assert share == pytest.approx(train, abs=0.03)


def test_classes_give_about_the_same_share(make_fields):
    labels = make_fields((120, 100), classes=6, side=14)
    split = BlockSplit(size=10, guard=2).split(labels)
    for code, n in split.per_class("train", labels).items():
        assert n / np.sum(labels == code) == pytest.approx(0.25, abs=0.15)


def test_a_class_that_can_stand_on_both_sides_does():
    labels = np.ones((60, 60), np.uint8)
    labels[20:24, 3:30] = 2  # one narrow strip: half of it must train, half must test
    for seed in range(5):
        split = BlockSplit(size=10, guard=4).split(labels, seed=seed)
        assert split.unscored(labels) == []


def test_a_class_in_one_block_cannot_and_is_named():
    labels = np.ones((60, 60), np.uint8)
    labels[31:33, 31:33] = 2
    labels[:, :20] = 3
    split = BlockSplit(size=20, guard=6).split(labels)
    assert [code for code, _ in split.unscored(labels)] == [2]


@pytest.mark.parametrize("validation", [0.2, 0.4])
def test_validation_takes_whole_drawn_blocks_and_no_test_pixel(make_fields, validation):
    labels = make_fields((100, 100))
    without = BlockSplit(10, 0.4, 2).split(labels, seed=1)
    split = BlockSplit(10, 0.4, 2, validation).split(labels, seed=1)
    np.testing.assert_array_equal(split.mask("test"), without.mask("test"))
    assert not (split.mask("validation") & ~without.mask("train")).any()
    share = split.count("validation") / without.count("train")
    assert share == pytest.approx(validation, abs=0.05)
    assert all(split.per_class("train", labels).values())


def test_auto_is_window_minus_one(labels):
    auto = BlockSplit(size=8).split(labels, window=5)
    assert auto.settings["guard"] == 4
    np.testing.assert_array_equal(
        auto.parts, BlockSplit(size=8, guard=4).split(labels, window=5).parts
    )


def test_a_narrow_guard_is_noted(labels):
    split = BlockSplit(size=8, guard=2).split(labels, window=5)
    assert split.notes == (
        "The guard of 2 pixels is narrower than window − 1 = 4: some test windows "
        "share pixels with training windows.",
    )
    assert BlockSplit(size=8, guard=4).split(labels, window=5).notes == ()


def test_one_seed_draws_once_and_others_draw_anew(make_fields):
    labels = make_fields((100, 100))
    draw = BlockSplit(size=10, guard=2)
    assert draw.split(labels, seed=3) == draw.split(labels, seed=3)
    masks = [draw.split(labels, seed=seed).mask("train") for seed in range(5)]
    for number, one in enumerate(masks):
        for other in masks[:number]:
            assert (one & other).sum() / (one | other).sum() < 0.5


def test_the_largest_guard_that_leaves_a_test_is_named_and_works(labels):
    with pytest.raises(
        SplitError, match=r"A guard of 99 pixels .* leaves no test"
    ) as found:
        BlockSplit(size=8, guard=99).split(labels, seed=2)
    largest = int(str(found.value).split()[-1].rstrip("."))
    assert BlockSplit(size=8, guard=largest).split(labels, seed=2).count("test") > 0
    with pytest.raises(SplitError, match="leaves no test"):
        BlockSplit(size=8, guard=largest + 1).split(labels, seed=2)


def test_labels_in_one_block_cannot_be_split():
    labels = np.zeros((40, 40), int)
    labels[0, :2] = [1, 2]
    labels[0, 2] = 1
    with pytest.raises(SplitError, match=r"one block of 60 × 60|two classes"):
        BlockSplit(size=60).split(labels)
    lone = np.zeros((5, 5), int)
    lone[2, 2], lone[2, 3] = 1, 2
    with pytest.raises(SplitError, match=r"at least two classes|in one block"):
        BlockSplit(size=5, guard=0).split(lone)


@pytest.mark.parametrize(
    ("settings_given", "words"),
    [
        ({"size": 0}, "at least 1 pixel wide, got 0"),
        ({"train": 0}, "between 0 and 1, got 0"),
        ({"train": 1.5}, "between 0 and 1, got 1.5"),
        ({"guard": -1}, "from 0, or 'auto'"),
        ({"guard": "wide"}, "got 'wide'"),
        ({"validation": 1}, "from 0 to below 1"),
    ],
)
def test_settings_out_of_range_are_refused(settings_given, words):
    with pytest.raises(SplitError, match=words):
        BlockSplit(**settings_given)


def test_a_window_that_does_not_fit_is_refused(labels):
    with pytest.raises(CallError, match="odd"):
        BlockSplit(size=8).split(labels, window=4)


def test_indian_pines_can_be_scored_in_nearly_every_class(real):
    splits = [BlockSplit(15, 0.25, 4).split(real.site3, seed=s, window=9) for s in range(5)]
    scored = [16 - len(split.unscored(real.site3)) for split in splits]
    assert min(scored) >= 14
    assert max(scored) >= 15
    for split in splits:
        assert split.count("train") == pytest.approx(0.25 * 10366, rel=0.03)
        assert split.count("test") > 5000


def test_a_flight_line_can_be_scored_in_every_class(make_fields):
    labels = make_fields((1417, 617), classes=58, side=24)
    split = BlockSplit(15, 0.25, 4).split(labels, window=9)
    assert split.unscored(labels) == []
