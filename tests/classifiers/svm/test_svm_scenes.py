"""What the SVM reaches on real scenes with its defaults."""

import numpy as np
import pytest
import rasterio
from scipy.io import loadmat
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from hypercover.classifiers.svm.svm_classifier import SVMClassifier
from hypercover.features.nwfe import NWFE


def labels_of(path):
    with rasterio.open(path) as opened:
        return opened.read(1)


@pytest.fixture(scope="module")
def stand_in(data_folder):
    """The Indian Pines stand-in with its labels and the fixed training and test maps."""
    with np.load(
        data_folder / "derived" / "indian_pines_rank37_reconstruction.npz"
    ) as opened:
        cube = opened["cube"]
    folder = data_folder / "indian_pines"
    names = (
        "19920612_AVIRIS_IndianPine_Site3_gr",
        "IndianTR123_temp123",
        "IndianTE123_temp123",
    )
    return cube, *(labels_of(folder / f"{name}.tif") for name in names)


def test_indian_pines_stand_in_fixed_maps(stand_in):
    """At least 80.5 %."""
    cube, labels, train, test = stand_in
    assert ((train > 0).sum(), (test > 0).sum()) == (695, 9671)
    ours = SVMClassifier().fit(cube[train > 0], labels[train > 0])
    assert ours.score(cube[test > 0], labels[test > 0]) >= 0.805


@pytest.mark.parametrize("training", ["fixed", "random tenth"])
@pytest.mark.parametrize("cost", [1.0, 100.0, 10000.0])
def test_labels_are_libsvms_on_every_pixel_of_the_stand_in(stand_in, training, cost):
    cube, labels, fixed, _ = stand_in
    pixels, codes = cube.reshape(-1, 200), labels.ravel()
    chosen = np.flatnonzero(fixed)
    if training == "random tenth":
        labelled = np.flatnonzero(codes)
        chosen, _ = train_test_split(
            labelled, train_size=0.1, stratify=codes[labelled], random_state=0
        )
    ours = SVMClassifier(C=cost).fit(pixels[chosen], codes[chosen])
    theirs = make_pipeline(StandardScaler(), SVC(C=cost))
    theirs.fit(pixels[chosen].astype(float), codes[chosen])
    np.testing.assert_array_equal(ours.predict(pixels), theirs.predict(pixels))


def test_nwfe_and_calibration_keep_the_accuracy_on_the_stand_in(stand_in):
    cube, labels, train, test = stand_in
    plain, full = (
        SVMClassifier(**parameters).fit(cube[train > 0], labels[train > 0])
        for parameters in ({}, {"reduction": NWFE(30), "probability": True})
    )
    unseen, truth = cube[test > 0], labels[test > 0]
    assert full.score(unseen, truth) >= plain.score(unseen, truth) - 0.02
    probabilities = full.predict_proba(unseen)
    right = full.classes_[probabilities.argmax(axis=1)] == truth
    assert abs(right.mean() - full.score(unseen, truth)) < 0.02
    own = probabilities[np.arange(len(truth)), np.searchsorted(full.classes_, truth)]
    shares = plain.predict_proba(unseen)
    uncalibrated = shares[np.arange(len(truth)), np.searchsorted(full.classes_, truth)]
    assert -np.log(own).mean() < -np.log(uncalibrated).mean()


def test_salinas_a_random_tenth(data_folder):
    folder = data_folder / "salinas_a"
    cube = loadmat(folder / "SalinasA_corrected.mat")["salinasA_corrected"]
    labels = loadmat(folder / "SalinasA_gt.mat")["salinasA_gt"]
    parts = train_test_split(
        cube[labels > 0],
        labels[labels > 0],
        train_size=0.1,
        stratify=labels[labels > 0],
        random_state=0,
    )
    svm = SVMClassifier().fit(parts[0], parts[2])
    assert svm.score(parts[1], parts[3]) >= 0.985
