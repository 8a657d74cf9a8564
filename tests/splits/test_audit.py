"""The leak audit counts what a brute-force look at every window finds."""

from itertools import pairwise, product
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from hypercover.errors import CallError, SplitError
from hypercover.splits.audit import (
    AUDITED_WINDOWS,
    audit,
    audit_table,
    flattest_band,
    mean_zone_share,
    shared_zone_share,
)
from hypercover.splits.blocks import BlockSplit
from hypercover.splits.predefined_splits import MaskSplit
from hypercover.splits.random_split import RandomSplit
from hypercover.splits.split import Split


def covered(shape, row, col, window):
    """Return the pixels (row, col) of one window that lie in the image."""
    reach = window // 2
    rows = range(max(row - reach, 0), min(row + reach + 1, shape[0]))
    cols = range(max(col - reach, 0), min(col + reach + 1, shape[1]))
    return {(y, x) for y in rows for x in cols}


def brute_force(split, window):
    train = set(zip(*np.nonzero(split.mask("train")), strict=True))
    trained = set().union(*(covered(split.shape, *at, window) for at in train), set())
    seen = [covered(split.shape, *at, window) for at in np.argwhere(split.mask("test"))]
    centre = np.mean([bool(pixels & train) for pixels in seen])
    overlap = np.mean([bool(pixels & trained) for pixels in seen])
    return centre, overlap


@given(
    parts=arrays(
        np.uint8,
        st.tuples(st.integers(5, 11), st.integers(5, 11)),
        elements=st.sampled_from([0, 0, 0, 0, 0, 1, 2, 3, 4]),
    ),
    window=st.sampled_from([1, 3, 5]),
)
def test_the_shares_are_those_of_a_brute_force_count(parts, window):
    assume((parts == 3).any())
    split = Split(parts)
    leak = audit(split, window)
    assert (leak.centre_in_window, leak.window_overlap) == brute_force(split, window)


@given(st.integers(0, 50))
def test_shares_grow_with_the_window_and_overlap_is_the_larger(seed):
    rng = np.random.default_rng(seed)
    split = Split(rng.choice([0, 1, 3], (20, 20), p=[0.9, 0.05, 0.05]).astype(np.uint8))
    leaks = list(audit_table(split).values())
    assert leaks[0].centre_in_window == leaks[0].window_overlap == 0
    assert all(leak.centre_in_window <= leak.window_overlap for leak in leaks)
    for smaller, larger in pairwise(leaks):
        assert smaller.centre_in_window <= larger.centre_in_window
        assert smaller.window_overlap <= larger.window_overlap


def test_two_pixels_four_apart():
    parts = np.zeros((9, 9), np.uint8)
    parts[4, 1], parts[2, 5] = 1, 3
    split = Split(parts)
    assert audit(split, 3).window_overlap == 0
    assert audit(split, 5).window_overlap == 1
    assert audit(split, 7).centre_in_window == 0
    assert audit(split, 9).centre_in_window == 1


def test_validation_pixels_are_not_counted_as_training():
    assert audit(Split(np.array([[1, 0, 0, 2, 3]] * 3, np.uint8)), 3).window_overlap == 0


