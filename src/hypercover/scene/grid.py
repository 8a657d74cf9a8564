"""Grids: shape and georeference of an image, and the area of its pixels on the ground."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from math import atan2, degrees, hypot
from typing import Any

import numpy as np
import xarray as xr
from xarray import DataArray

from hypercover.types import Floats

_UNEVEN, _AGREE = 1e-3, 1e-4
"""Tolerances in pixels: for regular coordinates, and for equal transforms."""

Transform = tuple[float, float, float, float, float, float]
"""Affine a, b, c, d, e, f: x = a·col + b·row + c, y = d·col + e·row + f."""

_UNPLACED = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


@dataclass(frozen=True)
class Grid:
    """Shape, coordinate system and affine transform of a raster."""

    rows: int
    """Number of rows."""
    cols: int
    """Number of columns."""
    crs: str | None = None
    """Coordinate reference system as WKT; None if unknown."""
    transform: Transform = _UNPLACED
    """Affine a, b, c, d, e, f: x = a·col + b·row + c, y = d·col + e·row + f."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns, in this order."""
        return self.rows, self.cols

    @property
    def placed(self) -> bool:
        """Whether the grid has a georeference."""
        return self.transform != _UNPLACED

    def flipped(self, *axes: int) -> "Grid":
        """Return the grid with the order of rows (0) or columns (1) reversed.

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


def grid_of(cube: DataArray) -> Grid:
    """Read the grid of a cube with a georeference as rioxarray writes it.

    Coordinates x and y, the centres of pixels, take precedence over the stored
    transform, which is that of the whole image if the cube was cut with xarray.
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


def _by_coordinates(cube: DataArray, stated: Transform, crs: str | None) -> Transform:
    """Return the transform of regular coordinates of a cube, or else the stored one."""
    across, down = (_first_and_step(cube, axis) for axis in ("x", "y"))
    if across is None or down is None or stated[1] or stated[3]:
        return stated
    width, height = across[1] or abs(stated[0]), down[1] or stated[4]
    left, top = across[0] - width / 2, down[0] - height / 2
    if crs is None and width == abs(height) == 1 and left in (0.0, -0.5):
        # Such coordinates only count the pixels.
        return stated
    regular = (width, 0.0, left, 0.0, height, top)
    apart = (abs(first - second) for first, second in zip(regular, stated, strict=True))
    # If the two agree, the stored transform has more digits.
    return stated if max(apart) <= _AGREE * min(width, abs(height)) else regular


def _first_and_step(cube: DataArray, axis: str) -> tuple[float, float] | None:
    """Return the first of regular coordinates and their step, 0 for a single one."""
    if axis not in cube.coords or cube.coords[axis].dims != (axis,):
        return None
    values = cube.coords[axis].values
    if values.dtype.kind not in "iuf":
        return None
    first, last = float(values[0]), float(values[-1])
    step = (last - first) / max(len(values) - 1, 1)
    even = np.abs(values - np.linspace(first, last, len(values))) <= _UNEVEN * abs(step)
    return (first, step) if even.all() else None


def with_grid(cube: DataArray, grid: Grid) -> DataArray:
    """Store a grid in a cube as rioxarray does.

    The x and y coordinates are dropped, so that they cannot contradict the transform.
    """
    a, b, c, d, e, f = grid.transform
    attrs = {"GeoTransform": " ".join(repr(part) for part in (c, a, b, f, d, e))}
    if grid.crs:
        attrs |= {"crs_wkt": grid.crs, "spatial_ref": grid.crs}
    bare = cube.drop_vars(["x", "y"], errors="ignore")
    return bare.assign_coords(spatial_ref=xr.Variable((), 0, attrs))


