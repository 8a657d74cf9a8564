"""``hypercover windows``: the windows around labelled pixels as one HDF5 file."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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

if TYPE_CHECKING:
    from hypercover.scene.scene import Scene
    from hypercover.windows.window_writer import Draft, WindowWriter


def command(
    image: IMAGE,
    out: Annotated[Path, typer.Option("--out", "-o", help="HDF5 file to write: W.h5.")],
    labels: LABELS = None,
    size: Annotated[int, typer.Option(help="Side of the windows in pixels, odd.")] = 9,
    split: SPLIT = None,
    train: TRAIN = None,
    halves: HALVES = "even",
    coordinates_only: Annotated[
        bool,
        typer.Option(
            "--coordinates-only", help="Leave out the windows, which the scene gives again."
        ),
    ] = False,
    chain: CHAIN = None,
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
    """Write the windows around all labelled pixels of a scene, for training a network.

    Stopped, it goes on where it was when the same command is given again.

    Example: hypercover windows cube.hdr --labels fields.tif --size 9 --train 0.1 -o W.h5
    """
    from hypercover.experiment.window_export import plan_windows
    from hypercover.scene.io.writing import check_overwrite
    from hypercover.scene.samples import check_window

    check_overwrite(out, image, labels, legend)
    scene = chosen_scene(
        image, labels, variable=variable, label_variable=label_variable, axes=axes,
        nodata=nodata, label_field=label_field, label_layer=label_layer, legend=legend,
        keep_bands=keep_bands, drop_bands=drop_bands)  # fmt: skip
    parts = asked_split(scene, split, train, seed, halves)
    check_window(size, scene.shape)
    scene = _seen(scene, chain, seed)
    writer = plan_windows(
        scene,
        out,
        size=size,
        split=parts,
        coordinates_only=coordinates_only,
        made=[variable, axes, nodata, chain, seed if chain else None],
    )
    _write(writer, scene)


def _seen(scene: "Scene", chain: str | None, seed: int) -> "Scene":
    """Return the scene, or its image features in the place of bands."""
    if chain is None:
        return scene
    from hypercover.cli.progress import bar
    from hypercover.experiment.libsvm_export import chain_features

    with bar("Image features") as advance:
        return chain_features(scene, chain, seed=seed, progress=advance).scene


def _write(writer: "WindowWriter", scene: "Scene") -> None:
    """Say what will be written, write it, and say where it lies."""
    from hypercover.cli.progress import bar
    from hypercover.experiment.window_export import window_pieces

    _say_size(writer)
    with writer.begun() as draft:
        writer.check_space(draft.done)
        _say_draft(draft, len(writer.samples))
        with bar("Writing") as advance:
            draft.write(window_pieces(scene, writer), advance)
    size = writer.path.stat().st_size
    say(f"Windows: {writer.path} ({_bytes(size)} on the disk)")


def _say_size(writer: "WindowWriter") -> None:
    """Say how large the windows are, and how many times their pixels."""
    from hypercover.errors import counted

    metadata = writer.metadata
    what = (
        f"{counted(len(writer.samples), 'window')} of {metadata.window} × {metadata.window} pixels "
        f"and {counted(len(metadata.bands), 'band')}"
    )
    if writer.coordinates_only:
        say(f"{what}: coordinates only")
        return
    times = metadata.window**2
    pixels = _bytes(writer.bytes // times)
    say(
        f"{what}: {_bytes(writer.bytes)} before compression, {times} times the {pixels} of "
        "their centre pixels"
    )


def _say_draft(draft: "Draft", total: int) -> None:
    """Say what becomes of a draft that was found."""
    if draft.discarded:
        say("A draft of another scene, size or split was discarded.")
    if draft.done:
        say(f"Going on after {draft.done:,} of {total:,} windows.")


def _bytes(count: int) -> str:
    """Write a number of bytes as people say it."""
    for unit, size in (("GiB", 2**30), ("MiB", 2**20)):
        if count >= size:
            return f"{count / size:,.1f} {unit}"
    return f"{count / 2**10:,.1f} KiB"
