"""ENVI images: a text header, and a data file of raw pixels."""

import codecs
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from math import prod
from pathlib import Path

from hypercover.errors import SceneError
from hypercover.files import modified_ns
from hypercover.scene.io.safe_parsers import decode_text, read_bounded
from hypercover.scene.legend import Legend
from hypercover.scene.nodata import declares_nodata

_INTERLEAVES = (".bsq", ".bil", ".bip")
RAW = (".img", ".dat", *_INTERLEAVES, ".raw", ".bin", ".rfl", ".rdn", ".cube", ".flt")
"""Suffixes of raw data files."""
_MAX_WRITTEN_LINE = 1000
"""Length at which lists in a written header are broken into lines."""
_MAX_READ_LINE = 9000
"""Length of a line in bytes up to which GDAL can read it."""
_MAX_HEADER_BYTES = 16 * 2**20
"""Largest header in bytes; one of 10,000 bands has about 300 thousand."""
_NEEDED = ("samples", "lines", "bands")
_BYTES = {1: 1, 2: 2, 3: 4, 4: 4, 5: 8, 6: 8, 9: 16, 12: 2, 13: 4, 14: 8, 15: 8}
"""Bytes of a value by ENVI's ``data type``."""
_NOT_PIXELS = re.compile(
    r".*\.(hdr|xml|ovr|msk|qml|qmd|prj|txt|csv|json|tfw|wld|enp|sta|jpg|png|pdf|zip|gpkg|shp|"
    r"dbf|shx|cpg|clr|stx|kml)",
    re.IGNORECASE | re.DOTALL,
)
"""Names of files next to a header that are not its data file."""
_FORMATS = rb"II\*\0|MM\0\*|II\+\0|MM\0\+|EHFA_HEADER_TAG|\x89PNG|\xff\xd8\xff|\x89HDF"
"""First bytes of the images that a header may accompany."""
_OTHERS = (
    _FORMATS + rb"|CDF|MATLAB |PK\x03\x04|\x93NUMPY|NITF|HEAD74|HEADER|SQLite|GIF8|BM|"
    rb"\0\0\0\x0cjP|\xff\x4f\xff\x51|SIMPLE|RIFF|<|\{"
)
"""First bytes of files in other formats, and rarely of raw pixels."""
_BLANK = codecs.BOM_UTF8 + b" \t\r\n"


@dataclass(frozen=True, eq=False)
class RasterHeader:
    """The entries of the text header of a raw data file."""

    path: Path
    """The header."""
    entries: Mapping[str, str] = field(default_factory=dict)
    """Values by key, in lower case with underscores."""
    esri: bool = False
    """Whether it is an ESRI header (``NROWS 13``) rather than one of ENVI (``lines = 13``)."""
    standard: bool = True
    """Whether GDAL reads it correctly as it is."""

    @property
    def raw(self) -> bool:
        """Whether the data file holds raw pixels, not a format of its own such as TIFF."""
        return self.esri or "envi" in self.entries.get("file_type", "ENVI").lower()

    @property
    def size(self) -> int | None:
        """Size that the data file must have in bytes; None if unknown."""
        entries: dict[str, str] = {"nbands": "1", "nbits": "8", **self.entries}
        if not self.esri and entries.get("file_compression", "0").strip() not in {"", "0"}:
            return None
        sides = ("nrows", "ncols", "nbands") if self.esri else _NEEDED
        offset = entries.get("skipbytes" if self.esri else "header_offset") or "0"
        try:
            values = prod(int(entries[side]) for side in sides)
            if self.esri:
                return int(offset) + values * int(entries["nbits"]) // 8
            return int(offset) + values * _BYTES[int(entries["data_type"])]
        except (KeyError, ValueError):
            return None


def read_header(path: Path) -> RasterHeader:
    """Read the header of an ENVI or ESRI image, in any encoding and spelling of its keys.

    Raises
    ------
    SceneError
        If it is not such a header, or lacks the size of the image.
    """
    return _read_header(path, modified_ns(path))


@lru_cache(maxsize=64)
def _read_header(path: Path, _changed: int) -> RasterHeader:
    raw = read_bounded(path, _MAX_HEADER_BYTES)
    text, is_utf8 = decode_text(raw, "replace")
    # Five bytes are undefined in Windows-1252.
    text = text if is_utf8 else text.replace("\ufffd", "?")
    entries = _entries(text)
    # An ESRI header has a key and a value in each line.
    pairs = (line.split(None, 1) for line in text.splitlines())
    esri = {_spelling(pair[0]): pair[1].strip() for pair in pairs if len(pair) == 2}
    if {"nrows", "ncols"} <= esri.keys() and "samples" not in entries:
        # Bytes are unsigned by default; GDAL takes a negative no-data value for a sign.
        untyped = esri.get("nbits", "8") == "8" and "pixeltype" not in esri
        if untyped and "nbits" not in esri and "cellsize" in esri:
            esri |= {"pixeltype": "FLOAT", "nbits": "32"}
        elif untyped:
            esri |= {"pixeltype": "UNSIGNEDINT"}
        return RasterHeader(path, esri, True, is_utf8 and not untyped)
    if missing := [key for key in _NEEDED if key not in entries]:
        is_envi = text.lstrip().upper().startswith("ENVI") or len(missing) < len(_NEEDED)
        what = "an ENVI header that lacks" if is_envi else "not an image header: it lacks"
        raise SceneError(f"{path} is {what} {' and '.join(missing)}; add them.")
    if "spectral library" in entries.get("file_type", "").lower():
        raise SceneError(f"{path} is of a spectral library; give the header of an image.")
    standard = (
        is_utf8
        and raw.startswith(b"ENVI")
        and max(map(len, raw.split(b"\n")), default=0) < _MAX_READ_LINE
        and b"\r" not in raw.replace(b"\r\n", b"")
        and _is_usual(text, entries)
    )
    return RasterHeader(path, entries, standard=standard)


