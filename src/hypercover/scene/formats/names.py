"""Names that lie as text beside the arrays of a file: of bands and of classes."""

import re
from collections.abc import Sequence
from typing import TypedDict

import numpy as np
import xarray as xr

from hypercover.scene.formats.members import Member

__all__ = ["classes_of", "named_bands"]

_LONGEST = 200
_MOST = 70_000
_COLOR = re.compile(r"#[0-9a-fA-F]{6}")


class Classes(TypedDict, total=False):
    """Names and colours of classes by code."""

    names: dict[int, str]
    colors: dict[int, str]


def _texts(members: Sequence[Member], name: str, count: int) -> list[str]:
    """Return a list of text of this name and length; empty without one."""
    for one in members:
        fits = one.shape == (count,) and count <= _MOST
        if one.name == name and one.kind == "S" and fits:
            values = np.atleast_1d(one.values().reshape(-1))
            return [bytes(text).decode("utf-8", "replace")[:_LONGEST] for text in values]
    return []


def named_bands(cube: xr.DataArray, members: Sequence[Member]) -> xr.DataArray:
    """Return the cube with the names in ``band_name``, where there is one for each band."""
    names = _texts(members, "band_name", cube.sizes["band"])
    if not names or not all(names):
        return cube
    return cube.assign_coords(band_name=("band", np.array(names, dtype=np.str_)))


def classes_of(members: Sequence[Member], labels: Member) -> Classes:
    """Return names and colours from ``classes/code``, ``name`` and ``color`` beside labels."""
    folder = labels.name.rpartition("/")[0]
    start = f"{folder}/classes/" if folder else "classes/"
    listed = next((one for one in members if one.name == f"{start}code"), None)
    if listed is None or not listed.is_numeric or len(listed.shape) != 1:
        return {}
    if listed.shape[0] > _MOST:
        return {}
    codes = [int(code) for code in listed.values()]
    names = _texts(members, f"{start}name", len(codes))
    colors = _texts(members, f"{start}color", len(codes))
    usable = len(colors) == len(codes) and all(map(_COLOR.fullmatch, colors))
    return {
        "names": dict(zip(codes, names, strict=False)),
        "colors": dict(zip(codes, colors, strict=True)) if usable else {},
    }
