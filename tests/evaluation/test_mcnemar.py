"""McNemar's test is that of statsmodels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.contingency_tables import mcnemar as oracle

from hypercover.evaluation.mcnemar import mcnemar

COUNT = st.integers(0, 200)


def drawn(both, first, second, none):
    one = np.repeat([True, True, False, False], [both, first, second, none])
    other = np.repeat([True, False, True, False], [both, first, second, none])
    return one, other


@given(COUNT, COUNT, COUNT, COUNT)
def test_both_tests_are_those_of_statsmodels(both, first, second, none):
    found = mcnemar(*drawn(both, first, second, none))
    assert (found.both_right, found.only_first, found.only_second, found.both_wrong) == (
        both, first, second, none)  # fmt: skip
    table = [[both, first], [second, none]]
    if first + second:
        assert found.exact_p == pytest.approx(oracle(table, exact=True).pvalue)
    if first != second:
        expected = oracle(table, exact=False, correction=True)
        assert found.chi2 == pytest.approx(expected.statistic)
        assert found.chi2_p == pytest.approx(expected.pvalue)


@pytest.mark.parametrize("alone", [0, 5])
def test_equally_often_right_is_no_difference(alone):
    found = mcnemar(*drawn(7, alone, alone, 2))
    assert (found.exact_p, found.chi2, found.chi2_p) == (1.0, 0.0, 1.0)