def with_coordinates(cube: DataArray) -> DataArray:
    """Return the cube with the coordinates x and y of its pixel centres.

    A turned grid has none: its ``GeoTransform`` alone says where its pixels are.
    """
    grid = grid_of(cube)
    a, b, c, d, e, f = grid.transform
    cube = cube.assign_attrs(grid_mapping="spatial_ref")
    if b or d or not grid.placed:
        return cube
    return cube.assign_coords(
        x=("x", c + a * (np.arange(grid.cols) + 0.5)),
        y=("y", f + e * (np.arange(grid.rows) + 0.5)),
    )


_SLIGHT = 1e-6
"""Rotation and shear below this share of a pixel are ignored."""

_EVERYWHERE = "maps, polygons, labels and clips keep to it; pictures show rows from the top"

_NORTH_UP = "gdalwarp writes it north up"


def orientation(grid: Grid) -> str | None:
    """Return the orientation of an image that is not north up, else None.

    ``rotated`` if rows do not follow an axis of the coordinate system, ``sheared`` if
    moreover rows and columns are not perpendicular, ``upside down`` if the first row
    is in the south, ``mirrored`` if the first column is in the east, or ``upside down
    and mirrored``.

    Examples
    --------
    >>> orientation(Grid(2, 2, None, (20.0, 0.0, 5e5, 0.0, -20.0, 4e6)))
    >>> orientation(Grid(2, 2, None, (20.0, 0.0, 5e5, 0.0, 20.0, 4e6)))
    'upside down'
    """
    a, b, _, d, e, _ = grid.transform
    if not grid.placed:
        return None
    slight = _SLIGHT * min(hypot(a, d), hypot(b, e))
    if abs(b) > slight or abs(d) > slight:
        square = abs(a * b + d * e) <= _SLIGHT * hypot(a, d) * hypot(b, e)
        return "rotated" if square else "sheared"
    ways = [word for word, yes in (("upside down", e > 0), ("mirrored", a < 0)) if yes]
    return " and ".join(ways) or None


def describe_orientation(grid: Grid) -> str | None:
    """Describe the orientation of an image and its consequences; None if north is up."""
    kind = orientation(grid)
    if kind in ("rotated", "sheared"):
        turn = degrees(atan2(grid.transform[3], grid.transform[0]))
        return (
            f"{kind}: rows run {abs(turn):.4g}° {'north' if turn >= 0 else 'south'} of "
            f"east; {_EVERYWHERE}, pansharpen refuses it; {_NORTH_UP}"
        )
    if kind is None:
        return None
    sides = (
        ("upside down", "row is the southernmost"),
        ("mirrored", "column is the easternmost"),
    )
    first = " and the first ".join(side for word, side in sides if word in kind)
    return (
        f"{kind}: the first {first}; {_EVERYWHERE}, pansharpen refuses it together with an "
        f"image of another orientation; {_NORTH_UP}"
    )


_CYLINDRICAL = re.compile(
    r'(?:PROJECTION|METHOD)\["(?:Mercator|Popular[ _]Visualisation|Equirectangular|'
    r"Equidistant[ _]Cylindrical|Plate)",
    re.IGNORECASE,
)
"""Projections whose scale depends strongly on latitude, and on nothing else."""

_ELLIPSOID = re.compile(r'(?:SPHEROID|ELLIPSOID)\["[^"]*",\s*([\d.eE+]+),\s*([\d.eE+]+)')

_SQUARE_METRES = 10_000
"""Square metres of a hectare."""


def has_equal_pixels(crs: str) -> bool:
    """Tell whether pixels in a coordinate system (WKT) have nearly equal areas."""
    from rasterio.crs import CRS

    return not (CRS.from_wkt(crs).is_geographic or _CYLINDRICAL.search(crs))


