"""The lecture's data sets from one scene: LIBSVM files, raw and processed, and windows."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypercover.classifiers.libsvm_range import write_ranges
from hypercover.errors import CallError
from hypercover.experiment.libsvm import (
    View,
    reduce_view,
    scale_view,
    training_samples,
    view_bands,
    view_chain,
    write_data,
)
from hypercover.experiment.windows import plan_windows, window_pieces
from hypercover.files import check_writable
from hypercover.samples.samples import Samples
from hypercover.samples.split import Split
from hypercover.samples.window_size import check_window
from hypercover.scene.scene import Scene

__all__ = ["WrittenSet", "write_sets"]

Progress = Callable[[int, int], None]
Watch = Callable[[str], AbstractContextManager[Progress]]


@dataclass(frozen=True)
class WrittenSet:
    """A file of a data set."""

    path: Path
    """The file."""
    samples: int
    """Samples in it."""
    seen: str
    """What stands for each sample, in a few words."""


def _unwatched(_title: str) -> AbstractContextManager[Progress]:
    return nullcontext(lambda done, total: None)


def write_sets(
    scene: Scene,
    split: Split,
    folder: str | Path,
    *,
    name: str = "indian",
    chain: str = "lecture",
    nwfe: int = 30,
    window: int = 9,
    scale: bool = True,
    seed: int = 0,
    made: Any = None,
    watch: Watch = _unwatched,
) -> list[WrittenSet]:
    """Write what the lecture works on, as it is published.

    ``NAME_raw_training.el`` and ``NAME_raw_test.el`` hold the bands,
    ``NAME_processed_…`` the features that a chain makes of the image and NWFE of
    the training pixels, and ``NAME_windows.h5`` the windows around all labelled
    pixels with their parts.  The same split lies under all of them.

    Parameters
    ----------
    scene : the image and its labels, with bands and classes chosen
    split : which pixels train and which test
    folder : where to write
    name : what the names of the files begin with
    chain : image features of the processed files
    nwfe : features that NWFE makes of them; 0 leaves them as they are
    window : side of the windows in pixels; 0 leaves the windows out
    scale : scale bands and features to 0 to 1 over the training pixels, so that C and
        gamma mean what they mean in the lecture; ``NAME_raw.range`` and
        ``NAME_processed.range`` keep the ranges in the form of ``svm-scale -s``
    seed : seed of the image features
    made : plain values that say how the scene was made from its file
    watch : gives, for a title, a context whose value is called with (done, total)

    Raises
    ------
    CallError
        If the name is no file name, the window does not fit or the features cannot be made.
    OutputError
        If a file cannot be written.
    """
    if not name or Path(name).name != name:
        raise CallError(
            f"The files of a set stand in its folder, got the name {name[:60]!r}; give a name "
            "without slashes."
        )
    out = Path(folder)
    targets = {kind: out / f"{name}_{kind}.el" for kind in ("raw", "processed")}
    windows = check_writable(out / f"{name}_windows.h5")
    ranges = {kind: out / f"{name}_{kind}.range" for kind in targets}
    for target in (*targets.values(), *ranges.values()):
        check_writable(target)
    if window:
        check_window(window, scene.shape)
    train = training_samples(scene, split)
    # Before the first file: features that cannot be made must not leave half a set.
    views = {
        "raw": view_bands(scene),
        "processed": _processed(scene, train, chain, nwfe, seed, watch),
    }
    written = []
    for kind, view in views.items():
        if scale:
            view, (low, high) = scale_view(view, train)
            write_ranges(ranges[kind], low, high)
        written += _write(view, split, targets[kind], watch)
    if window:
        written.append(_write_windows(scene, split, windows, window, made, watch))
    return written


def _write(view: View, split: Split, target: Path, watch: Watch) -> list[WrittenSet]:
    with watch(f"Writing {target.name}") as progress:
        files = write_data(view, target, split=split, joint="_", progress=progress)
    return [WrittenSet(path, count, view.seen) for path, count in files.items()]


def _processed(
    scene: Scene, train: Samples, chain: str, nwfe: int, seed: int, watch: Watch
) -> View:
    """See the features of a chain, and what NWFE makes of them on the training pixels."""
    with watch("Image features") as progress:
        view = view_chain(scene, chain, seed=seed, progress=progress)
    return reduce_view(view, train, nwfe)


def _write_windows(
    scene: Scene, split: Split, out: Path, size: int, made: Any, watch: Watch
) -> WrittenSet:
    writer = plan_windows(scene, out, size=size, split=split, made=made)
    with writer.begun() as draft:
        writer.check_space(draft.done)
        with watch(f"Writing {out.name}") as progress:
            draft.write(window_pieces(scene, writer), progress)
    return WrittenSet(out, len(writer.samples), f"windows of {size} × {size} pixels")
