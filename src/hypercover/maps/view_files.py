"""Files that the page draws its maps from: how much of a scene they hold, and reading them."""

import logging
from pathlib import Path

from hypercover.scene.archive import Arrays, read_arrays

__all__ = ["view_arrays", "view_step"]

_log = logging.getLogger(__name__)

_MOST_PIXELS = 250_000
"""Pixels of a scene that a page shows; larger ones are thinned out."""
_MOST_BYTES = 2**28
"""Bytes of all arrays of one file; no view needs as many."""


def view_step(shape: tuple[int, int], most: int = _MOST_PIXELS, multiple: int = 1) -> int:
    """Return the step at which a scene of (rows, columns) is thinned out for the page.

    The smallest multiple of ``multiple`` that leaves at most so many pixels.

    Examples
    --------
    >>> view_step((145, 145)), view_step((1417, 617)), view_step((145, 145), 5000, 2)
    (1, 2, 4)
    """
    step = multiple
    while -(-shape[0] // step) * -(-shape[1] // step) > max(1, most):
        step += multiple
    return step


def view_arrays(path: str | Path) -> Arrays | None:
    """Read what a view was kept in, or None where there is no whole file."""
    try:
        return read_arrays(path, _MOST_BYTES)
    except FileNotFoundError:
        return None
    except ValueError as error:
        _log.warning("%s is left out of the report: %s", path, error)
        return None
