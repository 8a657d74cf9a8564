"""Simulated scenes from a seed, for when no measured image can be distributed.

See ``docs/simulation.md`` for the models and their sources.
"""

import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.random import Generator

from hypercover.errors import CallError, OutputError
from hypercover.files import check_writable
from hypercover.memory import available_bytes
from hypercover.scene.grid import Grid, with_grid
from hypercover.scene.io import writing
from hypercover.scene.legend import Legend, class_colors
from hypercover.scene.scene import Scene
from hypercover.scene.simulation import city, land_cover, render
from hypercover.scene.simulation.land_cover import HALO, lay_out
from hypercover.scene.tiling import lazy_cube
from hypercover.types import Array, Codes, Indices, Progress

FIELD = 620.0
"""Mean area of a field in pixels (25 ha) if there is room for all classes."""
PIXEL = 20.0
"""Side of a pixel, m."""
_CORNER = (505_000.0, 4_476_000.0)
"""Easting and northing of the north-west corner: 40.4° N, 86.9° W in UTM zone 16."""
_LABELLED = (0.48, 0.36, 0.27, 0.2)
"""Shares of labelled pixels to try; the first is that of Indian Pines."""
_MOST_PIXELS = 2**26
_MOST_BANDS = 2101
_LAND_BYTES = 130
"""Peak memory per pixel of land; the cube itself is never in memory."""
_LEAST_PER_CLASS = 60
"""Pixels of land per class that two fields of each need."""


@dataclass(frozen=True)
class SimulationSettings:
    """Settings of a simulated scene."""

    rows: int = 145
    """Number of rows of 20 m."""
    cols: int = 145
    """Number of columns of 20 m."""
    bands: int = render.AVIRIS
    """Number of bands: 220 as AVIRIS in 1992, any other number at equal distances."""
    classes: int = 16
    """Number of labelled classes."""
    seed: int = 0
    """Seed of all random numbers."""
    imitates: str = ""
    """Known scene whose classes and class sizes are reproduced; empty: none."""

    def __str__(self) -> str:
        """List all settings in one line."""
        given = {name: value for name, value in asdict(self).items() if value != ""}
        return ", ".join(f"{name} {value}" for name, value in given.items())

    def check(self) -> None:
        """Refuse settings that are out of range.

        Raises
        ------
        CallError
            About the first wrong setting.
        """
        size, pixels = f"{self.rows} × {self.cols}", self.rows * self.cols
        if min(self.rows, self.cols) < 32 or pixels > _MOST_PIXELS:
            raise CallError(
                "A simulated scene must have at least 32 rows and columns and at most "
                f"{_MOST_PIXELS:,} pixels, got {size}; choose another size."
            )
        room = int(0.8 * available_bytes()) // _LAND_BYTES
        if pixels > room:
            raise CallError(
                "The land of a simulated scene is kept in memory, which has room for "
                f"{room:,} pixels now, got {size}; choose a smaller size."
            )
        covers = len(land_cover.land_covers())
        for name, least, most in (("bands", 3, _MOST_BANDS), ("classes", 2, covers)):
            if not least <= getattr(self, name) <= most:
                raise CallError(
                    f"A simulated scene must have {least} to {most} {name}, got "
                    f"{getattr(self, name)}; choose a number between."
                )
        if self.seed < 0:
            raise CallError(f"A seed must be 0 or more, got {self.seed}; use another one.")
        if pixels < _LEAST_PER_CLASS * self.classes:
            raise CallError(
                f"{self.classes} classes need at least {_LEAST_PER_CLASS * self.classes} pixels "
                f"of land, got {size}; choose fewer classes or a larger scene."
            )


PRESETS = {
    "demo": SimulationSettings(rows=128, cols=128, bands=render.AVIRIS, classes=10),
    "indian-pines-full": SimulationSettings(
        rows=1417, cols=617, bands=render.AVIRIS, classes=58, imitates="indian-pines-full"
    ),
    "rome": SimulationSettings(city.SIDE, city.SIDE, bands=5, classes=9, imitates="rome"),
}
"""Presets by name."""


