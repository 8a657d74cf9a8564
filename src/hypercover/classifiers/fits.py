"""Whether a model fits a scene: the bands it was trained on must be there."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from hypercover.errors import ModelError, counted

__all__ = ["check_scene_fits"]

_CLOSE = 1.0
"""Wavelengths at most this far apart (nm) are the same, whatever the band's width."""
_MOST_NAMED = 8
_FEATURE = re.compile(r"(?:k?pca|mnf)\d+\b|.* (?:area|std|inertia)<")
"""What the names of image features begin with; no sensor calls its bands so."""
_MOST_TEXT = 40
_TOO_MANY = 1_000_000


def check_scene_fits(
    card: dict[str, Any],
    bands: npt.ArrayLike,
    wavelengths: npt.ArrayLike | None,
    names: Sequence[str] | None = None,
) -> list[int] | None:
    """Return which of a scene's bands a model wants, or say why they do not fit.

    Why it exists: a model given other bands answers without complaint, and
    wrongly.  A band fits if its number is the same and, where both sides know
    wavelengths, its centre is no farther away than 1 nm or half the width
    (FWHM) of the band, whichever is more.  Names decide where one side is a
    stack of image features, which have no wavelengths: then they must be the same,
    and also where neither side has wavelengths to go by.

    Parameters
    ----------
    card : dict
        The card of a model, with ``bands`` and, where known, ``wavelengths``
        and ``fwhm`` (nm) and ``band_names``.
    bands : array (band,)
        Numbers of the scene's bands.
    wavelengths : array (band,) or None
        Centres of the scene's bands in nm.
    names : sequence of str (band,) or None
        Names of the scene's bands, where they have some.

    Returns
    -------
    list of int or None
        Positions (from 0) of the model's bands in the scene, in the model's
        order; None if they are the scene's bands as they stand.

    Raises
    ------
    ModelError
        If bands are missing, lie elsewhere in the spectrum or are other features;
        they are named.

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
    _check_kind(card, names, wavelengths is not None)
    present = np.asarray(bands, dtype=np.int64).tolist()
    places = {number: place for place, number in reversed(list(enumerate(present)))}
    _check_present(card, wanted, present)
    positions = [places[number] for number in wanted]
    if wavelengths is not None and card.get("wavelengths") is not None:
        there = np.asarray(wavelengths, dtype=np.float64)[positions]
        _check_wavelengths(card, wanted, there)
    elif names is not None:
        _check_names(card, [names[place] for place in positions])
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


def _names(card: dict[str, Any]) -> list[str] | None:
    """Return the names of a card, one for each of its bands."""
    names = card.get("band_names")
    if names is None:
        return None
    if (
        not isinstance(names, list)
        or len(names) != len(card["bands"])
        or not all(isinstance(name, str) for name in names)
    ):
        raise ModelError(
            "The model's band_names are not one name for each of its bands; train it again."
        )
    return names


def _are_features(names: Sequence[str] | None) -> bool:
    return names is not None and any(_FEATURE.match(name) for name in names)


def _check_kind(card: dict[str, Any], names: Sequence[str] | None, known: bool) -> None:
    """Refuse features to a model on bands, and bands to a model on features."""
    trained = _names(card)
    if _are_features(trained) and not _are_features(names):
        raise ModelError(
            f"The model was trained on features ({_shortened(trained)}) and the scene has "
            f"{'bands with wavelengths' if known else 'bands that are not named so'}; give "
            "the stack that hypercover features makes of it."
        )
    # A card of an earlier version names no band, but its wavelengths tell.
    measured = "band_names" in card or card.get("wavelengths") is not None
    if _are_features(names) and not _are_features(trained) and measured:
        raise ModelError(
            f"The model was trained on bands of an image and the scene is a stack of features "
            f"({_shortened(names)}); give the image itself."
        )


def _check_names(card: dict[str, Any], there: list[str]) -> None:
    """Refuse other names than the model's, where there is nothing else to go by."""
    trained = _names(card)
    if trained is None or card.get("wavelengths") is not None:
        return
    apart = [
        f"{own[:_MOST_TEXT]!r} but {other[:_MOST_TEXT]!r} in the scene"
        for own, other in zip(trained, there, strict=True)
        if own.strip().casefold() != other.strip().casefold()
    ]
    if not apart:
        return
    rest = len(apart) - _MOST_NAMED
    raise ModelError(
        f"The model was trained on bands of other names: {', '.join(apart[:_MOST_NAMED])}"
        f"{_and_more(rest)}; give an image with the same "
        "bands in the same order."
    )


def _shortened(names: Sequence[str] | None) -> str:
    """Write the first of some names."""
    first = ", ".join(name[:_MOST_TEXT] for name in (names or ())[:3])
    return f"{first} …" if len(names or ()) > 3 else first


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
        f"The model was trained on {counted(len(wanted), 'band')} and the scene has {len(present)}; "
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
        f"{_and_more(rest)}; give an image of the same sensor."
    )


def _and_more(rest: int) -> str:
    return f" and {counted(rest, 'band')} more" if rest > 0 else ""


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
