"""Numbers and grid-search results as text, the same in tables, reports and figures."""

from collections.abc import Mapping, Sequence
from typing import Any


def format_percent(share: float | None, digits: int = 1) -> str:
    """Return a fraction as a percentage, never rounded up to 100 or down to 0.

    Examples
    --------
    >>> format_percent(0.6534), format_percent(1.0), format_percent(0.99999), format_percent(1e-6), format_percent(None)
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


def format_interval(interval: tuple[float, float] | None, digits: int = 1) -> str:
    """Return the ends of an interval of fractions as percentages.

    Examples
    --------
    >>> format_interval((0.681, 0.7894)), format_interval(None)
    ('[68.1, 78.9]', '')
    """
    if interval is None:
        return ""
    low, high = (f"{100 * end:.{digits}f}" for end in interval)
    return f"[{low}, {high}]"


def describe_too_few(units: int, unit: str) -> str:
    """Return why there are too few sampling units for an interval.

    Examples
    --------
    >>> describe_too_few(4, "fields")
    'too few to judge: the test pixels are in 4 fields only'
    """
    where = f"{units} {unit} only" if units > 1 else "a single sampling unit"
    return f"too few to judge: the test pixels are in {where}"


def describe_share(share: float | None) -> str:
    """Return a fraction for running text: "no", "all", "90 % of the".

    Examples
    --------
    >>> describe_share(0.0), describe_share(1.0), describe_share(0.904), describe_share(0.999)
    ('no', 'all', '90 % of the', 'more than 99 % of the')
    """
    if share is None:
        return "an unknown share of the"
    if share in (0.0, 1.0):
        return "all" if share else "no"
    text = format_percent(share, 0).replace("> ", "more than ").replace("< ", "less than ")
    return f"{text} % of the"


def format_count(count: float | None) -> str:
    """Return a count with thousands separators; means over seeds keep a decimal.

    Examples
    --------
    >>> format_count(9671), format_count(12.5), format_count(None)
    ('9,671', '12.5', '–')
    """
    if count is None:
        return "–"
    return f"{count:,.0f}" if float(count).is_integer() else f"{count:,.1f}"


def format_duration(seconds: float | None) -> str:
    """Return a duration in a suitable unit.

    Examples
    --------
    >>> format_duration(0.0123), format_duration(8.24), format_duration(75), format_duration(7300)
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


Table = Mapping[str, Any]


def format_cell(accuracy: float | None, minutes: float | None) -> str:
    """Return a cell of a grid as in the lecture: accuracy in %, minutes in brackets.

    Examples
    --------
    >>> format_cell(0.77, 14.41), format_cell(0.8234, 0.00312), format_cell(None, None)
    ('77.00 (14.41)', '82.34 (<0.01)', '')
    """
    if accuracy is None or minutes is None:
        return ""
    return f"{100 * accuracy:.2f} ({format_minutes(minutes)})"


def format_minutes(minutes: float) -> str:
    """Return minutes with two decimals, or ``<0.01``."""
    return f"{minutes:.2f}" if minutes >= 0.005 else "<0.01"


def format_gamma(gamma: float, scale: float | None) -> str:
    """Return a gamma, with the multiple of scikit-learn's ``scale`` if it was given so.

    Examples
    --------
    >>> format_gamma(0.00125, 0.25), format_gamma(8.0, None)
    ('0.00125 (scale × 0.25)', '8')
    """
    return f"{gamma:.4g}" + ("" if scale is None else f" (scale × {scale:g})")


def describe_folds(table: Table) -> str:
    """Describe the folds of a grid search.

    Examples
    --------
    >>> describe_folds({"kind": "random", "settings": {"n": 10}, "folds": [{}] * 10})
    '10 random folds'
    """
    settings, count = table["settings"], len(table["folds"])
    size, guard = settings.get("size"), settings.get("guard")
    if table["kind"] == "blocks":
        return f"{count} folds by blocks of {size} px with a guard of {guard} px"
    if table["kind"] == "clusters":
        return f"{count} folds by clusters with a guard of {guard} px"
    return f"{count} random folds"


def describe_best_cell(table: Table) -> str:
    """Describe the best cell of a grid."""
    best = table["best"]
    if best is None:
        return "no cell is finished"
    where = f"C = {best['C']:g}, gamma = {format_gamma(best['gamma'], best['scale'])}"
    return f"{100 * best['accuracy']:.2f} % with {where}"


def suggest_wider_grid(table: Table) -> list[str]:
    """Suggest how to widen a grid whose best cell is on its edge, in one sentence.

    An axis with one value has no edge, and if the next cell inwards is as good, nothing
    would be gained beyond.

    Examples
    --------
    >>> best = {"row": 0, "column": 1, "C": 10, "gamma": 0.1}
    >>> grid = {"C": [1, 10], "gamma": [0.1, 1], "accuracy": [[0.7, 0.9], [0.6, 0.8]]}
    >>> suggest_wider_grid(grid | {"best": best})
    ['The best cell is on the edge of the grid; try larger C and smaller gamma.']
    >>> suggest_wider_grid(grid | {"best": best, "accuracy": [[0.9, 0.9], [0.6, 0.8]]})
    ['The best cell is on the edge of the grid; try smaller gamma.']
    """
    best = table["best"]
    if not best:
        return []
    across = table["accuracy"][best["row"]]
    down = [row[best["column"]] for row in table["accuracy"]]
    ways = [
        *_direction_beyond("C", table["C"], across, best["column"]),
        *_direction_beyond("gamma", table["gamma"], down, best["row"]),
    ]
    tip = f"The best cell is on the edge of the grid; try {' and '.join(ways)}."
    return [tip] if ways else []


