"""ENVI's pairs of a text header and a file of pixels."""

import codecs
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from hypercover.errors import SceneError, shortened
from hypercover.scene.legend import Legend
from hypercover.scene.nodata import declares_nodata

__all__ = [
    "RAW",
    "RasterHeader",
    "class_lines",
    "data_file",
    "find_header",
    "finish_header",
    "gdal_readable",
    "has_header",
    "list_item",
    "one_line",
    "read_header",
]

RAW = (
    ".img",
    ".dat",
    ".bsq",
    ".bil",
    ".bip",
    ".raw",
    ".bin",
    ".rfl",
    ".rdn",
    ".cube",
    ".flt",
)
"""Suffixes that files of bare pixels carry."""
_LONGEST_LINE = 1000
"""Signs in a line of a header that is written, where it is a list."""
_LONGEST_READ = 9000
"""Bytes of a line of a header up to which GDAL is trusted with it."""
_LARGEST = 16 * 2**20
"""Bytes of a header that is read; one of 10,000 bands has about 300 thousand."""
_NEEDED = ("samples", "lines", "bands")
_BYTES = {"1": 1, "2": 2, "3": 4, "4": 4, "5": 8, "6": 8, "9": 16, "12": 2, "13": 4,
          "14": 8, "15": 8}  # fmt: skip
"""Bytes of a value by ENVI's ``data type``."""
_NOT_PIXELS = (".hdr", ".xml", ".ovr", ".msk", ".qml", ".qmd", ".prj", ".txt", ".csv", ".json",
               ".tfw", ".wld", ".enp", ".sta", ".jpg", ".png", ".pdf", ".zip", ".gpkg", ".shp",
               ".dbf", ".shx", ".cpg", ".clr", ".stx", ".kml")  # fmt: skip
"""Suffixes of files beside a header that hold something else than its pixels."""
_OTHERS = (
    b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"EHFA_HEADER_TAG", b"\x89PNG", b"\xff\xd8\xff",
    b"\x89HDF", b"CDF", b"MATLAB ", b"PK\x03\x04", b"\x93NUMPY", b"NITF", b"HEAD74", b"HEADER",
    b"SQLite", b"GIF8", b"BM", b"\0\0\0\x0cjP", b"\xff\x4f\xff\x51", b"SIMPLE", b"RIFF", b"<", b"{",
)  # fmt: skip
"""What files of other formats begin with, and so, seldom, bare pixels."""
_BLANK = codecs.BOM_UTF8 + b" \t\r\n"


@dataclass(frozen=True, eq=False)
class RasterHeader:
    """What a text header says about the file of pixels beside it."""

    path: Path
    """The header."""
    entries: Mapping[str, str] = field(default_factory=dict)
    """Values by key, in small letters with underscores."""
    esri: bool = False
    """Whether it is one of ESRI's (``NROWS 13``) rather than ENVI's (``lines = 13``)."""
    plain: bool = True
    """Whether GDAL reads it as it stands."""

    @property
    def foreign(self) -> bool:
        """Whether the pixels lie in a format of their own, such as TIFF."""
        kind = self.entries.get("file_type", "ENVI").lower()
        return not self.esri and "envi" not in kind

    @property
    def size(self) -> int | None:
        """Bytes that the file of pixels must have; None where that is not told."""
        count, size = self.entries.get, 1
        if self.esri:
            bits = count("nbits", "8")
            parts = [count("nrows", ""), count("ncols", ""), count("nbands", "1"), bits]
            skipped, size = count("skipbytes", "0"), 8
        else:
            kind = _BYTES.get(count("data_type", ""), "")
            parts = [*(count(key, "") for key in _NEEDED), str(kind)]
            skipped = count("header_offset", "0")
            if count("file_compression", "0").strip() not in {"", "0"}:
                return None
        try:
            numbers = [int(part) for part in parts]
            before = int(skipped or 0)
        except ValueError:
            return None
        return before + numbers[0] * numbers[1] * numbers[2] * numbers[3] // size


def read_header(path: Path) -> RasterHeader:
    """Read the header of an ENVI or ESRI image, in any encoding and spelling of its keys.

    Raises
    ------
    SceneError
        If it is no such header, or lacks the size of the image.
    """
    try:
        return _read_header(path, path.stat().st_mtime_ns)
    except OSError as error:
        raise SceneError(
            f"{path} cannot be read: {error.strerror}; check its permissions."
        ) from error


