"""How results print themselves, turn into tables and plot themselves."""

import matplotlib as mpl
import numpy as np
import pytest

from hypercover.evaluation.area import estimate_area
from hypercover.evaluation.comparison import compare_models
from hypercover.evaluation.evaluate import evaluate
from hypercover.evaluation.predictions import Predictions
from hypercover.evaluation.run_metrics import SearchResult
from hypercover.scene.legend import Legend
from hypercover.scene.samples import Samples
from hypercover.splits.split import Split

mpl.use("Agg")


@pytest.fixture
def evaluation():
    labels = np.array([[1, 2, 1, 2, 2]])
    split = Split.from_parts(train=[[1, 1, 0, 0, 0]], test=[[0, 0, 1, 1, 1]])
    legend = Legend.of({1: "oats", 2: "corn"})
    return evaluate([1, 2, 1], labels=labels, split=split, legend=legend)


@pytest.fixture
def comparison():
    test = Samples.of(np.repeat([[1, 2]], 60, axis=0).repeat(45, axis=1))

    def model(share):
        lucky = np.random.default_rng(1).random(len(test)) < share
        return Predictions.of(test, np.where(lucky, test.labels, 1), shape=(60, 90))

    return compare_models(model(0.9), model(0.8), resamples=200)


@pytest.fixture
def area():
    mapped = np.repeat([[1, 2]], 50, axis=1).repeat(10, axis=0)
    truth = np.roll(mapped, 10, axis=1)
    sample = np.random.default_rng(0).random(truth.shape) < 0.1
    return estimate_area(mapped, np.where(sample, truth, 0))


@pytest.fixture
def search():
    table = {
        "model": "svm",
        "kind": "random",
        "C": [1.0, 10.0],
        "gamma": [0.5],
        "accuracy": [[0.8, None]],
        "minutes": [[0.1, None]],
        "best": {"C": 1.0, "gamma": 0.5, "accuracy": 0.8},
    }
    return SearchResult({"tables": [table, table | {"kind": "blocks", "best": None}]})


def test_an_evaluation_shows_its_measures_and_classes(evaluation):
    lines = repr(evaluation).splitlines()
    assert lines[0] == (
        "Evaluation on 3 test pixels: overall accuracy 66.7 %, average accuracy 75.0 %, "
        "kappa 0.400"
    )
    assert lines[2].split()[:4] == ["1", "oats", "1", "1"]
    frame = evaluation.to_frame()
    assert frame["producers_accuracy"].tolist() == [1.0, 0.5]
    axes = evaluation.plot()
    assert [text.get_text() for text in axes.get_xticklabels()] == ["oats", "corn"]
    assert [text.get_text() for text in axes.texts] == ["1", "", "1", "1"]


def test_a_comparison_shows_its_differences(comparison):
    lines = repr(comparison).splitlines()
    assert lines[0] == "Comparison on 5,400 test pixels in 24 blocks of 15 px"
    assert lines[2].split()[0] == "overall_accuracy"
    frame = comparison.to_frame()
    overall = frame.iloc[0]
    assert overall["difference"] == comparison.overall.difference
    assert (overall["lower"], overall["upper"]) == comparison.overall.interval
    assert frame["code"].isna().sum() == 3
    assert set(frame["code"].dropna()) == {1, 2}
    labels = [text.get_text() for text in comparison.plot().get_yticklabels()]
    assert labels[0] == "overall accuracy"
    assert labels[-1] == "F1 of class 2"


def test_an_area_estimate_shows_areas_and_accuracies(area):
    lines = repr(area).splitlines()
    assert lines[0].startswith(
        "Areas in pixels from 89 reference pixels; overall accuracy 7"
    )
    assert "[391, 572]" in lines[2]
    frame = area.to_frame()
    assert frame["mapped_area"].tolist() == [500.0, 500.0]
    assert area.plot().get_xlabel() == "area in pixels"


def test_a_search_shows_the_best_cells(search):
    lines = repr(search).splitlines()
    assert lines[0] == "Best C and gamma of each grid"
    assert lines[2].split() == ["svm", "random", "1", "0.5", "0.8"]
    assert lines[3].split() == ["svm", "blocks", "–", "–", "–"]
    assert len(search.to_frame()) == 4
    axes = search.plot()
    assert axes.get_title() == "svm: accuracy in %, random folds"
    assert [text.get_text() for text in axes.texts] == ["80.0", ""]


def test_plots_are_drawn_into_the_axes_that_are_given(evaluation, search):
    from matplotlib.figure import Figure

    left, right = Figure().subplots(1, 2)
    assert evaluation.plot(left) is left
    assert search.plot(ax=right) is right
