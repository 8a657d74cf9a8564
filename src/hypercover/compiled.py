"""Compilation of loops to machine code by numba."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit

Loop = TypeVar("Loop", bound=Callable[..., Any])


def compiled(loop: Loop) -> Loop:
    """Compile a loop without the interpreter lock, and cache it on disk if possible.

    Numba invalidates the cache when the file of a loop changes, but not when a loop it
    calls in another file does: loops that call each other belong in one file.
    """
    try:
        return cast(Loop, njit(nogil=True, cache=True)(loop))
    except RuntimeError:  # no writable cache folder
        return cast(Loop, njit(nogil=True)(loop))
