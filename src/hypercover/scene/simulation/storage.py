"""Store a scene strip by strip as GeoTIFF, until the package's own writer can."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from hypercover.files import atomic
from hypercover.scene.grid import Grid
from hypercover.scene.legend import Legend
from hypercover.scene.scene import Scene
from hypercover.scene.spectral import BandTable, band_tags

__all__ = ["write_labels", "write_scene"]


def write_scene(scene: Scene, path: Path) -> None:
    """Write the cube with its band table."""
    import rasterio
    from affine import Affine

    rows, cols = scene.shape
    with atomic(path) as draft, rasterio.open(
        draft, "w", driver="GTiff", width=cols, height=rows, count=scene.n_bands,
        dtype=scene.cube.dtype, crs=scene.grid.crs, transform=Affine(*scene.grid.transform),
        tiled=True, blockxsize=64, blockysize=64, compress="deflate", predictor=2,
        zlevel=3, bigtiff="IF_SAFER",
    ) as file:  # fmt: skip
        envi, bands = band_tags(BandTable(scene.wavelengths, scene.fwhm))
        file.update_tags(HYPERCOVER_SIMULATED="yes")
        file.update_tags(ns="ENVI", **envi)
        for number, tags in enumerate(bands, 1):
            file.update_tags(number, ns="IMAGERY", **tags)
        for top in range(0, rows, 64):
            strip = slice(top, min(top + 64, rows))
            window = ((strip.start, strip.stop), (0, cols))
            file.write(scene.read(strip, slice(None)), window=window)


def write_labels(
    labels: npt.NDArray[np.unsignedinteger], legend: Legend, grid: Grid, path: Path
) -> None:
    """Write the labels with their colours."""
    import rasterio
    from affine import Affine

    rows, cols = grid.shape
    with atomic(path) as draft, rasterio.open(
        draft, "w", driver="GTiff", width=cols, height=rows, count=1, dtype=labels.dtype,
        crs=grid.crs, transform=Affine(*grid.transform), nodata=0, compress="deflate",
    ) as file:  # fmt: skip
        file.update_tags(HYPERCOVER_SIMULATED="yes")
        file.write(labels, 1)
        file.write_colormap(1, {0: (0, 0, 0)} | {land.code: land.rgb for land in legend})
