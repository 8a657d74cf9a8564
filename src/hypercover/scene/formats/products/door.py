"""Which product a file belongs to, told by the names its agency gives."""

import re
from collections.abc import Callable
from pathlib import Path

from hypercover.errors import SceneError
from hypercover.files import in_any_case
from hypercover.scene.formats.containers import Container
from hypercover.scene.formats.products import emit, prisma
from hypercover.scene.formats.signature import local_file
from hypercover.scene.scene import Scene

__all__ = ["product_file", "product_reader", "read_swath"]

Reader = Callable[[Path, str | None], Scene]
_ENMAP = re.compile(r"(ENMAP.*)METADATA\.XML", re.IGNORECASE)
_ENMAP_IMAGE = re.compile(
    r"(ENMAP.*)SPECTRAL_IMAGE(?:_COG)?\.(?:tiff?|bsq|bil|bip|img|dat|hdr|jp2)",
    re.IGNORECASE,
)
_SENTINEL2 = re.compile(r"MTD_MSIL(1C|2A)\.xml", re.IGNORECASE)
_LANDSAT = re.compile(r"L.*\d.*_MTL\.(txt|xml|json)|MTL\.(txt|xml|json)", re.IGNORECASE)


def product_file(path: str | Path) -> Path:
    """Return the file that stands for a product, where a part or its folder was given.

    Raises
    ------
    SceneError
        As :func:`~hypercover.scene.formats.signature.local_file`.
    """
    found = Path(path)
    if found.suffix.lower() == ".safe" and found.is_dir():
        return _metadata_in(found)
    file = local_file(path)
    image = _ENMAP_IMAGE.fullmatch(file.name)
    beside = in_any_case(file.with_name(f"{image[1]}METADATA.XML")) if image else None
    return file if beside is None or not beside.is_file() else beside


def _metadata_in(folder: Path) -> Path:
    found = [one for one in sorted(folder.iterdir()) if _SENTINEL2.fullmatch(one.name)]
    if len(found) != 1:
        raise SceneError(
            f"{folder} must hold one MTD_MSIL1C.xml or MTD_MSIL2A.xml, found {len(found)}; "
            "download the product again."
        )
    return local_file(found[0])


def product_reader(file: Path) -> Reader | None:
    """Return what reads a product by its file of metadata; None for any other file."""
    if _ENMAP.fullmatch(file.name):
        from hypercover.scene.formats.products.enmap import read_enmap

        return read_enmap
    if _SENTINEL2.fullmatch(file.name):
        from hypercover.scene.formats.products.sentinel2 import read_sentinel2

        return read_sentinel2
    if _LANDSAT.fullmatch(file.name):
        from hypercover.scene.formats.products.landsat import read_landsat

        return read_landsat
    return None


def read_swath(container: Container, variable: str | None) -> Scene | None:
    """Return the image of a PRISMA or EMIT file; None for any other, or a named variable."""
    if variable is not None:
        return None
    if prisma.is_prisma(container.members):
        return prisma.read_prisma(container.path, container.members)
    if emit.is_emit(container.members):
        return emit.read_emit(container.path, container.members)
    return None
