"""The lecture's grid search, whole: 52 classes, 25 cells, 10 folds, on this machine.

The published problem has 33,396 training samples of 30 features (KPCA, attribute
profiles, NWFE) of the full Indian Pines flight line in 52 classes.  The features
cannot be had, so they are simulated: the published number of samples of every
class; classes of one crop lie close together; each class has fields, which
differ among themselves.  Scale and noise are such that the cells are about as
accurate as the published ones.

Prints accuracy and minutes of every cell beside the published figures (J.
Cavallaro et al., JSTARS 8(10), 2015: Matlab 534.5 minutes in all, piSVM on 80
cores 35.5), wall time, serial sum and peak memory.  The last line is the
published time on 80 cores over the wall time here.

    python benchmarks/grid_search_full.py [--gammas 8] [--memory 2]
"""

import argparse
import resource
import time

import numpy as np
from sklearn.model_selection import StratifiedKFold

from hypercover.classifiers.svm.svm_cross_validation import CVProblem, cross_validate_gamma

CLASSES = """
Buildings 1720, Corn 1778, Corn? 16, Corn-EW 51, Corn-NS 236, Corn-CleanTill 1240,
Corn-CleanTill-EW 2649, Corn-CleanTill-NS 3968, Corn-CleanTill-NS-Irrigated 80,
Corn-CleanTilled-NS? 173, Corn-MinTill 105, Corn-MinTill-EW 563, Corn-MinTill-NS 886,
Corn-NoTill 438, Corn-NoTill-EW 121, Corn-NoTill-NS 569, Fescue 11, Grass 115,
Grass/Trees 233, Hay 113, Hay? 219, Hay-Alfalfa 226, Lake 22, NotCropped 194, Oats 174,
Oats? 34, Pasture 1039, pond 10, Soybeans 939, Soybeans? 89, Soybeans-NS 111,
Soy-CleanTill 507, Soy-CleanTill? 273, Soy-CleanTill-EW 1180, Soy-CleanTill-NS 1039,
Soy-CleanTill-Drilled 224, Soy-CleanTill-Weedy 54, Soy-Drilled 1512, Soy-MinTill 267,
Soy-MinTill-EW 183, Soy-MinTill-Drilled 810, Soy-MinTill-NS 495, Soy-NoTill 216,
Soy-NoTill-EW 253, Soy-NoTill-NS 93, Soy-NoTill-Drilled 873, Swampy Area 58, River 311,
Trees? 58, Wheat 498, Woods 6356, Woods? 14
"""
COSTS = (1.0, 10.0, 100.0, 1000.0, 10000.0)
PUBLISHED = {
    2.0: (48.90, 65.01, 73.21, 75.55, 74.42),
    4.0: (57.53, 70.74, 75.94, 76.04, 74.06),
    8.0: (64.18, 74.45, 77.00, 75.78, 74.58),
    16.0: (68.37, 76.20, 76.51, 75.32, 74.72),
    32.0: (70.17, 75.48, 74.88, 74.08, 73.84),
}
MATLAB, PISVM = 534.5, 35.5
"""Minutes of the published searches: serial, and on 80 cores."""
FEATURES, FOLDS = 30, 10
PER_FIELD = 100
"""Samples of a field, on average."""
CROP, KIND, FIELD, NOISE, SCALE = 0.06, 0.02, 0.08, 0.095, 0.6
"""Spread of crops, of their kinds, of fields and of pixels, and of all together."""


def counts() -> dict[str, int]:
    """Return the training samples of each class."""
    entries = " ".join(CLASSES.split()).split(", ")
    return {name: int(count) for name, count in (entry.rsplit(" ", 1) for entry in entries)}


def crop(name: str) -> str:
    """Return what classes of one crop have in common.

    Examples
    --------
    >>> crop("Soy-NoTill-EW"), crop("Corn?")
    ('Soy', 'Corn')
    """
    first = name.split("-")[0].split("/")[0].rstrip("?")
    return "Soy" if first == "Soybeans" else first


def simulated() -> tuple[np.ndarray, np.ndarray]:
    """Draw features (sample, 30) and class codes."""
    rng = np.random.default_rng(0)
    crops: dict[str, np.ndarray] = {}
    tables, labels = [], []
    for code, (name, count) in enumerate(counts().items(), start=1):
        if crop(name) not in crops:
            crops[crop(name)] = rng.normal(0.0, CROP, FEATURES)
        kind = crops[crop(name)] + rng.normal(0.0, KIND, FEATURES)
        n_fields = max(2, -(-count // PER_FIELD))
        fields = kind + rng.normal(0.0, FIELD, (n_fields, FEATURES))
        of_field = fields[rng.integers(n_fields, size=count)]
        tables.append(of_field + rng.normal(0.0, NOISE, (count, FEATURES)))
        labels.append(np.full(count, code))
    # As of NWFE: each feature tells less than the one before.
    falling = SCALE * 0.9 ** np.arange(FEATURES)
    return np.vstack(tables) * falling, np.concatenate(labels)


def main() -> None:
    """Search the whole grid and print it beside the published one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gammas", type=float, nargs="*", default=list(PUBLISHED))
    parser.add_argument("--memory", type=float, default=2.0, help="GiB for kernels")
    options = parser.parse_args()
    X, y = simulated()
    folds = list(StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(X, y))
    print(f"{X.shape[0]} × {X.shape[1]}, {len(np.unique(y))} classes, {FOLDS} folds")
    print("gamma | accuracy % (minutes) for C = 1 … 10,000 | published", flush=True)
    began, serial = time.perf_counter(), 0.0
    problem = CVProblem.of(X, y, folds, memory=int(options.memory * 2**30))
    for gamma in options.gammas:
        row = cross_validate_gamma(problem, gamma=gamma, C=COSTS)
        serial += row.seconds.sum() / 60
        cells = [
            f"{100 * accuracy:.2f} ({seconds / 60:.2f})"
            for accuracy, seconds in zip(row.accuracy, row.seconds, strict=True)
        ]
        there = " ".join(f"{value:.2f}" for value in PUBLISHED[gamma])
        print(f"{gamma:5g} | {' '.join(cells)} | {there}", flush=True)
    wall = (time.perf_counter() - began) / 60
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"wall time {wall:.1f} min, serial sum {serial:.1f} min, peak memory {peak:.2f} GiB"
    )
    print(f"published: Matlab {MATLAB} min, piSVM on 80 cores {PISVM} min")
    share = len(options.gammas) / len(PUBLISHED)
    print(f"ratio: {PISVM * share / wall:.2f}")


if __name__ == "__main__":
    main()
