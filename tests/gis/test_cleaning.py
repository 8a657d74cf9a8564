"""The majority filter and the sieve, held to counting by hand."""

from collections import Counter

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from rasterio.features import shapes as traced_whole
from scipy import ndimage
from scipy.ndimage import label

from hypercover.errors import CallError, LabelError
from hypercover.gis import cleaning as module
from hypercover.gis.cleaning import Cleaning, Regions, majority_filter, sieve, sieve_area

MAPS = arrays(
    np.uint8,
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    elements=st.sampled_from([0, 1, 2, 7]),
)


def counted(labels, side):
    """The rule as it is written, pixel by pixel."""
    half, made = side // 2, labels.copy()
    for row, col in np.argwhere(labels > 0):
        square = labels[
            max(row - half, 0) : row + half + 1, max(col - half, 0) : col + half + 1
        ]
        votes = Counter(square[square > 0].tolist())
        best = min(votes, key=lambda code: (-votes[code], code))
        if votes[best] > votes[labels[row, col]]:
            made[row, col] = best
    return made


@settings(max_examples=60)
@given(MAPS, st.sampled_from([3, 5]))
def test_majority_is_a_vote_of_the_square(labels, side):
    assert (majority_filter(labels, side) == counted(labels, side)).all()


def test_strips_meet_without_a_seam(monkeypatch):
    labels = np.random.default_rng(0).integers(0, 4, (60, 30)).astype(np.uint8)
    whole = majority_filter(labels, 5)
    monkeypatch.setattr("hypercover.gis.cleaning._STRIP", 7)
    assert (majority_filter(labels, 5) == whole).all()


@settings(max_examples=60)
@given(MAPS, st.integers(2, 6))
def test_sieve_leaves_no_small_region_that_has_a_neighbour(labels, pixels):
    made = sieve(labels, pixels)
    assert ((made == 0) == (labels == 0)).all()
    assert made.dtype == labels.dtype
    sizes = np.zeros(made.shape, int)
    for code in np.unique(made[made > 0]):
        regions, _ = label(made == code)
        sizes[made == code] = np.bincount(regions.ravel())[regions[made == code]]
    pairs = [(sizes[1:], sizes[:-1]), (sizes[:, 1:], sizes[:, :-1])]
    for one, other in pairs:
        apart = (one > 0) & (other > 0) & (one != other)
        small = np.minimum(one, other)[apart] < min(pixels, labels.size - 1)
        large = np.maximum(one, other)[apart] >= pixels
        assert not (small & large).any()


def test_sieve_takes_the_largest_neighbour():
    labels = np.array(
        [[1, 1, 1, 2, 3, 3], [1, 1, 1, 2, 3, 3], [1, 1, 1, 3, 3, 3]], np.uint16
    )
    made = sieve(labels, 3)
    assert set(np.unique(made)) == {1, 3}
    assert (made[:2, 3] == 1).all()


def test_both_in_turn_and_neither():
    labels = np.random.default_rng(1).integers(0, 4, (40, 40)).astype(np.uint8)
    both = Cleaning(majority=3, sieve=6).apply(labels)
    assert (both == sieve(majority_filter(labels, 3), 6)).all()
    assert Cleaning().apply(labels) is labels
    assert not Cleaning()


@pytest.mark.parametrize(
    ("wish", "told"),
    [
        ({"majority": 4}, "odd number of pixels"),
        ({"majority": -1}, "odd"),
        ({"sieve": 0}, "at least"),
    ],
)
def test_wishes_that_mean_nothing_are_refused(wish, told):
    with pytest.raises(CallError, match=told):
        Cleaning(**wish)


def test_merging_by_area_is_the_sieve_where_pixels_are_of_one_size():
    codes = np.random.default_rng(7).integers(1, 4, (30, 40)).astype(np.uint8)
    codes[:3] = 0
    found, regions, sizes = sieve_area(codes, 6.0, np.ones((1, 1)))
    assert (sizes[1:] >= 6).all()
    assert ((found > 0) == (codes > 0)).all()
    np.testing.assert_array_equal(sizes[1:], regions.pixels[1:])


def test_merging_by_area_goes_by_the_area_of_each_pixel():
    codes = np.ones((6, 5), np.uint8)
    codes[1, 2] = codes[4, 2] = 2
    rows = np.array([1.0, 1, 1, 5, 5, 5])[:, None]
    found, _, sizes = sieve_area(codes, 3.0, rows)
    assert found[1, 2] == 1
    assert found[4, 2] == 2
    assert sorted(sizes[1:].tolist()) == [5.0, 85.0]


def test_small_neighbours_do_not_change_places_for_ever():
    codes = np.array([[1, 2, 1, 2, 1, 2, 0, 3]], np.uint8)
    found, _, sizes = sieve_area(codes, 3.0, np.ones((1, 1)))
    assert found[0, 7] == 3
    assert (sizes[sizes >= 3] > 0).any()


MAPS_OF_REGIONS = arrays(
    np.uint8,
    array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12),
    elements=st.sampled_from([0, 1, 2, 200]),
)

PLACE = (0.3, 0.0, 4.1, 0.0, -0.3, 5.5)


@given(codes=MAPS_OF_REGIONS)
def test_a_region_is_connected_over_edges(codes):
    found = Regions.of(codes)
    assert (found.codes[found.numbers] == codes).all()
    assert found.pixels.sum() == np.count_nonzero(codes)
    count = 0
    for code in (1, 2, 200):
        numbers, own = ndimage.label(codes == code)
        count += own
        pairs = np.unique(np.stack([numbers, found.numbers])[:, numbers > 0], axis=1)
        assert pairs.shape[1] == own == len(np.unique(pairs[1]))
    assert len(found.codes) == count + 1


@pytest.mark.parametrize("pixels", [1, 20, 2**17])
@settings(max_examples=40)
@given(codes=MAPS_OF_REGIONS)
def test_strips_give_the_outlines_of_the_whole(pixels, codes):
    from affine import Affine

    whole = {
        (shapely.geometry.shape(shape).normalize().wkb, int(code))
        for shape, code in traced_whole(codes, mask=codes > 0, transform=Affine(*PLACE))
    }
    found = Regions.of(codes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_STRIP_PIXELS", pixels)
        parts = list(found.outlines(PLACE, found.pixels > 0))
    strips = [
        (shape.normalize(), int(code))
        for part in parts
        for shape, code in zip(part.shapes, part.codes, strict=True)
    ]
    # To the bit: neighbours that are traced in two strips share their corners.
    assert {(shape.wkb, code) for shape, code in strips} == whole
    assert len(strips) == len(whole)


def test_too_many_regions_are_refused(monkeypatch):
    monkeypatch.setattr(module, "_MAX_REGIONS", 30)
    board = (np.indices((8, 8)).sum(axis=0) % 2 + 1).astype(np.uint8)
    with pytest.raises(LabelError, match=r"more than 30 regions; clean it"):
        Regions.of(board)
