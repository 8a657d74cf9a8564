"""Writing window files of scenes and splits, and matching them for a training."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from hypercover.errors import LabelError, ModelError, SceneError, SplitError, counted
from hypercover.files import check_writable
from hypercover.scene.file_identity import FileRecord
from hypercover.scene.samples import Samples, check_window
from hypercover.scene.scene import Scene
from hypercover.scene.tiling import strips
from hypercover.splits.random_split import draw_validation
from hypercover.splits.split import PARTS, Split, check_trainable
from hypercover.types import Array, Bytes, Indices, Progress
from hypercover.windows import window_file
from hypercover.windows.window_writer import WindowWriter
from hypercover.windows.windows import Windows

_STRIP, _MOST_STRIP, _TILE = 2**23, 2**25, 64
"""Bytes of the scene read at once, at most bytes read at once, and rows of a tile."""
_PIECE = 2**25
"""Bytes of windows cut at once."""


def plan_windows(
    scene: Scene,
    out: str | Path,
    *,
    size: int = 9,
    split: Split | None = None,
    coordinates_only: bool = False,
    made: Any = None,
) -> WindowWriter:
    """Return the writer of the windows around all labelled pixels of a scene.

    Parameters
    ----------
    scene : the image, which may be larger than memory, and its labels
    out : path of the HDF5 file
    size : side of the windows in pixels
    split : the parts to record for the windows
    coordinates_only : leave out the windows, which can be cut from the scene again
    made : plain values that say how the scene was made from its file

    Raises
    ------
    CallError
        If the window does not fit, nothing is labelled, or the split has another size.
    OutputError
        If the file cannot be written.
    """
    check_window(size, scene.shape)
    scene.check_range()
    samples = Samples.of(scene.usable_labels)
    part = np.full(len(samples), window_file.NO_PART, np.uint8)
    if split is not None:
        split.samples("train", scene.usable_labels)
        part = split.parts[samples.rows, samples.cols]
    some = samples.take(window_file.evenly_spaced(len(samples)))
    metadata = window_file.WindowMetadata.of(
        scene, size, split, contents="coordinates" if coordinates_only else "windows"
    )
    sums = window_file.checksums(scene, some, size, metadata.dtype)
    metadata = metadata.model_copy(update={"checksums": sums})
    source, inputs = Path(scene.source), FileRecord(WindowWriter.inputs_of(Path(out)))
    identity = [made, inputs.identity(source if source.is_file() else None), scene.notes]
    return WindowWriter(
        check_writable(out), metadata, samples, part, identity=identity, inputs=inputs
    )


def write_windows(
    scene: Scene, out: str | Path, progress: Progress | None = None, **options: Any
) -> window_file.WindowFile:
    """Write a window file and open it; the options are those of :func:`plan_windows`.

    Parameters
    ----------
    scene : Scene
        With labels.
    out : path
        HDF5 file to write.
    progress : callable, optional
        Called with the number of windows that are written, and of all.

    Raises
    ------
    CallError, OutputError
        As :func:`plan_windows`; or if the disk is full.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> scene = Scene.from_array(np.ones((2, 5, 5), np.float32), labels=np.eye(5, dtype=int))
    >>> with TemporaryDirectory() as folder:
    ...     write_windows(scene, f"{folder}/windows.h5", size=3).shape
    (5, 2, 3, 3)
    """
    writer = plan_windows(scene, out, **options)
    with writer.begun() as draft:
        writer.check_space(draft.done)
        draft.write(window_pieces(scene, writer), progress)
    return window_file.WindowFile(out)


def window_pieces(scene: Scene, writer: WindowWriter) -> Callable[[int], Iterator[Array]]:
    """Return a function that cuts the windows after a number of them, strip by strip."""
    samples, metadata = writer.samples, writer.metadata
    step = max(1, _PIECE // metadata.window_bytes)
    row_bytes = scene.n_bands * scene.shape[1] * scene.cube.dtype.itemsize
    # Large enough that few rows are read twice.
    height = max(metadata.window, _STRIP // row_bytes, min(_TILE, _MOST_STRIP // row_bytes))

    def after(start: int) -> Iterator[Array]:
        for rows in strips(scene.shape[0], height):
            first, end = np.searchsorted(samples.rows, [rows.start, rows.stop]).tolist()
            first = max(first, start)
            if first < end:
                inside = samples.take(np.arange(first, end))
                windows = Windows.near(scene, inside, metadata.window)
                for top in range(0, end - first, step):
                    yield windows[top : top + step].cut().astype(metadata.dtype, copy=False)

    return after


def split_of(
    path: Path, scene: Scene, *, validation: float = 0.0, seed: int = 0, window: int = 1
) -> Split:
    """Return the split that is recorded in a window file, for the labels of a scene.

    Parameters
    ----------
    path : the file
    scene : the scene that its windows were cut from
    validation : share of the training pixels of each class to set aside, if the file has
        no validation part
    seed : seed of that draw
    window : side of the windows the split is made for

    Raises
    ------
    SplitError
        If the file was written without a split, or from another image.
    """
    windows, labels = window_file.WindowFile(path), scene.usable_labels
    metadata = windows.metadata
    _check_labels(windows, labels)
    if (windows.part == window_file.NO_PART).all():
        raise SplitError(
            f"{windows.path} was written without a split; write it with --split or --train."
        )
    parts = np.zeros(scene.shape, np.uint8)
    parts[windows.rows, windows.cols] = np.where(
        windows.part == window_file.NO_PART, 0, windows.part
    )
    parts[labels == 0] = 0
    if validation:
        _set_aside(parts, labels, validation, seed, windows.path)
    settings = {"kind": metadata.split, "validation": validation}
    settings |= metadata.split_settings | ({"validation": validation} if validation else {})
    name = windows.path.name
    notes = [f"The parts of {name}, made by a split of kind {metadata.split}."]
    with_window = np.count_nonzero(labels[windows.rows, windows.cols])
    if missing := np.count_nonzero(labels) - with_window:
        notes.append(f"Labelled pixels without a window in {name}: {missing:,}, unused.")
    split = Split(
        parts,
        kind="windows",
        seed=seed,
        settings=settings | {"file": name},
        window=window,
        notes=tuple(notes),
    )
    return check_trainable(split, labels)


def _set_aside(parts: Bytes, labels: Array, share: float, seed: int, path: Path) -> None:
    """Draw validation pixels from the training part."""
    train, validation = (PARTS.index(name) for name in ("train", "validation"))
    if (parts == validation).any():
        raise SplitError(
            f"{path} already has a validation part; leave out the validation share of {share}."
        )
    codes = labels.astype(np.int64)
    drawn = draw_validation(codes, parts == train, share, np.random.default_rng(seed))
    parts[drawn] = validation


def _check_labels(windows: window_file.WindowFile, labels: Array) -> None:
    """Check that a file has the size and the labels of the scene."""
    if windows.metadata.grid.shape != labels.shape:
        rows, cols = windows.metadata.grid.shape
        raise SplitError(
            f"{windows.path} is of an image of {rows} × {cols} pixels, the labels are "
            f"{labels.shape[0]} × {labels.shape[1]}; give the file of this scene."
        )
    here = labels[windows.rows, windows.cols].astype(np.int64)
    other = int(np.count_nonzero((here > 0) & (here != windows.labels)))
    if other:
        raise LabelError(
            f"{counted(other, 'window')} of {windows.path} have another class than the labels "
            "of the scene; write the file from these labels."
        )


def match_windows(
    windows: window_file.WindowFile, scene: Scene, samples: Samples, window: int
) -> window_file.WindowFile:
    """Return the windows of a file around samples of a scene, in their order.

    Raises
    ------
    ModelError
        If the windows are of another size.
    SceneError
        If they were cut from another scene, or their values differ.
    LabelError
        If a sample has no window, or its label differs.
    """
    check_side(windows, window)
    window_file.check_same_scene(windows, scene)
    matched: window_file.WindowFile = windows[_places(windows, samples, scene.shape[1])]
    if not np.array_equal(matched.labels, samples.labels):
        raise LabelError(
            f"The labels in {windows.path} differ from those of {scene.name}; write the file again."
        )
    if windows.stored and len(samples):
        _compare(matched, scene, samples)
    return matched


def check_side(windows: window_file.WindowFile, window: int) -> None:
    """Check that windows have the size that a model takes.

    Raises
    ------
    ModelError
        If the sizes differ.
    """
    if windows.window != window:
        raise ModelError(
            f"The windows of {windows.path} have {windows.window} × {windows.window} pixels, "
            f"but the model takes {window} × {window}; set window: {windows.window}, or write "
            "windows of that size."
        )


def windows_for(
    path: Path, scene: Scene, samples: Samples, window: int
) -> window_file.WindowFile:
    """Open a window file and return the windows around samples of a scene.

    Raises
    ------
    CallError
        As :func:`match_windows`.
    """
    matched = match_windows(window_file.WindowFile(path), scene, samples, window)
    return matched if matched.stored else matched.seen_in(scene)


def _places(windows: window_file.WindowFile, samples: Samples, cols: int) -> Indices:
    """Return the position in a file of the window of each sample."""
    pixels = windows.rows * cols + windows.cols
    centres = samples.rows.astype(np.int64) * cols + samples.cols
    order = np.argsort(pixels)
    near = np.searchsorted(pixels, centres, sorter=order).clip(max=len(pixels) - 1)
    places: Indices = order[near]
    missing = np.flatnonzero(pixels[places] != centres)
    if len(missing):
        first = missing[0]
        raise LabelError(
            f"{windows.path} lacks windows for {len(missing):,} of the {len(samples):,} "
            f"training pixels, the first in row {samples.rows[first]}, column "
            f"{samples.cols[first]} (counted from 0); write it from these labels."
        )
    return places


def _compare(windows: window_file.WindowFile, scene: Scene, samples: Samples) -> None:
    """Compare some windows with those that the scene gives."""
    some = window_file.evenly_spaced(len(samples))
    expected = Windows.of(scene, samples.take(some), windows.window).cut()
    if not np.array_equal(windows[some].cut(), expected):
        raise SceneError(
            f"The windows of {windows.path} have other values than {scene.name} at the same "
            "positions; write the file again from this scene."
        )