@pytest.mark.parametrize("window", [3, 5, 7])
def test_a_guard_of_window_minus_one_leaks_nothing(make_fields, window):
    labels = make_fields((60, 60), side=9)
    split = BlockSplit(size=12, guard="auto").split(labels, window=window)
    assert audit(split, window).window_overlap == 0
    narrow = BlockSplit(size=12, guard=window // 2).split(labels, window=window)
    assert audit(narrow, window).centre_in_window == 0
    assert audit(narrow, window).window_overlap > 0


def test_a_split_without_training_pixels_leaks_nothing():
    assert audit(Split(np.full((3, 3), 3, np.uint8)), 3).window_overlap == 0


def test_the_table_holds_the_usual_windows_that_fit_and_the_asked():
    split = Split(np.array([[1, 3] + [0] * 18] * 20, np.uint8))
    assert tuple(audit_table(split)) == AUDITED_WINDOWS
    assert tuple(audit_table(split, 7)) == (1, 3, 5, 7, 9, 15)
    assert tuple(audit_table(Split(split.parts[:5]))) == (1, 3, 5)


def test_windows_that_do_not_fit_and_empty_tests_are_refused():
    split = Split(np.array([[1, 3]] * 3, np.uint8))
    with pytest.raises(CallError, match="odd"):
        audit(split, 2)
    with pytest.raises(CallError, match="larger than the image"):
        audit(split, 3)
    with pytest.raises(SplitError, match="no test pixel"):
        audit(Split(np.ones((3, 3), np.uint8)), 1)


def assert_table(split, expected):
    """Compare with shares printed to two decimals, given as {window: (centre, overlap)}."""
    found = {
        window: (round(leak.centre_in_window, 2), round(leak.window_overlap, 2))
        for window, leak in audit_table(split).items()
        if window in expected
    }
    assert found == expected


def test_a_random_tenth_of_indian_pines_leaks_nearly_everywhere(real):
    leaks = [
        audit_table(RandomSplit(0.1).split(real.site3, seed=seed)) for seed in range(10)
    ]
    expected = {3: (0.54, 0.88), 5: (0.88, 1.0), 9: (0.996, 1.0), 15: (1.0, 1.0)}
    for window, (centre, overlap) in expected.items():
        # single draws of a tenth of 10 366 pixels differ by about 0.01 at window 3
        loose = 0.002 if window >= 9 else 0.02
        shares = [
            (leak[window].centre_in_window, leak[window].window_overlap) for leak in leaks
        ]
        assert np.mean(shares, axis=0) == pytest.approx((centre, overlap), abs=loose)


def test_the_fixed_maps_of_indian_pines_leak_as_measured(real):
    split = MaskSplit(real.fixed_train, real.fixed_test).split(real.site3)
    assert_table(split, {3: (0.32, 0.6), 5: (0.6, 0.9), 9: (0.9, 1.0), 15: (1.0, 1.0)})


def test_the_disjoint_map_of_indian_pines_leaks_as_measured(real):
    # ten Grass-pasture-mowed pixels carry the map's code for Soybean-mintill
    wrong = (real.site3 == 7) & (real.dase == 7)
    train = np.where(wrong, 0, real.dase)
    split = MaskSplit(train).split(real.site3)
    assert (split.count("train"), split.count("test")) == (5679, 4687)
    assert_table(split, {3: (0.15, 0.35), 5: (0.35, 0.71), 9: (0.71, 0.98), 15: (0.96, 1)})


def test_the_fixed_maps_of_pavia_leak_as_measured(real):
    # the published figures count all 3 921 marked pixels, labelled or not
    marked = Split.from_parts(train=real.pavia_train, test=real.pavia_test)
    assert_table(marked, {3: (0.03, 0.07), 9: (0.14, 0.29), 15: (0.25, 0.51)})
    usable = MaskSplit(real.pavia_train, real.pavia_test).split(real.pavia)
    assert_table(usable, {3: (0.03, 0.07), 9: (0.13, 0.27), 15: (0.24, 0.48)})


def zone_of(band, start):
    """Walk from a pixel over neighbours of equal value, corners included."""
    seen, todo = {start}, [start]
    while todo:
        row, col = todo.pop()
        for place in product((row - 1, row, row + 1), (col - 1, col, col + 1)):
            inside = 0 <= place[0] < band.shape[0] and 0 <= place[1] < band.shape[1]
            if inside and place not in seen and band[place] == band[row, col]:
                seen.add(place)
                todo.append(place)
    return seen


@given(
    arrays(
        np.int8,
        array_shapes(min_dims=2, max_dims=2, max_side=9),
        elements=st.integers(0, 2),
    ),
    st.integers(0, 2**32 - 1),
)
def test_shared_zones_are_found_as_by_walking(values, seed):
    band = values.astype(np.float32)
    band[band == 2] = np.nan
    parts = np.random.default_rng(seed).integers(0, 3, band.shape)
    parts.flat[0] = 2
    split = SimpleNamespace(mask=lambda part: parts == {"train": 1, "test": 2}[part])
    tested = list(zip(*np.nonzero(parts == 2), strict=True))
    shared = [any(parts[place] == 1 for place in zone_of(band, start)) for start in tested]
    assert shared_zone_share(split, band) == pytest.approx(np.mean(shared))


def test_the_flattest_band_has_most_equal_neighbours():
    noisy = np.random.default_rng(0).random((6, 5))
    halves = np.repeat([[0.0, 1.0]], 3, axis=0).repeat([2, 3], axis=1).repeat(2, axis=0)
    stack = np.stack([noisy, halves, np.full((6, 5), np.nan), np.full((6, 5), 3.0)])
    assert flattest_band(stack) == 1
    halves[0, 0] = np.nan
    stack = np.stack([np.where(np.isnan(halves), np.nan, 3.0), noisy, halves])
    assert flattest_band(stack) == 2


def test_zones_of_a_split_without_test_pixels_cannot_be_audited():
    split = Split.from_parts(train=np.ones((2, 2)), test=np.zeros((2, 2)))
    with pytest.raises(SplitError, match="no test pixel"):
        shared_zone_share(split, np.zeros((2, 2)))
    with pytest.raises(SplitError, match="no test pixel"):
        mean_zone_share(split, np.zeros((1, 2, 2)))


def test_the_mean_over_a_stack_leaves_out_bands_that_tell_nothing_apart():
    split = Split.from_parts(train=[[1, 0, 0, 0]], test=[[0, 0, 1, 1]])
    half, none = [[7, 7, 7, 5]], [[1, 2, 3, 4]]
    flat, empty = [[3, 3, 3, 3]], [[np.nan] * 4]
    assert mean_zone_share(split, np.array([half, none, flat, empty])) == 0.25
    assert mean_zone_share(split, np.array([flat, empty])) == 1.0
