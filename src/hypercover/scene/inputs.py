"""Identity of input files: unchanged if their content is, even when their times differ."""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

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


def _folders(inner: Path, metadata: Path) -> set[str]:
    return {part.lower() for part in inner.relative_to(metadata.parent).parts}


def companions(path: Path) -> tuple[Path, ...]:
    """Return a file and all files that are read with it.

    Users name only the header of an ENVI image or the shapes of a shapefile, but the
    pixels and classes belong to it as well.
    """
    name, stem, suffix = path.name.lower(), path.stem.lower(), path.suffix.lower()
    # -wal: latest changes of a GeoPackage.  No .aux.xml: viewers write statistics there.
    if vrt_allowed() and is_vrt(path):
        return (path, *vrt_sources(path))
    names = {f"{name}-wal"}
    if suffix == ".shp":
        names |= {f"{stem}{one}" for one in _SHAPE}
    elif suffix == ".hdr":
        names |= {f"{stem}{one}" for one in ("", *RAW)}
        with suppress(SceneError):
            names.add(data_file(path).name.lower())
    elif suffix in ("", *RAW) or find_header(path) is not None:
        names |= {f"{stem}.hdr", f"{name}.hdr"}
    product = _PRODUCT.fullmatch(path.name)
    if product:
        start = product[1] or product[2] or ""
        around = path.parent.iterdir() if start else path.parent.glob("*/*/*/**/*")
        images = (
            one
            for one in around
            if one.name.lower().startswith(start.lower())
            if start or (one.suffix.lower() == ".jp2" and _folders(one, path) >= _GRANULE)
        )
        return (path, *sorted(one for one in images if one.is_file() and one != path))
    # Masks of the pixels.
    names |= {f"{one}.msk" for one in (name, *names)}
    others = sorted(one for one in path.parent.iterdir() if one.name.lower() in names)
    return (path, *(one for one in others if one.name != path.name))


Identity = tuple[tuple[str, int, int], ...]


def file_identity(path: Path | None, *, styled: bool = False) -> Identity:
    """Return path, size and time of a file and its companions.

    ``styled`` includes the style of labels, which names and colours their classes.
    """
    files = () if path is None else companions(path)
    if styled and path is not None:
        files += tuple(one for one in style_files(path) if one.is_file())
    stats = [(str(file), file.stat()) for file in files]
    return tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats)


_MOST_TIMES = 100
"""Times recorded for a file."""

_BIGGEST = 2**26
"""Largest record in bytes."""

_Count = Annotated[int, Field(ge=0, lt=2**63)]

_Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Known(BaseModel):
    """A file as it was when it was first read."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    size: _Count
    """Bytes."""
    sha256: _Digest
    """Hash of the content."""
    times: Annotated[tuple[int, ...], Field(min_length=1)]
    """Modification times in ns since 1970: the first, then those of unchanged content."""


class _Document(BaseModel):
    """The record on disk."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    files: dict[str, _Known]


class Inputs:
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
        self._known: dict[str, _Known] = dict(_read(self._path))
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
            self._found[path, styled] = tuple(map(self._as_known, parts))
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
            if name not in self._known:
                digest = file_sha256(name)
                self._known[name] = _Known(size=size, sha256=digest, times=(time,))
                self._changed = True
        # Starting again removes the record.
        self._changed |= bool(self._known) and not self._path.exists()
        self.save()

    def save(self) -> None:
        """Write the record if it has changed.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        if self._changed and self._path is not None:
            document = _Document(files=self._known)
            write_checksummed(self._path, document.model_dump(mode="json"))
            self._changed = False

    def forget(self) -> None:
        """Remove the record from disk."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def _as_known(self, fact: tuple[str, int, int]) -> tuple[str, int, int]:
        name, size, time = fact
        self._seen[name] = (size, time)
        known = self._known.get(name)
        if known is None:
            return fact
        if known.size != size or not self._is_same(name, time, known):
            # Another file, as if it had never been seen.
            del self._known[name]
            return fact
        return name, size, known.times[0]

    def _is_same(self, name: str, time: int, known: _Known) -> bool:
        """Compare a file of the same size by its time, or else by its content."""
        if time in known.times:
            return True
        if file_sha256(name) != known.sha256:
            return False
        times = (known.times[0], *known.times[1:][-_MOST_TIMES:], time)
        self._known[name] = known.model_copy(update={"times": times})
        self._changed = True
        return True


_current: ContextVar[Inputs | None] = ContextVar("inputs", default=None)


@contextmanager
def known_inputs(path: Path | None = None) -> Iterator[Inputs]:
    """Identify files by the record at a path in the block; each is examined once.

    Without a path, the record outside the block, if any, stays in use.
    """
    outer = _current.get()
    inputs = outer if path is None and outer is not None else Inputs(path)
    token = _current.set(inputs)
    try:
        yield inputs
    finally:
        _current.reset(token)
    # A read-only folder is no reason to fail, and the folder may be gone.
    if path is not None and path.parent.is_dir():
        with suppress(OutputError):
            inputs.save()


def record_inputs() -> None:
    """Record the hashes of the files identified in the surrounding :func:`known_inputs`.

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
    return {path: _size_and_time(Path(path)) for path in paths}


def _size_and_time(path: Path) -> tuple[int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_size, stat.st_mtime_ns


def input_identity(path: Path | None, *, styled: bool = False) -> Identity:
    """Return the identity of a file by the record in use, see :class:`Inputs`."""
    inputs = _current.get() or Inputs()
    return inputs.identity(path, styled=styled)


def _read(path: Path | None) -> Mapping[str, _Known]:
    """Read a record; a damaged one counts as empty."""
    try:
        if path is None or path.stat().st_size > _BIGGEST:
            return {}
        return _Document.model_validate(read_checksummed(path.read_bytes())).files
    except (OSError, ValueError, ValidationError, RecursionError):
        return {}
