"""How an image lies in its coordinate system: north up, turned, upside down or mirrored."""

from math import atan2, degrees, hypot

from hypercover.scene.grid import Grid

__all__ = ["orientation", "orientation_words"]

_SLIGHT = 1e-6
"""Parts of a pixel's side below which a transform has no rotation."""
_EVERYWHERE = "maps, polygons, labels and clips keep to it; pictures show rows from the top"
_NORTH_UP = "gdalwarp writes it north up"


def orientation(grid: Grid) -> str | None:
    """Tell how an image lies that is not north up; None of one that is, or has no place.

    ``rotated`` of rows that do not run along an axis of the coordinate system,
    ``sheared`` where rows and columns are not square to one another besides,
    ``upside down`` of a first row in the south, ``mirrored`` of a first column in the
    east, ``upside down and mirrored`` of both.

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


def orientation_words(grid: Grid) -> str | None:
    """Say how an image lies and what that means for other commands; None if north is up."""
    found = orientation(grid)
    if found in ("rotated", "sheared"):
        turn = degrees(atan2(grid.transform[3], grid.transform[0]))
        return (
            f"{found}: rows run {abs(turn):.4g}° {'north' if turn >= 0 else 'south'} of "
            f"east; {_EVERYWHERE}, pansharpen refuses it; {_NORTH_UP}"
        )
    if found is None:
        return None
    sides = {
        "upside down": "row is the southernmost",
        "mirrored": "column is the easternmost",
    }
    first = " and the first ".join(side for word, side in sides.items() if word in found)
    return (
        f"{found}: the first {first}; {_EVERYWHERE}, pansharpen refuses it beside one that "
        f"lies otherwise; {_NORTH_UP}"
    )
