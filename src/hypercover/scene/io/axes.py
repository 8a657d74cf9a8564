"""Which axis of a cube is the row, which the column and which the band."""

import re
from collections.abc import Sequence

from hypercover.errors import SceneError

Order = tuple[str, str, str]
"""The row, column and band of an array, in the order of its axes."""
Sizes = Sequence[tuple[int, int]]
"""Rows and columns of arrays."""
_NAMES = {
    "row": "rows?|y|lines?|lat|latitude|northing|down_?track|ydim|height",
    "col": "cols?|columns?|x|samples?|lon|longitude|easting|cross_?track|xdim|width",
    "band": "bands?|wavelengths?|wl|wvl|z|spectral|channels?|component|feature|lambda",
}
"""Patterns of the names of axes."""


def parse_axes(text: str) -> Order:
    """Read an axis order such as ``row,col,band``.

    Examples
    --------
    >>> parse_axes("band, row, col")
    ('band', 'row', 'col')

    Raises
    ------
    SceneError
        If it does not name each of row, col and band once.
    """
    parts = tuple(part.strip().lower() for part in text.split(","))
    if sorted(parts) != ["band", "col", "row"]:
        raise SceneError(
            f"The axes must name row, col and band once each, got {text!r}; write "
            "them in the order of the file, for example row,col,band."
        )
    return parts[0], parts[1], parts[2]


_COMMON = tuple(map(parse_axes, ("row,col,band", "band,row,col", "row,band,col")))
_RARE = tuple(map(parse_axes, ("col,row,band", "col,band,row", "band,col,row")))


def axis_role(name: str) -> str | None:
    """Return whether an axis of this name is row, col or band, or None."""
    basename = name.lower().rsplit("/", 1)[-1]
    return next(
        (role for role, names in _NAMES.items() if re.fullmatch(names, basename)), None
    )


def order_from_names(dims: Sequence[str]) -> Order | None:
    """Return the order told by the names of the axes, of which one may be unknown."""
    if len(dims) != 3:
        return None
    roles = [axis_role(name) or "" for name in dims]
    missing = {"row", "col", "band"} - {*roles}
    if len(missing) == 1 and "" in roles:
        roles[roles.index("")] = missing.pop()
    return None if missing else (roles[0], roles[1], roles[2])


def _spatial(order: Order, shape: Sequence[int]) -> tuple[int, int]:
    return shape[order.index("row")], shape[order.index("col")]


def _by_length(shape: Sequence[int]) -> set[int]:
    """Return axes that may be the bands by length: far shorter, or the odd one out."""
    suggested = set()
    for axis, size in enumerate(shape):
        first, second = (other for at, other in enumerate(shape) if at != axis)
        if 2 * size <= min(first, second) or first == second != size:
            suggested.add(axis)
    return suggested


def find_order(
    shape: Sequence[int],
    dims: Sequence[str] = (),
    label_shapes: Sizes = (),
    band_counts: Sequence[int] = (),
) -> tuple[Order, str]:
    """Find the axis order of a cube, and the evidence for it as text.

    Evidence in order of strength: names of the axes; the size of a label map; the length of
    a wavelength or band list; lengths that make only one order plausible.

    Examples
    --------
    >>> find_order((145, 145, 200), band_counts=[200])
    (('row', 'col', 'band'), 'the band list has 200 entries')
    >>> find_order((60, 300, 400))
    (('band', 'row', 'col'), 'only the axis of 60 looks like bands')

    Raises
    ------
    SceneError
        If more than one order remains possible.
    """
    if order := order_from_names(dims):
        return order, f"its axes are named {', '.join(dims)}"
    orders, evidence = list(_COMMON), []
    if fitting := [order for order in orders if _spatial(order, shape) in label_shapes]:
        orders = fitting
        rows, cols = _spatial(orders[0], shape)
        evidence.append(f"the labels have {rows} × {cols} pixels")
    if listed := [order for order in orders if shape[order.index("band")] in band_counts]:
        orders = listed
        evidence.append(f"the band list has {shape[orders[0].index('band')]} entries")
    if len(orders) > 1:
        suggested = _by_length(shape)
        plausible = [order for order in orders if order.index("band") in suggested]
        if len(suggested) == 1 and len(plausible) == 1:
            orders = plausible
            evidence = [f"only the axis of {shape[suggested.pop()]} looks like bands"]
    if len(orders) > 1:
        possible = " or ".join(",".join(order) for order in orders)
        raise SceneError(
            f"The axes of an array of {' × '.join(map(str, shape))} could be {possible}; "
            "say which with --axes, for example --axes row,col,band."
        )
    return orders[0], " and ".join(evidence)


def orders_fitting_labels(shape: Sequence[int], label_shapes: Sizes) -> list[Order]:
    """Return the axis orders of a cube that fit labels of one of these sizes.

    Examples
    --------
    >>> orders_fitting_labels((6, 30, 40), [(30, 40)])
    [('band', 'row', 'col')]
    """
    return [order for order in _COMMON + _RARE if _spatial(order, shape) in label_shapes]
