"""``hypercover libsvm``: data and models for LIBSVM's programs, and the way back to a map."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from hypercover.cli import options
from hypercover.cli.terminal import bar, say
from hypercover.errors import CallError, counted

if TYPE_CHECKING:
    from rich.table import Table

    from hypercover.libsvm.data import DataSummary
    from hypercover.libsvm.positions import Positions

HELP = "Write and read LIBSVM data and models, and make maps of svm-predict's output."

DATA = Annotated[Path, Argument(help="A LIBSVM data file: .el, .svm …")]
POSITIONS = Annotated[
    Path | None, Option(help="Its positions file (default: F.positions.json next to F.el).")
]
MODEL = Annotated[Path, Argument(help="Folder of an SVM: runs/NAME/models/MODEL.")]


def sets(
    *,
    image: options.IMAGE,
    out: Annotated[Path, Option("--out", "-o", help="Folder for the files.")],
    labels: options.LABELS = None,
    name: Annotated[str, Option(help="Prefix of the file names.")] = "indian",
    train: Annotated[
        float, Option(help="Share of each class that trains, drawn at random.")
    ] = 0.1,
    min_pixels: Annotated[
        int, Option(help="Leave out classes of fewer labelled pixels.")
    ] = 0,
    chain: Annotated[
        str, Option(help="Image features of the processed files.")
    ] = "lecture",
    nwfe: Annotated[int, Option(help="Number of NWFE features; 0: none.", min=0)] = 30,
    window: Annotated[
        int, Option(help="Side of the windows in pixels, odd; 0: none.", min=0)
    ] = 9,
    scale: Annotated[
        bool, Option(help="Scale bands and features to 0 to 1 over the training pixels.")
    ] = True,
    crop: Annotated[
        str | None, Option(help="Rows and columns to take: 0:1417,0:617.")
    ] = None,
    seed: options.SEED = 0,
    scene_options: options.SceneOptions,
) -> None:
    """Write the lecture's data sets: raw and processed LIBSVM files, and windows in HDF5.

    NAME_raw_training.el, NAME_raw_test.el, NAME_processed_training.el,
    NAME_processed_test.el and NAME_windows.h5, all with the same split, which is that of
    hypercover run lecture-small.  svm-train -c 100 -g 8 reads the files as they are;
    NAME_raw.range and NAME_processed.range hold their scaling.

    Example: hypercover libsvm sets cube.tif --labels truth.tif --drop-bands
    water-absorption --min-pixels 100 -o sets
    """
    from hypercover.experiment.libsvm_files import write_sets
    from hypercover.scene import selection
    from hypercover.splits.random_split import RandomSplit

    scene = scene_options.open(image, labels)
    if crop is not None:
        scene = selection.crop(scene, crop)
    if min_pixels:
        scene = selection.drop_classes(scene, min_pixels=min_pixels)
    split = RandomSplit(train=train, halves="up").split(scene.usable_labels, seed=seed)
    opened = [scene_options.variable, scene_options.axes, scene_options.nodata]
    files = write_sets(
        scene,
        split,
        out,
        name=name,
        chain=chain,
        nwfe=nwfe,
        window=window,
        scale=scale,
        seed=seed,
        made=[*opened, crop],
        watch=bar,
    )
    for file, samples, description in files:
        say(f"Data: {file} ({counted(samples, 'sample')}: {description})")


def write(
    *,
    image: options.IMAGE,
    out: Annotated[Path, Option("--out", "-o", help="Data file to write: F.el.")],
    labels: options.LABELS = None,
    split_options: options.SplitOptions,
    every: Annotated[
        bool, Option("--all", help="Every pixel with data, labelled 0 where unlabelled.")
    ] = False,
    chain: options.CHAIN = None,
    nwfe: Annotated[
        int | None,
        Option(
            help="Features NWFE makes of them, learnt from the training pixels; 0: none "
            "[default: 30 with --chain lecture, else 0].",
            min=0,
        ),
    ] = None,
    scale: Annotated[
        bool, Option("--scale", help="Scale to 0 to 1 over the training pixels: F.range.")
    ] = False,
    model: Annotated[
        Path | None,
        Option(help="Write the input of this SVM, for its exported model."),
    ] = None,
    sparse: Annotated[bool, Option("--sparse", help="Leave zeros out.")] = False,
    seed: options.SEED = 0,
    scene_options: options.SceneOptions,
) -> None:
    """Write the labelled pixels of a scene as LIBSVM data, with a file of their positions.

    Every digit is written.  The positions make a map of the prediction again.

    Example: hypercover libsvm write cube.hdr --labels fields.tif -o fields.el --train 0.1
    """
    from hypercover.experiment import libsvm_files
    from hypercover.features.chain import NWFE_FEATURES
    from hypercover.libsvm.models import write_ranges
    from hypercover.libsvm.positions import positions_path
    from hypercover.scene.io.writing import check_overwrite

    check_overwrite(out, image, labels, scene_options.legend)
    if model is not None and (nwfe or scale):
        raise CallError(
            "A model scales and reduces what its machines see; leave --nwfe and --scale out."
        )
    scene = scene_options.open(image, labels)
    split = split_options.open(scene, seed)
    if chain is not None and model is not None:
        raise CallError("A model knows its own features; leave --chain or --model out.")
    with bar("Image features") as advance:
        if model is not None:
            features = libsvm_files.model_features(scene, model, progress=advance)
        elif chain is not None:
            features = libsvm_files.chain_features(
                scene, chain, seed=seed, progress=advance
            )
        else:
            features = libsvm_files.PixelFeatures(scene)
    if nwfe is None:
        nwfe = NWFE_FEATURES.get(chain or "", 0)
    ranges = None
    if nwfe or scale:
        train = libsvm_files.training_samples(scene, split)
        features = libsvm_files.reduce_features(features, train, nwfe)
        if scale:
            features, ranges = libsvm_files.scale_features(features, train)
    with bar("Writing") as advance:
        written = libsvm_files.write_data(
            features, out, split=split, every=every, sparse=sparse, progress=advance
        )
    count = counted(len(features.names), "feature")
    for file, samples in written.items():
        size = f"{counted(samples, 'sample')}, {count}"
        say(f"Data: {file} ({size}: {features.description})")
        say(f"Positions: {positions_path(file)}")
    if ranges is not None:
        write_ranges(out.with_suffix(".range"), *ranges)
        say(f"Scaling: {out.with_suffix('.range')}")


def map_(
    predicted: Annotated[Path, Argument(help="Output of svm-predict: a label a line.")],
    positions: Annotated[
        Path, Option(help="Positions file of the data that were predicted.")
    ],
    out: Annotated[Path, Option("--out", "-o", help="Class map to write (.tif).")],
    confidence: Annotated[
        Path | None, Option(help="Also map the probabilities of svm-predict -b 1 (.tif).")
    ] = None,
) -> None:
    """Make a georeferenced map, with names and colours, of what svm-predict wrote.

    Example: hypercover libsvm map predicted.txt --positions fields-test.positions.json -o map.tif
    """
    from hypercover.experiment.libsvm_files import map_prediction
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
    from hypercover.cli.tables import show
    from hypercover.libsvm.data import summarize_libsvm
    from hypercover.libsvm.positions import positions_path, read_positions

    beside = positions_path(data)
    places = read_positions(positions or beside) if positions or beside.exists() else None
    with bar("Reading") as advance:
        summary = summarize_libsvm(data, progress=advance)
    if places is not None and (
        summary.samples != len(places) or summary.largest > places.n_features
    ):
        raise CallError(
            f"{data} holds {summary.samples} samples with indices up to {summary.largest}, its "
            f"positions file {len(places)} samples of {places.n_features} features; give the "
            "positions file that was written with the data."
        )
    show(*_tables(data, summary, places))


def _tables(
    data: Path, summary: "DataSummary", positions: "Positions | None"
) -> list["Table"]:
    """Tabulate the size of a data file, and its classes."""
    from hypercover.cli.tables import facts_table, new_table, table_cell

    facts = {"file": str(data), "samples": f"{summary.samples:,}"}
    if positions is None:
        facts["features"] = f"{summary.largest} is the largest index; there may be more"
    else:
        facts["features"] = f"{positions.n_features}: {positions.seen}"
    facts["values"] = "all written" if summary.dense else "some left out, which are 0"
    if positions is not None:
        mark = " (simulated)" if positions.simulated else ""
        grid = positions.grid
        facts["scene"] = f"{positions.scene}, {positions.part} pixels{mark}"
        facts["shape"] = f"{grid.rows} rows × {grid.cols} columns"
    table = new_table("classes", left=("label", "name"), right=["samples"])
    table.columns[0].justify = "right"
    names = {row.code: row.name for row in positions.legend} if positions else {}
    for label, count in summary.per_class.items():
        table.add_row(str(label), table_cell(names.get(label, "–")), f"{count:,}")
    return [facts_table(facts.items()), table]


def read(
    data: Annotated[list[Path], Argument(help="LIBSVM data files of one scene.")],
    out: Annotated[
        Path, Option("--out", "-o", help="Image to write (.tif, .hdr), or arrays (.npz).")
    ],
    positions: POSITIONS = None,
) -> None:
    """Turn LIBSVM data and positions back into a scene and its labels, or into arrays.

    Example: hypercover libsvm read fields-training.el fields-test.el -o fields.tif
    """
    from hypercover.experiment.libsvm_files import read_data
    from hypercover.scene.io.writing import check_overwrite

    check_overwrite(out, *data, positions)
    with bar("Reading") as advance:
        files = read_data(data, out, positions=positions, progress=advance)
    for what, file in zip(("Scene", "Labels"), files, strict=False):
        say(f"{'Arrays' if file.suffix == '.npz' else what}: {file}")


def export(
    model: MODEL,
    out: Annotated[
        Path, Option("--out", "-o", help="LIBSVM model file to write: F.model.")
    ],
) -> None:
    """Export a trained SVM as a model file for svm-predict, and its scaling for svm-scale.

    Example: hypercover libsvm export runs/fields/models/svm -o fields.model
    """
    from hypercover.experiment.libsvm_files import export_model

    ranges, advice = export_model(model, out)
    say(f"Model: {out}")
    if ranges is not None:
        say(f"Scaling: {ranges}")
    say(advice)


def import_(
    *,
    file: Annotated[Path, Argument(help="A LIBSVM model file: C-SVC with RBF kernel.")],
    scene: Annotated[
        Path, Option(help="An image whose bands are the model's features, in their order.")
    ],
    out: Annotated[Path, Option("--out", "-o", help="Folder of the model to write.")],
    labels: options.LABELS = None,
    scene_options: options.SceneOptions,
) -> None:
    """Import a model of svm-train, so that hypercover predict maps whole scenes with it.

    The scene says which bands the features are, its labels what the classes are called.

    Example: hypercover libsvm import fields.model --scene cube.hdr -o fields-svm
    """
    from hypercover.experiment.libsvm_files import import_model

    description = import_model(file, scene_options.open(scene, labels), out)
    say(f"Model: {out} ({description})")


VERBS: tuple[Callable[..., None], ...] = (sets, write, map_, info, read, export, import_)
"""The verbs of ``hypercover libsvm``, each called as its function."""
