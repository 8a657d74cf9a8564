"""How much faster the kernel-sharing grid search is than training every cell and fold.

25 cells (C = 1 … 10,000, gamma = 0.25 … 4 over the number of bands) and 10
stratified random folds on 10,249 labelled pixels of 200 standardised bands with
16 classes: the Indian Pines stand-in in the folder named by HYPERCOVER_DATA, and
a simulated scene of the same size with as much noise as signal.  Beside
scikit-learn's GridSearchCV on all cores, and LIBSVM's ``svm-train -v`` with one
process per core where it is installed.

The others are timed on five cells, each gamma and each C once, and scaled to 25
(``--whole`` times scikit-learn on all of them).  Prints wall time (on the
stand-in medians of the runs) and the largest difference in accuracy; the last
line is the ratio on the stand-in.

    HYPERCOVER_DATA=… python benchmarks/grid_search.py [--repeats 3] [--whole] [--skip-noisy]
"""

import argparse
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from data import DATA, check_data
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from hypercover.classifiers.svm.grid_search import KernelGridSearch
from hypercover.libsvm.data import write_libsvm
from hypercover.scene.io.reading import open_scene
from hypercover.scene.samples import Samples
from hypercover.scene.simulation.simulate import simulate

PIXELS, BANDS, FOLDS = 10_249, 200, 10
COSTS = [1.0, 10.0, 100.0, 1000.0, 10000.0]
GAMMAS = [multiple / BANDS for multiple in (0.25, 0.5, 1.0, 2.0, 4.0)]
SOME = list(zip(GAMMAS, [1.0, 100.0, 10000.0, 10.0, 1000.0], strict=True))

Table = tuple[np.ndarray, np.ndarray]


def stand_in() -> Table:
    """Return the labelled pixels of the Indian Pines stand-in."""
    scene = open_scene(
        DATA / "derived/indian_pines_rank37_reconstruction.npz",
        DATA / "indian_pines/Indian_pines_gt.mat",
        axes="row,col,band",
    )
    samples = Samples.of(scene.usable_labels)
    cube = np.asarray(scene.cube.values, dtype=np.float64)
    return StandardScaler().fit_transform(
        cube[:, samples.rows, samples.cols].T
    ), samples.labels


def noisy() -> Table:
    """Return as many pixels of a simulated scene, with noise added to every band."""
    with tempfile.TemporaryDirectory() as folder:
        image, labels = simulate(Path(folder) / "noisy.tif", rows=200, bands=BANDS)
        scene = open_scene(image, labels)
        samples = Samples.of(scene.usable_labels)
        rng = np.random.default_rng(0)
        drawn = np.sort(rng.permutation(len(samples))[:PIXELS])
        cube = np.asarray(scene.cube.values, dtype=np.float64)
        spectra = cube[:, samples.rows[drawn], samples.cols[drawn]].T
    signal = StandardScaler().fit_transform(spectra)
    return StandardScaler().fit_transform(
        signal + rng.normal(size=signal.shape)
    ), samples.labels[drawn]


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """Return a result and the seconds it took."""
    began = time.perf_counter()
    result = work()
    return result, time.perf_counter() - began


def ours(X: np.ndarray, y: np.ndarray, folds: list[Any]) -> KernelGridSearch:
    """Search all cells with shared kernels."""
    grid = {"C": COSTS, "gamma": GAMMAS}
    return KernelGridSearch(SVC(), grid, cv=folds, refit=False).fit(X, y)


def theirs(X: np.ndarray, y: np.ndarray, folds: list[Any], whole: bool) -> GridSearchCV:
    """Search all or some cells with scikit-learn, on all cores."""
    some = [{"C": [cost], "gamma": [gamma]} for gamma, cost in SOME]
    grid = {"C": COSTS, "gamma": GAMMAS} if whole else some
    search = GridSearchCV(SVC(cache_size=500), grid, cv=folds, refit=False, n_jobs=-1)
    return search.fit(X, y)


