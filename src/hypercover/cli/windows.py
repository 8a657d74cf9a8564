"""``hypercover windows``: the windows around labelled pixels as one HDF5 file."""

from pathlib import Path
from typing import Annotated

from typer import Option

from hypercover.cli import options
from hypercover.cli.terminal import bar, say
from hypercover.errors import counted


def windows(
    *,
    image: options.IMAGE,
    out: Annotated[Path, Option("--out", "-o", help="HDF5 file to write: W.h5.")],
    labels: options.LABELS = None,
    size: Annotated[int, Option(help="Side of the windows in pixels, odd.")] = 9,
    split_options: options.SplitOptions,
    coordinates_only: Annotated[
        bool,
        Option(
            "--coordinates-only", help="Leave out the windows, which the scene gives again."
        ),
    ] = False,
    chain: options.CHAIN = None,
    seed: options.SEED = 0,
    scene_options: options.SceneOptions,
) -> None:
    """Write the windows around all labelled pixels of a scene, for training a network.

    If stopped, the same command resumes.

    Example: hypercover windows cube.hdr --labels fields.tif --size 9 --train 0.1 -o W.h5
    """
    from hypercover.experiment.window_export import plan_windows, window_pieces
    from hypercover.features.chain import Chain
    from hypercover.scene.io.writing import check_overwrite
    from hypercover.scene.samples import check_window

    check_overwrite(out, image, labels, scene_options.legend)
    scene = scene_options.open(image, labels)
    split = split_options.open(scene, seed)
    check_window(size, scene.shape)
    if chain is not None:
        with bar("Image features") as advance:
            scene = Chain.parse(chain).fit_transform(scene, seed=seed, progress=advance)
    opened = [scene_options.variable, scene_options.axes, scene_options.nodata]
    writer = plan_windows(
        scene,
        out,
        size=size,
        split=split,
        coordinates_only=coordinates_only,
        made=[*opened, chain, seed if chain else None],
    )
    count, bands = len(writer.samples), counted(len(writer.metadata.bands), "band")
    stored = (
        f"{_bytes(writer.bytes)} before compression, {size**2} times the "
        f"{_bytes(writer.bytes // size**2)} of their centre pixels"
    )
    stored = "coordinates only" if coordinates_only else stored
    say(f"{counted(count, 'window')} of {size} × {size} pixels and {bands}: {stored}")
    with writer.begun() as draft:
        writer.check_space(draft.done)
        if draft.discarded:
            say("A draft of another scene, size or split was discarded.")
        if draft.done:
            say(f"Going on after {draft.done:,} of {count:,} windows.")
        with bar("Writing") as advance:
            draft.write(window_pieces(scene, writer), advance)
    size_on_disk = _bytes(writer.path.stat().st_size)
    say(f"Windows: {writer.path} ({size_on_disk} on the disk)")


def _bytes(count: int) -> str:
    """Write a number of bytes with its unit."""
    for unit, size in (("GiB", 2**30), ("MiB", 2**20)):
        if count >= size:
            return f"{count / size:,.1f} {unit}"
    return f"{count / 2**10:,.1f} KiB"
