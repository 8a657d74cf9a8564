"""What the default network must reach on real scenes; minutes, hence slow."""

import numpy as np
import pytest
import rasterio
from scipy.io import loadmat

from hypercover.classifiers.cnn.cnn_classifier import CNNClassifier
from hypercover.splits.blocks import BlockSplit
from hypercover.splits.predefined_splits import MaskSplit
from hypercover.splits.random_split import RandomSplit
from hypercover.windows.windows import Windows

pytestmark = pytest.mark.slow

WINDOW = 9


def raster(path):
    with rasterio.open(path) as file:
        return file.read(1)


@pytest.fixture(scope="module")
def stand_in(data_folder):
    """The rank-37 stand-in for Indian Pines with the Site 3 labels."""
    with np.load(data_folder / "derived/indian_pines_rank37_reconstruction.npz") as file:
        cube = np.ascontiguousarray(file["cube"].transpose(2, 0, 1))
    return cube, raster(
        data_folder / "indian_pines/19920612_AVIRIS_IndianPine_Site3_gr.tif"
    )


def accuracy(cube, labels, split, seed=0):
    """Share of test pixels that a network sees rightly in one dense pass."""
    train, test = split.samples("train", labels), split.samples("test", labels)
    cnn = CNNClassifier(random_state=seed)
    cnn.fit(Windows(cube, train.rows, train.cols, WINDOW), train.labels)
    margin = cnn.margin_
    around = np.pad(cube, ((0, 0), (margin, margin), (margin, margin)), mode="edge")
    codes = cnn.classes_[cnn.predict_dense(around).argmax(axis=0)]
    return float((codes[test.rows, test.cols] == test.labels).mean())


@pytest.mark.parametrize("seed", [0, 1])
def test_fixed_masks_of_the_stand_in(stand_in, data_folder, seed):
    train, test = (
        raster(data_folder / f"indian_pines/Indian{part}123_temp123.tif")
        for part in ("TR", "TE")
    )
    split = MaskSplit(train=train, test=test).split(stand_in[1], window=WINDOW)
    assert (split.count("train"), split.count("test")) == (695, 9671)
    assert accuracy(*stand_in, split, seed) >= 0.970


def test_random_tenth_of_the_stand_in(stand_in):
    split = RandomSplit(train=0.1).split(stand_in[1], seed=0, window=WINDOW)
    assert accuracy(*stand_in, split) >= 0.985


def test_guarded_blocks_of_the_stand_in(stand_in):
    blocks = BlockSplit(size=15, train=0.25, guard=4)
    accuracies = [
        accuracy(*stand_in, blocks.split(stand_in[1], seed=seed, window=WINDOW), seed)
        for seed in range(5)
    ]
    assert np.mean(accuracies) >= 0.68


def test_random_tenth_of_salinas_a(data_folder):
    folder = data_folder / "salinas_a"
    cube = loadmat(folder / "SalinasA_corrected.mat")["salinasA_corrected"]
    labels = loadmat(folder / "SalinasA_gt.mat")["salinasA_gt"]
    split = RandomSplit(train=0.1).split(labels, seed=0, window=WINDOW)
    cube = np.ascontiguousarray(cube.transpose(2, 0, 1))
    assert accuracy(cube, labels, split) >= 0.995
