"""Joining seeds: means, spread, added matrices, and a choice without test pixels."""

import numpy as np
import pytest

from hypercover.errors import CallError
from hypercover.evaluation.calibration import (
    Calibration,
    abstention_curve,
    reliability_bins,
)
from hypercover.evaluation.evaluate import evaluate
from hypercover.evaluation.intervals import BlockUnits, FieldUnits, accuracy_intervals
from hypercover.evaluation.predictions import Predictions
from hypercover.evaluation.run_metrics import ModelMetrics, SplitMetrics, SplitResults
from hypercover.experiment.results.run_folder import RunFolder
from hypercover.experiment.results.summary import (
    average_calibration,
    average_seeds,
    best_model,
    calibration_notes,
    combine_folds,
    load_predictions,
    model_interval,
    never_predicted_notes,
    pool_splits,
    pooled_abstention,
)
from hypercover.experiment.tasks.result_tasks import draw_calibration
from hypercover.scene.samples import Samples
from hypercover.splits.cross_validation import KFoldSplit


def result(accuracy, matrix, codes=(1, 2), validation=None, users=1.0, **more):
    return ModelMetrics.model_validate(
        {
            **more,
            "description": "x",
            "overall_accuracy": accuracy,
            "average_accuracy": accuracy,
            "kappa": None,
            "validation_accuracy": validation,
            "train_seconds": 2.0,
            "predict_seconds": 1.0,
            "per_class": [
                {
                    "code": code,
                    "name": str(code),
                    "train_count": 1,
                    "test_count": 2,
                    "producers_accuracy": accuracy,
                    "users_accuracy": users,
                    "f1": None,
                }
                for code in codes
            ],
            "confusion": {"codes": list(codes), "matrix": matrix},
            "leakage": {"window": 9, "centre_in_window": accuracy, "window_overlap": 1.0},
        }
    )


def test_one_result_keeps_its_exact_figures():
    one = result(0.5, [[1, 1], [0, 2]])
    joined = average_seeds([one], [7])
    assert joined.confusion == one.confusion
    assert joined.per_class == one.per_class
    assert joined.spread is None
    assert [row.to_json() for row in joined.repeats] == [
        {"seed": 7, "overall_accuracy": 0.5, "average_accuracy": 0.5, "kappa": None}
    ]


def test_several_results_are_averaged_and_their_matrices_added():
    joined = average_seeds(
        [result(0.4, [[1, 0], [0, 1]]), result(0.6, [[2]], codes=(3,))], [0, 1]
    )
    assert joined.overall_accuracy == pytest.approx(0.5)
    assert joined.spread["overall_accuracy"] == pytest.approx(0.02**0.5)
    assert joined.kappa is None
    assert joined.spread["kappa"] is None
    assert joined.confusion.to_json() == {
        "codes": [1, 2, 3],
        "matrix": [[1, 0, 0], [0, 1, 0], [0, 0, 2]],
    }
    assert [row.code for row in joined.per_class] == [1, 2, 3]
    assert joined.leakage.centre_in_window == pytest.approx(0.5)


def test_an_undefined_class_accuracy_is_left_out_of_the_mean():
    first, second = (
        result(0.4, [[1]], codes=(1,), users=None),
        result(0.6, [[1]], codes=(1,), users=0.8),
    )
    assert average_seeds([first, second], [0, 1]).per_class[
        0
    ].users_accuracy == pytest.approx(0.8)


def test_the_best_model_is_chosen_by_validation_never_by_test():
    models = {
        "a": result(0.9, [[1]], validation=0.5),
        "b": result(0.1, [[1]], validation=0.6),
    }
    assert best_model(models) == "b"
    assert best_model({"a": result(0.9, [[1]])}) is None


