"""How much faster the SVM labels a whole scene than scikit-learn's SVC, and whether alike.

Reads the Indian Pines stand-in in the folder named by HYPERCOVER_DATA and
predicts all of its 145 × 145 pixels of 200 bands with models trained on the
published 695 pixels and on a random tenth, for three values of C.  Both sides
run in this process, in turn, with the threads they take of themselves; seconds
are medians of wall time.  The last line is the smallest of the ratios.

    HYPERCOVER_DATA=… python benchmarks/svm_predict.py [--runs 5]
"""

import argparse
import time
import warnings
from collections.abc import Callable
from statistics import median

import numpy as np
import rasterio
from data import DATA, check_data
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from hypercover.classifiers.svm.svm_classifier import SVMClassifier

COSTS = (100.0, 1.0, 10000.0)


def labels_of(name: str) -> np.ndarray:
    """Read a label map of Indian Pines, pixel by pixel."""
    with (
        warnings.catch_warnings(action="ignore"),
        rasterio.open(DATA / "indian_pines" / f"{name}.tif") as opened,
    ):
        return opened.read(1).ravel()


def scene() -> tuple[np.ndarray, dict[str, np.ndarray], np.ndarray]:
    """Return all pixels of the stand-in, which of them train, and the labels."""
    path = DATA / "derived" / "indian_pines_rank37_reconstruction.npz"
    with np.load(path) as opened:
        pixels = opened["cube"].reshape(-1, 200)
    labels = labels_of("19920612_AVIRIS_IndianPine_Site3_gr")
    labelled = np.flatnonzero(labels)
    tenth, _ = train_test_split(
        labelled, train_size=0.1, stratify=labels[labelled], random_state=0
    )
    fixed = np.flatnonzero(labels_of("IndianTR123_temp123"))
    return pixels, {"fixed 695": fixed, "random 10 %": tenth}, labels


def timed(predict: Callable[[np.ndarray], np.ndarray], pixels: np.ndarray) -> float:
    """Return the seconds of one prediction."""
    began = time.perf_counter()
    predict(pixels)
    return time.perf_counter() - began


def compared(
    pixels: np.ndarray, train: tuple[np.ndarray, np.ndarray], C: float, runs: int
) -> float:
    """Fit both sides on the same pixels , print a row of the table and return the ratio."""
    ours = SVMClassifier(C).fit(*train)
    theirs = make_pipeline(StandardScaler(), SVC(C=C)).fit(*train)
    different = int((ours.predict(pixels) != theirs.predict(pixels)).sum())
    seconds = [
        (timed(ours.predict, pixels), timed(theirs.predict, pixels)) for _ in range(runs)
    ]
    fast, slow = (median(side) for side in zip(*seconds, strict=True))
    vectors = len(ours.machines_.vectors)
    print(
        f"{C:7g}  {vectors:7d}  {fast:8.3f}  {slow:8.3f}  {slow / fast:5.1f}  {different:9d}"
    )
    return slow / fast


def main() -> None:
    """Compare both sides for each training set and C."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    check_data(parser)
    pixels, parts, labels = scene()
    ratios = []
    for name, part in parts.items():
        print(f"{name}: {len(part)} training pixels, {len(pixels)} predicted")
        print("      C  vectors    ours s  sklearn s  ratio  different")
        train = pixels[part].astype(float), labels[part]
        ratios += [compared(pixels, train, C, runs) for C in COSTS]
    print(f"ratio: {min(ratios):.1f}")


if __name__ == "__main__":
    main()
