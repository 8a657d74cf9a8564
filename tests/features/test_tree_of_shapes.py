"""The tree of shapes is the one that another library finds, node by node."""

import higra as hg
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.ndimage import gaussian_filter

from hypercover.errors import SceneError
from hypercover.features import tree_of_shapes as module
from hypercover.features.tree_of_shapes import ShapeTree, tree_of_ranks

IMAGES = hnp.arrays(
    np.uint16,
    hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9),
    elements=st.integers(0, 6),
)


def assert_same(ranks):
    """Walk up both trees from every pixel and pair the nodes."""
    own, parents, found = tree_of_ranks(ranks, int(ranks.max()) + 1)
    tree, levels = hg.component_tree_tree_of_shapes_image2d(ranks, padding="none")
    leaves = tree.num_leaves()
    others, levels = tree.parents() - leaves, levels[leaves:]
    assert len(parents) == len(levels) == len(found)
    assert (parents[:-1] > np.arange(len(parents) - 1)).all()
    assert parents[-1] == len(parents) - 1
    pair = np.full(len(parents), -1)
    for node, other in zip(own.ravel(), others[:leaves], strict=True):
        while pair[node] < 0:
            pair[node] = other
            assert found[node] == levels[other]
            node, other = parents[node], others[leaves + other]
        assert pair[node] == other
    assert sorted(pair) == list(range(len(parents)))


@given(ranks=IMAGES)
@settings(max_examples=200)
def test_a_small_image_has_the_tree_of_another_library(ranks):
    assert_same(np.pad(ranks, 1, constant_values=ranks[0, 0]))


@pytest.mark.parametrize("dtype", [np.uint16, np.int32])
@pytest.mark.parametrize("smooth", [0, 2])
def test_a_large_image_has_the_tree_of_another_library(dtype, smooth):
    chance = np.random.default_rng(smooth)
    grey = gaussian_filter(chance.normal(size=(90, 120)), smooth)
    distinct, ranks = np.unique(np.pad(grey, 1), return_inverse=True)
    assert len(distinct) == 90 * 120 + 1
    assert_same(ranks.reshape(92, 122).astype(dtype))


@pytest.mark.parametrize(("values", "kind"), [(65_535, np.uint16), (65_536, np.int32)])
def test_sixteen_bits_hold_all_ranks_and_one_mark(values, kind, monkeypatch):
    band = np.random.default_rng(0).permutation(values - 1).reshape(1, -1) + 1.0
    seen = []

    def noted(ranks, levels):
        seen.append(ranks.dtype)
        return tree_of_ranks(ranks, levels)

    monkeypatch.setattr(module, "tree_of_ranks", noted)
    shapes = ShapeTree.of(band, surround=0.0)
    assert seen == [kind]
    assert (shapes.filtered(np.zeros(len(shapes.levels), bool)) == band).all()


def test_more_pixels_than_can_be_numbered_are_refused(monkeypatch):
    monkeypatch.setattr(module, "_MAX_CELLS", 98)
    with pytest.raises(SceneError, match=r"up to 24 pixels.*it has 3 × 4; cut it smaller"):
        ShapeTree.of(np.zeros((3, 4)))


@pytest.mark.parametrize("shape", [(23_169, 23_169), (1, 2**28)])
def test_the_cells_between_the_pixels_and_of_the_ring_count(shape):
    # There are more than 2³¹ cells, though the pixels are fewer than 2²⁹.
    with pytest.raises(SceneError, match="cut it smaller"):
        ShapeTree.of(np.broadcast_to(0.0, shape))
