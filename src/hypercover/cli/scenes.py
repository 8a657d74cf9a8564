"""``hypercover scenes``: the benchmark scenes hypercover knows."""

from typing import Annotated

import typer

__all__ = ["command"]


def command(
    name: Annotated[
        str | None,
        typer.Argument(help="A scene to say everything of; else all are listed."),
    ] = None,
) -> None:
    """List the known benchmark scenes, or say everything known of one.

    Example: hypercover scenes pavia-university
    """
    from hypercover.cli.catalogue import scene_lines, scenes_table
    from hypercover.cli.tables import show
    from hypercover.scene.catalog import known_scene, known_scenes

    if name is None:
        show(*scenes_table(known_scenes()))
    else:
        show(*scene_lines(known_scene(name)))
