"""What tables on stdout say of models."""

import pytest

from hypercover.cli.tables import accuracy_table, interval_lines, show, spread_lines
from hypercover.evaluation.run_metrics import (
    DrawMetrics,
    LeakGap,
    RunMetrics,
    SplitResults,
)


def told(interval, simulated=False):
    """Metrics of one model, as far as its table needs them."""
    model = {
        "overall_accuracy": 0.8,
        "average_accuracy": 0.7,
        "kappa": None,
        "interval": interval,
        "leakage": {"centre_in_window": 0.0},
        "train_seconds": 1.0,
        "predict_seconds": 0.2,
    }
    split = {"kind": "blocks", "train": {"count": 10}, "test": {"count": 20}}
    scene = {"simulated": simulated}
    return RunMetrics.model_validate(
        {"name": "x", "scene": scene, "split": split, "models": {"svm": model}}
    )


def test_the_interval_of_the_overall_accuracy_stands_in_brackets(capsys):
    interval = {"unit": "fields", "units": 12, "overall_accuracy": [0.712, 0.8849]}
    metrics = told(interval)
    show(accuracy_table(metrics))
    assert "│ [71.2, 88.5] │" in capsys.readouterr().out.replace("  ", " ")
    assert list(interval_lines(metrics)) == [
        "Intervals under blocks: bootstrap over 12 fields with test pixels, as neighbouring "
        "pixels are alike."
    ]


@pytest.mark.parametrize(
    ("units", "where"), [(1, "a single sampling unit"), (4, "4 fields only")]
)
def test_too_few_pieces_of_land_to_judge_by_are_told(capsys, units, where):
    few = {"unit": "fields", "units": units, "too_few": True, "overall_accuracy": None}
    metrics = told(few)
    show(accuracy_table(metrics))
    shown = capsys.readouterr().out
    assert "too few" in shown
    assert "[" not in shown
    assert list(interval_lines(metrics)) == [
        f"No interval under blocks, too few to judge: the test pixels are in {where}."
    ]


def test_a_model_without_any_error_has_a_dash_for_its_interval(capsys):
    metrics = told({"unit": "fields", "units": 12, "overall_accuracy": None})
    show(accuracy_table(metrics))
    shown = capsys.readouterr().out
    assert "[" not in shown
    assert "too few" not in shown


def test_it_is_said_whether_spreads_are_those_of_seeds_or_of_folds(capsys):
    """Three seeds of the main split, of a gap at that, and two folds beside it."""
    plain = told(None)
    model, spread = plain.models["svm"], {"overall_accuracy": 0.021}
    seeds = model.model_copy(update={"repeats": [DrawMetrics()] * 3, "spread": spread})
    folds = seeds.model_copy(update={"repeats": [DrawMetrics()] * 2, "folds": 2})
    dealt = SplitResults(split=plain.split, models={"svm": folds})
    metrics = plain.model_copy(
        update={"gap": LeakGap(), "models": {"svm": seeds}, "beside": {"dealt": dealt}}
    )
    assert list(spread_lines(metrics)) == [
        "± is one standard deviation, over 3 seeds under overlap-free, over 2 folds under "
        "dealt."
    ]
    show(accuracy_table(metrics))
    shown = capsys.readouterr().out
    assert "overlap-free" in shown
    assert "blocks" not in shown
    assert list(spread_lines(plain)) == []
