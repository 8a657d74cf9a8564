"""Agreement maps say who is right where."""

import numpy as np

from hypercover.evaluation.comparison import mcnemar
from hypercover.evaluation.predictions import Predictions
from hypercover.gis.map_writing import agreement_legend, agreement_map
from hypercover.scene.samples import Samples


def test_codes_are_counted_as_mcnemar_counts_them():
    rng = np.random.default_rng(0)
    test = Samples.of(rng.integers(0, 3, (20, 20)))
    one, other = (
        Predictions.of(test, rng.integers(1, 3, len(test)), shape=(20, 20))
        for _ in range(2)
    )
    shown = agreement_map(one, other)
    counts = np.bincount(shown.ravel(), minlength=5)
    test_of = mcnemar(one.right, other.right)
    assert counts.tolist() == [
        400 - len(test),
        test_of.both_right,
        test_of.only_first,
        test_of.only_second,
        test_of.both_wrong,
    ]
    assert (shown[test.rows, test.cols] > 0).all()
    names = agreement_legend("svm", "cnn").names
    assert names == ("both right", "only svm right", "only cnn right", "both wrong")
