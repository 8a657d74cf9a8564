"""Matching the bands of a scene with the bands that a model was trained on."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from hypercover.classifiers.bundle import ModelCard
from hypercover.errors import ModelError, counted
from hypercover.types import Floats, Indices, Ints

_TOLERANCE = 1.0
"""Wavelengths at most this far apart (nm) match, whatever the width of the band."""
_ROUNDING = 1 + 1e-9
"""Allowance for a band at the very edge of the tolerance."""
_OTHER_NUMBER_COST = 1e-6
"""Cost in nm² of a band with another number: it decides between equally near bands."""
_UNKNOWN_COST = 1e9
"""Cost of a pair with an unknown wavelength: any other pair is preferred."""
_MAX_PAIRS = 20_000_000
_MAX_NAMES, _MAX_DETAILS = 8, 3
_FEATURE_NAME = re.compile(r"(?:k?pca|mnf)\d+\b|.* (?:area|std|inertia)<")
"""Start of the names of image features; no sensor names its bands like this."""
_MAX_TEXT = 40


def match_bands(
    card: Mapping[str, Any],
    bands: npt.ArrayLike,
    wavelengths: npt.ArrayLike | None,
    names: Sequence[str] | None = None,
) -> list[int] | None:
    """Return the position in a scene of each band that a model was trained on.

    A model given other bands predicts without complaint, and wrongly.  If both sides
    know their wavelengths, each band of the model is matched with the band of the scene
    whose centre is nearest, at most 1 nm or half the width (FWHM) of the band away,
    whichever is more.  Band numbers, which change with every subset, only decide between
    equally near bands, and for bands of unknown wavelength.  Names must be equal if one
    side is a stack of image features, and if neither side has wavelengths.

    Parameters
    ----------
    card : dict
        The card of a model, with ``bands`` and, if known, ``wavelengths``, ``fwhm`` (nm)
        and ``band_names``.
    bands : array (band,)
        Numbers of the scene's bands.
    wavelengths : array (band,) or None
        Centres of the scene's bands in nm.
    names : sequence of str (band,) or None
        Names of the scene's bands.

    Returns
    -------
    list of int or None
        Positions (from 0) of the model's bands in the scene, in the model's order; None
        if they are all bands of the scene in the same order.

    Raises
    ------
    ModelError
        If bands are missing, have other wavelengths or are other features.

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
    model = _checked_card(card)
    _check_features(model, names, wavelengths is not None)
    present = np.asarray(bands, dtype=np.int64)
    if wavelengths is not None and model.wavelengths is not None:
        centres = np.asarray(wavelengths, dtype=np.float64)
        positions = _match_by_wavelength(model, present, centres)
    else:
        positions = _match_by_number(model, present.tolist())
        if names is not None:
            _check_names(model, [names[position] for position in positions])
    return None if positions == list(range(len(present))) else positions


def _checked_card(card: Mapping[str, Any]) -> ModelCard:
    """Return a card with distinct band numbers and one entry per band."""
    model = ModelCard.check(card)
    if not model.bands or len(set(model.bands)) < len(model.bands):
        raise ModelError(
            "The model does not state which bands it was trained on; train it again."
        )
    for name in ("wavelengths", "fwhm", "band_names"):
        values = getattr(model, name)
        if values is not None and len(values) != len(model.bands):
            raise ModelError(
                f"The model's {name} do not have one entry for each of its bands; train it "
                "again."
            )
    return model


def _match_by_number(model: ModelCard, present: list[int]) -> list[int]:
    """Return the position in the scene of each band of the model, by its number."""
    numbers = model.bands or []
    missing = sorted(set(numbers) - set(present))
    if missing:
        centres = _as_floats(model.wavelengths, len(numbers))
        range_ = _format_range(centres[[numbers.index(number) for number in missing]])
        raise ModelError(
            f"The model was trained on {counted(len(numbers), 'band')} and the scene has "
            f"{len(present)}; it lacks {_format_band_numbers(missing)}{range_}; give the "
            "image with all its bands."
        )
    positions = {number: at for at, number in reversed(list(enumerate(present)))}
    return [positions[number] for number in numbers]


