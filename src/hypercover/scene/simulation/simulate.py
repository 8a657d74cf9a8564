"""Simulated scenes from a seed, for when no measured image can be distributed.

See ``docs/simulation.md`` for the models and their sources.
"""

import shutil
from pathlib import Path

import numpy as np
import xarray as xr

from hypercover.errors import CallError, OutputError
from hypercover.files import check_writable
from hypercover.scene.grid import Grid, with_grid
from hypercover.scene.io.writing import (
    check_overwrite,
    driver_for,
    write_labels,
    write_scene,
)
from hypercover.scene.lazy import Indices, LazyArray, bounding_slice
from hypercover.scene.legend import Legend, class_colors
from hypercover.scene.scene import Scene
from hypercover.scene.simulation.land_cover import (
    CrowdedError,
    Survey,
    flight_line_covers,
    land_covers,
    survey,
)
from hypercover.scene.simulation.parcels import HALO, lay_out
from hypercover.scene.simulation.render import SceneRenderer, endmembers
from hypercover.scene.simulation.sensor import Sensor, sensor_bands
from hypercover.scene.simulation.settings import (
    AVIRIS,
    SimulationSettings,
    preset_settings,
)
from hypercover.scene.simulation.texture import texture
from hypercover.types import Array, Codes, Progress

FIELD = 620.0
"""Mean area of a field in pixels (25 ha) if there is room for all classes."""
PIXEL = 20.0
"""Side of a pixel, m."""
_CORNER = (505_000.0, 4_476_000.0)
"""Easting and northing of the north-west corner: 40.4° N, 86.9° W in UTM zone 16."""
_LABELLED = (0.48, 0.36, 0.27, 0.2)
"""Shares of labelled pixels to try; the first is that of Indian Pines."""


def simulate(
    out: str | Path,
    *,
    rows: int = 145,
    cols: int = 145,
    bands: int = AVIRIS,
    classes: int = 16,
    seed: int = 0,
    preset: str | None = None,
    progress: Progress | None = None,
) -> tuple[Path, Path]:
    """Write a simulated scene and its labels.

    The cube is computed and written tile by tile, so it may be larger than memory.  The
    same settings give the same bytes.

    Parameters
    ----------
    out : path
        Image to write: GeoTIFF (``.tif``) or ENVI (``.hdr``, ``.img``, ``.dat``).
    rows, cols, bands, classes, seed : int
        See :class:`SimulationSettings`.
    preset : str, optional
        Name in :data:`PRESETS`; replaces all settings but the seed.  ``rome`` also
        writes ``<stem>-pan`` and ``<stem>-bands``, the pair from which the image is
        pansharpened.
    progress : callable, optional
        Called with the rows done and the rows in all.

    Returns
    -------
    tuple of Path
        The image and the label map, ``<stem>-labels.tif``.

    Raises
    ------
    CallError
        If the settings are out of range.
    OutputError
        If the files cannot be written or the disk is too small.
    """
    settings = (
        preset_settings(preset, seed)
        if preset
        else SimulationSettings(rows, cols, bands, classes, seed)
    )
    return write_simulated(settings, out, progress)


def write_simulated(
    settings: SimulationSettings, out: str | Path, progress: Progress | None = None
) -> tuple[Path, Path]:
    """Write a simulated scene and its labels; see :func:`simulate`."""
    settings.check()
    image = Path(out)
    check_overwrite(image)
    driver = driver_for(image)
    labels_path = check_writable(image.with_name(f"{image.stem}-labels.tif"))
    _check_space(settings, image)
    tags = {
        "HYPERCOVER_SIMULATED": "yes",
        "HYPERCOVER_SIMULATION": str(settings),
    }
    title = {"TIFFTAG_IMAGEDESCRIPTION": "Simulated by hypercover, not measured"}
    more = title if driver == "GTiff" else {}
    if settings.imitates == "rome":
        from hypercover.scene.simulation.city import check_city, write_city

        check_city(settings)
        return write_city(settings, image, tags | more, progress)
    scene, labels = _drawn(settings, progress)
    pixels = write_scene(scene, image, tags=tags | more)
    written = write_labels(labels, scene.legend, scene.grid, labels_path, tags=tags | title)
    return pixels, written


