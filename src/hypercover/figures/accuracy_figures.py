"""Figures of accuracy: classes, matrices, searches, confidence, leak gap and curves."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Unpack

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import PercentFormatter
from matplotlib.typing import LineStyleType

from hypercover.figures import canvas, formatting
from hypercover.scene.legend import Legend
from hypercover.scene.metadata import Origin, origin_label

Row = Mapping[str, Any]

_BAR, _WHISKER, _MISSING = "#56b4e9", "#20262e", "#b3470d"
_FEW = 24
"""Up to this many classes have rows of full height."""
_WIDTH, _TOP, _BELOW, _COUNTS = 1080, 96, 62, 252
"""Sizes in pixels: figure width, above and below the bars, and for the columns of counts."""


def draw_classes(
    rows: Sequence[Row],
    *,
    title: str,
    overall: float | None = None,
    interval: Row | None = None,
) -> Figure:
    """Draw the producer's accuracy of each class as a bar, the largest class on top.

    The overall accuracy mostly reflects the large classes; models usually fail in the
    small ones.  A class without test pixels has no accuracy, which is not an accuracy
    of 0.

    Parameters
    ----------
    rows : ``per_class`` of a model in ``metrics.json``
    title : name of the model
    overall : overall accuracy, drawn as a dashed line
    interval : ``interval`` of a model in ``metrics.json``, drawn as whiskers
    """
    ordered = sorted(rows, key=_pixels, reverse=True)
    names = [canvas.shorten(row["name"], 30) for row in ordered]
    line, size = (26, 9.5) if len(names) <= _FEW else (19, 8.5)
    left = 40 + round(0.82 * size * max(map(len, names), default=1))
    height = line * max(len(names), 3)
    figure = canvas.new_figure(_WIDTH, _TOP + height + _BELOW)
    axes = canvas.add_axes(figure, left, _TOP, _WIDTH - left - _COUNTS, height)
    canvas.style_axes(axes, across="producer's accuracy in %", up="")
    axes.set(xlim=(0, 100), ylim=(len(names) - 0.4, -0.6))
    axes.grid(visible=False, axis="y")
    axes.set_yticks(range(len(names)), names, fontsize=size)
    axes.tick_params(axis="y", length=0)
    whiskers = {
        row["code"]: row["producers_accuracy"]
        for row in (interval or {}).get("per_class", ())
    }
    for index, row in enumerate(ordered):
        _draw_bar(axes, index, row, whiskers.get(row["code"]), size)
    _write_counts(axes, ordered, size)
    if overall is not None:
        axes.axvline(100 * overall, color=canvas.INK, linewidth=1, linestyle="--")
    canvas.write_title(figure, title, _caption_of_classes(overall, interval))
    return figure


def _pixels(row: Row) -> float:
    """Count the pixels of a class that train and test."""
    return float((row["train_count"] or 0) + (row["test_count"] or 0))


def _draw_bar(
    axes: Axes, index: int, row: Row, whiskers: Sequence[float] | None, size: float
) -> None:
    """Draw the accuracy of a class with its interval, or the reason why it has none."""
    share = row["producers_accuracy"]
    axes.barh(index, 100 * (share or 0), height=0.72, color=_BAR)
    reason = "" if row["train_count"] else "no training pixel: never found"
    reason = "no test pixel: no accuracy" if share is None else reason
    if reason:
        note = axes.text(1, index, reason, va="center", fontsize=size)
        note.set(color=_MISSING, fontstyle="italic")
    if share is not None and whiskers is not None:
        low, high = (100 * end for end in whiskers)
        middle = min(max(100 * share, low), high)
        reach = [[middle - low], [high - middle]]
        axes.errorbar(
            middle,
            index,
            xerr=reach,
            fmt="none",
            color=_WHISKER,
            elinewidth=1.1,
            capsize=2.5,
        )


def _write_counts(axes: Axes, rows: Sequence[Row], size: float) -> None:
    """Write accuracy and counts of training and test pixels next to each bar."""
    columns = (
        (70, "accuracy", "producers_accuracy", formatting.format_percent),
        (150, "training px", "train_count", formatting.format_count),
        (230, "test px", "test_count", formatting.format_count),
    )
    for right, title, key, text_of in columns:
        end = 1 + right / (_WIDTH * axes.get_position().width)
        axes.annotate(
            title,
            (end, 1),
            xytext=(0, 5),
            xycoords="axes fraction",
            fontsize=9,
            textcoords="offset points",
            ha="right",
            va="bottom",
            color=canvas.MUTED,
        )
        for index, row in enumerate(rows):
            text = axes.text(end, index, text_of(row[key]))
            text.set(ha="right", va="center", fontsize=size, color=canvas.INK)
            text.set_transform(axes.get_yaxis_transform())


def _caption_of_classes(overall: float | None, interval: Row | None) -> str:
    parts = ["Classes by size, training and test pixels together"]
    if overall is not None:
        parts.append(f"dashed: overall accuracy, {formatting.format_percent(overall)} %")
    if interval and any(row["producers_accuracy"] for row in interval["per_class"]):
        level = f"{100 * interval['level']:g} %"
        parts.append(f"whiskers: {level} intervals over {interval['unit']}")
    return "; ".join(parts) + "."


_TICK_NAME = 24
"""Characters of a class name next to a matrix."""
_PRINTED = 20
"""Up to this many classes have their counts printed."""


def draw_confusion(
    matrix: npt.ArrayLike,
    legend: Legend,
    title: str = "Confusion matrix",
    codes: Sequence[int] | None = None,
) -> Figure:
    """Draw a confusion matrix: rows are the reference, columns the prediction.

    The colour is the fraction of the reference class; counts are printed for up to 20
    classes.

    Parameters
    ----------
    matrix : counts (class, class)
    legend : Legend
    title : str
    codes : class code of each row; by default those of the legend
    """
    counts = np.asarray(matrix, dtype=np.float64)
    rows = list(legend.codes if codes is None else codes)
    names = [legend[code].name if code in legend else f"Class {code}" for code in rows]
    large = len(rows) <= _PRINTED
    cell, letter, size = (40, 7.4, 9) if large else (15, 5.4, 6.5)
    side = max(cell * len(rows), 240)
    letters = letter * min(max(map(len, names), default=1), _TICK_NAME)
    left, below = 50 + letters, 50 + 0.85 * letters
    figure = canvas.new_figure(round(left + side + 30), round(60 + side + below))
    across, down = left + side + 30, 60 + side + below
    axes = figure.add_axes((left / across, below / down, side / across, side / down))
    total = counts.sum(axis=1, keepdims=True)
    share = np.divide(counts, total, out=np.zeros_like(counts), where=total > 0)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    shown = [canvas.shorten(name, _TICK_NAME) for name in names]
    style: dict[str, Any] = {"fontsize": size, "color": canvas.INK}
    slanted: dict[str, Any] = {"rotation": 55, "ha": "right", "rotation_mode": "anchor"}
    axes.set_xticks(range(len(shown)), shown, **style, **slanted)
    axes.set_yticks(range(len(shown)), shown, **style)
    axes.set_xlabel("predicted", color=canvas.INK)
    axes.set_ylabel("reference", color=canvas.INK)
    canvas.outline_cells(axes, len(shown), len(shown), linewidth=0.8)
    for (row, col), count in np.ndenumerate(counts):
        if count and large:
            text = axes.text(col, row, f"{count:.0f}", ha="center", va="center", fontsize=8)
            text.set_color("white" if share[row, col] > 0.55 else canvas.INK)
    canvas.write_title(figure, title)
    return figure


_CELL_WIDTH, _CELL_HEIGHT = 108, 50
"""Size of a cell of a grid in pixels."""
_GRID_LEFT, _GRID_TOP, _GRID_RIGHT, _GRID_BELOW = 210, 100, 26, 74
"""Margins around the cells in pixels."""
_MIN_WIDTH = 620
_BEST = "#d55e00"


def draw_search(table: Row, **origin: Unpack[Origin]) -> Figure:
    """Draw a table of ``search.json``: accuracy as colour and number, the best cell framed.

    Parameters
    ----------
    table : a table written by `hypercover search`
    **origin : whether the image was measured, as ``scene.origin`` gives it, for the title
    """
    # An unfinished cell is None, which becomes NaN.
    shares = np.array(table["accuracy"], dtype=np.float64)
    rows, columns = shares.shape
    width = max(_MIN_WIDTH, _GRID_LEFT + _CELL_WIDTH * columns + _GRID_RIGHT)
    figure = canvas.new_figure(width, _GRID_TOP + _CELL_HEIGHT * rows + _GRID_BELOW)
    size = (width - _GRID_LEFT - _GRID_RIGHT, _CELL_HEIGHT * rows)
    axes = canvas.add_axes(figure, _GRID_LEFT, _GRID_TOP, *size)
    finished = shares[np.isfinite(shares)]
    low, high = finished.min(initial=1), finished.max(initial=0)
    # The colours are spread over at least five points.
    scale = Normalize(min(low, high - 0.05), high) if len(finished) else Normalize(0, 1)
    axes.imshow(shares, cmap=canvas.COLORMAP, norm=scale, aspect="auto")
    scales = table["scale"] or [None] * rows
    names = map(formatting.format_gamma, table["gamma"], scales)
    axes.set_xticks(range(columns), [f"{cost:g}" for cost in table["C"]])
    axes.set_yticks(range(rows), [name.replace(" (", "\n(") for name in names])
    axes.tick_params(labelsize=10, colors=canvas.INK)
    axes.set_xlabel("C", color=canvas.INK, fontsize=11)
    axes.set_ylabel("gamma", color=canvas.INK, fontsize=11)
    canvas.outline_cells(axes, rows, columns, linewidth=1.5)
    for (row, column), share in np.ndenumerate(shares):
        if np.isfinite(share):
            minutes = table["minutes"][row][column]
            _print_cell(axes, (row, column), share, minutes, float(scale(share)))
    if table["best"]:
        corner = (table["best"]["column"] - 0.47, table["best"]["row"] - 0.47)
        frame = Rectangle(corner, 0.94, 0.94, fill=False, edgecolor=_BEST, linewidth=3)
        axes.add_patch(frame)
    made_from = origin_label(origin)
    title = f"{table['model']}: accuracy in % (serial minutes)"
    title += f", {made_from}" if made_from else ""
    folds = f"{formatting.describe_folds(table)}; {table['scored']} held-out samples"
    speed = formatting.describe_speed(table)
    heading: dict[str, Any] = {"fontsize": 14, "fontweight": "bold"}
    canvas.write(figure, 22, 28, canvas.shorten(title, int(width / 9.88)), **heading)
    for height, line in ((54, folds), (74, speed)):
        canvas.write(
            figure, 22, height, canvas.shorten(line, int(width / 7.4)), fontsize=10
        )
    return figure


def _print_cell(
    axes: Axes, cell: tuple[int, int], share: float, minutes: float, shade: float
) -> None:
    """Print accuracy and minutes in a cell, light on dark colours."""
    red, green, blue, _ = colormaps[canvas.COLORMAP](shade)
    dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.55
    row, column = cell
    for height, text, size, weight in (
        (row - 0.13, f"{100 * share:.2f}", 11, "bold"),
        (row + 0.25, f"({formatting.format_minutes(minutes)})", 8, "normal"),
    ):
        label = axes.text(column, height, text, ha="center", va="center", fontsize=size)
        label.set(color="white" if dark else canvas.INK, fontweight=weight)


_ACCURATE = "#0072b2"
_OVER, _UNDER = ("#d55e00", "#f6cdb0"), ("#0072b2", "#c4e5f8")
"""Edge and face colours of overconfidence and underconfidence."""
_FITTED_ON = {
    None: "validation pixels",
    "validation": "validation pixels",
    "folds": "training pixels held out in turn",
}


def draw_reliability(calibration: Row, title: str) -> Figure:
    """Draw a reliability diagram: accuracy against confidence, and a histogram.

    A bar that ends on the diagonal is well calibrated; the gap to the diagonal is
    drawn as overconfidence or underconfidence.

    Parameters
    ----------
    calibration : a ``calibration`` of ``metrics.json``
    title : str
        Name of the model, with "simulated" if the scene is.
    """
    bins = [row for row in calibration["bins"] if row["count"]]
    low, high, count, confidence, right = (
        np.array([row[name] for row in bins], dtype=np.float64)
        for name in ("low", "high", "count", "confidence", "accuracy")
    )
    figure = canvas.new_figure(620, 690)
    upper = figure.add_axes((0.12, 0.29, 0.83, 0.53))
    lower = figure.add_axes((0.12, 0.08, 0.83, 0.12))
    width = 0.94 * (high - low)
    upper.bar(low, right, width, align="edge", facecolor=_ACCURATE, label="accuracy")
    gap, bottom = abs(confidence - right), np.minimum(confidence, right)
    for which, (edge, face), name in (
        (confidence > right, _OVER, "overconfident"),
        (confidence < right, _UNDER, "underconfident"),
    ):
        if which.any():
            upper.bar(
                low[which],
                gap[which],
                width[which],
                bottom[which],
                align="edge",
                label=name,
                hatch="////",
                linewidth=0.8,
                edgecolor=edge,
                facecolor=face,
            )
    upper.plot([0, 1], [0, 1], color=canvas.INK, lw=1, ls="--", label="perfect calibration")
    lower.bar(low, count / count.sum(), width, align="edge", facecolor=canvas.MUTED)
    canvas.style_axes(upper, across="confidence", up="accuracy")
    canvas.style_axes(lower, across="", up="pixels")
    for axis in (upper.xaxis, upper.yaxis, lower.xaxis, lower.yaxis):
        axis.set_major_formatter(PercentFormatter(1, 0))
    upper.set(xlim=(0, 1), ylim=(0, 1))
    lower.set_xlim(0, 1)
    # Above the axes, where it hides no bar.
    upper.legend(
        loc="lower left",
        bbox_to_anchor=(-0.01, 1.0),
        ncols=4,
        frameon=False,
        fontsize=9,
        labelcolor=canvas.INK,
        columnspacing=1.5,
    )
    canvas.write_title(
        figure, f"{title}: reliability", *_caption_of_calibration(calibration)
    )
    return figure


def _caption_of_calibration(calibration: Row) -> tuple[str, str]:
    """Describe the calibration error and the temperature."""
    error = f"calibration error {100 * calibration['error']:.1f} % on test pixels"
    temperature = calibration["temperature"]
    if temperature is None:
        few = calibration.get("proposed") is not None
        why = f": {calibration['patches']} patches of held-out pixels are too few" * few
        return error, f"the model's own confidence, not scaled{why}"
    before = f"; {100 * calibration['error_before']:.1f} % before scaling"
    return error + before, (
        f"scaled by a temperature of {temperature:.2f}, fitted on "
        f"{calibration['fitted_on']:,} {_FITTED_ON[calibration.get('by')]}"
    )


_GAP_WIDTH, _GAP_HEIGHT = 1080, 620
_GAP_LEFT, _GAP_TOP, _GAP_RIGHT, _GAP_BELOW = 84, 84, 250, 112
"""Margins around the axes in pixels; names and accuracies are on the right."""
_STEP = 0.035
"""Offset between models, so that their whiskers do not overlap."""
_STYLES: tuple[LineStyleType, ...] = ("-", "--", ":", "-.")
_TRAINING = {"loss": ("#0072b2", "#56b4e9"), "accuracy": ("#d55e00", "#e69f00")}
"""Quantities of a training, with colours for training and validation pixels."""


def draw_gap(rows: Sequence[Row], *, window: int, title: str, repeats: int = 1) -> Figure:
    """Draw the overall accuracy under each split, one line per model.

    Parameters
    ----------
    rows : the rows of the key ``gap`` of ``metrics.json``
    window : side of the windows, for the percentages below the splits
    title : name of the scene
    repeats : number of seeds averaged in each point; whiskers are standard deviations
    """
    figure = canvas.new_figure(_GAP_WIDTH, _GAP_HEIGHT)
    size = (_GAP_WIDTH - _GAP_LEFT - _GAP_RIGHT, _GAP_HEIGHT - _GAP_TOP - _GAP_BELOW)
    axes = canvas.add_axes(figure, _GAP_LEFT, _GAP_TOP, *size)
    canvas.style_axes(axes, across="", up="overall accuracy in %")
    models = _distinct(rows, "model")
    splits = _distinct(rows, "split")
    for index, model in enumerate(models):
        own = [row for row in rows if row["model"] == model]
        shift = _STEP * (index - (len(models) - 1) / 2)
        points = [(at + shift, 100 * row["overall_accuracy"]) for at, row in enumerate(own)]
        spreads = [(100 * (row["spread"] or 0),) * 2 for row in own]
        canvas.draw_series(axes, index, points, spreads, label=model)
    axes.set_xlim(-0.25, len(splits) - 0.75)
    low, high = axes.get_ylim()
    # An accuracy is at most 100 %, but a whisker may extend beyond.
    axes.set_ylim(max(low, 0), min(high, 101.5))
    _label_splits(axes, {row["split"]: row for row in rows}, window)
    _label_models(axes, {row["model"]: row for row in rows if row["split"] == splits[-1]})
    seeds = f"mean ± standard deviation of {repeats} seeds" if repeats > 1 else "one seed"
    canvas.write_title(
        figure,
        f"Leak gap: {title}",
        "The same models, trained on the same share of the labelled pixels under three splits; "
        f"{seeds}.",
    )
    return figure


def _distinct(rows: Sequence[Row], key: str) -> list[Any]:
    """Return the values of a column in order, each once."""
    return list(dict.fromkeys(row[key] for row in rows))


def _label_splits(axes: Axes, splits: Mapping[str, Row], window: int) -> None:
    """Write below each split how much of the test its windows have seen."""
    axes.set_xticks(
        range(len(splits)), splits, fontsize=11, fontweight="bold", color=canvas.INK
    )
    for index, row in enumerate(splits.values()):
        centres = formatting.format_percent(row["centre_in_window"], 0)
        words = (
            f"training pixel in {window} × {window} window: {centres} %"
            f"\nwindow overlap: {formatting.format_percent(row['window_overlap'], 0)} %"
            f"\n{row['test_count']:,.0f} test pixels"
        )
        below = axes.text(index, -0.075, words, transform=axes.get_xaxis_transform())
        below.set(ha="center", va="top", fontsize=9, color=canvas.MUTED, linespacing=1.45)


def _label_models(axes: Axes, ends: Mapping[str, Row]) -> None:
    """Write name, last accuracy and loss of accuracy at the end of each model's line."""
    low, high = axes.get_ylim()
    room = (high - low) * 34 / (_GAP_HEIGHT - _GAP_TOP - _GAP_BELOW)
    heights = [100 * row["overall_accuracy"] for row in ends.values()]
    heights = canvas.spread_labels(heights, room, low=low, high=high)
    for index, (height, (model, end)) in enumerate(zip(heights, ends.items(), strict=True)):
        moves = "falls" if end["fall"] >= 0 else "rises"
        text = f"{100 * end['overall_accuracy']:.1f} %, {moves} {100 * abs(end['fall']):.1f} points"
        right = axes.get_yaxis_transform()
        name = axes.text(
            1.015, height, canvas.shorten(model, 24), va="bottom", transform=right
        )
        name.set(color=canvas.series_style(index)[0], fontsize=10.5, fontweight="bold")
        fall = axes.text(1.015, height, text, va="top", transform=right)
        fall.set(color=canvas.MUTED, fontsize=9)


