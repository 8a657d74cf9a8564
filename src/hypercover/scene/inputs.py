"""The files that work reads: known again by what is in them where only their times differ."""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hypercover.errors import OutputError, SceneError
from hypercover.files import digest_of, read_sealed, write_sealed
from hypercover.scene.io.class_tables import style_files
from hypercover.scene.io.envi import RAW, data_file, find_header
from hypercover.scene.io.gdal import is_vrt, vrt_allowed, vrt_sources

__all__ = [
    "Identity",
    "Inputs",
    "companions",
    "facts_of_files",
    "identity",
    "identity_of",
    "known_inputs",
    "remember_inputs",
]

_SHAPE = (".shp", ".dbf", ".shx", ".prj", ".cpg")
"""A shapefile is several; the classes of its polygons stand in the second."""

_PRODUCT = re.compile(
    r"(ENMAP.*)METADATA\.XML|MTD_MSIL(?:1C|2A)\.xml|(L.*\d.*)_MTL\.\w+", re.IGNORECASE
)
"""Metadata of products, and what the names of their other files begin with."""

_GRANULE = {"granule", "img_data"}
"""Folders of a Sentinel-2 product in which its images lie."""


def _folders(inner: Path, metadata: Path) -> set[str]:
    return {part.lower() for part in inner.relative_to(metadata.parent).parts}


def companions(path: Path) -> tuple[Path, ...]:
    """Return a file and all beside it that are read with it.

    Why it exists: of ENVI only the header may be named, of a shapefile only the
    shapes; whoever asks whether an image has changed, or must not write over
    it, means the pixels and the classes as well.
    """
    name, stem, suffix = path.name.lower(), path.stem.lower(), path.suffix.lower()
    # The latest changes of a GeoPackage.  Of .aux.xml nothing: viewers write statistics there.
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
    # A mask beside the pixels.
    names |= {f"{one}.msk" for one in (name, *names)}
    beside = sorted(one for one in path.parent.iterdir() if one.name.lower() in names)
    return (path, *(one for one in beside if one.name != path.name))


Identity = tuple[tuple[str, int, int], ...]


def identity(path: Path | None, *, styled: bool = False) -> Identity:
    """Return what changes when a file is replaced: path, size and time of all its parts.

    ``styled`` counts the style beside labels in, which names and colours their classes.
    """
    files = () if path is None else companions(path)
    if styled and path is not None:
        files += tuple(one for one in style_files(path) if one.is_file())
    facts = [(str(file), file.stat()) for file in files]
    return tuple((name, fact.st_size, fact.st_mtime_ns) for name, fact in facts)


_MOST_SEEN = 100
"""Times of a file that are remembered."""

_BIGGEST = 2**26
"""Bytes of the file that remembers."""

_Count = Annotated[int, Field(ge=0, lt=2**63)]

_Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Known(BaseModel):
    """A file as it was when it was first read."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    size: _Count
    """Bytes."""
    sha256: _Digest
    """What is in it."""
    times: Annotated[tuple[int, ...], Field(min_length=1)]
    """When it was changed, in nanoseconds since 1970: first, and by whom merely touched it."""


class _Document(BaseModel):
    """The file that remembers."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    files: dict[str, _Known]


class Inputs:
    """Files that work reads, and how it knows them again.

    Why it exists: people touch files so that a cluster does not purge them, and
    copies get new times.  Work must not be refused, or begun anew, for that:
    where the size is the same and the time another, the content decides.  It is
    read once, as a stream, and the new time is remembered.

    Parameters
    ----------
    path : path, optional
        The file that remembers, beside the results of the work.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._known: dict[str, _Known] = dict(_read(self._path))
        self._found: dict[tuple[Path, bool], Identity] = {}
        self._seen: dict[str, tuple[int, int]] = {}
        self._changed = False

    def identity(self, path: Path | None, *, styled: bool = False) -> Identity:
        """Return what changes when a file is replaced: path, size and first time of its parts.

        ``styled`` counts the style beside labels in.
        """
        if path is None:
            return ()
        if (path, styled) not in self._found:
            parts = identity(path, styled=styled)
            self._found[path, styled] = tuple(map(self._as_known, parts))
        return self._found[path, styled]

    @property
    def names(self) -> tuple[str, ...]:
        """Paths of all files that were asked for."""
        return tuple(self._seen)

    def remember(self) -> None:
        """Note what is in the files that were asked for, unless it is known; large ones take a while.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        if self._path is None:
            return
        for name, (size, time) in self._seen.items():
            if name not in self._known:
                digest = digest_of(name)
                self._known[name] = _Known(size=size, sha256=digest, times=(time,))
                self._changed = True
        # Whoever begins anew removes the file as well.
        self._changed |= bool(self._known) and not self._path.exists()
        self.save()

    def save(self) -> None:
        """Write down what is known, where something is new.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        if self._changed and self._path is not None:
            document = _Document(files=self._known)
            write_sealed(self._path, document.model_dump(mode="json"))
            self._changed = False

    def forget(self) -> None:
        """Remove the file that remembers, once the work is done."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def _as_known(self, fact: tuple[str, int, int]) -> tuple[str, int, int]:
        name, size, time = fact
        self._seen[name] = (size, time)
        known = self._known.get(name)
        if known is None:
            return fact
        if known.size != size or not self._is_same(name, time, known):
            # Another file: as good as one that was never seen.
            del self._known[name]
            return fact
        return name, size, known.times[0]

    def _is_same(self, name: str, time: int, known: _Known) -> bool:
        """Tell whether a file of the same size holds the same, by its time or else by content."""
        if time in known.times:
            return True
        if digest_of(name) != known.sha256:
            return False
        times = (known.times[0], *known.times[1:][-_MOST_SEEN:], time)
        self._known[name] = known.model_copy(update={"times": times})
        self._changed = True
        return True


_current: ContextVar[Inputs | None] = ContextVar("inputs", default=None)


@contextmanager
def known_inputs(path: Path | None = None) -> Iterator[Inputs]:
    """Know files again, in the block, as the file at a path remembers; each is looked at once.

    Without a path, what holds outside the block goes on to hold inside.
    """
    outer = _current.get()
    inputs = outer if path is None and outer is not None else Inputs(path)
    token = _current.set(inputs)
    try:
        yield inputs
    finally:
        _current.reset(token)
    # Who may only read the folder can still look at it, and what is done is gone.
    if path is not None and path.parent.is_dir():
        with suppress(OutputError):
            inputs.save()


def remember_inputs() -> None:
    """Note what is in the files that were asked for in the block around, where it remembers any.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    inputs = _current.get()
    if inputs is not None:
        inputs.remember()


def facts_of_files(paths: Iterable[str]) -> dict[str, tuple[int, int] | None]:
    """Return sizes and times of files; None of one that is not there."""
    return {path: _fact(Path(path)) for path in paths}


def _fact(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns


def identity_of(path: Path | None, *, styled: bool = False) -> Identity:
    """Return what changes when a file that work reads is replaced."""
    inputs = _current.get() or Inputs()
    return inputs.identity(path, styled=styled)


def _read(path: Path | None) -> Mapping[str, _Known]:
    """Read what a file remembers; what is damaged is nothing."""
    try:
        if path is None or path.stat().st_size > _BIGGEST:
            return {}
        return _Document.model_validate(read_sealed(path.read_bytes())).files
    except (OSError, ValueError, ValidationError, RecursionError):
        return {}
