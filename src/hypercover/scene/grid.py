"""A grid: how many rows and columns an image has, and where they lie on Earth."""

from dataclasses import dataclass

import xarray as xr

__all__ = ["Grid", "grid_of", "with_grid"]

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
    """Read the grid of a cube whose georeference is kept the rioxarray way."""
    rows, cols = cube.sizes["y"], cube.sizes["x"]
    if "spatial_ref" not in cube.coords:
        return Grid(rows, cols)
    attrs = cube.coords["spatial_ref"].attrs
    crs = attrs.get("crs_wkt") or attrs.get("spatial_ref") or None
    if "GeoTransform" not in attrs:
        return Grid(rows, cols, crs)
    c, a, b, f, d, e = (float(part) for part in attrs["GeoTransform"].split())
    return Grid(rows, cols, crs, (a, b, c, d, e, f))


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
