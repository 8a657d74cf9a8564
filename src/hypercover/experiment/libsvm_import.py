"""From LIBSVM files back to images: predictions become maps, data become scenes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from hypercover.errors import CallError
from hypercover.files import atomic
from hypercover.gis.map_writing import write_class_map, write_confidence
from hypercover.libsvm.data import read_libsvm, summarize_libsvm
from hypercover.libsvm.positions import (
    Positions,
    positions_path,
    read_positions,
    read_prediction,
)
from hypercover.prediction.map_prediction import check_map_names
from hypercover.scene.grid import with_grid
from hypercover.scene.io.file_types import local_file
from hypercover.scene.io.limits import check_cube_size
from hypercover.scene.io.writing import write_labels, write_scene
from hypercover.scene.legend import MAX_CODE, Legend
from hypercover.scene.metadata import with_header
from hypercover.scene.scene import Scene
from hypercover.scene.tiling import Fetch, Indices, LazyArray
from hypercover.types import Array, Ints, Progress


def map_prediction(
    predicted: Path, positions: Path, out: Path, *, confidence: Path | None = None
) -> int:
    """Make a georeferenced map from the output of svm-predict and return its pixels.

    Raises
    ------
    CallError
        If the prediction does not belong to the samples with these positions.
    """
    check_map_names(out, confidence)
    samples = read_positions(positions)
    codes, shares = read_prediction(predicted, len(samples))
    if confidence is not None and shares is None:
        raise CallError(
            f"{predicted} holds no probabilities; predict with svm-predict -b 1."
        )
    class_map: Any = samples.to_map(codes, 0, str(predicted))
    write_class_map(
        out, class_map, samples.legend, samples.grid, simulated=samples.simulated
    )
    if confidence is not None and shares is not None:
        share_map: Any = samples.to_map(shares, np.nan, str(predicted))
        write_confidence(confidence, share_map, samples.grid, simulated=samples.simulated)
    return len(samples)


@dataclass(frozen=True, eq=False)
class _Samples:
    """The samples of some data files of one scene."""

    files: tuple[Path, ...]
    positions: Positions
    """Metadata of the first file."""
    legend: Legend
    rows: Ints
    cols: Ints
    labels: Ints
    values: Array


def read_data(
    files: Sequence[Path],
    out: Path,
    *,
    positions: Path | None = None,
    progress: Progress | None = None,
) -> list[Path]:
    """Turn LIBSVM data with positions into a scene and its labels, or into arrays.

    Parameters
    ----------
    files : data files of one scene, such as its training and its test file
    out : ``.npz`` for the arrays X, y, row, col and feature, or only X and y for files
        without positions; or the image to write (GeoTIFF or ENVI), without data where
        there is no sample, with ``…-labels.tif`` next to it
    positions : the positions file of a single data file; by default the one next to
        each file

    Returns
    -------
    list of path
        The files that were written.

    Raises
    ------
    CallError
        If the files are of different scenes, share a pixel, do not fit their positions,
        or have no positions and ``out`` is an image.
    """
    for file in files:
        local_file(file)
    if positions is not None and len(files) > 1:
        raise CallError(
            f"One positions file belongs to one data file, got {len(files)} files; leave "
            "--positions out, and those next to the files are read."
        )
    arrays = out.suffix.lower() == ".npz"
    if positions is None and not any(positions_path(file).exists() for file in files):
        if not arrays:
            raise CallError(
                f"{files[0]} has no positions file, so its samples have no position; write "
                "them as arrays (-o NAME.npz), or give the positions with --positions."
            )
        return _write_arrays(out, **_without_positions(files, progress))
    samples = _joined(files, positions, progress)
    if arrays:
        return _write_arrays(
            out, X=samples.values, y=samples.labels, row=samples.rows, col=samples.cols,
            feature=np.array(samples.positions.features))  # fmt: skip
    scene = _scene(samples)
    written = [write_scene(scene, out)]
    if scene.labels is not None and scene.labels.any():
        labels = out.with_name(f"{out.stem}-labels.tif")
        written.append(write_labels(scene.labels, scene.legend, scene.grid, labels))
    return written


def _write_arrays(out: Path, **arrays: Array) -> list[Path]:
    with atomic(out) as draft:
        np.savez(draft, **arrays)  # type: ignore[arg-type]
    return [out]


def _without_positions(
    files: Sequence[Path], progress: Progress | None
) -> dict[str, Array]:
    """Read the values and labels of samples without positions."""
    # The last features may be zero, and so left out, in some of the files.
    width = max(summarize_libsvm(file).largest for file in files)
    read = [read_libsvm(file, max(width, 1), progress=progress) for file in files]
    labels, values = zip(*read, strict=True)
    return {"X": np.concatenate(values), "y": np.concatenate(labels)}


def _joined(
    files: Sequence[Path], positions: Path | None, progress: Progress | None
) -> _Samples:
    """Read data files with their positions and check that they are of one scene."""
    parts = [
        _read_part(file, positions or positions_path(file), progress) for file in files
    ]
    first = parts[0][0]
    for file, (part, _, _) in zip(files, parts, strict=True):
        same = (part.grid, part.features, part.dtype, part.seen)
        if same != (first.grid, first.features, first.dtype, first.seen):
            raise CallError(
                f"{files[0]} and {file} are of different scenes or features; read them one "
                "by one."
            )
    rows, cols = (
        np.concatenate([getattr(part, axis) for part, _, _ in parts])
        for axis in ("rows", "cols")
    )
    if len(np.unique(rows * first.grid.cols + cols)) < len(rows):
        raise CallError(
            f"{' and '.join(map(str, files))} share a pixel; read them one by one."
        )
    classes = {land.code: land for part, _, _ in parts for land in part.legend}
    labels, values = (np.concatenate([part[at] for part in parts]) for at in (1, 2))
    legend = Legend(tuple(classes.values()))
    return _Samples(tuple(files), first, legend, rows, cols, labels, values)


def _read_part(
    file: Path, path: Path, progress: Progress | None
) -> tuple[Positions, Ints, Array]:
    """Read a data file: its positions, labels and values."""
    positions = read_positions(path)
    labels, values = read_libsvm(
        file,
        positions.n_features,
        dense=positions.dense,
        dtype=positions.dtype,
        progress=progress,
    )
    if len(labels) != len(positions):
        raise CallError(
            f"{file} holds {len(labels)} samples, its positions file {len(positions)}; give "
            "the positions file that was written with the data."
        )
    if not 0 <= labels.min() <= labels.max() <= MAX_CODE:
        raise CallError(
            f"{file} holds labels from {labels.min()} to {labels.max()}, but class codes must "
            f"be integers from 0 (unlabelled) to {MAX_CODE}."
        )
    return positions, labels, values


def _scene(samples: _Samples) -> Scene:
    """Return samples as a scene without data elsewhere."""
    known = samples.positions
    grid, dtype = known.grid, np.dtype(known.dtype)
    shape = (known.n_features, *grid.shape)
    check_cube_size(shape, f"The scene of {samples.files[0]}")
    labels = np.zeros(grid.shape, np.uint16)
    labels[samples.rows, samples.cols] = samples.labels
    data = LazyArray(shape, dtype, _fetch(samples, dtype)).as_variable_data()
    cube = xr.Variable(("band", "y", "x"), data)
    array = xr.DataArray(cube, coords=_coordinates(known))
    if dtype.kind == "f":
        array.attrs["nodata"] = float("nan")
    else:
        array = array.assign_coords(has_data=(("y", "x"), labels != 0))
    array = with_header(array, known.header)
    scene = Scene(with_grid(array, grid), name=known.scene, simulated=known.simulated)
    return scene.with_labels(labels, samples.legend)


def _fetch(samples: _Samples, dtype: np.dtype[Any]) -> Fetch:
    """Return a function that fills any part of the cube, which is never held whole."""
    order = np.argsort(samples.rows, kind="stable")
    rows, cols, values = samples.rows[order], samples.cols[order], samples.values[order]
    # Integers have no NaN: the scene's mask marks pixels without a sample.
    fill = np.nan if dtype.kind == "f" else 0

    def fetch(indices: Indices) -> Array:
        bands, down, across = indices
        some = slice(*np.searchsorted(rows, [down.min(), down.max() + 1]))
        shape = (len(bands), down.max() + 1 - down.min(), across.max() + 1)
        piece = np.full(shape, fill, dtype=dtype)
        inside = cols[some] < shape[2]
        at = rows[some][inside] - down.min(), cols[some][inside]
        piece[:, *at] = values[some][inside][:, bands].T
        return piece[:, down - down.min()][:, :, across]

    return fetch


def _coordinates(positions: Positions) -> dict[str, Any]:
    """Return the coordinates of the bands."""
    bands = positions.bands or range(1, positions.n_features + 1)
    coordinates: dict[str, Any] = {"band": np.array(bands)}
    if positions.bands is None:
        coordinates["band_name"] = ("band", np.array(positions.features))
    for name, key in (("wavelength", "wavelengths"), ("fwhm", "fwhm"), ("bad", "bad")):
        if (values := getattr(positions, key)) is not None:
            coordinates[name] = ("band", np.array(values))
    return coordinates