def draw_training(rows: Iterable[Row], title: str = "Training") -> Figure:
    """Draw loss and accuracy on training and validation pixels against the epoch.

    Parameters
    ----------
    rows : rows of ``log.jsonl``
        ``epoch``, ``loss`` and ``accuracy``, and with validation pixels
        ``validation_loss`` and ``validation_accuracy``; a line is drawn per ``model``,
        ``split`` and ``seed``.
    """
    runs: dict[tuple[str, ...], list[Row]] = {}
    for row in sorted(rows, key=lambda row: float(row["epoch"])):
        key = tuple(str(row.get(name, "")) for name in ("split", "model", "seed"))
        runs.setdefault(key, []).append(row)
    splits = sorted({split for split, *_ in runs}, key=lambda name: (name != "main", name))
    styles = {split: _STYLES[index % len(_STYLES)] for index, split in enumerate(splits)}
    many = len(runs) > len(splits)
    look: dict[str, Any] = {
        "linewidth": 1.0 if many else 1.8,
        "alpha": 0.55 if many else 1.0,
    }
    figure = canvas.new_figure(1080, 400)
    for index, (what, colors) in enumerate(_TRAINING.items()):
        axes = figure.add_axes((0.075 + 0.49 * index, 0.15, 0.415, 0.67))
        canvas.style_axes(axes, across="epoch", up=what)
        for name, color in zip((what, f"validation_{what}"), colors, strict=True):
            for (split, *_), run in runs.items():
                points = [
                    (row["epoch"], row[name]) for row in run if row.get(name) is not None
                ]
                marker = "o" if len(points) < 3 else None
                if points:
                    axes.plot(
                        *zip(*points, strict=True),
                        color=color,
                        marker=marker,
                        linestyle=styles[split],
                        **look,
                    )
        validated = any(f"validation_{what}" in row for run in runs.values() for row in run)
        _explain_lines(axes, styles, colors if validated else ())
    canvas.write_title(figure, title)
    return figure


