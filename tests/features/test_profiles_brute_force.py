"""The tree of shapes against its definition, written down without any library of trees."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.ndimage import label

from hypercover.features.tree_of_shapes import ATTRIBUTES, RULES, ShapeTree, regularised


@dataclass(eq=False)
class Shape:
    """The pixels of a shape, and the level of the outermost of them."""

    mask: np.ndarray
    level: float


def immersed(ringed):
    """Least and greatest value of pixels (even, even), the sides and corners between them."""
    rows, cols = ringed.shape
    low = np.empty((2 * rows - 1, 2 * cols - 1))
    high = np.empty_like(low)
    for row, col in np.ndindex(low.shape):
        around = ringed[row // 2 : (row + 1) // 2 + 1, col // 2 : (col + 1) // 2 + 1]
        low[row, col], high[row, col] = around.min(), around.max()
    return low, high


def parts_of(mask):
    parts, count = label(mask)
    return [parts == part for part in range(1, count + 1)]


def edge_of(region):
    """Places of a region beside a place that is not in it."""
    wide = np.pad(region, 1, constant_values=True)
    beside = wide[:-2, 1:-1] & wide[2:, 1:-1] & wide[1:-1, :-2] & wide[1:-1, 2:]
    return region & ~beside


def shapes_of(ringed):
    """Every shape, found from the outside in.

    At a level, whatever can take it and hangs together with what lies outside
    takes it; each piece that is left is a shape, wholly above or wholly below
    where it begins, and its own level is the nearest one found at its edge.
    """
    low, high = immersed(ringed)
    found = []

    def inside(region, beyond):
        edge = edge_of(region)
        above, below = low[edge] > beyond, high[edge] < beyond
        assert above.all() or below.all()
        level = low[edge].min() if above.all() else high[edge].max()
        if region[::2, ::2].any():
            found.append(Shape(region[::2, ::2], level))
        flood(region, edge, level)

    def flood(region, start, level):
        able = region & (low <= level) & (level <= high)
        left = region.copy()
        for part in parts_of(able):
            if (part & start).any():
                left &= ~part
        for piece in parts_of(left):
            inside(piece, level)

    corner = np.zeros(low.shape, dtype=bool)
    corner[0, 0] = True
    flood(np.ones(low.shape, dtype=bool), corner, ringed[0, 0])
    return found


def attribute_of(name, mask, ringed, counted):
    rows, cols = np.nonzero(mask & counted)
    if name == "area":
        return float(len(rows))
    if len(rows) == 0:
        return 0.0
    if name == "std":
        return float(np.std(ringed[rows, cols]))
    return float((rows.var() + cols.var()) / len(rows))


def reference(band, valid, surround, name, threshold, rule):
    """Filter a band by looking at every shape and every pixel in turn."""
    ringed = np.pad(np.where(valid, band, surround), 1, constant_values=surround)
    tree_of_shapes = shapes_of(ringed)
    values = [
        attribute_of(name, shape.mask, ringed, np.pad(valid, 1)) for shape in tree_of_shapes
    ]
    inside = [
        [bool((a.mask <= b.mask).all()) for b in tree_of_shapes] for a in tree_of_shapes
    ]
    every = range(len(tree_of_shapes))
    kept = [value >= threshold for value in values]
    if rule == "min":
        kept = [all(kept[b] for b in every if inside[a][b]) for a in every]
    if rule == "max":
        kept = [any(kept[b] for b in every if inside[b][a]) for a in every]
    out = np.full(ringed.shape, surround)
    for place in np.ndindex(ringed.shape):
        around = [one for one in every if tree_of_shapes[one].mask[place]]
        levels = [surround, *(tree_of_shapes[one].level for one in around)]
        if rule == "subtractive":
            steps = np.diff(levels)
            out[place] = levels[-1] - sum(
                step for step, one in zip(steps, around, strict=True) if not kept[one]
            )
        else:
            out[place] = next(
                (tree_of_shapes[one].level for one in reversed(around) if kept[one]),
                surround,
            )
    return out[1:-1, 1:-1]


def filtered(band, valid, surround, name, threshold, rule):
    tree_of_shapes = ShapeTree.of(band, valid, surround)
    values = regularised(tree_of_shapes, ATTRIBUTES[name](tree_of_shapes), rule)
    return tree_of_shapes.filtered(values < threshold, subtractive=rule == "subtractive")


SIZES = st.tuples(st.integers(1, 7), st.integers(1, 7))
BANDS = SIZES.flatmap(
    lambda size: hnp.arrays(np.float64, size, elements=st.integers(0, 5).map(float))
)
# Halfway between whole attributes, so that no rounding decides what is removed.
THRESHOLDS = {
    "area": st.sampled_from([0.0, 1.0, 2.0, 3.0, 5.0, 8.0, 100.0]),
    "std": st.sampled_from([0.1234, 0.45678, 0.91234, 1.51234]),
    "inertia": st.sampled_from([0.01234, 0.11234, 0.171234, 0.31234]),
}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", list(ATTRIBUTES))
@given(data=st.data())
@settings(max_examples=60)
def test_filters_are_what_the_definition_says(name, rule, data):
    band = data.draw(BANDS)
    valid = np.ones(band.shape, dtype=bool)
    surround = float(data.draw(st.sampled_from([0.0, 2.0, 2.5, 9.0])))
    threshold = data.draw(THRESHOLDS[name])
    expected = reference(band, valid, surround, name, threshold, rule)
    found = filtered(band, valid, surround, name, threshold, rule)
    np.testing.assert_array_equal(found, expected)


@given(band=BANDS, data=st.data())
@settings(max_examples=60)
def test_pixels_without_data_count_in_no_attribute(band, data):
    valid = data.draw(hnp.arrays(np.bool_, band.shape))
    name = data.draw(st.sampled_from(list(ATTRIBUTES)))
    threshold = data.draw(THRESHOLDS[name])
    expected = reference(band, valid, 2.5, name, threshold, "direct")
    found = filtered(band, valid, 2.5, name, threshold, "direct")
    np.testing.assert_array_equal(found[valid], expected[valid])


@given(band=BANDS)
@settings(max_examples=60)
def test_shapes_of_the_definition_are_nested_or_apart(band):
    tree_of_shapes = shapes_of(np.pad(band, 1, constant_values=2.5))
    for one in tree_of_shapes:
        for other in tree_of_shapes:
            both = (one.mask & other.mask).sum()
            assert both in (0, one.mask.sum(), other.mask.sum())


@given(band=BANDS)
@settings(max_examples=60)
def test_a_band_of_many_levels_has_the_tree_of_its_ranks(band):
    ranked = ShapeTree.of(band, surround=2.5)
    plain = _without_ranks(band)
    for threshold in (2.0, 4.0, 9.0):
        for name in ATTRIBUTES:
            images = [
                tree.filtered(ATTRIBUTES[name](tree) < threshold / 10)
                for tree in (ranked, plain)
            ]
            np.testing.assert_array_equal(*images)


def _without_ranks(band):
    from hypercover.features import tree_of_shapes

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tree_of_shapes, "_RANKS", 0)
        return ShapeTree.of(band, surround=2.5)