_LINE = re.compile(
    # A list without a closing brace ends before the next line with a key.
    r"^[ \t]*([^=;{}\r\n]+?)[ \t]*="
    r"[ \t]*(\{[^{}]*\}|\{[^{}]*?(?=\n[ \t]*[a-z][^=\n{}]*=)|\{[^}]*\}?|[^\r\n]*)",
    re.MULTILINE | re.IGNORECASE,
)
_COMMENT = re.compile(r"^[ \t]*;.*$", re.MULTILINE)
_FORTRAN = re.compile(r"(?<![\w.])([+-]?(?:\d+\.?\d*|\.\d+))d([+-]?\d+)(?![\w.])", re.I)
"""A double-precision number as Fortran and IDL write it, such as 1.5D+03."""
_IGNORED = "data_ignore_value"


def _entries(text: str) -> dict[str, str]:
    """Return the entries of an ENVI header; of repeated keys, the first."""
    bare = _COMMENT.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
    entries: dict[str, str] = {}
    for key, value in _LINE.findall(bare):
        entries.setdefault(_spelling(key), _value(_spelling(key), " ".join(value.split())))
    for key in list(entries):
        if declares_nodata(key):
            entries.setdefault(_IGNORED, _value(_IGNORED, entries[key]))
    if not re.search(r"\d|nan|inf", entries.get(_IGNORED, "0"), re.IGNORECASE):
        # GDAL takes words and blanks for 0.
        del entries[_IGNORED]
    return entries


def _value(key: str, text: str) -> str:
    """Write numbers as C does, and equal values to ignore only once."""
    if text.startswith("{") and "}" not in text:
        text += "}"
    if key == "description" or "name" in key:
        return text
    plain = _FORTRAN.sub(r"\1e\2", text)
    if key != _IGNORED or not plain.startswith(("{", '"', "'", "(", "[")):
        return plain
    inner = plain.strip("{}\"'()[] ")
    each = set(inner.replace(",", " ").split())
    return each.pop() if len(each) == 1 else f"{{{inner}}}"


def _is_usual(text: str, entries: Mapping[str, str]) -> bool:
    """Tell whether GDAL reads the same entries from this text."""
    lines = _LINE.findall(text.replace("\r\n", "\n"))
    keys = [re.sub("[ _]", "_", key) for key, _ in lines]
    values = [" ".join(value.split()) for _, value in lines]
    return (
        not _COMMENT.search(text)
        and text.count("{") == text.count("}")
        and len(keys) == len(entries)
        and [entries.get(key) for key in keys] == values
    )


def _spelling(key: str) -> str:
    return re.sub(r"[\s_]+", "_", key.strip().lower())


def headers_of(data: Path) -> list[Path]:
    """Return the headers of a data file, the most specific first."""
    names = [f"{data.name}.hdr".lower(), f"{data.stem}.hdr".lower()]
    files = {file.name.lower(): file for file in data.parent.iterdir()}
    headers = {name: file for name, file in files.items() if file.suffix.lower() == ".hdr"}
    return [headers[name] for name in dict.fromkeys(names) if name in headers]


def find_header(data: Path) -> RasterHeader | None:
    """Return the header of a raw data file, or None for any other file.

    Raw pixels may begin like a file of another format, so a header that asks for exactly
    the size of the file is believed.
    """
    if _NOT_PIXELS.fullmatch(data.name) or not data.is_file():
        return None
    for path in headers_of(data):
        try:
            header = read_header(path)
        except SceneError:
            continue
        fits = header.size == data.stat().st_size
        if header.raw and (fits or not re.match(_OTHERS, _head(data).lstrip(_BLANK))):
            return header
    return None


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(16)


def data_file(header: Path) -> Path:
    """Return the data file of a header, whatever its suffix.

    Raises
    ------
    SceneError
        If it is not next to the header, or the header is invalid.
    """
    changed = header.stat().st_mtime_ns
    data = _data_file(header, changed)
    if not data.is_file():
        _data_file.cache_clear()
        data = _data_file(header, changed)
    return data


