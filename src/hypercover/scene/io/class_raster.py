"""Class rasters: GeoTIFFs of class codes with a palette, and class names beside them."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hypercover.scene.grid import Grid
from hypercover.scene.io.geotiff import geotiff_writer
from hypercover.scene.io.pam import category_xml, sidecar
from hypercover.scene.legend import Legend


def code_type(codes: npt.ArrayLike) -> type[np.uint8] | type[np.uint16]:
    """Return the smallest pixel type that holds these class codes."""
    return np.uint8 if np.max(codes, initial=0) <= 255 else np.uint16


@contextmanager
def class_raster_writer(
    path: Path,
    legend: Legend,
    grid: Grid,
    *,
    zero: str = "no data",
    zero_rgb: tuple[int, int, int] | None = None,
    nodata: int | None = 0,
    description: str = "",
    tags: Mapping[str, str] | None = None,
    texts: Mapping[Path, str] | None = None,
    cloud_optimised: bool = False,
) -> Iterator[Any]:
    """Open a class raster for writing window by window.

    The pixels are uint8, or uint16 where a code is above 255. The palette is stored in
    the GeoTIFF, the class names in ``<file>.aux.xml``, where GDAL and QGIS read them.

    Parameters
    ----------
    path : Path
    legend : Legend
        Name and colour of every code that will be written.
    grid : Grid
    zero, zero_rgb : str and tuple
        Name and colour of code 0; transparent without a colour.
    nodata : int, optional
        The code declared as no data.
    description : str
        Description of the band.
    tags, texts, cloud_optimised
        As in :func:`~hypercover.scene.io.geotiff.geotiff_writer`.

    Yields
    ------
    rasterio dataset
        Codes are written with ``write(codes, 1, window=...)``.
    """
    with geotiff_writer(
        path,
        grid,
        code_type(legend.codes),
        nodata=nodata,
        band_names=(description,),
        palette={0: zero_rgb or (0, 0, 0)} | {land.code: land.rgb for land in legend},
        tags=tags,
        texts={sidecar(path): category_xml(legend, zero, zero_rgb), **(texts or {})},
        cloud_optimised=cloud_optimised,
    ) as raster:
        yield raster
