import math
import os
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest

from hypercover.classifiers.svm.svm_cross_validation import CVProblem, check_positive
from hypercover.errors import CallError, SplitError

Y = np.repeat([1, 2], 10)
X = np.random.default_rng(0).normal(size=(20, 3))
EVEN, ODD = np.arange(0, 20, 2), np.arange(1, 20, 2)


def refused(kind, *words, X=X, y=Y, folds=((EVEN, ODD),), **options):
    """Check that a problem is refused in one sentence that says these words."""
    with pytest.raises(kind) as found:
        CVProblem.of(X, y, folds, **options)
    sentence = str(found.value)
    assert sentence.endswith(".")
    assert "\n" not in sentence
    for word in words:
        assert word in sentence, sentence


def test_samples_and_folds_are_sorted_alike():
    order = np.random.default_rng(1).permutation(20)
    folds = [(EVEN, ODD), (ODD, EVEN[:3])]
    problem = CVProblem.of(X[order], Y[order], folds)
    for row, (train, test) in enumerate(folds):
        np.testing.assert_array_equal(
            problem.train_mask[row], np.isin(problem.samples.order, train)
        )
        np.testing.assert_array_equal(
            problem.test_mask[row], np.isin(problem.samples.order, test)
        )
    assert problem.test_mask.sum(axis=1).tolist() == [10, 3]


def test_which_classes_a_fold_knows():
    y = np.repeat([1, 2, 3], [8, 8, 4])
    problem = CVProblem.of(X, y, [(np.arange(12), ODD[7:]), (np.arange(6, 20), ODD[:3])])
    assert problem.present.tolist() == [[True, True, False], [True, True, True]]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_features_that_are_not_finite(value):
    broken = X.copy()
    broken[3, 1] = value
    refused(CallError, "NaN or infinite", X=broken)


@pytest.mark.parametrize(
    ("features", "classes", "words"),
    [
        (X[:, 0], Y, "(20,)"),
        (X[:, :, np.newaxis], Y, "(20, 3, 1)"),
        (X, Y[:-1], "(19,)"),
        (X, Y[:, np.newaxis], "(20, 1)"),
        (X, np.ones(20), "two classes"),
        ([["a", "b"]] * 20, Y, "numbers"),
        ([[1.0], [1.0, 2.0]] * 10, Y, "numbers"),
        (X * 1e200, Y, "scale them"),
    ],
    ids=["row", "cube", "short", "table", "one class", "text", "ragged", "huge"],
)
def test_features_and_classes_that_do_not_make_a_problem(features, classes, words):
    refused(CallError, words, X=features, y=classes)


@pytest.mark.parametrize(
    ("folds", "words"),
    [
        ((), "at least one fold"),
        (((EVEN, EVEN),), "must be disjoint"),
        (((EVEN, ODD), (EVEN, np.arange(18, 20))), "must be disjoint"),
        (((EVEN, np.array([], dtype=int)),), "Fold 1"),
        (((EVEN, ODD), (np.array([], dtype=int), ODD)), "Fold 2"),
        (((EVEN, np.array([20])),), "from 0 to 19"),
        (((EVEN, np.array([-1])),), "from 0 to 19"),
        (((EVEN.astype(float), ODD),), "Fold 1"),
        (((np.arange(20) < 10, ODD),), "Fold 1"),
        (((EVEN.reshape(2, 5), ODD),), "Fold 1"),
        (((np.arange(10), ODD[6:]),), "fewer than two classes"),
    ],
    ids=[
        "none",
        "same",
        "shared",
        "empty",
        "untrained",
        "beyond",
        "negative",
        "floats",
        "mask",
        "table",
        "one",
    ],
)
def test_folds_that_cannot_be_used(folds, words):
    refused(SplitError, words, folds=folds)


def test_memory_must_hold_the_largest_pair():
    need = 2 * 4 * 20**2
    refused(CallError, "two largest classes have 20 samples", memory=need - 1)
    assert CVProblem.of(X, Y, [(EVEN, ODD)], memory=need).cache_bytes == 0


def test_as_many_threads_as_asked_for_and_as_memory_lets():
    problem = CVProblem.of(X, Y, [(EVEN, ODD)], memory=3 * 2 * 4 * 20**2)
    assert [problem.threads(n) for n in (1, 2, 3, 4)] == [1, 2, 3, 3]
    roomy = CVProblem.of(X, Y, [(EVEN, ODD)])
    assert roomy.threads(-1) == roomy.threads(None) >= 1
    for wrong in (0, 1.5, "two"):
        with pytest.raises(CallError, match="number of threads"):
            roomy.threads(wrong)


@pytest.mark.parametrize(
    "value",
    [
        0,
        0.0,
        -1,
        -1e-300,
        math.nan,
        math.inf,
        -math.inf,
        True,
        "1",
        None,
        1j,
        np.bool_(True),
    ],
)
def test_costs_and_widths_are_finite_numbers_above_zero(value):
    with pytest.raises(CallError, match="finite number above 0"):
        check_positive([1.0, value], "C")


def test_numbers_of_any_kind_are_taken():
    values = [1, 2.5, np.float32(0.5), np.int64(3), Fraction(1, 4), 5e-324]
    assert check_positive(values, "C") == [1.0, 2.5, 0.5, 3.0, 0.25, 5e-324]
    assert all(type(value) is float for value in check_positive(values, "C"))


def test_no_value_at_all():
    with pytest.raises(CallError, match="at least one gamma"):
        check_positive([], "gamma")


def test_to_count_threads_changes_those_of_no_other_library():
    """PyTorch's add up in another order, and a training that went on would end elsewhere."""
    program = (
        "import torch; before = torch.get_num_threads(); "
        "from hypercover.classifiers.svm.threads import default_threads; "
        "print(default_threads(), before, torch.get_num_threads())"
    )
    asked = os.environ | {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "2"}
    told = subprocess.run(
        [sys.executable, "-c", program],
        env=asked,
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.split() == ["2", "1", "1"]
