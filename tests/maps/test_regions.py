"""Regions and their outlines, strip by strip, are those of the whole map."""

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from rasterio.features import shapes as traced_whole
from scipy import ndimage

from hypercover.errors import LabelError
from hypercover.maps import regions as module
from hypercover.maps.regions import Regions

MAPS = arrays(
    np.uint8,
    array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12),
    elements=st.sampled_from([0, 1, 2, 200]),
)
PLACE = (0.3, 0.0, 4.1, 0.0, -0.3, 5.5)


@given(codes=MAPS)
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
@given(codes=MAPS)
def test_strips_give_the_outlines_of_the_whole(pixels, codes):
    from affine import Affine

    whole = {
        (shapely.geometry.shape(shape).normalize().wkb, int(code))
        for shape, code in traced_whole(codes, mask=codes > 0, transform=Affine(*PLACE))
    }
    found = Regions.of(codes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_PIXELS", pixels)
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
    monkeypatch.setattr(module, "_MOST", 30)
    board = (np.indices((8, 8)).sum(axis=0) % 2 + 1).astype(np.uint8)
    with pytest.raises(LabelError, match=r"more than 30 regions; clean it"):
        Regions.of(board)