def _explain_lines(
    axes: Axes, styles: Mapping[str, LineStyleType], colors: Sequence[str]
) -> None:
    """Explain the colours of the pixels and the line styles of the splits."""
    names = {
        pixels: Line2D([], [], color=color)
        for pixels, color in zip(("training", "validation"), colors, strict=False)
    }
    for split, style in styles.items() if len(styles) > 1 else ():
        names[f"{canvas.shorten(split, 24)} split"] = Line2D(
            [], [], color=canvas.INK, linestyle=style
        )
    if names:
        axes.legend(names.values(), names, frameon=False, fontsize=9)


def draw_curve(rows: Sequence[Row], *, title: str) -> Figure:
    """Draw the overall accuracy against the training fraction, one line per model.

    Parameters
    ----------
    rows : the rows of the key ``curve`` of ``metrics.json``
        ``model``, ``train`` (a fraction below 1, or pixels per class),
        ``overall_accuracy``, and for the whiskers ``interval`` [low, high] or
        ``spread`` (standard deviation over the seeds).
    title : name of the scene
    """
    figure = canvas.new_figure(1080, 540)
    axes = figure.add_axes((0.075, 0.13, 0.7, 0.69))
    shares = all(row["train"] < 1 for row in rows)
    across = "training share of the labelled pixels in %" if shares else "training pixels"
    canvas.style_axes(axes, across=across, up="overall accuracy in %")
    unit = 100 if shares else 1
    drawn = [row for row in rows if row["overall_accuracy"] is not None]
    drawn.sort(key=lambda row: float(row["train"]))
    for index, model in enumerate(_distinct(rows, "model")):
        own = [row for row in drawn if row["model"] == model]
        points = [(unit * row["train"], 100 * row["overall_accuracy"]) for row in own]
        canvas.draw_series(
            axes, index, points, [*map(_reach, own)], label=canvas.shorten(model, 24)
        )
    if rows:
        axes.set_xticks(sorted({unit * row["train"] for row in rows}))
        canvas.add_side_legend(axes)
    whiskers = "One seed per point."
    if any(row.get("interval") for row in rows):
        whiskers = "Whiskers: 95 % intervals."
    elif any(row.get("spread") for row in rows):
        whiskers = "Whiskers: standard deviation over the seeds."
    canvas.write_title(figure, f"Learning curve: {title}", whiskers)
    return figure


