"""Calibration over the seeds: mean errors, pooled bins, and what people are told."""

import numpy as np
import pytest

from hypercover.evaluation.calibration import (
    Calibration,
    abstention_curve,
    reliability_bins,
)
from hypercover.evaluation.predictions import Predictions
from hypercover.experiment.calibration_summary import (
    calibration_notes,
    draw_calibration,
    join_calibration,
    pooled_abstention,
)
from hypercover.experiment.folder import RunFolder
from hypercover.samples.samples import Samples


def drawn(seed, power=1.0, **about):
    random = np.random.default_rng(seed)
    sure = random.random(200 + 100 * seed)
    return sure, random.random(len(sure)) < sure**power, about


def figures(sure, right, about):
    return {"calibration": Calibration.of(sure, right, **about).to_json()}


def test_errors_are_means_over_the_seeds_and_bins_hold_all_pixels():
    scaled = {"fitted_on": 40, "patches": 3, "error_before": 0.5, "temperature": 2.0}
    one, other = drawn(0, 0.3, **scaled), drawn(1, 3.0, **scaled | {"temperature": 3.0})
    joined = join_calibration([figures(*one), figures(*other)], [7, 8])["calibration"]
    errors = [figures(*each)["calibration"]["error"] for each in (one, other)]
    assert joined["error"] == pytest.approx(np.mean(errors))
    assert (joined["temperature"], joined["fitted_on"], joined["patches"]) == (2.5, 40, 3)
    pooled = reliability_bins(
        np.concatenate([one[0], other[0]]), np.concatenate([one[1], other[1]])
    )
    for row, expected in zip(joined["bins"], pooled, strict=True):
        assert row["count"] == expected.count
        assert row["accuracy"] == pytest.approx(expected.accuracy)
        assert row["confidence"] == pytest.approx(expected.confidence)
    # a seed that is too modest and one that is too sure do not make an honest one
    gap = sum(
        row["count"] * abs(row["accuracy"] - row["confidence"]) for row in joined["bins"]
    )
    assert gap / 500 < joined["error"]
    accuracies = [figures(*each)["calibration"]["abstention"] for each in (one, other)]
    for row, *both in zip(joined["abstention"], *accuracies, strict=True):
        assert row["accuracy"] == pytest.approx(
            np.mean([each["accuracy"] for each in both])
        )
    assert [(row["seed"], row["temperature"]) for row in joined["repeats"]] == [
        (7, 2),
        (8, 3),
    ]


def test_an_empty_bin_of_all_seeds_stays_empty():
    every = [figures([0.9], [True], {}), figures([0.9, 1.0], [True, False], {})]
    joined = join_calibration(every, [0, 1])["calibration"]
    assert joined["bins"][0] == {
        "low": 0.0, "high": pytest.approx(1 / 15), "count": 0, "confidence": None,
        "accuracy": None,
    }  # fmt: skip
    assert [row["count"] for row in joined["bins"][-2:]] == [2, 1]
    assert joined["temperature"] is joined["error_before"] is None


def test_results_of_an_older_run_have_no_calibration():
    assert join_calibration([{}, figures([0.9], [True], {})], [0, 1]) == {}
    assert calibration_notes({"models": {"svm": {}}, "split": {}}) == []


def main(count, **models):
    """Models with a temperature that is used, if only 30 patches ask for it."""
    named = {}
    for name, patches in models.items():
        about = {"patches": patches, "proposed": 2.0 if patches else None}
        about["temperature"] = 2.0 if patches >= 30 else None
        named[name] = figures([0.9], [True], about)
    return {"split": {"validation": {"count": count}}, "models": named}


def test_it_is_said_that_patches_were_too_few():
    (note,) = calibration_notes(main(50, svm=0, cnn=3, forest=2, tree=30))
    assert "lie in 2 separate patches of land" in note
    assert "so that of cnn, forest is the model's own" in note
    (note,) = calibration_notes(main(50, cnn=1))
    assert "1 separate patch of land" in note
    assert calibration_notes(main(50, svm=0, cnn=30)) == []


def test_where_some_seeds_are_scaled_the_error_before_is_that_of_all():
    every = [
        figures([0.9], [True], {"temperature": 2.0, "error_before": 0.3, "proposed": 2.0}),
        figures([0.8], [True], {"proposed": 4.0}),
    ]
    joined = join_calibration(every, [0, 1])["calibration"]
    assert joined["error_before"] == pytest.approx((0.3 + 0.2) / 2)
    assert (joined["temperature"], joined["proposed"]) == (2.0, 3.0)


def test_it_is_said_that_there_were_no_validation_pixels():
    (note,) = calibration_notes(main(0, svm=0, cnn=0))
    assert "no validation pixels" in note


def test_figures_are_drawn_where_there_is_a_calibration_and_go_where_there_is_none(
    tmp_path,
):
    run = RunFolder(tmp_path)
    models = {"cnn": figures(*drawn(0)), "ridge": {}}
    stale = run.figure("reliability-ridge")
    stale.parent.mkdir()
    stale.write_bytes(b"old")
    draw_calibration(run, models, " (simulated scene)")
    assert {path.name for path in stale.parent.iterdir()} == {
        "reliability-cnn.png",
        "abstention-cnn.png",
    }


def answered(seed, shift=0.0):
    """Answers of one fold: the surer the more often right, on land more or less hard."""
    random = np.random.default_rng(seed)
    sure = random.random(80) / (1 + shift)
    test = Samples.of(np.full((1, 80), 2))
    taken = np.where(random.random(80) < sure, 2, 1)
    return Predictions.of(test, taken, shape=(1, 80), confidence=sure)


def test_the_abstention_curve_of_folds_puts_their_pixels_in_one_order():
    seeds = [[answered(0), answered(1, 4.0)], [answered(2), answered(3, 4.0)]]
    found = pooled_abstention([Predictions.joined(folds) for folds in seeds])["abstention"]
    expected = []
    for folds in seeds:
        sure = np.concatenate([fold.confidence for fold in folds])
        order = np.argsort(-sure)
        right = np.concatenate([fold.right for fold in folds])[order]
        expected.append([right[: 8 * step].mean() for step in range(1, 21)])
    assert [row["kept"] for row in found] == [step / 20 for step in range(1, 21)]
    accuracies = [row["accuracy"] for row in found]
    assert accuracies == pytest.approx(np.mean(expected, axis=0))
    # of the surest half none lies in the hard fold, which a mean over folds would take
    alone = [
        dict(abstention_curve(one.confidence, one.right))
        for folds in seeds
        for one in folds
    ]
    assert accuracies[9] > np.mean([curve[0.5] for curve in alone]) + 0.1
