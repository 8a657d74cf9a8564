"""Calibrated probabilities: the published algorithms, LIBSVM's answers, honest calibration."""

import math
import os
import shutil
import subprocess
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from sklearn.datasets import dump_svmlight_file

from hypercover.classifiers.svm import svm_classifier as platt
from hypercover.classifiers.svm.svm_classifier import SVMClassifier
from hypercover.libsvm.models import read_model


def reference_sigmoid(decisions, first):
    """Algorithm 1 of Lin, Lin and Weng (2007), line by line."""
    prior1 = sum(first)
    prior0 = len(first) - prior1
    high, low = (prior1 + 1.0) / (prior1 + 2.0), 1 / (prior0 + 2.0)
    wanted = [high if is_first else low for is_first in first]

    def value(a, b):
        total = 0.0
        for f, t in zip(decisions, wanted, strict=True):
            z = f * a + b
            if z >= 0:
                total += t * z + math.log1p(math.exp(-z))
            else:
                total += (t - 1) * z + math.log1p(math.exp(z))
        return total

    a, b = 0.0, math.log((prior0 + 1.0) / (prior1 + 1.0))
    current = value(a, b)
    for _ in range(100):
        h11 = h22 = 1e-12
        h21 = g1 = g2 = 0.0
        for f, t in zip(decisions, wanted, strict=True):
            z = f * a + b
            if z >= 0:
                p, q = math.exp(-z) / (1.0 + math.exp(-z)), 1.0 / (1.0 + math.exp(-z))
            else:
                p, q = 1.0 / (1.0 + math.exp(z)), math.exp(z) / (1.0 + math.exp(z))
            d2 = p * q
            h11, h22, h21 = h11 + f * f * d2, h22 + d2, h21 + f * d2
            d1 = t - p
            g1, g2 = g1 + f * d1, g2 + d1
        if abs(g1) < 1e-5 and abs(g2) < 1e-5:
            break
        det = h11 * h22 - h21 * h21
        da, db = -(h22 * g1 - h21 * g2) / det, -(-h21 * g1 + h11 * g2) / det
        gd, step = g1 * da + g2 * db, 1.0
        while step >= 1e-10:
            new = value(a + step * da, b + step * db)
            if new < current + 0.0001 * step * gd:
                a, b, current = a + step * da, b + step * db, new
                break
            step /= 2.0
        if step < 1e-10:
            break
    return a, b


def reference_coupling(r, tolerance):
    """The second method of Wu, Lin and Weng (2004), algorithm 2, for one pixel."""
    k = len(r)
    q = np.zeros((k, k))
    for t in range(k):
        q[t, t] = sum(r[j][t] ** 2 for j in range(k) if j != t)
        for j in range(k):
            if j != t:
                q[t, j] = -r[j][t] * r[t][j]
    p = np.full(k, 1.0 / k)
    for _ in range(100_000):
        if max(abs(q @ p - p @ q @ p)) < tolerance:
            break
        for t in range(k):
            p[t] += (-(q[t] @ p) + p @ q @ p) / q[t, t]
            p /= p.sum()
    return p


def samples(seed, count, shift, scale):
    rng = np.random.default_rng(seed)
    first = rng.random(count) < rng.uniform(0.1, 0.9)
    return scale * (rng.normal(size=count) + shift * first), first


@given(
    st.integers(0, 2**32 - 1),
    st.integers(2, 80),
    st.floats(-3, 6),
    st.sampled_from([1e-3, 1.0, 1e3]),
)
@settings(max_examples=40)
def test_the_sigmoid_is_that_of_the_published_algorithm(seed, count, shift, scale):
    decisions, first = samples(seed, count, shift, scale)
    slope, offset = platt.fit_sigmoid(decisions, first)
    a, b = reference_sigmoid(decisions.tolist(), first.tolist())
    np.testing.assert_allclose(
        [slope * scale, offset], [a * scale, b], rtol=1e-5, atol=1e-5
    )


def test_the_sigmoid_is_the_likeliest_one():
    decisions, first = samples(0, 200, 2.0, 1.0)
    count = first.sum()
    wanted = np.where(first, (count + 1) / (count + 2), 1 / (len(first) - count + 2))

    def loss(point):
        exponent = decisions * point[0] + point[1]
        return (wanted * exponent + np.logaddexp(0, -exponent)).sum()

    best = minimize(loss, [0.0, 0.0], tol=1e-10).x
    np.testing.assert_allclose(platt.fit_sigmoid(decisions, first), best, atol=1e-4)


