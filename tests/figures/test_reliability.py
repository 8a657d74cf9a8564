"""Bars stand where the figures say, and the words say what was scaled."""

import numpy as np
import pytest

from hypercover.evaluation.calibration import Calibration
from hypercover.figures.accuracy_figures import draw_abstention, draw_reliability
from hypercover.figures.canvas import save_figure

SURE = np.repeat([0.3, 0.7, 0.95], [10, 20, 70])
RIGHT = np.concatenate([np.arange(10) < 5, np.arange(20) < 8, np.arange(70) < 63])
ABOUT = {"temperature": 1.5, "fitted_on": 1234, "error_before": 0.25}


def texts(figure):
    return " | ".join(text.get_text() for text in figure.texts)


def test_bars_are_accuracies_and_gaps_reach_the_confidence():
    found = Calibration.of(SURE, RIGHT, **ABOUT).to_json()
    figure = draw_reliability(found, "cnn")
    upper, lower = figure.axes
    bars, *gaps = upper.containers
    assert [bar.get_height() for bar in bars] == pytest.approx([0.5, 0.4, 0.9])
    ends = {
        gap.get_label(): [(bar.get_y(), bar.get_y() + bar.get_height()) for bar in gap]
        for gap in gaps
    }
    assert ends["overconfident"] == [pytest.approx((0.4, 0.7)), pytest.approx((0.9, 0.95))]
    assert ends["underconfident"] == [pytest.approx((0.3, 0.5))]
    assert [bar.get_height() for bar in lower.containers[0]] == pytest.approx(
        [0.1, 0.2, 0.7]
    )
    assert "calibration error 11.5 % on test pixels; 25.0 % before scaling" in texts(figure)
    assert "temperature of 1.50, fitted on 1,234 validation pixels" in texts(figure)


def test_an_own_confidence_is_called_that_and_a_perfect_one_has_no_gap():
    found = Calibration.of([1.0] * 4, [True] * 4).to_json()
    figure = draw_reliability(found, "$x_")
    assert "not scaled" in texts(figure)
    assert len(figure.axes[0].containers) == 1
    few = found | {"proposed": 2.0, "patches": 7}
    assert "7 patches of held-out pixels are too few" in texts(draw_reliability(few, ""))
    figure.canvas.draw()
    assert not figure.texts[0].get_parse_math()


def test_the_curve_is_drawn_and_its_ends_are_said(tmp_path):
    found = Calibration.of(SURE, RIGHT, **ABOUT).to_json()
    figure = draw_abstention(found, "cnn")
    line = figure.axes[0].lines[0]
    assert line.get_xdata().tolist() == [row["kept"] for row in found["abstention"]]
    assert line.get_ydata().tolist() == [row["accuracy"] for row in found["abstention"]]
    assert "all pixels: 76.0 % right; the most confident half: 90.0 %" in texts(figure)
    save_figure(figure, tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 5000
