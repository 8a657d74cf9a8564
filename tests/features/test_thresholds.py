"""Thresholds of attribute profiles: by formula, and where a granulometric curve bends."""

from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hypercover.features.thresholds import (
    AUTOMATIC,
    automatic_thresholds,
    breakpoints,
    formula_thresholds,
    granulometric_curve,
    metres_per_pixel,
    parse_thresholds,
)
from hypercover.features.tree_of_shapes import ATTRIBUTES, RULES, ShapeTree, regularised
from hypercover.scene.grid import Grid

GRID = (30.0, 0.0, 5e5, 0.0, -30.0, 4e6)


def squares():
    """Squares of 4, 9 and 25 pixels that stand out by 4, -2 and 1."""
    band = np.zeros((30, 40))
    band[2:4, 2:4], band[10:13, 5:8], band[20:25, 20:25] = 4.0, -2.0, 1.0
    return ShapeTree.of(band)


def test_areas_by_formula_are_the_published_ones():
    # Indian Pines: pixels of 20 m, 50 … 700.
    areas = formula_thresholds("area", np.zeros(1), 20.0)
    assert areas == tuple(50.0 * step for step in range(1, 15))
    assert formula_thresholds("area", np.zeros(1), 1.3)[0] == pytest.approx(
        769.23, abs=0.01
    )


def test_deviations_by_formula_are_shares_of_the_mean_of_a_band_from_zero():
    values = np.linspace(0, 200, 20_001)
    found = np.array(formula_thresholds("std", values, 1.0))
    wanted = values.mean() / 100 * np.arange(2.5, 27.6, 2.5)
    np.testing.assert_allclose(found, 0.98 * wanted, rtol=1e-12)


def test_deviations_by_formula_ignore_shift_and_sign_of_a_band():
    values = np.random.default_rng(0).normal(size=4001)
    found = formula_thresholds("std", values, 1.0)
    assert len(found) == 11
    np.testing.assert_allclose(formula_thresholds("std", -values, 1.0), found)
    np.testing.assert_allclose(formula_thresholds("std", values - 50, 1.0), found)
    np.testing.assert_allclose(
        formula_thresholds("std", 3 * values, 1.0), 3 * np.array(found)
    )


def test_a_band_with_a_rare_value_still_has_deviations():
    values = np.zeros(1000)
    assert formula_thresholds("std", values, 1.0) == ()
    values[0] = 8.0
    assert formula_thresholds("std", values, 1.0)[0] == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("crs", "transform", "metres"),
    [
        ("EPSG:32616", GRID, 30.0),
        ("EPSG:32616", (3.0, 4.0, 0.0, 4.0, -3.0, 0.0), 5.0),
        ("EPSG:2263", (10.0, 0.0, 0.0, 0.0, -10.0, 0.0), 3.048006),
        ("EPSG:4326", (0.01, 0.0, 0.0, 0.0, -0.01, 0.0), None),
        (None, GRID, None),
        ("nonsense", GRID, None),
        ("EPSG:32616", (1.0, 0.0, 0.0, 0.0, 1.0, 0.0), None),
        ("EPSG:32616", (30.0, 30.0, 0.0, 30.0, 30.0, 0.0), None),
    ],
)
def test_the_size_of_a_pixel_is_known_in_metres_or_not_at_all(crs, transform, metres):
    assert metres_per_pixel(Grid(5, 5, crs, transform)) == pytest.approx(metres)


@pytest.mark.parametrize(
    ("measure", "removed"),
    [("grey", [0, 16, 34]), ("pixels", [0, 4, 13]), ("regions", [0, 1, 2])],
)
def test_the_curve_of_three_squares_is_known(measure, removed):
    shapes = squares()
    area = regularised(shapes, ATTRIBUTES["area"](shapes), "direct")
    x, y = granulometric_curve(shapes, area, measure)
    assert x.tolist() == [4, 9, 25]
    assert y.tolist() == removed


@pytest.mark.parametrize("rule", RULES)
@given(band=hnp.arrays(np.float64, (6, 7), elements=st.floats(0, 1), unique=True))
@settings(max_examples=25)
def test_the_curve_of_pixels_counts_those_that_a_filter_changes(rule, band):
    shapes = ShapeTree.of(band)
    area = regularised(shapes, ATTRIBUTES["area"](shapes), rule)
    x, y = granulometric_curve(shapes, area, "pixels")
    changed = [int((shapes.filtered(area < threshold) != band).sum()) for threshold in x]
    assert y.tolist() == changed


@pytest.mark.parametrize("measure", AUTOMATIC.values())
@pytest.mark.parametrize("name", list(ATTRIBUTES))
def test_a_curve_rises_from_nothing(measure, name):
    band = np.random.default_rng(0).normal(size=(40, 31))
    shapes = ShapeTree.of(band)
    values = regularised(shapes, ATTRIBUTES[name](shapes), "max")
    x, y = granulometric_curve(shapes, values, measure)
    assert y[0] == 0
    assert (np.diff(x) > 0).all()
    assert (np.diff(y) >= 0).all()
    assert np.isfinite(x).all()


