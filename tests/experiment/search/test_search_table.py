"""The cells of a grid and their table: what is kept, what is the best, what time counts."""

import csv
import json
import math

import numpy as np
import pytest

from hypercover.experiment.search.search_problem import Cell, CellFile, GammaValue
from hypercover.experiment.search.search_tasks import grid_table, tables_csv


def cell(C, correct, *, folds=None, seconds=1.0, span=(0.0, 1.0)):
    numbers = tuple(range(len(correct))) if folds is None else folds
    return Cell(
        C=C, folds=numbers, correct=correct, seconds=seconds, began=span[0], ended=span[1]
    )


def table(*rows, costs=(1.0, 10.0), counts=(10, 30)):
    gammas = tuple(GammaValue(0.1 * 2**row, None) for row in range(len(rows)))
    return grid_table(costs, gammas, counts, rows)


def test_cells_are_kept_and_found_again(tmp_path):
    kept = CellFile(tmp_path / "cells.json")
    assert kept.is_missing(1.0, [0])
    kept.add(cell(1, [7, 21]))
    kept.add(cell(10, [8], folds=(1,)), cell(10, [9], folds=(0,), seconds=0.25))
    again = CellFile(tmp_path / "cells.json")
    assert again.cells == kept.cells
    assert not again.is_missing(1.0, [0, 1])
    assert not again.is_missing(10.0, [1, 0])
    assert again.is_missing(1.0, [2])
    assert again.is_missing(100.0, [0])


GOOD = {"C": 1, "folds": [0], "correct": [3], "seconds": 1, "began": 0, "ended": 1}
DAMAGED = [
    b"",
    b"\xff\xfe",
    b"[" * 100_000,
    b"[]",
    b'{"cells": 3}',
    b'{"cells": [{"C": 1}]}',
    *(
        json.dumps({"cells": [GOOD | change]}).encode()
        for change in (
            {"C": math.nan},
            {"C": "1"},
            {"correct": [-1]},
            {"correct": [1, 2]},
            {"folds": [-1]},
            {"folds": []},
            {"correct": [math.inf]},
            {"seconds": None},
            {"more": 1},
        )
    ),
]


@pytest.mark.parametrize("content", DAMAGED)
def test_a_damaged_file_holds_no_cells(tmp_path, content):
    path = tmp_path / "cells.json"
    path.write_bytes(json.dumps({"cells": [GOOD]}).encode())
    assert len(CellFile(path).cells) == 1
    path.write_bytes(content)
    assert CellFile(path).cells == ()


def test_accuracy_is_the_share_of_all_held_out_samples():
    found = table([cell(1, [5, 30]), cell(10, [10, 20])], [cell(1, [0, 0])])
    assert found["accuracy"] == [[35 / 40, 30 / 40], [0, None]]
    assert found["spread"][0][0] == pytest.approx(np.std([0.5, 1.0], ddof=1))
    assert found["spread"][1][1] is None
    assert (found["best"]["row"], found["best"]["column"]) == (0, 0)


def test_a_cell_that_lacks_a_fold_is_not_done():
    half = table([cell(1, [5], folds=(1,))])
    assert half["accuracy"] == [[None, None]]
    assert half["best"] is None
    both = table([cell(1, [5], folds=(1,)), cell(1, [9], folds=(0,), seconds=2)])
    assert both["accuracy"][0][0] == 14 / 40
    assert both["minutes"][0][0] == 3 / 60


def test_of_equal_cells_the_smallest_C_wins_then_the_smallest_gamma():
    right, wrong = [9, 27], [1, 3]
    tied = table(
        [cell(1, wrong), cell(10, right)],
        [cell(1, right), cell(10, right)],
        [cell(1, right), cell(10, wrong)],
    )
    best = tied["best"]
    assert (best["row"], best["column"]) == (1, 0)
    assert (best["C"], best["gamma"], best["accuracy"]) == (1.0, 0.2, 0.9)


def test_wall_time_counts_overlaps_once_and_gaps_never():
    spans = [(0, 10), (5, 12), (6, 7), (100, 103)]
    cells = [cell(1, [1], folds=(0,), span=span, seconds=4) for span in spans]
    found = table(cells, counts=(1,))
    assert (found["wall_seconds"], found["serial_seconds"]) == (15, 16)
    assert found["speed_up"] == pytest.approx(16 / 15)


def test_cells_of_another_grid_do_not_count():
    found = table([cell(1, [1, 1]), cell(10, [2, 2]), cell(99, [3, 3], span=(50, 60))])
    assert (found["serial_seconds"], found["wall_seconds"]) == (2, 1)


def test_csv_has_a_line_for_each_cell():
    found = table([cell(1, [5, 30]), cell(10, [10, 20])], [cell(1, [0, 0])])
    text = tables_csv([{"model": "svm", "kind": "random", **found}])
    lines = list(csv.DictReader(text.splitlines()))
    assert [(line["gamma"], line["C"], line["best"]) for line in lines] == [
        ("0.1", "1.0", "1"),
        ("0.1", "10.0", "0"),
        ("0.2", "1.0", "0"),
        ("0.2", "10.0", "0"),
    ]
    assert float(lines[0]["accuracy"]) == 35 / 40
    assert lines[3]["accuracy"] == ""
    assert json.loads(json.dumps(found, allow_nan=False)) == found
