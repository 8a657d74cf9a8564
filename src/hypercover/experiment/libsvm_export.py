"""The lecture's data sets from one scene: LIBSVM files, raw and processed, and windows."""

import logging
import shlex
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hypercover.classifiers.bundle import Bundle, load_bundle, save_bundle
from hypercover.errors import CallError, LabelError, ModelError
from hypercover.experiment.window_export import plan_windows, window_pieces
from hypercover.files import check_writable
from hypercover.libsvm.data import write_libsvm
from hypercover.libsvm.models import write_ranges
from hypercover.libsvm.positions import Positions, positions_beside, write_positions
from hypercover.prediction.map_prediction import legend_from_card
from hypercover.prediction.model_input import (
    check_values,
    convert_to_model_scale,
    describe_training_image,
    select_model_bands,
)
from hypercover.scene.legend import MAX_CODE, Legend
from hypercover.scene.metadata import acquisition_header
from hypercover.scene.samples import Samples, check_window
from hypercover.scene.scene import Scene
from hypercover.splits.split import Split

__all__ = [
    "PixelFeatures",
    "Ranges",
    "WrittenSet",
    "export_model",
    "import_model",
    "reduce_view",
    "scale_view",
    "svm_bundle",
    "training_samples",
    "view_bands",
    "view_chain",
    "view_model",
    "write_data",
    "write_sets",
]

_log = logging.getLogger(__name__)

_PARTS = {"train": "training", "validation": "validation", "test": "test"}

Progress = Callable[[int, int], None]

Values = npt.NDArray[np.generic]

Ranges = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]
"""Smallest and largest value of each feature."""


@dataclass(frozen=True, eq=False)
class PixelFeatures:
    """What is written of each pixel: bands, image features, or what a model's machines see."""

    scene: Scene
    """The scene whose values are written, in the place of its bands."""
    seen: str
    """What the values are, in a few words."""
    look: Callable[[Values], Values] | None = None
    """Turns values (n, band) of the scene into features; None leaves them."""
    count: int | None = None
    """Number of features that ``look`` makes; None = one for each band."""
    looked: str = "float64"
    """Type of what ``look`` returns."""

    @property
    def features(self) -> tuple[str, ...]:
        """Name of each feature."""
        if self.count is not None:
            return tuple(f"feature {place}" for place in range(1, self.count + 1))
        if "band_name" in self.scene.cube.coords:
            return tuple(map(str, self.scene.cube.coords["band_name"].values))
        return tuple(f"band {number}" for number in self.scene.bands)

    @property
    def _of_bands(self) -> bool:
        return self.count is None and "band_name" not in self.scene.cube.coords

    @property
    def dtype(self) -> str:
        """Type of the values."""
        kept = self.scene.cube.dtype
        if self.look is not None:
            return self.looked
        return "uint8" if kept.kind == "b" else kept.name

    def positions(self, samples: Samples, part: str, *, dense: bool) -> Positions:
        """Return all that is to be known beside the values of some samples."""
        scene, of_bands = self.scene, self._of_bands
        return Positions(
            samples.rows,
            samples.cols,
            scene.grid,
            scene.legend,
            self.features,
            bands=tuple(scene.bands.tolist()) if of_bands else None,
            wavelengths=_known(scene.wavelengths) if of_bands else None,
            fwhm=_known(scene.fwhm) if of_bands else None,
            bad=tuple(scene.bad.tolist()) if of_bands and scene.bad.any() else None,
            header=scene.header if of_bands else acquisition_header(scene.header),
            part=part,
            dtype=self.dtype,
            dense=dense,
            scene=scene.name,
            simulated=scene.simulated,
            seen=self.seen,
        )

    def blocks(
        self, samples: Samples, progress: Progress | None = None
    ) -> Iterator[tuple[npt.NDArray[np.int64], Values]]:
        """Read labels and values of samples, which lie row by row, strip by strip."""
        for rows in self.scene.strips():
            first, end = np.searchsorted(samples.rows, [rows.start, rows.stop]).tolist()
            part = samples.take(np.arange(first, end))
            if len(part):
                cube = self.scene.read(rows, slice(None))
                values = np.ascontiguousarray(cube[:, part.rows - rows.start, part.cols].T)
                yield part.labels, values if self.look is None else self.look(values)
            if progress is not None:
                progress(rows.stop, self.scene.shape[0])


def _known(values: npt.NDArray[np.float64] | None) -> tuple[float, ...] | None:
    """Return the value of every band, or None where one is not known."""
    known = values is not None and np.isfinite(values).all()
    return tuple(values.tolist()) if values is not None and known else None


def view_bands(scene: Scene) -> PixelFeatures:
    """See the bands of a scene as they are."""
    return PixelFeatures(scene, "bands")


def view_chain(
    scene: Scene, chain: str, *, seed: int = 0, progress: Progress | None = None
) -> PixelFeatures:
    """See the image features that a chain makes of a scene.

    Raises
    ------
    CallError
        If the chain is not understood or cannot learn from the scene.
    """
    from hypercover.features.chain import Chain

    made = Chain.parse(chain)
    return PixelFeatures(made.fit_transform(scene, seed=seed, progress=progress), made.text)


