"""GeoTIFFs written block by block, which appear whole and with the text files beside them."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rasterio.crs import CRS
from rasterio.errors import CRSError
from rasterio.transform import Affine

from hypercover.errors import CallError
from hypercover.files import atomic
from hypercover.scene.grid import Grid
from hypercover.scene.io.gdal import (
    copy_raster,
    create_raster,
    explained_write,
    open_raster,
)
from hypercover.scene.io.pam import printable

MAP_BLOCK = 256
"""Side in pixels of the tiles inside a GeoTIFF."""

_STALE = (".aux.xml", ".ovr", ".msk")


@contextmanager
def geotiff_writer(
    path: Path,
    grid: Grid,
    dtype: npt.DTypeLike,
    *,
    nodata: float | None = None,
    band_names: Sequence[str] = ("",),
    palette: Mapping[int, tuple[int, int, int]] | None = None,
    tags: Mapping[str, str] | None = None,
    texts: Mapping[Path, str] | None = None,
    cloud_optimised: bool = False,
) -> Iterator[Any]:
    """Open a tiled, compressed GeoTIFF for writing window by window.

    The file replaces an older one only once every block has been written and read back.

    Parameters
    ----------
    path : Path
    grid : Grid
    dtype : dtype
    nodata : float, optional
    band_names : sequence of str
        Description of each band; its length is the number of bands.
    palette : mapping, optional
        Red, green and blue by value.
    tags : mapping, optional
        Metadata of the file.
    texts : mapping of Path to str, optional
        Text files, such as class names and styles, that appear together with the raster.
    cloud_optimised : bool
        Whether a map of one band becomes a cloud-optimised GeoTIFF, with overviews.

    Yields
    ------
    rasterio dataset

    Raises
    ------
    CallError
        If the coordinate system of the grid is not understood.
    OutputError
        If the file cannot be written; an older file of that name stays.
    """
    profile = _profile(grid, dtype, nodata, len(band_names))
    with ExitStack() as drafts:
        # Drafted first: a map must not appear where its names cannot.
        for text_path, text in (texts or {}).items():
            drafts.enter_context(atomic(text_path)).write_text(text, encoding="utf-8")
        with (
            atomic(path) as draft,
            explained_write(path),
            _target(draft, profile, cloud_optimised) as target,
        ):
            with create_raster(target, **profile) as raster:
                if palette is not None:
                    # GDAL ignores a palette that comes after the pixels.
                    raster.write_colormap(1, palette)
                for band, name in enumerate(band_names, start=1):
                    if name:
                        raster.set_band_description(band, printable(name))
                if tags:
                    raster.update_tags(**tags)
                yield raster
            _read_back(target)
        # Names, statistics and overviews of an older file would be taken for those of this.
        for suffix in _STALE:
            path.with_name(path.name + suffix).unlink(missing_ok=True)


def _profile(
    grid: Grid, dtype: npt.DTypeLike, nodata: float | None, bands: int
) -> dict[str, Any]:
    floating = np.issubdtype(dtype, np.floating)
    profile: dict[str, Any] = {
        "driver": "GTiff",
        "height": grid.rows,
        "width": grid.cols,
        "count": bands,
        "interleave": "band",
        "dtype": np.dtype(dtype).name,
        "nodata": nodata,
        "tiled": True,
        "blockxsize": MAP_BLOCK,
        "blockysize": MAP_BLOCK,
        "compress": "deflate",
        "predictor": 3 if floating else 1,
        "bigtiff": "if_safer",
    }
    if grid.crs:
        profile["crs"] = _crs(grid.crs)
    if grid.placed:
        profile["transform"] = Affine(*grid.transform)
    return profile


def _crs(text: str) -> CRS:
    try:
        return CRS.from_user_input(text)
    except (CRSError, ValueError) as error:
        raise CallError(
            f"The coordinate system {text[:60]!r} of the scene is not understood; "
            "give it as WKT or as an EPSG code."
        ) from error


@contextmanager
def _target(draft: Path, profile: Mapping[str, Any], cog: bool) -> Iterator[Path]:
    """Give the file to write tiles to in any order; on request it is copied to a COG.

    A COG has its overviews in front, so it can only be made of a finished map. Classes are
    reduced to the most frequent one, numbers to their mean. Several bands are not copied.
    """
    if not cog or profile["count"] > 1:
        yield draft
        return
    plain = draft.with_name(f"{draft.stem}.plain{draft.suffix}")
    floating = np.issubdtype(np.dtype(profile["dtype"]), np.floating)
    try:
        yield plain
        copy_raster(
            plain,
            draft,
            driver="COG",
            compress="deflate",
            predictor="yes" if floating else "no",
            blocksize=MAP_BLOCK,
            bigtiff="if_safer",
            overview_resampling="average" if floating else "mode",
        )
        _read_back(draft)
    finally:
        plain.unlink(missing_ok=True)
        draft.with_name(f"{draft.name}.ovr.tmp").unlink(missing_ok=True)


def _read_back(path: Path) -> None:
    """Read every block once: GDAL may be silent about a disk that fills up on closing."""
    with open_raster(path, drivers=("GTiff",)) as raster:
        for _, window in raster.block_windows(1):
            raster.read(window=window)
