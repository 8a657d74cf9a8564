"""Whether a file is a cloud-optimised GeoTIFF, and what a catalogue calls its format."""

from pathlib import Path
from typing import Any

from hypercover.scene.formats.raster import opened

__all__ = ["is_cog", "media_type"]

_TILELESS = 512
"""Side in pixels up to which an image needs neither tiles nor overviews."""
_TYPES = {
    "GTiff": "image/tiff; application=geotiff",
    "PNG": "image/png",
    "JPEG": "image/jpeg",
    "JP2OpenJPEG": "image/jp2",
}
_OPTIMISED = "; profile=cloud-optimized"


def media_type(path: Path) -> str | None:
    """Return the media type of a raster; None of one that has none, or cannot be read."""
    if not path.is_file():
        return None
    with opened(path) as dataset:
        kind = _TYPES.get(dataset.driver)
        return f"{kind}{_OPTIMISED}" if kind and _optimised(path, dataset) else kind


def is_cog(path: Path) -> bool:
    """Tell whether a raster is a valid cloud-optimised GeoTIFF.

    The rules are those of GDAL's ``validate_cloud_optimized_geotiff.py``: tiles, and
    overviews in the file itself, of an image larger than 512 pixels; directories in
    front, the full image before its overviews; then pixels, the smallest overview
    first.  Missing overviews, of which GDAL only warns, count as a defect here.

    Raises
    ------
    SceneError
        If it cannot be read.
    """
    with opened(path) as dataset:
        return _optimised(path, dataset)


def _optimised(path: Path, dataset: Any) -> bool:
    if dataset.driver != "GTiff" or path.with_name(f"{path.name}.ovr").exists():
        return False
    levels = range(len(dataset.overviews(1)))
    if max(dataset.shape) > _TILELESS:
        striped = dataset.block_shapes[0][1] == dataset.width > _TILELESS
        if striped or not levels:
            return False

    def offsets(name: str) -> list[int]:
        found = (
            dataset.get_tag_item(name, "TIFF", bidx=1, ovr=level)
            for level in (None, *levels)
        )
        return [int(one) for one in found if one is not None]

    directories, pixels = offsets("IFD_OFFSET"), offsets("BLOCK_OFFSET_0_0")
    if not directories or not pixels:
        return False
    return (
        directories == sorted(directories)
        and pixels == sorted(pixels, reverse=True)
        and max(directories) < min(pixels)
    )