def test_what_each_seed_chose_is_kept():
    def chosen(cost, seconds):
        best = {"C": cost, "gamma": 0.5, "scale": None, "accuracy": 0.9}
        grid = {"C": [cost], "gamma": [0.5], "accuracy": [[0.9]], "minutes": [[1.0]]}
        search = {"best": best | {"row": 0, "column": 0}, "searched": ["C"], **grid}
        return result(0.5, [[1, 0], [0, 1]], search=search, search_seconds=seconds)

    joined = average_seeds([chosen(10.0, 1.0), chosen(1.0, 3.0)], [4, 5])
    assert joined.search.best.C == 10.0
    assert [(own.seed, own.C) for own in joined.search.choices] == [
        (4, 10),
        (5, 1),
    ]
    assert joined.search_seconds == pytest.approx(2.0)
    assert average_seeds([chosen(10.0, 1.0)], [4]).search.choices == []
    plain = [result(0.5, [[1, 0], [0, 1]])] * 2
    assert average_seeds(plain, [0, 1]).search is None


def test_classes_that_a_model_never_answers_are_noted():
    """The lecture's recipe on Salinas-A: 92.6 % right overall, and a class is gone."""
    silent, fine = result(0.9, [[18, 0], [2, 0]]), result(0.5, [[1, 1], [0, 2]])
    (note,) = never_predicted_notes(SplitResults(models={"cnn": silent, "svm": fine}))
    assert note.startswith(
        "cnn never predicts one class of 2 test pixels: 2 (2). The overall accuracy hides"
    )
    # With several seeds it is said only of a class that no seed found.
    joined = average_seeds([silent, result(0.5, [[1, 1], [1, 1]])], [1, 2])
    assert never_predicted_notes(SplitResults(models={"cnn": joined})) == []


def drawn(seed, power=1.0, **about):
    random = np.random.default_rng(seed)
    sure = random.random(200 + 100 * seed)
    return sure, random.random(len(sure)) < sure**power, about


def figures(sure, right, about):
    return ModelMetrics(calibration=Calibration.of(sure, right, **about))


def test_errors_are_means_over_the_seeds_and_bins_hold_all_pixels():
    scaled = {"fitted_on": 40, "patches": 3, "error_before": 0.5, "temperature": 2.0}
    one, other = drawn(0, 0.3, **scaled), drawn(1, 3.0, **scaled | {"temperature": 3.0})
    joined = average_calibration([figures(*one), figures(*other)], [7, 8])
    errors = [figures(*each).calibration.error for each in (one, other)]
    assert joined.error == pytest.approx(np.mean(errors))
    assert (joined.temperature, joined.fitted_on, joined.patches) == (2.5, 40, 3)
    pooled = reliability_bins(
        np.concatenate([one[0], other[0]]), np.concatenate([one[1], other[1]])
    )
    for row, expected in zip(joined.bins, pooled, strict=True):
        assert row.count == expected.count
        assert row.accuracy == pytest.approx(expected.accuracy)
        assert row.confidence == pytest.approx(expected.confidence)
    # a seed that is too modest and one that is too sure do not make an honest one
    gap = sum(row.count * abs(row.accuracy - row.confidence) for row in joined.bins)
    assert gap / 500 < joined.error
    accuracies = [figures(*each).calibration.abstention for each in (one, other)]
    for row, *both in zip(joined.abstention, *accuracies, strict=True):
        assert row.accuracy == pytest.approx(np.mean([each.accuracy for each in both]))
    assert [(row.seed, row.temperature) for row in joined.repeats] == [
        (7, 2),
        (8, 3),
    ]


def test_an_empty_bin_of_all_seeds_stays_empty():
    every = [figures([0.9], [True], {}), figures([0.9, 1.0], [True, False], {})]
    joined = average_calibration(every, [0, 1])
    assert joined.bins[0].to_json() == {
        "low": 0.0,
        "high": pytest.approx(1 / 15),
        "count": 0,
        "confidence": None,
        "accuracy": None,
    }
    assert [row.count for row in joined.bins[-2:]] == [2, 1]
    assert joined.temperature is joined.error_before is None


def test_results_of_an_older_run_have_no_calibration():
    assert average_calibration([ModelMetrics(), figures([0.9], [True], {})], [0, 1]) is None
    assert calibration_notes(SplitResults(models={"svm": ModelMetrics()})) == []


def main(count, **models):
    """Models with a temperature that is used, if only 30 patches ask for it."""
    named = {}
    for name, patches in models.items():
        about = {"patches": patches, "proposed": 2.0 if patches else None}
        about["temperature"] = 2.0 if patches >= 30 else None
        named[name] = figures([0.9], [True], about)
    split = SplitMetrics.model_validate({"validation": {"count": count}})
    return SplitResults(split=split, models=named)


