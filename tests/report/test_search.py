"""A search on paper: its heat map, its words, and its section of the report."""

import json
import re
from copy import deepcopy
from html.parser import HTMLParser

import numpy as np
import pytest

from hypercover.errors import CallError
from hypercover.evaluation.run_metrics import SearchTable, read_search
from hypercover.figures.accuracy_figures import draw_search
from hypercover.figures.canvas import save_figure
from hypercover.figures.formatting import describe_accuracy_drop
from hypercover.report.report import grid_rows, write_report

HOSTILE = "<script>window.hacked=1</script>\"'><img src=x onerror=window.hacked=2> $\\frac{"


def table(kind="random", lift=0.0):
    shares = [[0.6415, 0.7445, None], [0.70, 0.7700, 0.7578]]
    shares = [[None if s is None else s + lift for s in row] for row in shares]
    return {
        "model": "svm",
        "kind": kind,
        "settings": {"n": 10, "size": 15, "guard": 4},
        "samples": 120,
        "scored": 100,
        "folds": [{"train": 90, "test": 10}] * 10,
        "touching": 0.97 if kind == "random" else 0.0,
        "notes": [f"Class 9 ({HOSTILE}): 20 of its 20 samples are not scored."],
        "C": [1.0, 10.0, 100.0],
        "gamma": [0.004, 0.008],
        "scale": [0.5, 1.0],
        "accuracy": shares,
        "minutes": [[18.3, 15.04, None], [0.001, 14.41, 14.65]],
        "best": {
            "row": 1,
            "column": 1,
            "C": 10.0,
            "gamma": 0.008,
            "scale": 1.0,
            "accuracy": 0.77 + lift,
            "minutes": 14.41,
        },
        "serial_seconds": 534.5 * 60,
        "wall_seconds": 35.5 * 60,
        "speed_up": 534.5 / 35.5,
    }


def search(**changes):
    return {"on": "train", "tables": [table(), table("blocks", -0.1)]} | changes


class Words(HTMLParser):
    """Collects the text of a page and the names of its tags."""

    def __init__(self, page):
        super().__init__()
        self.tags, self._text = [], []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)

    def handle_data(self, data):
        self._text.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self._text).split())


@pytest.fixture
def page(tmp_path, metrics):
    def written(found, **model):
        models = {"svm": metrics["models"]["svm"] | model}
        bare = {"name": "bare", "models": models}
        (tmp_path / "metrics.json").write_text(json.dumps(bare))
        if found is not None:
            (tmp_path / "search.json").write_text(json.dumps(found))
        return write_report(tmp_path).read_text(encoding="utf-8")

    return written


def test_the_report_shows_every_cell_and_the_fall(page):
    words = Words(page(search())).text
    assert "The search for C and gamma" in words
    assert "svm: 10 random folds" in words
    assert "svm: 10 folds by blocks of 15 px with a guard of 4 px" in words
    for cell in ("64.15 (18.30)", "74.45 (15.04)", "77.00 (14.41) best", "70.00 (<0.01)"):
        assert cell in words
    assert "serial sum 534.50 min, wall time 35.50 min, speed-up 15.1" in words
    assert "the best cell falls by 10.0 points, from 77.00 to 67.00 %" in words
    assert "97 % of the scored samples touch a training sample" in words
    assert "100 of 120 samples are scored" in words
    assert "Only the training pixels of the main split took part." in words
    assert "including the test pixels" in Words(page(search(on="all"))).text


def test_names_never_become_tags(page):
    found = search()
    found["tables"][0]["model"] = HOSTILE
    read = Words(page(found))
    assert read.tags.count("script") == 1
    assert "window.hacked=1" in read.text


def test_without_a_search_there_is_no_section(page):
    text = page(None)
    assert 'id="search"' not in text
    assert 'href="#search"' not in text


def test_a_model_shows_what_it_was_chosen_from(page):
    words = Words(page(None, search=table() | {"searched": ["C", "gamma"]})).text
    assert "C and gamma by cross-validation: 77.00 % with C = 10" in words
    assert "10 random folds of the training pixels" in words
    assert "Each of" not in words
    assert "of it for the search" not in words


def test_a_model_shows_what_each_seed_chose_and_what_the_search_took(page):
    choices = [{"seed": seed, "C": 10.0**seed, "gamma": 0.008} for seed in (0, 1)]
    found = table() | {"searched": ["C"], "choices": choices}
    words = Words(page(None, search=found, train_seconds=9.0, search_seconds=8.0)).text
    assert "C by cross-validation: first of 2 seeds 77.00 %" in words
    assert "Each of 2 seeds chose its own: C = 1 (seed 0); C = 10 (seed 1)." in words
    assert "trained in 9.0 s, 8.0 s of it for the search" in words


def test_the_report_says_which_way_to_widen_a_grid(page):
    sentence = "The best cell is on the edge of the grid; try larger gamma."
    assert Words(page(search())).text.count(sentence) == 2
    level = table()
    level["accuracy"] = [level["accuracy"][1]] * 2
    assert "on the edge" not in Words(page(search(tables=[level]))).text
    inside = table() | {"gamma": [0.004, 0.008, 0.016]}
    inside |= {key: [*inside[key], [0.1] * 3] for key in ("accuracy", "minutes")}
    inside["scale"] = [0.5, 1.0, 2.0]
    assert "on the edge" not in Words(page(search(tables=[inside]))).text


