"""The size of a window: odd, and no larger than makes sense."""

from hypercover.errors import CallError

__all__ = ["MOST_WINDOW", "check_window"]

MOST_WINDOW = 2**12
"""Largest side of a window in pixels, in files and networks alike."""


def check_window(size: int, shape: tuple[int, int]) -> int:
    """Return a window size after checking it against an image of (rows, cols).

    Raises
    ------
    CallError
        If the size is even, below 1, or larger than the image or any window.
    """
    if size < 1 or size % 2 == 0:
        near = f"{size - 1} or {size + 1}" if size > 1 else "9"
        raise CallError(
            f"The window size must be odd and at least 1, got {size}; use {near}."
        )
    if size > MOST_WINDOW:
        raise CallError(
            f"A window has at most {MOST_WINDOW} × {MOST_WINDOW} pixels, got {size}; use a "
            "smaller window."
        )
    if size > min(shape):
        raise CallError(
            f"The window of {size} × {size} pixels is larger than the image of "
            f"{shape[0]} × {shape[1]}; use a smaller window."
        )
    return size
