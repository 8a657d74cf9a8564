"""Cluster splits follow Lange et al. (2018), cluster by cluster."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hypercover.errors import SplitError
from hypercover.splits.audit import audit
from hypercover.splits.fields import ClusterSplit


def clustered(points, eps, least):
    """Cluster points by the definition of DBSCAN: cores in scan order, borders to the first."""
    near = [
        [
            j
            for j, q in enumerate(points)
            if (p[0] - q[0]) ** 2 + (p[1] - q[1]) ** 2 <= eps**2
        ]
        for p in points
    ]
    names, count = [-1] * len(points), 0
    for start in range(len(points)):
        if names[start] != -1 or len(near[start]) < least:
            continue
        queue, names[start] = [start], count
        while queue:
            at = queue.pop()
            if len(near[at]) < least:
                continue
            for other in near[at]:
                if names[other] == -1:
                    names[other] = count
                    queue.append(other)
        count += 1
    return names


def by_hand(labels, share, *, eps, least, cut, values=None):
    """Mark the training pixels as the paper describes, pixel by pixel in plain Python."""
    train = np.zeros(labels.shape, bool)
    for code in np.unique(labels[labels > 0]):
        points = [(int(r), int(c)) for r, c in np.argwhere(labels == code)]
        names = clustered(points, eps, least)
        groups = {}
        for point, name in zip(points, names, strict=True):
            groups.setdefault(name, []).append(point)

        def weight(name, groups=groups):
            if values is None:
                return len(groups[name])
            return np.std([values[:, r, c] for r, c in groups[name]])

        order = sorted(groups, key=lambda name: (name >= 0, weight(name), name))[::-1]
        asked, taken = round(share * len(points)), 0
        for number, name in enumerate(order):
            group = groups[name]
            if cut:
                for point in group[: max(asked - taken, 0)]:
                    train[point] = True
                taken += len(group)
                continue
            last = number == len(order) - 1 and number > 0
            if number and (last or abs(taken + len(group) - asked) >= abs(taken - asked)):
                break
            for point in group:
                train[point] = True
            taken += len(group)
    return train


@settings(max_examples=60)
@given(
    seed=st.integers(0, 10**6),
    share=st.sampled_from([0.1, 0.25, 0.5, 0.9]),
    eps=st.sampled_from([1.0, 1.5, 2.3]),
    least=st.sampled_from([1, 3]),
    cut=st.booleans(),
    spread=st.booleans(),
)
def test_the_order_and_the_cut_are_those_of_the_paper(seed, share, eps, least, cut, spread):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, (9, 11)) * (rng.random((9, 11)) < 0.6)
    labels[0, :3], labels[8, :3] = 1, 2
    labels[0, 9], labels[8, 9] = 1, 2
    values = rng.random((4, 9, 11)) if spread else None
    split = ClusterSplit(
        share,
        order="spread" if spread else "size",
        eps=eps,
        min_pixels=least,
        cut=cut,
        guard=0,
        values=values,
    )
    expected = by_hand(labels, share, eps=eps, least=least, cut=cut, values=values)
    if len(np.unique(labels[expected])) < 2 or not ((labels > 0) & ~expected).any():
        with pytest.raises(SplitError):
            split.split(labels)
        return
    np.testing.assert_array_equal(split.split(labels).mask("train"), expected)


@settings(max_examples=40)
@given(
    guard=st.integers(0, 3), validation=st.sampled_from([0, 0.3]), seed=st.integers(0, 9)
)
def test_no_cluster_is_cut_and_the_guard_is_kept(
    make_squares, brute, guard, validation, seed
):
    labels = make_squares(gap=1, classes=4, side=4)
    split = ClusterSplit(0.5, guard=guard, validation=validation).split(labels, seed=seed)
    names = np.zeros(labels.shape, int)
    for code in np.unique(labels[labels > 0]):
        points = np.argwhere(labels == code)
        named = clustered([tuple(point) for point in points], 1.5, 1)
        names[tuple(points.T)] = np.array(named) + 1 + 1000 * code
    sides = [set(names[split.mask(part)]) for part in ("train", "validation", "test")]
    assert sum(map(len, sides)) == len(set.union(*sides))
    drawn = split.mask("train") | split.mask("validation")
    for row, col in zip(*np.nonzero(split.mask("test")), strict=True):
        assert brute.nearest(drawn, row, col) > guard


def test_a_seed_changes_nothing_but_the_validation(make_squares):
    labels = make_squares(gap=2)
    draws = [ClusterSplit(0.3, guard=1).split(labels, seed=seed) for seed in (0, 1)]
    assert draws[0].digest == draws[1].digest
    share = {"guard": 1, "validation": 0.3}
    draws = [ClusterSplit(0.5, **share).split(labels, seed=seed) for seed in (0, 0, 1, 2)]
    assert draws[0] == draws[1]
    assert len({draw.digest for draw in draws}) > 1
    assert len({draw.mask("test").tobytes() for draw in draws}) == 1


def test_another_share_than_asked_for_is_said():
    labels = np.zeros((6, 30), int)
    labels[:3, :20] = labels[:2, 25:27] = 1
    labels[4:, :20] = labels[4:, 25:27] = 2
    split = ClusterSplit(0.2, guard=0).split(labels)
    assert any("hold 93% of the labelled pixels instead of 20%" in n for n in split.notes)
    assert not ClusterSplit(0.2, guard=0, cut=True).split(labels).notes


def test_what_cannot_be_split_is_said():
    with pytest.raises(SplitError, match="need the image"):
        ClusterSplit(order="spread").split([[1, 0, 1, 2, 0, 2]])
    with pytest.raises(SplitError, match=r"must be \(band, y, x\) with 1 × 6"):
        ClusterSplit(order="spread", values=np.ones((2, 2))).split([[1, 0, 1, 2, 0, 2]])
    with pytest.raises(SplitError, match="Every class has only one cluster"):
        ClusterSplit().split([[1, 1, 2, 2]])
    with pytest.raises(SplitError, match=r"guard of 9 pixels around clusters.*some is 0"):
        ClusterSplit(0.5, guard=9).split([[1, 1, 2, 0, 2, 1]])
    with pytest.raises(SplitError, match="ordered by size or spread, got 'length'"):
        ClusterSplit(order="length")
    for eps in (0, 21, float("nan")):
        with pytest.raises(SplitError, match=f"got {eps} and 1"):
            ClusterSplit(eps=eps)


def test_the_published_protocol_leaks_on_indian_pines_and_whole_clusters_do_not(real):
    published = ClusterSplit(0.1, min_pixels=9, cut=True, guard=0).split(
        real.site3, window=9
    )
    leak = audit(published, 9)
    assert (round(leak.centre_in_window, 2), round(leak.window_overlap, 2)) == (0.2, 0.44)
    guarded = ClusterSplit(0.1).split(real.site3, window=9)
    assert audit(guarded, 9).window_overlap == 0
