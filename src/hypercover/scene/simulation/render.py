"""Rendering of parcels to pixels: any block of the cube, computed on demand."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hypercover.scene.simulation import reflectance
from hypercover.scene.simulation.land_cover import Cover, Survey
from hypercover.scene.simulation.parcels import HALO
from hypercover.scene.simulation.sensor import Sensor, blur
from hypercover.scene.simulation.texture import Texture
from hypercover.scene.tiling import Tile
from hypercover.types import Floats, Singles

_AT_ONCE = 2**22
"""Values computed at once; working memory is a few times this."""
_NOISE = 7
"""Stream of the noise among the random numbers of a seed."""


def _spectra(habitat: str, cover: Cover | None, rng: np.random.Generator) -> Floats:
    """Return the reflectance of a parcel's endmembers, (endmember, wavelength)."""
    if habitat == "highway":
        return reflectance.road(rng, stone=0.6)
    if cover is None:
        return reflectance.road(rng, stone=0.35)
    state = cover.draw(rng)
    if cover.habitat == "water":
        return reflectance.water(rng)
    if cover.habitat == "farm":
        return reflectance.farm(state, rng)
    if cover.habitat == "built":
        return reflectance.paved(rng, state)
    if cover.habitat == "woods":
        return reflectance.woods(state)
    return reflectance.canopy(state)


def endmembers(land: Survey, sensor: Sensor, rng: np.random.Generator) -> Singles:
    """Return the digital numbers of all endmembers, (parcel, endmember, band)."""
    numbers = np.zeros(
        (len(land.parcels.habitats), reflectance.ENDMEMBERS, len(sensor.path)), np.float32
    )
    present = np.flatnonzero(np.bincount(land.parcels.number.ravel()))
    for parcel in present:
        habitat = land.parcels.habitats[parcel]
        numbers[parcel] = sensor.see(_spectra(habitat, land.covers.get(int(parcel)), rng))
    return numbers


@dataclass(frozen=True)
class SceneRenderer:
    """A cube that is computed block by block, independent of the blocks."""

    number: npt.NDArray[np.int32]
    """Parcel of each pixel, with a halo around the cube."""
    texture: Texture
    """Share of each endmember, with the halo."""
    endmembers: Singles
    """Digital numbers, (parcel, endmember, band)."""
    sensor: Sensor
    """Optics and noise."""
    seed: int
    """Seed of the noise of each row."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Bands, rows and columns."""
        rows, cols = self.number.shape
        return len(self.sensor.path), rows - 2 * HALO, cols - 2 * HALO

    def block(self, rows: slice, cols: slice) -> npt.NDArray[np.uint16]:
        """Compute a rectangle as (band, row, col); both slices have start and stop."""
        bands = len(self.sensor.path)
        cube = np.empty((bands, rows.stop - rows.start, cols.stop - cols.start), np.uint16)
        step = max(1, _AT_ONCE // (bands * cube.shape[2]) - 2 * HALO)
        block = Tile(rows, cols)
        for strip in block.cut(step, cube.shape[2]):
            pixels = self._strip(strip.rows, cols).transpose(2, 0, 1)
            cube[:, *strip.within(block)] = pixels
        return cube

    def _strip(self, rows: slice, cols: slice) -> npt.NDArray[np.uint16]:
        seen = blur(self._mixed(_with_halo(rows), _with_halo(cols)))
        seen += self.sensor.path.astype(np.float32) + self.sensor.stripes[cols]
        noise = self.sensor.noise.astype(np.float32)
        whole = (self.shape[2], self.shape[0])
        for row in range(rows.start, rows.stop):
            # One generator per row, so that the noise does not depend on the blocks.
            rng = np.random.default_rng([self.seed, _NOISE, row])
            unit = rng.standard_normal(whole, np.float32)
            seen[row - rows.start] += noise * unit[cols]
        return np.clip(np.rint(seen), 1, 65535).astype(np.uint16)

    def _mixed(self, rows: slice, cols: slice) -> Singles:
        """Return the light of each pixel before optics, (row, col, band)."""
        number, shares = self.number[rows, cols], self.texture.shares(rows, cols)
        mixed = shares[..., 0, None] * self.endmembers[number, 0]
        for part in range(1, self.endmembers.shape[1]):
            mixed += shares[..., part, None] * self.endmembers[number, part]
        return np.asarray(mixed)


def _with_halo(part: slice) -> slice:
    """Return the slice of the land under a slice of the cube, with its halo."""
    return slice(part.start, part.stop + 2 * HALO)
