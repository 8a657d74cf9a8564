"""``hypercover compare``: a table on stdout, files where asked for, a sentence if refused."""

import json

import pytest

pytestmark = pytest.mark.usefixtures("sketched")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A small run of two quick models under two seeds."""
    from hypercover.experiment.config.schema import Experiment
    from hypercover.experiment.run import run_experiment
    from hypercover.scene.simulation.simulate import simulate

    folder = tmp_path_factory.mktemp("compared")
    image, labels = simulate(
        folder / "s.tif", rows=48, cols=48, bands=16, classes=3, seed=1
    )
    forest = {
        "kind": "sklearn",
        "estimator": "sklearn.ensemble.RandomForestClassifier",
        "parameters": {"n_estimators": 5},
    }
    document = {
        "name": "tiny",
        "scene": {"path": image, "labels": labels},
        "split": {"kind": "blocks", "size": 8, "train": 0.3, "guard": 2},
        "models": {"svm": {"kind": "svm"}, "forest": forest},
        "repeats": 2,
        "map": False,
        "device": "cpu",
    }
    run_experiment(Experiment.model_validate(document), folder / "run", workers=1)
    return folder / "run"


def test_a_table_with_both_tests_and_what_to_believe(call, run, tmp_path):
    ended = call("compare", run, "-o", tmp_path / "out")
    assert ended.code == 0, ended.err
    assert "overall accuracy in %, main split (simulated scene)" in ended.out
    assert "mean of 2" in ended.out
    assert "blocks of 8 px. McNemar" in ended.out
    told = json.loads((tmp_path / "out" / "comparison.json").read_text())
    (pair,) = told["pairs"]
    shown = f"{100 * pair['overall_accuracy']['difference']:+.1f}"
    assert shown in ended.out
    alone = pair["per_seed"][0]["mcnemar"]
    assert f"{alone['only_first']} : {alone['only_second']}" in ended.out
    assert (tmp_path / "out" / "agreement-svm-forest.tif").exists()


def test_intervals_stand_in_the_metrics(run):
    metrics = json.loads((run / "metrics.json").read_text())
    for model in metrics["models"].values():
        interval = model["interval"]
        low, high = interval["overall_accuracy"]
        assert low < model["overall_accuracy"] < high
        assert interval["unit"] == "blocks of 8 px"
        codes = [row["code"] for row in interval["per_class"]]
        assert codes == [row["code"] for row in model["per_class"]]


def test_what_cannot_be_compared_is_said_in_a_sentence(call, run, tmp_path):
    assert "at least two models" in call("compare", run, "--model", "svm").sentence
    assert "No metrics.json" in call("compare", run, tmp_path).sentence
    assert "no split named 'x'" in call("compare", run, "--split", "x").sentence
