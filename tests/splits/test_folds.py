"""Folds: whole groups, disjoint sides, a guard that holds, classes that are named."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_cdt
from scipy.sparse.csgraph import connected_components
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neighbors import KNeighborsClassifier

from hypercover.errors import SplitError
from hypercover.scene.legend import Legend
from hypercover.scene.samples import Samples
from hypercover.splits.folds import BlockFolds, ClusterFolds, Fold, Folds, RandomFolds

MAKERS = (RandomFolds(4), BlockFolds(4, size=6, guard=2), ClusterFolds(4, guard=2))
ALL = pytest.mark.parametrize("maker", MAKERS, ids=lambda maker: type(maker).__name__)


def apart(samples, one, other):
    """Chebyshev distances (n, m) between two sets of samples, one by one."""
    down = np.subtract.outer(samples.rows[one], samples.rows[other])
    across = np.subtract.outer(samples.cols[one], samples.cols[other])
    return np.maximum(abs(down), abs(across))


def linked(samples, gap):
    """Clusters of samples by brute force: same class and at most so far apart."""
    every = np.arange(len(samples))
    near = apart(samples, every, every) <= gap
    alike = np.equal.outer(samples.labels, samples.labels)
    return connected_components(near & alike, directed=False)[1]


def fold_of(folds):
    """Number of the fold in which each sample is held out, -1 for none."""
    numbers = np.full(len(folds.samples), -1)
    for number, fold in enumerate(folds.parts):
        for part in (fold.test, fold.unscored):
            assert (numbers[part] == -1).all()
            numbers[part] = number
    return numbers


def same_partition(one, other):
    """Tell whether two numberings put the same samples together."""
    pairs = {*zip(one.tolist(), other.tolist(), strict=True)}
    return len(pairs) == len(set(one.tolist())) == len(set(other.tolist()))


@ALL
def test_every_sample_is_held_out_once(maker, labels):
    folds = maker.folds(Samples.of(labels), seed=3)
    assert len(folds) == folds.get_n_splits() == 4
    assert (fold_of(folds) >= 0).all()
    for fold in folds.parts:
        together = np.concatenate([fold.train, fold.test, fold.guard, fold.unscored])
        assert sorted(together.tolist()) == list(range(len(folds.samples)))


@ALL
def test_the_seed_decides(maker, labels):
    samples = Samples.of(labels)
    one, same, other = (fold_of(maker.folds(samples, seed=seed)) for seed in (1, 1, 2))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


@given(
    seed=st.integers(0, 50),
    size=st.integers(1, 9),
    guard=st.integers(0, 5),
    share=st.floats(0.1, 1),
)
def test_blocks_stay_whole_and_the_guard_is_exact(make_fields, seed, size, guard, share):
    labels = make_fields(shape=(30, 34), classes=3, seed=seed)
    labels[np.random.default_rng(seed).random(labels.shape) > share] = 0
    samples = Samples.of(labels)
    try:
        folds = BlockFolds(3, size=size, guard=guard).folds(samples, seed=seed)
    except SplitError as error:
        assert "guard" in str(error)  # noqa: PT017 - most draws make folds
        return
    numbers = fold_of(folds)
    for fold in folds.parts:
        held = np.concatenate([fold.test, fold.unscored])
        rest = np.setdiff1d(np.arange(len(samples)), held)
        near = (apart(samples, rest, held) <= guard).any(axis=1) & (guard > 0)
        assert np.array_equal(rest[near], fold.guard)
        assert np.array_equal(rest[~near], fold.train)
        assert set(samples.labels[fold.test]) <= set(samples.labels[fold.train])
    # Some origin of the blocks explains which samples are held out together.
    origins = np.ndindex(size, size)
    assert any(
        all(
            len(set(numbers[block == one])) == 1
            for block in [
                (samples.rows + down) // size * 100 + (samples.cols + across) // size
            ]
            for one in np.unique(block)
        )
        for down, across in origins
    )


@given(seed=st.integers(0, 50), gap=st.integers(1, 6), share=st.floats(0.05, 1))
def test_clusters_are_those_of_brute_force(make_fields, seed, gap, share):
    from hypercover.splits.folds import cluster_numbers

    labels = make_fields(shape=(24, 30), classes=4, seed=seed)
    labels[np.random.default_rng(seed).random(labels.shape) > share] = 0
    samples = Samples.of(labels)
    if len(samples):
        assert same_partition(cluster_numbers(samples, gap), linked(samples, gap))


@given(seed=st.integers(0, 50), guard=st.integers(0, 5))
def test_clusters_stay_whole_and_lose_only_other_classes(make_fields, seed, guard):
    labels = make_fields(shape=(40, 40), classes=3, seed=seed)
    samples = Samples.of(labels)
    try:
        folds = ClusterFolds(2, guard=guard).folds(samples, seed=seed)
    except SplitError:
        assert len(set(linked(samples, max(guard, 1)))) < 8
        return
    numbers, groups = fold_of(folds), linked(samples, max(guard, 1))
    assert all(len(set(numbers[groups == group])) == 1 for group in set(groups))
    for fold in folds.parts:
        held = np.concatenate([fold.test, fold.unscored])
        for taken in fold.guard:
            near = apart(samples, [taken], held)[0] <= guard
            assert near.any()
            assert samples.labels[taken] not in samples.labels[held[near]]
        if guard and len(fold.test):
            assert apart(samples, fold.test, fold.train).min() > guard


def test_random_folds_are_even_in_size_and_in_every_class(labels):
    samples = Samples.of(labels)
    folds = RandomFolds(7).folds(samples)
    sizes = [len(fold.test) for fold in folds.parts]
    assert max(sizes) - min(sizes) <= 1
    for code in np.unique(samples.labels):
        held = [np.count_nonzero(samples.labels[fold.test] == code) for fold in folds.parts]
        assert max(held) - min(held) <= 1
        assert min(held) >= 1
    assert not any(len(fold.guard) or len(fold.unscored) for fold in folds.parts)


def test_blocks_are_dealt_evenly(make_fields):
    samples = Samples.of(make_fields(shape=(120, 120), classes=6))
    folds = BlockFolds(5, size=8, guard=0).folds(samples)
    for code in np.unique(samples.labels):
        held = [np.mean(samples.labels[fold.test] == code) for fold in folds.parts]
        assert max(held) < 2 * min(held)
    sizes = [len(fold.test) for fold in folds.parts]
    assert max(sizes) < 1.3 * min(sizes)


def test_what_touches_a_training_sample_is_told(labels):
    samples = Samples.of(labels)
    random = RandomFolds(5).folds(samples)
    blocks = BlockFolds(5, size=8, guard=1).folds(samples)
    near = sum(
        np.count_nonzero((apart(samples, fold.test, fold.train) <= 1).any(axis=1))
        for fold in random.parts
    )
    assert random.near(1) == near / len(samples)
    assert random.to_json()["touching"] > 0.95
    assert blocks.to_json()["touching"] == 0


def test_a_class_in_one_block_is_not_scored_but_named():
    labels = np.zeros((20, 40), dtype=np.uint8)
    labels[::2] = np.tile([1, 2], 20)
    labels[3, 3] = 9
    folds = BlockFolds(4, size=10, guard=1).folds(
        Samples.of(labels), legend=Legend.of({9: "Oats"})
    )
    samples = folds.samples
    rare = np.flatnonzero(samples.labels == 9)
    assert not np.isin(rare, np.concatenate([fold.test for fold in folds.parts])).any()
    assert folds.notes == (
        "Class 9 (Oats): 1 of 1 samples not scored, as their fold has no training samples of "
        "the class.",
    )
    assert folds.scored == len(samples) - 1


def test_a_fold_that_cannot_be_trained_is_left_out_and_named():
    labels = np.zeros((9, 200), dtype=np.uint8)
    labels[:, :60:2], labels[:, 1:60:2] = 1, 2
    labels[4, 100:103] = [1, 2, 1]
    labels[0, 190:193] = 1
    # Clusters of one class alone: whoever holds out all of class 2 has nothing to tell apart.
    folds = ClusterFolds(3, guard=9).folds(Samples.of(labels), seed=0)
    assert len(folds) == 2
    assert "left out for lack of training samples" in folds.notes[0]


REFUSED = [
    (lambda: RandomFolds(1), "Cross-validation needs at least 2 folds, got 1; use 10."),
    (lambda: BlockFolds(2, size=0), "A block must be at least 1 pixel wide, got 0."),
    (
        lambda: ClusterFolds(2, guard=-1),
        "The guard must be a width in pixels from 0, got -1",
    ),
    (
        lambda: RandomFolds(5).folds(
            Samples.of([[1] * 9 + [7] * 3]), legend=Legend.of({7: "Oats"})
        ),
        "Class 7 (Oats) has 3 samples, fewer than the 5 folds; use at most 3 folds, label "
        "more of it or drop the class.",
    ),
    (
        lambda: RandomFolds(2).folds(Samples.of([[1] * 9 + [7]])),
        "Class 7 has 1 sample, fewer than the 2 folds; label more of it or drop the class.",
    ),
    (
        lambda: BlockFolds(20, size=50).folds(Samples.of(np.tile([1, 2], (9, 120)))),
        "blocks of 50 × 50 pixels, fewer than the 20 folds; use at most",
    ),
    (
        lambda: BlockFolds(2, size=900).folds(Samples.of(np.tile([1, 2], (9, 120)))),
        "The samples are in 1 block of 900 × 900 pixels, fewer than the 2 folds; use smaller",
    ),
    (
        lambda: ClusterFolds(3).folds(Samples.of([[1, 1, 2, 2]])),
        "The samples are in 2 clusters, fewer than the 3 folds; use at most 2 folds or "
        "folds by blocks.",
    ),
    (
        lambda: BlockFolds(3, size=2, guard=99).folds(Samples.of(np.tile([1, 2], (9, 9)))),
        "A guard of 99 pixels leaves 0 of 3 folds with samples of two classes",
    ),
    (
        lambda: RandomFolds(2).folds(Samples.of([[1, 1, 1]])),
        "Folds need samples of at least two classes, got only class 1",
    ),
    (lambda: RandomFolds(2).folds(Samples.of([[0]])), "two classes, got no sample"),
]


@pytest.mark.parametrize(("make", "sentence"), REFUSED)
def test_what_cannot_be_folded_is_refused_in_one_sentence(make, sentence):
    with pytest.raises(SplitError) as refused:
        make()
    text = str(refused.value)
    assert sentence in text
    assert text.endswith(".")
    assert text.count(". ") == 0


def test_folds_that_overlap_or_lie_too_near_are_refused():
    samples = Samples.of([[1, 1, 2, 2]])

    def of(*parts):
        return Fold(*(np.array(part, dtype=np.intp) for part in parts))

    with pytest.raises(SplitError, match="parts of fold 1 must be disjoint"):
        Folds(samples, (of([0, 1], [1, 2], [3], []),))
    with pytest.raises(SplitError, match="parts of fold 1 must be disjoint"):
        Folds(samples, (of([0, 1], [2], [], []),))
    with pytest.raises(SplitError, match="more than 2 pixels from the training ones"):
        Folds(samples, (of([0], [2, 3], [1], []),), guard=2)
    assert len(Folds(samples, (of([0], [2, 3], [1], []),), guard=1)) == 1


@ALL
def test_they_are_splitters_of_scikit_learn(maker, labels):
    samples = Samples.of(labels)
    folds = maker.folds(samples)
    chance = np.random.default_rng(0)
    spectra = chance.normal(size=(len(samples), 3)) + samples.labels[:, None]
    model = KNeighborsClassifier(3)
    scores = cross_val_score(model, spectra, samples.labels, cv=folds)
    assert len(scores) == 4
    search = GridSearchCV(model, {"n_neighbors": [3]}, cv=folds)
    search.fit(spectra, samples.labels)
    assert search.best_score_ == pytest.approx(scores.mean())
    with pytest.raises(SplitError, match=rf"made for {len(samples)} samples, got 5"):
        folds.split(spectra[:5])


def test_folds_of_real_fields_keep_their_guard(real):
    """Measured on the map itself: no training pixel within the guard of a held-out one."""
    for labels, guard in ((real.site3, 4), (real.pavia, 8)):
        samples = Samples.of(labels)
        for maker in (BlockFolds(10, size=20, guard=guard), ClusterFolds(5, guard=guard)):
            folds = maker.folds(samples)
            assert folds.near(guard) == 0
            assert folds.scored > len(samples) / 2
            for fold in folds.parts:
                clear = np.ones(labels.shape, dtype=bool)
                clear[samples.rows[fold.test], samples.cols[fold.test]] = False
                far = distance_transform_cdt(clear, metric="chessboard")
                assert far[samples.rows[fold.train], samples.cols[fold.train]].min() > guard
        assert RandomFolds(10).folds(samples).near(1) > 0.95
