"""What is said of the pictures that the page shows."""

from collections.abc import Iterable

__all__ = ["COMPOSITES", "bands_words", "thinned_words"]

COMPOSITES = {
    "true": "true colour",
    "infrared": "false colour, near infrared",
    "shortwave": "false colour, short-wave infrared",
    "spread": "false colour",
    "grey": "one band in grey",
}
"""Names of the composites by the keys they are kept under."""
_ENDS = {1: "st", 2: "nd", 3: "rd"}


def ordinal(number: int) -> str:
    """Return a number as its place in a row.

    Examples
    --------
    >>> [ordinal(number) for number in (2, 3, 4, 11, 12, 21)]
    ['2nd', '3rd', '4th', '11th', '12th', '21st']
    """
    teen = number % 100 in (11, 12, 13)
    return f"{number}{'th' if teen else _ENDS.get(number % 10, 'th')}"


def bands_words(key: str, bands: Iterable[float], in_nm: bool) -> str:
    """Name a colour picture and the bands it is made of.

    Examples
    --------
    >>> bands_words("true", [655.2, 560.0, 450.0], True)
    'true colour (655, 560, 450 nm)'
    >>> bands_words("grey", [1.0, 1.0, 1.0], False)
    'one band in grey (band 1)'
    """
    names = [f"{float(band):.0f}" for band in bands]
    listed = names[0] if key == "grey" else ", ".join(names)
    several = "band" if key == "grey" else "bands"
    shown = f"{listed} nm" if in_nm else f"{several} {listed}"
    return f"{COMPOSITES.get(key, 'picture')} ({shown})"


def thinned_words(shape: tuple[int, int], step: int, spectra_step: int) -> str:
    """Say which pixels of a scene are shown, and which have a spectrum; nothing if all.

    Examples
    --------
    >>> thinned_words((145, 145), 1, 1)
    ''
    >>> thinned_words((1417, 617), 2, 8)
    'The scene has 1,417 × 617 pixels; every 2nd pixel of every 2nd row is shown. Spectra are kept of every 8th pixel of every 8th row.'
    """
    size = f"The scene has {shape[0]:,} × {shape[1]:,} pixels"
    said = []
    if step > 1:
        each = ordinal(step)
        said.append(f"{size}; every {each} pixel of every {each} row is shown.")
    if spectra_step > 1:
        each = ordinal(spectra_step)
        said.append(f"Spectra are kept of every {each} pixel of every {each} row.")
    return " ".join(said)
