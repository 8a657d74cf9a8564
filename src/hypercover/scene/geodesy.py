"""Areas on the ground, also of maps whose pixels differ in size: in degrees, in Mercator.

On an ellipsoid with the axes a and b and the eccentricity e, the land between two
parallels and two meridians has the area ``b² / 2 · Δλ · (q(φ₂) − q(φ₁))`` with
``q(φ) = sin φ / (1 − e² sin² φ) + artanh(e sin φ) / e`` (Snyder 1987, Map projections: a
working manual, U.S. Geological Survey Professional Paper 1395, equations 3-12 and 10-17).
So in the coordinates of Lambert's cylindrical equal-area projection the areas of
rectangles along meridians and parallels are exact.
"""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from hypercover.scene.grid import Grid

__all__ = ["ground_coordinates", "is_even", "pixel_hectares"]

Floats = npt.NDArray[np.float64]
_CYLINDRICAL = re.compile(
    r'(?:PROJECTION|METHOD)\["(?:Mercator|Popular[ _]Visualisation|Equirectangular|'
    r"Equidistant[ _]Cylindrical|Plate)",
    re.IGNORECASE,
)
"""Projections whose scale goes with the latitude alone, and strongly."""
_ELLIPSOID = re.compile(r'(?:SPHEROID|ELLIPSOID)\["[^"]*",\s*([\d.eE+]+),\s*([\d.eE+]+)')
_SQUARE_METRES = 10_000
"""Of a hectare."""


def is_even(crs: str) -> bool:
    """Tell whether pixels of a coordinate system (WKT) have nearly one size on the ground."""
    from rasterio.crs import CRS

    return not (CRS.from_wkt(crs).is_geographic or _CYLINDRICAL.search(crs))


def ground_coordinates(crs: str) -> Callable[[Floats], Floats]:
    """Return what turns points (n, 2) of a coordinate system into metres of true area.

    Those of a projection are scaled to metres.  Degrees, and projections whose scale
    goes with the latitude (Mercator, plate carrée), become the cylindrical equal-area
    projection, whose rectangles have the area of the ellipsoid.

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
    if is_even(crs):
        _, metres = system.linear_units_factor
        return lambda points: points * metres
    axis, flattening = _ellipsoid(crs)
    squared = flattening * (2 - flattening)

    def moved(points: Floats) -> Floats:
        longitude, latitude = _radians(points, system)
        sine = np.sin(np.clip(latitude, -np.pi / 2, np.pi / 2))
        q = sine / (1 - squared * sine**2)
        q += np.arctanh(np.sqrt(squared) * sine) / np.sqrt(squared) if squared else sine
        return np.column_stack([axis * longitude, axis * (1 - squared) * q / 2])

    return moved


def _ellipsoid(crs: str) -> tuple[float, float]:
    """Return semi-major axis in metres and flattening; those of WGS 84 without any."""
    found = _ELLIPSOID.search(crs)
    if found is None:
        return 6_378_137.0, 1 / 298.257223563
    axis, inverse = float(found[1]), float(found[2])
    return axis, 1 / inverse if inverse else 0.0


def _radians(points: Floats, system: Any) -> tuple[Floats, Floats]:
    """Return longitudes and latitudes of points of a coordinate system (rasterio's CRS)."""
    from rasterio.crs import CRS
    from rasterio.warp import transform

    if system.is_geographic:
        _, unit = system.units_factor
        return points[:, 0] * unit, points[:, 1] * unit
    there = transform(system, CRS.from_epsg(4326), points[:, 0], points[:, 1])
    longitude, latitude = (np.radians(np.asarray(one, np.float64)) for one in there)
    return longitude, latitude


def pixel_hectares(grid: Grid) -> Floats | None:
    """Return how many hectares the pixels of a grid have on the ground.

    Returns
    -------
    array (1, 1) where all pixels have one size, (rows, 1) where each row has its own,
    (rows, cols) of turned grids in degrees; None where the grid does not say where it
    lies.

    Examples
    --------
    >>> pixel_hectares(Grid(2, 2)) is None
    True
    """
    if grid.crs is None or not grid.placed:
        return None
    to_ground = ground_coordinates(grid.crs)
    a, b, c, d, e, f = grid.transform
    if is_even(grid.crs):
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
    return _turned(grid, to_ground)


def _turned(grid: Grid, to_ground: Callable[[Floats], Floats]) -> Floats:
    """Return the areas of the pixels of a turned grid, by the corners of each."""
    a, b, c, d, e, f = grid.transform
    row, col = np.mgrid[: grid.rows + 1, : grid.cols + 1]
    points = np.column_stack([
        (c + a * col + b * row).ravel(), (f + d * col + e * row).ravel()
    ])  # fmt: skip
    corners = to_ground(points).reshape(grid.rows + 1, grid.cols + 1, 2)
    first = corners[1:, 1:] - corners[:-1, :-1]
    second = corners[1:, :-1] - corners[:-1, 1:]
    cross = first[..., 0] * second[..., 1] - first[..., 1] * second[..., 0]
    return np.asarray(np.abs(cross) / 2 / _SQUARE_METRES)