def test_every_grid_has_headings_and_a_name(page):
    text = page(search())
    grids = re.findall(r'<div class="scroll"[^>]*Grid.*?</table>', text, re.DOTALL)
    assert len(grids) == 2
    for grid in grids:
        assert 'aria-label="Grid of svm by' in grid
        assert grid.count('scope="col"') == 4
        assert grid.count('scope="row"') == 2


def spoilt(**changes):
    one = table() | changes
    return {"tables": [one]}


DAMAGED = [
    spoilt(accuracy=[[0.5, 0.5, 0.5]]),
    spoilt(minutes=[[1, 2, 3], [1, 2]]),
    spoilt(accuracy=[]),
    spoilt(scale=[1.0]),
    spoilt(C=[]),
    spoilt(gamma=["x", "y"]),
    spoilt(best=table()["best"] | {"row": 2}),
    spoilt(best=table()["best"] | {"column": -1}),
    {"tables": 3},
    [],
]


@pytest.mark.parametrize("found", DAMAGED)
def test_what_is_no_search_is_one_sentence(tmp_path, found):
    (tmp_path / "search.json").write_text(json.dumps(found))
    with pytest.raises(
        CallError, match=r"search.json is not a valid result file: .*again\.$"
    ):
        read_search(tmp_path)


def test_a_folder_without_a_search_has_none(tmp_path):
    assert read_search(tmp_path) is None


def test_the_fall_is_told_for_each_model_and_guard():
    other = [each | {"model": "deep"} for each in (table(), table("clusters", 0.05))]
    said = describe_accuracy_drop(
        [table(), table("blocks", -0.1), *other, table("clusters", -0.2)]
    )
    assert [line.split(": ")[0] for line in said] == ["svm", "deep", "svm"]
    assert "rises by 5.0 points" in said[1]
    assert said[0].endswith("; it is the same cell.")


def test_the_winner_at_random_is_looked_up_under_the_guard():
    guarded = table("blocks", -0.1)
    guarded["best"] |= {"row": 0, "column": 1, "accuracy": 0.6445}
    (line,) = describe_accuracy_drop([table(), guarded])
    assert line.endswith("; the best cell of random folds has 67.00 % there.")
    guarded["gamma"] = [0.004]
    assert describe_accuracy_drop([table(), guarded])[0].endswith("to 64.45 %.")
    assert describe_accuracy_drop([guarded]) == []
    assert describe_accuracy_drop([table(), guarded | {"best": None}]) == []


def test_shades_run_from_the_worst_cell_to_the_best():
    rows = list(grid_rows(SearchTable.model_validate(table())))
    shades = [[cell.shade for cell in cells] for _, cells in rows]
    assert (shades[0][0], shades[1][1]) == (0.0, 1.0)
    assert shades[0][1] == pytest.approx((0.7445 - 0.6415) / (0.77 - 0.6415))
    assert [cell.best for _, cells in rows for cell in cells].count(True) == 1
    flat = deepcopy(table())
    flat["accuracy"] = [[0.5] * 3] * 2
    assert {
        c.shade for _, row in grid_rows(SearchTable.model_validate(flat)) for c in row
    } == {1.0}


def texts(figure):
    return [text.get_text() for text in (*figure.texts, *figure.axes[0].texts)]


def test_the_heat_map_shows_colour_number_minutes_and_the_best(tmp_path):
    figure = draw_search(table(), simulated=True)
    axes = figure.axes[0]
    image = axes.images[0].get_array()
    assert np.ma.filled(image[1], np.nan).tolist() == [0.70, 0.77, 0.7578]
    assert {"77.00", "(14.41)", "(<0.01)"} <= set(texts(figure))
    assert "svm: accuracy in % (serial minutes), simulated scene" in texts(figure)
    (frame,) = axes.patches
    assert (round(frame.get_x()), round(frame.get_y())) == (1, 1)
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["1", "10", "100"]
    save_figure(figure, tmp_path / "heat.png")
    assert (tmp_path / "heat.png").stat().st_size > 5000


def test_an_unfinished_grid_is_drawn_as_far_as_it_is(tmp_path):
    empty = table() | {"accuracy": [[None] * 3] * 2, "best": None}
    figure = draw_search(empty)
    assert figure.axes[0].patches[:] == []
    save_figure(figure, tmp_path / "empty.png")


def test_hostile_names_are_drawn_as_they_are(tmp_path):
    figure = draw_search(table() | {"model": "$\\frac{"})
    save_figure(figure, tmp_path / "hostile.png")
    assert any("$\\frac{" in text for text in texts(figure))


def test_pictures_of_a_large_grid_stay_readable():
    wide = table() | {
        "C": [float(2**k) for k in range(20)],
        "accuracy": [[0.5] * 20] * 2,
        "minutes": [[1.0] * 20] * 2,
    }
    width, _ = draw_search(wide).get_size_inches()
    assert width > 20