def reduce_view(view: PixelFeatures, samples: Samples, nwfe: int) -> PixelFeatures:
    """See the features that NWFE makes of a view, learnt from training samples.

    Parameters
    ----------
    view : what is seen of each pixel
    samples : training pixels with their classes, row by row
    nwfe : number of features; 0 leaves the view as it is

    Raises
    ------
    LabelError, ExperimentError
        If the samples cannot teach so many features.
    """
    if not nwfe:
        return view
    from hypercover.classifiers.svm.svm_classifier import SVMClassifier
    from hypercover.features.nwfe import NWFE

    svm = SVMClassifier(reduction=NWFE(nwfe))
    svm.fit_preprocessing(_values(view, samples), samples.labels)
    return PixelFeatures(view.scene, f"{view.seen}, nwfe:{nwfe}", svm.preprocess, nwfe)


def scale_view(view: PixelFeatures, samples: Samples) -> tuple[PixelFeatures, Ranges]:
    """Scale each feature to 0 to 1 over the training samples, as ``svm-scale -l 0`` does.

    Parameters
    ----------
    view : what is seen of each pixel
    samples : training pixels, row by row

    Returns
    -------
    PixelFeatures
        The scaled features; other pixels may lie outside 0 to 1, and a feature that is
        constant over the samples is 0.
    tuple of array (feature,)
        Smallest and largest value of each feature over the samples.
    """
    values = _values(view, samples)
    low = values.min(axis=0).astype(np.float64)
    high = values.max(axis=0).astype(np.float64)
    width = np.where(high > low, high - low, np.inf)

    def look(block: Values) -> Values:
        seen = block if view.look is None else view.look(block)
        unit: Values = ((seen - low) / width).astype(np.float32)
        return unit

    seen = f"{view.seen}, scaled to 0 to 1 by the training pixels"
    return PixelFeatures(view.scene, seen, look, view.count, "float32"), (low, high)


def _values(view: PixelFeatures, samples: Samples) -> Values:
    """Read the values (n, feature) of samples that lie row by row."""
    return np.concatenate([values for _, values in view.blocks(samples)])


def view_model(
    scene: Scene, model: Path, *, progress: Progress | None = None
) -> PixelFeatures:
    """See what the machines of a kept SVM see: scaled and perhaps reduced values.

    Raises
    ------
    ModelError
        If the model is no SVM or does not fit the scene.
    """
    bundle = svm_bundle(model)
    seen = convert_to_model_scale(bundle.card, select_model_bands(bundle.card, scene))
    for sentence in check_values(bundle.card, scene, seen):
        _log.warning(sentence)
    scene = seen
    if bundle.features is not None:
        from hypercover.features.chain import Chain

        scene = Chain.from_state(*bundle.features).transform(scene, progress=progress)
    svm, own = bundle.classifier, legend_from_card(bundle.card)
    # What svm-predict will answer are classes of the model, labelled here or not.
    more = (land for land in own if land.code not in scene.legend)
    scene = scene.replace(legend=Legend((*scene.legend, *more)))
    reduced = None if svm.projection_ is None else len(svm.projection_)
    return PixelFeatures(
        scene, f"what the model {model.name} sees", svm.preprocess, reduced
    )


def write_data(
    view: PixelFeatures,
    out: Path,
    *,
    split: Split | None = None,
    every: bool = False,
    sparse: bool = False,
    joint: str = "-",
    progress: Progress | None = None,
) -> dict[Path, int]:
    """Write pixels of a scene as LIBSVM files, each with its positions beside it.

    Parameters
    ----------
    view : what is written of each pixel
    out : path of the file; with a split, ``F.el`` becomes ``F-training.el`` and so on
    split : which pixels go into which file; all labelled ones into one by default
    every : write every pixel with data, labelled 0 where it has no label
    sparse : leave zeros out
    joint : what stands between the name of the file and that of a part

    Returns
    -------
    dict
        The files and the samples in each.

    Raises
    ------
    LabelError
        If there are no labels and not every pixel is asked for.
    OutputError
        If a file cannot be written.
    """
    check_writable(out)
    found, written = _samples(view.scene, split, every), {}
    names = {part: out if split is None else _named(out, joint, part) for part in found}
    for named in names.values():
        check_writable(named)
        check_writable(positions_beside(named))
    for part, samples in found.items():
        named = names[part]
        positions = view.positions(samples, part, dense=not sparse)
        written[named] = write_libsvm(named, view.blocks(samples, progress), sparse=sparse)
        write_positions(positions_beside(named), positions)
    return written


def _named(out: Path, joint: str, part: str) -> Path:
    return out.with_name(f"{out.stem}{joint}{part}{out.suffix}")


