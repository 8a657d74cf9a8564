from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from hypercover.classifiers.svm.svm_cross_validation import (
    BlockMatrix,
    CVProblem,
    SortedSamples,
)


def three_classes(n=60, n_features=4, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, n_features)), rng.permutation(np.repeat([7, 3, 5], n // 3))


def problem_of(X, y, memory=None):
    half = np.arange(len(y)) % 2 == 0
    folds = [(np.flatnonzero(half), np.flatnonzero(~half))]
    return CVProblem.of(X, y, folds, memory=memory)


def test_samples_lie_class_after_class_in_the_order_they_came():
    X, y = three_classes()
    samples = SortedSamples.sort(X, y)
    assert samples.classes.tolist() == [3, 5, 7]
    assert samples.counts == (20, 20, 20)
    np.testing.assert_array_equal(samples.features, X[samples.order])
    for span, code in zip(samples.spans, [3, 5, 7], strict=True):
        np.testing.assert_array_equal(samples.order[span], np.flatnonzero(y == code))


@pytest.mark.parametrize("offset", [0.0, 1e3])
def test_distances_are_those_between_the_samples(offset):
    X, y = three_classes()
    samples = SortedSamples.sort(X + offset, y)
    for i, first in enumerate(samples.spans):
        for j, second in enumerate(samples.spans):
            expected = cdist(
                samples.features[first], samples.features[second], "sqeuclidean"
            )
            found = samples.squared_distances(i, j)
            assert found.dtype == np.float32
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7 * (1 + offset))


def test_the_same_sample_twice_is_at_no_distance_and_there_is_as_far_as_back():
    X, y = three_classes(n_features=50)
    X = np.repeat(X[::2], 2, axis=0) + 100.0
    samples = SortedSamples.sort(X, y)
    for k in range(3):
        own = samples.squared_distances(k, k)
        np.testing.assert_array_equal(own, own.T)
        assert (np.diag(own) == 0).all()
        assert (own >= 0).all()


@pytest.mark.parametrize("gamma", [1e-300, 1e-30, 1e-9, 0.01, 1.0, 1e9, 1e38, 1e300])
def test_kernels_less_one_keep_their_precision_at_any_gamma(gamma):
    X, y = three_classes()
    problem = problem_of(X, y)
    kernels = problem.kernels(gamma)
    for i in range(3):
        for j in range(3):
            block, squares = kernels[i, j], problem.distances[i, j].astype(float)
            np.testing.assert_allclose(
                block, np.expm1(-gamma * squares), rtol=2e-6, atol=1e-37
            )
            if i == j:
                assert (np.diag(block) == 0).all(), "a kernel is exactly 1 with itself"


def test_the_block_of_a_pair_is_the_kernel_of_its_samples():
    X, y = three_classes()
    problem = problem_of(X, y)
    for pair in ((0, 1), (0, 2), (1, 2)):
        block = problem.kernels(0.3).block(*pair)
        own = np.concatenate(
            [problem.samples.features[problem.samples.spans[k]] for k in pair]
        )
        np.testing.assert_allclose(
            block, np.expm1(-0.3 * cdist(own, own, "sqeuclidean")), atol=1e-6
        )
        np.testing.assert_array_equal(block, block.T)


def counted(shape=(10, 10)):
    """Tiles of equal size, and a list of what was made."""
    made = []

    def make(i, j):
        made.append((i, j))
        return np.full(shape, 10 * i + j, dtype=np.float32)

    return make, made


def kept_bytes(tiles):
    return sum(tile.nbytes for tile in tiles._cache.values())


@pytest.mark.parametrize("room", [0, 399, 400, 1200, 4000])
@pytest.mark.parametrize("reserved", [0, 800, 10_000])
def test_no_more_is_kept_than_the_budget(room, reserved):
    make, _ = counted()
    tiles = BlockMatrix(make, room, reserved)
    for i in range(4):
        for j in range(4):
            low, high = min(i, j), max(i, j)
            assert (tiles[i, j] == 10 * low + high).all()
            assert kept_bytes(tiles) <= room
    assert kept_bytes(tiles) + tiles.budget == room


def test_what_is_kept_is_made_once_and_what_is_not_again():
    make, made = counted()
    tiles = BlockMatrix(make, 800)
    for _ in range(3):
        tiles[0, 1], tiles[1, 0], tiles[0, 2], tiles[1, 2]
    assert made.count((0, 1)) == made.count((0, 2)) == 1
    assert made.count((1, 2)) == 3
    assert np.shares_memory(tiles[0, 1], tiles[1, 0])


def test_blocks_of_one_class_find_the_room_that_is_set_aside_for_them():
    make, made = counted()
    tiles = BlockMatrix(make, 1200, reserved=800)
    for _ in range(2):
        tiles[0, 1], tiles[0, 2], tiles[1, 2], tiles[0, 0], tiles[1, 1]
    assert made.count((0, 0)) == made.count((1, 1)) == made.count((0, 1)) == 1
    assert made.count((1, 2)) == made.count((0, 2)) == 2


def test_threads_share_tiles_and_keep_to_the_budget():
    make, _ = counted((50, 50))
    tiles = BlockMatrix(make, 30_000)
    wanted = [(i, j) for i in range(6) for j in range(6)] * 20
    with ThreadPoolExecutor(4) as pool:
        for (i, j), tile in zip(wanted, pool.map(tiles.__getitem__, wanted), strict=True):
            assert (tile == 10 * min(i, j) + max(i, j)).all()
    assert 0 < kept_bytes(tiles) <= 30_000
    assert kept_bytes(tiles) + tiles.budget == 30_000
