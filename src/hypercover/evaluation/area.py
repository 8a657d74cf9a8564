"""Accuracy and class areas of a map, estimated from a reference sample.

Counting the pixels of a class in a map gives its area including the map's errors.  A
probability sample of reference pixels corrects both the accuracy and the areas, and says
how sure they are: Olofsson, P., Foody, G. M., Herold, M.,
Stehman, S. V., Woodcock, C. E., Wulder, M. A. (2014), "Good practices for
estimating area and assessing accuracy of land change", Remote Sensing of
Environment 148, 42-57, doi 10.1016/j.rse.2014.02.015, equations 5 to 11.

One estimator does it for every design: a ratio of two stratified means (Stehman
2014, International Journal of Remote Sensing 35, 4923-4939, equations 27 and
28).  With the classes of the map as strata it is that of Olofsson et al.; with
one stratum it is that of a simple random sample.  No correction for a finite
population is made, as in Olofsson et al.

Their intervals, ± 1.96 standard errors, have no width where all pixels of a small
sample agree.  The intervals here are Wilson's (1927, Journal of the American
Statistical Association 22, 209-212), which account for the sample size: within each
stratum, and joined over strata by the recovery of variance estimates (Zou and Donner
2008, Statistics in Medicine 27, 1693-1702).  A ratio has that of the sample size that
its standard error is worth, at most the pixels it was counted on (Korn and Graubard
1998, Survey Methodology 24, 193-201).  For large samples the two nearly agree.
"""

from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from scipy.stats import norm

from hypercover.errors import CallError, counted
from hypercover.evaluation.accuracy import safe_divide
from hypercover.evaluation.result_plots import format_result, plot_bars
from hypercover.files import csv_text
from hypercover.scene.legend import Legend
from hypercover.types import Array, Codes, Floats, Ints, Mask

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


_ROWS = 256
"""Rows that are added up together."""

Z = float(norm.ppf(0.975))
"""Quantile of the normal distribution for an interval of 95 %."""


@dataclass(frozen=True, eq=False)
class Estimates:
    """Estimates, their standard errors and intervals; NaN where unknown."""

    value: Floats
    error: Floats
    ends: Floats
    """Lower and upper end (..., 2) of the intervals of 95 %."""

    def interval(self, most: float = 1.0) -> Floats:
        """Return the intervals (..., 2), cut off at 0 and at ``most``."""
        return np.asarray(np.clip(self.ends, 0, most))

    def scaled(self, factor: float) -> "Estimates":
        """Return the same estimates in another unit."""
        return Estimates(self.value * factor, self.error * factor, self.ends * factor)

    def columns(self, name: str, most: float = 1.0) -> dict[str, Floats]:
        """Return values, standard errors and ends as columns of a table."""
        stem = name.removesuffix("_accuracy")
        lower, upper = self.interval(most).T
        ends = {f"{stem}_lower": lower, f"{stem}_upper": upper}
        return {name: self.value, f"{stem}_standard_error": self.error, **ends}


