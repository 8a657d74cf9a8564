"""``hypercover scenes``: the benchmark scenes hypercover knows."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hypercover.cli.terminal import say
from hypercover.errors import counted

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from hypercover.scene.datasets.catalog import KnownFile, KnownScene


_UNKNOWN = "unknown"


def scenes_table(scenes: Iterable[KnownScene]) -> list[RenderableType]:
    """List known scenes, one a row."""
    from rich.table import Table

    from hypercover.cli.tables import table_cell

    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("name", "scene", "pixels", "bands", "classes", "can be fetched"):
        table.add_column(column)
    for scene in scenes:
        table.add_row(
            table_cell(scene.key),
            table_cell(scene.title),
            _size(scene),
            str(scene.bands),
            str(scene.classes or _UNKNOWN),
            "yes" if all(file.downloads for file in scene.files) else "by hand",
        )
    more = "hypercover scenes NAME says more, hypercover fetch NAME brings the files."
    return [table, "", more]


def scene_lines(scene: KnownScene) -> list[RenderableType]:
    """Say everything known of a scene."""
    from rich.table import Table

    from hypercover.cli.tables import table_cell

    table = Table(show_header=False, box=None, padding=(0, 2, 0, 2))
    table.add_column()
    # An address that is cut short leads nowhere.
    table.add_column(overflow="fold")
    table.add_row("sensor", table_cell(scene.sensor))
    table.add_row("image", f"{_size(scene)} pixels × {counted(scene.bands, 'band')}")
    table.add_row("wavelengths", table_cell(scene.wavelengths))
    table.add_row("bad bands", table_cell(scene.bad_bands))
    for file in scene.files:
        _add_file(table, file)
    for defect in scene.defects:
        table.add_row("defect", table_cell(defect))
    table.add_row("licence", table_cell(scene.licence))
    table.add_row("cite", table_cell(scene.citation))
    return [
        f"[bold]{table_cell(scene.title)}[/] ({table_cell(scene.key)})",
        table,
        *_classes(scene),
    ]


def _size(scene: KnownScene) -> str:
    if scene.rows is None or scene.cols is None:
        return _UNKNOWN
    return f"{scene.rows} × {scene.cols}"


def _add_file(table: Table, file: KnownFile) -> None:
    """Say where a file is and what it is known by."""
    from hypercover.cli.tables import table_cell

    table.add_row("file", table_cell(f"{file.name} ({file.role})"))
    for address in dict.fromkeys((file.address, *file.downloads)):
        table.add_row("", table_cell(address))
    for kind, value in (("SHA-256", file.sha256), ("git blob", file.git_blob)):
        if value is not None:
            table.add_row("", f"{kind} {value}")
    if file.sha256 is None and file.git_blob is None:
        table.add_row("", "checksum unknown: known by what it holds")


def _classes(scene: KnownScene) -> list[RenderableType]:
    """Tabulate the classes of a scene with their published counts."""
    from rich.table import Table

    from hypercover.cli.tables import table_cell

    land = scene.land
    if not land:
        return ["Its classes are unknown here."]
    known = sum(one.pixels or 0 for one in land)
    total = f", {counted(known, 'labelled pixel')}" if known else ""
    table = Table(title=f"{len(land)} classes{total}", title_justify="left")
    table.add_column("code", justify="right")
    table.add_column("colour")
    table.add_column("class")
    table.add_column("pixels", justify="right")
    for one in land:
        pixels = _UNKNOWN if one.pixels is None else f"{one.pixels:,}"
        table.add_row(
            str(one.code), f"[{one.color}]■[/] {one.color}", table_cell(one.name), pixels
        )
    return ["", table]


def command(
    name: Annotated[
        str | None,
        typer.Argument(help="A scene to say everything of; else all are listed."),
    ] = None,
) -> None:
    """List the known benchmark scenes, or say everything known of one.

    Example: hypercover scenes pavia-university
    """
    from hypercover.cli.tables import show
    from hypercover.scene.datasets.catalog import known_scene, known_scenes

    if name is None:
        show(*scenes_table(known_scenes()))
    else:
        show(*scene_lines(known_scene(name)))


def fetch(
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
