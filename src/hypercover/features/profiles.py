"""Attribute profiles: each band beside itself without its small, flat or compact shapes."""

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from numbers import Integral
from threading import Lock
from typing import Annotated, Any, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field

from hypercover.errors import CallError, ModelError, SceneError, counted
from hypercover.features.feature import (
    Arrays,
    Count,
    PositiveFloat,
    Progress,
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

__all__ = ["Profiles"]

Floats = npt.NDArray[np.float64]
Chosen = dict[str, Thresholds]
"""The thresholds of each attribute for one band."""

_TREE_COST = 20
"""What building a tree counts for in the progress; filtering with it once counts 1."""
_MAX_BANDS = 2**16
_LOOKING = 32
"""Bytes per pixel that looking at the values of a band takes."""


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
class Profiles:
    """Self-dual attribute profiles (SDAP) of every band, stacked (ESDAP).

    Why it exists: what a pixel belongs to, and how large, smooth or long that
    is, tells land covers apart that no single spectrum does.  A band f becomes
    f, γ₁f, …, γₗf: itself, then filtered with each threshold in turn, for each
    attribute.  The band itself comes once per band, not once per attribute, so
    m bands become m · (1 + all thresholds) features.

    A filter γ removes from the tree of shapes of the band (`ShapeTree`) every
    shape whose attribute is below the threshold; its pixels take the level of
    what is around it.  It merges flat zones and never makes a new edge; it
    does the same to a band and its negative, and however the image is turned.
    One tree per band serves all thresholds.

    Thresholds are chosen by `fit` and kept, so that another scene gets the same
    features.  Pixels without data weigh nothing, take part as the level that
    surrounds the band, and stay NaN.

    Parameters
    ----------
    attributes : str or sequence of str
        ``area`` (pixels), ``std`` (standard deviation of the grey values) or
        ``inertia`` (moment of inertia); or several, as a list or joined by +.
        A name may be followed by its thresholds: ``area=50/100/200``,
        ``std=automatic``.
    thresholds : None, str, list of float, or dict from attribute to any of these
        Rising numbers above 0; ``"formula"``, the published ones
        (`formula_thresholds`); ``"automatic"``, the bends of each band's
        granulometric curve (`automatic_thresholds`; also ``"automatic-pixels"``
        and ``"automatic-regions"``).  None is by formula, with pixels of 20 m
        where their size is not known.
    count : int
        How many thresholds of an attribute are chosen automatically.
    rule : "direct", "min", "max" or "subtractive"
        How a shape's fate depends on others (`regularised`); all are the same
        for area.
    resolution : float, optional
        Size of a pixel in m for the formula of area; unless given, the scene's.
    n_jobs : int, optional
        Bands worked on at the same time; unless given one per core, and never
        more than fit in memory.

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
    >>> stack = Profiles("area", thresholds=[2, 5]).fit(scene).transform(scene)
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

    def __post_init__(self) -> None:
        """Refuse settings that no profile can be made with."""
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

    @property
    def reach(self) -> None:
        """A shape may be as large as the scene: values depend on any distance."""
        return None

    def outputs(self, bands: int) -> int:
        """Return how many features it makes at most of so many bands.

        Fewer where automatic thresholds coincide or a band is constant.
        """
        return bands * (1 + sum(self._most(name) for name in self.specs))

    def _most(self, name: str) -> int:
        """Return how many thresholds of an attribute there may be."""
        asked = self.specs[name]
        if isinstance(asked, tuple):
            return len(asked)
        if asked in AUTOMATIC:
            return self.count
        return len(formula_thresholds(name, np.arange(2.0), 1.0))

    def surrounded_by(self, levels: Sequence[float]) -> Self:
        """Return the same profiles with a given level around each band.

        Why it exists: a piece of a scene has another edge than the scene, and the
        level around a band decides which way up its shapes are.
        """
        same = copy(self)
        same.outside_ = tuple(levels)
        return same

    def fit(self, scene: Scene, *, seed: int = 0, progress: Progress | None = None) -> Self:
        """Choose the thresholds of each band from the pixels with data.

        Only automatic thresholds build trees, and report how far they are.  Nothing is random: *seed* is
        there because every feature is fitted alike.

        Raises
        ------
        SceneError
            If no pixel has data, the formula of area needs a pixel size that
            is not known, or a band does not fit in memory.
        """
        del seed
        valid = _valid_pixels(scene)
        metres, self.assumed_ = pixel_size(self.specs, self.resolution, scene)

        slow = any(asked in AUTOMATIC for asked in self.specs.values())
        said = _ThreadSafeProgress(progress if slow else None, scene.n_bands)

        def choose(position: int, band: Floats) -> Chosen:
            del position
            chosen = self._chosen(band, valid, metres)
            said.add(1)
            return chosen

        per_pixel = PEAK_BYTES if slow else _LOOKING
        at_once = parallel_bands(scene, per_pixel, self.n_jobs)
        self.thresholds_ = tuple(map_bands(scene, choose, at_once))
        return self

    def _chosen(self, band: Floats, valid: npt.NDArray[np.bool_], metres: float) -> Chosen:
        chosen: Chosen = {}
        shapes: ShapeTree | None = None
        for name, asked in self.specs.items():
            if isinstance(asked, tuple):
                chosen[name] = asked
            elif asked in AUTOMATIC:
                shapes = shapes or ShapeTree.of(band, valid)
                values = self._measured(shapes, name)
                chosen[name] = automatic_thresholds(shapes, values, self.count, asked)
            else:
                chosen[name] = formula_thresholds(name, band[valid], metres)
        return chosen

    def transform(self, scene: Scene, *, progress: Progress | None = None) -> Scene:
        """Return the scene whose bands are the profiles of its bands.

        Parameters
        ----------
        progress : callable, optional
            Called with the work done and the work in all.

        Raises
        ------
        ModelError
            If the profiles are not fitted, or on another number of bands.
        SceneError
            If the stack, or the tree of one band, does not fit in memory.
        """
        self._check_bands(scene)
        valid = _valid_pixels(scene)
        names = [
            _profile_names(*pair)
            for pair in zip(_band_names(scene), self.thresholds_, strict=True)
        ]
        ends = np.cumsum([len(own) for own in names]).tolist()
        values = empty_stack(scene, ends[-1])
        work = len(names) * _TREE_COST + ends[-1]
        said = _ThreadSafeProgress(progress, work)

        def profile(position: int, band: Floats) -> None:
            own = values[ends[position] - len(names[position]) : ends[position]]
            np.copyto(own[0], band, where=valid, casting="same_kind")
            outside = None if self.outside_ is None else self.outside_[position]
            shapes = ShapeTree.of(band, valid, outside)
            said.add(_TREE_COST + 1)
            self._fill(own[1:], shapes, valid, self.thresholds_[position], said)

        map_bands(scene, profile, self._at_once(scene))
        stack = feature_scene(scene, values, [name for own in names for name in own])
        return stack.noting(DEFAULT_RESOLUTION_NOTE) if self.assumed_ else stack

    def _fill(
        self,
        stack: npt.NDArray[np.float32],
        shapes: ShapeTree,
        valid: npt.NDArray[np.bool_],
        chosen: Chosen,
        said: "_ThreadSafeProgress",
    ) -> None:
        """Write the filtered images (feature, row, col) of a band where data are."""
        places = iter(stack)
        for name, thresholds in chosen.items():
            values = self._measured(shapes, name)
            for threshold in thresholds:
                image = shapes.filtered(
                    values < threshold, subtractive=self.rule == "subtractive"
                )
                np.copyto(next(places), image, where=valid, casting="same_kind")
                said.add(1)

    def _measured(self, shapes: ShapeTree, name: str) -> Floats:
        return regularised(shapes, ATTRIBUTES[name].measure(shapes), self.rule)

    def _at_once(self, scene: Scene) -> int:
        return parallel_bands(scene, PEAK_BYTES, self.n_jobs)

    def _check_bands(self, scene: Scene) -> None:
        if not hasattr(self, "thresholds_"):
            raise ModelError(
                "The profiles have no thresholds yet; fit them on a scene first."
            )
        if scene.n_bands != len(self.thresholds_):
            raise ModelError(
                f"The profiles were fitted on {counted(len(self.thresholds_), 'band')} and "
                f"{scene.name} has {scene.n_bands}; give a scene with the same bands."
            )

    def state(self) -> tuple[Settings, Arrays]:
        """Return settings and thresholds as JSON-able values; there are no arrays."""
        settings = {
            "attributes": list(self.specs),
            "thresholds": [_to_json(asked) for asked in self.specs.values()],
            "count": self.count,
            "rule": self.rule,
            "resolution": self.resolution,
            "assumed": self.assumed_,
            "chosen": [
                [_to_json(own[name]) for name in self.specs] for own in self.thresholds_
            ],
        }
        return settings, {}

    @classmethod
    def from_state(cls, settings: Settings, arrays: Arrays) -> Self:
        """Return the fitted profiles that :meth:`state` described.

        Raises
        ------
        ModelError
            If something is missing or does not fit the rest.
        """
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
                f"The saved attribute profiles are not readable ({str(error)[:200]}); train "
                "the model again."
            ) from error
        return profiles


class _ThreadSafeProgress:
    """Adds up the work of several threads and reports it."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress, self._total, self._done = progress, total, 0
        self._lock = Lock()

    def add(self, work: int) -> None:
        """Report so much more work as done."""
        with self._lock:
            self._done += work
            if self._progress is not None:
                self._progress(self._done, self._total)


def _valid_pixels(scene: Scene) -> npt.NDArray[np.bool_]:
    """Return the pixels with data, of which there must be one."""
    if not scene.valid.any():
        raise SceneError(f"No pixel of {scene.name} holds data; choose another image.")
    return scene.valid


def _band_names(scene: Scene) -> list[str]:
    """Name the bands of a scene as features made by an earlier step or by their numbers."""
    if "band_name" in scene.cube.coords:
        return [str(name) for name in scene.cube.coords["band_name"].values]
    return [f"band {number}" for number in scene.bands]


def _profile_names(band: str, chosen: Chosen) -> list[str]:
    """Name the band itself and its filtered images."""
    filtered = (
        f"{band} {name}<{threshold:.6g}"
        for name, thresholds in chosen.items()
        for threshold in thresholds
    )
    return [band, *filtered]


def _check_count(value: Any, name: str) -> int:
    """Return a whole number from 1."""
    whole = isinstance(value, Integral) and not isinstance(value, bool)
    if whole and 1 <= value <= MAX_THRESHOLDS:
        return int(value)
    raise CallError(
        f"The {name} of attribute profiles must be a whole number from 1 to {MAX_THRESHOLDS}, got "
        f"{str(value)[:40]!r}."
    )


def _to_json(asked: ThresholdSpec) -> Any:
    return list(asked) if isinstance(asked, tuple) else asked
