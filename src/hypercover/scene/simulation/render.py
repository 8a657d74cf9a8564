"""Rendering of parcels to pixels by an AVIRIS-like sensor: any block, computed on demand.

The texture of a parcel is its variation by vigour, drainage, crop rows and sunlight; the
sensor has bands, light, optics and noise.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numpy.random import Generator
from scipy import ndimage, sparse

from hypercover.scene.datasets.catalog import aviris_bands
from hypercover.scene.simulation import reflectance
from hypercover.scene.simulation.land_cover import HALO, Cover, Survey, land_strips
from hypercover.scene.simulation.reflectance import ENDMEMBERS, SUN, WAVELENGTHS, light
from hypercover.scene.tiling import Tile
from hypercover.scene.wavelengths import BandTable
from hypercover.types import Floats, Indices, Singles

AVIRIS = 220
"""This number of bands means those of AVIRIS in 1992."""
SPREAD = 0.52
"""Standard deviation of the point-spread function in pixels."""
GAIN, OFFSET = 500.0, 1000.0
"""Digital number = GAIN · radiance + OFFSET, as on Indian Pines; radiance in µW cm⁻² nm⁻¹ sr⁻¹."""
FLOOR = 10.0
"""Noise without light, in digital numbers."""
SHOT = 1.2
"""Variance of the noise per digital number of light."""
_AT_ONCE = 2**22
"""Values computed at once; working memory is a few times this."""
_NOISE = 7
"""Stream of the noise among the random numbers of a seed."""


def sensor_bands(count: int) -> BandTable:
    """Return the bands of AVIRIS in 1992 if there are 220, else evenly spaced ones."""
    if count == AVIRIS:
        return aviris_bands()
    widths = np.full(count, min(100.0, 2100.0 / count))
    return BandTable(np.linspace(400.0, 2500.0, count), widths)


def _responses(centres: Floats, widths: Floats) -> sparse.csc_array:
    """Return the Gaussian response of each band, (wavelength, band), summing to 1."""
    sigma = widths / (2 * np.sqrt(2 * np.log(2)))
    away = (WAVELENGTHS[:, None] - centres) / sigma
    weights = np.where(np.abs(away) < 4, np.exp(-0.5 * away**2), 0)
    return sparse.csc_array(weights / weights.sum(axis=0))


def _upward() -> Floats:
    """Return the transmittance from the ground to the aircraft.

    Absorption by gases is derived from the irradiance at the ground: its difference to
    a black body of 5778 K was absorbed on the way down.
    """
    black = WAVELENGTHS**-5.0 / np.expm1(1.4388e7 / (WAVELENGTHS * 5778.0))
    ratio = light() / black
    clear = np.clip(ratio / np.quantile(ratio, 0.98), 0, 1)
    aerosol = np.exp(-0.13 * (WAVELENGTHS / 550.0) ** -1.3)
    edge = 1 / (1 + np.exp((WAVELENGTHS - 2480.0) / 8.0))
    return np.asarray(clear ** (0.8 * np.cos(np.deg2rad(SUN))) * aerosol * edge)


def _haze() -> Floats:
    """Return the path radiance, µW cm⁻² nm⁻¹ sr⁻¹: Rayleigh and a thin aerosol."""
    blue, aerosol = (WAVELENGTHS / 450.0) ** -4.0, (WAVELENGTHS / 550.0) ** -1.3
    return np.asarray((2.6 * blue + 0.7 * aerosol) * light() / light().max())


@dataclass(frozen=True)
class Sensor:
    """Conversion of reflectance to digital numbers, band by band."""

    bands: BandTable
    """Centres and widths."""
    gain: sparse.csr_array
    """Digital numbers per reflectance, (band, wavelength)."""
    path: Floats
    """Digital number of black ground (band,)."""
    noise: Floats
    """Standard deviation of the noise in digital numbers (band,)."""
    stripes: Singles
    """Offsets of the columns in digital numbers, (col, band)."""

    @classmethod
    def over(cls, bands: BandTable, cols: int, rng: Generator) -> "Sensor":
        """Calibrate a sensor with a number of columns."""
        centres, widths = np.asarray(bands.wavelengths), np.asarray(bands.fwhm)
        responses = _responses(centres, widths)
        sunlight = (GAIN * 100.0 / np.pi) * light() * _upward()
        gain = responses.T.multiply(sunlight).tocsr()
        path = OFFSET + GAIN * (responses.T @ _haze())
        level = path - OFFSET + 0.2 * gain.sum(axis=1)
        noise = np.hypot(FLOOR, np.sqrt(SHOT * level))
        noise += 60.0 * np.exp(-(centres - 400.0) / 25.0)
        stripes = rng.standard_normal((cols, len(centres))) * 0.15 * noise
        return cls(bands, gain, path, noise, stripes.astype(np.float32))

    def see(self, spectra: Floats) -> Singles:
        """Convert reflectance (…, wavelength) to digital numbers (…, band) above ``path``."""
        return np.asarray((self.gain @ spectra.T).T, dtype=np.float32)


def blur(image: Singles) -> Singles:
    """Apply the point-spread function to (row, col, band), and drop the halo."""
    weights = np.exp(-0.5 * (np.arange(-HALO, HALO + 1) / SPREAD) ** 2)
    weights = (weights / weights.sum()).astype(np.float32)
    rows, cols = image.shape[0] - 2 * HALO, image.shape[1] - 2 * HALO
    tall = weights[0] * image[:rows]
    for step, weight in enumerate(weights[1:], 1):
        tall += weight * image[step : step + rows]
    wide = weights[0] * tall[:, :cols]
    for step, weight in enumerate(weights[1:], 1):
        wide += weight * tall[:, step : step + cols]
    return np.asarray(wide)


def _noise(shape: tuple[int, int], length: float, rng: Generator) -> Singles:
    """Return noise of unit variance with a correlation length in pixels."""
    noise = rng.standard_normal(shape, dtype=np.float32)
    if length:
        ndimage.gaussian_filter(noise, length, mode="wrap", output=noise)
    noise /= max(float(noise.std()), 1e-9)
    return noise


def _row_stripes(land: Survey, rng: Generator) -> Singles:
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


def _varied(
    middle: float,
    waves: Sequence[tuple[float, float]],
    shape: tuple[int, int],
    rng: Generator,
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

    @classmethod
    def draw(cls, land: Survey, rng: Generator) -> "Texture":
        """Draw the texture of a land."""
        number, habitats = land.parcels.number, land.parcels.habitats
        shape = number.shape
        spread = [0.14 if kind == "woods" else 0.09 for kind in habitats]
        gaps = np.array(spread, np.float32)[number]
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
        mixed = np.flatnonzero(np.isin(habitats, ["farm", "built"])[number])
        shares = rng.dirichlet(np.full(ENDMEMBERS, 1.5), len(mixed)).astype(np.float32)
        return cls(vigour, drainage, gaps, sun, mixed, shares)

    def shares(self, rows: slice, cols: slice) -> Singles:
        """Return the share of each endmember in each pixel, (row, col, endmember).

        They add up to the sunlight.  Both slices need start and stop.
        """
        place = rows, cols
        green, gaps = self.vigour[place], self.gaps[place]
        wet = self.drainage[place] * (1 - gaps)
        rest = 1 - gaps - wet
        shares = np.stack([rest * (1 - green), rest * green, gaps, wet], axis=-1)
        width = self.sun.shape[1]
        part = slice(*np.searchsorted(self.mixed, [rows.start * width, rows.stop * width]))
        y, x = np.divmod(self.mixed[part], width)
        inside = (x >= cols.start) & (x < cols.stop)
        at = y[inside] - rows.start, x[inside] - cols.start
        shares[at] = self.random_shares[part][inside]
        shares *= self.sun[place][..., None]
        return shares


def _spectra(habitat: str, cover: Cover | None, rng: Generator) -> Floats:
    """Return the reflectance of a parcel's endmembers, (endmember, wavelength)."""
    if habitat == "highway" or cover is None:
        return reflectance.road(rng, stone=0.6 if habitat == "highway" else 0.35)
    state = cover.draw(rng)
    match cover.habitat:
        case "water":
            return reflectance.water(rng)
        case "farm":
            return reflectance.farm(state, rng)
        case "built":
            return reflectance.paved(rng, state)
        case "woods":
            return reflectance.woods(state)
    return reflectance.canopy(state)


