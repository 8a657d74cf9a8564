"""LIBSVM export: data files of a scene, SVMs as model files and back, and the lecture's sets."""

import shlex
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hypercover.classifiers.bundle import Bundle, load_bundle, save_bundle
from hypercover.errors import CallError, LabelError, ModelError
from hypercover.experiment.window_export import plan_windows, window_pieces
from hypercover.files import check_writable
from hypercover.libsvm.data import write_libsvm
from hypercover.libsvm.models import write_ranges
from hypercover.libsvm.positions import Positions, positions_path, write_positions
from hypercover.prediction.map_prediction import legend_from_card
from hypercover.prediction.model_input import (
    check_values,
    convert_to_model_scale,
    describe_training_image,
    select_model_bands,
)
from hypercover.scene.io.sample_metadata import known_values
from hypercover.scene.legend import MAX_CODE, Legend
from hypercover.scene.metadata import acquisition_header
from hypercover.scene.samples import Samples, check_window
from hypercover.scene.scene import Scene
from hypercover.splits.split import Split
from hypercover.types import Array, Floats, Ints, Progress

_PARTS = {"train": "training", "validation": "validation", "test": "test"}


Ranges = tuple[Floats, Floats]
"""Smallest and largest value of each feature."""


@dataclass(frozen=True, eq=False)
class PixelFeatures:
    """The features of each pixel: bands, image features, or the input of a model."""

    scene: Scene
    """The scene whose values are the features, or are transformed into them."""
    description: str
    """What the features are, in a few words."""
    transform: Callable[[Array], Array] | None = None
    """Turns values (n, band) of the scene into features; None leaves them."""
    count: int | None = None
    """Number of transformed features; None = one for each band."""
    transformed_dtype: str = "float64"
    """Type of the transformed features."""

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each feature."""
        if self.count is not None:
            return tuple(f"feature {place}" for place in range(1, self.count + 1))
        if self.scene.band_names is not None:
            return self.scene.band_names
        return tuple(f"band {number}" for number in self.scene.bands)

    @property
    def dtype(self) -> Any:
        """Name of the type of the values."""
        if self.transform is not None:
            return self.transformed_dtype
        dtype = self.scene.cube.dtype
        return "uint8" if dtype.kind == "b" else dtype.name

    def positions(self, samples: Samples, part: str, *, dense: bool) -> Positions:
        """Return the positions of samples, with the metadata of scene and features."""
        scene = self.scene
        common: dict[str, Any] = {
            "rows": samples.rows,
            "cols": samples.cols,
            "grid": scene.grid,
            "legend": scene.legend,
            "features": self.names,
            "header": acquisition_header(scene.header),
            "part": part,
            "dtype": self.dtype,
            "dense": dense,
            "scene": scene.name,
            "simulated": scene.simulated,
            "seen": self.description,
        }
        if self.count is not None or scene.band_names is not None:
            return Positions(**common)
        bands = {
            "bands": tuple(scene.bands.tolist()),
            "wavelengths": known_values(scene.wavelengths),
            "fwhm": known_values(scene.fwhm),
            "bad": tuple(scene.bad.tolist()) if scene.bad.any() else None,
            "header": dict(scene.header),
        }
        return Positions(**common | bands)

    def blocks(
        self, samples: Samples, progress: Progress | None = None
    ) -> Iterator[tuple[Ints, Array]]:
        """Read labels and features of samples in row order, strip by strip."""
        for rows in self.scene.strips():
            first, end = np.searchsorted(samples.rows, [rows.start, rows.stop]).tolist()
            part = samples.take(np.arange(first, end))
            if len(part):
                cube = self.scene.read(rows, slice(None))
                values = np.ascontiguousarray(cube[:, part.rows - rows.start, part.cols].T)
                yield part.labels, self.apply(values)
            if progress is not None:
                progress(rows.stop, self.scene.shape[0])

    def apply(self, values: Array) -> Array:
        """Turn values (n, band) of the scene into features."""
        return values if self.transform is None else self.transform(values)

    def values(self, samples: Samples) -> Array:
        """Read the features (n, feature) of samples in row order."""
        return np.concatenate([values for _, values in self.blocks(samples)])


def band_features(scene: Scene) -> PixelFeatures:
    """Return the bands of a scene as features."""
    return PixelFeatures(scene, "bands")


def chain_features(
    scene: Scene, chain: str, *, seed: int = 0, progress: Progress | None = None
) -> PixelFeatures:
    """Return the image features that a chain makes of a scene.

    Raises
    ------
    CallError
        If the chain cannot be parsed or cannot be fitted to the scene.
    """
    from hypercover.features.chain import Chain

    parsed = Chain.parse(chain)
    made = parsed.fit_transform(scene, seed=seed, progress=progress)
    return PixelFeatures(made, parsed.text)


def reduce_features(features: PixelFeatures, samples: Samples, nwfe: int) -> PixelFeatures:
    """Reduce features by NWFE, fitted to training samples.

    Parameters
    ----------
    features : features of each pixel
    samples : training pixels with their classes, in row order
    nwfe : number of features; 0 leaves them as they are

    Raises
    ------
    LabelError, ExperimentError
        If the samples do not suffice for so many features.
    """
    if not nwfe:
        return features
    from hypercover.classifiers.svm.svm_classifier import SVMClassifier
    from hypercover.features.nwfe import NWFE

    svm = SVMClassifier(reduction=NWFE(nwfe))
    svm.fit_preprocessing(features.values(samples), samples.labels)
    description = f"{features.description}, nwfe:{nwfe}"
    return PixelFeatures(features.scene, description, svm.preprocess, nwfe)


def scale_features(
    features: PixelFeatures, samples: Samples
) -> tuple[PixelFeatures, Ranges]:
    """Scale each feature to 0 to 1 over the training samples, as ``svm-scale -l 0`` does.

    Parameters
    ----------
    features : features of each pixel
    samples : training pixels, in row order

    Returns
    -------
    PixelFeatures
        The scaled features.  Other pixels may lie outside 0 to 1; a feature that is
        constant over the samples is 0.
    tuple of array (feature,)
        Smallest and largest value of each feature over the samples.
    """
    values = features.values(samples)
    low = values.min(axis=0).astype(np.float64)
    high = values.max(axis=0).astype(np.float64)
    width = np.where(high > low, high - low, np.inf)

    def transform(block: Array) -> Array:
        unit: Array = ((features.apply(block) - low) / width).astype(np.float32)
        return unit

    description = f"{features.description}, scaled to 0 to 1 by the training pixels"
    scaled = PixelFeatures(
        features.scene, description, transform, features.count, "float32"
    )
    return scaled, (low, high)


def model_features(
    scene: Scene, model: Path, *, progress: Progress | None = None
) -> PixelFeatures:
    """Return the scaled, perhaps reduced values that the machines of a saved SVM take.

    Raises
    ------
    ModelError
        If the model is not an SVM or does not fit the scene.
    """
    bundle = svm_bundle(model)
    matched = convert_to_model_scale(bundle.card, select_model_bands(bundle.card, scene))
    check_values(bundle.card, scene, matched)
    scene = matched
    if bundle.features is not None:
        from hypercover.features.chain import Chain

        scene = Chain.from_state(*bundle.features).transform(scene, progress=progress)
    svm = bundle.classifier
    # svm-predict answers with classes of the model, whether or not they are labelled here.
    more = (land for land in legend_from_card(bundle.card) if land.code not in scene.legend)
    scene = scene.replace(legend=Legend((*scene.legend, *more)))
    reduced = None if svm.projection_ is None else len(svm.projection_)
    description = f"what the model {model.name} sees"
    return PixelFeatures(scene, description, svm.preprocess, reduced)


def write_data(
    features: PixelFeatures,
    out: Path,
    *,
    split: Split | None = None,
    every: bool = False,
    sparse: bool = False,
    joint: str = "-",
    progress: Progress | None = None,
) -> dict[Path, int]:
    """Write pixels of a scene as LIBSVM files, each with a positions file next to it.

    Parameters
    ----------
    features : features of each pixel
    out : path of the file; with a split, ``F.el`` becomes ``F-training.el`` and so on
    split : which pixels go into which file; by default all labelled ones go into one
    every : write every pixel with data, labelled 0 where it has no label
    sparse : leave zeros out
    joint : text between the name of the file and that of a part

    Returns
    -------
    dict
        The files and the samples in each.

    Raises
    ------
    LabelError
        If there are no labels and ``every`` is not set.
    OutputError
        If a file cannot be written.
    """
    check_writable(out)
    parts = _samples(features.scene, split, every)
    paths = {
        part: out.with_name(f"{out.stem}{joint}{part}{out.suffix}") if split else out
        for part in parts
    }
    for path in paths.values():
        check_writable(path)
        check_writable(positions_path(path))
    written = {}
    for part, samples in parts.items():
        path = paths[part]
        positions = features.positions(samples, part, dense=not sparse)
        written[path] = write_libsvm(
            path, features.blocks(samples, progress), sparse=sparse
        )
        write_positions(positions_path(path), positions)
    return written


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
    if split is None:
        return {"labelled": training_samples(scene, None)}
    labels = scene.usable_labels
    parts = {name: split.samples(part, labels) for part, name in _PARTS.items()}
    return {name: samples for name, samples in parts.items() if len(samples)}


def training_samples(scene: Scene, split: Split | None) -> Samples:
    """Return the training pixels of a split, or all labelled pixels without one.

    Raises
    ------
    LabelError
        If there are none.
    """
    labels = scene.usable_labels
    if split is not None:
        return split.samples("train", labels)
    samples = Samples.of(labels)
    if not len(samples):
        raise LabelError(
            f"No labelled pixel of {scene.name} has data; give labels made for this image."
        )
    return samples


def svm_bundle(model: Path) -> Bundle:
    """Load the bundle of an SVM.

    Raises
    ------
    ModelError
        If it is damaged or not an SVM.
    """
    bundle = load_bundle(model)
    if bundle.kind != "svm":
        raise ModelError(
            f"LIBSVM holds support vector machines, but the model in {model} is of the kind "
            f"{bundle.kind}; give the folder of an SVM."
        )
    return bundle


def export_model(model: Path, out: Path) -> tuple[Path | None, str]:
    """Write a saved SVM as a LIBSVM model file, with a range file if it only scales.

    Returns
    -------
    Path or None
        The range file for ``svm-scale -r``; None where the machines see more
        than scaled bands.
    str
        How to prepare data for the exported model, in one sentence.

    Raises
    ------
    ModelError
        If the model is not an SVM or its classes are not integers.
    """
    from hypercover.libsvm.models import model_of, write_model

    bundle = svm_bundle(model)
    svm = bundle.classifier
    write_model(out, model_of(svm))
    # svm-scale's own file is usually called F.range.
    ranges = out.with_name(f"{out.name}.range")
    write = f"hypercover libsvm write SCENE --model {shlex.quote(str(model))}"
    if bundle.features is None and svm.projection_ is None:
        write_ranges(ranges, svm.mean_ - svm.scale_, svm.mean_ + svm.scale_, target=(-1, 1))
        return ranges, (
            "The model sees scaled bands: scale raw data with svm-scale -r "
            f"{shlex.quote(str(ranges))}, or, with every digit, write them with {write}."
        )
    ranges.unlink(missing_ok=True)
    what = "reduced bands" if bundle.features is None else "image features"
    return None, (
        f"The model sees {what}, which svm-scale cannot make: write data with {write}."
    )


def import_model(file: Path, scene: Scene, out: Path) -> str:
    """Save a LIBSVM model as a bundle for scenes like the one given, and describe it.

    Parameters
    ----------
    file : a C-SVC model with an RBF kernel, trained on unscaled bands
    scene : image with the bands that are the model's features, in their order;
        its legend names the classes
    out : folder of the bundle

    Raises
    ------
    ModelError
        If the model is damaged or of another kind, has more features than the
        scene has bands, or a label that a map cannot hold.
    """
    from hypercover.libsvm.models import read_model

    model = read_model(file, scene.n_bands)
    if not all(1 <= label <= MAX_CODE for label in model.labels):
        raise ModelError(
            f"{file} has the labels {', '.join(map(str, model.labels[:8]))}, but class codes "
            f"are integers from 1 to {MAX_CODE}; train it with class codes."
        )
    vectors = len(model.machines.vectors)
    description = f"RBF SVM imported from LIBSVM, {vectors} support vectors"
    card = {
        "name": file.stem,
        "description": description,
        "trained_on": f"the data of {file.name}",
        "legend": scene.legend.covering(model.labels).to_json(),
        "preprocessing": "none",
        # The range of the training data is not known.
        **describe_training_image(scene, ranges=False),
        "window": 1,
    }
    save_bundle(out, model.classifier(), card)
    return f"{description}, {len(model.labels)} classes, {scene.n_bands} bands"


Watch = Callable[[str], AbstractContextManager[Progress]]


@dataclass(frozen=True)
class WrittenSet:
    """A file of a data set."""

    path: Path
    """The file."""
    samples: int
    """Samples in it."""
    description: str
    """What the features of each sample are, in a few words."""


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
    """Write the data sets of the lecture, in the form in which they are published.

    ``NAME_raw_training.el`` and ``NAME_raw_test.el`` hold the bands,
    ``NAME_processed_…`` the features that a chain makes of the image and NWFE of
    the training pixels, and ``NAME_windows.h5`` the windows around all labelled
    pixels with their parts.  All of them have the same split.

    Parameters
    ----------
    scene : the image and its labels, with bands and classes chosen
    split : which pixels train and which test
    folder : where to write
    name : beginning of the file names
    chain : image features of the processed files
    nwfe : features that NWFE makes of them; 0 leaves them as they are
    window : side of the windows in pixels; 0 leaves the windows out
    scale : scale bands and features to 0 to 1 over the training pixels, so that C and
        gamma mean what they mean in the lecture; ``NAME_raw.range`` and
        ``NAME_processed.range`` hold the ranges for ``svm-scale -r``
    seed : seed of the image features
    made : plain values that say how the scene was made from its file
    watch : returns, for a title, a context whose value is called with (done, total)

    Raises
    ------
    CallError
        If the name is not a file name, the window does not fit or the features cannot
        be made.
    OutputError
        If a file cannot be written.
    """
    if not name or Path(name).name != name:
        raise CallError(
            f"The name of a data set begins the names of its files, got {name[:60]!r}; give a "
            "name without slashes."
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
    with watch("Image features") as progress:
        processed = chain_features(scene, chain, seed=seed, progress=progress)
    sets = {
        "raw": band_features(scene),
        "processed": reduce_features(processed, train, nwfe),
    }
    written = []
    for kind, features in sets.items():
        if scale:
            features, (low, high) = scale_features(features, train)
            write_ranges(ranges[kind], low, high)
        with watch(f"Writing {targets[kind].name}") as progress:
            files = write_data(
                features, targets[kind], split=split, joint="_", progress=progress
            )
        written += [
            WrittenSet(path, count, features.description) for path, count in files.items()
        ]
    if window:
        writer = plan_windows(scene, windows, size=window, split=split, made=made)
        with writer.begun() as draft:
            writer.check_space(draft.done)
            with watch(f"Writing {windows.name}") as progress:
                draft.write(window_pieces(scene, writer), progress)
        what = f"windows of {window} × {window} pixels"
        written.append(WrittenSet(windows, len(writer.samples), what))
    return written
