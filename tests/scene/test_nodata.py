"""No data is known by every route, and masks the same pixels whole and piece by piece."""

import numpy as np
import pytest
import rasterio
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from rasterio.enums import ColorInterp

from hypercover.errors import SceneError
from hypercover.features.chain import Chain
from hypercover.scene.encoding import with_fill_value
from hypercover.scene.io.reading import open_scene
from hypercover.scene.io.writing import write_scene
from hypercover.scene.nodata import (
    NodataRule,
    declared_nodata,
    fill_note,
    valid_pixels,
    with_nodata,
)
from hypercover.scene.scene import Scene
from hypercover.scene.selection import crop, select_bands

DIMS = ("band", "y", "x")
SIZE = (12, 15)


def write(path, values, nodata=None, **options):
    """Write a raster (band, row, col)."""
    bands, rows, cols = values.shape
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        count=bands,
        height=rows,
        width=cols,
        dtype=values.dtype,
        nodata=nodata,
        **options,
    ) as file:
        file.write(values)
    return path


@pytest.fixture
def hole():
    """Where there is no data."""
    made = np.zeros(SIZE, bool)
    made[3:7, 4:9] = made[11, 14] = True
    return made


@pytest.fixture
def cube():
    """Three bands of bytes, zeros among them."""
    return np.random.default_rng(0).integers(0, 255, (3, *SIZE)).astype("uint8")


def with_alpha(path, cube, hole, name):
    alpha = np.where(hole, 0, 255).astype("uint8")
    write(path, np.concatenate([cube, alpha[None]]))
    with rasterio.open(path, "r+") as file:
        file.colorinterp = [
            ColorInterp.gray,
            *[ColorInterp.undefined] * 2,
            ColorInterp.alpha,
        ]


def with_mask(path, cube, hole, name):
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=name == "internal"):
        write(path, cube)
        with rasterio.open(path, "r+") as file:
            file.write_mask(~hole)
    assert path.with_name(f"{path.name}.msk").exists() == (name == "beside")


@pytest.mark.parametrize(
    ("make", "name"),
    [(with_alpha, "alpha"), (with_mask, "internal"), (with_mask, "beside")],
)
def test_masks_of_a_raster_are_no_data_and_no_band(make, name, cube, hole, tmp_path):
    make(tmp_path / "a.tif", cube, hole, name)
    scene = open_scene(tmp_path / "a.tif")
    assert scene.n_bands == 3
    np.testing.assert_array_equal(scene.cube.values, cube)
    np.testing.assert_array_equal(scene.valid, ~hole)
    # Whatever is cut or selected keeps its mask.
    part = select_bands(crop(scene, "2:12,3:15"), keep="2-3")
    np.testing.assert_array_equal(part.valid, ~hole[2:, 3:])
    values, valid = part.read_valid(slice(1, 4), slice(0, 5))
    np.testing.assert_array_equal(values, cube[1:, 3:6, 3:8])
    np.testing.assert_array_equal(valid, ~hole[3:6, 3:8])


@pytest.mark.parametrize("suffix", [".tif", ".hdr", ".h5"])
def test_a_masked_image_is_written_with_a_declared_value(suffix, cube, hole, tmp_path):
    with_alpha(tmp_path / "a.tif", cube, hole, "alpha")
    cube[0, 0, 0], cube[1] = 255, 7
    scene = open_scene(tmp_path / "a.tif")
    written = open_scene(write_scene(scene, tmp_path / f"b{suffix}"))
    assert written.nodata is not None
    np.testing.assert_array_equal(written.valid, ~hole)
    np.testing.assert_array_equal(
        written.cube.values[:, ~hole], scene.cube.values[:, ~hole]
    )


def test_four_bands_of_bytes_hold_near_infrared_whatever_gdal_calls_it(tmp_path):
    values = np.random.default_rng(0).integers(1, 255, (4, *SIZE)).astype("uint8")
    with rasterio.open(write(tmp_path / "a.tif", values)) as file:
        assert file.colorinterp[3] == ColorInterp.alpha
    scene = open_scene(tmp_path / "a.tif")
    np.testing.assert_array_equal(scene.cube.values, values)
    assert scene.valid.all()
    assert "Band 4 is called alpha but varies" in scene.notes[1]
    # Written again they are not called so.
    with rasterio.open(write_scene(scene, tmp_path / "b.tif")) as file:
        assert ColorInterp.alpha not in file.colorinterp


