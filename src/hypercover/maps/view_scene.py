"""What the page shows of a scene: pictures, labels, splits, spectra and class means."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hypercover.maps.view_files import view_arrays
from hypercover.scene.archive import Arrays, keep_arrays

__all__ = ["LEVELS", "SceneView", "Spectra"]

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
    low: npt.NDArray[np.float32]
    """Lowest value kept of each band."""
    high: npt.NDArray[np.float32]
    """Highest value kept of each band."""
    bands: npt.NDArray[np.int32]
    """Number of each band in the source file, in order of wavelength."""
    wavelengths: npt.NDArray[np.float32]
    """Centre of each band in nm; NaN where it is not known."""
    breaks: npt.NDArray[np.bool_]
    """Whether bands were left out before each band, so that a line must break."""
    codes: npt.NDArray[np.uint16]
    """Codes of the classes that have training pixels."""
    counts: npt.NDArray[np.int32]
    """Training pixels of each of them."""
    means: npt.NDArray[np.float32]
    """Their mean spectra (class, band)."""
    deviations: npt.NDArray[np.float32]
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
    parts: Mapping[str, npt.NDArray[np.uint8]]
    """Parts (y, x) of each split, the main one first."""
    composites: Mapping[str, npt.NDArray[np.uint8]]
    """Colour pictures (y, x, 3) by key."""
    shown_bands: Mapping[str, npt.NDArray[np.float32]]
    """Wavelengths in nm, or else numbers, of the bands of each colour picture."""
    transform: npt.NDArray[np.float64]
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
        keep_arrays(
            path, arrays | (self.spectra.to_arrays() if self.spectra is not None else {})
        )

    @classmethod
    def load(cls, path: str | Path) -> "SceneView | None":
        """Read what :meth:`save` wrote, or None where there is no whole view."""
        arrays = view_arrays(path)
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
    arrays: Mapping[str, npt.NDArray[Any]],
    sizes: Mapping[str, tuple[Any, tuple[int, ...]]],
) -> bool:
    """Tell whether arrays of these names, types and shapes are there."""
    return all(
        name in arrays and arrays[name].dtype == kind and arrays[name].shape == shape
        for name, (kind, shape) in sizes.items()
    )
