"""The figure of the leak gap shows the rows it is given, and the learning curve its own."""

import itertools

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hypercover.figures.accuracy_figures import draw_curve, draw_gap
from hypercover.figures.canvas import save_figure, spread_labels

SPLITS = ("random", "centre-free", "overlap-free")


def rows_of(accuracies, spread=0.02):
    return [
        {
            "model": model,
            "split": split,
            "test_count": 1200.0,
            "centre_in_window": float(split == "random"),
            "window_overlap": 0.25 * (split != "overlap-free"),
            "overall_accuracy": accuracy,
            "spread": spread,
            "fall": own[0] - accuracy,
        }
        for model, own in accuracies.items()
        for split, accuracy in zip(SPLITS, own, strict=True)
    ]


FALLS = {"svm": (0.9, 0.7, 0.65), "cnn": (1.0, 0.8, 0.66), "rises": (0.6, 0.62, 0.7)}


def words(axes):
    return [text.get_text() for text in axes.texts]


def test_every_point_and_whisker_is_that_of_its_row():
    (axes,) = draw_gap(rows_of(FALLS), window=9, title="fields", repeats=5).axes
    assert [container.get_label() for container in axes.containers] == list(FALLS)
    for container, own in zip(axes.containers, FALLS.values(), strict=True):
        line, _, (whiskers,) = container.lines
        assert line.get_ydata() == pytest.approx(100 * np.array(own))
        assert np.rint(line.get_xdata().astype(float)).tolist() == [0, 1, 2]
        for (low, high), share in zip(
            (segment[:, 1] for segment in whiskers.get_segments()), own, strict=True
        ):
            assert (low, high) == pytest.approx((100 * share - 2, 100 * share + 2))
    low, high = axes.get_ylim()
    assert low < 62
    assert 100 < high <= 101.5


def test_what_leaks_and_what_is_lost_is_written():
    figure = draw_gap(rows_of(FALLS), window=9, title="fields", repeats=5)
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_xticklabels()] == list(SPLITS)
    said = words(axes)
    assert sum("in 9 × 9 window: 100 %" in text for text in said) == 1
    assert sum("window overlap: 25 %" in text for text in said) == 2
    assert "66.0 %, falls 34.0 points" in said
    assert "70.0 %, rises 10.0 points" in said
    head = [text.get_text() for text in figure.texts]
    assert head[0] == "Leak gap: fields"
    assert "deviation of 5 seeds" in head[1]


def test_one_seed_has_no_whiskers():
    figure = draw_gap(rows_of(FALLS, spread=None), window=9, title="fields")
    assert all(not container.lines[2] for container in figure.axes[0].containers)
    assert "one seed" in figure.texts[1].get_text()


def test_names_beside_the_lines_do_not_cover_each_other(tmp_path):
    close = {f"model-{index}": (0.9, 0.8, 0.7 + index / 1000) for index in range(8)}
    figure = draw_gap(rows_of(close), window=9, title="$\\frac{", repeats=2)
    save_figure(figure, tmp_path / "gap.png")
    width, height = figure.canvas.get_width_height()
    renderer = figure.canvas.get_renderer()
    boxes = [
        text.get_window_extent(renderer) for text in (*figure.axes[0].texts, *figure.texts)
    ]
    for box in boxes:
        assert 0 <= box.x0 <= box.x1 <= width
        assert 0 <= box.y0 <= box.y1 <= height
    for one, other in itertools.combinations(boxes, 2):
        assert not (one.shrunk(0.97, 0.8)).overlaps(other.shrunk(0.97, 0.8))


@given(st.lists(st.integers(0, 20), max_size=8), st.floats(0.1, 10))
@example([18, 20], 7.0)
def test_heights_get_room_and_keep_their_order(heights, room):
    heights = [5.0 * height for height in heights]
    moved = spread_labels(heights, room, low=0, high=100)
    order = np.argsort(heights, kind="stable")
    assert (np.diff(np.array(moved)[order]) >= room - 1e-9).all()
    low, high = room / 2, 100 - room / 2
    assert all(low - 1e-9 <= height <= high + 1e-9 for height in moved)
    # Two that have room may lack it once one of them is moved into the axes.
    inside = np.clip(heights, low, high)
    if len(heights) < 2 or np.diff(np.sort(inside)).min() >= room:
        assert moved == pytest.approx(inside.tolist())


def curve_rows(**extra):
    return [
        {"model": model, "train": train, "overall_accuracy": accuracy} | extra
        for model, first in (("svm", 0.5), ("cnn", 0.6))
        for train, accuracy in ((0.6, first + 0.2), (0.1, first), (0.3, first + 0.1))
    ]


def test_a_learning_curve_rises_from_left_to_right():
    (axes,) = draw_curve(curve_rows(spread=0.05, interval=None), title="f").axes
    line, _, (whiskers,) = axes.containers[1].lines
    assert line.get_xdata() == pytest.approx([10, 30, 60])
    assert line.get_ydata() == pytest.approx([60, 70, 80])
    assert whiskers.get_segments()[0][:, 1] == pytest.approx([55, 65])
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["svm", "cnn"]
    assert axes.get_xlabel() == "training share of the labelled pixels in %"


def test_an_interval_goes_before_a_spread():
    rows = [
        row | {"interval": [row["overall_accuracy"] - 0.01, row["overall_accuracy"] + 0.04]}
        for row in curve_rows(spread=0.05)
    ]
    figure = draw_curve(rows, title="f")
    _, _, (whiskers,) = figure.axes[0].containers[0].lines
    assert whiskers.get_segments()[2][:, 1] == pytest.approx([69, 74])
    assert figure.texts[1].get_text() == "Whiskers: 95 % intervals."


def test_a_curve_over_pixels_of_each_class_and_one_with_a_hole():
    rows = [
        {"model": "svm", "train": 5, "overall_accuracy": 0.5},
        {"model": "svm", "train": 50, "overall_accuracy": None},
    ]
    (axes,) = draw_curve(rows, title="f").axes
    assert axes.get_xlabel() == "training pixels"
    assert axes.containers[0].lines[0].get_xdata().tolist() == [5]
    assert draw_curve([], title="f").axes