def test_a_band_named_alpha_that_looks_like_one_is_no_band(cube, hole, tmp_path):
    alpha = np.where(hole, 0, 255)
    path = write(tmp_path / "a.tif", np.concatenate([cube, alpha[None]]).astype("int16"))
    wide = write(tmp_path / "b.tif", np.concatenate([cube, cube[:1]]).astype("int16"))
    for one in (path, wide):
        with rasterio.open(one, "r+") as file:
            file.descriptions = ["red", "green", "blue", "Alpha"]
    scene = open_scene(path)
    assert scene.n_bands == 3
    np.testing.assert_array_equal(scene.valid, ~hole)
    assert open_scene(wide).n_bands == 4


def test_each_band_has_its_own_value(tmp_path):
    """A VRT, as GDAL makes of files that declare different values."""
    values = np.full((2, *SIZE), 50, "int16")
    values[0, 1, 1], values[1, 2, 2] = -1, -9
    # The value of one band is a measurement in the other.
    values[0, 5, 5], values[1, 6, 6] = -9, -1
    cube = xr.DataArray(values, dims=DIMS, coords={"nodata": ("band", [-1.0, -9.0])})
    expected = np.ones(SIZE, bool)
    expected[1, 1] = expected[2, 2] = False
    scene = Scene(cube)
    np.testing.assert_array_equal(scene.valid, expected)
    assert scene.take_bands([1]).valid.sum() == expected.size - 1
    written = open_scene(write_scene(scene, tmp_path / "a.tif"))
    np.testing.assert_array_equal(written.valid, expected)
    np.testing.assert_array_equal(written.cube.values[:, expected], values[:, expected])


@pytest.mark.parametrize(
    "key",
    [
        "_FillValue",
        "missing_value",
        "Data_Ignore_Value",
        "data ignore value",
        "NoData",
        "NODATA",
        "no_data_value",
        "fillvalue",
        "fill_value",
        "Missing_Value",
    ],
)
@pytest.mark.parametrize(
    "value", [-9999, "-9999", b"-9999.0", np.int16(-9999), np.array([-9999.0])]
)
def test_any_spelling_declares_no_data(key, value):
    assert declared_nodata({key: value, "title": "-1"}, "int16") == {"nodata": -9999.0}


@pytest.mark.parametrize("value", ["", " ", "none", None, [], "-99999", "0.5", object()])
def test_what_is_blank_or_cannot_occur_declares_nothing(value):
    assert declared_nodata({"data ignore value": value}, "int16") == {}


def test_a_valid_range_masks_what_lies_outside():
    values = np.array([[[-1, 0, 100, 101]]], "int16")
    for attrs in ({"valid_range": [0, 100]}, {"valid_min": 0, "valid_max": "100"}):
        cube = xr.DataArray(values, dims=DIMS, attrs=attrs)
        assert valid_pixels(cube).tolist() == [[False, True, True, False]]


def test_a_rioxarray_keeps_its_no_data():
    """Rioxarray notes it as ``_FillValue`` among the attributes."""
    values = np.array([[[5, -7, 3]]], "int16")
    scene = Scene(xr.DataArray(values, dims=DIMS, attrs={"_FillValue": -7}))
    assert scene.nodata == -7
    assert scene.valid.tolist() == [[True, False, True]]


def test_zero_is_data_unless_it_is_stated():
    cube = xr.DataArray(np.array([[[0, 0, 3]], [[0, 2, 0]]]), dims=DIMS)
    assert Scene(cube).valid.all()
    stated = with_nodata(cube, "all-zero", "a")
    assert Scene(stated).valid.tolist() == [[False, True, True]]
    assert Scene(with_nodata(stated, "none", "a")).valid.all()
    assert Scene(with_nodata(cube, 0, "a")).valid.tolist() == [[False, False, False]]


def test_what_is_stated_joins_what_is_declared(tmp_path):
    values = np.array([[[1, -1, 5, -9]], [[1, 1, 1, 1]]], "int16")
    path = write(tmp_path / "a.tif", values, nodata=-1)
    assert open_scene(path).valid.tolist() == [[True, False, True, True]]
    both = open_scene(path, nodata=-9)
    assert both.valid.tolist() == [[True, False, True, False]]
    assert "No data as stated: -9; together with the file: -9, -1." in both.notes
    alone = open_scene(path, nodata=["none", "-9"])
    assert alone.valid.tolist() == [[True, True, True, False]]
    assert open_scene(path, nodata="5,-9").valid.tolist() == [[True, False, False, False]]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("water", "got 'water'; write for example --nodata -9999"),
        (-40_000, "No pixel of a can be -40000, the given value for no data"),
        (0.5, "its type is int16"),
    ],
)
def test_what_cannot_be_no_data_is_refused(given, words, tmp_path):
    path = write(tmp_path / "a.tif", np.ones((1, 3, 3), "int16"))
    with pytest.raises(SceneError, match=words):
        open_scene(path, nodata=given)


finite = st.integers(-3, 3)