def _check_space(settings: SimulationSettings, out: Path) -> None:
    folder = next(parent for parent in out.absolute().parents if parent.exists())
    needed = 2 * settings.rows * settings.cols * settings.bands
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise OutputError(
            f"Cannot write {out}: the disk is full before the scene is whole, which needs "
            f"up to {needed / 2**20:,.1f} MiB where {free / 2**20:,.1f} MiB are free; choose "
            "a smaller scene or another folder."
        )


def simulated_scene(
    settings: SimulationSettings, progress: Progress | None = None
) -> Scene:
    """Return a simulated scene whose cube is computed on reading.

    Raises
    ------
    CallError
        If the settings are out of range.

    Examples
    --------
    >>> scene = simulated_scene(SimulationSettings(rows=32, cols=40, bands=5, classes=2))
    >>> scene.cube.shape, scene.legend.names, scene.simulated
    ((5, 32, 40), ('Corn-notill', 'Soybean-mintill'), True)
    """
    settings.check()
    return _drawn(settings, progress)[0]


def _drawn(settings: SimulationSettings, progress: Progress | None) -> tuple[Scene, Codes]:
    land = _survey_land(settings)
    labels = land.labels()[HALO:-HALO, HALO:-HALO]
    names = {code: cover.name for code, cover in enumerate(land.classes, 1)}
    legend = Legend.of(names, class_colors(names))
    scene = Scene(
        with_grid(_cube(_picture(settings, land), progress), _grid(settings)),
        labels=labels,
        legend=legend.covering(labels),
        name="simulated scene",
        simulated=True,
        notes=(f"Simulated, not measured: {settings}.",),
    )
    return scene, labels


def _rng(settings: SimulationSettings, step: int) -> np.random.Generator:
    """Return the random numbers of one step, independent of the others."""
    return np.random.default_rng([settings.seed, step])


def _survey_land(settings: SimulationSettings) -> Survey:
    """Lay out parcels, a halo wider than the image, and assign covers and labels.

    If the land is too small for the classes, less of it is labelled.
    """
    rows, cols = settings.rows + 2 * HALO, settings.cols + 2 * HALO
    field = min(FIELD, rows * cols / (5.0 * settings.classes + 6.0))
    classes = land_covers()[: settings.classes]
    shares: tuple[float | None, ...] = _LABELLED
    if settings.imitates:
        classes, shares = flight_line_covers(), (None,)
    for share in shares:
        parcels = lay_out(rows, cols, field, _rng(settings, 0))
        try:
            return survey(parcels, classes, share, _rng(settings, 1))
        except CrowdedError:
            continue
    raise CallError(
        f"{settings.classes} classes do not fit on a simulated land of {settings.rows} × "
        f"{settings.cols} pixels; choose fewer classes or a larger scene."
    )


def _picture(settings: SimulationSettings, land: Survey) -> SceneRenderer:
    """Observe the land with a sensor."""
    sensor = Sensor.over(sensor_bands(settings.bands), settings.cols, _rng(settings, 2))
    shares = texture(land, _rng(settings, 3))
    spectra = endmembers(land, sensor, _rng(settings, 4))
    return SceneRenderer(land.parcels.number, shares, spectra, sensor, settings.seed)


def _grid(settings: SimulationSettings) -> Grid:
    from rasterio.crs import CRS

    west, north = _CORNER
    transform = (PIXEL, 0.0, west, 0.0, -PIXEL, north)
    return Grid(settings.rows, settings.cols, CRS.from_epsg(32616).to_wkt(), transform)


def _cube(picture: SceneRenderer, progress: Progress | None) -> xr.DataArray:
    """Return the cube as (band, y, x), computed on reading."""
    total = picture.shape[1]

    def fetch(indices: Indices) -> Array:
        bands, rows, cols = indices
        block = picture.block(bounding_slice(rows), bounding_slice(cols))
        if progress:
            progress(int(rows.max()) + 1, total)
        return np.asarray(block[np.ix_(bands, rows - rows.min(), cols - cols.min())])

    data = LazyArray(picture.shape, np.uint16, fetch).as_variable_data()
    return xr.DataArray(
        xr.Variable(("band", "y", "x"), data),
        coords={
            "band": np.arange(1, picture.shape[0] + 1),
            "wavelength": ("band", picture.sensor.bands.wavelength),
            "fwhm": ("band", picture.sensor.bands.fwhm),
        },
        attrs={"units": "radiance, µW cm⁻² nm⁻¹ sr⁻¹ × 500 + 1000"},
    )
