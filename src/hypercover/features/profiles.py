"""Self-dual attribute profiles, computed on the tree of shapes of each band."""

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from numbers import Integral
from threading import Lock
from typing import Annotated, Any, ClassVar, Self

import numpy as np
from pydantic import Field

from hypercover.errors import CallError, ModelError, SceneError, counted
from hypercover.features.feature import (
    Count,
    Feature,
    PositiveFloat,
    SavedSettings,
    Settings,
    empty_stack,
    feature_scene,
    map_bands,
    parallel_bands,
)
from hypercover.features.thresholds import (
    AUTOMATIC,
    DEFAULT_RESOLUTION_NOTE,
    MAX_THRESHOLDS,
    Thresholds,
    ThresholdSpec,
    automatic_thresholds,
    check_resolution,
    check_rising,
    formula_thresholds,
    parse_thresholds,
    pixel_size,
)
from hypercover.features.tree_of_shapes import (
    ATTRIBUTES,
    PEAK_BYTES,
    RULES,
    Rule,
    ShapeTree,
    regularised,
)
from hypercover.scene.scene import Scene
from hypercover.types import Arrays, Floats, Mask, Progress

Chosen = dict[str, Thresholds]
"""The thresholds of each attribute for one band."""

_TREE_COST = 20
"""Progress units for building a tree; one filtering counts 1."""
_MAX_BANDS = 2**16
_READING = 32
"""Bytes per pixel needed to read the values of a band."""


class _ProfileSettings(SavedSettings):
    attributes: list[str]
    thresholds: list[list[PositiveFloat] | str | None]
    count: Count
    rule: Rule
    resolution: PositiveFloat | None
    assumed: bool
    chosen: Annotated[
        list[list[list[PositiveFloat]]], Field(min_length=1, max_length=_MAX_BANDS)
    ]
    """For each band and attribute its thresholds."""


