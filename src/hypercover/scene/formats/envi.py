"""ENVI's pairs of a text header and a file of pixels."""

import re
from pathlib import Path

from hypercover.errors import SceneError
from hypercover.scene.legend import Legend

__all__ = [
    "RAW",
    "class_lines",
    "data_file",
    "finish_header",
    "has_header",
    "listable",
    "one_line",
]

RAW = (".img", ".dat", ".bsq", ".bil", ".bip", ".raw", ".bin", ".rfl", ".rdn", ".cube")
"""Suffixes that files of bare pixels carry."""
_LONGEST_LINE = 1000
"""Signs in a line of a header that is written, where it is a list."""


def has_header(data: Path) -> bool:
    """Tell whether a header lies beside a file of pixels."""
    beside = {one.name.lower() for one in data.parent.iterdir()}
    return not beside.isdisjoint({f"{data.stem}.hdr".lower(), f"{data.name}.hdr".lower()})


def data_file(header: Path) -> Path:
    """Return the file of pixels that belongs to a header.

    Raises
    ------
    SceneError
        If it is not beside the header.
    """
    stem = header.with_suffix("")
    wanted = [stem.name.lower() + suffix for suffix in ("", *RAW)]
    beside = {one.name.lower(): one for one in sorted(header.parent.iterdir())}
    found = [beside[name] for name in wanted if name in beside and beside[name].is_file()]
    if not found:
        raise SceneError(
            f"The header {header} is there, but not its data: no {stem.name}, "
            f"{stem.name}.img or {stem.name}.dat beside it; put both into one folder."
        )
    return found[0]


def listable(text: str) -> str:
    """Replace the signs that would end a value or a list in a header."""
    return text.translate(str.maketrans("{},=\r\n", "();-  "))


def one_line(text: str) -> str:
    """Replace the signs that would end a value in a header, but for those of lists."""
    return text.translate(str.maketrans("{}=\r\n", "()-  "))


def finish_header(header: Path, draft: Path, description: str, more: str = "") -> None:
    """Set the description, which GDAL fills with the name of the draft, and add lines.

    Long lists are broken into lines: behind a line of 10,000 bytes GDAL reads nothing.
    """
    text = header.read_text(encoding="utf-8")
    own = "{\n" + str(draft) + "}"
    text = text.replace(own, "{" + one_line(description) + "}", 1)
    if more:
        text = text.replace(
            "file type = ENVI Standard", "file type = ENVI Classification", 1
        )
    lines = map(_broken, (text + more).split("\n"))
    header.write_text("\n".join(lines), encoding="utf-8")


def _broken(line: str) -> str:
    """Break a line behind commas; in a list that makes no difference."""
    if len(line) <= _LONGEST_LINE or "{" not in line:
        return line
    lines = [""]
    for part in re.split("(?<=, )", line):
        if len(lines[-1]) + len(part) > _LONGEST_LINE:
            lines.append("")
        lines[-1] += part
    return "\n".join(lines)


def class_lines(legend: Legend) -> str:
    """Return the header lines that name and colour the classes of a label map.

    ENVI counts classes from 0, so codes without a class get an empty slot.
    """
    names = {0: "Unlabelled"} | {land.code: listable(land.name) for land in legend}
    colors = {0: (0, 0, 0)} | {land.code: land.rgb for land in legend}
    count = max(names) + 1
    lookup = (str(part) for code in range(count) for part in colors.get(code, (0, 0, 0)))
    named = (names.get(code, f"Class {code}") for code in range(count))
    return (
        f"classes = {count}\nclass lookup = {{{', '.join(lookup)}}}\n"
        f"class names = {{{', '.join(named)}}}\n"
    )
