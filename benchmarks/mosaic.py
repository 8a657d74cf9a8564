"""Features and a map of a mosaic of 4 GiB, by two workers of 1 GiB each.

The mosaic is simulated, the model trained on a corner of it.  Each worker's
memory is read from the system (its peak resident set) as each task ends.  With
``--dask`` the workers are Dask's, which ends one that holds more than 1 GiB;
without, local processes, which nothing ends.  Both results are compared with
those of a crop that is computed in memory, in one piece.
"""

import argparse
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import rasterio
from rasterio.windows import Window

import hypercover as hc
from hypercover.experiment.config.schema import Experiment
from hypercover.experiment.tasks.feature_tiles import write_features
from hypercover.features.chain import Chain
from hypercover.jobs.task_files import read_json
from hypercover.prediction.map_prediction import predict_bundle_to_files
from hypercover.prediction.tile_tasks import SceneSource, WorkFolder

_BANDS, _CORNER, _CROP = 64, 256, 300
_LIMIT = 2**30


def mosaic(folder: Path, gigabytes: float) -> tuple[Path, Path, Path]:
    """Simulate a square image of so many GiB and one of its corner, with labels."""
    side = int(np.sqrt(gigabytes * 2**30 / (2 * _BANDS))) // 256 * 256
    if shutil.disk_usage(folder).free < 3 * gigabytes * 2**30:
        sys.exit(
            f"{folder} has not three times {gigabytes} GiB free; choose another --out."
        )
    print(f"simulating {side} × {side} × {_BANDS} values, {gigabytes} GiB", flush=True)
    small, labels = hc.simulate(
        folder / "corner.tif", rows=_CORNER, cols=_CORNER, bands=_BANDS, classes=6
    )
    with rasterio.open(small) as file:
        corner = file.read()
        profile = file.profile | {
            "width": side,
            "height": side,
            "compress": None,
            "bigtiff": "YES",
        }
    made, noise = folder / "mosaic.tif", np.random.default_rng(0)
    with rasterio.open(made, "w", **profile) as file:
        for row in range(0, side, _CORNER):
            for col in range(0, side, _CORNER):
                # Every piece is another: turned, and with noise of its own.
                piece = np.rot90(corner, (row + 3 * col) // _CORNER % 4, axes=(1, 2))
                shaken = piece + noise.integers(0, 9, piece.shape).astype(piece.dtype)
                file.write(shaken, window=Window(col, row, _CORNER, _CORNER))
    return made, small, labels


def trained(folder: Path, small: Path, labels: Path) -> Path:
    """Train a network on the corner."""
    experiment = Experiment.model_validate(
        {
            "name": "corner",
            "scene": {"path": str(small), "labels": str(labels)},
            "split": {"kind": "random", "train": 0.02},
            "models": {"cnn": {"kind": "cnn", "window": 5, "epochs": 2}},
            "map": False,
        }
    )
    hc.run_experiment(experiment, folder / "run", workers=1)
    return folder / "run" / "models" / "cnn"


class Peaks:
    """Keeps the largest memory that any task reported, while its records are there."""

    def __init__(self, out: Path) -> None:
        self._tasks, self.most = WorkFolder.of(out).path / "tasks", 0

    def __call__(self, done: int, total: int) -> None:
        """Look at what is done by now."""
        for record in self._tasks.glob("*.json"):
            found = read_json(record)
            result = found.get("result") if found else None
            if isinstance(result, dict):
                self.most = max(self.most, int(result.get("peak", 0)))


def crop_of(image: Path, out: Path) -> tuple[Path, Window]:
    """Cut a piece across tiles out of an image."""
    window = Window(150, 400, _CROP, _CROP)
    with rasterio.open(image) as file:
        profile = file.profile | {"width": _CROP, "height": _CROP, "tiled": False}
        profile = {key: value for key, value in profile.items() if "block" not in key}
        with rasterio.open(out, "w", **profile) as written:
            written.write(file.read(window=window))
    return out, window


def compare(found: Path, expected: np.ndarray, window: Window, margin: int) -> float:
    """Return the share of values that differ inside a margin."""
    with rasterio.open(found) as file:
        piece = file.read(window=window)
    inner = (slice(None), slice(margin, -margin or None), slice(margin, -margin or None))
    return float((piece[inner] != expected[inner]).mean())


def main() -> None:
    """Make both, and say what each took and held."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=4.0)
    parser.add_argument(
        "--dask", action="store_true", help="workers of Dask, held to 1 GiB"
    )
    parser.add_argument("--out", type=Path, default=Path(tempfile.gettempdir()))
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="mosaic-", dir=options.out))
    try:
        measure(folder, options)
    finally:
        shutil.rmtree(folder)


def executor(options: argparse.Namespace) -> hc.jobs.LocalExecutor | hc.jobs.DaskExecutor:
    """Return two workers."""
    if options.dask:
        return hc.jobs.DaskExecutor(workers=2, memory="1GiB")
    return hc.jobs.LocalExecutor(2)


def measure(folder: Path, options: argparse.Namespace) -> None:
    """Do the work in a folder."""
    image, small, labels = mosaic(folder, options.gigabytes)
    model = trained(folder, small, labels)
    source, stack, land = (
        SceneSource(str(image)),
        folder / "features.tif",
        folder / "map.tif",
    )
    cropped, window = crop_of(image, folder / "crop.tif")
    # The same fit for both: on the mosaic; the crop takes it over.
    chain, peaks = Chain.parse("[{kpca: {components: 3, sample: 300}}]"), Peaks(stack)
    began = time.monotonic()
    write_features(source, chain, stack, executor(options), progress=peaks)
    took = time.monotonic() - began
    fitted = Chain.parse("[{kpca: {components: 3, sample: 300}}]").fit(source.open())
    whole = fitted.transform(hc.open_scene(cropped)).cube.values
    report("features", took, peaks.most, compare(stack, whole, window, 0))
    peaks, began = Peaks(land), time.monotonic()
    predict_bundle_to_files(
        model,
        source.open(),
        land,
        memory=_LIMIT,
        source=source,
        executor=executor(options),
        progress=peaks,
    )
    took = time.monotonic() - began
    predicted = hc.predict_scene(hc.load_bundle(model).classifier, hc.open_scene(cropped))
    expected = predicted.labels.values[None]
    report("map", took, peaks.most, compare(land, expected, window, 2))
    print(f"ratio: {peaks.most / _LIMIT:.2f}")


def report(what: str, seconds: float, peak: int, differing: float) -> None:
    """Print one line of JSON."""
    line = {"what": what, "seconds": round(seconds, 1), "peak_mib": peak // 2**20}
    print(json.dumps(line | {"differing": differing}), flush=True)


if __name__ == "__main__":
    main()
