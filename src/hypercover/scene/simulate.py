"""A simulated scene: made from a seed, where no measured one is at hand.

Why it exists: a newcomer has no hyperspectral image, and measured ones may not
be passed on freely.  What it models and where the models come from stands in
``docs/simulation.md``.
"""

import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import xarray as xr

from hypercover.errors import CallError, OutputError
from hypercover.scene.grid import Grid, with_grid
from hypercover.scene.lazy import LazyArray
from hypercover.scene.legend import Legend
from hypercover.scene.scene import Scene
from hypercover.scene.simulation.covers import land_covers
from hypercover.scene.simulation.parcels import HALO, lay_out
from hypercover.scene.simulation.render import Picture, endmembers
from hypercover.scene.simulation.sensor import Bands, Sensor, aviris_bands, even_bands
from hypercover.scene.simulation.survey import Survey, survey
from hypercover.scene.simulation.texture import mixtures
from hypercover.scene.simulation.storage import write_labels, write_scene

__all__ = ["PRESETS", "Settings", "simulate", "simulated_scene"]

FIELD = 420.0
"""Mean area of a field in pixels (17 ha) where there is room for all classes."""
PIXEL = 20.0
"""Side of a pixel, m."""
_CORNER = (500_000.0, 4_480_000.0)
_MOST_PIXELS = 2**26
AVIRIS = 220
_LEAST_PER_CLASS = 60


@dataclass(frozen=True)
class Settings:
    """What a simulated scene is to be like."""

    rows: int = 145
    """Number of rows of 20 m."""
    cols: int = 145
    """Number of columns of 20 m."""
    bands: int = AVIRIS
    """Number of bands; 220 are those of AVIRIS in 1992, others stand evenly."""
    classes: int = 16
    """Number of labelled classes."""
    seed: int = 0
    """Seed of everything that is drawn."""


PRESETS = {"demo": Settings(rows=128, cols=128, bands=AVIRIS, classes=10)}
"""Named scenes; a preset takes the place of rows, cols, bands and classes."""


def simulate(
    out: str | Path,
    *,
    rows: int = 145,
    cols: int = 145,
    bands: int = AVIRIS,
    classes: int = 16,
    seed: int = 0,
    preset: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Path, Path]:
    """Write a simulated scene and, beside it, its labels.

    The cube is computed and written strip by strip, so that its size is bounded
    by the disk and not by the memory.  The same settings give the same bytes.

    Parameters
    ----------
    out : path
        Image to write: GeoTIFF (``.tif``) or ENVI (``.hdr``, ``.img``, ``.dat``).
    rows, cols, bands, classes, seed : int
        See :class:`Settings`.
    preset : str, optional
        Name in :data:`PRESETS`; it takes the place of all settings but the seed.
    progress : callable, optional
        Called with the rows done and the rows in all.

    Returns
    -------
    tuple of Path
        The image and the label map, ``<stem>-labels.tif``.

    Raises
    ------
    CallError
        If no such scene can be made.
    OutputError
        If the files cannot be written or the disk is too small for them.
    """
    settings = _chosen(preset, seed) if preset else Settings(rows, cols, bands, classes, seed)
    cube = Path(out)
    labels = cube.with_name(f"{cube.stem}-labels.tif")
    check(settings)
    _check_space(settings, cube)
    scene = simulated_scene(settings, progress=progress)
    assert scene.labels is not None  # noqa: S101 - a simulated scene always has them
    write_scene(scene, cube)
    write_labels(scene.labels, scene.legend, scene.grid, labels)
    return cube, labels


def _chosen(preset: str, seed: int) -> Settings:
    if preset not in PRESETS:
        raise CallError(
            f"There is no simulated scene named {preset!r}; the named ones are "
            f"{', '.join(PRESETS)}."
        )
    return replace(PRESETS[preset], seed=seed)


