"""Making the view of a scene: one pass over the cube, strip by strip."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from hypercover.maps.band_order import with_gaps
from hypercover.maps.check import TRAINING_PART
from hypercover.maps.composites import Composite, choose_composites, stretched
from hypercover.maps.view_files import view_step
from hypercover.maps.view_scene import LEVELS, SceneView, Spectra
from hypercover.scene.scene import Scene

__all__ = ["view_of"]

_MOST_VALUES = 4_500_000
"""Values of the spectra that are kept: all those of 145 × 145 pixels in 200 bands."""

Values = npt.NDArray[Any]


def view_of(
    scene: Scene,
    parts: Mapping[str, npt.NDArray[np.uint8]],
    *,
    metres: float | None = None,
) -> SceneView:
    """Return what the page shows of a scene and its splits.

    Parameters
    ----------
    scene : Scene
        Read strip by strip, once.
    parts : mapping
        Parts (y, x) of each split; the training pixels of the first give the
        mean spectra of the classes.
    metres : float, optional
        Side of a pixel in metres, where it is known.
    """
    step = view_step(scene.shape)
    labels, main = scene.usable_labels, next(iter(parts.values()))
    trained = np.where(main == TRAINING_PART, labels, 0)
    composites = choose_composites(scene.wavelengths, scene.n_bands)
    taken = _taken(scene, composites, trained, step)
    thin = (slice(None, None, step),) * 2
    return SceneView(
        scene.shape,
        step,
        labels[thin].astype(np.uint16),
        {name: values[thin] for name, values in parts.items()},
        _pictures(taken, composites),
        {one.key: _named_bands(scene, one) for one in composites},
        np.asarray(scene.grid.transform if scene.grid.placed else [np.nan] * 6, np.float64),
        np.nan if metres is None else metres,
        _spectra(scene, taken),
    )


@dataclass
class _Taken:
    """What one pass over the cube takes along."""

    colours: list[Values] = field(default_factory=list)
    valid: list[Values] = field(default_factory=list)
    kept: list[Values] = field(default_factory=list)
    kept_valid: list[Values] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    step: int = 1
    sums: dict[int, Values] = field(default_factory=dict)
    counts: dict[int, int] = field(default_factory=dict)


def _taken(scene: Scene, composites: list[Composite], trained: Values, step: int) -> _Taken:
    """Read the cube once: thinned-out colours and spectra, and sums of each class."""
    positions = sorted({at for one in composites for at in one.positions})
    sparse = view_step(scene.shape, _MOST_VALUES // scene.n_bands, step)
    taken = _Taken(positions=positions, step=sparse)
    for rows in scene.strips():
        values, valid = scene.read_valid(rows, slice(None))
        thin = (slice(-rows.start % step, None, step), slice(None, None, step))
        taken.colours.append(values[positions][:, *thin])
        taken.valid.append(valid[thin])
        few = (slice(-rows.start % sparse, None, sparse), slice(None, None, sparse))
        taken.kept.append(values[:, *few].astype(np.float32))
        taken.kept_valid.append(valid[few])
        _add_classes(taken, values, np.where(valid, trained[rows], 0))
    return taken


def _add_classes(taken: _Taken, values: Values, trained: Values) -> None:
    """Add the training spectra of a strip to the sums of their classes."""
    for code in np.unique(trained[trained > 0]).tolist():
        spectra = values[:, trained == code].astype(np.float64)
        moments = np.stack([spectra.sum(axis=1), np.square(spectra).sum(axis=1)])
        taken.sums[code] = taken.sums.get(code, 0.0) + moments
        taken.counts[code] = taken.counts.get(code, 0) + spectra.shape[1]


def _pictures(taken: _Taken, composites: list[Composite]) -> dict[str, Values]:
    colours, valid = np.concatenate(taken.colours, axis=1), np.concatenate(taken.valid)
    return {
        one.key: stretched(
            colours[[taken.positions.index(at) for at in one.positions]], valid
        )
        for one in composites
    }


def _named_bands(scene: Scene, composite: Composite) -> npt.NDArray[np.float32]:
    named = scene.bands if scene.wavelengths is None else scene.wavelengths
    return np.asarray(named[list(composite.positions)], np.float32)


def _spectra(scene: Scene, taken: _Taken) -> Spectra:
    """Return kept and mean spectra, with the bands in order of wavelength."""
    order, breaks = with_gaps(scene)
    values, valid = np.concatenate(taken.kept, axis=1), np.concatenate(taken.kept_valid)
    levels, low, high = _levels(values[order], valid)
    codes = sorted(taken.sums)
    moments = [taken.sums[code][:, order] / taken.counts[code] for code in codes]
    means = np.array([mean for mean, _ in moments]).reshape(len(codes), scene.n_bands)
    squares = np.array([square for _, square in moments]).reshape(means.shape)
    known = scene.wavelengths
    waves = np.full(scene.n_bands, np.nan) if known is None else known
    return Spectra(
        taken.step,
        levels,
        low,
        high,
        scene.bands[order].astype(np.int32),
        waves[order].astype(np.float32),
        np.isin(np.arange(scene.n_bands), breaks),
        np.array(codes, np.uint16),
        np.array([taken.counts[code] for code in codes], np.int32),
        means.astype(np.float32),
        np.sqrt(np.maximum(squares - means**2, 0)).astype(np.float32),
        str(scene.cube.attrs.get("units") or "")[:60],
    )


def _levels(
    values: npt.NDArray[np.float32], valid: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.uint16], Values, Values]:
    """Cut each band (band, y, x) into levels between its lowest and highest value."""
    known = values[:, valid]
    if not known.size:
        flat = np.zeros(len(values), np.float32)
        return np.zeros(values.shape, np.uint16), flat, flat
    low, high = known.min(axis=1), known.max(axis=1)
    spread = np.where(high > low, high - low, 1.0)
    levels = np.zeros(values.shape, np.uint16)
    levels[:, valid] = 1 + np.round(
        LEVELS * ((known - low[:, None]) / spread[:, None]).astype(np.float64)
    )
    return levels, low, high
