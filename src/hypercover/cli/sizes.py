"""Sizes of memory as people write them."""

import re

from hypercover.errors import CallError

__all__ = ["bytes_of"]

_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_SIZE = re.compile(r"(\d{1,12}(?:\.\d{1,6})?) ?([kmgt]?)(i?)b", re.IGNORECASE)


def bytes_of(text: str) -> int:
    """Return the number of bytes that a size names.

    Raises
    ------
    CallError
        If it is no size above 0.

    Examples
    --------
    >>> bytes_of("500MB"), bytes_of("2GiB"), bytes_of("1.5 kB")
    (500000000, 2147483648, 1500)
    """
    found = _SIZE.fullmatch(text.strip())
    if found is not None:
        number, power, binary = found.groups()
        size = int(float(number) * (1024 if binary else 1000) ** _POWERS[power.lower()])
        if size > 0:
            return size
    raise CallError(
        f"A size of memory is a number above 0 and a unit, got {text[:40]!r}; write it like "
        "500MB or 2GiB."
    )
