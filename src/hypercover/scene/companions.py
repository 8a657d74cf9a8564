"""The files that an image or its labels consist of."""

import re
from contextlib import suppress
from pathlib import Path

from hypercover.errors import SceneError
from hypercover.scene.formats.envi import RAW, data_file, header_beside
from hypercover.scene.formats.styles import style_files
from hypercover.scene.formats.vrt import is_vrt, vrt_allowed, vrt_sources

__all__ = ["Identity", "companions", "identity"]

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
    elif suffix in ("", *RAW) or header_beside(path) is not None:
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
