"""Whether a raster file is whole, found out before its pixels are needed."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rasterio.windows import Window

from hypercover.errors import SceneError
from hypercover.scene.memory import check_cube, check_fits, check_unpacked

__all__ = ["check"]

_MOST_BLOCKS = 200_000


def check(dataset: Any, path: Path) -> None:
    """Refuse a raster that is shorter than its header says or absurdly large.

    GDAL reports such damage only when the missing pixels are read, perhaps an
    hour later; sizes and offsets tell it at once.

    Raises
    ------
    SceneError
        If the file is cut short.
    """
    _check_types(dataset, path)
    check_cube((dataset.count, dataset.height, dataset.width), f"The image {path}")
    check_fits(_block_bytes(dataset), f"One block of {path}")
    if dataset.driver != "VRT":
        # Of a VRT the images it names are looked at, each for itself.
        check_unpacked(_bytes(dataset), _stored(dataset), f"The image {path}")
    if dataset.driver == "GTiff":
        _check_length(path, max(_block_ends(dataset), default=0))
    elif dataset.driver in {"ENVI", "LAN", "EHdr"}:
        _check_length(path, _raw_length(dataset, path))
    else:
        dataset.read(dataset.count, window=Window(0, dataset.height - 1, dataset.width, 1))


def _check_types(dataset: Any, path: Path) -> None:
    """Refuse files without bands, and pairs of numbers, for some of which NumPy has no name."""
    if not dataset.count:
        raise SceneError(f"{path} holds no band; give the image itself.")
    for dtype in dataset.dtypes:
        if str(dtype).startswith("complex"):
            raise SceneError(
                f"The image must hold real numbers, found {dtype} in {path}; save its "
                "magnitude or its parts as separate bands."
            )


def _check_length(path: Path, needed: int) -> None:
    found = path.stat().st_size
    if found < needed:
        raise SceneError(
            f"{path} is cut short: its header asks for {needed:,} bytes and {found:,} "
            "are there; copy or download it again."
        )


def _bytes(dataset: Any) -> int:
    """Bytes of all pixels."""
    items: int = sum(np.dtype(dtype).itemsize for dtype in dataset.dtypes)
    return int(dataset.width) * int(dataset.height) * items


def _stored(dataset: Any) -> int:
    """Bytes of the files that the pixels lie in."""
    return sum(Path(file).stat().st_size for file in dataset.files if Path(file).is_file())


def _is_by_pixel(dataset: Any) -> bool:
    return str(dataset.profile.get("interleave", "")).lower() == "pixel"


def _block_bytes(dataset: Any) -> int:
    """Bytes GDAL unpacks to read one pixel."""
    high, wide = dataset.block_shapes[0]
    bands = dataset.count if _is_by_pixel(dataset) else 1
    item: int = np.dtype(dataset.dtypes[0]).itemsize
    return int(high) * int(wide) * int(bands) * item


def _block_ends(dataset: Any) -> Iterator[int]:
    """Last byte of the blocks of a GeoTIFF; blocks never written have none."""
    pixel = _is_by_pixel(dataset)
    high, wide = dataset.block_shapes[0]
    down, across = -(-dataset.height // high), -(-dataset.width // wide)
    bands = [1] if pixel else range(1, dataset.count + 1)
    if down * across * len(bands) > _MOST_BLOCKS:
        bands = [dataset.count if not pixel else 1]
    for band in bands:
        for row in range(down):
            for col in range(across):
                start = dataset.get_tag_item(f"BLOCK_OFFSET_{col}_{row}", "TIFF", bidx=band)
                size = dataset.get_tag_item(f"BLOCK_SIZE_{col}_{row}", "TIFF", bidx=band)
                if start and size:
                    yield int(start) + int(size)


def _raw_length(dataset: Any, path: Path) -> int:
    """Bytes a file of uncompressed numbers must have."""
    envi = dataset.tags(ns="ENVI")
    if envi.get("file_compression", "0").strip() not in {"", "0"}:
        return 0
    bits = dataset.tags(1, ns="IMAGE_STRUCTURE").get("NBITS")
    item = np.dtype(dataset.dtypes[0]).itemsize * 8 if bits is None else int(bits)
    header = 128 if dataset.driver == "LAN" else _offset(envi, path)
    values = int(dataset.width) * int(dataset.height) * int(dataset.count)
    return header + values * item // 8


def _offset(envi: Mapping[str, str], path: Path) -> int:
    """Return the bytes in front of the pixels, as an ENVI header gives them."""
    text = envi.get("header_offset", "0").strip() or "0"
    if not text.isdecimal():
        raise SceneError(
            f"The header offset of {path} must be a number of bytes, found {text!r}; "
            "correct it in the header."
        )
    return int(text)
