"""Split files: a GeoTIFF map of parts and a JSON file that vouches for it."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rasterio.transform import Affine

from hypercover.errors import OutputError, SplitError
from hypercover.files import (
    DamageError,
    atomic,
    digest_of,
    make_folder,
    read_sealed,
    write_sealed,
)
from hypercover.samples.split import PART_COLORS, PARTS, Split
from hypercover.scene.formats.gdal import GDAL_ERRORS, create_raster, open_raster
from hypercover.scene.grid import Grid
from hypercover.scene.legend import Legend

__all__ = ["read_counts", "read_split", "write_split"]

_FORMAT = "hypercover split 1"
_MAX_PIXELS = 2**30
_MAX_JSON = 2**24
_FIELDS = {
    "format": str,
    "kind": str,
    "seed": int,
    "settings": dict,
    "window": int,
    "notes": list,
    "shape": list,
    "sha256": str,
}


def write_split(
    split: Split,
    folder: Path,
    stem: str,
    *,
    grid: Grid | None = None,
    legend: Legend | None = None,
    labels: npt.ArrayLike | None = None,
) -> None:
    """Write the map of parts, then the JSON file that names its SHA-256."""
    make_folder(folder)
    if grid is not None and grid.shape != split.shape:
        raise SplitError(
            f"The split is {split.shape[0]} × {split.shape[1]} pixels, the grid is "
            f"{grid.rows} × {grid.cols}; use the grid of the scene it was made for."
        )
    _write_map(folder / f"{stem}.tif", split, grid)
    about = {
        "format": _FORMAT,
        "kind": split.kind,
        "seed": split.seed,
        "settings": dict(split.settings),
        "window": split.window,
        "notes": list(split.notes),
        "shape": list(split.shape),
        "parts": {
            part: {"code": code, **split.part_json(part, labels)}
            for code, part in enumerate(PARTS)
        },
        "classes": [] if legend is None else legend.to_json(),
        "map_sha256": digest_of(folder / f"{stem}.tif"),
        "sha256": split.digest,
    }
    write_sealed(folder / f"{stem}.json", about)


def _write_map(path: Path, split: Split, grid: Grid | None) -> None:
    """Write the codes of the parts as a small GeoTIFF with a colour table."""
    place: dict[str, Any] = {}
    if grid is not None and grid.placed:
        place["transform"] = Affine(*grid.transform)
    if grid is not None and grid.crs:
        place["crs"] = grid.crs
    height, width = split.shape
    profile = {"height": height, "width": width, "count": 1, "dtype": "uint8"} | place
    colors = {
        PARTS.index(part): bytes.fromhex(color[1:]) for part, color in PART_COLORS.items()
    }
    with atomic(path) as draft:
        try:
            with create_raster(
                draft, driver="GTiff", compress="deflate", **profile
            ) as raster:
                # A TIFF whose pixels are there takes no colours without a complaint.
                raster.write_colormap(1, colors)
                raster.write(split.parts, 1)
                raster.update_tags(NOTES=" ".join(split.notes))
                raster.set_band_description(1, "part of the split: " + ", ".join(PARTS))
            # GDAL may be silent about a disk that fills up on closing.
            whole = np.array_equal(_read_map(draft, [height, width]), split.parts)
        except (*GDAL_ERRORS, SplitError):
            whole = False
        if not whole:
            raise OutputError(
                f"Cannot write {path}: not all of it reached the disk, perhaps because the "
                "disk is full; free some space or choose another folder."
            )


def read_split(folder: Path, stem: str) -> Split:
    """Read a split and verify that map and JSON file belong together."""
    about = _read_about(folder / f"{stem}.json")
    path = folder / f"{stem}.tif"
    parts = _read_map(path, about["shape"])
    if about.get("map_sha256", wanted := digest_of(path)) != wanted:
        raise _damaged(path, f"its SHA-256 is not that in {stem}.json")
    try:
        split = Split(
            parts,
            kind=about["kind"],
            seed=about["seed"],
            settings=about["settings"],
            window=about["window"],
            notes=tuple(map(str, about["notes"])),
        )
    except SplitError as error:
        raise _damaged(folder / f"{stem}.tif", "it holds codes of no part") from error
    if split.digest != about["sha256"]:
        raise _damaged(folder / f"{stem}.tif", f"its SHA-256 is not that in {stem}.json")
    return split


def read_counts(folder: Path, stem: str) -> dict[str, dict[int, int]]:
    """Read the pixels of each class in each part, where a split was saved with them."""
    path = folder / f"{stem}.json"
    parts = _read_about(path).get("parts", {})
    try:
        return {
            str(part): {int(code): int(n) for code, n in kept["per_class"].items() if n}
            for part, kept in parts.items()
            if "per_class" in kept
        }
    except (AttributeError, TypeError, ValueError) as error:
        raise _damaged(path, "its counts of classes are none") from error


def _damaged(path: Path, why: str) -> SplitError:
    return SplitError(f"The split file {path} cannot be used: {why}; make the split again.")


def _read_about(path: Path) -> dict[str, Any]:
    """Read the JSON file of a split and check its fields."""
    try:
        if path.stat().st_size > _MAX_JSON:
            raise _damaged(path, "it is far too large")
        about = read_sealed(path.read_bytes())
    except FileNotFoundError as error:
        raise _damaged(path, "it does not exist") from error
    except DamageError as error:
        raise _damaged(path, str(error)) from error
    except (OSError, ValueError, RecursionError) as error:
        if isinstance(error, SplitError):
            raise
        raise _damaged(path, "it is no readable JSON") from error
    fits = isinstance(about, dict) and all(
        isinstance(about.get(name), kind) for name, kind in _FIELDS.items()
    )
    if not fits or about["format"] != _FORMAT:
        raise _damaged(path, f"it is no file of the format '{_FORMAT}'")
    return dict(about)


def _read_map(path: Path, shape: list[Any]) -> npt.NDArray[np.uint8]:
    """Read the codes of the parts from a GeoTIFF of the named shape."""
    if not path.is_file():
        raise _damaged(path, "it does not exist")
    try:
        with open_raster(path, drivers=("GTiff",)) as raster:
            found = [raster.height, raster.width]
            if found != shape or raster.height * raster.width > _MAX_PIXELS:
                raise _damaged(path, f"its shape is {found} and not {shape}")
            if raster.count != 1 or raster.dtypes[0] != "uint8":
                raise _damaged(path, "it is not one band of 8-bit codes")
            return np.asarray(raster.read(1), dtype=np.uint8)
    except GDAL_ERRORS as error:
        raise _damaged(path, "it is no readable GeoTIFF") from error
