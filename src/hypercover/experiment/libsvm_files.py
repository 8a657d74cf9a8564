"""LIBSVM files of scenes, predictions and SVMs, written and read back, and the lecture's sets."""

import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from hypercover.classifiers.bundle import Bundle, load_bundle, save_bundle
from hypercover.errors import CallError, LabelError, ModelError
from hypercover.experiment.window_export import write_windows
from hypercover.features.chain import Chain
from hypercover.files import atomic, check_writable
from hypercover.gis.map_writing import write_class_map, write_confidence
from hypercover.libsvm import models
from hypercover.libsvm.data import read_libsvm, summarize_libsvm, write_libsvm
from hypercover.libsvm.positions import (
    Positions,
    positions_path,
    read_positions,
    read_prediction,
    write_positions,
)
from hypercover.memory import check_cube_size
from hypercover.prediction import model_input
from hypercover.prediction.map_prediction import check_map_names, legend_from_card
from hypercover.scene.grid import with_grid
from hypercover.scene.io.file_types import local_file
from hypercover.scene.io.sample_metadata import known_values
from hypercover.scene.io.writing import write_labels, write_scene
from hypercover.scene.legend import MAX_CODE, Legend
from hypercover.scene.metadata import acquisition_header, with_header
from hypercover.scene.samples import Samples, check_window
from hypercover.scene.scene import Scene
from hypercover.scene.tiling import Fetch, LazyArray
from hypercover.splits.split import Split
from hypercover.types import Array, Floats, Indices, Ints, Progress

_PARTS = {"train": "training", "validation": "validation", "test": "test"}


@dataclass(frozen=True, eq=False)
class PixelFeatures:
    """The features of each pixel: bands, image features, or the input of a model."""

    scene: Scene
    """The scene whose values are the features, or are transformed into them."""
    description: str = "bands"
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
        scene, bands = self.scene, dict[str, Any]()
        header = acquisition_header(scene.header)
        if self.count is None and scene.band_names is None:
            header = dict(scene.header)
            bands = {
                "bands": tuple(scene.bands.tolist()),
                "wavelengths": known_values(scene.wavelengths),
                "fwhm": known_values(scene.fwhm),
                "bad": tuple(scene.bad.tolist()) if scene.bad.any() else None,
            }
        return Positions(
            rows=samples.rows,
            cols=samples.cols,
            grid=scene.grid,
            legend=scene.legend,
            features=self.names,
            header=header,
            part=part,
            dtype=self.dtype,
            dense=dense,
            scene=scene.name,
            simulated=scene.simulated,
            seen=self.description,
            **bands,
        )

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


def chain_features(
    scene: Scene, chain: str, *, seed: int = 0, progress: Progress | None = None
) -> PixelFeatures:
    """Return the image features that a chain makes of a scene.

    Raises
    ------
    CallError
        If the chain cannot be parsed or cannot be fitted to the scene.
    """
    parsed = Chain.parse(chain)
    stack = parsed.fit_transform(scene, seed=seed, progress=progress)
    return PixelFeatures(stack, parsed.text)


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
        If the samples do not suffice for this many features.
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
) -> tuple[PixelFeatures, tuple[Floats, Floats]]:
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
    low, high = (end.astype(np.float64) for end in (values.min(axis=0), values.max(axis=0)))
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
    bundle = _svm_bundle(model)
    selected = model_input.select_model_bands(bundle.card, scene)
    matched = model_input.convert_to_model_scale(bundle.card, selected)
    model_input.check_values(bundle.card, scene, matched)
    scene = matched
    if bundle.features is not None:
        scene = Chain.from_state(*bundle.features).transform(scene, progress=progress)
    svm = bundle.classifier
    # svm-predict answers with classes of the model, whether or not they are labelled here.
    missing = (row for row in legend_from_card(bundle.card) if row.code not in scene.legend)
    scene = scene.replace(legend=Legend((*scene.legend, *missing)))
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
        path, blocks = paths[part], features.blocks(samples, progress)
        described = features.positions(samples, part, dense=not sparse)
        written[path] = write_libsvm(path, blocks, sparse=sparse)
        write_positions(positions_path(path), described)
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