def test_it_is_said_that_patches_were_too_few():
    (note,) = calibration_notes(main(50, svm=0, cnn=3, forest=2, tree=30))
    assert "form only 2 separate patches of land" in note
    assert "the confidence of cnn, forest is the model's own" in note
    (note,) = calibration_notes(main(50, cnn=1))
    assert "1 separate patch of land" in note
    assert calibration_notes(main(50, svm=0, cnn=30)) == []


def test_where_some_seeds_are_scaled_the_error_before_is_that_of_all():
    every = [
        figures([0.9], [True], {"temperature": 2.0, "error_before": 0.3, "proposed": 2.0}),
        figures([0.8], [True], {"proposed": 4.0}),
    ]
    joined = average_calibration(every, [0, 1])
    assert joined.error_before == pytest.approx((0.3 + 0.2) / 2)
    assert (joined.temperature, joined.proposed) == (2.0, 3.0)


def test_it_is_said_that_there_were_no_validation_pixels():
    (note,) = calibration_notes(main(0, svm=0, cnn=0))
    assert "no validation pixels" in note


def test_figures_are_drawn_where_there_is_a_calibration_and_go_where_there_is_none(
    tmp_path,
):
    run = RunFolder(tmp_path)
    models = {"cnn": figures(*drawn(0)), "ridge": ModelMetrics()}
    stale = run.figure("reliability-ridge")
    stale.parent.mkdir()
    stale.write_bytes(b"old")
    for name, model in models.items():
        draw_calibration(run, name, model.calibration, f"{name} (simulated scene)")
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
    found = pooled_abstention([Predictions.joined(folds) for folds in seeds])
    expected = []
    for folds in seeds:
        sure = np.concatenate([fold.confidence for fold in folds])
        order = np.argsort(-sure)
        right = np.concatenate([fold.right for fold in folds])[order]
        expected.append([right[: 8 * step].mean() for step in range(1, 21)])
    assert [row.kept for row in found] == [step / 20 for step in range(1, 21)]
    accuracies = [row.accuracy for row in found]
    assert accuracies == pytest.approx(np.mean(expected, axis=0))
    # of the surest half none lies in the hard fold, which a mean over folds would take
    alone = [
        dict(abstention_curve(one.confidence, one.right))
        for folds in seeds
        for one in folds
    ]
    assert accuracies[9] > np.mean([curve[0.5] for curve in alone]) + 0.1


BLOCKS = SplitMetrics(kind="blocks", settings={"size": 6})


@pytest.fixture
def kept(tmp_path):
    """Keep the answers of a model under two seeds."""
    rng, run = np.random.default_rng(0), RunFolder(tmp_path)
    labels = rng.integers(1, 3, (8, 8)).repeat(4, 0).repeat(4, 1)
    answers = []
    for seed in (3, 4):
        test = Samples.of(np.where(rng.random(labels.shape) < 0.5, labels, 0))
        taken = np.where(rng.random(len(test)) < 0.8, test.labels, 3 - test.labels)
        answers.append(Predictions.of(test, taken, shape=labels.shape))
        answers[-1].save(run.predictions("main", seed, "svm"))
    return run, answers


def asked(run, made, seeds=((3,), (4,))):
    answers = load_predictions(run, "svm", split="main", seeds=seeds)
    return model_interval(answers, split=made, codes=[1, 2])


def test_units_are_those_of_the_split(kept):
    run, answers = kept
    for made, units in (
        (BLOCKS, BlockUnits(6)),
        (SplitMetrics(kind="fields"), FieldUnits()),
        (SplitMetrics(kind="random", settings={"train": 0.1}), BlockUnits(15)),
    ):
        expected = accuracy_intervals(answers, units=units, codes=[1, 2])
        assert asked(run, made) == expected
        assert expected.unit == units.description


