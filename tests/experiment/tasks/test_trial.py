"""Temperatures are fitted on pixels that did not train, held out as the test pixels lie."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.naive_bayes import GaussianNB

from hypercover.classifiers.sklearn_wrapper import SklearnClassifier
from hypercover.classifiers.svm.svm_classifier import SVMClassifier
from hypercover.evaluation.calibration import (
    apply_temperature,
    calibration_error,
    fit_temperature,
)
from hypercover.experiment.tasks.temperature_scaling import (
    MIN_PATCHES,
    calibrate,
    guard_distance,
    out_of_fold,
)
from hypercover.experiment.tasks.trial import run_trial
from hypercover.scene.samples import Samples
from hypercover.scene.scene import Scene
from hypercover.scene.simulation.simulate import SimulationSettings, simulated_scene
from hypercover.splits.blocks import BlockSplit
from hypercover.splits.cross_validation import KFoldSplit
from hypercover.splits.random_split import RandomSplit
from hypercover.splits.split import Split

CLASSES = np.array([2, 5, 9])
MODEL = SimpleNamespace(classes_=CLASSES)


def said(seed, count=300):
    """Pixels on a diagonal, and answers for them whose scores are four times too large."""
    random = np.random.default_rng(seed)
    place = random.integers(0, 3, count)
    scores = random.normal(size=(3, count)) + 2 * np.eye(3)[:, place]
    shares = softmax(8 * scores, axis=0)
    answers = {
        "labels": CLASSES[shares.argmax(axis=0)],
        "confidence": shares.max(axis=0),
        "probabilities": shares,
    }
    at = 2 * np.arange(count)
    return Samples(at, at, CLASSES[place]), answers


def test_the_temperature_is_that_of_the_validation_pixels_whatever_the_test():
    held, test = said(0), said(1)
    answers, found = calibrate(MODEL, held, test)
    expected = fit_temperature(held[1]["probabilities"].T, held[0].labels, CLASSES)
    assert found.temperature == expected > 1.5
    assert (found.fitted_on, found.patches) == (300, 300)
    assert found.error < found.error_before
    shares = apply_temperature(test[1]["probabilities"], expected, axis=0)
    np.testing.assert_array_equal(answers["probabilities"], shares)
    np.testing.assert_array_equal(answers["labels"], test[1]["labels"])
    wrong = Samples(test[0].rows, test[0].cols, np.roll(test[0].labels, 1))
    assert calibrate(MODEL, held, (wrong, test[1]))[1].temperature == expected


def test_pixels_that_touch_make_one_patch():
    held = said(0, count=5)
    rows, cols = np.array([0, 1, 2, 5, 5]), np.array([0, 1, 1, 0, 2])
    land = Samples(rows, cols, held[0].labels)
    found = calibrate(MODEL, (land, held[1]), said(1))[1]
    assert (found.fitted_on, found.patches) == (5, 3)


@pytest.mark.parametrize("patches", [MIN_PATCHES - 1, MIN_PATCHES])
def test_a_temperature_of_few_patches_is_proposed_and_not_used(patches):
    (land, answers), test = said(0), said(1)
    corner = np.minimum(2 * np.arange(300), 2 * (patches - 1))
    held = Samples(corner, corner, land.labels), answers
    after, found = calibrate(MODEL, held, test)
    assert found.patches == patches
    expected = fit_temperature(answers["probabilities"].T, land.labels, CLASSES)
    scaled = apply_temperature(test[1]["probabilities"], expected, axis=0).max(axis=0)
    right = test[1]["labels"] == test[0].labels
    errors = [calibration_error(sure, right) for sure in (test[1]["confidence"], scaled)]
    assert (found.proposed, found.error_proposed) == (expected, errors[1])
    if patches < MIN_PATCHES:
        assert after is test[1]
        assert (found.temperature, found.error, found.error_before) == (
            None,
            errors[0],
            None,
        )
    else:
        assert (found.temperature, found.error, found.error_before) == (
            expected,
            *errors[::-1],
        )


@pytest.mark.parametrize("case", ["none", "unknown", "no probabilities", "not finite"])
def test_without_what_it_needs_nothing_is_scaled(case):
    (land, answers), test = said(0), said(1)
    if case == "none":
        empty = {name: values[..., :0] for name, values in answers.items()}
        held = land.take(np.zeros(300, bool)), empty
    elif case == "unknown":
        held = Samples(land.rows, land.cols, np.full(300, 77)), answers
    elif case == "no probabilities":
        held = land, {name: answers[name] for name in ("labels", "confidence")}
    else:
        held = land, answers | {"probabilities": np.full((3, 300), np.nan)}
    after, found = calibrate(MODEL, held, test)
    assert after is test[1]
    assert (found.temperature, found.proposed, found.fitted_on) == (None, None, 0)
    assert found.error_before is found.error_proposed is None
    assert found.error > 0.05


def test_classes_that_were_not_learnt_are_not_fitted_on():
    (land, answers), test = said(0), said(1)
    some = Samples(land.rows, land.cols, np.where(np.arange(300) < 100, 77, land.labels))
    found = calibrate(MODEL, (some, answers), test)[1]
    assert found.fitted_on == 200


@pytest.mark.parametrize("sure", [None, np.nan])
def test_a_model_that_does_not_say_how_sure_it_is_has_no_calibration(sure):
    land, answers = said(1)
    answers = {"labels": answers["labels"]}
    if sure is not None:
        answers["confidence"] = np.full(300, sure)
    after, found = calibrate(MODEL, said(0), (land, answers))
    assert (after, found) == (answers, None)


@pytest.fixture(scope="module")
def scene() -> Scene:
    return simulated_scene(SimulationSettings(rows=50, cols=50, bands=8, classes=3, seed=2))


@pytest.mark.parametrize(
    ("probability", "validation"), [(True, 0.3), (False, 0.3), (False, 0)]
)
def test_a_trial_scales_shares_by_training_pixels_held_out(scene, probability, validation):
    split = RandomSplit(train=0.2, validation=validation).split(scene.usable_labels, seed=0)
    trial = run_trial(SVMClassifier(probability=probability), scene, split)
    found = trial.calibration
    assert found.temperature is not None
    assert (found.by, found.fitted_on) == ("folds", split.count("train"))
    test = split.samples("test", scene.usable_labels)
    spectra = scene.cube.values[:, test.rows, test.cols].T
    shares = apply_temperature(trial.classifier.predict_proba(spectra), found.temperature)
    place = np.searchsorted(trial.classifier.classes_, trial.predictions.predicted)
    expected = shares[np.arange(len(test)), place]
    np.testing.assert_allclose(trial.predictions.confidence, expected, rtol=1e-5)
    assert trial.to_metrics().to_json()["calibration"]["error"] == found.error


def blocks(side=6, count=10, classes=3):
    """Training pixels in squares of one class, with gaps between them."""
    place = np.add.outer(np.arange(count), np.arange(count)) % classes + 1
    label = np.kron(place, np.pad(np.ones((side, side), int), (0, 3)))
    return Samples.of(label)


class Recorder(GaussianNB):
    """Remembers which pixels it was fitted on and asked about; spectra are positions."""

    def fit(self, X, y):
        self.seen_ = {tuple(row) for row in np.asarray(X).tolist()}
        return super().fit(X, y)

    def predict_proba(self, X):
        asked = {tuple(row) for row in np.asarray(X).tolist()}
        FITS.append((self.seen_, asked))
        return super().predict_proba(X)


FITS = []


def test_pixels_are_held_out_in_whole_blocks_and_answered_once():
    land = blocks()
    spectra = np.stack([land.rows, land.cols], axis=1).astype(float)
    model = Recorder().fit(spectra, land.labels)
    FITS.clear()
    held = out_of_fold(model, land, spectra)
    assert (len(held.labels), held.by) == (len(land), "folds")
    assert sum(len(asked) for _, asked in FITS) == len(land)
    for seen, asked in FITS:
        assert not seen & asked
        # Neighbours share a fate: of the pixels held out most have theirs held out too.
        beside = sum((row, col + 1) in asked for row, col in asked)
        assert beside > 0.7 * len(asked)
    np.testing.assert_allclose(held.probabilities.sum(axis=1), 1)


@pytest.mark.parametrize("guard", [None, 0, 3])
def test_pixels_are_held_out_as_far_from_training_as_the_test_lies(guard):
    land = blocks()
    spectra = np.stack([land.rows, land.cols], axis=1).astype(float)
    model = Recorder().fit(spectra, land.labels)
    FITS.clear()
    held = out_of_fold(model, land, spectra, guard=guard)
    assert len(held.labels) == len(land)
    nearest = [
        np.abs(np.array(list(asked))[:, None] - np.array(list(seen))).max(-1).min(1)
        for seen, asked in FITS
    ]
    gaps = np.concatenate(nearest)
    if guard is None:
        assert held.patches == len(land)
        assert (gaps == 1).mean() > 0.9
    else:
        assert held.patches < len(land) / 20
        assert gaps.min() == guard + 1


@pytest.mark.parametrize(
    ("split", "guard"),
    [
        (RandomSplit(0.05), None),
        (BlockSplit(size=8, guard=3), 3),
        (KFoldSplit(n_splits=3, size=8, guard=2), 2),
    ],
)
def test_the_guard_is_that_between_training_and_test(scene, split, guard):
    labels = scene.usable_labels
    assert guard_distance(split.split(labels, seed=0), labels) == guard


@pytest.mark.parametrize(
    ("test", "guard"), [(slice(1, None, 2), None), (slice(20, 50), 0), (slice(0, 0), 0)]
)
def test_of_a_split_that_names_no_guard_the_places_decide(scene, test, guard):
    """Every second row trains, the upper part, or all."""
    marked = np.zeros(scene.shape, bool)
    marked[test] = True
    labelled = scene.usable_labels > 0
    split = Split.from_parts(train=~marked & labelled, test=marked & labelled)
    assert guard_distance(split, scene.usable_labels) == guard


def test_folds_make_an_svm_as_sure_as_it_is_right():
    """Shares of an SVM are far from probabilities; nothing of the test is used."""
    random = np.random.default_rng(0)
    land, test = blocks(), blocks(side=5)
    centres = random.normal(size=(4, 6))

    def spectra(pixels):
        return centres[pixels.labels] + random.normal(0, 0.8, (len(pixels), 6))

    own, other = spectra(land), spectra(test)
    model = SVMClassifier().fit(own, land.labels)
    shares = model.predict_proba(other)
    answers = {
        "labels": model.predict(other),
        "confidence": shares.max(axis=1),
        "probabilities": shares.T,
    }
    nothing = land.take(np.zeros(0, int)), {"labels": np.zeros(0)}
    folds = out_of_fold(model, land, own)
    after, found = calibrate(model, nothing, (test, answers), folds=folds)
    assert found.error_before > 2.5 * found.error
    np.testing.assert_array_equal(after["labels"], answers["labels"])
    assert calibrate(model, nothing, (test, answers))[1].temperature is None


def test_a_forest_with_few_blocks_keeps_its_own_confidence():
    land = blocks(count=3)
    spectra = np.random.default_rng(0).normal(size=(len(land), 4)) + land.labels[:, None]
    forest = SklearnClassifier(params={"n_estimators": 10}, random_state=0)
    folds = out_of_fold(forest.fit(spectra, land.labels), land, spectra)
    assert folds.patches < MIN_PATCHES
    shares = forest.predict_proba(spectra)
    answers = {
        "labels": forest.predict(spectra),
        "confidence": shares.max(axis=1),
        "probabilities": shares.T,
    }
    found = calibrate(forest, (land, {}), (land, answers), folds=folds)[1]
    assert (found.temperature, found.by) == (None, "folds")
    assert found.proposed is not None


@pytest.mark.parametrize("labels", [[1, 1, 1, 2], [1, 2, 3, 4]])
def test_classes_in_one_block_alone_are_not_fitted_on(labels):
    land = Samples(np.arange(4) * 100, np.zeros(4, int), np.array(labels))
    spectra = np.arange(8.0).reshape(4, 2)
    held = out_of_fold(SVMClassifier().fit(spectra, labels), land, spectra)
    # A fold without its class, or with one class left, says nothing of it.
    assert held is None or set(held.labels) == {1}
    network = SimpleNamespace(predict_dense=None, get_params=None)
    assert out_of_fold(network, land, spectra) is None