def _svm_bundle(model: Path) -> Bundle:
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
    bundle = _svm_bundle(model)
    svm = bundle.classifier
    models.write_model(out, models.model_of(svm))
    # svm-scale's own file is usually called F.range.
    ranges = out.with_name(f"{out.name}.range")
    write = f"hypercover libsvm write SCENE --model {shlex.quote(str(model))}"
    if bundle.features is None and svm.projection_ is None:
        low, high = svm.mean_ - svm.scale_, svm.mean_ + svm.scale_
        models.write_ranges(ranges, low, high, target=(-1, 1))
        return ranges, (
            "The model sees scaled bands: scale raw data with svm-scale -r "
            f"{shlex.quote(str(ranges))}, or, with every digit, write them with {write}."
        )
    ranges.unlink(missing_ok=True)
    seen = "reduced bands" if bundle.features is None else "image features"
    return None, (
        f"The model sees {seen}, which svm-scale cannot make: write data with {write}."
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
    model = models.read_model(file, scene.n_bands)
    if not all(1 <= label <= MAX_CODE for label in model.labels):
        raise ModelError(
            f"{file} has the labels {', '.join(map(str, model.labels[:8]))}, but class codes "
            f"are integers from 1 to {MAX_CODE}; train it with class codes."
        )
    description = (
        f"RBF SVM imported from LIBSVM, {len(model.machines.vectors)} support vectors"
    )
    card = {
        "name": file.stem,
        "description": description,
        "trained_on": f"the data of {file.name}",
        "legend": scene.legend.covering(model.labels).to_json(),
        "preprocessing": "none",
        # The range of the training data is not known.
        **model_input.describe_training_image(scene, ranges=False),
        "window": 1,
    }
    save_bundle(out, model.classifier(), card)
    return f"{description}, {len(model.labels)} classes, {scene.n_bands} bands"


def write_sets(
    scene: Scene,
    split: Split,
    folder: str | Path,
    *,
    name: str,
    chain: str,
    nwfe: int,
    window: int,
    scale: bool,
    seed: int,
    made: Any,
    watch: Callable[[str], AbstractContextManager[Progress]],
) -> list[tuple[Path, int, str]]:
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

    Returns
    -------
    list of tuple
        Path of each file, its number of samples, and what the features of each are.

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
            f"The name of a data set begins file names, got {name[:60]!r}; leave out slashes."
        )
    out = Path(folder)
    targets = {kind: out / f"{name}_{kind}.el" for kind in ("raw", "processed")}
    windows = out / f"{name}_windows.h5"
    for target in (windows, *targets.values()):
        check_writable(target)
    for target in targets.values():
        check_writable(target.with_suffix(".range"))
    if window:
        check_window(window, scene.shape)
    train = training_samples(scene, split)
    # Before the first file: features that cannot be made must not leave half a set.
    with watch("Image features") as progress:
        processed = chain_features(scene, chain, seed=seed, progress=progress)
    sets = {
        "raw": PixelFeatures(scene),
        "processed": reduce_features(processed, train, nwfe),
    }
    written = []
    for kind, features in sets.items():
        target = targets[kind]
        if scale:
            features, ranges = scale_features(features, train)
            models.write_ranges(target.with_suffix(".range"), *ranges)
        with watch(f"Writing {target.name}") as progress:
            files = write_data(features, target, split=split, joint="_", progress=progress)
        written += [(path, count, features.description) for path, count in files.items()]
    if window:
        with watch(f"Writing {windows.name}") as progress:
            file = write_windows(
                scene, windows, progress, size=window, split=split, made=made
            )
        written.append((windows, len(file), f"windows of {window} × {window} pixels"))
    return written


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
        return _write_arrays(out, **_read_without_positions(files, progress))
    joined, labels, values = _read_joined(files, positions, progress)
    if arrays:
        features = np.array(joined.features)
        return _write_arrays(
            out, X=values, y=labels, row=joined.rows, col=joined.cols, feature=features
        )
    scene = _as_scene(joined, labels, values, files[0])
    written = [write_scene(scene, out)]
    if scene.labels is not None and scene.labels.any():
        path = out.with_name(f"{out.stem}-labels.tif")
        written.append(write_labels(scene.labels, scene.legend, scene.grid, path))
    return written


def _write_arrays(out: Path, **arrays: Array) -> list[Path]:
    with atomic(out) as draft:
        np.savez(draft, **arrays)  # type: ignore[arg-type]
    return [out]