@dataclass
class AttributeProfiles(Feature):
    """Self-dual attribute profiles (SDAP) of every band, stacked (ESDAP).

    Works on scenes, not on arrays: a profile depends on the neighbours of a pixel.

    A band f becomes f, γ₁f, …, γₗf: itself, then filtered with each threshold of
    each attribute.  The band itself is included once, not once per attribute, so
    m bands become m · (1 + all thresholds) features.

    A filter γ removes from the tree of shapes of the band (`ShapeTree`) every
    shape whose attribute is below the threshold; its pixels take the level of the
    surrounding shape.  Flat zones merge and no new edge appears.  A band and its
    negative are filtered alike, and so are rotated images.  One tree per band
    serves all thresholds.

    `fit` chooses the thresholds, so that other scenes get the same features.
    Pixels without data have no weight, take the level around the band, and stay
    NaN.

    Parameters
    ----------
    attributes : str or sequence of str
        ``area`` (pixels), ``std`` (standard deviation of the grey values) or
        ``inertia`` (moment of inertia); or several, as a list or joined by +.
        A name may be followed by its thresholds: ``area=50/100/200``,
        ``std=automatic``.
    thresholds : None, str, list of float, or dict from attribute to any of these
        Increasing numbers above 0; ``"formula"``, the published ones
        (`formula_thresholds`); ``"automatic"``, the breakpoints of each band's
        granulometric curve (`automatic_thresholds`; also ``"automatic-pixels"``
        and ``"automatic-regions"``).  None uses the formula, with a pixel size of
        20 m if it is unknown.
    count : int
        Number of automatic thresholds of an attribute.
    rule : "direct", "min", "max" or "subtractive"
        How to filter attributes that are not increasing (`regularised`); all rules
        agree for area.
    resolution : float, optional
        Pixel size in m for the area formula; by default that of the scene.
    n_jobs : int, optional
        Number of bands to process in parallel; by default one per core, as memory
        allows.

    Attributes
    ----------
    thresholds_ : tuple of dict from attribute to tuple of float
        The thresholds of each band.

    References
    ----------
    Dalla Mura, Benediktsson, Bruzzone: Self-dual attribute profiles for the
    analysis of remote sensing images, ISMM 2011.
    Cavallaro, Dalla Mura, Benediktsson, Plaza: Remote sensing image
    classification using attribute filters defined over the tree of shapes,
    IEEE TGRS 54(7), 2016.

    Examples
    --------
    >>> import xarray as xr
    >>> band = np.zeros((9, 9)) + 5
    >>> band[2:4, 2:4], band[6, 6] = 9, 1
    >>> scene = Scene(xr.DataArray(band[None], dims=("band", "y", "x")))
    >>> stack = AttributeProfiles("area", thresholds=[2, 5]).fit(scene).transform(scene)
    >>> stack.cube.band_name.values.tolist()
    ['band 1', 'band 1 area<2', 'band 1 area<5']
    >>> stack.cube.values[:, 2, 2], stack.cube.values[:, 6, 6]
    (array([9., 9., 5.], dtype=float32), array([1., 5., 5.], dtype=float32))
    """

    attributes: str | Sequence[str] = ("area",)
    thresholds: Any = None
    count: int = 10
    rule: Rule = "direct"
    resolution: float | None = None
    n_jobs: int | None = None
    reach: ClassVar = None
    """None: a shape may be as large as the scene, so the neighbourhood is unbounded."""

    def __post_init__(self) -> None:
        """Check the parameters."""
        self.specs: dict[str, ThresholdSpec] = parse_thresholds(
            self.attributes, self.thresholds
        )
        self.count = _check_count(self.count, "count")
        if self.rule not in RULES:
            raise CallError(
                f"The rule of a profile must be one of {', '.join(RULES)}, got "
                f"{str(self.rule)[:40]!r}."
            )
        check_resolution(self.resolution)
        self.outside_: tuple[float, ...] | None = None
        if self.n_jobs is not None:
            self.n_jobs = _check_count(self.n_jobs, "n_jobs")

    def outputs(self, bands: int) -> int:
        """Return the largest number of features computed from a number of bands.

        There are fewer if automatic thresholds coincide or a band is constant.
        """
        total = 1
        for name, spec in self.specs.items():
            if spec in AUTOMATIC:
                total += self.count
            else:
                formula = formula_thresholds(name, np.arange(2.0), 1.0)
                total += len(spec if isinstance(spec, tuple) else formula)
        return bands * total

    def surrounded_by(self, levels: Sequence[float]) -> Self:
        """Return a copy with a given level around each band.

        Blocks of a scene need it, because the median of their own border differs.
        """
        profiles = copy(self)
        profiles.outside_ = tuple(levels)
        return profiles

    def fit(self, scene: Scene, *, seed: int = 0, progress: Progress | None = None) -> Self:
        """Choose the thresholds of each band from the valid pixels; ``seed`` is ignored.

        Only automatic thresholds are slow and report progress.

        Raises
        ------
        SceneError
            If no pixel is valid, the area formula needs an unknown pixel size, or
            a band does not fit in memory.
        """
        del seed
        valid = _valid_pixels(scene)
        metres, self.assumed_ = pixel_size(self.specs, self.resolution, scene)

        slow = any(spec in AUTOMATIC for spec in self.specs.values())
        report = _ThreadSafeProgress(progress if slow else None, scene.n_bands)

        def choose(position: int, band: Floats) -> Chosen:
            del position
            chosen: Chosen = {}
            shapes = ShapeTree.of(band, valid) if slow else None
            for name, spec in self.specs.items():
                if isinstance(spec, tuple):
                    chosen[name] = spec
                elif spec in AUTOMATIC and shapes is not None:
                    values = self._measured(shapes, name)
                    chosen[name] = automatic_thresholds(shapes, values, self.count, spec)
                else:
                    chosen[name] = formula_thresholds(name, band[valid], metres)
            report.add(1)
            return chosen

        per_pixel = PEAK_BYTES if slow else _READING
        at_once = parallel_bands(scene, per_pixel, self.n_jobs)
        self.thresholds_ = tuple(map_bands(scene, choose, at_once))
        return self

    def transform(self, scene: Scene, *, progress: Progress | None = None) -> Scene:
        """Return the scene whose bands are the profiles of its bands.

        Parameters
        ----------
        progress : callable, optional
            Called with the completed and the total work.

        Raises
        ------
        ModelError
            If the profiles are not fitted, or were fitted on another number of bands.
        SceneError
            If the stack, or the tree of one band, does not fit in memory.
        """
        if not hasattr(self, "thresholds_"):
            raise ModelError("The profiles are not fitted; call fit with a scene first.")
        if scene.n_bands != len(self.thresholds_):
            raise ModelError(
                f"The profiles were fitted on {counted(len(self.thresholds_), 'band')} and "
                f"{scene.name} has {scene.n_bands}; use a scene with the same bands."
            )
        valid = _valid_pixels(scene)
        bands = scene.band_names or [f"band {number}" for number in scene.bands]
        names = list(map(_profile_names, bands, self.thresholds_))
        ends = np.cumsum([len(own) for own in names]).tolist()
        values = empty_stack(scene, ends[-1])
        work = len(names) * _TREE_COST + ends[-1]
        report = _ThreadSafeProgress(progress, work)

        def profile(position: int, band: Floats) -> None:
            own = values[ends[position] - len(names[position]) : ends[position]]
            np.copyto(own[0], band, where=valid, casting="same_kind")
            outside = None if self.outside_ is None else self.outside_[position]
            shapes = ShapeTree.of(band, valid, outside)
            report.add(_TREE_COST + 1)
            images = iter(own[1:])
            for name, thresholds in self.thresholds_[position].items():
                attribute = self._measured(shapes, name)
                for threshold in thresholds:
                    image = shapes.filtered(
                        attribute < threshold, subtractive=self.rule == "subtractive"
                    )
                    np.copyto(next(images), image, where=valid, casting="same_kind")
                    report.add(1)

        map_bands(scene, profile, parallel_bands(scene, PEAK_BYTES, self.n_jobs))
        stack = feature_scene(scene, values, [name for own in names for name in own])
        return stack.noting(DEFAULT_RESOLUTION_NOTE) if self.assumed_ else stack

    def _measured(self, shapes: ShapeTree, name: str) -> Floats:
        return regularised(shapes, ATTRIBUTES[name](shapes), self.rule)

    def state(self) -> tuple[Settings, Arrays]:
        """Return settings and thresholds as JSON-able values, and no arrays."""
        settings = {
            "attributes": list(self.specs),
            "thresholds": [
                list(spec) if isinstance(spec, tuple) else spec
                for spec in self.specs.values()
            ],
            "count": self.count,
            "rule": self.rule,
            "resolution": self.resolution,
            "assumed": self.assumed_,
            "chosen": [
                [list(own[name]) for name in self.specs] for own in self.thresholds_
            ],
        }
        return settings, {}

    @classmethod
    def from_state(cls, settings: Settings, arrays: Arrays) -> Self:
        """Restore fitted profiles from their `state`."""
        del arrays
        saved = _ProfileSettings.read(settings)
        try:
            specs = dict(zip(saved.attributes, saved.thresholds, strict=True))
            profiles = cls(
                saved.attributes, specs, saved.count, saved.rule, saved.resolution
            )
            profiles.assumed_ = saved.assumed
            profiles.thresholds_ = tuple(
                {
                    name: check_rising(values, name)
                    for name, values in zip(profiles.specs, own, strict=True)
                }
                for own in saved.chosen
            )
        except (CallError, ValueError) as error:
            raise ModelError(
                f"The saved profiles are not readable ({str(error)[:200]}); train the model again."
            ) from error
        return profiles


class _ThreadSafeProgress:
    """Sums the progress of several threads."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress, self._total, self._done = progress, total, 0
        self._lock = Lock()

    def add(self, work: int) -> None:
        """Add completed work and report the total."""
        with self._lock:
            self._done += work
            if self._progress is not None:
                self._progress(self._done, self._total)


def _valid_pixels(scene: Scene) -> Mask:
    """Return the valid pixels after checking that there are any."""
    if not scene.valid.any():
        raise SceneError(f"No pixel of {scene.name} holds data; choose another image.")
    return scene.valid


def _profile_names(band: str, chosen: Chosen) -> list[str]:
    """Return the names of a band and its filtered images."""
    filtered = (
        f"{band} {name}<{threshold:.6g}"
        for name, thresholds in chosen.items()
        for threshold in thresholds
    )
    return [band, *filtered]


def _check_count(value: Any, name: str) -> int:
    """Return a count after checking it."""
    whole = isinstance(value, Integral) and not isinstance(value, bool)
    if whole and 1 <= value <= MAX_THRESHOLDS:
        return int(value)
    raise CallError(
        f"The {name} of attribute profiles must be a whole number from 1 to {MAX_THRESHOLDS}, got "
        f"{str(value)[:40]!r}."
    )