def _reach(row: Row) -> tuple[float, float]:
    """Return the lengths of the whiskers of a point, down and up, in points."""
    middle = row["overall_accuracy"]
    if row.get("interval"):
        low, high = row["interval"]
        return max(100 * (middle - low), 0.0), max(100 * (high - middle), 0.0)
    spread = 100 * (row.get("spread") or 0.0)
    return spread, spread


def draw_abstention(calibration: Row, title: str) -> Figure:
    """Draw the accuracy of the most confident pixels against the fraction of pixels kept.

    Parameters
    ----------
    calibration : a ``calibration`` of ``metrics.json``
    title : str
        Name of the model, with "simulated" if the scene is.
    """
    kept, right = (
        np.array([row[name] for row in calibration["abstention"]], dtype=np.float64)
        for name in ("kept", "accuracy")
    )
    figure = canvas.new_figure(620, 440)
    axes = figure.add_axes((0.12, 0.13, 0.83, 0.66))
    axes.plot(kept, right, color="#0072b2", lw=2, marker="o", ms=4)
    axes.axhline(right[-1], color=canvas.INK, lw=1, ls="--")
    across = "fraction of the pixels kept, the most confident first"
    canvas.style_axes(axes, across=across, up="accuracy")
    axes.set(xlim=(0, 1.02), ylim=(max(0.0, min(right) - 0.1), 1.02))
    axes.xaxis.set_major_formatter(PercentFormatter(1, 0))
    axes.yaxis.set_major_formatter(PercentFormatter(1, 0))
    half = 100 * float(np.interp(0.5, kept, right))
    caption = (
        f"all pixels: {100 * right[-1]:.1f} % right; the most confident half: {half:.1f} %"
    )
    canvas.write_title(figure, f"{title}: abstention", caption)
    return figure