def _direction_beyond(
    name: str, values: Sequence[float], shares: Sequence[float | None], place: int
) -> list[str]:
    """Return in which direction to extend an axis whose best value is its last."""
    rising = sorted(range(len(values)), key=lambda at: values[at])
    for way, (last, *inwards) in (("smaller", rising), ("larger", rising[::-1])):
        if place == last and inwards and shares[inwards[0]] != shares[place]:
            return [f"{way} {name}"]
    return []


def describe_choice(table: Table) -> str:
    """Describe what a run chose by cross-validation on its training pixels.

    Examples
    --------
    >>> best = {"C": 10.0, "gamma": 0.05, "scale": None, "accuracy": 0.9}
    >>> folds = {"kind": "random", "settings": {}, "folds": [{}] * 5}
    >>> describe_choice({"searched": ["C"], "best": best, **folds})
    'C = 10, 90.00 % right in 5 random folds of training pixels'
    """
    best = table["best"]
    right = f"{100 * best['accuracy']:.2f} % right"
    chosen = _chosen(best, table["searched"])
    return f"{chosen}, {right} in {describe_folds(table)} of training pixels"


def describe_seed_choices(table: Table) -> list[str]:
    """Describe what each seed of a model chose, in one sentence.

    Examples
    --------
    >>> ten, one = ({"C": c, "gamma": 0.05, "scale": None} for c in (10.0, 1.0))
    >>> choices = [{"seed": 0, **ten}, {"seed": 1, **one}, {"seed": 2, **ten}]
    >>> describe_seed_choices({"searched": ["C"], "choices": choices})
    ['Each of 3 seeds chose its own: C = 10 (seeds 0, 2); C = 1 (seed 1).']
    >>> describe_seed_choices({"searched": ["C"]})
    []
    """
    choices = table.get("choices") or []
    if len(choices) < 2:
        return []
    seeds: dict[str, list[str]] = {}
    for choice in choices:
        chosen = _chosen(choice, table["searched"])
        seeds.setdefault(chosen, []).append(str(choice["seed"]))
    text = "; ".join(
        f"{chosen} ({'seed' if len(own) == 1 else 'seeds'} {', '.join(own)})"
        for chosen, own in seeds.items()
    )
    return [f"Each of {len(choices)} seeds chose its own: {text}."]


def _chosen(choice: Mapping[str, Any], searched: Sequence[str]) -> str:
    """Return the searched parameters with their chosen values."""
    values = {
        "C": f"C = {choice['C']:g}",
        "gamma": f"gamma = {format_gamma(choice['gamma'], choice['scale'])}",
    }
    return " and ".join(values[name] for name in searched)


_MIN_SPEED_UP = 0.8
"""Below this speed-up, most of the time was overhead."""


def describe_speed(table: Table) -> str:
    """Describe serial time, wall time and speed-up of a grid search.

    Examples
    --------
    >>> describe_speed({"serial_seconds": 90, "wall_seconds": 45, "speed_up": 2})
    'serial sum 1.50 min, wall time 45.00 s, speed-up 2.0'
    >>> describe_speed({"serial_seconds": 1, "wall_seconds": 4, "speed_up": 0.25})
    'serial sum 1.00 s, wall time 4.00 s, too small to gain from more cores'
    """
    serial, wall = _time(table["serial_seconds"]), _time(table["wall_seconds"])
    speed = table["speed_up"]
    gain = "" if speed is None else f", speed-up {speed:.1f}"
    if speed is not None and speed < _MIN_SPEED_UP:
        gain = ", too small to gain from more cores"
    return f"serial sum {serial}, wall time {wall}{gain}"


def _time(seconds: float) -> str:
    return f"{seconds / 60:.2f} min" if seconds >= 60 else f"{seconds:.2f} s"


def describe_accuracy_drop(tables: Sequence[Table]) -> list[str]:
    """Describe for each model how its accuracy falls from random to guarded folds.

    The accuracy of the random winner under guarded folds is included if the grids are
    the same.
    """
    free = {table["model"]: table for table in tables[::-1] if table["kind"] == "random"}
    return [
        _accuracy_drop(free[table["model"]], table)
        for table in tables
        if table["kind"] != "random" and table["model"] in free
        if table["best"] and free[table["model"]]["best"]
    ]


def _accuracy_drop(free: Table, guarded: Table) -> str:
    before, after = free["best"]["accuracy"], guarded["best"]["accuracy"]
    way = "falls" if before >= after else "rises"
    return (
        f"{guarded['model']}: from random folds to {guarded['kind']} the best cell {way} by "
        f"{abs(100 * (before - after)):.1f} points, from {100 * before:.2f} to "
        f"{100 * after:.2f} %{_winner_elsewhere(free, guarded)}."
    )


def _winner_elsewhere(free: Table, guarded: Table) -> str:
    """Return the accuracy of the random winner under guarded folds."""
    row, column = free["best"]["row"], free["best"]["column"]
    if (row, column) == (guarded["best"]["row"], guarded["best"]["column"]):
        return "; it is the same cell"
    if (len(free["gamma"]), free["C"]) != (len(guarded["gamma"]), guarded["C"]):
        return ""
    share = guarded["accuracy"][row][column]
    elsewhere = f"; the best cell of random folds has {100 * (share or 0):.2f} % there"
    return "" if share is None else elsewhere


def best_cell_options(table: Table) -> str:
    """Return the options of ``hypercover run`` that set the best cell.

    Examples
    --------
    >>> best_cell_options({"model": "svm", "best": {"C": 100.0, "gamma": 0.005}})
    '--set models.svm.C=100 --set models.svm.gamma=0.005'
    """
    best, model = table["best"], f"models.{table['model']}"
    return f"--set {model}.C={best['C']:.12g} --set {model}.gamma={best['gamma']:.12g}"
