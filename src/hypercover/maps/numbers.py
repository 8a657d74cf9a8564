"""Numbers as text: percentages, intervals, counts and times."""

__all__ = [
    "count_words",
    "interval_words",
    "percent",
    "seconds_words",
    "share_words",
    "too_few_words",
]


def percent(share: float | None, digits: int = 1) -> str:
    """Return a share as a percentage that is never rounded up to all or down to none.

    Examples
    --------
    >>> percent(0.6534), percent(1.0), percent(0.99999), percent(1e-6), percent(None)
    ('65.3', '100.0', '> 99.9', '< 0.1', '–')
    """
    if share is None:
        return "–"
    text = f"{100 * share:.{digits}f}"
    smallest = 10.0**-digits
    if share < 1 and text == f"{100:.{digits}f}":
        return f"> {100 - smallest:.{digits}f}"
    if share > 0 and text == f"{0:.{digits}f}":
        return f"< {smallest:.{digits}f}"
    return text


def interval_words(interval: tuple[float, float] | None, digits: int = 1) -> str:
    """Return the two ends of an interval of shares as percentages.

    Examples
    --------
    >>> interval_words((0.681, 0.7894)), interval_words(None)
    ('[68.1, 78.9]', '')
    """
    if interval is None:
        return ""
    low, high = (f"{100 * end:.{digits}f}" for end in interval)
    return f"[{low}, {high}]"


def too_few_words(units: int, unit: str) -> str:
    """Say that the pieces of land with test pixels are too few to judge a model by.

    Examples
    --------
    >>> too_few_words(4, "fields")
    'too few to judge: the test pixels lie in 4 fields alone'
    """
    where = f"{units} {unit} alone" if units > 1 else "one piece of land"
    return f"too few to judge: the test pixels lie in {where}"


def share_words(share: float | None) -> str:
    """Return a share in running text: "no", "all", "90 % of the".

    Examples
    --------
    >>> share_words(0.0), share_words(1.0), share_words(0.904), share_words(0.999)
    ('no', 'all', '90 % of the', 'more than 99 % of the')
    """
    if share is None:
        return "an unknown share of the"
    if share in (0.0, 1.0):
        return "all" if share else "no"
    said = percent(share, 0).replace("> ", "more than ").replace("< ", "less than ")
    return f"{said} % of the"


def count_words(count: float | None) -> str:
    """Return a count with thousands set apart; means over seeds keep a decimal.

    Examples
    --------
    >>> count_words(9671), count_words(12.5), count_words(None)
    ('9,671', '12.5', '–')
    """
    if count is None:
        return "–"
    return f"{count:,.0f}" if float(count).is_integer() else f"{count:,.1f}"


def seconds_words(seconds: float | None) -> str:
    """Return a time span in the unit a person would use.

    Examples
    --------
    >>> seconds_words(0.0123), seconds_words(8.24), seconds_words(75), seconds_words(7300)
    ('12 ms', '8.2 s', '1 min 15 s', '2 h 01 min')
    """
    if seconds is None:
        return "–"
    if seconds < 0.9995:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"