def endmembers(land: Survey, sensor: Sensor, rng: Generator) -> Singles:
    """Return the digital numbers of all endmembers, (parcel, endmember, band)."""
    habitats = land.parcels.habitats
    numbers = np.zeros((len(habitats), ENDMEMBERS, len(sensor.path)), np.float32)
    for parcel in np.flatnonzero(np.bincount(land.parcels.number.ravel())).tolist():
        spectra = _spectra(habitats[parcel], land.covers.get(parcel), rng)
        numbers[parcel] = sensor.see(spectra)
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
        block, bands = Tile(rows, cols), len(self.sensor.path)
        cube = np.empty((bands, *block.shape), np.uint16)
        step = max(1, _AT_ONCE // (bands * block.shape[1]) - 2 * HALO)
        for strip in block.cut(step, block.shape[1]):
            pixels = self._strip(strip.rows, cols).transpose(2, 0, 1)
            cube[:, *strip.within(block)] = pixels
        return cube

    def _strip(self, rows: slice, cols: slice) -> npt.NDArray[np.uint16]:
        seen = blur(self._mixed(_with_halo(rows), _with_halo(cols)))
        seen += self.sensor.path.astype(np.float32) + self.sensor.stripes[cols]
        noise = self.sensor.noise.astype(np.float32)
        for row in range(rows.start, rows.stop):
            # One generator per row, so that the noise does not depend on the blocks.
            rng = np.random.default_rng([self.seed, _NOISE, row])
            unit = rng.standard_normal((self.shape[2], self.shape[0]), np.float32)
            seen[row - rows.start] += noise * unit[cols]
        return np.clip(np.rint(seen), 1, 65535).astype(np.uint16)

    def _mixed(self, rows: slice, cols: slice) -> Singles:
        """Return the light of each pixel before optics, (row, col, band)."""
        number, shares = self.number[rows, cols], self.texture.shares(rows, cols)
        mixed = shares[..., 0, None] * self.endmembers[number, 0]
        for part in range(1, ENDMEMBERS):
            mixed += shares[..., part, None] * self.endmembers[number, part]
        return np.asarray(mixed)


def _with_halo(part: slice) -> slice:
    """Return the slice of the land under a slice of the cube, with its halo."""
    return slice(part.start, part.stop + 2 * HALO)