@pytest.mark.parametrize("first", [[True, True], [False, False]])
def test_a_sigmoid_of_one_class_is_finite(first):
    sigmoid = platt.fit_sigmoid(np.array([1.0, 1.0]), np.array(first))
    probability = platt.pair_probabilities(np.ones((1, 1)), np.array([sigmoid]))[0, 0]
    assert (probability > 0.5) == first[0]


def test_perfectly_parted_decisions_do_not_make_a_step():
    slope, _ = platt.fit_sigmoid(
        np.array([-9.0, -8, 8, 9]), np.array([False, False, True, True])
    )
    assert -1 < slope < 0


def test_probabilities_of_pairs_stay_short_of_zero_and_one():
    pairs = platt.pair_probabilities(np.array([[-1e300], [1e300]]), np.array([[-2.0, 0.0]]))
    np.testing.assert_array_equal(pairs, [[1e-7], [1 - 1e-7]])


@given(st.integers(0, 2**32 - 1), st.integers(2, 9), st.sampled_from([0.5, 2.0, 8.0]))
@settings(max_examples=40)
def test_coupling_is_what_the_published_iteration_converges_to(seed, k, spread):
    logits = spread * np.random.default_rng(seed).normal(size=(3, k * (k - 1) // 2))
    first = np.clip(1 / (1 + np.exp(-logits)), 1e-7, 1 - 1e-7)
    found = platt.couple_pairs(first, k)
    for pixel in range(3):
        r = np.zeros((k, k))
        for column, (i, j) in enumerate(combinations(range(k), 2)):
            r[i, j], r[j, i] = first[pixel, column], 1 - first[pixel, column]
        expected = reference_coupling(r, 1e-13)
        np.testing.assert_allclose(found[pixel], expected, atol=1e-6)
    np.testing.assert_allclose(found.sum(axis=1), 1.0, atol=1e-12)
    assert (found >= 0).all()


@given(st.lists(st.floats(0.01, 1), min_size=2, max_size=8))
def test_pairs_that_agree_give_their_classes_back(shares):
    truth = np.array(shares) / sum(shares)
    pairs = [
        truth[i] / (truth[i] + truth[j]) for i, j in combinations(range(len(truth)), 2)
    ]
    np.testing.assert_allclose(
        platt.couple_pairs(np.array([pairs]), len(truth))[0], truth, atol=1e-9
    )


def test_pairs_that_contradict_each_other_in_a_circle_give_equal_shares():
    circle = np.array([[1 - 1e-7, 1e-7, 1 - 1e-7]])
    np.testing.assert_allclose(platt.couple_pairs(circle, 3), 1 / 3, atol=1e-9)


@given(st.integers(2, 60), st.integers(1, 6), st.integers(0, 99))
def test_folds_share_out_every_class(count, n_classes, seed):
    y = np.arange(count) % n_classes
    folds = platt.stratified_folds(y, 5, seed)
    np.testing.assert_array_equal(folds, platt.stratified_folds(y, 5, seed))
    for members in [folds, *(folds[y == code] for code in np.unique(y))]:
        sizes = np.bincount(members, minlength=5)
        assert sizes.max() - sizes.min() <= 1


def noisy(n_classes, count, seed, noise=1.2):
    rng = np.random.default_rng(seed)
    y = rng.integers(n_classes, size=count)
    means = np.random.default_rng(99).normal(size=(n_classes, 8))
    return means[y] + noise * rng.normal(size=(count, 8)), y


def unreliability(shares, truth):
    """Largest gap between how sure and how often right, over bins of a fifth."""
    bins = np.minimum((5 * shares).astype(int), 4)
    return max(
        abs(truth[bins == one].mean() - shares[bins == one].mean()) for one in range(5)
    )


def test_probabilities_are_calibrated_where_shares_are_not():
    X, y = noisy(2, 400, 0, noise=3.0)
    unseen, truth = noisy(2, 20_000, 1, noise=3.0)
    calibrated = SVMClassifier(probability=True).fit(X, y).predict_proba(unseen)
    shares = SVMClassifier().fit(X, y).predict_proba(unseen)
    assert unreliability(calibrated[:, 1], truth) < 0.1
    assert unreliability(shares[:, 1], truth) > 0.15


def test_only_held_out_decisions_are_calibrated_on():
    """Random labels: machines that learn them by heart must still say that they do not know."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(300, 30)), np.arange(300) % 2
    svm = SVMClassifier(C=1e4, probability=True).fit(X, y)
    assert svm.score(X, y) == 1.0
    assert (np.abs(svm.predict_proba(X) - 0.5) < 0.2).all()


def test_the_seed_makes_the_folds_and_labels_do_not_depend_on_it():
    X, y = noisy(4, 200, 0)
    first, again, other = (
        SVMClassifier(probability=True, random_state=seed).fit(X, y) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first.sigmoids_, again.sigmoids_)
    assert (first.sigmoids_ != other.sigmoids_).any()
    np.testing.assert_array_equal(first.predict(X), SVMClassifier().fit(X, y).predict(X))


def test_argmax_of_the_probabilities_is_mostly_the_label():
    X, y = noisy(5, 300, 0)
    unseen, _ = noisy(5, 2000, 1)
    svm = SVMClassifier(probability=True).fit(X, y)
    chosen = svm.classes_[svm.predict_proba(unseen).argmax(axis=1)]
    assert (chosen == svm.predict(unseen)).mean() > 0.9


@pytest.mark.parametrize("sizes", [(1, 1), (1, 9), (30, 1, 2), (3, 3, 1, 40)])
@pytest.mark.parametrize("weights", [None, "balanced", {0: 2.0}])
def test_classes_too_small_for_five_folds_are_welcome(sizes, weights):
    y = np.repeat(np.arange(len(sizes)), sizes)
    X = np.random.default_rng(0).normal(size=(len(y), 3)) + 4 * y[:, np.newaxis]
    svm = SVMClassifier(probability=True, class_weight=weights).fit(X, y)
    probabilities = svm.predict_proba(X)
    assert np.isfinite(svm.sigmoids_).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, atol=1e-12)


with_libsvm = pytest.mark.skipif(
    shutil.which("svm-train") is None and "CI" not in os.environ,
    reason="LIBSVM's programs are not installed (Debian: libsvm-tools)",
)


@pytest.fixture(scope="module")
def libsvm(tmp_path_factory):
    """Scaled samples, the probabilities that LIBSVM gives, and its model."""
    folder = tmp_path_factory.mktemp("libsvm")
    X, y = noisy(4, 500, 0)
    unseen, labels = noisy(4, 800, 1)
    X, unseen = ((part - X.mean(axis=0)) / X.std(axis=0) for part in (X, unseen))
    for name, *part in (("train", X, y), ("test", unseen, labels)):
        dump_svmlight_file(*part, str(folder / name), zero_based=False)
    trained = ("svm-train", "-q", "-b", "1", "-c", "10", "-g", "0.1", "train", "model")
    for call in (trained, ("svm-predict", "-b", "1", "test", "model", "out")):
        subprocess.run(call, cwd=folder, check=True, capture_output=True)
    order = [int(code) for code in (folder / "out").read_text().splitlines()[0].split()[1:]]
    expected = np.loadtxt(folder / "out", skiprows=1)[:, 1:]
    return X, y, unseen, expected[:, np.argsort(order)], folder / "model"


@with_libsvm
def test_libsvms_own_sigmoids_give_libsvms_probabilities(libsvm):
    """LIBSVM stops its coupling at an error of 0.005 / classes."""
    _, _, unseen, expected, path = libsvm
    model = read_model(path)
    order = np.argsort(model.labels)
    decisions = model.machines.decisions(unseen)
    pairs = platt.pair_probabilities(decisions, model.sigmoids)
    np.testing.assert_allclose(platt.couple_pairs(pairs, 4)[:, order], expected, atol=0.005)


@with_libsvm
def test_probabilities_are_near_those_of_libsvm_with_folds_of_its_own(libsvm):
    X, y, unseen, expected, _ = libsvm
    found = SVMClassifier(C=10, gamma=0.1, probability=True).fit(X, y).predict_proba(unseen)
    assert np.abs(found - expected).mean() < 0.02