def simulate(
    out: str | Path,
    *,
    rows: int = 145,
    cols: int = 145,
    bands: int = render.AVIRIS,
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
        If the settings are out of range or the preset is unknown.
    OutputError
        If the files cannot be written or the disk is too small.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     image, labels = simulate(
    ...         Path(folder) / "a.tif", rows=32, cols=40, bands=5, classes=2
    ...     )
    >>> image.name, labels.name
    ('a.tif', 'a-labels.tif')
    """
    settings = SimulationSettings(rows, cols, bands, classes, seed)
    if preset:
        if preset not in PRESETS:
            raise CallError(
                f"No simulation preset is named {preset!r}; choose one of {', '.join(PRESETS)}."
            )
        settings = replace(PRESETS[preset], seed=seed)
    return write_simulated(settings, out, progress)


def write_simulated(
    settings: SimulationSettings, out: str | Path, progress: Progress | None = None
) -> tuple[Path, Path]:
    """Write a simulated scene and its labels; see :func:`simulate`."""
    settings.check()
    image = Path(out)
    writing.check_overwrite(image)
    driver = writing.driver_for(image)
    labels_path = check_writable(image.with_name(f"{image.stem}-labels.tif"))
    _check_space(settings, image)
    tags = {"HYPERCOVER_SIMULATED": "yes", "HYPERCOVER_SIMULATION": str(settings)}
    title = {"TIFFTAG_IMAGEDESCRIPTION": "Simulated by hypercover, not measured"}
    own = tags | title if driver == "GTiff" else tags
    if settings.imitates == "rome":
        shape = settings.rows, settings.cols
        return city.write_city(shape, settings.seed, image, own, progress)
    scene, labels = _draw(settings, progress)
    pixels = writing.write_scene(scene, image, tags=own)
    return pixels, writing.write_labels(
        labels, scene.legend, scene.grid, labels_path, tags=tags | title
    )


def _check_space(settings: SimulationSettings, out: Path) -> None:
    folder = next(parent for parent in out.absolute().parents if parent.exists())
    needed = 2 * settings.rows * settings.cols * settings.bands
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise OutputError(
            f"Cannot write {out}: the disk is full. The scene needs up to {needed / 2**20:,.1f} "
            f"MiB and {free / 2**20:,.1f} MiB are free; choose a smaller scene or another folder."
        )


def simulated_scene(settings: SimulationSettings) -> Scene:
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
    return _draw(settings)[0]


def _draw(
    settings: SimulationSettings, progress: Progress | None = None
) -> tuple[Scene, Codes]:
    """Draw a scene and its labels."""
    from rasterio.crs import CRS

    land = _survey_land(settings)
    sensor = render.Sensor.over(
        render.sensor_bands(settings.bands), settings.cols, _rng(settings, 2)
    )
    texture = render.Texture.draw(land, _rng(settings, 3))
    spectra = render.endmembers(land, sensor, _rng(settings, 4))
    picture = render.SceneRenderer(
        land.parcels.number, texture, spectra, sensor, settings.seed
    )

    def read(bands: Indices, rows: slice, cols: slice) -> Array:
        if progress:
            progress(rows.stop, settings.rows)
        return np.asarray(picture.block(rows, cols)[bands])

    cube = sensor.bands.on(lazy_cube(picture.shape, np.uint16, read))
    cube.attrs["units"] = "radiance, µW cm⁻² nm⁻¹ sr⁻¹ × 500 + 1000"
    transform = (PIXEL, 0.0, _CORNER[0], 0.0, -PIXEL, _CORNER[1])
    grid = Grid(*picture.shape[1:], CRS.from_epsg(32616).to_wkt(), transform)
    labels = land.labels()[HALO:-HALO, HALO:-HALO]
    names = {code: cover.name for code, cover in enumerate(land.classes, 1)}
    scene = Scene(
        with_grid(cube, grid),
        labels=labels,
        legend=Legend.of(names, class_colors(names)).covering(labels),
        name="simulated scene",
        simulated=True,
        notes=(f"Simulated, not measured: {settings}.",),
    )
    return scene, labels


def _rng(settings: SimulationSettings, step: int) -> Generator:
    """Return the random numbers of one step, independent of the others."""
    return np.random.default_rng([settings.seed, step])


def _survey_land(settings: SimulationSettings) -> land_cover.Survey:
    """Lay out parcels, a halo wider than the image, and assign covers and labels.

    If the land is too small for the classes, less of it is labelled.
    """
    rows, cols = settings.rows + 2 * HALO, settings.cols + 2 * HALO
    field = min(FIELD, rows * cols / (5.0 * settings.classes + 6.0))
    classes = land_cover.land_covers()[: settings.classes]
    shares: tuple[float | None, ...] = _LABELLED
    if settings.imitates:
        classes, shares = land_cover.flight_line_covers(), (None,)
    for share in shares:
        parcels = lay_out(rows, cols, field, _rng(settings, 0))
        try:
            return land_cover.survey(parcels, classes, share, _rng(settings, 1))
        except land_cover.CrowdedError:
            continue
    raise CallError(
        f"{settings.classes} classes do not fit into a scene of {settings.rows} × "
        f"{settings.cols} pixels; choose fewer classes or a larger scene."
    )