@dataclass(frozen=True, eq=False, repr=False)
class AreaEstimate:
    """Accuracies and areas of the classes of a map, estimated from a reference sample.

    Examples
    --------
    >>> mapped = np.repeat([[1, 2]], 50, axis=1).repeat(10, axis=0)
    >>> sample = np.random.default_rng(0).random(mapped.shape) < 0.1
    >>> found = estimate_area(mapped, np.where(sample, np.roll(mapped, 10, axis=1), 0))
    >>> found.sampled, found.to_frame()["mapped_area"].tolist()
    (89, [500.0, 500.0])
    """

    legend: Legend
    """The classes of map and reference."""
    counts: Ints
    """Reference pixels (stratum, class in the map, class in the reference)."""
    mapped: Ints | Floats
    """Area of each class in the map, in the unit of the areas."""
    overall: Estimates
    """Area-adjusted overall accuracy: share of the whole map that is right."""
    users: Estimates
    """User's accuracy of each class."""
    producers: Estimates
    """Producer's accuracy of each class."""
    areas: Estimates
    """Area of each class, in pixels or in the unit of the pixel areas that were given."""
    unit: str = "pixels"
    """Unit of the areas: pixels or hectares."""

    @property
    def sampled(self) -> int:
        """Number of reference pixels."""
        return int(self.counts.sum())

    @property
    def overall_text(self) -> str:
        """The overall accuracy with its interval, in percent."""
        return f"{_percent(float(self.overall.value), *self.overall.interval().tolist())} %"

    def to_frame(self) -> "pd.DataFrame":
        """Return a table with one row a class; accuracies are shares, NaN where unknown."""
        import pandas as pd

        columns: dict[str, Any] = {
            "code": self.legend.codes,
            "name": self.legend.names,
            "reference_pixels": self.counts.sum(axis=(0, 1)),
            "mapped_area": self.mapped.astype(np.float64),
            **self.areas.columns("area", most=float(self.mapped.sum())),
            **self.users.columns("users_accuracy"),
            **self.producers.columns("producers_accuracy"),
        }
        return pd.DataFrame(columns)

    def cells(self) -> list[list[str]]:
        """Return the table as it is printed, accuracies in percent."""
        whole = self.unit == "pixels" or self.mapped.sum() >= 10_000
        area = ",.0f" if whole else ",.2f"
        return [
            [
                f"{row.code} {row.name}",
                f"{row.reference_pixels:,}",
                f"{row.mapped_area:{area}}",
                f"{row.area:{area}} [{row.area_lower:{area}}, {row.area_upper:{area}}]",
                _percent(row.users_accuracy, row.users_lower, row.users_upper),
                _percent(row.producers_accuracy, row.producers_lower, row.producers_upper),
            ]
            for row in self.to_frame().itertuples()
        ]

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Draw mapped and estimated areas with matplotlib and return the axes."""
        ends = self.areas.interval(most=float(self.mapped.sum()))
        bars = {"in the map": (self.mapped, None), "estimated": (self.areas.value, ends)}
        axes = plot_bars(self.legend.names, bars, f"area in {self.unit}", ax)
        axes.set_title("Class areas with 95 % intervals")
        return axes

    def __repr__(self) -> str:
        """Return the overall accuracy and a table of areas and accuracies."""
        import pandas as pd

        heads = ("class", "sampled", "in the map", "area", "user's %", "producer's %")
        headline = (
            f"Areas in {self.unit} from {self.sampled:,} reference pixels; overall accuracy "
            f"{self.overall_text}"
        )
        return format_result(headline, pd.DataFrame(self.cells(), columns=list(heads)))

    def csv(self) -> str:
        """Return the table as CSV text; every row ends with the overall accuracy."""
        overall = self.overall.columns("overall_accuracy")
        frame = self.to_frame().assign(unit=self.unit, **overall)
        rows = ([_cell(cell) for cell in row] for row in frame.itertuples(index=False))
        return csv_text([list(frame.columns), *rows])


def estimate_area(
    mapped: Codes,
    reference: Codes,
    *,
    design: Literal["stratified", "simple"] = "stratified",
    strata: Codes | None = None,
    legend: Legend | None = None,
    pixel_areas: Floats | None = None,
) -> AreaEstimate:
    """Estimate accuracies and class areas of a map from reference pixels.

    This holds only if the reference pixels are a probability sample of the map:
    drawn at random within each stratum, or from the whole map.  Labels chosen for
    convenience, such as the test pixels of a training set, are not.

    Parameters
    ----------
    mapped : array (y, x)
        Class codes of the map; pixels of 0 belong to no area.
    reference : array (y, x)
        Class codes of the sampled pixels, 0 elsewhere.
    design : "stratified" or "simple"
        Whether pixels were drawn within strata or from the whole map at once.
        A simple random sample may be given as "stratified": then it is
        stratified afterwards, which mostly narrows the intervals.
    strata : array (y, x), optional
        Codes of the strata from 1; by default the classes of the map.
    legend : Legend, optional
        Names of the classes.
    pixel_areas : array that broadcasts to (y, x), optional
        Area of each pixel, such as ``ClassMap.pixel_areas`` in hectares: areas are then
        in its unit, and larger pixels weigh more.  By default each pixel counts 1.

    Raises
    ------
    CallError
        If sizes differ, no reference pixel lies on the map, a stratum holds fewer
        than two of them, or a pixel of the map lies in no stratum.

    Examples
    --------
    >>> mapped = np.repeat([[1, 2]], 50, axis=1).repeat(10, axis=0)
    >>> truth = np.roll(mapped, 10, axis=1)
    >>> sample = np.random.default_rng(0).random(truth.shape) < 0.1
    >>> found = estimate_area(mapped, np.where(sample, truth, 0))
    >>> found.mapped.tolist(), found.sampled
    ([500, 500], 89)
    >>> round(float(found.overall.value), 2), found.areas.interval(1000).round().tolist()
    (0.73, [[391.0, 572.0], [428.0, 609.0]])
    """
    inside = mapped > 0
    places = _strata(mapped, reference, design, strata)
    sample = (reference > 0) & inside
    if not sample.any():
        raise CallError(
            "No reference pixel lies on a pixel of the map with a class; give a reference "
            "sample of this map."
        )
    legend = (legend or Legend()).covering([*np.unique(mapped), *np.unique(reference)])
    names = np.unique(places[inside])
    shape = (len(names), len(legend), len(legend))
    by_code = ((names, places), (legend.codes, mapped), (legend.codes, reference))
    at = tuple(np.searchsorted(codes, pixels[sample]) for codes, pixels in by_code)

    def tally(weights: Floats | float) -> Floats:
        table = np.zeros(shape)
        np.add.at(table, at, weights)
        return table

    counts = tally(1.0).astype(np.int64)
    _check_counts(counts, names, legend if strata is None else None)
    sizes = _sums(places, inside, names, pixel_areas)
    totals = _sums(mapped, inside, np.array(legend.codes), pixel_areas)
    if pixel_areas is None:
        totals = totals.astype(np.int64)
    if pixel_areas is None or pixel_areas.size == 1:
        return area_from_counts(counts, sizes, totals, legend)
    own = np.broadcast_to(pixel_areas, mapped.shape)[sample]
    weighed, squares = tally(own), tally(own**2)
    # Pixels of several sizes are worth fewer of one size (Kish 1965).
    worth = weighed.sum(axis=(1, 2)) ** 2 / squares.sum(axis=(1, 2))
    return area_from_counts(counts, sizes, totals, legend, areas=weighed, worth=worth)


def _sums(codes: Codes, inside: Mask, names: Codes, areas: Floats | None) -> Floats:
    """Add up the pixels of each code, or their areas."""
    even = areas is None or areas.size == 1
    sums = np.zeros(len(names))
    for top in range(0, len(codes), _ROWS):
        rows = slice(top, top + _ROWS)
        here = inside[rows]
        at = np.searchsorted(names, codes[rows][here])
        weights = None
        if areas is not None and not even:
            of_rows = areas[rows] if len(areas) > 1 else areas
            weights = np.broadcast_to(of_rows, here.shape)[here]
        sums += np.bincount(at, weights=weights, minlength=len(names))
    return sums * float(areas.flat[0]) if areas is not None and even else sums


def area_from_counts(
    counts: Ints,
    sizes: Ints | Floats,
    mapped: Ints | Floats,
    legend: Legend,
    *,
    areas: Floats | None = None,
    worth: Floats | None = None,
) -> AreaEstimate:
    """Estimate accuracies and class areas from counts of reference pixels.

    Parameters
    ----------
    counts : array (stratum, class in the map, class in the reference)
        Reference pixels; at least two in each stratum.
    sizes : array (stratum,)
        Pixels of the map in each stratum.
    mapped : array (class,)
        Pixels of the map of each class.
    legend : the classes, in order
    areas : array (stratum, class in the map, class in the reference), optional
        Area of the reference pixels, where they differ in size.
    worth : array (stratum,), optional
        How many pixels of one size they are worth.
    """
    cells = counts if areas is None else areas
    shares = cells / cells.sum(axis=(1, 2))[:, None, None]
    drawn = counts.sum(axis=(1, 2)) if worth is None else worth
    total = sizes.sum()
    weights = sizes / total
    right = np.diagonal(shares, axis1=1, axis2=2)
    overall = _share(right.sum(axis=1, keepdims=True), weights, drawn)
    return AreaEstimate(
        legend,
        counts,
        mapped,
        overall=Estimates(overall.value[0], overall.error[0], overall.ends[0]),
        users=_ratio(right, shares.sum(axis=2), weights, drawn),
        producers=_ratio(right, shares.sum(axis=1), weights, drawn),
        areas=_share(shares.sum(axis=1), weights, drawn).scaled(float(total)),
    )


def wilson_interval(share: Floats, size: Array) -> Floats:
    """Return Wilson's interval of 95 % (..., 2) of shares seen in samples of some sizes.

    Examples
    --------
    >>> wilson_interval(np.array([1.0, 0.5]), np.array([3.0, 100.0])).round(3).tolist()
    [[0.439, 1.0], [0.404, 0.596]]
    """
    squared = safe_divide(np.full(np.shape(size), Z**2), size)
    centre = (share + squared / 2) / (1 + squared)
    spread = share * (1 - share) * squared + squared**2 / 4
    half = np.sqrt(spread.clip(0)) / (1 + squared)
    # Exactly 0 and 1 where the share is, which rounding would miss.
    low = np.where(share == 0, 0, centre - half)
    high = np.where(share == 1, 1, centre + half)
    return np.asarray(np.clip(np.stack([low, high], axis=-1), 0, 1))


def _share(part: Floats, weights: Floats, drawn: Ints | Floats) -> Estimates:
    """Estimate a share of the whole from its shares (stratum, class) of strata."""
    wide = weights[:, None]
    found = (wide * part).sum(axis=0)
    spread = (wide**2 * part * (1 - part) / (drawn[:, None] - 1)).sum(axis=0)
    ends = wilson_interval(part, np.broadcast_to(drawn[:, None], part.shape))
    reach = np.sqrt(((wide[..., None] * (ends - part[..., None])) ** 2).sum(axis=0))
    return Estimates(found, np.sqrt(spread.clip(0)), found[:, None] + [-1, 1] * reach)


def _ratio(part: Floats, whole: Floats, weights: Floats, drawn: Ints | Floats) -> Estimates:
    """Estimate how much of the ``whole`` is ``part`` of it, both shares (stratum, class).

    A pixel in both departs from the ratio R by 1 − R, one in the whole alone by
    −R, any other by 0; the variance within each stratum is that of the departures.
    """
    wide, each = weights[:, None], drawn[:, None]
    size = (wide * whole).sum(axis=0)
    found = safe_divide((wide * part).sum(axis=0), size)
    squares = part * (1 - found) ** 2 + (whole - part) * found**2
    within = wide**2 * (squares - (part - found * whole) ** 2).clip(0)
    error = safe_divide(np.sqrt((within / (each - 1)).sum(axis=0)), size)
    counted = (each * whole).sum(axis=0)
    # Where no pixel departs, the variance is that of pixels of the whole that might have.
    plain = safe_divide(size**2, (wide**2 * whole / each).sum(axis=0))
    worth = safe_divide(found * (1 - found) * size**2, (within / each).sum(axis=0))
    inside = (found > 0) & (found < 1) & np.isfinite(worth)
    sizes = np.fmin(np.where(inside, worth, plain), counted)
    return Estimates(found, error, wilson_interval(found, sizes))


def _strata(mapped: Codes, reference: Codes, design: str, strata: Codes | None) -> Codes:
    """Return the stratum of every pixel after checking that the call makes sense."""
    given = {"reference": reference} | ({} if strata is None else {"strata": strata})
    for name, codes in given.items():
        if codes.shape != mapped.shape:
            raise CallError(
                f"Map and {name} need one size, got {mapped.shape} and {codes.shape}; "
                "give rasters on the same grid."
            )
    if design == "simple":
        if strata is not None:
            raise CallError(
                "A simple random sample has no strata; leave them out, or give the design "
                "as stratified."
            )
        return np.ones(mapped.shape, dtype=np.uint8)
    if strata is None:
        return mapped
    outside = int(np.count_nonzero((strata == 0) & (mapped > 0)))
    if outside:
        raise CallError(
            f"Every pixel of the map must be in a stratum, but {counted(outside, 'pixel')} "
            "are not; give strata that cover the map."
        )
    return strata


def _check_counts(counts: Ints, names: Codes, legend: Legend | None) -> None:
    """Refuse a stratum with fewer than two reference pixels."""
    drawn = counts.sum(axis=(1, 2))
    least = int(drawn.argmin())
    if drawn[least] >= 2:
        return
    code = int(names[least])
    what = f"Stratum {code}" if legend is None else f"Class {code} ({legend[code].name})"
    where = "The sample" if len(drawn) == 1 else what + (" of the map" if legend else "")
    way_out = "" if len(drawn) == 1 else ", or give the design as simple if it was"
    raise CallError(
        f"{where} holds {counted(int(drawn[least]), 'reference pixel')}, and at least 2 are "
        f"needed to tell how sure an estimate is; sample more of it{way_out}."
    )


def _cell(value: object) -> object:
    if not isinstance(value, float):
        return value
    return f"{value:.10g}" if isfinite(value) else ""


def _percent(value: float, lower: float, upper: float) -> str:
    if not isfinite(value):
        return "–"
    return f"{100 * value:.1f} [{100 * lower:.1f}, {100 * upper:.1f}]"
