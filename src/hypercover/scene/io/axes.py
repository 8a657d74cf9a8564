"""Which axis of a cube is the row, which the column and which the band."""

from collections.abc import Sequence
from itertools import permutations

from hypercover.errors import SceneError

__all__ = [
    "Order",
    "axis_role",
    "find_order",
    "order_from_names",
    "orders_fitting_labels",
    "parse_axes",
]

Order = tuple[str, str, str]
_COMMON: tuple[Order, ...] = (
    ("row", "col", "band"),
    ("band", "row", "col"),
    ("row", "band", "col"),
)
_NAMES = {
    "row": {"row", "rows", "y", "line", "lines", "lat", "latitude", "northing",
            "downtrack", "down_track", "ydim", "height"},
    "col": {"col", "cols", "column", "columns", "x", "sample", "samples", "lon",
            "longitude", "easting", "crosstrack", "cross_track", "xdim", "width"},
    "band": {"band", "bands", "wavelength", "wavelengths", "wl", "wvl", "z", "spectral",
             "channel", "channels", "component", "feature", "lambda"},
}  # fmt: skip


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


def axis_role(name: str) -> str | None:
    """Return what an axis of this name is: row, col or band; None where it is none of them."""
    last = name.lower().rsplit("/", 1)[-1]
    return next((role for role, known in _NAMES.items() if last in known), None)


def order_from_names(dims: Sequence[str]) -> Order | None:
    """Order told by the names of the axes; one unknown name is filled in."""
    if len(dims) != 3:
        return None
    roles = [axis_role(name) for name in dims]
    missing = {"row", "col", "band"} - {role for role in roles if role}
    if len(missing) == 1 and roles.count(None) == 1:
        roles[roles.index(None)] = missing.pop()
    if sorted(role or "" for role in roles) != ["band", "col", "row"]:
        return None
    return str(roles[0]), str(roles[1]), str(roles[2])


def _spatial(order: Order, shape: Sequence[int]) -> tuple[int, int]:
    return shape[order.index("row")], shape[order.index("col")]


def _by_length(shape: Sequence[int]) -> set[int]:
    """Axes that lengths alone suggest for the bands: far shorter, or the odd one out."""
    suggested = {
        axis
        for axis, size in enumerate(shape)
        if all(2 * size <= other for at, other in enumerate(shape) if at != axis)
    }
    for axis in range(3):
        first, second = (shape[at] for at in range(3) if at != axis)
        if first == second != shape[axis]:
            suggested.add(axis)
    return suggested


def find_order(
    shape: Sequence[int],
    *,
    dims: Sequence[str] = (),
    label_shapes: Sequence[tuple[int, int]] = (),
    band_counts: Sequence[int] = (),
) -> tuple[Order, str]:
    """Find the axis order of a cube and the evidence for it, in words.

    Evidence is used in this order: names of the axes; the size of a label map;
    the length of a wavelength or band list; lengths that only one order makes
    plausible.

    Examples
    --------
    >>> find_order((145, 145, 200), band_counts=[200])
    (('row', 'col', 'band'), 'the band list has 200 entries')
    >>> find_order((60, 300, 400))
    (('band', 'row', 'col'), 'only the axis of 60 looks like bands')

    Raises
    ------
    SceneError
        If more than one order stays possible.
    """
    named = order_from_names(dims)
    if named:
        return named, f"its axes are named {', '.join(dims)}"
    orders = list(_COMMON)
    evidence = []
    fitting = [order for order in orders if _spatial(order, shape) in label_shapes]
    if fitting:
        orders = fitting
        evidence.append("the labels have {} × {} pixels")
    listed = [order for order in orders if shape[order.index("band")] in band_counts]
    if listed:
        orders = listed
        evidence.append("the band list has {} entries")
    if len(orders) > 1:
        suggested = _by_length(shape)
        plausible = [order for order in orders if order.index("band") in suggested]
        if len(suggested) == 1 and len(plausible) == 1:
            orders, evidence = plausible, ["only the axis of {} looks like bands"]
    return _only(orders, shape), _words(evidence, orders[0], shape)


def orders_fitting_labels(
    shape: Sequence[int], label_shapes: Sequence[tuple[int, int]]
) -> list[Order]:
    """Return the axis orders of a cube under which labels of one of the sizes fit.

    Examples
    --------
    >>> fitting_orders((6, 30, 40), [(30, 40)])
    [('band', 'row', 'col')]
    """
    every = [(one[0], one[1], one[2]) for one in permutations(("row", "col", "band"))]
    usual = [*_COMMON, *(order for order in every if order not in _COMMON)]
    return [order for order in usual if _spatial(order, shape) in label_shapes]


def _words(evidence: Sequence[str], order: Order, shape: Sequence[int]) -> str:
    rows, cols = _spatial(order, shape)
    bands = shape[order.index("band")]
    filled = [
        text.format(rows, cols) if "×" in text else text.format(bands) for text in evidence
    ]
    return " and ".join(filled)


def _only(orders: Sequence[Order], shape: Sequence[int]) -> Order:
    if len(orders) == 1:
        return orders[0]
    possible = " or ".join(",".join(order) for order in orders)
    raise SceneError(
        f"The axes of an array of {' × '.join(map(str, shape))} could be {possible}; "
        "say which with --axes, for example --axes row,col,band."
    )
