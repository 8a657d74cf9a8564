"""Texture: variation within parcels by vigour, drainage, crop rows and sunlight."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from hypercover.scene.simulation.land_cover import Survey
from hypercover.scene.simulation.parcels import Parcels, land_strips
from hypercover.scene.simulation.reflectance import ENDMEMBERS
from hypercover.types import Indices, Singles


def _noise(shape: tuple[int, int], length: float, rng: np.random.Generator) -> Singles:
    """Return noise of unit variance with a correlation length in pixels."""
    noise = rng.standard_normal(shape, dtype=np.float32)
    if length:
        ndimage.gaussian_filter(noise, length, mode="wrap", output=noise)
    noise /= max(float(noise.std()), 1e-9)
    return noise


def _row_stripes(land: Survey, rng: np.random.Generator) -> Singles:
    """Return stripes of drill and sprayer passes, with unit variance."""
    parcels = land.parcels
    wave = ndimage.gaussian_filter1d(rng.standard_normal(4096), 0.7, mode="wrap")
    wave /= wave.std()
    kinds = np.zeros(len(parcels.habitats), np.int8)
    for parcel, cover in land.covers.items():
        kinds[parcel] = {"ns": 1, "ew": 2}.get(cover.rows, 0)
    shift = rng.integers(4096, size=len(parcels.habitats))
    stripes = np.empty(parcels.number.shape, np.float32)
    for part in land_strips(parcels.number.shape):
        number = parcels.number[part]
        across = np.where(kinds[number] == 1, parcels.u[part, :], parcels.v[part, :])
        place = across.astype(np.int64) + shift[number]
        stripes[part] = np.where(kinds[number] > 0, wave[place % 4096], 0)
    return stripes


def _by_habitat(parcels: Parcels, values: dict[str, float], otherwise: float) -> Singles:
    """Return a value for each pixel by the kind of its parcel."""
    table = np.array([values.get(kind, otherwise) for kind in parcels.habitats], np.float32)
    return np.asarray(table[parcels.number])


def _varied(
    middle: float,
    waves: Sequence[tuple[float, float]],
    shape: tuple[int, int],
    rng: np.random.Generator,
) -> Singles:
    """Return a mean plus noise of several (strength, correlation length)."""
    varied = np.full(shape, middle, np.float32)
    for strength, length in waves:
        noise = _noise(shape, length, rng)
        noise *= strength
        varied += noise
    return varied


@dataclass(frozen=True)
class Texture:
    """Shares of endmembers in each pixel, computed for any block of the land."""

    vigour: Singles
    """Share of the plants that are green."""
    drainage: Singles
    """Share of the ground that is wet."""
    gaps: Singles
    """Share of open ground between plants."""
    sun: Singles
    """Relative sunlight, 1 on flat land."""
    mixed: Indices
    """Flat indices of built-up pixels, which have random shares."""
    random_shares: Singles
    """Their shares, (pixel, endmember)."""

    def shares(self, rows: slice, cols: slice) -> Singles:
        """Return the share of each endmember in each pixel, (row, col, endmember).

        They add up to the sunlight.  Both slices need start and stop.
        """
        place = rows, cols
        wet = self.drainage[place] * (1 - self.gaps[place])
        rest = 1 - self.gaps[place] - wet
        green = self.vigour[place]
        shares = np.stack(
            [rest * (1 - green), rest * green, self.gaps[place], wet], axis=-1
        )
        self._set_mixed(shares, rows, cols)
        shares *= self.sun[place][..., None]
        return shares

    def _set_mixed(self, shares: Singles, rows: slice, cols: slice) -> None:
        width = self.sun.shape[1]
        ends = np.searchsorted(self.mixed, [rows.start * width, rows.stop * width])
        part = slice(*ends)
        y, x = np.divmod(self.mixed[part], width)
        inside = (x >= cols.start) & (x < cols.stop)
        at = y[inside] - rows.start, x[inside] - cols.start
        shares[at] = self.random_shares[part][inside]


def texture(land: Survey, rng: np.random.Generator) -> Texture:
    """Draw the texture of a land."""
    shape = land.parcels.number.shape
    gaps = _by_habitat(land.parcels, {"woods": 0.14}, otherwise=0.09)
    vigour = _varied(0.5, [(0.24, 7), (0.20, 0.7)], shape, rng)
    drainage = _varied(0.25, [(0.16, 9), (0.12, 0.7)], shape, rng)
    gaps *= _noise(shape, 0, rng)
    gaps += 0.16
    stripes = _row_stripes(land, rng)
    stripes *= 0.08
    gaps += stripes
    del stripes
    sun = _varied(1.0, [(0.02, 12), (0.02, 0.6)], shape, rng)
    np.clip(vigour, 0, 1, out=vigour)
    np.clip(drainage, 0, 0.7, out=drainage)
    np.clip(gaps, 0, 0.5, out=gaps)
    built = np.isin(land.parcels.habitats, ["farm", "built"])
    mixed = np.flatnonzero(built[land.parcels.number])
    random_shares = rng.dirichlet(np.full(ENDMEMBERS, 1.5), len(mixed)).astype(np.float32)
    return Texture(vigour, drainage, gaps, sun, mixed, random_shares)
