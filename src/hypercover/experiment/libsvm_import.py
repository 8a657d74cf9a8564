"""From LIBSVM files back to land: predictions become maps, data become scenes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from hypercover.errors import CallError
from hypercover.files import atomic
from hypercover.gis.class_map_files import write_class_map, write_confidence
from hypercover.libsvm.data import read_libsvm, survey_libsvm
from hypercover.libsvm.positions import (
    Positions,
    positions_beside,
    read_positions,
    read_prediction,
)
from hypercover.prediction.map_prediction import check_map_names
from hypercover.scene.grid import with_grid
from hypercover.scene.io.file_types import local_file
from hypercover.scene.io.limits import check_cube_size
from hypercover.scene.io.writing import write_labels, write_scene
from hypercover.scene.lazy import Fetch, Indices, LazyArray
from hypercover.scene.legend import MAX_CODE, Legend
from hypercover.scene.metadata import with_header
from hypercover.scene.scene import Scene

__all__ = ["map_prediction", "restore"]

Progress = Callable[[int, int], None]


def map_prediction(
    predicted: Path, positions: Path, out: Path, *, confidence: Path | None = None
) -> int:
    """Make a georeferenced map of what svm-predict wrote; return the pixels in it.

    Raises
    ------
    CallError
        If the prediction is not one of the samples that have these positions.
    """
    check_map_names(out, confidence)
    places = read_positions(positions)
    codes, sure = read_prediction(predicted, len(places))
    if confidence is not None and sure is None:
        raise CallError(
            f"{predicted} holds no probabilities; predict with svm-predict -b 1."
        )
    laid: Any = places.spread(codes, 0, str(predicted))
    write_class_map(out, laid, places.legend, places.grid, simulated=places.simulated)
    if confidence is not None and sure is not None:
        shares: Any = places.spread(sure, np.nan, str(predicted))
        write_confidence(confidence, shares, places.grid, simulated=places.simulated)
    return len(places)


@dataclass(frozen=True, eq=False)
class _Part:
    """One data file with its positions."""

    file: Path
    places: Positions
    labels: npt.NDArray[np.int64]
    values: npt.NDArray[np.generic]


def restore(
    files: Sequence[Path],
    out: Path,
    *,
    positions: Path | None = None,
    progress: Progress | None = None,
) -> list[Path]:
    """Write LIBSVM data with positions as a scene and its labels, or as arrays; return the files.

    Parameters
    ----------
    files : data files of one scene, such as its training and its test file
    out : ``.npz`` for the arrays X, y, row, col and feature, or X and y alone of files
        without positions, as published ones are; else the image to write (GeoTIFF or
        ENVI), without data where no sample lies, and beside it ``…-labels.tif``
    positions : the positions file of a single data file; that beside each by default

    Raises
    ------
    CallError
        If the files are of different scenes, hold a pixel twice, do not fit their
        positions, or have none and an image is wanted.
    """
    for file in files:
        local_file(file)
    if positions is not None and len(files) > 1:
        raise CallError(
            f"One positions file belongs to one data file, got {len(files)} files; leave "
            "--positions out, and those beside the files are read."
        )
    if positions is None and not any(positions_beside(file).exists() for file in files):
        return [_write_bare(files, out, progress)]
    parts = [_part(file, positions or positions_beside(file), progress) for file in files]
    _check_apart(parts)
    if out.suffix.lower() == ".npz":
        return [_write_arrays(parts, out)]
    return _write_scene(_scene(parts), out)


def _write_bare(files: Sequence[Path], out: Path, progress: Progress | None) -> Path:
    """Write samples that have no place as plain arrays."""
    if out.suffix.lower() != ".npz":
        raise CallError(
            f"{files[0]} has no positions file, so its samples have no place; write them "
            "as arrays (-o NAME.npz), or give the positions with --positions."
        )
    # The last features may be zero, and so left out, in one of the files alone.
    width = max(survey_libsvm(file).largest for file in files)
    read = [read_libsvm(file, max(width, 1), progress=progress) for file in files]
    labels, values = zip(*read, strict=True)
    with atomic(out) as draft:
        np.savez(draft, X=np.concatenate(values), y=np.concatenate(labels))
    return out


def _part(file: Path, beside: Path, progress: Progress | None) -> _Part:
    """Read a data file in the type and with the number of features that are said of it."""
    places = read_positions(beside)
    labels, values = read_libsvm(
        file,
        places.n_features,
        dense=places.dense,
        dtype=places.dtype,
        progress=progress,
    )
    if len(labels) != len(places):
        raise CallError(
            f"{file} holds {len(labels)} samples, its positions file {len(places)}; give the "
            "positions file that was written with the data."
        )
    if not 0 <= labels.min() <= labels.max() <= MAX_CODE:
        raise CallError(
            f"{file} holds labels from {labels.min()} to {labels.max()}, but class codes are "
            f"whole numbers from 0 (unlabelled) to {MAX_CODE}."
        )
    return _Part(file, places, labels, values)


def _check_apart(parts: Sequence[_Part]) -> None:
    """Refuse parts of different scenes, and parts that share a pixel."""
    first = parts[0].places
    for part in parts[1:]:
        places = part.places
        same = (places.grid, places.features, places.dtype, places.seen)
        if same != (first.grid, first.features, first.dtype, first.seen):
            raise CallError(
                f"{parts[0].file} and {part.file} are of different scenes or features; read "
                "them one by one."
            )
    pixels = [part.places.rows * first.grid.cols + part.places.cols for part in parts]
    if len(np.unique(np.concatenate(pixels))) < sum(map(len, pixels)):
        raise CallError(
            f"{' and '.join(str(part.file) for part in parts)} share a pixel; read them one "
            "by one."
        )


def _write_arrays(parts: Sequence[_Part], out: Path) -> Path:
    """Write all samples as plain arrays."""
    with atomic(out) as draft:
        np.savez(
            draft,
            X=np.concatenate([part.values for part in parts]),
            y=np.concatenate([part.labels for part in parts]),
            row=np.concatenate([part.places.rows for part in parts]),
            col=np.concatenate([part.places.cols for part in parts]),
            feature=np.array(parts[0].places.features),
        )
    return out


def _scene(parts: Sequence[_Part]) -> Scene:
    """Lay all samples out as a scene; where none lies it holds no data."""
    places = parts[0].places
    grid, dtype = places.grid, np.dtype(places.dtype)
    check_cube_size((places.n_features, *grid.shape), f"The scene of {parts[0].file}")
    labels = np.zeros(grid.shape, np.uint16)
    for part in parts:
        labels[part.places.rows, part.places.cols] = part.labels
    fetch = _laid_out(parts, dtype)
    shape = (places.n_features, *grid.shape)
    data = LazyArray(shape, dtype, fetch).as_variable_data()
    cube = xr.Variable(("band", "y", "x"), data)
    array = xr.DataArray(cube, coords=_coordinates(places))
    if dtype.kind == "f":
        array.attrs["nodata"] = float("nan")
    else:
        array = array.assign_coords(has_data=(("y", "x"), labels != 0))
    array = with_header(array, places.header)
    classes = [land for part in parts for land in part.places.legend]
    legend = Legend(tuple({land.code: land for land in classes}.values()))
    scene = Scene(with_grid(array, grid), name=places.scene, simulated=places.simulated)
    return scene.with_labels(labels, legend)


def _laid_out(parts: Sequence[_Part], dtype: np.dtype[Any]) -> Fetch:
    """Return what lays out the samples of any piece, so that the cube is never whole."""
    rows, cols = (
        np.concatenate([getattr(part.places, axis) for part in parts])
        for axis in ("rows", "cols")
    )
    order = np.argsort(rows, kind="stable")
    rows, cols = rows[order], cols[order]
    values = np.concatenate([part.values for part in parts])[order]
    # Whole numbers have no NaN: the scene's mask tells where there is no sample.
    nothing = np.nan if dtype.kind == "f" else 0

    def fetch(wanted: Indices) -> npt.NDArray[np.generic]:
        bands, down, across = wanted
        some = slice(*np.searchsorted(rows, [down.min(), down.max() + 1]))
        shape = (len(bands), down.max() + 1 - down.min(), across.max() + 1)
        piece = np.full(shape, nothing, dtype=dtype)
        here = cols[some] < shape[2]
        held = values[some][here][:, bands]
        piece[:, rows[some][here] - down.min(), cols[some][here]] = held.T
        return piece[:, down - down.min()][:, :, across]

    return fetch


def _coordinates(places: Positions) -> dict[str, Any]:
    """Return what is known of the bands."""
    count = places.n_features
    known: dict[str, Any] = {"band": np.array(places.bands or range(1, count + 1))}
    if places.bands is None:
        known["band_name"] = ("band", np.array(places.features))
    columns = {"wavelength": places.wavelengths, "fwhm": places.fwhm, "bad": places.bad}
    return known | {
        name: ("band", np.array(values))
        for name, values in columns.items()
        if values is not None
    }


def _write_scene(scene: Scene, out: Path) -> list[Path]:
    """Write a scene and, where there are any, its labels beside it."""
    written = [write_scene(scene, out)]
    if scene.labels is not None and scene.labels.any():
        beside = out.with_name(f"{out.stem}-labels.tif")
        written.append(write_labels(scene.labels, scene.legend, scene.grid, beside))
    return written