def draw_scaling(rows: Sequence[Row], *, title: str) -> Figure:
    """Draw the speed-up of a search against the number of workers.

    Parameters
    ----------
    rows : a row for each model, part (``cells``: best or all) and number of ``workers``,
        with its ``speed_up``
    title : name of the experiment
    """
    figure = canvas.new_figure(1080, 540)
    axes = figure.add_axes((0.075, 0.13, 0.66, 0.69))
    canvas.style_axes(axes, across="workers", up="speed-up")
    lines: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for row in rows:
        points = lines.setdefault((row["model"], row["cells"]), [])
        points.append((row["workers"], row["speed_up"]))
    counts = sorted({row["workers"] for row in rows})
    axes.plot(
        counts, counts, color=canvas.MUTED, linestyle="--", linewidth=1.2, label="ideal"
    )
    for index, ((model, cells), points) in enumerate(lines.items()):
        label = f"{canvas.shorten(model, 18)}, {'best cell' if cells == 'best' else 'all cells'}"
        canvas.draw_series(axes, index, points, label=label)
    axes.set_xticks(counts)
    canvas.add_side_legend(axes)
    canvas.write_title(
        figure,
        f"Speed-up of the grid search: {title}",
        "Processor seconds of one worker divided by the wall seconds of several.",
    )
    return figure