def _samples(scene: Scene, split: Split | None, every: bool) -> dict[str, Samples]:
    """Return the samples of each file by the name of their part."""
    if every and split is not None:
        raise CallError(
            "Every pixel and the parts of a split cannot be written at once; call it twice."
        )
    scene.check_range()
    if every:
        rows, cols = np.nonzero(scene.valid)
        codes = np.zeros(scene.shape, np.uint8) if scene.labels is None else scene.labels
        return {"all": Samples(rows, cols, codes[rows, cols].astype(np.int64))}
    labels = scene.usable_labels
    if split is None:
        return {"labelled": _some(Samples.of(labels), scene)}
    found = {name: split.samples(part, labels) for part, name in _PARTS.items()}
    return {name: samples for name, samples in found.items() if len(samples)}


def training_samples(scene: Scene, split: Split | None) -> Samples:
    """Return the training pixels of a split, or all labelled pixels without one.

    Raises
    ------
    LabelError
        If there is none.
    """
    labels = scene.usable_labels
    if split is not None:
        return split.samples("train", labels)
    return _some(Samples.of(labels), scene)


def _some(samples: Samples, scene: Scene) -> Samples:
    if not len(samples):
        raise LabelError(
            f"No labelled pixel of {scene.name} lies on a pixel with data; give labels made "
            "for this image."
        )
    return samples


def svm_bundle(model: Path) -> Bundle:
    """Load a bundle that LIBSVM could hold.

    Raises
    ------
    ModelError
        If it is no SVM, or damaged.
    """
    bundle = load_bundle(model)
    if bundle.kind != "svm":
        raise ModelError(
            f"LIBSVM holds support vector machines, but the model in {model} is of the kind "
            f"{bundle.kind}; give the folder of an SVM."
        )
    return bundle


def export_model(model: Path, out: Path) -> tuple[Path | None, str]:
    """Write a kept SVM as a LIBSVM model file and, where it can be, its scaling beside it.

    Returns
    -------
    Path or None
        The range file for ``svm-scale -r``; None where the machines see more
        than scaled bands.
    str
        How data for the exported model are made, in one sentence.

    Raises
    ------
    ModelError
        If the model is no SVM or its classes are no whole numbers.
    """
    from hypercover.libsvm.models import model_of, write_model, write_range

    bundle = svm_bundle(model)
    svm = bundle.classifier
    write_model(out, model_of(svm))
    # The name of svm-scale's own file, F.range, is somebody else's.
    beside = out.with_name(f"{out.name}.range")
    write = f"hypercover libsvm write SCENE --model {shlex.quote(str(model))}"
    if bundle.features is None and svm.projection_ is None:
        write_range(beside, svm)
        return beside, (
            f"The model sees scaled bands: scale raw data with svm-scale -r {shlex.quote(str(beside))}, or, "
            f"with every digit, write them with {write}."
        )
    beside.unlink(missing_ok=True)
    what = "reduced bands" if bundle.features is None else "image features"
    return (
        None,
        f"The model sees {what}, which svm-scale cannot make: write data with {write}.",
    )


def import_model(file: Path, scene: Scene, out: Path, *, ranges: Path | None = None) -> str:
    """Keep a LIBSVM model as a bundle for scenes like the one given; say what it is.

    Parameters
    ----------
    file : a C-SVC model with an RBF kernel
    scene : image with the bands that are the model's features, in their order;
        its legend names the classes
    out : folder of the bundle
    ranges : file of ``svm-scale -s``, where the model was trained on scaled data

    Raises
    ------
    ModelError
        If the model is of another kind or damaged, or wants more features than
        the scene has bands, or knows a class no map can hold.
    """
    from hypercover.libsvm.models import read_model, read_range

    model = read_model(file, scene.n_bands)
    if not all(1 <= label <= MAX_CODE for label in model.labels):
        raise ModelError(
            f"{file} knows the labels {', '.join(map(str, model.labels[:8]))}, but class codes "
            f"are whole numbers from 1 to {MAX_CODE}; train it with class codes."
        )
    scaling = (None, None) if ranges is None else read_range(ranges, scene.n_bands)
    vectors = len(model.machines.vectors)
    said = f"RBF SVM imported from LIBSVM, {vectors} support vectors"
    card = {
        "name": file.stem,
        "description": said,
        "trained_on": f"the data of {file.name}",
        "legend": scene.legend.covering(model.labels).to_json(),
        "preprocessing": "none" if ranges is None else f"svm-scale, from {ranges.name}",
        # On which values it was trained only the data told.
        **describe_training_image(scene, ranges=False),
        "window": 1,
    }
    save_bundle(out, model.classifier(*scaling), card)
    return f"{said}, {len(model.labels)} classes, {scene.n_bands} bands"


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


def _write(
    view: PixelFeatures, split: Split, target: Path, watch: Watch
) -> list[WrittenSet]:
    with watch(f"Writing {target.name}") as progress:
        files = write_data(view, target, split=split, joint="_", progress=progress)
    return [WrittenSet(path, count, view.seen) for path, count in files.items()]


def _processed(
    scene: Scene, train: Samples, chain: str, nwfe: int, seed: int, watch: Watch
) -> PixelFeatures:
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
