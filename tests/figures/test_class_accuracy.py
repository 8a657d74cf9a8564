"""The class figures show the numbers they are given, at any number of classes."""

import itertools

import numpy as np
import pytest
from matplotlib.container import BarContainer, ErrorbarContainer

from hypercover.errors import LabelError
from hypercover.evaluation.evaluate import ConfusedPair
from hypercover.figures.accuracy_figures import draw_classes
from hypercover.figures.canvas import save_figure
from hypercover.figures.spectra import draw_confused
from hypercover.scene.legend import Legend

INTERVAL = {
    "level": 0.95,
    "unit": "blocks of 15 px",
    "per_class": [
        {"code": 1, "producers_accuracy": [0.6, 0.9]},
        {"code": 4, "producers_accuracy": None},
        {"code": 7, "producers_accuracy": [0.1, 0.2]},
    ],
}


def row(code, train, test, accuracy, name=None):
    return {
        "code": code,
        "name": name or f"class {code}",
        "train_count": train,
        "test_count": test,
        "producers_accuracy": accuracy,
    }


ROWS = [
    row(1, 10, 40, 0.8),
    row(4, 30, 0, None),
    row(7, 100, 1200.5, 0.12),
    row(9, 0, 12, 0.0),
]


def shown(axes):
    return [label.get_text() for label in axes.get_yticklabels()]


def texts(axes, where):
    """Texts in the row of a class, from left to right."""
    found = [text for text in axes.texts if text.get_position()[1] == where]
    return [
        text.get_text() for text in sorted(found, key=lambda one: one.get_position()[0])
    ]


def test_bars_stand_by_class_size_with_their_counts():
    (axes,) = draw_classes(ROWS, title="svm").axes
    assert shown(axes) == ["class 7", "class 1", "class 4", "class 9"]
    bars = [one for one in axes.containers if isinstance(one, BarContainer)]
    assert [bar.patches[0].get_width() for bar in bars] == pytest.approx([12, 80, 0, 0])
    assert texts(axes, 0) == ["12.0", "100", "1,200.5"]
    assert texts(axes, 1) == ["80.0", "10", "40"]
    low, high = axes.get_ylim()
    assert low > 3
    assert high < 0


def test_a_class_without_test_pixels_is_not_one_of_accuracy_zero():
    (axes,) = draw_classes(ROWS, title="svm").axes
    assert texts(axes, 2) == ["no test pixel: no accuracy", "–", "30", "0"]
    assert texts(axes, 3) == ["no training pixel: never found", "0.0", "0", "12"]


def test_whiskers_are_the_intervals_and_only_where_there_are_some():
    figure = draw_classes(ROWS, title="svm", overall=0.5, interval=INTERVAL)
    (axes,) = figure.axes
    whiskers = [one for one in axes.containers if isinstance(one, ErrorbarContainer)]
    reach = [bar.lines[2][0].get_segments()[0].tolist() for bar in whiskers]
    assert np.ravel(reach) == pytest.approx([10, 0, 20, 0, 60, 1, 90, 1])
    assert "95 % intervals over blocks of 15 px" in figure.texts[1].get_text()
    (line,) = [line for line in axes.lines if list(line.get_xdata()) == [50, 50]]
    assert line.get_linestyle() == "--"
    bare = draw_classes(ROWS, title="svm")
    assert not any(isinstance(one, ErrorbarContainer) for one in bare.axes[0].containers)
    assert "interval" not in bare.texts[1].get_text()


