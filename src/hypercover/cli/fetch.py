"""``hypercover fetch``: the files of a known scene, from the disk or from the web."""

from pathlib import Path
from typing import Annotated

import typer

from hypercover.cli.terminal import say

__all__ = ["command"]


def command(
    name: Annotated[
        str, typer.Argument(help="A known scene: hypercover scenes lists them.")
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder for the files (default: data/NAME)."),
    ] = None,
    data: Annotated[
        list[Path] | None,
        typer.Option(help="Folder to look through first; may be given again."),
    ] = None,
) -> None:
    """Bring the files of a known scene onto the disk, and check what they are.

    A file that is there already is known by its content, under any name.  A broken
    download goes on where it stopped when the same command is given again.

    Example: hypercover fetch indian-pines -o data
    """
    from hypercover.cli.progress import bar
    from hypercover.experiment.config.presets import default_folders
    from hypercover.scene.datasets.catalog import known_scene
    from hypercover.scene.datasets.fetch import fetch_scene

    scene = known_scene(name)
    folder = out or Path("data") / scene.key
    for got in fetch_scene(scene, folder, look_in=data or default_folders(), watch=bar):
        say(f"{got.file.name}: {got.path} ({got.how})")
    say(f"Cite: {scene.citation}")