def _read_without_positions(
    files: Sequence[Path], progress: Progress | None
) -> dict[str, Array]:
    """Read the values and labels of samples without positions."""
    # The last features may be zero, and so left out, in some of the files.
    width = max(summarize_libsvm(file).largest for file in files)
    parts = [read_libsvm(file, max(width, 1), progress=progress) for file in files]
    labels, values = map(np.concatenate, zip(*parts, strict=True))
    return {"X": values, "y": labels}


def _read_joined(
    files: Sequence[Path], path: Path | None, progress: Progress | None
) -> tuple[Positions, Ints, Array]:
    """Read data files with their positions and check that they are of one scene."""
    parts = [_read_part(file, path or positions_path(file), progress) for file in files]
    positions, labels, values = zip(*parts, strict=True)
    first = positions[0]
    for file, part in zip(files, positions, strict=True):
        if any(
            getattr(part, name) != getattr(first, name)
            for name in ("grid", "features", "dtype", "seen")
        ):
            raise CallError(
                f"{files[0]} and {file} are of different scenes or features; read them one by one."
            )
    rows = np.concatenate([part.rows for part in positions])
    cols = np.concatenate([part.cols for part in positions])
    if len(np.unique(rows * first.grid.cols + cols)) < len(rows):
        raise CallError(
            f"{' and '.join(map(str, files))} share a pixel; read them one by one."
        )
    classes = {row.code: row for part in positions for row in part.legend}
    legend = Legend(tuple(classes.values()))
    joined = first.model_copy(update={"rows": rows, "cols": cols, "legend": legend})
    return joined, np.concatenate(labels), np.concatenate(values)


def _read_part(
    file: Path, path: Path, progress: Progress | None
) -> tuple[Positions, Ints, Array]:
    """Read a data file: its positions, labels and values."""
    positions = read_positions(path)
    dense, dtype = positions.dense, positions.dtype
    labels, values = read_libsvm(
        file, positions.n_features, dense=dense, dtype=dtype, progress=progress
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


def _as_scene(positions: Positions, codes: Ints, values: Array, file: Path) -> Scene:
    """Return samples as a scene without data elsewhere."""
    grid, dtype = positions.grid, np.dtype(positions.dtype)
    shape = (positions.n_features, *grid.shape)
    check_cube_size(shape, f"The scene of {file}")
    labels = np.zeros(grid.shape, np.uint16)
    labels[positions.rows, positions.cols] = codes
    data = LazyArray(shape, dtype, _fetch(positions, values, dtype)).as_variable_data()
    bands = positions.bands or range(1, positions.n_features + 1)
    coordinates: dict[str, Any] = {"band": np.array(bands)}
    if positions.bands is None:
        coordinates["band_name"] = ("band", np.array(positions.features))
    for name, key in (("wavelength", "wavelengths"), ("fwhm", "fwhm"), ("bad", "bad")):
        if (known := getattr(positions, key)) is not None:
            coordinates[name] = ("band", np.array(known))
    array = xr.DataArray(xr.Variable(("band", "y", "x"), data), coords=coordinates)
    if dtype.kind == "f":
        array.attrs["nodata"] = float("nan")
    else:
        array = array.assign_coords(has_data=(("y", "x"), labels != 0))
    array = with_grid(with_header(array, positions.header), grid)
    scene = Scene(array, name=positions.scene, simulated=positions.simulated)
    return scene.with_labels(labels, positions.legend)


def _fetch(positions: Positions, values: Array, dtype: np.dtype[Any]) -> Fetch:
    """Return a function that fills any part of the cube, which is never held whole."""
    order = np.argsort(positions.rows, kind="stable")
    rows, cols, values = positions.rows[order], positions.cols[order], values[order]
    # Integers have no NaN: the scene's mask marks pixels without a sample.
    fill = np.nan if dtype.kind == "f" else 0

    def fetch(indices: tuple[Indices, ...]) -> Array:
        bands, down, across = indices
        some = slice(*np.searchsorted(rows, [down.min(), down.max() + 1]))
        shape = (len(bands), down.max() + 1 - down.min(), across.max() + 1)
        piece = np.full(shape, fill, dtype=dtype)
        inside = cols[some] < shape[2]
        at = rows[some][inside] - down.min(), cols[some][inside]
        piece[:, *at] = values[some][inside][:, bands].T
        return piece[:, down - down.min()][:, :, across]

    return fetch