def _match_by_wavelength(model: ModelCard, present: Ints, theirs: Floats) -> list[int]:
    """Return the position in the scene of each band of the model, by its wavelength.

    It is the assignment with the smallest sum of squared distances, which keeps two
    overlapping detectors in order when all wavelengths are shifted a little.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import (
        maximum_bipartite_matching,
        min_weight_full_bipartite_matching,
    )

    numbers = np.asarray(model.bands)
    ours = _as_floats(model.wavelengths, len(numbers))
    widths = _as_floats(model.fwhm, len(numbers))
    own, other = _candidate_pairs(ours, widths, theirs)
    unknown = ~np.isfinite(ours[own]) | ~np.isfinite(theirs[other])
    same_number = numbers[own] == present[other]
    possible = same_number | ~unknown
    costs = 1 + np.where(unknown, _UNKNOWN_COST, np.abs(ours[own] - theirs[other]) ** 2)
    costs = costs + np.where(same_number, 0.0, _OTHER_NUMBER_COST)
    graph = coo_array(
        (costs[possible], (own[possible], other[possible])),
        shape=(len(numbers), len(present)),
    ).tocsr()
    matched = maximum_bipartite_matching(graph, perm_type="column")
    if (matched < 0).any():
        raise _missing_bands(model, ours, theirs, np.flatnonzero(matched < 0))
    rows, columns = min_weight_full_bipartite_matching(graph)
    positions: list[int] = columns[np.argsort(rows)].tolist()
    return positions


def _candidate_pairs(ours: Floats, widths: Floats, theirs: Floats) -> tuple[Indices, ...]:
    """Return the pairs of a model's band and a scene's band that may match."""
    # no band is wider than its own wavelength, whatever a card states
    tolerance = np.fmax(_TOLERANCE, np.minimum(widths, ours) / 2)
    order = np.argsort(theirs, kind="stable")
    known = order[np.isfinite(theirs[order])]
    first = np.searchsorted(theirs[known], ours - tolerance * _ROUNDING, side="left")
    stop = np.searchsorted(theirs[known], ours + tolerance * _ROUNDING, side="right")
    counts = np.where(np.isfinite(ours), np.maximum(stop - first, 0), 0)
    our_unknown = np.flatnonzero(~np.isfinite(ours))
    our_known = np.flatnonzero(np.isfinite(ours))
    their_unknown = np.flatnonzero(~np.isfinite(theirs))
    pairs = counts.sum() + len(our_unknown) * len(theirs) + len(their_unknown) * len(ours)
    if pairs > _MAX_PAIRS:
        raise ModelError(
            "The model's bands are so close together that wavelengths cannot tell them "
            "apart; train it again on an image with the widths (FWHM) of its bands."
        )
    near = np.repeat(np.arange(len(ours)), counts)
    steps = np.arange(len(near)) - np.repeat(np.cumsum(counts) - counts, counts)
    own = (near, our_unknown.repeat(len(theirs)), our_known.repeat(len(their_unknown)))
    other = (
        known[first.repeat(counts) + steps],
        np.tile(np.arange(len(theirs)), len(our_unknown)),
        np.tile(their_unknown, len(our_known)),
    )
    return np.concatenate(own), np.concatenate(other)


def _missing_bands(
    model: ModelCard, ours: Floats, theirs: Floats, missing: Indices
) -> ModelError:
    """Name the bands that a scene lacks, and how far away the nearest ones are."""
    numbers = [(model.bands or [])[at] for at in missing]
    details = [
        _describe_nearest(number, ours[at], theirs)
        for number, at in zip(numbers, missing[:_MAX_DETAILS], strict=False)
    ]
    lacks = ", ".join(details)
    if len(missing) > _MAX_DETAILS:
        bands = _format_band_numbers(sorted(numbers))
        lacks = f"{bands}{_format_range(ours[missing])}, such as {details[0]}"
    return ModelError(
        f"The model was trained on {counted(len(ours), 'band')} and the scene has "
        f"{len(theirs)}; it lacks {lacks}; give an image of the same sensor with all its "
        "bands."
    )


def _describe_nearest(number: int, centre: float, theirs: Floats) -> str:
    """Name a band with its wavelength and the nearest one of a scene."""
    known = theirs[np.isfinite(theirs)]
    if not len(known) or not np.isfinite(centre):
        return f"band {number}"
    nearest = float(known[np.abs(known - centre).argmin()])
    if nearest == centre:
        return f"band {number} ({centre:g} nm, which another band of the model takes)"
    own, other = format_distinct(float(centre), nearest)
    return f"band {number} ({own} nm, nearest in the scene {other} nm)"


def _format_range(centres: Floats) -> str:
    """Write the range of the known wavelengths, after a space."""
    known = centres[np.isfinite(centres)]
    if not len(known):
        return ""
    low, high = format_distinct(float(known.min()), float(known.max()))
    return f" ({low if known.min() == known.max() else f'{low}–{high}'} nm)"


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


def _as_floats(values: Sequence[float | None] | None, count: int) -> Floats:
    """Return one number per band; NaN where it is unknown."""
    if values is None:
        return np.full(count, np.nan)
    return np.asarray(values, dtype=np.float64)


def _are_features(names: Sequence[str] | None) -> bool:
    return names is not None and any(_FEATURE_NAME.match(name) for name in names)


def _check_features(
    model: ModelCard, names: Sequence[str] | None, known_wavelengths: bool
) -> None:
    """Refuse features for a model on bands, and bands for a model on features."""
    trained = model.band_names
    if _are_features(trained) and not _are_features(names):
        raise ModelError(
            f"The model was trained on features ({_shorten_names(trained)}) and the scene "
            f"has {'bands with wavelengths' if known_wavelengths else 'bands not named so'}"
            "; give the stack that hypercover features makes of it."
        )
    # a card of an early release has no band names, but wavelengths are a sign of bands
    on_bands = "band_names" in model.model_fields_set or model.wavelengths is not None
    if _are_features(names) and not _are_features(trained) and on_bands:
        raise ModelError(
            "The model was trained on bands of an image and the scene is a stack of "
            f"features ({_shorten_names(names)}); give the image itself."
        )


def _check_names(model: ModelCard, theirs: list[str]) -> None:
    """Refuse other names than the model's, unless its wavelengths are known."""
    if model.band_names is None or model.wavelengths is not None:
        return
    differences = [
        f"{own[:_MAX_TEXT]!r} but {other[:_MAX_TEXT]!r} in the scene"
        for own, other in zip(model.band_names, theirs, strict=True)
        if own.strip().casefold() != other.strip().casefold()
    ]
    if not differences:
        return
    rest = len(differences) - _MAX_NAMES
    more = f" and {counted(rest, 'band')} more" if rest > 0 else ""
    raise ModelError(
        "The model was trained on bands of other names: "
        f"{', '.join(differences[:_MAX_NAMES])}{more}; give an image with the same bands "
        "in the same order."
    )


def _shorten_names(names: Sequence[str] | None) -> str:
    """Write the first names."""
    first = ", ".join(name[:_MAX_TEXT] for name in (names or ())[:3])
    return f"{first} …" if len(names or ()) > 3 else first


def _format_band_numbers(numbers: list[int]) -> str:
    """Write sorted band numbers as ranges.

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
