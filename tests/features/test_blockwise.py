"""Features computed where they are read are those of the scene in one piece."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from hypercover.errors import CallError
from hypercover.features.chain import Chain, edge_medians
from hypercover.features.tree_of_shapes import border_median
from hypercover.scene.scene import Scene


def scene_of(rows=70, cols=90, bands=12, holes=True, seed=0):
    """A scene of smooth fields and noise, with a collar and a hole without data."""
    made = np.random.default_rng(seed)
    coarse = made.random((bands, rows // 10 + 1, cols // 10 + 1)) * 100
    cube = np.kron(coarse, np.ones((10, 10)))[:, :rows, :cols] + made.normal(
        size=(rows, cols)
    )
    if holes:
        cube[:, :6], cube[:, 30:40, 50:58] = 0, np.nan
    dims, attrs = ("band", "y", "x"), {"zero_is_nodata": holes}
    return Scene(xr.DataArray(cube.astype(np.float32), dims=dims, attrs=attrs))


def pieces(scene, side):
    """Read a scene in pieces and put them together."""
    whole = np.full(scene.cube.shape, -1, dtype=np.float32)
    for row in range(0, scene.shape[0], side):
        for col in range(0, scene.shape[1], side):
            at = (
                slice(row, min(row + side, scene.shape[0])),
                slice(col, min(col + side, scene.shape[1])),
            )
            whole[:, *at] = scene.read(*at)
    return whole


@pytest.mark.parametrize("chain", ["kpca:4", "pca:3", "mnf:5", "mnf:6,kpca:3,pca:2"])
@pytest.mark.parametrize("side", [7, 64])
def test_spectral_features_are_those_of_the_whole_bit_for_bit(chain, side):
    scene = scene_of()
    whole = Chain.parse(chain)
    expected = whole.fit_transform(scene, seed=3)
    fitted = Chain.parse(chain)
    levels = fitted.fit_blockwise(scene, seed=3)
    lazy = fitted.transform_blockwise(scene, levels=levels)
    assert lazy.band_names == expected.band_names
    assert levels == [None] * len(fitted.features)
    np.testing.assert_array_equal(pieces(lazy, side), expected.cube.values)
    np.testing.assert_array_equal(lazy.valid, expected.valid)
    np.testing.assert_array_equal(
        whole.transform_blockwise(scene).cube.values, expected.cube.values
    )


@pytest.mark.parametrize("chain", ["esdap:area=4/20+std=1", "pca:2,esdap:inertia=0.2/0.4"])
def test_profiles_with_everything_around_are_those_of_the_whole(chain):
    scene = scene_of()
    whole = Chain.parse(chain)
    expected = whole.fit_transform(scene, seed=0)
    lazy = whole.transform_blockwise(scene, overlap=max(scene.shape))
    np.testing.assert_array_equal(pieces(lazy, 33), expected.cube.values)


def test_profiles_of_small_areas_need_a_small_overlap():
    scene = scene_of(120, 120, 1, holes=False)
    whole = Chain.parse("esdap:area=5/10")
    expected = whole.fit_transform(scene, seed=0).cube.values
    differing = [
        float(
            (
                pieces(whole.transform_blockwise(scene, overlap=overlap), 40) != expected
            ).mean()
        )
        for overlap in (0, 10, 40)
    ]
    assert differing[0] > differing[1] >= differing[2]
    assert differing[0] > 0.01
    assert differing[2] < 0.001


def test_profiles_without_an_overlap_are_refused():
    scene = scene_of()
    for call in (Chain.transform_blockwise, Chain.fit_blockwise, Chain.border_levels):
        chain = Chain.parse("pca:2,esdap:area=5")
        if call is not Chain.fit_blockwise:
            chain.fit(scene)
        with pytest.raises(CallError, match=r"depend on the whole image.*--overlap"):
            call(chain, scene)


def test_a_piece_without_data_is_blank():
    chain = Chain.parse("esdap:area=5")
    chain.fit(scene_of())
    lazy = chain.transform_blockwise(scene_of(), overlap=0)
    assert np.isnan(lazy.read(slice(0, 5), slice(0, 90))).all()


@settings(max_examples=40, deadline=None)
@given(
    arrays.arrays(np.uint8, arrays.array_shapes(min_dims=2, max_dims=2, max_side=9)),
    st.data(),
)
def test_the_level_around_is_that_of_the_whole_band(band, data):
    mask = data.draw(arrays.arrays(bool, band.shape))
    values = np.where(mask, band + 1.0, np.nan)
    scene = Scene(xr.DataArray(values[None], dims=("band", "y", "x")))
    assert edge_medians(scene) == [border_median(values, mask)]
