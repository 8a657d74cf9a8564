"""Temperatures are fitted on validation pixels alone, and only on probabilities."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.special import softmax

from hypercover.classifiers.svm import SVMClassifier
from hypercover.evaluation.calibration import calibration_error
from hypercover.evaluation.temperature import fit_temperature, tempered
from hypercover.experiment.calibrate import ENOUGH, calibrate
from hypercover.experiment.trial import run_trial
from hypercover.samples.random import RandomSplit
from hypercover.samples.samples import Samples
from hypercover.scene.scene import Scene
from hypercover.scene.simulate import Settings, simulated_scene

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
    shares = tempered(test[1]["probabilities"], expected, axis=0)
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


@pytest.mark.parametrize("patches", [ENOUGH - 1, ENOUGH])
def test_a_temperature_of_few_patches_is_proposed_and_not_used(patches):
    (land, answers), test = said(0), said(1)
    corner = np.minimum(2 * np.arange(300), 2 * (patches - 1))
    held = Samples(corner, corner, land.labels), answers
    after, found = calibrate(MODEL, held, test)
    assert found.patches == patches
    expected = fit_temperature(answers["probabilities"].T, land.labels, CLASSES)
    scaled = tempered(test[1]["probabilities"], expected, axis=0).max(axis=0)
    right = test[1]["labels"] == test[0].labels
    errors = [calibration_error(sure, right) for sure in (test[1]["confidence"], scaled)]
    assert (found.proposed, found.error_proposed) == (expected, errors[1])
    if patches < ENOUGH:
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
    return simulated_scene(Settings(rows=50, cols=50, bands=8, classes=3, seed=2))


@pytest.mark.parametrize(
    ("probability", "validation"), [(True, 0.3), (False, 0.3), (True, 0)]
)
def test_a_trial_scales_probabilities_where_there_are_validation_pixels(
    scene, probability, validation
):
    split = RandomSplit(train=0.2, validation=validation).split(scene.usable_labels, seed=0)
    trial = run_trial(SVMClassifier(probability=probability), scene, split)
    found = trial.calibration
    assert (found.temperature is not None) == (probability and validation > 0)
    assert found.fitted_on == (split.count("validation") if found.temperature else 0)
    test = split.samples("test", scene.usable_labels)
    spectra = scene.cube.values[:, test.rows, test.cols].T
    shares = tempered(trial.classifier.predict_proba(spectra), found.temperature)
    place = np.searchsorted(trial.classifier.classes_, trial.predictions.predicted)
    expected = shares[np.arange(len(test)), place]
    np.testing.assert_allclose(trial.predictions.confidence, expected, rtol=1e-5)
    assert trial.to_json()["calibration"]["error"] == found.error