@given(
    st.lists(finite, min_size=8, max_size=8),
    st.lists(finite, max_size=2),
    st.booleans(),
    st.lists(st.booleans(), min_size=4, max_size=4),
)
def test_the_rule_is_that_of_a_loop_over_pixels(numbers, absent, zero, mask):
    values = np.array(numbers, "float32").reshape(2, 2, 2)
    values[values == 3] = np.nan
    has_data = np.array(mask).reshape(2, 2)
    cube = xr.DataArray(values, dims=DIMS, attrs={"zero_is_nodata": zero})
    cube = cube.assign_coords(has_data=(("y", "x"), has_data))
    cube.attrs["nodata"] = tuple(map(float, absent))
    found = valid_pixels(cube)
    for row, col in np.ndindex(2, 2):
        pixel = values[:, row, col].tolist()
        fine = has_data[row, col] and not any(v != v or v in absent for v in pixel)
        assert found[row, col] == (fine and not (zero and pixel == [0, 0]))
    one = with_fill_value(Scene(cube))
    np.testing.assert_array_equal(one.valid, found)
    assert len(one.nodata_rule.values) <= 1
    assert "has_data" not in one.cube.coords


def test_a_rule_names_its_values():
    assert str(NodataRule((-9999.0,), (), (0.0, 1.0), zero=True)) == (
        "-9999, outside 0 to 1, all-zero"
    )
    assert not NodataRule()


def noted(values):
    return fill_note(xr.DataArray(values, dims=DIMS))


@pytest.fixture
def land():
    """Reflectance of four bands in thousandths, dark in places, with single zeros."""
    made = np.random.default_rng(1).integers(20, 900, (4, 30, 40)).astype("int16")
    made[1, 3, 4] = made[0, 0, 9] = 0
    return made


@pytest.mark.parametrize(
    ("dtype", "value", "text"),
    [
        ("int16", -9999, "-9999"),
        ("int16", -32768, "-32768"),
        ("int16", 0, "all-zero"),
        ("uint16", 65535, "65535"),
        ("float32", -3.4e38, "-3.4e+38"),
        ("float64", -1.7976931348623157e308, "-1.7976931348623157e+308"),
        ("float32", 1e20, "1e+20"),
        ("int32", 12345, "12345"),
        ("int16", -1, "-1"),
    ],
)
def test_fill_at_the_border_is_noted_with_value_count_and_option(dtype, value, text, land):
    assert noted(land) is None
    values = land.astype(dtype)
    values[:, :6, :7] = value
    said = noted(values)
    assert "Of 1,200 pixels, 42 are" in said
    assert f"unless --nodata {text} (scene.nodata: {text}) is given" in said
    stated = with_nodata(xr.DataArray(values, dims=DIMS), text, "a")
    assert fill_note(stated) is None
    assert (~valid_pixels(stated)).sum() == 42


def test_two_kinds_of_fill_are_noted_and_chance_is_not(land):
    land[:, :5], land[2, 20, 20] = 0, -9999
    said = noted(land)
    assert "200 are 0 in all bands examined, 1 are -9999 in a band" in said
    # Zero inside, or a bright or dark pixel at the border, is what land looks like.
    land[:, :5], land[2, 20, 20] = 300, 5
    land[:, 9:14, 9:14], land[:, 0, 0], land[:, 7, 0] = 0, 899, 20
    assert noted(land) is None
    assert noted(np.full((3, 5, 5), 7)) is None
    assert noted(np.zeros((3, 5, 5))) is None


def test_of_a_large_image_pieces_along_the_border_are_looked_at(land, monkeypatch):
    monkeypatch.setattr("hypercover.scene.nodata._WHOLE", 100)
    monkeypatch.setattr("hypercover.scene.nodata._SIDE", 4)
    land[:, :, -3:] = -9999
    said = noted(land)
    assert "examined along the border" in said
    assert "are -9999" in said


def test_profiles_of_whole_numbers_hold_zero(land):
    land[:, 10:20, 10:20] = 0
    scene = Scene(xr.DataArray(land[:2], dims=DIMS))
    stack = Chain.parse("esdap:area=9").fit_transform(scene)
    assert np.isfinite(stack.cube.values).all()
    assert stack.valid.all()


@pytest.mark.parametrize(
    "largest", [np.int32(2**31 - 1), np.uint64(2**64 - 1), np.float32(3.4028235e38)]
)
def test_the_largest_value_of_a_type_is_named_as_it_is(largest):
    """Rounded to six digits it would lie beyond its type."""
    values = np.full((1, 1, 2), largest)
    values[..., 1] = 0
    note = fill_note(xr.DataArray(values, dims=("band", "y", "x")))
    assert str(largest) in note or f"{float(largest):.8g}" in note
