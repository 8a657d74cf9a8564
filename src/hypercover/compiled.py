"""Loops that run as machine code."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit

__all__ = ["compiled"]

Loop = TypeVar("Loop", bound=Callable[..., Any])


def compiled(loop: Loop) -> Loop:
    """Compile a loop, and keep it for the next start where there is room to.

    It holds no lock of the interpreter.  Numba notices when the file of a kept loop
    changes, but not when one that it calls from another file does: loops that call
    each other stand in one file.
    """
    try:
        return cast(Loop, njit(nogil=True, cache=True)(loop))
    except RuntimeError:  # there is no folder that may be written to
        return cast(Loop, njit(nogil=True)(loop))
