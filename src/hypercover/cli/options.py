"""Options that several commands share, so that they mean the same everywhere.

``IMAGE`` and the options below it: info, classify, features.  ``SEED``: demo, classify,
features, simulate.  ``WORKERS``, ``DEVICE``, ``PROCESSES``: demo, classify, run, gap;
``DEVICE``: predict.  ``MAJORITY``, ``SIEVE``, ``WITHIN``, ``WITHIN_LAYER``: predict, export.
``EXECUTOR``, ``DASK``: run, gap, search, and with ``TILE_WORKERS`` and ``OVERLAP``
features and predict.
``EXPERIMENT``, ``SET``, ``RUN_SEED``, ``DATA``, ``SCENE``: run, gap, search.
``RUN_FOLDER``: these and classify.  ``GRID``: plan, submit.  ``PREPARED``: work, status,
logs, cancel, resume.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

IMAGE = Annotated[
    Path, typer.Argument(help="The image: .mat, .hdr, .tif, .lan, .h5, .nc, .npz …")
]
LABELS = Annotated[
    Path | None,
    typer.Option(
        "--labels",
        "-l",
        help="Labels: a raster on the image's grid or a vector file; none: take none of the "
        "image's own file.",
    ),
]
VARIABLE = Annotated[
    str | None,
    typer.Option(help="Variable that holds the image, where a file has several."),
]
LABEL_VARIABLE = Annotated[
    str | None,
    typer.Option(help="Variable that holds the labels, where a file has several."),
]
AXES = Annotated[
    str | None, typer.Option(help="Order of the axes in the file, such as row,col,band.")
]
NODATA = Annotated[
    list[str] | None,
    typer.Option(
        help="A value that stands for no data beside what the file declares (repeatable); "
        "all-zero: pixels that are 0 in all bands; none: forget what the file declares."
    ),
]
LABEL_FIELD = Annotated[
    str | None, typer.Option(help="Attribute of a vector file that is the class.")
]
LABEL_LAYER = Annotated[
    str | None, typer.Option(help="Layer of a vector file, where it holds several.")
]
LEGEND = Annotated[
    Path | None, typer.Option(help="Table of code, name and color (CSV, YAML or JSON).")
]
DROP_BANDS = Annotated[
    str | None,
    typer.Option(
        help="Bands to drop: 104-108,220 or 1350-1430nm or water-absorption or bad."
    ),
]
KEEP_BANDS = Annotated[
    str | None,
    typer.Option(help="Bands to keep: 1-103,109-149 or 400-900nm (default: all)."),
]
SEED = Annotated[int, typer.Option(min=0, help="Seed of everything random.")]
WORKERS = Annotated[
    int | None,
    typer.Option(
        min=1, help="Processes that share the work (default: 1, or all cores for repeats)."
    ),
]
EXECUTOR = Annotated[
    str | None,
    typer.Option(
        help="Who does the tasks: inprocess, local or dask (default: local for several "
        "workers, or else this process)."
    ),
]
DASK = Annotated[
    str | None,
    typer.Option(
        help="Dask scheduler: tcp://host:8786, its scheduler file, slurm, pbs-pro or "
        "pbs-torque (default: workers on this machine)."
    ),
]
OVERLAP = Annotated[
    int | None,
    typer.Option(
        min=0,
        help="Pixels around a piece from which attribute profiles are computed piece by "
        "piece: for images larger than memory, and nearly the same.",
    ),
]
TILE_WORKERS = Annotated[
    int | None,
    typer.Option(
        "--workers", min=1, help="Processes that share the tiles (default: this one)."
    ),
]
DEVICE = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
PROCESSES = Annotated[
    int | None,
    typer.Option(
        min=1, help="Processes that train each network together, with a GPU or cores each."
    ),
]
MAJORITY = Annotated[
    int,
    typer.Option(
        help="Give each pixel the commonest class of a square of so many pixels (3, 5 …)."
    ),
]
SIEVE = Annotated[
    int, typer.Option(help="Merge regions of fewer pixels into their largest neighbour.")
]
WITHIN = Annotated[
    Path | None,
    typer.Option(help="Area to map: polygons, or a raster on its grid; no data outside."),
]
WITHIN_LAYER = Annotated[
    str | None, typer.Option(help="Layer of --within, where it holds several.")
]
EXPERIMENT = Annotated[str, typer.Argument(help="An experiment file, or a built-in name.")]
DATA = Annotated[
    list[Path] | None,
    typer.Option(
        "--data",
        help="Folder to look for the scene of a named experiment (default: "
        "$HYPERCOVER_DATA, ./data, ., ~/hypercover).",
    ),
]
SCENE = Annotated[
    str | None,
    typer.Option(
        help="Scene of a named experiment: real, stand-in or simulated (default: the "
        "first that can be had)."
    ),
]
GRID = Annotated[
    bool,
    typer.Option("--search", help="The grid search of the experiment instead of its run."),
]
PREPARED = Annotated[
    Path, typer.Argument(help="Folder of a run, or search/ in it.", show_default=False)
]
RUN_FOLDER = Annotated[Path | None, typer.Option("--out", "-o", help="Folder of the run.")]
SET = Annotated[
    list[str] | None, typer.Option("--set", help="Change one value: key.inner=value.")
]
RUN_SEED = Annotated[int | None, typer.Option(min=0, help="Seed instead of the file's.")]


def changes(
    given: Sequence[str] | None,
    *,
    seed: int | None = None,
    device: str = "",
    processes: int | None = None,
) -> list[str]:
    """Return all changes to an experiment file as ``--set`` writes them.

    Examples
    --------
    >>> changes(["map=false"], seed=0, processes=2)
    ['map=false', 'seed=0', 'processes=2']
    """
    options = {"seed": seed, "device": device or None, "processes": processes}
    said = [f"{key}={value}" for key, value in options.items() if value is not None]
    return [*(given or []), *said]


def stated(nodata: Sequence[str] | None) -> str | None:
    """Return what was stated as no data as one text, as it is kept with a piece of work."""
    return ",".join(nodata) if nodata else None


def run_folder(out: Path | None, name: str) -> Path:
    """Return the folder of a run: what was asked for, or else one of its name."""
    return out or Path("runs") / name