@pytest.mark.parametrize("classes", [2, 4, 16, 58, 200])
def test_nothing_covers_anything_or_leaves_the_sheet(classes, tmp_path):
    name = "$\\frac{ Soybeans-mintill and very long"
    rows = [
        row(code, 5 * code, 999_999, code / classes, name) for code in range(1, classes + 1)
    ]
    figure = draw_classes(rows, title=name, overall=0.5)
    save_figure(figure, tmp_path / "classes.png")
    width, height = figure.canvas.get_width_height()
    renderer = figure.canvas.get_renderer()
    (axes,) = figure.axes
    written = [*axes.texts, *axes.get_yticklabels(), *figure.texts]
    boxes = [text.get_window_extent(renderer) for text in written]
    for box in boxes:
        assert 0 <= box.x0 <= box.x1 <= width
        assert 0 <= box.y0 <= box.y1 <= height
    for one, other in itertools.pairwise(boxes):
        assert not one.shrunk(0.9, 0.75).overlaps(other.shrunk(0.9, 0.75))


@pytest.fixture
def pairs():
    """Corn taken for class 9 at three places, one of them twice; once the other way."""
    there = np.array([[3, 4], [5, 6], [5, 6], [7, 9]], np.int32)
    return [
        ConfusedPair(1, 9, there, np.array([[31, 5]], np.int32)),
        ConfusedPair(4, 9, np.array([[20, 20]], np.int32), np.empty((0, 2), np.int32)),
    ]


def test_spectra_are_those_of_the_classes_and_of_the_confused_pixels(land, pairs):
    figure = draw_confused(land, pairs, title="svm")
    first, second = figure.axes
    cube = land.read(slice(None), slice(None)).astype(float)
    expected = [
        cube[:, (land.labels == 1) & land.valid].mean(axis=1),
        cube[:, (land.labels == 9) & land.valid].mean(axis=1),
        (cube[:, 3, 4] + 2 * cube[:, 5, 6] + cube[:, 7, 9]) / 4,
        cube[:, 31, 5],
    ]
    for line, spectrum in zip(first.lines, expected, strict=True):
        drawn = np.asarray(line.get_ydata())
        assert np.flatnonzero(np.isnan(drawn)).tolist() == [4]
        np.testing.assert_allclose(np.delete(drawn, 4), spectrum, rtol=1e-5)
    styles = [line.get_linestyle() for line in first.lines]
    assert styles == ["-", "-", "--", "--"]
    colors = [line.get_color() for line in first.lines]
    assert colors[:2] == colors[2:]
    assert colors[0] != colors[1]
    assert len(second.lines) == 3


def test_spectra_say_whose_they_are(land, pairs):
    land = land.replace(legend=Legend.of({1: "Corn", 4: "$\\frac{", 9: "Soy"}))
    figure = draw_confused(land, pairs, title="svm")
    names = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert names == [
        "Corn",
        "Soy",
        "4 px of Corn\n  mistaken for Soy",
        "1 px of Soy\n  mistaken for Corn",
    ]
    assert figure.axes[-1].get_xlabel() == "wavelength (nm)"
    said = " ".join(text.get_text() for text in figure.texts)
    assert "all labelled pixels of a class ± one standard deviation" in said
    assert "test pixels of a class mistaken for the other" in said


def test_confused_spectra_need_labels(land, pairs):
    with pytest.raises(LabelError, match="give a label file"):
        draw_confused(land.replace(labels=None), pairs, title="svm")


def test_long_names_stay_on_the_sheet_and_beside_their_own_spectra(land, pairs, tmp_path):
    long = "BUILDINGS-GRASS-TREES-DRIVES OF THE EASTERN FARM"
    names = {1: long, 4: "Soybeans-CleanTill-NoTill-EastWest-Mowed", 9: long.lower()}
    figure = draw_confused(land.replace(legend=Legend.of(names)), pairs, title="svm")
    save_figure(figure, tmp_path / "confused.png")
    width, _ = figure.canvas.get_width_height()
    renderer = figure.canvas.get_renderer()
    boxes = [
        axes.get_legend().get_window_extent(renderer).padded(-3) for axes in figure.axes
    ]
    assert all(box.x1 <= width and box.y0 >= 0 for box in boxes)
    for one, other in itertools.pairwise(boxes):
        assert not one.overlaps(other)
    assert "EASTERN" in figure.axes[0].get_legend().get_texts()[0].get_text()
