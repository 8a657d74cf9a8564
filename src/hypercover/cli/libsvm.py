"""``hypercover libsvm``: data and models for LIBSVM's programs, and the way back to a map."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hypercover.cli.opening import (
    CHAIN,
    HALVES,
    SPLIT,
    TRAIN,
    asked_split,
    chosen_scene,
)
from hypercover.cli.options import (
    AXES,
    DROP_BANDS,
    IMAGE,
    KEEP_BANDS,
    LABEL_FIELD,
    LABEL_LAYER,
    LABEL_VARIABLE,
    LABELS,
    LEGEND,
    NODATA,
    SEED,
    VARIABLE,
)
from hypercover.cli.terminal import say
from hypercover.errors import CallError

if TYPE_CHECKING:
    from hypercover.experiment.libsvm_export import PixelFeatures
    from hypercover.libsvm.data import DataSummary
    from hypercover.libsvm.positions import Positions
    from hypercover.scene.scene import Scene


def command(
    image: IMAGE,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the files.")],
    labels: LABELS = None,
    name: Annotated[
        str, typer.Option(help="What the names of files begin with.")
    ] = "indian",
    train: Annotated[
        float, typer.Option(help="Share of each class that trains, drawn at random.")
    ] = 0.1,
    min_pixels: Annotated[
        int, typer.Option(help="Leave out classes of fewer labelled pixels.")
    ] = 0,
    chain: Annotated[
        str, typer.Option(help="Image features of the processed files.")
    ] = "lecture",
    nwfe: Annotated[
        int, typer.Option(help="Features NWFE makes of them; 0: none.", min=0)
    ] = 30,
    window: Annotated[
        int, typer.Option(help="Side of the windows in pixels, odd; 0: none.", min=0)
    ] = 9,
    scale: Annotated[
        bool,
        typer.Option(
            help="Scale bands and features to 0 to 1 over the training pixels.",
        ),
    ] = True,
    crop: Annotated[
        str | None, typer.Option(help="Rows and columns to take: 0:1417,0:617.")
    ] = None,
    seed: SEED = 0,
    variable: VARIABLE = None,
    label_variable: LABEL_VARIABLE = None,
    axes: AXES = None,
    nodata: NODATA = None,
    label_field: LABEL_FIELD = None,
    label_layer: LABEL_LAYER = None,
    legend: LEGEND = None,
    keep_bands: KEEP_BANDS = None,
    drop_bands: DROP_BANDS = None,
) -> None:
    """Write the lecture's data sets: raw and processed LIBSVM files, and windows in HDF5.

    NAME_raw_training.el, NAME_raw_test.el, NAME_processed_training.el,
    NAME_processed_test.el and NAME_windows.h5, all with the same split, which is that of
    hypercover run lecture-small.  svm-train -c 100 -g 8 takes the files as they are;
    NAME_raw.range and NAME_processed.range say how they were scaled.

    Example: hypercover libsvm sets cube.tif --labels truth.tif --drop-bands
    water-absorption --min-pixels 100 -o sets
    """
    from hypercover.cli.progress import bar
    from hypercover.errors import counted
    from hypercover.experiment.libsvm_export import write_sets
    from hypercover.scene.selection import crop as cut
    from hypercover.scene.selection import drop_classes
    from hypercover.splits.random_split import RandomSplit

    scene = chosen_scene(
        image, labels, variable=variable, label_variable=label_variable, axes=axes,
        nodata=nodata, label_field=label_field, label_layer=label_layer, legend=legend,
        keep_bands=keep_bands, drop_bands=drop_bands)  # fmt: skip
    if crop is not None:
        scene = cut(scene, crop)
    if min_pixels:
        scene = drop_classes(scene, min_pixels=min_pixels)
    split = RandomSplit(train=train, halves="up").split(scene.usable_labels, seed=seed)
    files = write_sets(
        scene, split, out, name=name, chain=chain, nwfe=nwfe, window=window, scale=scale, seed=seed,
        made=[variable, axes, nodata, crop], watch=bar)  # fmt: skip
    for file in files:
        say(f"Data: {file.path} ({counted(file.samples, 'sample')}: {file.description})")


HELP = "Write and read LIBSVM data and models, and make maps of svm-predict's output."

DATA = Annotated[Path, typer.Argument(help="A LIBSVM data file: .el, .svm …")]

POSITIONS = Annotated[
    Path | None,
    typer.Option(help="Its positions file (default: F.positions.json beside F.el)."),
]

MODEL = Annotated[Path, typer.Argument(help="Folder of an SVM: runs/NAME/models/MODEL.")]


def write(
    image: IMAGE,
    out: Annotated[Path, typer.Option("--out", "-o", help="Data file to write: F.el.")],
    labels: LABELS = None,
    split: SPLIT = None,
    train: TRAIN = None,
    halves: HALVES = "even",
    every: Annotated[
        bool,
        typer.Option("--all", help="Every pixel with data, labelled 0 where unlabelled."),
    ] = False,
    chain: CHAIN = None,
    nwfe: Annotated[
        int | None,
        typer.Option(
            help="Features NWFE makes of them, learnt from the training pixels; 0: none "
            "[default: 30 with --chain lecture, else 0].",
            min=0,
        ),
    ] = None,
    scale: Annotated[
        bool,
        typer.Option("--scale", help="Scale to 0 to 1 over the training pixels: F.range."),
    ] = False,
    model: Annotated[
        Path | None,
        typer.Option(help="Write what this SVM's machines see, for its exported model."),
    ] = None,
    sparse: Annotated[bool, typer.Option("--sparse", help="Leave zeros out.")] = False,
    seed: SEED = 0,
    variable: VARIABLE = None,
    label_variable: LABEL_VARIABLE = None,
    axes: AXES = None,
    nodata: NODATA = None,
    label_field: LABEL_FIELD = None,
    label_layer: LABEL_LAYER = None,
    legend: LEGEND = None,
    keep_bands: KEEP_BANDS = None,
    drop_bands: DROP_BANDS = None,
) -> None:
    """Write the labelled pixels of a scene as LIBSVM data, with their positions beside.

    Every digit is written.  The positions make a map of the prediction again.

    Example: hypercover libsvm write cube.hdr --labels fields.tif -o fields.el --train 0.1
    """
    from hypercover.cli.progress import bar
    from hypercover.experiment.libsvm_export import (
        reduce_features,
        scale_features,
        training_samples,
        write_data,
    )
    from hypercover.features.chain import NWFE_FEATURES
    from hypercover.libsvm.models import write_ranges
    from hypercover.scene.io.writing import check_overwrite

    check_overwrite(out, image, labels, legend)
    if model is not None and (nwfe or scale):
        raise CallError(
            "A model scales and reduces what its machines see; leave --nwfe and --scale out."
        )
    scene = chosen_scene(
        image, labels, variable=variable, label_variable=label_variable, axes=axes,
        nodata=nodata, label_field=label_field, label_layer=label_layer, legend=legend,
        keep_bands=keep_bands, drop_bands=drop_bands)  # fmt: skip
    parts = asked_split(scene, split, train, seed, halves)
    view = _view(scene, chain, model, seed)
    learnt = NWFE_FEATURES.get(chain or "", 0) if nwfe is None else nwfe
    if learnt:
        view = reduce_features(view, training_samples(scene, parts), learnt)
    ranges = None
    if scale:
        view, ranges = scale_features(view, training_samples(scene, parts))
    with bar("Writing") as advance:
        written = write_data(
            view, out, split=parts, every=every, sparse=sparse, progress=advance
        )
    for file, samples in written.items():
        _say_file(file, samples, len(view.names), view.description)
    if ranges is not None:
        write_ranges(out.with_suffix(".range"), *ranges)
        say(f"Scaling: {out.with_suffix('.range')}")


def _view(
    scene: "Scene", chain: str | None, model: Path | None, seed: int
) -> "PixelFeatures":
    """Choose what is written of each pixel."""
    from hypercover.cli.progress import bar
    from hypercover.experiment.libsvm_export import (
        band_features,
        chain_features,
        model_features,
    )

    if chain is not None and model is not None:
        raise CallError("A model knows its own features; leave --chain or --model out.")
    with bar("Image features") as advance:
        if model is not None:
            return model_features(scene, model, progress=advance)
        if chain is not None:
            return chain_features(scene, chain, seed=seed, progress=advance)
    return band_features(scene)


def _say_file(file: Path, samples: int, features: int, seen: str) -> None:
    from hypercover.errors import counted
    from hypercover.libsvm.positions import positions_path

    size = f"{counted(samples, 'sample')}, {counted(features, 'feature')}"
    say(f"Data: {file} ({size}: {seen})")
    say(f"Positions: {positions_path(file)}")


def map_(
    predicted: Annotated[
        Path, typer.Argument(help="Output of svm-predict: a label a line.")
    ],
    positions: Annotated[
        Path, typer.Option(help="Positions file of the data that were predicted.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Class map to write (.tif).")],
    confidence: Annotated[
        Path | None,
        typer.Option(help="Also map the probabilities of svm-predict -b 1 (.tif)."),
    ] = None,
) -> None:
    """Make a georeferenced map, with names and colours, of what svm-predict wrote.

    Example: hypercover libsvm map predicted.txt --positions fields-test.positions.json -o map.tif
    """
    from hypercover.experiment.libsvm_import import map_prediction
    from hypercover.scene.io.writing import check_overwrite

    check_overwrite(out, predicted, positions)
    pixels = map_prediction(predicted, positions, out, confidence=confidence)
    say(f"Map: {out} ({pixels:,} pixels)")
    if confidence:
        say(f"Confidence: {confidence}")


def info(data: DATA, positions: POSITIONS = None) -> None:
    """Count the samples, features and classes of a LIBSVM data file, checking every line.

    Example: hypercover libsvm info indian_processed_training.el
    """
    from hypercover.cli.progress import bar
    from hypercover.cli.tables import show
    from hypercover.libsvm.data import summarize_libsvm

    places = _positions(data, positions)
    with bar("Reading") as advance:
        found = summarize_libsvm(data, progress=advance)
    if places is not None:
        _check_belongs(data, places, found.samples, found.largest)
    show(*_tables(data, found, places))


def _positions(data: Path, named: Path | None) -> "Positions | None":
    """Read the positions of a data file, if it has any."""
    from hypercover.libsvm.positions import positions_path, read_positions

    beside = positions_path(data)
    if named is None and not beside.exists():
        return None
    return read_positions(named or beside)


def _check_belongs(data: Path, places: "Positions", samples: int, largest: int) -> None:
    """Refuse positions of other data."""
    if samples != len(places) or largest > places.n_features:
        raise CallError(
            f"{data} holds {samples} samples with indices up to {largest}, its positions file "
            f"{len(places)} samples of {places.n_features} features; give the positions file "
            "that was written with the data."
        )


def _tables(data: Path, found: "DataSummary", places: "Positions | None") -> list[Any]:
    """Say what is in a data file: its size, and its classes."""
    from rich.table import Table

    from hypercover.cli.tables import table_cell

    facts = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    rows = {"file": str(data), "samples": f"{found.samples:,}", **_facts(found, places)}
    for name, value in rows.items():
        facts.add_row(table_cell(name), table_cell(value))
    classes = Table(title="classes", title_justify="left")
    classes.add_column("label", justify="right")
    classes.add_column("name")
    classes.add_column("samples", justify="right")
    names = {land.code: land.name for land in places.legend} if places else {}
    for label, count in found.per_class.items():
        classes.add_row(str(label), table_cell(names.get(label, "–")), f"{count:,}")
    return [facts, classes]


def _facts(found: "DataSummary", places: "Positions | None") -> dict[str, str]:
    """Say what the features are and where the samples come from."""
    values = "all written" if found.dense else "some left out, which are 0"
    if places is None:
        largest = f"{found.largest} is the largest index; there may be more"
        return {"features": largest, "values": values}
    scene = f"{places.scene}, {places.part} pixels"
    return {
        "features": f"{places.n_features}: {places.seen}",
        "values": values,
        "scene": f"{scene} (simulated)" if places.simulated else scene,
        "shape": f"{places.grid.rows} rows × {places.grid.cols} columns",
    }


def read(
    data: Annotated[list[Path], typer.Argument(help="LIBSVM data files of one scene.")],
    out: Annotated[
        Path,
        typer.Option("--out", "-o", help="Image to write (.tif, .hdr), or arrays (.npz)."),
    ],
    positions: POSITIONS = None,
) -> None:
    """Turn LIBSVM data and positions back into a scene and its labels, or into arrays.

    Example: hypercover libsvm read fields-training.el fields-test.el -o fields.tif
    """
    from hypercover.cli.progress import bar
    from hypercover.experiment.libsvm_import import read_data
    from hypercover.scene.io.writing import check_overwrite

    check_overwrite(out, *data, positions)
    with bar("Reading") as advance:
        files = read_data(data, out, positions=positions, progress=advance)
    for what, file in zip(("Scene", "Labels"), files, strict=False):
        say(f"{'Arrays' if file.suffix == '.npz' else what}: {file}")


def export(
    model: MODEL,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="LIBSVM model file to write: F.model.")
    ],
) -> None:
    """Export a trained SVM as a model file for svm-predict, and its scaling for svm-scale.

    Example: hypercover libsvm export runs/fields/models/svm -o fields.model
    """
    from hypercover.experiment.libsvm_export import export_model

    ranges, advice = export_model(model, out)
    say(f"Model: {out}")
    if ranges is not None:
        say(f"Scaling: {ranges}")
    say(advice)


def import_(
    file: Annotated[
        Path, typer.Argument(help="A LIBSVM model file: C-SVC with RBF kernel.")
    ],
    scene: Annotated[
        Path,
        typer.Option(help="An image whose bands are the model's features, in their order."),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the model to write.")],
    labels: LABELS = None,
    variable: VARIABLE = None,
    label_variable: LABEL_VARIABLE = None,
    axes: AXES = None,
    nodata: NODATA = None,
    label_field: LABEL_FIELD = None,
    label_layer: LABEL_LAYER = None,
    legend: LEGEND = None,
    keep_bands: KEEP_BANDS = None,
    drop_bands: DROP_BANDS = None,
) -> None:
    """Import a model of svm-train, so that hypercover predict maps whole scenes with it.

    The scene says which bands the features are, its labels what the classes are called.

    Example: hypercover libsvm import fields.model --scene cube.hdr -o fields-svm
    """
    from hypercover.experiment.libsvm_export import import_model

    opened = chosen_scene(
        scene, labels, variable=variable, label_variable=label_variable, axes=axes,
        nodata=nodata, label_field=label_field, label_layer=label_layer, legend=legend,
        keep_bands=keep_bands, drop_bands=drop_bands)  # fmt: skip
    said = import_model(file, opened, out)
    say(f"Model: {out} ({said})")


VERBS: dict[str, Callable[..., None]] = {
    "sets": command,
    "write": write,
    "map": map_,
    "info": info,
    "read": read,
    "export": export,
    "import": import_,
}
"""The verbs of ``hypercover libsvm`` by name."""