@pytest.mark.parametrize("size", [60, 400])
@pytest.mark.parametrize("scale", [1.0, 1e6])
def test_the_bends_of_a_planted_curve_are_found(size, scale):
    x = scale * np.cumsum(np.random.default_rng(size).random(size) + 0.05) ** 2
    planted = x[[size // 6, size // 3, size // 2, 3 * size // 4]]
    slopes = np.array([5.0, 1.0, 3.0, 0.2, 0.5])
    y = np.interp(x, planted, np.zeros(4))
    edges = np.concatenate([x[:1], planted, x[-1:]])
    y = np.interp(x, edges, np.concatenate([[0], np.cumsum(slopes * np.diff(edges))]))
    np.testing.assert_array_equal(breakpoints(x, y, 4), planted)


def test_the_bends_of_a_noisy_curve_are_found_about_where_they_are():
    x = np.arange(300.0)
    y = np.interp(x, [0, 100, 200, 299], [0, 500, 550, 900])
    y += np.random.default_rng(0).normal(scale=2, size=300)
    np.testing.assert_allclose(breakpoints(x, y, 2), [100, 200], atol=5)


def _cost(x, y, knots):
    ends = [0, *knots, len(x) - 1]
    total = 0.0
    for first, last in pairwise(ends):
        part = slice(first, last + 1)
        line = np.polynomial.Polynomial.fit(x[part], y[part], 1)
        total += ((line(x[part]) - y[part]) ** 2).sum()
    return total


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("seed", range(5))
def test_no_other_cut_fits_a_curve_better(count, seed):
    rng = np.random.default_rng(seed)
    x, y = np.cumsum(rng.random(11) + 0.1), np.cumsum(rng.random(11) ** 3)
    knots = np.searchsorted(x, breakpoints(x, y, count))
    best = min(_cost(x, y, cut) for cut in combinations(range(1, 10), count))
    assert _cost(x, y, knots) == pytest.approx(best, rel=1e-9)


def test_a_short_curve_gives_all_its_inner_points():
    x = np.arange(5.0)
    assert breakpoints(x, x**2, 3).tolist() == [1, 2, 3]
    assert breakpoints(x, x**2, 10).tolist() == [1, 2, 3]
    assert breakpoints(x[:2], x[:2], 3).tolist() == []


def test_a_long_curve_is_thinned_and_still_bends_where_it_does():
    x = np.arange(20_000.0)
    (found,) = breakpoints(x, np.interp(x, [0, 5000, 19_999], [0, 10_000, 12_000]), 1)
    assert abs(found - 5000) <= 21


@pytest.mark.parametrize("word", list(AUTOMATIC))
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", list(ATTRIBUTES))
def test_automatic_thresholds_are_as_many_as_asked_and_rise(name, rule, word):
    band = np.random.default_rng(1).normal(size=(50, 41))
    shapes = ShapeTree.of(band)
    values = regularised(shapes, ATTRIBUTES[name](shapes), rule)
    found = automatic_thresholds(shapes, values, 6, word)
    assert len(found) == 6
    assert found[0] > 0
    assert (np.diff(found) > 0).all()


def test_equal_shapes_are_one_point_of_the_curve_wherever_they_lie():
    band = np.zeros((300, 400))
    for row, col in np.random.default_rng(0).integers(0, 37, size=(80, 2)):
        band[8 * row + 1 : 8 * row + 4, 10 * col + 1 : 10 * col + 6] = 0.1 * (row + 1)
        band[8 * row + 2, 10 * col + 2] = 0.1 * (row + 1) + 0.7
    shapes = ShapeTree.of(band)
    found = {
        name: granulometric_curve(shapes, regularised(shapes, attribute(shapes), "min"))
        for name, attribute in ATTRIBUTES.items()
    }
    # A 3 × 5 rectangle and the pixel on it.
    assert found["area"][0].tolist() == [1, 15]
    np.testing.assert_allclose(found["inertia"][0], [0, (8 + 24) / 12 / 15])
    np.testing.assert_allclose(found["std"][0], [0, 0.7 * np.sqrt(14) / 15])


def test_a_constant_band_has_no_automatic_thresholds():
    shapes = ShapeTree.of(np.full((5, 6), 2.0))
    assert automatic_thresholds(shapes, ATTRIBUTES["area"](shapes), 3) == ()


def test_thresholds_are_asked_for_in_words_lists_and_dicts():
    assert parse_thresholds("area", None) == {"area": None}
    assert parse_thresholds(["std", "area"], "formula") == {
        "std": "formula",
        "area": "formula",
    }
    assert parse_thresholds("area", np.array([1, 2])) == {"area": (1.0, 2.0)}
    assert parse_thresholds("area + std", {"std": [0.5]}) == {"area": None, "std": (0.5,)}
    assert parse_thresholds("area=2/3+std=automatic-regions", None) == {
        "area": (2.0, 3.0),
        "std": "automatic-regions",
    }
