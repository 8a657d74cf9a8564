"""From parcels to pixels: any piece of the cube, computed when it is asked for."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hypercover.scene.simulation import spectra
from hypercover.scene.simulation.covers import Cover
from hypercover.scene.simulation.parcels import HALO
from hypercover.scene.simulation.sensor import Sensor, blur
from hypercover.scene.simulation.survey import Survey

__all__ = ["Picture", "endmembers"]

_AT_ONCE = 2**22
"""Values computed at once: the working memory is a few times this."""


def _spectra(habitat: str, cover: Cover | None, rng: np.random.Generator) -> spectra.Spectrum:
    """Return the reflectance of a parcel's endmembers, (endmember, wavelength)."""
    if habitat == "highway":
        return spectra.road(rng, stone=0.6)
    if cover is None:
        return spectra.road(rng, stone=0.35)
    state = cover.draw(rng)
    if cover.habitat == "water":
        return spectra.water(rng)
    if cover.habitat == "farm":
        return spectra.farm(state, rng)
    if cover.habitat == "built":
        return spectra.paved(rng, state)
    if cover.habitat == "woods":
        return spectra.woods(state)
    return spectra.canopy(state)


def endmembers(
    found: Survey, sensor: Sensor, rng: np.random.Generator
) -> npt.NDArray[np.float32]:
    """Return the digital numbers of all endmembers, (parcel, endmember, band)."""
    seen = np.zeros(
        (len(found.parcels.habitats), spectra.ENDMEMBERS, len(sensor.path)), np.float32
    )
    present = np.unique(found.parcels.number)
    for parcel in present:
        habitat = found.parcels.habitats[parcel]
        seen[parcel] = sensor.see(_spectra(habitat, found.covers.get(int(parcel)), rng))
    return seen


@dataclass(frozen=True)
class Picture:
    """A cube that is computed row by row, the same however it is cut."""

    number: npt.NDArray[np.int32]
    """Parcel of each pixel, a halo wider than the cube on every side."""
    shares: npt.NDArray[np.float32]
    """Share of each endmember, (row, col, endmember), with the halo."""
    endmembers: npt.NDArray[np.float32]
    """Digital numbers, (parcel, endmember, band)."""
    sensor: Sensor
    """Optics and noise."""
    seed: int
    """Seed of the noise, which is drawn row by row."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Bands, rows and columns."""
        rows, cols = self.number.shape
        return len(self.sensor.path), rows - 2 * HALO, cols - 2 * HALO

    def rows(self, top: int, bottom: int) -> npt.NDArray[np.uint16]:
        """Compute some whole rows as (band, row, col)."""
        bands, _, cols = self.shape
        cube = np.empty((bands, bottom - top, cols), np.uint16)
        step = max(1, _AT_ONCE // (bands * cols) - 2 * HALO)
        for first in range(top, bottom, step):
            last = min(first + step, bottom)
            cube[:, first - top : last - top] = self._strip(first, last).transpose(2, 0, 1)
        return cube

    def _strip(self, top: int, bottom: int) -> npt.NDArray[np.uint16]:
        seen = blur(self._mixed(slice(top, bottom + 2 * HALO)))
        seen += self.sensor.path.astype(np.float32) + self.sensor.stripes
        noise = self.sensor.noise.astype(np.float32)
        for row in range(top, bottom):
            # One generator a row: the noise cannot depend on how the cube is cut.
            rng = np.random.default_rng([self.seed, 7, row])
            seen[row - top] += noise * rng.standard_normal(seen.shape[1:], np.float32)
        return np.clip(np.rint(seen), 1, 65535).astype(np.uint16)

    def _mixed(self, window: slice) -> npt.NDArray[np.float32]:
        number, shares = self.number[window], self.shares[window]
        mixed = shares[..., 0, None] * self.endmembers[number, 0]
        for part in range(1, self.endmembers.shape[1]):
            mixed += shares[..., part, None] * self.endmembers[number, part]
        return np.asarray(mixed)
