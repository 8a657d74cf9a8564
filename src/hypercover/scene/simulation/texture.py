"""What varies within a parcel: vigour, drainage, crop rows, shade and sunlight."""

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from hypercover.scene.simulation.parcels import Parcels
from hypercover.scene.simulation.spectra import ENDMEMBERS
from hypercover.scene.simulation.survey import Survey

__all__ = ["mixtures"]

Maps = npt.NDArray[np.float32]


def _noise(shape: tuple[int, int], length: float, rng: np.random.Generator) -> Maps:
    """Return noise of unit variance that varies over a length in pixels."""
    noise = rng.standard_normal(shape, dtype=np.float32)
    if length:
        noise = ndimage.gaussian_filter(noise, length, mode="wrap")
    return np.asarray(noise / max(float(noise.std()), 1e-9), dtype=np.float32)


def _row_stripes(parcels: Parcels, found: Survey, rng: np.random.Generator) -> Maps:
    """Return the stripes that the passes of drill and sprayer leave, in -1..1 or so."""
    wave = ndimage.gaussian_filter1d(rng.standard_normal(4096), 0.7, mode="wrap")
    wave /= wave.std()
    kinds = np.zeros(len(parcels.habitats), np.int8)
    for parcel, cover in found.covers.items():
        kinds[parcel] = {"ns": 1, "ew": 2}.get(cover.rows, 0)
    shift = rng.integers(4096, size=len(parcels.habitats))[parcels.number]
    kind = kinds[parcels.number]
    place = np.where(kind == 1, parcels.u, parcels.v).astype(np.int64) + shift
    return np.where(kind > 0, wave[place % 4096], 0).astype(np.float32)


def _by_habitat(parcels: Parcels, values: dict[str, float], otherwise: float) -> Maps:
    """Return a value for each pixel that depends on the kind of parcel."""
    table = np.array([values.get(kind, otherwise) for kind in parcels.habitats], np.float32)
    return np.asarray(table[parcels.number])


def mixtures(found: Survey, rng: np.random.Generator) -> Maps:
    """Return the share of each endmember in each pixel, (row, col, endmember).

    The shares add up to the sunlight on the pixel, which is 1 but for slopes.
    """
    parcels = found.parcels
    shape = parcels.number.shape
    shade = _by_habitat(parcels, {"woods": 0.14}, otherwise=0.09)
    vigour = 0.5 + 0.24 * _noise(shape, 7, rng) + 0.20 * _noise(shape, 0.7, rng)
    drainage = 0.25 + 0.16 * _noise(shape, 9, rng) + 0.12 * _noise(shape, 0.7, rng)
    open_ = 0.16 + shade * _noise(shape, 0, rng) + 0.08 * _row_stripes(parcels, found, rng)
    sun = 1 + 0.02 * _noise(shape, 12, rng) + 0.02 * _noise(shape, 0.6, rng)
    vigour, drainage = np.clip(vigour, 0, 1), np.clip(drainage, 0, 0.7)
    open_ = np.clip(open_, 0, 0.5)
    rest = 1 - open_ - drainage * (1 - open_)
    shares = np.stack(
        [rest * (1 - vigour), rest * vigour, open_, drainage * (1 - open_)], axis=-1
    )
    _jumble(shares, found, rng)
    return np.asarray(shares * sun[..., None], dtype=np.float32)


def _jumble(shares: Maps, found: Survey, rng: np.random.Generator) -> None:
    """Mix built-up parcels pixel by pixel: a roof here, a tree there."""
    habitats = np.array(found.parcels.habitats)
    jumbled = np.isin(habitats, ["farm", "built"])[found.parcels.number]
    drawn = rng.dirichlet(np.full(ENDMEMBERS, 1.5), int(jumbled.sum()))
    shares[jumbled] = drawn.astype(np.float32)
