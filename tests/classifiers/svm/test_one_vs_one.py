"""Votes in single precision: what is called sure is right, what is not is left to others."""

from itertools import pairwise as pairwise_of

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hypercover.classifiers.svm.one_vs_one import OneVsOneSVMs, SinglePrecisionVotes


def machines(seed, counts, n_features, *, spread=1.0, cost=100.0, gamma=None):
    rng = np.random.default_rng(seed)
    total, n_classes = sum(counts), len(counts)
    coefficients = rng.normal(size=(n_classes - 1, total))
    coefficients *= cost ** rng.random((n_classes - 1, total))
    return OneVsOneSVMs(
        spread * rng.normal(size=(total, n_features)),
        coefficients,
        rng.normal(size=n_classes * (n_classes - 1) // 2),
        tuple(counts),
        gamma or 1.0 / (n_features * spread**2),
    )


def single_precision(pairwise):
    weights = [pairwise.coefficients[:, span] for span in pairwise._spans]
    return SinglePrecisionVotes.of(
        pairwise.vectors, weights, pairwise.intercepts, pairwise.gamma
    )


def true_winners(pairwise, spectra):
    return pairwise.winners(pairwise.decisions(spectra))


@given(
    st.integers(0, 2**32 - 1),
    st.lists(st.integers(0, 9), min_size=2, max_size=5).filter(any),
    st.integers(1, 40),
    st.sampled_from([1e-3, 1.0, 1e3]),
    st.sampled_from([1.0, 1e2, 1e6, 1e12]),
)
@settings(max_examples=80)
def test_sure_winners_are_right_and_errors_within_their_bounds(
    seed, counts, n_features, spread, cost
):
    pairwise = machines(seed, counts, n_features, spread=spread, cost=cost)
    spectra = spread * np.random.default_rng(seed + 1).normal(size=(50, n_features))
    spectra[:10] = pairwise.vectors[:1] + 1e-4 * spectra[:10]
    spectra[10:20] *= 10
    votes = single_precision(pairwise)
    squares = (spectra**2).sum(axis=1)
    sums = votes._sums(votes._kernel(spectra, squares))
    found, errors = votes._decisions(sums, squares)
    expected = pairwise.decisions(spectra)
    assert (np.abs(found.T - expected) <= errors.T).all()
    winners, sure = votes.winners(spectra)
    np.testing.assert_array_equal(winners[sure], true_winners(pairwise, spectra)[sure])


def test_most_winners_are_sure():
    pairwise = machines(0, [20, 30, 10, 25], 50)
    spectra = np.random.default_rng(1).normal(size=(2000, 50))
    _, sure = single_precision(pairwise).winners(spectra)
    assert sure.mean() > 0.98


def test_votes_that_tie_are_sure_where_their_decisions_are():
    """Three classes that beat each other in a circle: the first of them wins."""
    circle = OneVsOneSVMs(
        np.zeros((3, 1)), np.zeros((2, 3)), np.array([1.0, -1.0, 1.0]), (1, 1, 1), 1.0
    )
    winners, sure = single_precision(circle).winners(np.zeros((2, 1)))
    assert winners.tolist() == [0, 0]
    assert sure.all()


def test_a_doubtful_vote_that_turns_nothing_leaves_the_winner_sure():
    """Class 0 beats both others; who of them beats the other is open."""
    pairwise = OneVsOneSVMs(
        np.zeros((3, 1)), np.zeros((2, 3)), np.array([1.0, 1.0, 0.0]), (1, 1, 1), 1.0
    )
    winners, sure = single_precision(pairwise).winners(np.zeros((1, 1)))
    assert (winners.tolist(), sure.tolist()) == ([0], [True])


@pytest.mark.parametrize(
    "intercepts", [[0.0, 1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, -1.0, 0.0]]
)
def test_a_doubtful_vote_that_could_turn_the_election_leaves_it_open(intercepts):
    pairwise = OneVsOneSVMs(
        np.zeros((3, 1)), np.zeros((2, 3)), np.array(intercepts), (1, 1, 1), 1.0
    )
    assert not single_precision(pairwise).winners(np.zeros((1, 1)))[1].any()


def test_a_doubtful_vote_that_makes_a_tie_leaves_the_first_sure():
    pairwise = OneVsOneSVMs(
        np.zeros((3, 1)), np.zeros((2, 3)), np.array([1.0, 0.0, 1.0]), (1, 1, 1), 1.0
    )
    winners, sure = single_precision(pairwise).winners(np.zeros((1, 1)))
    assert (winners.tolist(), sure.tolist()) == ([0], [True])


@pytest.mark.parametrize("size", [1e6, 1e25, 1e200])
def test_nothing_is_sure_far_away(size):
    pairwise = machines(0, [3, 3], 4)
    _, sure = single_precision(pairwise).winners(np.full((2, 4), size))
    assert not sure.any()


def test_coefficients_beyond_single_precision_are_left_to_others():
    pairwise = machines(0, [3, 3], 4, cost=1e60)
    spectra = np.random.default_rng(0).normal(size=(20, 4))
    assert not single_precision(pairwise).winners(spectra)[1].any()
    labels = pairwise.labels(lambda rows: spectra[rows], 20)
    np.testing.assert_array_equal(labels, true_winners(pairwise, spectra))


@pytest.mark.parametrize("block", [500, 2**19])
def test_labels_are_the_winners_of_the_decisions(monkeypatch, block):
    monkeypatch.setattr("hypercover.classifiers.svm.one_vs_one._BLOCK", block)
    monkeypatch.setattr("hypercover.classifiers.svm.one_vs_one._FEWEST", 1)
    pairwise = machines(3, [5, 0, 8, 3], 12, cost=1e5)
    spectra = np.random.default_rng(0).normal(size=(700, 12))
    labels = pairwise.labels(lambda rows: spectra[rows], 700)
    np.testing.assert_array_equal(labels, true_winners(pairwise, spectra))


@pytest.mark.parametrize(("counts", "fits"), [([9] * 4, 2**19), ([40] * 150, 2**23)])
def test_blocks_are_neither_tiny_nor_large(counts, fits):
    pairwise = machines(0, counts, 30)
    size = sum(pairwise.vectors.shape) + 5 * len(pairwise.pairs)
    blocks = list(pairwise.blocks(100_000))
    assert [blocks[0].start, blocks[-1].stop >= 100_000] == [0, True]
    assert all(one.stop == other.start for one, other in pairwise_of(blocks))
    length = blocks[0].stop
    assert length * size <= fits
    assert length >= min(256, fits // size)
