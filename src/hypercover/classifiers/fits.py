"""Whether a model fits a scene: the bands it was trained on must be there."""

from typing import Any

import numpy as np
import numpy.typing as npt

from hypercover.errors import ModelError

__all__ = ["check_scene_fits"]

_CLOSE = 1.0
"""Wavelengths at most this far apart (nm) are the same, whatever the band's width."""
_MOST_NAMED = 8
_TOO_MANY = 1_000_000


def check_scene_fits(
    card: dict[str, Any],
    bands: npt.ArrayLike,
    wavelengths: npt.ArrayLike | None,
) -> list[int] | None:
    """Return which of a scene's bands a model wants, or say why they do not fit.

    Why it exists: a model given other bands answers without complaint, and
    wrongly.  A band fits if its number is the same and, where both sides know
    wavelengths, its centre is no farther away than 1 nm or half the width
    (FWHM) of the band, whichever is more.

    Parameters
    ----------
    card : dict
        The card of a model, with ``bands`` and, where known, ``wavelengths``
        and ``fwhm`` (nm).
    bands : array (band,)
        Numbers of the scene's bands.
    wavelengths : array (band,) or None
        Centres of the scene's bands in nm.

    Returns
    -------
    list of int or None
        Positions (from 0) of the model's bands in the scene, in the model's
        order; None if they are the scene's bands as they stand.

    Raises
    ------
    ModelError
        If bands are missing or lie elsewhere in the spectrum; they are named.

    Examples
    --------
    >>> card = {"bands": [1, 3], "wavelengths": [400.0, 420.0]}
    >>> check_scene_fits(card, [1, 2, 3], [400.0, 410.0, 420.3])
    [0, 2]
    >>> check_scene_fits(card, [1, 2], [400.0, 410.0])
    Traceback (most recent call last):
        ...
    hypercover.errors.ModelError: The model was trained on 2 bands and the scene has 2; it lacks band 3 (420 nm); give the image with all its bands.
    """
    wanted = _numbers(card)
    present = np.asarray(bands, dtype=np.int64).tolist()
    places = {number: place for place, number in reversed(list(enumerate(present)))}
    _check_present(card, wanted, present)
    positions = [places[number] for number in wanted]
    if wavelengths is not None and card.get("wavelengths") is not None:
        there = np.asarray(wavelengths, dtype=np.float64)[positions]
        _check_wavelengths(card, wanted, there)
    return None if positions == list(range(len(present))) else positions


def _numbers(card: dict[str, Any]) -> list[int]:
    """Return the band numbers of a card."""
    numbers = card.get("bands")
    if (
        not isinstance(numbers, list)
        or not 0 < len(numbers) < _TOO_MANY
        or not all(type(number) is int for number in numbers)
        or len(set(numbers)) < len(numbers)
    ):
        raise ModelError(
            "The model does not say which bands it was trained on; train it again."
        )
    return numbers


def _along_bands(card: dict[str, Any], name: str) -> npt.NDArray[np.float64] | None:
    """Return the wavelengths or widths of a card, one for each of its bands."""
    values = card.get(name)
    if values is None:
        return None
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        array = np.empty(0)
    if array.shape != (len(card["bands"]),):
        raise ModelError(
            f"The model's {name} are not one number for each of its bands; train it again."
        )
    return array


def _check_present(card: dict[str, Any], wanted: list[int], present: list[int]) -> None:
    """Refuse a scene that lacks bands of the model."""
    missing = sorted(set(wanted) - set(present))
    if not missing:
        return
    centres = _along_bands(card, "wavelengths")
    where = ""
    if centres is not None:
        lost = centres[[wanted.index(number) for number in missing]]
        reach = f"{lost.min():.0f}"
        where = f" ({reach}{f'–{lost.max():.0f}' if lost.max() > lost.min() else ''} nm)"
    raise ModelError(
        f"The model was trained on {_count(len(wanted))} and the scene has {len(present)}; "
        f"it lacks {_runs(missing)}{where}; give the image with all its bands."
    )


def _check_wavelengths(
    card: dict[str, Any], wanted: list[int], there: npt.NDArray[np.float64]
) -> None:
    """Refuse a scene whose bands lie elsewhere in the spectrum."""
    centres = _along_bands(card, "wavelengths")
    widths = _along_bands(card, "fwhm")
    if centres is None:
        return
    allowed = np.full(len(wanted), _CLOSE)
    if widths is not None:
        allowed = np.fmax(allowed, widths / 2)
    # A wavelength that is not a number is unknown, which is no reason to refuse.
    apart = np.flatnonzero(np.abs(centres - there) > allowed)
    if not len(apart):
        return
    named = ", ".join(
        f"band {wanted[at]} at {centres[at]:.1f} nm but {there[at]:.1f} nm in the scene"
        for at in apart[:_MOST_NAMED]
    )
    rest = len(apart) - _MOST_NAMED
    raise ModelError(
        f"The model was trained on other wavelengths than the scene has: {named}"
        f"{f' and {_count(rest)} more' if rest > 0 else ''}; give an image of the same sensor."
    )


def _count(n_bands: int) -> str:
    return "1 band" if n_bands == 1 else f"{n_bands} bands"


def _runs(numbers: list[int]) -> str:
    """Write band numbers in runs.

    Examples
    --------
    >>> _runs([104, 105, 106, 220])
    'bands 104-106, 220'
    """
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    parts = [str(a) if a == b else f"{a}-{b}" for a, b in runs]
    return f"{'band' if len(numbers) == 1 else 'bands'} {', '.join(parts)}"
