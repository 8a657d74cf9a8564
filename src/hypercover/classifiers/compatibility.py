"""Whether a model fits a scene: the bands it was trained on must be there."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from hypercover.errors import ModelError, counted

__all__ = ["match_bands"]

_CLOSE = 1.0
"""Wavelengths at most this far apart (nm) are the same, whatever the band's width."""
_ROUNDING = 1 + 1e-9
"""What a band at the very edge of the tolerance is given for rounding."""
_OTHER_NUMBER = 1e-6
"""Cost in nm² of a band of another number: it decides between bands that are as near."""
_UNKNOWN = 1e9
"""Cost of a pair of which one wavelength is not known: any other is taken before it."""
_MOST_PAIRS = 20_000_000
_MOST_NAMED, _FEW = 8, 3
_FEATURE = re.compile(r"(?:k?pca|mnf)\d+\b|.* (?:area|std|inertia)<")
"""What the names of image features begin with; no sensor calls its bands so."""
_MOST_TEXT = 40
_TOO_MANY = 1_000_000


def match_bands(
    card: dict[str, Any],
    bands: npt.ArrayLike,
    wavelengths: npt.ArrayLike | None,
    names: Sequence[str] | None = None,
) -> list[int] | None:
    """Return which of a scene's bands a model wants, or say why they do not fit.

    Why it exists: a model given other bands answers without complaint, and
    wrongly.  Where both sides know wavelengths, each band of the model gets the band
    of the scene whose centre is nearest, no farther away than 1 nm or half the width
    (FWHM) of the band, whichever is more; numbers, which another subset or another
    order of the same bands changes, decide only between bands that are as near, and
    for bands whose wavelength is not known.  Names decide where one side is a
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
    >>> match_bands(card, [1, 2, 3], [400.0, 410.0, 420.3])
    [0, 2]
    >>> match_bands(card, [1, 2], [420.0, 400.0])
    [1, 0]
    >>> match_bands(card, [1, 2], [400.0, 410.0])
    Traceback (most recent call last):
        ...
    hypercover.errors.ModelError: The model was trained on 2 bands and the scene has 2; it lacks band 3 (420 nm, nearest in the scene 410 nm); give an image of the same sensor with all its bands.
    """
    wanted = _numbers(card)
    _check_kind(card, names, wavelengths is not None)
    present = np.asarray(bands, dtype=np.int64)
    centres = _along_bands(card, "wavelengths")
    if wavelengths is not None and centres is not None:
        there = np.asarray(wavelengths, dtype=np.float64)
        positions = _by_wavelength(card, centres, present, there)
    else:
        _check_present(card, wanted, present.tolist())
        places = {number: place for place, number in reversed(list(enumerate(present)))}
        positions = [places[number] for number in wanted]
        if names is not None:
            _check_names(card, [names[place] for place in positions])
    return None if positions == list(range(len(present))) else positions


def _by_wavelength(
    card: dict[str, Any],
    centres: npt.NDArray[np.float64],
    present: npt.NDArray[np.int64],
    there: npt.NDArray[np.float64],
) -> list[int]:
    """Return the position in the scene of each band of the model, by wavelength."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import (
        maximum_bipartite_matching,
        min_weight_full_bipartite_matching,
    )

    wanted = np.asarray(card["bands"])
    ours, theirs = _candidates(card, centres, there)
    apart = np.abs(centres[ours] - there[theirs])
    # A wavelength that is not known leaves the number to go by.
    unknown = ~np.isfinite(centres[ours]) | ~np.isfinite(there[theirs])
    same = wanted[ours] == present[theirs]
    possible = same | ~unknown
    # Squares keep two rows of bands that overlap in order when all are shifted a little.
    costs = 1 + np.where(unknown, _UNKNOWN, apart**2) + np.where(same, 0.0, _OTHER_NUMBER)
    graph = coo_array(
        (costs[possible], (ours[possible], theirs[possible])),
        shape=(len(wanted), len(present)),
    ).tocsr()
    found = maximum_bipartite_matching(graph, perm_type="column")
    if (found < 0).any():
        raise ModelError(
            _missing_bands_message(card, centres, there, np.flatnonzero(found < 0))
        )
    rows, columns = min_weight_full_bipartite_matching(graph)
    matched: list[int] = columns[np.argsort(rows)].tolist()
    return matched


def _candidates(
    card: dict[str, Any],
    centres: npt.NDArray[np.float64],
    there: npt.NDArray[np.float64],
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Return pairs of a model's band and a scene's band that may be the same."""
    allowed = np.full(len(centres), _CLOSE)
    widths = _along_bands(card, "fwhm")
    if widths is not None:
        # No band is wider than its own wavelength, whatever a card says.
        allowed = np.fmax(allowed, np.fmin(widths, centres) / 2)
    order = np.argsort(there, kind="stable")
    known = order[np.isfinite(there[order])]
    first = np.searchsorted(there[known], centres - allowed * _ROUNDING, side="left")
    stop = np.searchsorted(there[known], centres + allowed * _ROUNDING, side="right")
    counts = np.where(np.isfinite(centres), np.maximum(stop - first, 0), 0)
    blind = np.flatnonzero(~np.isfinite(centres))
    dark = np.flatnonzero(~np.isfinite(there))
    if counts.sum() + len(blind) * len(there) + len(dark) * len(centres) > _MOST_PAIRS:
        raise ModelError(
            "The bands of the model lie so close together that no wavelength tells them "
            "apart; train it again on an image with the widths (FWHM) of its bands."
        )
    ours = np.repeat(np.arange(len(centres)), counts)
    steps = np.arange(len(ours)) - np.repeat(np.cumsum(counts) - counts, counts)
    near = known[np.repeat(first, counts) + steps]
    seen = np.setdiff1d(np.arange(len(centres)), blind)
    return (
        np.concatenate([ours, np.repeat(blind, len(there)), np.repeat(seen, len(dark))]),
        np.concatenate([near, np.tile(np.arange(len(there)), len(blind)),
                        np.tile(dark, len(seen))]),
    )  # fmt: skip


