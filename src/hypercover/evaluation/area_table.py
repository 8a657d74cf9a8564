"""Area tables: estimated areas and accuracies of each class, for people and for files."""

from collections.abc import Iterator
from dataclasses import astuple, dataclass, fields
from math import isfinite

from hypercover.evaluation.area import AreaEstimate, Estimates
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
            f"{self.area:,.{digits}f} [{self.area_lower:,.{digits}f}, "
            f"{self.area_upper:,.{digits}f}]",
            _percent(self.users_accuracy, self.users_lower, self.users_upper),
            _percent(self.producers_accuracy, self.producers_lower, self.producers_upper),
        ]


@dataclass(frozen=True, eq=False)
class AreaTable:
    """An estimate as a table."""

    estimate: AreaEstimate
    unit: str = "pixels"
    """Unit of its areas: pixels or hectares."""

    @property
    def digits(self) -> int:
        """Digits behind the point that areas are shown with."""
        most = float(self.estimate.mapped.sum())
        return 0 if self.unit == "pixels" or most >= 10_000 else 2

    @property
    def overall(self) -> str:
        """Write the overall accuracy with its interval."""
        found = self.estimate.overall
        return f"{_percent(float(found.value), *found.interval().tolist())} %"

    def rows(self) -> Iterator[AreaRow]:
        """Go through the classes."""
        found, areas = self.estimate, self.estimate.areas
        ends = areas.interval(most=float(found.mapped.sum()))
        sampled = found.counts.sum(axis=(0, 1))
        for at, land in enumerate(found.legend):
            yield AreaRow(
                land.code,
                land.name,
                int(sampled[at]),
                float(found.mapped[at]),
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


def _percent(value: float, lower: float, upper: float) -> str:
    if not isfinite(value):
        return "–"
    return f"{100 * value:.1f} [{100 * lower:.1f}, {100 * upper:.1f}]"