def check(settings: Settings) -> None:
    """Refuse settings no scene can be made of.

    Raises
    ------
    CallError
        With the first setting that is wrong.
    """
    rows, cols, most = settings.rows, settings.cols, len(land_covers())
    if rows < 32 or cols < 32 or rows * cols > _MOST_PIXELS:
        raise CallError(
            "A simulated scene must have at least 32 rows and columns and at most "
            f"{_MOST_PIXELS:,} pixels, got {rows} × {cols}; choose another size."
        )
    if not 3 <= settings.bands <= 2101:
        raise CallError(
            f"A simulated scene must have 3 to 2101 bands, got {settings.bands}; "
            "220 are those of AVIRIS."
        )
    if not 2 <= settings.classes <= most:
        raise CallError(
            f"A simulated scene must have 2 to {most} classes, got {settings.classes}; "
            "choose a number between."
        )
    if settings.seed < 0:
        raise CallError(f"A seed must be 0 or more, got {settings.seed}; use another one.")
    if rows * cols < _LEAST_PER_CLASS * settings.classes:
        raise CallError(
            f"{settings.classes} classes need at least "
            f"{_LEAST_PER_CLASS * settings.classes} pixels, got {rows} × {cols}; ask for "
            "fewer classes or for a larger scene."
        )


def _check_space(settings: Settings, out: Path) -> None:
    folder = next(parent for parent in out.absolute().parents if parent.exists())
    needed = 2 * settings.rows * settings.cols * settings.bands
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise OutputError(
            f"The simulated scene needs up to {needed / 2**30:.1f} GiB, but only "
            f"{free / 2**30:.1f} GiB are free in {folder}; choose a smaller scene or "
            "another folder."
        )


def simulated_scene(
    settings: Settings, progress: Callable[[int, int], None] | None = None
) -> Scene:
    """Return a simulated scene whose cube is computed where it is read.

    Raises
    ------
    CallError
        If no such scene can be made.
    """
    check(settings)
    picture, found = _draw(settings)
    inner = slice(HALO, -HALO)
    labels = found.labels()[inner, inner]
    legend = Legend.of({code: cover.name for code, cover in enumerate(found.classes, 1)})
    scene = Scene(
        with_grid(_cube(picture, _bands(settings.bands), progress), _grid(settings)),
        labels=labels,
        legend=legend.covering(labels),
        name="simulated",
        simulated=True,
        notes=(f"Simulated, not measured: {_said(settings)}.",),
    )
    return scene.replace(cube=scene.cube.assign_attrs(simulated=_said(settings)))


def _said(settings: Settings) -> str:
    return ", ".join(f"{name} {value}" for name, value in asdict(settings).items())


def _bands(count: int) -> Bands:
    return aviris_bands() if count == AVIRIS else even_bands(count)


def _draw(settings: Settings) -> tuple[Picture, Survey]:
    """Draw the land, what grows on it and what the sensor sees of it."""
    rows, cols = settings.rows + 2 * HALO, settings.cols + 2 * HALO
    field = min(FIELD, rows * cols / (5.0 * settings.classes + 6.0))
    chance = [np.random.default_rng([settings.seed, step]) for step in range(5)]
    parcels = lay_out(rows, cols, field, chance[0])
    found = survey(parcels, land_covers()[: settings.classes], chance[1])
    sensor = Sensor.over(_bands(settings.bands), settings.cols, chance[2])
    shares = mixtures(found, chance[3])
    seen = endmembers(found, sensor, chance[4])
    return Picture(parcels.number, shares, seen, sensor, settings.seed), found


def _grid(settings: Settings) -> Grid:
    from rasterio.crs import CRS

    west, north = _CORNER
    transform = (PIXEL, 0.0, west, 0.0, -PIXEL, north)
    return Grid(settings.rows, settings.cols, CRS.from_epsg(32616).to_wkt(), transform)


def _cube(
    picture: Picture, bands: Bands, progress: Callable[[int, int], None] | None
) -> xr.DataArray:
    """Return the cube as (band, y, x), computed where it is read."""
    total = picture.shape[1]

    def fetch(wanted: tuple[npt.NDArray[np.intp], ...]) -> npt.NDArray[np.generic]:
        some_bands, rows, cols = wanted
        block = picture.rows(int(rows.min()), int(rows.max()) + 1)
        if progress:
            progress(int(rows.max()) + 1, total)
        return block[np.ix_(some_bands, rows - rows.min(), cols)]

    data = LazyArray(picture.shape, np.uint16, fetch).as_variable_data()
    return xr.DataArray(
        xr.Variable(("band", "y", "x"), data),
        coords={
            "band": np.arange(1, picture.shape[0] + 1),
            "wavelength": ("band", bands.wavelength),
            "fwhm": ("band", bands.fwhm),
        },
        attrs={"units": "radiance, µW cm⁻² nm⁻¹ sr⁻¹ × 500 + 1000"},
    )
