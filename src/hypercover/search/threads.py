"""How many threads a search may use."""

from numba import config

__all__ = ["usual_threads"]


def usual_threads() -> int:
    """Return one thread a core, or as many as ``NUMBA_NUM_THREADS`` says.

    Why it exists: to ask Numba itself starts its pool and gives every other library
    of the process, PyTorch among them, as many threads; these then add up numbers in
    another order.

    Examples
    --------
    >>> usual_threads() >= 1
    True
    """
    return int(config.NUMBA_NUM_THREADS)  # type: ignore[attr-defined]
