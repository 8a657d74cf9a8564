"""Identity of input files: unchanged if their content is, even when their times differ."""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field

from hypercover.errors import OutputError, SceneError
from hypercover.files import file_sha256, read_checksummed, write_checksummed
from hypercover.scene.io.class_tables import style_files
from hypercover.scene.io.envi import RAW, data_file, find_header
from hypercover.scene.io.gdal import is_vrt, vrt_allowed, vrt_sources

_SHAPE = (".shp", ".dbf", ".shx", ".prj", ".cpg")
"""Files of a shapefile; the second holds the classes."""

_PRODUCT = re.compile(
    r"(ENMAP.*)METADATA\.XML|MTD_MSIL(?:1C|2A)\.xml|(L.*\d.*)_MTL\.\w+", re.IGNORECASE
)
"""Metadata files of products, and the common start of the names of their other files."""

_GRANULE = {"granule", "img_data"}
"""Folders of the images of a Sentinel-2 product."""


def companions(path: Path) -> tuple[Path, ...]:
    """Return a file and all files that are read with it.

    Users name only the header of an ENVI image or the shapes of a shapefile, but the
    pixels and classes belong to it as well.
    """
    name, stem, suffix = path.name.lower(), path.stem.lower(), path.suffix.lower()
    if vrt_allowed() and is_vrt(path):
        return (path, *vrt_sources(path))
    product = _PRODUCT.fullmatch(path.name)
    if product:
        start = (product[1] or product[2] or "").lower()
        if start:
            every = path.parent.iterdir()
            images = (each for each in every if each.name.lower().startswith(start))
        else:
            every = path.parent.glob("*/*/*/**/*")
            images = (each for each in every if _is_granule(each.relative_to(path.parent)))
        return (path, *sorted(each for each in images if each.is_file() and each != path))
    # -wal: latest changes of a GeoPackage.  No .aux.xml: viewers write statistics there.
    names = {f"{name}-wal"}
    if suffix == ".shp":
        names |= {f"{stem}{ending}" for ending in _SHAPE}
    elif suffix == ".hdr":
        names |= {f"{stem}{ending}" for ending in ("", *RAW)}
        with suppress(SceneError):
            names.add(data_file(path).name.lower())
    elif suffix in ("", *RAW) or find_header(path) is not None:
        names |= {f"{stem}.hdr", f"{name}.hdr"}
    # Masks of the pixels.
    names |= {f"{each}.msk" for each in (name, *names)}
    others = sorted(each for each in path.parent.iterdir() if each.name.lower() in names)
    return (path, *(each for each in others if each.name != path.name))


def _is_granule(path: Path) -> bool:
    """Tell whether a path in a Sentinel-2 product is that of an image."""
    parts = {part.lower() for part in path.parts}
    return path.suffix.lower() == ".jp2" and parts >= _GRANULE


Identity = tuple[tuple[str, int, int], ...]


def file_identity(path: Path | None, *, styled: bool = False) -> Identity:
    """Return path, size and time of a file and its companions.

    ``styled`` includes the style of labels, which names and colours their classes.
    """
    files = () if path is None else companions(path)
    if styled and path is not None:
        files += tuple(each for each in style_files(path) if each.is_file())
    stats = [(str(file), file.stat()) for file in files]
    return tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats)


_MOST_TIMES = 100
"""Times recorded for a file."""

_BIGGEST = 2**26
"""Largest record in bytes."""