@lru_cache(maxsize=64)
def _data_file(path: Path, _changed: int) -> Path:
    header = read_header(path)
    stem = path.with_suffix("").name.lower()
    beside = sorted(path.parent.iterdir())
    files = {file.name.lower(): file for file in beside if file.is_file()}
    same_stem = [name for name, file in files.items() if file.stem.lower() == stem]
    if header.raw:
        least = header.size or 0
        names = [stem, *(stem + suffix for suffix in RAW)]
        others = [name for name in same_stem if not _NOT_PIXELS.fullmatch(name)]
        names += [name for name in others if files[name].stat().st_size >= least]
    else:
        names = [name for name in same_stem if re.match(_FORMATS, _head(files[name]))]
    candidates = [files[name] for name in names if name in files]
    if not candidates:
        size = "" if header.size is None else f" of {header.size:,} bytes"
        raise SceneError(
            f"The header {path} has no data file: no file{size} called {stem}, "
            f"{stem}.img, {stem}.dat or {stem}.* is next to it; put both into one folder."
        )
    exact = [file for file in candidates if file.stat().st_size == header.size]
    return (exact or candidates)[0]


@contextmanager
def gdal_readable(header: RasterHeader, data: Path) -> Iterator[tuple[Path, str]]:
    """Give a path under which GDAL reads a data file, and the driver.

    A header that GDAL would misread (in another encoding, with keys in capitals or lines of
    more than 10,000 bytes) is rewritten in a temporary folder, next to a link to the pixels.
    """
    driver = "EHdr" if header.esri else "ENVI"
    usual = {f"{data.stem}.hdr", f"{data.name}.hdr"}
    others = [file for file in headers_of(data) if file.name != header.path.name]
    if header.standard and header.path.name in usual and not others:
        yield data, driver
        return
    with tempfile.TemporaryDirectory(prefix="hypercover-header-") as folder:
        pixels = Path(folder) / "pixels.bin"
        pixels.symlink_to(data.absolute())
        pairs = {f"{data.name}.aux.xml": "pixels.bin.aux.xml"}
        pairs |= {f"{data.stem}{suffix}": f"pixels{suffix}" for suffix in (".prj", ".clr")}
        for old, new in pairs.items():
            if data.with_name(old).is_file():
                pixels.with_name(new).symlink_to(data.with_name(old).absolute())
        entries = header.entries.items()
        if header.esri:
            lines = [f"{key.upper()} {value}" for key, value in entries]
        else:
            spelled = [f"{key.replace('_', ' ')} = {text}" for key, text in entries]
            lines = ["ENVI", *map(_broken, spelled)]
        text = "".join(f"{line}\n" for line in lines)
        pixels.with_suffix(".hdr").write_text(text, encoding="utf-8")
        yield pixels, driver


def list_item(text: str) -> str:
    """Replace characters that would end a value or a list in a header, or begin a comment.

    Examples
    --------
    >>> list_item("a, {b}"), list_item("; c")
    ('a; (b)', ': c')
    """
    # Each entry of a list has a line of its own, and lines that begin with ; are comments.
    listed = text.translate(str.maketrans("{},=\r\n", "();-  "))
    return re.sub(r"^(\s*);", r"\1:", listed)


def one_line(text: str) -> str:
    """Replace characters that would end a value in a header."""
    return text.translate(str.maketrans("{}=\r\n", "()-  "))


def finish_header(header: Path, draft: Path, description: str, more: str = "") -> None:
    """Set the description, which GDAL sets to the name of the draft, and add lines.

    Long lists are broken into lines: GDAL reads nothing after a line of 10,000 bytes.
    """
    text = header.read_text(encoding="utf-8")
    own = "{\n" + str(draft) + "}"
    text = text.replace(own, "{" + one_line(description) + "}", 1)
    if more:
        text = text.replace("= ENVI Standard", "= ENVI Classification", 1)
    lines = map(_broken, (text + more).split("\n"))
    header.write_text("\n".join(lines), encoding="utf-8")


def _broken(line: str) -> str:
    """Break a long list after commas."""
    if len(line) <= _MAX_WRITTEN_LINE or "{" not in line:
        return line
    lines = [""]
    for part in re.split("(?<=, )", line):
        if len(lines[-1]) + len(part) > _MAX_WRITTEN_LINE:
            lines.append("")
        lines[-1] += part
    return "\n".join(lines)


def class_lines(legend: Legend) -> str:
    """Return the header lines with names and colours of the classes of a label map.

    ENVI numbers classes from 0 without gaps, so codes without a class get an entry too.
    """
    names = {0: "Unlabelled"} | {entry.code: list_item(entry.name) for entry in legend}
    colors = {entry.code: entry.rgb for entry in legend}
    count = max(names) + 1
    lookup = (str(part) for code in range(count) for part in colors.get(code, (0, 0, 0)))
    named = (names.get(code, f"Class {code}") for code in range(count))
    return (
        f"classes = {count}\nclass lookup = {{{', '.join(lookup)}}}\n"
        f"class names = {{{', '.join(named)}}}\n"
    )
