"""A grid: how many rows and columns an image has, and where they lie on Earth."""

from dataclasses import dataclass

import numpy as np
import xarray as xr

__all__ = ["Grid", "grid_of", "with_grid"]

_UNEVEN, _AGREE = 1e-3, 1e-4
"""Parts of a pixel up to which coordinates are regular, and two transforms the same."""
_UNPLACED = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


@dataclass(frozen=True)
class Grid:
    """Shape, coordinate system and affine transform of a raster."""

    rows: int
    """Number of rows."""
    cols: int
    """Number of columns."""
    crs: str | None = None
    """Coordinate reference system as WKT, or None where it is not known."""
    transform: tuple[float, float, float, float, float, float] = _UNPLACED
    """Affine a, b, c, d, e, f: x = a·col + b·row + c, y = d·col + e·row + f."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns, in this order."""
        return self.rows, self.cols

    @property
    def placed(self) -> bool:
        """Whether the grid is tied to the ground by a transform."""
        return self.transform != _UNPLACED

    def flipped(self, *axes: int) -> "Grid":
        """Return the grid of the same pixels when rows (0) or columns (1) run the other way.

        Examples
        --------
        >>> Grid(3, 2, None, (10.0, 0.0, 5.0, 0.0, -10.0, 90.0)).flipped(0).transform
        (10.0, -0.0, 5.0, 0.0, 10.0, 60.0)
        """
        a, b, c, d, e, f = self.transform
        if 0 in axes:
            b, c, e, f = -b, c + b * self.rows, -e, f + e * self.rows
        if 1 in axes:
            a, c, d, f = -a, c + a * self.cols, -d, f + d * self.cols
        return Grid(self.rows, self.cols, self.crs, (a, b, c, d, e, f))


def grid_of(cube: xr.DataArray) -> Grid:
    """Read the grid of a cube whose georeference is kept the rioxarray way.

    Coordinates x and y, the centres of pixels, go before the transform that is noted: a
    piece that was cut out with xarray keeps that of the whole.
    """
    rows, cols = cube.sizes["y"], cube.sizes["x"]
    mapping = cube.encoding.get("grid_mapping", cube.attrs.get("grid_mapping"))
    name = mapping if mapping in cube.coords else "spatial_ref"
    attrs = cube.coords[name].attrs if name in cube.coords else {}
    crs = attrs.get("crs_wkt") or attrs.get("spatial_ref") or None
    stated = _UNPLACED
    if "GeoTransform" in attrs:
        c, a, b, f, d, e = (float(part) for part in attrs["GeoTransform"].split())
        stated = (a, b, c, d, e, f)
    return Grid(rows, cols, crs, _by_coordinates(cube, stated, crs))


Transform = tuple[float, float, float, float, float, float]


def _by_coordinates(cube: xr.DataArray, stated: Transform, crs: str | None) -> Transform:
    """Return the transform that regular coordinates of a cube tell, or else the one stated."""
    across, down = (_first_and_step(cube, axis) for axis in ("x", "y"))
    if across is None or down is None or stated[1] or stated[3]:
        return stated
    width, height = across[1] or abs(stated[0]), down[1] or stated[4]
    left, top = across[0] - width / 2, down[0] - height / 2
    if crs is None and width == abs(height) == 1 and left in (0.0, -0.5):
        # Such coordinates only count the pixels.
        return stated
    found = (width, 0.0, left, 0.0, height, top)
    apart = (abs(one - other) for one, other in zip(found, stated, strict=True))
    # The digits of coordinates are no better than those of a transform that agrees.
    return stated if max(apart) <= _AGREE * min(width, abs(height)) else found


def _first_and_step(cube: xr.DataArray, axis: str) -> tuple[float, float] | None:
    """Return the first of regular coordinates and their step; 0 of a single one."""
    if axis not in cube.coords or cube.coords[axis].dims != (axis,):
        return None
    values = cube.coords[axis].values
    if values.dtype.kind not in "iuf":
        return None
    first, last = float(values[0]), float(values[-1])
    step = (last - first) / max(len(values) - 1, 1)
    even = np.abs(values - np.linspace(first, last, len(values))) <= _UNEVEN * abs(step)
    return (first, step) if even.all() else None


def with_grid(cube: xr.DataArray, grid: Grid) -> xr.DataArray:
    """Return the cube with the grid noted the rioxarray way.

    The x and y coordinates are dropped: the transform alone says where the
    pixels lie, so the two can never disagree.
    """
    a, b, c, d, e, f = grid.transform
    attrs = {"GeoTransform": " ".join(repr(part) for part in (c, a, b, f, d, e))}
    if grid.crs:
        attrs |= {"crs_wkt": grid.crs, "spatial_ref": grid.crs}
    bare = cube.drop_vars(["x", "y"], errors="ignore")
    return bare.assign_coords(spatial_ref=xr.Variable((), 0, attrs))