def ground_coordinates(crs: str) -> Callable[[Floats], Floats]:
    """Return a function that converts points (n, 2) to metres with true areas.

    Projected coordinates are scaled to metres.  Degrees, and projections whose scale
    depends on latitude (Mercator, plate carrée), are converted to the cylindrical
    equal-area projection of the ellipsoid.

    Parameters
    ----------
    crs : str
        The coordinate system as WKT.

    Examples
    --------
    The whole Earth has 510.066 million square kilometres:

    >>> from rasterio.crs import CRS
    >>> to_ground = ground_coordinates(CRS.from_epsg(4326).to_wkt())
    >>> (x0, y0), (x1, y1) = to_ground(np.array([[-180.0, -90.0], [180.0, 90.0]]))
    >>> round(float((x1 - x0) * (y1 - y0)) / 1e12, 3)
    510.066
    """
    from rasterio.crs import CRS

    system = CRS.from_wkt(crs)
    if has_equal_pixels(crs):
        _, metres = system.linear_units_factor
        return lambda points: points * metres
    match = _ELLIPSOID.search(crs)
    # By default that of WGS 84.
    axis, inverse = map(float, match.groups()) if match else (6_378_137.0, 298.257223563)
    flattening = 1 / inverse if inverse else 0.0
    squared = flattening * (2 - flattening)

    def moved(points: Floats) -> Floats:
        longitude, latitude = _radians(points, system)
        sine = np.sin(np.clip(latitude, -np.pi / 2, np.pi / 2))
        q = sine / (1 - squared * sine**2)
        q += np.arctanh(np.sqrt(squared) * sine) / np.sqrt(squared) if squared else sine
        return np.column_stack([axis * longitude, axis * (1 - squared) * q / 2])

    return moved


def _radians(points: Floats, system: Any) -> tuple[Floats, Floats]:
    """Return longitudes and latitudes of points in a coordinate system."""
    from rasterio.crs import CRS
    from rasterio.warp import transform

    if system.is_geographic:
        _, unit = system.units_factor
        return points[:, 0] * unit, points[:, 1] * unit
    lon, lat, *_ = transform(system, CRS.from_epsg(4326), points[:, 0], points[:, 1])
    return np.radians(np.asarray(lon, np.float64)), np.radians(np.asarray(lat, np.float64))


def pixel_hectares(grid: Grid) -> Floats | None:
    """Return the areas of the pixels of a grid, in hectares.

    Returns
    -------
    array or None
        Shape (1, 1) if all pixels have one area, (rows, 1) if it varies by row,
        (rows, cols) for rotated grids in degrees; None without a georeference.

    Examples
    --------
    >>> pixel_hectares(Grid(2, 2)) is None
    True
    """
    if grid.crs is None or not grid.placed:
        return None
    to_ground = ground_coordinates(grid.crs)
    a, b, c, d, e, f = grid.transform
    if has_equal_pixels(grid.crs):
        x, y = to_ground(np.array([[a, d], [b, e]]))
        across = abs(float(x[0] * y[1] - x[1] * y[0]))
        return np.full((1, 1), across / _SQUARE_METRES)
    if b == d == 0:
        middle = c + a * (grid.cols // 2)
        edges = f + e * np.arange(grid.rows + 1)
        high = to_ground(np.column_stack([np.full(len(edges), middle), edges]))[:, 1]
        wide = to_ground(np.array([[middle, f], [middle + a, f]]))[:, 0]
        width = abs(float(wide[1] - wide[0]))
        heights = np.abs(high[1:] - high[:-1])
        return np.asarray(heights[:, None] * (width / _SQUARE_METRES))
    return _areas_by_corners(grid, to_ground)


def _areas_by_corners(grid: Grid, to_ground: Callable[[Floats], Floats]) -> Floats:
    """Return the area of each pixel from its corners."""
    a, b, c, d, e, f = grid.transform
    row, col = np.mgrid[: grid.rows + 1, : grid.cols + 1]
    points = np.stack([c + a * col + b * row, f + d * col + e * row], axis=-1)
    corners = to_ground(points.reshape(-1, 2)).reshape(points.shape)
    first = corners[1:, 1:] - corners[:-1, :-1]
    second = corners[1:, :-1] - corners[:-1, 1:]
    cross = first[..., 0] * second[..., 1] - first[..., 1] * second[..., 0]
    return np.asarray(np.abs(cross) / 2 / _SQUARE_METRES)
