"""``hypercover scenes`` and ``fetch``: scenes known by name."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from hypercover.cli.terminal import bar, say
from hypercover.errors import counted

if TYPE_CHECKING:
    from rich.console import RenderableType

    from hypercover.scene.datasets.catalog import KnownFile, KnownScene


_UNKNOWN = "unknown"


def scenes_table(scenes: Iterable[KnownScene]) -> list[RenderableType]:
    """Return a table of known scenes, one per row."""
    from hypercover.cli.tables import new_table, table_cell

    heads = ("name", "scene", "pixels", "bands", "classes", "can be fetched")
    table = new_table(left=heads, box=None, padding=(0, 2, 0, 0))
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
    """Describe a known scene."""
    from hypercover.cli.tables import facts_table, table_cell

    facts: list[tuple[str, object]] = [
        ("sensor", scene.sensor),
        ("image", f"{_size(scene)} pixels × {counted(scene.bands, 'band')}"),
        ("wavelengths", scene.wavelengths),
        ("bad bands", scene.bad_bands),
        *(fact for file in scene.files for fact in _file_facts(file)),
        *(("defect", defect) for defect in scene.defects),
        ("licence", scene.licence),
        ("cite", scene.citation),
    ]
    return [
        f"[bold]{table_cell(scene.title)}[/] ({table_cell(scene.key)})",
        # An address that is cut short leads nowhere.
        facts_table(facts, indent=2, overflow="fold"),
        *_classes(scene),
    ]


def _size(scene: KnownScene) -> str:
    if scene.rows is None or scene.cols is None:
        return _UNKNOWN
    return f"{scene.rows} × {scene.cols}"


def _file_facts(file: KnownFile) -> list[tuple[str, str]]:
    """Say where a file is and what it is recognised by."""
    addresses = dict.fromkeys((file.address, *file.downloads))
    sums = {"SHA-256": file.sha256, "git blob": file.git_blob}
    lines = [f"{kind} {value}" for kind, value in sums.items() if value is not None]
    lines = lines or ["checksum unknown: known by what it holds"]
    more = [("", line) for line in (*addresses, *lines)]
    return [("file", f"{file.name} ({file.role})"), *more]


def _classes(scene: KnownScene) -> list[RenderableType]:
    """Tabulate the classes of a scene with their published counts."""
    from hypercover.cli.tables import new_table, table_cell

    classes = scene.known_classes
    if not classes:
        return ["Its classes are unknown here."]
    labelled = sum(row.pixels or 0 for row in classes)
    total = f", {counted(labelled, 'labelled pixel')}" if labelled else ""
    heads = ("code", "colour", "class")
    table = new_table(f"{len(classes)} classes{total}", left=heads, right=["pixels"])
    table.columns[0].justify = "right"
    for row in classes:
        pixels = _UNKNOWN if row.pixels is None else f"{row.pixels:,}"
        patch = f"[{row.color}]■[/] {row.color}"
        table.add_row(str(row.code), patch, table_cell(row.name), pixels)
    return ["", table]


def scenes(
    name: Annotated[
        str | None, Argument(help="A scene to describe in full; without it all are listed.")
    ] = None,
) -> None:
    """List the known benchmark scenes, or describe one in full.

    Example: hypercover scenes pavia-university
    """
    from hypercover.cli.tables import show
    from hypercover.scene.datasets.catalog import known_scene, known_scenes

    if name is None:
        show(*scenes_table(known_scenes()))
    else:
        show(*scene_lines(known_scene(name)))


def fetch(
    name: Annotated[str, Argument(help="A known scene: hypercover scenes lists them.")],
    out: Annotated[
        Path | None,
        Option("--out", "-o", help="Folder for the files (default: data/NAME)."),
    ] = None,
    data: Annotated[
        list[Path] | None, Option(help="Folder to search first (repeatable).")
    ] = None,
) -> None:
    """Download the files of a known scene and verify them.

    Files that exist already are recognised by their content, under any name.  The same
    command resumes an interrupted download.

    Example: hypercover fetch indian-pines -o data
    """
    from hypercover.experiment.config.presets import default_folders
    from hypercover.scene.datasets.catalog import known_scene
    from hypercover.scene.datasets.fetch import fetch_scene

    scene = known_scene(name)
    folder = out or Path("data") / scene.key
    for fetched in fetch_scene(scene, folder, look_in=data or default_folders(), watch=bar):
        say(f"{fetched.file.name}: {fetched.path} ({fetched.how})")
    say(f"Cite: {scene.citation}")