def libsvm(X: np.ndarray, y: np.ndarray) -> tuple[float, dict[tuple[float, float], float]]:
    """Return the seconds and accuracies of svm-train on some cells, a process per core."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "samples.el"
        write_libsvm(data, [(y, X)])

        def cell(place: tuple[float, float]) -> None:
            gamma, cost = place
            options = f"-q -s 0 -t 2 -m 500 -v {FOLDS} -g {gamma} -c {cost}".split()
            answer = subprocess.run(
                ["svm-train", *options, str(data)],
                capture_output=True,
                text=True,
                check=True,
            )
            match = re.search(r"Accuracy = ([\d.]+)%", answer.stdout)
            assert match is not None, answer.stdout
            found[place] = float(match[1]) / 100

        began = time.perf_counter()
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(cell, SOME))
        return time.perf_counter() - began, found


def scores(search: Any) -> dict[tuple[float, float], float]:
    """Return the accuracy of every cell."""
    results = search.cv_results_
    return {
        (cell["gamma"], cell["C"]): score
        for cell, score in zip(results["params"], results["mean_test_score"], strict=True)
    }


def best(found: dict[tuple[float, float], float]) -> str:
    """Say which cell is best."""
    gamma, cost = max(found, key=lambda place: found[place])
    return f"C {cost:g}, gamma {gamma * BANDS:g}/{BANDS}: {100 * found[gamma, cost]:.2f} %"


def compare(name: str, table: Table, options: argparse.Namespace, repeats: int) -> float:
    """Time all sides on one table and return scikit-learn's time over ours."""
    X, y = table
    folds = list(StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(X, y))
    print(f"{name}: {X.shape[0]} × {X.shape[1]}, {len(np.unique(y))} classes", flush=True)
    scale = 1.0 if options.whole else len(COSTS) * len(GAMMAS) / len(SOME)
    mine, others = [], []
    for _ in range(repeats):
        search, seconds = timed(lambda: ours(X, y, folds))
        mine.append(seconds)
        other, seconds = timed(lambda: theirs(X, y, folds, options.whole))
        others.append(seconds * scale)
        print(f"  one run: {mine[-1]:.1f} s and {others[-1]:.1f} s", flush=True)
    found, expected = scores(search), scores(other)
    apart = max(abs(found[place] - expected[place]) for place in expected)
    print(f"  hypercover:   {median(mine):8.1f} s   best {best(found)}")
    whole = "" if scale == 1.0 else f" ({len(SOME)} of 25 cells, scaled)"
    print(f"  scikit-learn: {median(others):8.1f} s{whole}   best {best(expected)}")
    print(f"  largest difference in a cell's accuracy: {100 * apart:.3f} points")
    print(f"  scikit-learn / hypercover: {median(others) / median(mine):.1f}", flush=True)
    if shutil.which("svm-train"):
        seconds, accuracies = libsvm(X, y)
        seconds *= len(COSTS) * len(GAMMAS) / len(SOME)
        # svm-train deals its own folds, so its accuracies differ by chance.
        apart = max(abs(found[place] - accuracies[place]) for place in accuracies)
        print(f"  svm-train -v: {seconds:8.1f} s ({len(SOME)} of 25 cells, scaled)")
        print(f"  svm-train / hypercover: {seconds / median(mine):.1f}")
        print(f"  largest difference, other folds: {100 * apart:.2f} points", flush=True)
    return median(others) / median(mine)


def main() -> None:
    """Compare on both scenes; the last line is the stand-in's ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--whole", action="store_true")
    parser.add_argument("--skip-noisy", action="store_true")
    options = parser.parse_args()
    check_data(parser)
    # Compiled once per installation; not what is compared.
    tiny = np.random.default_rng(0).normal(size=(60, 3))
    KernelGridSearch(SVC(), cv=3).fit(tiny, np.arange(60) % 3)
    # On the noisy scene the others take minutes, and so once is enough.
    if not options.skip_noisy:
        compare("noisy simulated scene", noisy(), options, 1)
    ratio = compare("Indian Pines stand-in", stand_in(), options, options.repeats)
    print(f"ratio: {ratio:.1f}")


if __name__ == "__main__":
    main()
