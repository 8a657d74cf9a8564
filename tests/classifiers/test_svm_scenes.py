"""What the SVM reaches on real scenes with its defaults."""

import numpy as np
import pytest
import rasterio
from scipy.io import loadmat
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from hypercover.classifiers.svm import SVMClassifier


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
    """At least 80.5 %, and the same labels as SVC on every pixel of the scene."""
    cube, labels, train, test = stand_in
    assert ((train > 0).sum(), (test > 0).sum()) == (695, 9671)
    ours = SVMClassifier().fit(cube[train > 0], labels[train > 0])
    assert ours.score(cube[test > 0], labels[test > 0]) >= 0.805
    theirs = make_pipeline(StandardScaler(), SVC(C=100)).fit(
        cube[train > 0].astype(float), labels[train > 0]
    )
    pixels = cube.reshape(-1, 200)
    np.testing.assert_array_equal(ours.predict(pixels), theirs.predict(pixels))


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
