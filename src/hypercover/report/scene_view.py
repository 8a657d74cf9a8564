"""The scene as the report's viewer shows it, computed in one pass over the cube."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hypercover.figures.map_figures import Composite, choose_composites
from hypercover.figures.spectra import order_bands
from hypercover.gis.map_writing import TRAINING_PART
from hypercover.prediction.map_view import read_view_arrays, view_step
from hypercover.scene.io.numpy_files import save_arrays
from hypercover.scene.scene import Scene, stretched
from hypercover.types import Array, Arrays, Bytes, Floats, Mask, Singles

COMPOSITES = {
    "true": "true colour",
    "infrared": "false colour, near infrared",
    "shortwave": "false colour, short-wave infrared",
    "spread": "false colour",
    "grey": "one band in grey",
}
"""Names of the composites by the keys they are kept under."""

_ENDS = {1: "st", 2: "nd", 3: "rd"}


def ordinal(number: int) -> str:
    """Return a number as its place in a row.

    Examples
    --------
    >>> [ordinal(number) for number in (2, 3, 4, 11, 12, 21)]
    ['2nd', '3rd', '4th', '11th', '12th', '21st']
    """
    teen = number % 100 in (11, 12, 13)
    return f"{number}{'th' if teen else _ENDS.get(number % 10, 'th')}"


def composite_title(key: str, bands: Iterable[float], in_nm: bool) -> str:
    """Name a colour picture and the bands it is made of.

    Examples
    --------
    >>> composite_title("true", [655.2, 560.0, 450.0], True)
    'true colour (655, 560, 450 nm)'
    >>> composite_title("grey", [1.0, 1.0, 1.0], False)
    'one band in grey (band 1)'
    """
    names = [f"{float(band):.0f}" for band in bands]
    listed = names[0] if key == "grey" else ", ".join(names)
    several = "band" if key == "grey" else "bands"
    shown = f"{listed} nm" if in_nm else f"{several} {listed}"
    return f"{COMPOSITES.get(key, 'picture')} ({shown})"


def describe_subsampling(shape: tuple[int, int], step: int, spectra_step: int) -> str:
    """Say which pixels of a scene are shown, and which have a spectrum; nothing if all.

    Examples
    --------
    >>> describe_subsampling((145, 145), 1, 1)
    ''
    >>> describe_subsampling((1417, 617), 2, 8)
    'The scene has 1,417 × 617 pixels; every 2nd pixel of every 2nd row is shown. Spectra are kept of every 8th pixel of every 8th row.'
    """
    size = f"The scene has {shape[0]:,} × {shape[1]:,} pixels"
    said = []
    if step > 1:
        each = ordinal(step)
        said.append(f"{size}; every {each} pixel of every {each} row is shown.")
    if spectra_step > 1:
        each = ordinal(spectra_step)
        said.append(f"Spectra are kept of every {each} pixel of every {each} row.")
    return " ".join(said)


LEVELS = 1022
"""Steps between the lowest and the highest value of a band that is kept."""

_MOST_BANDS = 10_000

_PART, _COMPOSITE = "parts-", "composite-"


@dataclass(frozen=True, eq=False)
class Spectra:
    """The spectra of some pixels in 1,023 levels a band, and those of the classes."""

    step: int
    """Every how many pixels of the scene one is kept."""
    values: npt.NDArray[np.uint16]
    """Levels (band, y, x) from 1; 0 = no data.  A level is worth
    ``low + (level - 1) / LEVELS * (high - low)``."""
    low: Singles
    """Lowest value kept of each band."""
    high: Singles
    """Highest value kept of each band."""
    bands: npt.NDArray[np.int32]
    """Number of each band in the source file, in order of wavelength."""
    wavelengths: Singles
    """Centre of each band in nm; NaN where it is not known."""
    breaks: Mask
    """Whether bands were left out before each band, so that a line must break."""
    codes: npt.NDArray[np.uint16]
    """Codes of the classes that have training pixels."""
    counts: npt.NDArray[np.int32]
    """Training pixels of each of them."""
    means: Singles
    """Their mean spectra (class, band)."""
    deviations: Singles
    """Their standard deviations (class, band)."""
    units: str
    """Unit of the values; empty where it is not known."""

    def thinned(self) -> "Spectra":
        """Return the spectra of every other pixel of every other row that is kept."""
        return replace(self, step=2 * self.step, values=self.values[:, ::2, ::2])

    def to_arrays(self) -> dict[str, npt.ArrayLike]:
        """Return everything under the names it is kept by."""
        return {f"spectra-{name}": value for name, value in vars(self).items()}

    @classmethod
    def from_arrays(cls, arrays: Arrays, shape: tuple[int, int]) -> "Spectra | None":
        """Read the spectra of a scene of (rows, columns), or None if they do not fit."""
        found = {
            name.removeprefix("spectra-"): values
            for name, values in arrays.items()
            if name.startswith("spectra-")
        }
        if not _whole(found, ("step", "units")) or not 0 < int(found["step"]) <= max(shape):
            return None
        step = int(found["step"])
        n_bands, n_classes = len(found["bands"]), len(found["codes"])
        inside = tuple(-(-side // step) for side in shape)
        sizes = {
            "values": (np.uint16, (n_bands, *inside)),
            "codes": (np.uint16, (n_classes,)),
            "counts": (np.int32, (n_classes,)),
            "bands": (np.int32, (n_bands,)),
            "breaks": (np.bool_, (n_bands,)),
        }
        sizes |= dict.fromkeys(("low", "high", "wavelengths"), (np.float32, (n_bands,)))
        sizes |= dict.fromkeys(("means", "deviations"), (np.float32, (n_classes, n_bands)))
        if not 0 < n_bands <= _MOST_BANDS or not _sized(found, sizes):
            return None
        return cls(
            step, units=str(found["units"])[:60], **{name: found[name] for name in sizes}
        )


@dataclass(frozen=True, eq=False)
class SceneView:
    """A scene at the pixels that the page shows."""

    shape: tuple[int, int]
    """Rows and columns of the whole scene."""
    step: int
    """Every how many pixels one is shown."""
    labels: npt.NDArray[np.uint16]
    """Class codes (y, x); 0 = unlabelled."""
    parts: Mapping[str, Bytes]
    """Parts (y, x) of each split, the main one first."""
    composites: Mapping[str, Bytes]
    """Colour pictures (y, x, 3) by key."""
    shown_bands: Mapping[str, Singles]
    """Wavelengths in nm, or else numbers, of the bands of each colour picture."""
    transform: Floats
    """Affine a, b, c, d, e, f of the whole scene; NaN where it is not tied to the ground."""
    metres: float
    """Side of a pixel in metres; NaN where it is not known."""
    spectra: Spectra | None
    """Spectra, where the scene has any to show."""

    @property
    def shown(self) -> tuple[int, int]:
        """Rows and columns that the page shows."""
        return self.labels.shape[0], self.labels.shape[1]

    def save(self, path: str | Path) -> None:
        """Write it as an archive of plain arrays."""
        arrays: dict[str, npt.ArrayLike] = {
            "shape": np.asarray(self.shape, np.int32),
            "step": np.int32(self.step),
            "labels": self.labels,
            "transform": self.transform,
            "metres": np.float64(self.metres),
        }
        arrays |= {f"{_PART}{name}": values for name, values in self.parts.items()}
        for key, picture in self.composites.items():
            arrays[f"{_COMPOSITE}{key}"] = picture
            arrays[f"bands-{key}"] = self.shown_bands[key]
        save_arrays(
            path, arrays | (self.spectra.to_arrays() if self.spectra is not None else {})
        )

    @classmethod
    def load(cls, path: str | Path) -> "SceneView | None":
        """Read what :meth:`save` wrote, or None where there is no whole view."""
        arrays = read_view_arrays(path)
        if arrays is None or not _sized(
            arrays, {"shape": (np.int32, (2,)), "step": (np.int32, ())}
        ):
            return None
        rows, cols = (int(side) for side in arrays["shape"])
        step = int(arrays["step"])
        if not 0 < step <= max(rows, cols) or min(rows, cols) < 1:
            return None
        shown = (-(-rows // step), -(-cols // step))
        parts = _named(arrays, _PART)
        composites = _named(arrays, _COMPOSITE)
        sizes: dict[str, tuple[Any, tuple[int, ...]]] = {
            "labels": (np.uint16, shown),
            "transform": (np.float64, (6,)),
            "metres": (np.float64, ()),
        }
        sizes |= {f"{_PART}{name}": (np.uint8, shown) for name in parts}
        sizes |= {f"{_COMPOSITE}{key}": (np.uint8, (*shown, 3)) for key in composites}
        sizes |= {f"bands-{key}": (np.float32, (3,)) for key in composites}
        if not _sized(arrays, sizes):
            return None
        return cls(
            (rows, cols),
            step,
            arrays["labels"],
            parts,
            composites,
            {key: arrays[f"bands-{key}"] for key in composites},
            arrays["transform"],
            float(arrays["metres"]),
            Spectra.from_arrays(arrays, (rows, cols)),
        )


def _named(arrays: Arrays, start: str) -> Arrays:
    """Return the arrays whose names begin alike, by the rest of their names."""
    return {
        name.removeprefix(start): values
        for name, values in arrays.items()
        if name.startswith(start)
    }


def _whole(found: Arrays, scalars: tuple[str, ...]) -> bool:
    """Tell whether all fields of the spectra are there, and the scalars are scalars."""
    return Spectra.__dataclass_fields__.keys() <= found.keys() and all(
        values.ndim == (0 if name in scalars else max(1, values.ndim))
        for name, values in found.items()
    )


def _sized(
    arrays: Mapping[str, Array],
    sizes: Mapping[str, tuple[Any, tuple[int, ...]]],
) -> bool:
    """Tell whether arrays of these names, types and shapes are there."""
    return all(
        name in arrays and arrays[name].dtype == kind and arrays[name].shape == shape
        for name, (kind, shape) in sizes.items()
    )


_MOST_VALUES = 4_500_000
"""Values of the spectra that are kept: all those of 145 × 145 pixels in 200 bands."""


def make_scene_view(
    scene: Scene,
    parts: Mapping[str, Bytes],
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

    colours: list[Array] = field(default_factory=list)
    valid: list[Array] = field(default_factory=list)
    kept: list[Array] = field(default_factory=list)
    kept_valid: list[Array] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    step: int = 1
    sums: dict[int, Array] = field(default_factory=dict)
    counts: dict[int, int] = field(default_factory=dict)


def _taken(scene: Scene, composites: list[Composite], trained: Array, step: int) -> _Taken:
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


def _add_classes(taken: _Taken, values: Array, trained: Array) -> None:
    """Add the training spectra of a strip to the sums of their classes."""
    for code in np.unique(trained[trained > 0]).tolist():
        spectra = values[:, trained == code].astype(np.float64)
        moments = np.stack([spectra.sum(axis=1), np.square(spectra).sum(axis=1)])
        taken.sums[code] = taken.sums.get(code, 0.0) + moments
        taken.counts[code] = taken.counts.get(code, 0) + spectra.shape[1]


def _pictures(taken: _Taken, composites: list[Composite]) -> dict[str, Array]:
    colours, valid = np.concatenate(taken.colours, axis=1), np.concatenate(taken.valid)
    return {
        one.key: stretched(
            colours[[taken.positions.index(at) for at in one.positions]], valid
        )
        for one in composites
    }


def _named_bands(scene: Scene, composite: Composite) -> Singles:
    named = scene.bands if scene.wavelengths is None else scene.wavelengths
    return np.asarray(named[list(composite.positions)], np.float32)


def _spectra(scene: Scene, taken: _Taken) -> Spectra:
    """Return kept and mean spectra, with the bands in order of wavelength."""
    order, breaks = order_bands(scene)
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


def _levels(values: Singles, valid: Mask) -> tuple[npt.NDArray[np.uint16], Array, Array]:
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
