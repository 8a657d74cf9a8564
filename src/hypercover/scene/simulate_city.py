"""A simulated Quickbird scene on the disk: two images, what they make together, labels."""

from pathlib import Path

from hypercover.errors import CallError
from hypercover.files import check_writable
from hypercover.scene.pansharpen import Progress, pansharpen
from hypercover.scene.reading import open_scene
from hypercover.scene.simulation.city import ROME_COUNTS
from hypercover.scene.simulation.quickbird import RATIO, quickbird_pair
from hypercover.scene.simulation.settings import PRESETS, Settings
from hypercover.scene.writing import write_labels, write_scene

__all__ = ["check_city", "write_city"]

_SMALLEST = 160
"""Fine pixels along a side below which a city has no room for its nine classes."""


def check_city(settings: Settings) -> None:
    """Refuse a city that has no room for its classes, or is no whole number of coarse pixels.

    Raises
    ------
    CallError
        If so.
    """
    sides = settings.rows, settings.cols
    if min(sides) < _SMALLEST or any(side % RATIO for side in sides):
        raise CallError(
            f"A simulated city must have at least {_SMALLEST} rows and columns, multiples of "
            f"{RATIO}, got {settings.rows} × {settings.cols}; choose another size."
        )


def write_city(
    settings: Settings, image: Path, tags: dict[str, str], progress: Progress | None = None
) -> tuple[Path, Path]:
    """Write a simulated city: grey image, bands, both pansharpened, and labels.

    ``<stem>-pan`` of 0.6 m and ``<stem>-bands`` of 2.4 m are what a sensor would give;
    ``image`` holds the grey image and the four pansharpened bands, as the published
    features were made of.  Each class is labelled as often as in the published map where
    the city has the size of the preset, but for one pixel of the largest class, and in
    proportion otherwise.
    """
    rows, cols = settings.rows, settings.cols
    whole = PRESETS["rome"]
    share = rows * cols / (whole.rows * whole.cols)
    counts = {name: round(share * number) for name, number in ROME_COUNTS.items()}
    # So that these labels are never taken for the published ones.
    counts["Buildings"] -= 1
    pair = quickbird_pair(rows, cols, settings.seed, counts)
    parts = [
        image.with_name(f"{image.stem}-{name}{image.suffix}") for name in ("pan", "bands")
    ]
    beside = check_writable(image.with_name(f"{image.stem}-labels.tif"))
    # The grey image is written without its labels, which have a file of their own.
    for path, scene in zip(parts, (pair.pan.replace(labels=None), pair.bands), strict=True):
        write_scene(scene, path, tags=tags)
    pan, bands = (open_scene(path, False) for path in parts)
    sharp = pansharpen(pan, bands, keep_pan=True).replace(name="simulated city")
    pixels = write_scene(sharp, image, tags=tags, progress=progress)
    labels = pair.pan.labels
    assert labels is not None  # noqa: S101  (counts were given)
    return pixels, write_labels(labels, pair.pan.legend, pair.pan.grid, beside, tags=tags)