class _File(BaseModel, extra="forbid", frozen=True):
    """A file as it was when it was first read."""

    size: Annotated[int, Field(ge=0, lt=2**63)]
    """Bytes."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """Hash of the content."""
    times: Annotated[tuple[int, ...], Field(min_length=1)]
    """Modification times in ns since 1970: the first, then those of unchanged content."""


class _Record(BaseModel, extra="forbid", frozen=True):
    """The record on disk."""

    files: dict[str, _File]


class FileRecord:
    """A record of input files that recognises them when only their times change.

    Copying or touching files, such as to save them from the purge of a cluster, must
    not invalidate results.  If the size is equal and the time is not, the content
    decides: it is read once, and the new time is recorded.

    Parameters
    ----------
    path : path, optional
        File of the record, next to the results.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._recorded: dict[str, _File] = dict(_read(self._path))
        self._found: dict[tuple[Path, bool], Identity] = {}
        self._seen: dict[str, tuple[int, int]] = {}
        self._changed = False

    def identity(self, path: Path | None, *, styled: bool = False) -> Identity:
        """Return path, size and first time of a file and its companions.

        ``styled`` includes the style of labels.
        """
        if path is None:
            return ()
        if (path, styled) not in self._found:
            parts = file_identity(path, styled=styled)
            self._found[path, styled] = tuple(map(self._as_recorded, parts))
        return self._found[path, styled]

    @property
    def names(self) -> tuple[str, ...]:
        """Paths of all files that were identified."""
        return tuple(self._seen)

    def remember(self) -> None:
        """Record the hashes of all identified files; large files take a while.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        if self._path is None:
            return
        for name, (size, time) in self._seen.items():
            if name not in self._recorded:
                digest = file_sha256(name)
                self._recorded[name] = _File(size=size, sha256=digest, times=(time,))
                self._changed = True
        # Starting again removes the record.
        self._changed |= bool(self._recorded) and not self._path.exists()
        self.save()

    def save(self) -> None:
        """Write the record if it has changed.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        if self._changed and self._path is not None:
            record = _Record(files=self._recorded)
            write_checksummed(self._path, record.model_dump(mode="json"))
            self._changed = False

    def forget(self) -> None:
        """Remove the record from disk."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def _as_recorded(self, fact: tuple[str, int, int]) -> tuple[str, int, int]:
        name, size, time = fact
        self._seen[name] = (size, time)
        file = self._recorded.get(name)
        if file is None:
            return fact
        if time not in file.times or file.size != size:
            if file.size != size or file_sha256(name) != file.sha256:
                # Another file, as if it had never been seen.
                del self._recorded[name]
                return fact
            times = (file.times[0], *file.times[1:][-_MOST_TIMES:], time)
            self._recorded[name] = file.model_copy(update={"times": times})
            self._changed = True
        return name, size, file.times[0]


_current: ContextVar[FileRecord | None] = ContextVar("inputs", default=None)


@contextmanager
def file_record(path: Path | None = None) -> Iterator[FileRecord]:
    """Identify files by the record at a path in the block; each is examined once.

    Without a path, the record outside the block, if any, stays in use.
    """
    outer = _current.get()
    inputs = outer if path is None and outer is not None else FileRecord(path)
    token = _current.set(inputs)
    try:
        yield inputs
    finally:
        _current.reset(token)
    # A read-only or missing folder is not an error here.
    if path is not None and path.parent.is_dir():
        with suppress(OutputError):
            inputs.save()


def record_files() -> None:
    """Record the hashes of the files identified in the surrounding :func:`file_record`.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    inputs = _current.get()
    if inputs is not None:
        inputs.remember()


def file_stats(paths: Iterable[str]) -> dict[str, tuple[int, int] | None]:
    """Return sizes and times of files; None for missing ones."""
    stats: dict[str, tuple[int, int] | None] = dict.fromkeys(paths)
    for path in stats:
        with suppress(OSError):
            stat = Path(path).stat()
            stats[path] = stat.st_size, stat.st_mtime_ns
    return stats


def recorded_identity(path: Path | None, *, styled: bool = False) -> Identity:
    """Return the identity of a file by the record in use, see :class:`FileRecord`."""
    inputs = _current.get() or FileRecord()
    return inputs.identity(path, styled=styled)


def _read(path: Path | None) -> Mapping[str, _File]:
    """Read a record; a damaged one counts as empty."""
    try:
        if path is None or path.stat().st_size > _BIGGEST:
            return {}
        return _Record.model_validate(read_checksummed(path.read_bytes())).files
    except (OSError, ValueError, RecursionError):
        return {}
