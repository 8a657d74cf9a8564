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
_IMPOSSIBLE_COST = 1e15
"""Cost of a pair that may not match."""
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
                f"The model's {name} do not have one entry for each band; train it again."
            )
    return model


def _match_by_number(model: ModelCard, present: list[int]) -> list[int]:
    """Return the position in the scene of each band of the model, by its number."""
    numbers = model.bands or []
    missing = sorted(set(numbers) - set(present))
    if missing:
        centres = _as_floats(model.wavelengths, len(numbers))
        lacking = centres[[numbers.index(number) for number in missing]]
        lacks = _format_band_numbers(missing) + _format_range(lacking)
        raise _missing_bands(len(numbers), len(present), lacks)
    positions = {number: at for at, number in reversed(list(enumerate(present)))}
    return [positions[number] for number in numbers]


def _match_by_wavelength(model: ModelCard, present: Ints, scene: Floats) -> list[int]:
    """Return the position in the scene of each band of the model, by its wavelength.

    It is the assignment with the smallest sum of squared distances, which keeps two
    overlapping detectors in order when all wavelengths are shifted a little.
    """
    from scipy.optimize import linear_sum_assignment

    numbers = np.asarray(model.bands)
    centres = _as_floats(model.wavelengths, len(numbers))
    if np.array_equal(numbers, present) and np.array_equal(centres, scene):
        return list(range(len(numbers)))
    if len(numbers) * len(scene) > _MAX_PAIRS:
        raise ModelError(
            f"{len(numbers):,} bands of a model and {len(scene):,} of a scene are too many to "
            "match by wavelength; keep the bands that the model was trained on."
        )
    widths = _as_floats(model.fwhm, len(numbers))
    # no band is wider than its own wavelength, whatever a card states
    tolerance = np.fmax(_TOLERANCE, np.minimum(widths, centres) / 2) * _ROUNDING
    distances = np.abs(centres[:, None] - scene)
    unknown, same_number = ~np.isfinite(distances), numbers[:, None] == present
    possible = np.where(unknown, same_number, distances <= tolerance[:, None])
    costs = np.where(unknown, _UNKNOWN_COST, distances**2)
    costs += np.where(same_number, 0.0, _OTHER_NUMBER_COST)
    costs[~possible] = _IMPOSSIBLE_COST
    rows, columns = linear_sum_assignment(costs)
    missing = np.setdiff1d(np.arange(len(numbers)), rows[possible[rows, columns]])
    if len(missing):
        lacks = _describe_missing(numbers, centres, scene, missing)
        raise _missing_bands(len(numbers), len(present), lacks)
    positions: list[int] = columns.tolist()
    return positions


def _missing_bands(n_model: int, n_scene: int, lacks: str) -> ModelError:
    return ModelError(
        f"The model was trained on {counted(n_model, 'band')} and the scene has {n_scene}; it "
        f"lacks {lacks}; give an image of the same sensor with all its bands."
    )


def _describe_missing(
    numbers: Ints, centres: Floats, scene: Floats, missing: Indices
) -> str:
    """Name the bands that a scene lacks, and how far away the nearest ones are."""
    details = [
        _describe_nearest(int(numbers[at]), centres[at], scene)
        for at in missing[:_MAX_DETAILS]
    ]
    if len(missing) <= _MAX_DETAILS:
        return ", ".join(details)
    bands = _format_band_numbers(sorted(numbers[missing].tolist()))
    return f"{bands}{_format_range(centres[missing])}, such as {details[0]}"


def _describe_nearest(number: int, centre: float, scene: Floats) -> str:
    """Name a band with its wavelength and the nearest one of a scene."""
    known = scene[np.isfinite(scene)]
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


def _check_features(
    model: ModelCard, names: Sequence[str] | None, has_wavelengths: bool
) -> None:
    """Refuse features for a model on bands, and bands for a model on features."""
    trained_on_features, on_features = (
        any(map(_FEATURE_NAME.match, each or ())) for each in (model.band_names, names)
    )
    if trained_on_features and not on_features:
        found = "bands with wavelengths" if has_wavelengths else "bands not named so"
        raise ModelError(
            f"The model was trained on features ({_shorten_names(model.band_names)}) and the "
            f"scene has {found}; give the stack that hypercover features makes of it."
        )
    # a card of an early release has no band names, but wavelengths are a sign of bands
    on_bands = "band_names" in model.model_fields_set or model.wavelengths is not None
    if on_features and not trained_on_features and on_bands:
        raise ModelError(
            "The model was trained on bands and the scene is a stack of features "
            f"({_shorten_names(names)}); give the image itself."
        )


def _check_names(model: ModelCard, names: list[str]) -> None:
    """Refuse other names than the model's, unless its wavelengths are known."""
    if model.band_names is None or model.wavelengths is not None:
        return
    differences = [
        f"{own[:_MAX_TEXT]!r} but {other[:_MAX_TEXT]!r} in the scene"
        for own, other in zip(model.band_names, names, strict=True)
        if own.strip().casefold() != other.strip().casefold()
    ]
    if differences:
        listed, rest = ", ".join(differences[:_MAX_NAMES]), len(differences) - _MAX_NAMES
        more = f" and {counted(rest, 'band')} more" if rest > 0 else ""
        raise ModelError(
            f"The model was trained on bands of other names: {listed}{more}; give an image "
            "with the same bands in the same order."
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
    runs = np.split(numbers, np.flatnonzero(np.diff(numbers) > 1) + 1)
    parts = [str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs]
    return f"{'band' if len(numbers) == 1 else 'bands'} {', '.join(parts)}"