@lru_cache(maxsize=64)
def _read_header(path: Path, _changed: int) -> RasterHeader:
    with path.open("rb") as file:
        raw = file.read(_LARGEST + 1)
    if len(raw) > _LARGEST:
        raise SceneError(
            f"{path} is larger than {_LARGEST // 2**20} MiB, no header of an image; give "
            "the file that came with the image."
        )
    text, plain = _decoded(raw)
    entries = _entries(text)
    spaced = _esri(text)
    if {"nrows", "ncols"} <= spaced.keys() and "samples" not in entries:
        # Bytes are unsigned where nothing is said; GDAL takes a no data below zero for a sign.
        bare = spaced.get("nbits", "8") == "8" and "pixeltype" not in spaced
        grid_float = bare and "nbits" not in spaced and "cellsize" in spaced
        spaced |= {"pixeltype": "UNSIGNEDINT"} if bare else {}
        spaced |= {"pixeltype": "FLOAT", "nbits": "32"} if grid_float else {}
        return RasterHeader(path, spaced, esri=True, plain=plain and not bare)
    lacking = [key for key in _NEEDED if key not in entries]
    if lacking:
        known = text.lstrip().upper().startswith("ENVI") or len(lacking) < len(_NEEDED)
        what = (
            "is an ENVI header that lacks"
            if known
            else "is no header of an image: it lacks"
        )
        raise SceneError(
            f"{path} {what} {' and '.join(lacking)}; add them, or give the header that came "
            "with the image."
        )
    kind = entries.get("file_type", "")
    if "spectral library" in kind.lower():
        raise SceneError(
            f"{path} is the header of a spectral library, which holds no image; give the header "
            "of the image."
        )
    lines = max(map(len, raw.split(b"\n")), default=0)
    plain = plain and raw.startswith(b"ENVI") and lines < _LONGEST_READ
    plain = plain and b"\r" not in raw.replace(b"\r\n", b"") and _usual(text, entries)
    return RasterHeader(path, entries, plain=plain)


def _decoded(raw: bytes) -> tuple[str, bool]:
    """Return the text of a header, and whether GDAL, which asks for UTF-8, reads the same."""
    for mark, encoding in (
        (codecs.BOM_UTF8, "utf-8-sig"),
        (codecs.BOM_UTF16_LE, "utf-16"),
        (codecs.BOM_UTF16_BE, "utf-16"),
    ):
        if raw.startswith(mark):
            return raw.decode(encoding, "replace"), False
    for encoding in ("utf-16-le", "utf-16-be"):
        if (
            raw[:8].replace(b"\0", b"")
            == raw[:8].decode(encoding, "ignore").encode()[:4]
            != b""
        ):
            return raw.decode(encoding, "replace"), False
    try:
        return raw.decode("utf-8"), True
    except UnicodeDecodeError:
        pass
    # Every byte means a sign in latin-1; of those that cp1252 lacks nothing is lost so.
    return raw.decode("cp1252", "replace").replace("\ufffd", "?"), False


_LINE = re.compile(
    # A list that is not closed ends before the next line with a key.
    r"^[ \t]*([^=;{}\r\n]+?)[ \t]*="
    r"[ \t]*(\{[^{}]*\}|\{[^{}]*?(?=\n[ \t]*[a-z][^=\n{}]*=)|\{[^}]*\}?|[^\r\n]*)",
    re.MULTILINE | re.IGNORECASE,
)
_COMMENT = re.compile(r"^[ \t]*;.*$", re.MULTILINE)
_FORTRAN = re.compile(r"(?<![\w.])([+-]?(?:\d+\.?\d*|\.\d+))d([+-]?\d+)(?![\w.])", re.I)
"""A number as Fortran and IDL write it in double precision, such as 1.5D+03."""
_IGNORED = "data_ignore_value"


def _entries(text: str) -> dict[str, str]:
    """Return the values of an ENVI header; of a key that stands twice, the first."""
    bare = _COMMENT.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
    found: dict[str, str] = {}
    for key, value in _LINE.findall(bare):
        found.setdefault(_spelt(key), _value(_spelt(key), " ".join(value.split())))
    for key in list(found):
        if declares_nodata(key):
            found.setdefault(_IGNORED, _value(_IGNORED, found[key]))
    if not re.search(r"\d|nan|inf", found.get(_IGNORED, "0"), re.IGNORECASE):
        # GDAL takes words and blanks for 0.
        del found[_IGNORED]
    return found


def _value(key: str, text: str) -> str:
    """Return a value with its numbers as C writes them; of equal values to ignore, one."""
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


def _usual(text: str, entries: Mapping[str, str]) -> bool:
    """Tell whether GDAL, given this text, reads these entries."""
    found = _LINE.findall(text.replace("\r\n", "\n"))
    keys = [re.sub("[ _]", "_", key) for key, _ in found]
    return (
        not _COMMENT.search(text)
        and text.count("{") == text.count("}")
        and len(keys) == len(entries)
        and all(
            entries.get(key) == " ".join(value.split())
            for key, (_, value) in zip(keys, found, strict=True)
        )
    )


def _spelt(key: str) -> str:
    return re.sub(r"[\s_]+", "_", key.strip().lower())


def _esri(text: str) -> dict[str, str]:
    """Return the values of an ESRI header: a key and a value in each line."""
    pairs = (line.split(None, 1) for line in text.splitlines())
    return {_spelt(pair[0]): pair[1].strip() for pair in pairs if len(pair) == 2}


def has_header(data: Path) -> bool:
    """Tell whether a header lies beside a file of pixels."""
    return bool(_beside(data))


def _beside(data: Path) -> list[Path]:
    wanted = [f"{data.name}.hdr".lower(), f"{data.stem}.hdr".lower()]
    beside = {
        one.name.lower(): one
        for one in data.parent.iterdir()
        if one.suffix.lower() == ".hdr"
    }
    return [beside[name] for name in dict.fromkeys(wanted) if name in beside]


