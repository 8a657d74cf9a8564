"""Entries: what a file says about samples, taken out of it only where it fits."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hypercover.errors import CallError
from hypercover.scene.grid import Grid
from hypercover.scene.legend import Legend

__all__ = ["Entries"]

_MOST_SIDE = 2**24
_MOST_TEXT = 2**16

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Entries:
    """Takes entries out of a document that may come from a stranger."""

    file: Path
    """The file they stand in."""
    about: Mapping[str, Any]
    """The entries by name."""
    what: str
    """What the file is, such as ``positions file``."""
    remedy: str
    """What to do about one that cannot be used."""
    error: type[CallError] = CallError
    """Kind of error that a wrong entry is."""

    def damaged(self, why: str) -> CallError:
        """Return the error of a file that cannot be used."""
        return self.error(
            f"The {self.what} {self.file} cannot be used: {why}; {self.remedy}."
        )

    def inner(self, key: str) -> "Entries":
        """Return the entries inside an entry."""
        about = self.checked(key, lambda value: isinstance(value, dict))
        return Entries(self.file, about, self.what, self.remedy, self.error)

    def checked(self, key: str, fits: Callable[[Any], bool]) -> Any:
        """Return an entry that fits."""
        value = self.about.get(key)
        if not fits(value):
            raise self.damaged(f"its entry {key!r} is missing or not what it must be")
        return value

    def whole(self, key: str, least: int, most: int) -> int:
        """Return a whole number within bounds."""
        return int(
            self.checked(key, lambda value: type(value) is int and least <= value <= most)
        )

    def truth(self, key: str) -> bool:
        """Return yes or no."""
        return bool(self.checked(key, lambda value: isinstance(value, bool)))

    def text(self, key: str) -> str:
        """Return a text of bounded length."""
        return str(self.checked(key, _is_text))

    def names(self, key: str) -> tuple[str, ...]:
        """Return a list of short texts."""
        return tuple(
            self.checked(
                key,
                lambda value: isinstance(value, list) and all(map(_is_text, value)),
            )
        )

    def numbers(self, key: str, count: int) -> tuple[float, ...] | None:
        """Return so many finite numbers, or None where they are not known."""
        given = self.checked(key, lambda value: value is None or _numbers(value, count))
        return None if given is None else tuple(map(float, given))

    def truths(self, key: str, count: int) -> tuple[bool, ...] | None:
        """Return so many yes or no, or None where they are not known."""
        given = self.checked(key, lambda value: value is None or _truths(value, count))
        return None if given is None else tuple(given)

    def bands(self, key: str, count: int) -> tuple[int, ...] | None:
        """Return so many band numbers from 1, or None where there are none."""
        given = self.checked(key, lambda value: value is None or _numbers(value, count))
        if given is None:
            return None
        if not all(type(band) is int and band > 0 for band in given):
            raise self.damaged(f"its {key} are not whole numbers from 1")
        return tuple(given)

    def grid(self, sides: str = "") -> Grid:
        """Return a grid of rows, cols, crs and transform; the sides with a prefix."""
        crs = self.checked("crs", lambda value: value is None or _is_text(value))
        if crs is not None:
            self._check_crs(crs)
        return Grid(
            self.whole(f"{sides}rows", 1, _MOST_SIDE),
            self.whole(f"{sides}cols", 1, _MOST_SIDE),
            crs,
            tuple(map(float, self.checked("transform", lambda value: _numbers(value, 6)))),  # type: ignore[arg-type]
        )

    def _check_crs(self, text: str) -> None:
        """Refuse a coordinate system that is no WKT."""
        from rasterio.crs import CRS
        from rasterio.errors import CRSError

        from hypercover.scene.io.gdal import gdal_env

        try:
            # Inside it GDAL does not print errors of its own.
            with gdal_env():
                CRS.from_wkt(text)
        except CRSError as error:
            raise self.damaged(f"its coordinate system {text[:40]!r} is no WKT") from error

    def legend(self) -> Legend:
        """Return the legend of the classes."""
        try:
            return Legend.from_json(self.about["legend"])
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise self.damaged("its legend is not one") from error

    def check_places(self, rows: Ints, cols: Ints, grid: Grid) -> None:
        """Refuse rows and columns (n,) that are not places apart in the grid."""
        for key, given, side in (("rows", rows, grid.rows), ("cols", cols, grid.cols)):
            if len(given) and not 0 <= given.min() <= given.max() < side:
                raise self.damaged(f"its {key} are not whole numbers below {side}")
        if len(np.unique(rows * grid.cols + cols)) < len(rows):
            raise self.damaged("two samples lie on one pixel")


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) < _MOST_TEXT


def _truths(value: Any, count: int) -> bool:
    """Tell whether a value is a list of so many yes or no."""
    return (
        isinstance(value, list)
        and len(value) == count
        and all(isinstance(part, bool) for part in value)
    )


def _numbers(value: Any, count: int) -> bool:
    """Tell whether a value is a list of so many finite numbers."""
    return (
        isinstance(value, list)
        and len(value) == count
        and all(type(part) in (int, float) and abs(part) < 1e300 for part in value)
    )