def _missing_bands_message(
    card: dict[str, Any],
    centres: npt.NDArray[np.float64],
    there: npt.NDArray[np.float64],
    lost: npt.NDArray[np.intp],
) -> str:
    """Say which bands of the model a scene lacks, and how far away the nearest are."""
    numbers = [card["bands"][at] for at in lost]
    told = [
        _describe_nearest(card["bands"][at], centres[at], there)
        for at in lost[:_FEW].tolist()
    ]
    what = ", ".join(told)
    if len(lost) > _FEW:
        reach = centres[lost][np.isfinite(centres[lost])]
        what = f"{_format_band_numbers(sorted(numbers))}{_format_range(reach)}, such as {told[0]}"
    return (
        f"The model was trained on {counted(len(centres), 'band')} and the scene has "
        f"{len(there)}; it lacks {what}; give an image of the same sensor with all its bands."
    )


def _describe_nearest(number: int, centre: float, there: npt.NDArray[np.float64]) -> str:
    """Name a band with its wavelength and the nearest one of a scene."""
    known = there[np.isfinite(there)]
    if not len(known) or not np.isfinite(centre):
        return f"band {number}"
    nearest = float(known[np.abs(known - centre).argmin()])
    if nearest == centre:
        return f"band {number} ({centre:g} nm, which another band of the model takes)"
    own, other = format_distinct(float(centre), nearest)
    return f"band {number} ({own} nm, nearest in the scene {other} nm)"


def _format_range(centres: npt.NDArray[np.float64]) -> str:
    """Write the range of some wavelengths, with a space before it."""
    if not len(centres):
        return ""
    low, high = format_distinct(float(centres.min()), float(centres.max()))
    return f" ({low if centres.min() == centres.max() else f'{low}–{high}'} nm)"


def format_distinct(first: float, second: float) -> tuple[str, str]:
    """Write two numbers with enough digits to see that they differ.

    Examples
    --------
    >>> format_distinct(842.0, 843.04), format_distinct(2190.0, 2190.004)
    (('842.0', '843.0'), ('2190.000', '2190.004'))
    """
    whole = first.is_integer() and second.is_integer()
    for digits in range(0 if whole else 1, 7):
        texts = f"{first:.{digits}f}", f"{second:.{digits}f}"
        if texts[0] != texts[1]:
            return texts
    return repr(first), repr(second)


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
        where = _format_range(centres[[wanted.index(number) for number in missing]])
    raise ModelError(
        f"The model was trained on {counted(len(wanted), 'band')} and the scene has {len(present)}; "
        f"it lacks {_format_band_numbers(missing)}{where}; give the image with all its bands."
    )


def _and_more(rest: int) -> str:
    return f" and {counted(rest, 'band')} more" if rest > 0 else ""


def _format_band_numbers(numbers: list[int]) -> str:
    """Write band numbers in runs.

    Examples
    --------
    >>> _format_band_numbers([104, 105, 106, 220])
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