def find_header(data: Path) -> RasterHeader | None:
    """Return the header that a file of pixels is read by; None where it is no such file.

    Pixels may begin with any bytes, those of other formats too: a header that asks for
    just as many bytes as are there is believed.
    """
    if data.suffix.lower() in _NOT_PIXELS or not data.is_file():
        return None
    for path in _beside(data):
        try:
            header = read_header(path)
        except SceneError:
            continue
        if header.foreign:
            continue
        head = _head(data)
        if header.size == data.stat().st_size or not head.lstrip(_BLANK).startswith(
            _OTHERS
        ):
            return header
    return None


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(16)


def data_file(header: Path) -> Path:
    """Return the file of pixels that belongs to a header, whatever its suffix.

    Raises
    ------
    SceneError
        If it is not beside the header, or the header is none.
    """
    changed = header.stat().st_mtime_ns
    found = _data_file(header, changed)
    if not found.is_file():
        _data_file.cache_clear()
        found = _data_file(header, changed)
    return found


@lru_cache(maxsize=64)
def _data_file(header: Path, _changed: int) -> Path:
    said = read_header(header)
    stem = header.with_suffix("").name.lower()
    beside = {one.name.lower(): one for one in sorted(header.parent.iterdir())}
    wanted = dict.fromkeys([stem, *(stem + suffix for suffix in RAW)])
    alike = [
        name for name, one in beside.items() if one.is_file() and one.stem.lower() == stem
    ]
    if said.foreign:
        wanted = {
            name: None for name in alike if _head(beside[name]).startswith(_OTHERS[:8])
        }
        others = []
    else:
        others = [
            name
            for name in alike
            if not name.endswith(_NOT_PIXELS)
            and (said.size is None or beside[name].stat().st_size >= said.size)
        ]
    names = dict.fromkeys([*wanted, *others])
    found = [beside[name] for name in names if name in beside and beside[name].is_file()]
    if not found:
        size = "" if said.size is None else f" of {said.size:,} bytes"
        raise SceneError(
            f"The header {header} is there, but not its data: no file{size} called {stem}, "
            f"{stem}.img, {stem}.dat or {stem}.* lies beside it; put both into one folder."
        )
    exact = [one for one in found if one.stat().st_size == said.size]
    return (exact or found)[0]


@contextmanager
def gdal_readable(header: RasterHeader, data: Path) -> Iterator[tuple[Path, str]]:
    """Lend the path under which GDAL reads a file of pixels, and the driver that does.

    A header that GDAL would misread (of another encoding, with keys in capitals or lines
    of more than 10,000 bytes) is written anew, beside a link to the pixels.
    """
    driver = "EHdr" if header.esri else "ENVI"
    usual = {f"{data.stem}.hdr", f"{data.name}.hdr"}
    others = [one for one in _beside(data) if one.name != header.path.name]
    if header.plain and header.path.name in usual and not others:
        yield data, driver
        return
    with tempfile.TemporaryDirectory(prefix="hypercover-header-") as folder:
        pixels = Path(folder) / "pixels.bin"
        pixels.symlink_to(data.absolute())
        for old, new in ((f"{data.name}.aux.xml", "pixels.bin.aux.xml"),
                         (f"{data.stem}.prj", "pixels.prj"),
                         (f"{data.stem}.clr", "pixels.clr")):  # fmt: skip
            if data.with_name(old).is_file():
                pixels.with_name(new).symlink_to(data.with_name(old).absolute())
        pixels.with_suffix(".hdr").write_text(_rewritten(header), encoding="utf-8")
        yield pixels, driver


def _rewritten(header: RasterHeader) -> str:
    """Write a header in the one spelling that GDAL expects."""
    if header.esri:
        return "".join(f"{key.upper()} {value}\n" for key, value in header.entries.items())
    spelt = {key.replace("_", " "): value for key, value in header.entries.items()}
    lines = (
        _broken(f"{key} = {shortened(value, _LARGEST)}") for key, value in spelt.items()
    )
    return "\n".join(["ENVI", *lines, ""])


def list_item(text: str) -> str:
    """Replace the signs that would end a value or a list in a header, or begin a comment.

    Examples
    --------
    >>> listable("a, {b}"), listable("; c")
    ('a; (b)', ': c')
    """
    # A list is written with an entry a line, and a line that begins with ; is a comment.
    listed = text.translate(str.maketrans("{},=\r\n", "();-  "))
    return re.sub(r"^(\s*);", r"\1:", listed)


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
    names = {0: "Unlabelled"} | {land.code: list_item(land.name) for land in legend}
    colors = {0: (0, 0, 0)} | {land.code: land.rgb for land in legend}
    count = max(names) + 1
    lookup = (str(part) for code in range(count) for part in colors.get(code, (0, 0, 0)))
    named = (names.get(code, f"Class {code}") for code in range(count))
    return (
        f"classes = {count}\nclass lookup = {{{', '.join(lookup)}}}\n"
        f"class names = {{{', '.join(named)}}}\n"
    )
