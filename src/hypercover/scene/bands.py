"""Selection of bands by number, by wavelength and by name."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from hypercover.errors import SceneError, counted
from hypercover.scene.datasets.catalog import aviris_bands
from hypercover.scene.scene import Scene
from hypercover.scene.wavelengths import format_nm
from hypercover.types import Floats, Ints, Mask

BandSpec = str | int | Sequence[int | str]

_AVIRIS_WATER = (*range(104, 109), *range(150, 164), 220)
"""Bands of AVIRIS in 1992, of 220, that water vapour makes opaque."""
_WATER_NM = ((1350.0, 1430.0), (1800.0, 1960.0))
"""The two water vapour bands of the atmosphere, for other sensors."""
_NUMBERS = re.compile(r"(\d{1,9})(?:\s*-\s*(\d{1,9}))?")
_RANGE = re.compile(r"(\d+(?:\.\d+)?)\s*-\s*(\d+(?:\.\d+)?)\s*(nm|um|µm)")
_HOW = (
    "write band numbers such as 1-10,15, wavelengths such as 400-900nm, "
    "'water-absorption' or 'bad'"
)


@dataclass(frozen=True, eq=False)
class _Selection:
    """The bands of one part of a specification."""

    bands: Mask
    """Whether each band of the scene is selected (n_bands,)."""
    rule: str = ""
    """A note on how a name was understood."""


def select_bands(
    scene: Scene, *, keep: BandSpec | None = None, drop: BandSpec | None = None
) -> Scene:
    """Select bands of a scene.

    Parameters
    ----------
    scene : Scene
    keep, drop : str, int or sequence, optional
        Bands to keep and to drop; those in both are dropped.  Parts are separated by
        commas: numbers as in ``scene.bands`` (from 1, both ends of a range included),
        ranges of wavelengths such as ``"400-900nm"`` or ``"0.4-0.9um"``, and the names
        ``"water-absorption"`` and ``"bad"`` (bands the file marks as bad).

    Examples
    --------
    >>> import xarray as xr
    >>> scene = Scene(xr.DataArray(np.ones((5, 2, 2)), dims=("band", "y", "x")))
    >>> select_bands(scene, keep="1-3,5", drop=2).bands.tolist()
    [1, 3, 5]

    Raises
    ------
    SceneError
        If a part cannot be parsed or matches no band, or no band remains.
    """
    chosen = np.ones(scene.n_bands, dtype=bool)
    rules: list[str] = []
    for spec, keeps in ((keep, True), (drop, False)):
        if spec is None:
            continue
        selections = [_select(scene, part) for part in _parts(spec)]
        selected = np.logical_or.reduce([one.bands for one in selections])
        chosen &= selected if keeps else ~selected
        rules += [one.rule for one in selections if one.rule]
    if not chosen.any():
        raise SceneError(
            f"None of the {scene.n_bands} bands of {scene.name} remains; keep more or drop "
            "fewer."
        )
    if chosen.all():
        return scene.noting(*rules)
    note = (
        f"{int(chosen.sum())} of {scene.n_bands} bands are used; left out: "
        f"{_ranges(scene.bands[~chosen])}."
    )
    return scene.take_bands(np.flatnonzero(chosen).tolist()).noting(*rules, note)


def _ranges(numbers: Ints) -> str:
    """Format band numbers as ranges.

    Examples
    --------
    >>> _ranges(np.array([1, 2, 3, 7]))
    '1-3, 7'
    """
    runs = np.split(numbers, np.flatnonzero(np.diff(numbers) != 1) + 1)
    shown = [f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs]
    return ", ".join(shown[:40]) + (" …" if len(shown) > 40 else "")


def _parts(spec: BandSpec) -> list[str]:
    """Split a specification into its parts."""
    items = [spec] if isinstance(spec, str | int) else list(spec)
    parts = [part.strip() for item in items for part in str(item).split(",")]
    if not parts or not all(parts):
        raise SceneError(f"The specification {spec!r} contains no band; {_HOW}.")
    return parts


def _select(scene: Scene, part: str) -> _Selection:
    by_name = _BY_NAME.get(part.lower())
    if by_name is not None:
        return by_name(scene)
    numbers = _NUMBERS.fullmatch(part)
    if numbers:
        return _by_number(scene, int(numbers[1]), int(numbers[2] or numbers[1]))
    wavelengths = _RANGE.fullmatch(part.lower())
    if wavelengths:
        factor = 1.0 if wavelengths[3] == "nm" else 1e3
        low, high = (float(wavelengths[at]) * factor for at in (1, 2))
        return _by_wavelength(scene, low, high, part)
    raise SceneError(f"The bands {part!r} are not understood; {_HOW}.")


def _by_number(scene: Scene, first: int, last: int) -> _Selection:
    chosen = (scene.bands >= first) & (scene.bands <= last)
    if not chosen.any():
        numbers = str(first) if first == last else f"{first}-{last}"
        raise SceneError(
            f"{scene.name} has no band {numbers}; its bands are numbered "
            f"{scene.bands.min()} to {scene.bands.max()}."
        )
    return _Selection(chosen)


def _known_wavelengths(scene: Scene, part: str) -> Floats:
    if scene.wavelengths is None:
        raise SceneError(
            f"The bands {part!r} need wavelengths, and {scene.name} has none; select bands "
            "by number, for example 1-10,15."
        )
    return scene.wavelengths


def _by_wavelength(scene: Scene, low: float, high: float, part: str) -> _Selection:
    centres = _known_wavelengths(scene, part)
    chosen = (centres >= low) & (centres <= high)
    if not chosen.any():
        raise SceneError(
            f"{scene.name} has no band in {part}; its wavelengths range from "
            f"{format_nm(centres.min())} to {format_nm(centres.max())} nm."
        )
    return _Selection(chosen)


def _is_aviris(scene: Scene) -> bool:
    """Tell whether the band numbers are those of the 220 AVIRIS bands of 1992."""
    known = aviris_bands().wavelengths
    centres = scene.wavelengths
    if known is None or scene.bands.max() > len(known):
        return False
    if centres is None:
        return scene.n_bands == len(known)
    return bool(np.abs(known[scene.bands - 1] - centres).max() < 1.0)


def _water(scene: Scene) -> _Selection:
    if _is_aviris(scene):
        chosen = np.isin(scene.bands, _AVIRIS_WATER)
        rule = "bands 104-108, 150-163 and 220 of the 220 of AVIRIS"
    else:
        centres = _known_wavelengths(scene, "water-absorption")
        chosen = np.logical_or.reduce(
            [(centres >= low) & (centres <= high) for low, high in _WATER_NM]
        )
        rule = "wavelengths of 1350-1430 nm and 1800-1960 nm"
    here = f"{int(chosen.sum())} of them are" if chosen.any() else "none of them is"
    return _Selection(chosen, f"Water absorption means {rule}; {here} in this image.")


def _bad(scene: Scene) -> _Selection:
    count = int(scene.bad.sum())
    return _Selection(scene.bad, f"The file marks {counted(count, 'band')} as bad.")


_BY_NAME: dict[str, Callable[[Scene], _Selection]] = {
    "water-absorption": _water,
    "bad": _bad,
}