@pytest.mark.parametrize(("size", "units"), [(32, 1), (16, 4)])
def test_test_pixels_in_few_units_give_no_interval(kept, size, units):
    run, _ = kept
    found = asked(run, SplitMetrics(kind="blocks", settings={"size": size}))
    assert (found.units, found.too_few) == (units, True)
    assert found.overall_accuracy is found.average_accuracy is found.kappa is None
    assert all(row.f1 is None for row in found.per_class)
    assert not asked(run, BLOCKS).too_few


def test_no_test_pixels_have_no_interval():
    assert model_interval([], split=BLOCKS, codes=[1, 2]) is None


def test_answers_that_are_gone_are_named(kept):
    run, _ = kept
    run.predictions("main", 4, "svm").unlink()
    with pytest.raises(CallError, match=r"main-4-svm\.npz are missing"):
        asked(run, BLOCKS)


def test_folds_of_a_seed_are_one_set_of_answers(kept):
    run, answers = kept
    together = Predictions.joined(answers)
    assert len(together) == sum(map(len, answers))
    expected = accuracy_intervals(together, units=BlockUnits(6), codes=[1, 2])
    assert asked(run, BLOCKS, seeds=[[3, 4]]) == expected


@pytest.fixture(scope="module")
def folded():
    """Results of three folds of two seeds on a map with a class that one field holds."""
    rng = np.random.default_rng(2)
    labels = rng.integers(1, 4, (5, 5)).repeat(5, 0).repeat(5, 1)
    labels[:3, :3] = 9
    splits, results, answers = [], [], []
    for seed in (0, 1):
        for split in KFoldSplit("fields", 3, guard=1).splits(labels, seed=seed, window=3):
            test = split.samples("test", labels).labels
            taken = np.where(
                rng.random(len(test)) < 0.7, test, rng.integers(1, 4, len(test))
            )
            found = evaluate(taken, labels=labels, split=split, window=3)
            times = {"train_seconds": 1.5, "predict_seconds": 0.5}
            results.append(found.to_metrics().model_copy(update=times))
            splits.append(SplitMetrics.model_validate(split.to_json(labels)))
            answers.append((test, taken))
    return labels, splits, results, answers


def test_figures_are_those_of_all_pixels_of_a_seed(folded):
    labels, _, results, answers = folded
    pooled = combine_folds(results[:3], range(3), 3)
    reference, taken = (np.concatenate([each[at] for each in answers[:3]]) for at in (0, 1))
    assert len(reference) == labels.size
    assert pooled.overall_accuracy == pytest.approx(np.mean(reference == taken))
    for row in pooled.per_class:
        own = reference == row.code
        assert row.test_count == own.sum()
        expected = np.mean(taken[own] == row.code)
        assert row.producers_accuracy == pytest.approx(expected)
    assert pooled.train_seconds == 4.5
    each = [result.overall_accuracy for result in results[:3]]
    assert pooled.spread["overall_accuracy"] == pytest.approx(np.std(each, ddof=1))


def test_seeds_are_averaged_and_leaks_weighed_by_pixels(folded):
    _, _, results, answers = folded
    whole = combine_folds(results, range(10, 16), 3)
    seeds = [combine_folds(results[at : at + 3], range(3), 3) for at in (0, 3)]
    for key in ("overall_accuracy", "average_accuracy", "kappa"):
        assert getattr(whole, key) == pytest.approx(
            np.mean([getattr(one, key) for one in seeds])
        )
    assert [(row.seed, row.fold) for row in whole.repeats] == [
        (10, 1),
        (11, 2),
        (12, 3),
        (13, 1),
        (14, 2),
        (15, 3),
    ]
    counts = [len(reference) for reference, _ in answers[:3]]
    shares = [result.leakage.window_overlap for result in results[:3]]
    expected = np.average(shares, weights=counts)
    assert seeds[0].leakage.window_overlap == pytest.approx(expected)


def test_counts_are_those_of_all_folds_and_lost_classes_are_named(folded):
    labels, splits, _, _ = folded
    pooled = pool_splits(splits[:3], refits=False)
    assert pooled.test.count == labels.size
    assert pooled.test.per_class[9] == 9
    train = np.mean([split.train.count for split in splits[:3]])
    assert pooled.train.count == pytest.approx(train, abs=0.05)
    assert [row.code for row in pooled.unscored] == [9]
    assert "fold" not in pooled.settings
