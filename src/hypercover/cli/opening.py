"""What commands share that open a scene: its bands, its split, and what it leaves undeclared."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer

from hypercover.errors import CallError

if TYPE_CHECKING:
    from hypercover.samples.split import Split
    from hypercover.scene.scene import Scene

__all__ = ["CHAIN", "HALVES", "SPLIT", "TRAIN", "asked_split", "chosen_scene", "tell_fill"]

SPLIT = Annotated[
    Path | None, typer.Option(help="A kept split, runs/NAME/split.tif: notes its parts.")
]
TRAIN = Annotated[
    str | None,
    typer.Option(help="Draw training pixels: a share (0.1) or a number of each class."),
]
HALVES = Annotated[
    str,
    typer.Option(help="Half a pixel of --train counts as: even (2.5 are 2) or up (3)."),
]
CHAIN = Annotated[
    str | None, typer.Option(help="Image features in the place of bands: kpca:5,esdap.")
]


def chosen_scene(image: Path, labels: Path | None, **given: Any) -> "Scene":
    """Open a scene with its bands chosen."""
    from hypercover.scene.bands import select_bands
    from hypercover.scene.reading import open_scene

    keep, drop = given.pop("keep_bands"), given.pop("drop_bands")
    scene = open_scene(image, labels, **given)
    tell_fill(scene)
    return select_bands(scene, keep=keep, drop=drop) if keep or drop else scene


def tell_fill(*scenes: "Scene") -> None:
    """Print what looks like no data that nothing declares, where notes are not shown."""
    from hypercover.cli.tables import say
    from hypercover.scene.nodata import fill_notes

    for scene in scenes:
        say(*(f"Note: {scene.name}: {note}" for note in fill_notes(scene.notes)))


def asked_split(
    scene: "Scene", path: Path | None, train: str | None, seed: int, halves: str = "even"
) -> "Split | None":
    """Open or draw a split, if one is asked for.

    Raises
    ------
    CallError
        If both are asked for, or the split is damaged or of another size.
    """
    if path is not None and train is not None:
        raise CallError(
            "--split and --train both say which pixels train; give one of them."
        )
    if path is not None:
        from hypercover.samples.split import Split

        split = Split.load(path.parent, path.stem)
        split.samples("train", scene.usable_labels)
        return split
    if train is None:
        return None
    from hypercover.samples.random import RandomSplit

    if halves not in ("even", "up"):
        raise CallError(f"--halves takes even or up, got {halves!r}.")
    drawn = RandomSplit(train=_share(train), halves=cast(Literal["even", "up"], halves))
    return drawn.split(scene.usable_labels, seed=seed)


def _share(text: str) -> float | int:
    """Read a share of each class, or a number of pixels of each."""
    try:
        return int(text) if text.isdigit() else float(text)
    except ValueError as error:
        raise CallError(
            f"--train takes a share such as 0.1 or a number of pixels of each class, got "
            f"{text!r}."
        ) from error
