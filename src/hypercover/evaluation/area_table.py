"""Area tables: estimated areas and accuracies of each class, for people and for files."""

from collections.abc import Iterator
from dataclasses import astuple, dataclass, fields
from math import isfinite

from hypercover.evaluation.area import AreaEstimate, Estimates, Z
from hypercover.files import csv_text

__all__ = ["AreaRow", "AreaTable"]

_OVERALL = ("overall_accuracy", "overall_standard_error", "overall_lower", "overall_upper")


@dataclass(frozen=True)
class AreaRow:
    """One class: its areas in the unit of the table, accuracies as shares; NaN = not known."""

    code: int
    name: str
    reference_pixels: int
    """Reference pixels of the class."""
    mapped_area: float
    """Area that the map shows."""
    area: float
    """Area estimated from the reference."""
    area_standard_error: float
    area_lower: float
    area_upper: float
    users_accuracy: float
    users_standard_error: float
    users_lower: float
    users_upper: float
    producers_accuracy: float
    producers_standard_error: float
    producers_lower: float
    producers_upper: float

    def words(self, digits: int) -> list[str]:
        """Return the cells of a table for people, areas with so many digits."""
        return [
            f"{self.code} {self.name}",
            f"{self.reference_pixels:,}",
            f"{self.mapped_area:,.{digits}f}",
            f"{self.area:,.{digits}f} ± {Z * self.area_standard_error:,.{digits}f}",
            _percent(self.users_accuracy, self.users_standard_error),
            _percent(self.producers_accuracy, self.producers_standard_error),
        ]


@dataclass(frozen=True, eq=False)
class AreaTable:
    """An estimate as a table, in hectares where the size of a pixel is known."""

    estimate: AreaEstimate
    hectares: float | None
    """Hectares of one pixel, or None for areas in pixels."""

    @property
    def unit(self) -> str:
        """Name the unit of the areas."""
        return "pixels" if self.hectares is None else "hectares"

    @property
    def digits(self) -> int:
        """Digits behind the point that areas are shown with."""
        most = float(self.estimate.mapped.sum()) * (self.hectares or 1)
        return 0 if self.hectares is None or most >= 10_000 else 2

    @property
    def overall(self) -> str:
        """Write the overall accuracy with its interval."""
        found = self.estimate.overall
        return f"{_percent(float(found.value), float(found.error))} %"

    def rows(self) -> Iterator[AreaRow]:
        """Go through the classes."""
        found, factor = self.estimate, self.hectares or 1.0
        areas = found.areas.scaled(factor)
        ends = areas.interval(most=float(found.mapped.sum()) * factor)
        sampled = found.counts.sum(axis=(0, 1))
        for at, land in enumerate(found.legend):
            yield AreaRow(
                land.code,
                land.name,
                int(sampled[at]),
                float(found.mapped[at] * factor),
                float(areas.value[at]),
                float(areas.error[at]),
                *ends[at].tolist(),
                *_with_ends(found.users, at),
                *_with_ends(found.producers, at),
            )

    def csv(self) -> str:
        """Write the table as CSV text, a row a class; the overall accuracy is in every row."""
        names = [field.name for field in fields(AreaRow)]
        found = self.estimate.overall
        whole = [float(found.value), float(found.error), *found.interval().tolist()]
        rows = (
            [_cell(cell) for cell in (*astuple(row), self.unit, *whole)]
            for row in self.rows()
        )
        return csv_text([[*names, "unit", *_OVERALL], *rows])


def _with_ends(found: Estimates, at: int) -> list[float]:
    return [float(found.value[at]), float(found.error[at]), *found.interval()[at].tolist()]


def _cell(value: object) -> object:
    if not isinstance(value, float):
        return value
    return f"{value:.10g}" if isfinite(value) else ""


def _percent(value: float, error: float) -> str:
    return f"{100 * value:.1f} ± {100 * Z * error:.1f}" if isfinite(value) else "–"
