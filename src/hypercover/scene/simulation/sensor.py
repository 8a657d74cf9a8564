"""The sensor: bands, light, optics and noise of an AVIRIS-like spectrometer."""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from hypercover.scene.datasets.catalog import aviris_bands
from hypercover.scene.simulation.parcels import HALO
from hypercover.scene.simulation.reflectance import SUN, WAVELENGTHS, light
from hypercover.scene.simulation.settings import AVIRIS
from hypercover.types import Floats, Singles

SPREAD = 0.52
"""Standard deviation of the point-spread function in pixels."""
GAIN, OFFSET = 500.0, 1000.0
"""Digital number = GAIN · radiance + OFFSET, as on Indian Pines; radiance in µW cm⁻² nm⁻¹ sr⁻¹."""
FLOOR = 10.0
"""Noise without light, in digital numbers."""
SHOT = 1.2
"""Variance of the noise per digital number of light."""


@dataclass(frozen=True)
class SensorBands:
    """Centre and width of each band."""

    wavelength: Floats
    """Centre, nm."""
    fwhm: Floats
    """Full width at half maximum, nm."""


def sensor_bands(count: int) -> SensorBands:
    """Return the bands of AVIRIS in 1992 if there are 220, else evenly spaced ones."""
    aviris = aviris_bands()
    if count == AVIRIS and aviris.wavelengths is not None and aviris.fwhm is not None:
        return SensorBands(aviris.wavelengths, aviris.fwhm)
    centres = np.linspace(400.0, 2500.0, count)
    return SensorBands(centres, np.full(count, min(100.0, 2100.0 / count)))


def _responses(bands: SensorBands) -> sparse.csc_array:
    """Return the Gaussian response of each band, (wavelength, band), summing to 1."""
    sigma = bands.fwhm / (2 * np.sqrt(2 * np.log(2)))
    away = (WAVELENGTHS[:, None] - bands.wavelength) / sigma
    weights = np.where(np.abs(away) < 4, np.exp(-0.5 * away**2), 0)
    return sparse.csc_array(weights / weights.sum(axis=0))


def _upward() -> Floats:
    """Return the transmittance from the ground to the aircraft.

    Absorption by gases is derived from the irradiance at the ground: its difference to
    a black body of 5778 K was absorbed on the way down.
    """
    black = WAVELENGTHS**-5.0 / np.expm1(1.4388e7 / (WAVELENGTHS * 5778.0))
    ratio = light() / black
    clear = ratio / np.quantile(ratio, 0.98)
    aerosol = np.exp(-0.13 * (WAVELENGTHS / 550.0) ** -1.3)
    edge = 1 / (1 + np.exp((WAVELENGTHS - 2480.0) / 8.0))
    return np.asarray(
        np.clip(clear, 0, 1) ** (0.8 * np.cos(np.deg2rad(SUN))) * aerosol * edge
    )


def _haze() -> Floats:
    """Return the path radiance, µW cm⁻² nm⁻¹ sr⁻¹: Rayleigh and a thin aerosol."""
    blue = (WAVELENGTHS / 450.0) ** -4.0
    aerosol = (WAVELENGTHS / 550.0) ** -1.3
    return np.asarray((2.6 * blue + 0.7 * aerosol) * light() / light().max())


@dataclass(frozen=True)
class Sensor:
    """Conversion of reflectance to digital numbers, band by band."""

    bands: SensorBands
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
    def over(cls, bands: SensorBands, cols: int, rng: np.random.Generator) -> "Sensor":
        """Calibrate a sensor with a number of columns."""
        responses = _responses(bands)
        sunlight = (GAIN * 100.0 / np.pi) * light() * _upward()
        gain = responses.T.multiply(sunlight).tocsr()
        path = OFFSET + GAIN * (responses.T @ _haze())
        at = bands.wavelength
        level = path - OFFSET + 0.2 * gain.sum(axis=1)
        noise = np.hypot(FLOOR, np.sqrt(SHOT * level)) + 60.0 * np.exp(-(at - 400.0) / 25.0)
        stripes = rng.standard_normal((cols, len(at))) * 0.15 * noise
        return cls(bands, gain, path, noise, stripes.astype(np.float32))

    def see(self, spectra: Floats) -> Singles:
        """Convert reflectance (…, wavelength) to digital numbers (…, band) above ``path``."""
        return np.asarray((self.gain @ spectra.T).T, dtype=np.float32)


def blur(image: Singles) -> Singles:
    """Apply the point-spread function to (row, col, band), and drop the halo."""
    steps = np.arange(-HALO, HALO + 1)
    weights = np.exp(-0.5 * (steps / SPREAD) ** 2)
    weights = (weights / weights.sum()).astype(np.float32)
    rows, cols = image.shape[0] - 2 * HALO, image.shape[1] - 2 * HALO
    tall = weights[0] * image[:rows]
    for step, weight in enumerate(weights[1:], 1):
        tall += weight * image[step : step + rows]
    wide = weights[0] * tall[:, :cols]
    for step, weight in enumerate(weights[1:], 1):
        wide += weight * tall[:, step : step + cols]
    return np.asarray(wide)
