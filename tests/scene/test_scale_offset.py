"""Scale and offset of the bands, in every way that files state them."""

import h5py
import numpy as np
import pytest
import rasterio
import xarray as xr
from scipy.io import netcdf_file

from hypercover.scene.encoding import ScaleOffset, header_from_attributes, rescale
from hypercover.scene.io.reading import open_scene
from hypercover.scene.scene import Scene

VALUES = np.arange(1, 3 * 4 * 5 + 1, dtype=np.int16).reshape(3, 4, 5) * 40
THOUSANDTHS = ScaleOffset((0.001,) * 3, (0.0,) * 3)
SHIFTED = ScaleOffset((0.001,) * 3, (-0.1,) * 3)
OF_BANDS = ScaleOffset((0.001, 0.002, 0.004), (0.0, 0.5, -0.5))


def envi(folder, extra):
    (folder / "image.img").write_bytes(VALUES.tobytes())
    (folder / "image.hdr").write_text(
        "ENVI\nsamples = 5\nlines = 4\nbands = 3\ndata type = 2\ninterleave = bsq\n"
        f"byte order = 0\nwavelength units = nm\nwavelength = {{490, 560, 665}}\n{extra}\n"
    )
    return folder / "image.hdr"


def tiff(folder, scales=None, offsets=None, tags=None, of_bands=None):
    path = folder / "image.tif"
    shape = {"count": 3, "height": 4, "width": 5}
    with rasterio.open(path, "w", driver="GTiff", dtype="int16", **shape) as file:
        file.write(VALUES)
        if scales:
            file.scales, file.offsets = scales, offsets or [0.0] * 3
        file.update_tags(**(tags or {}))
        for band, given in enumerate(of_bands or (), 1):
            file.update_tags(band, **given)
    return path


def hdf5(folder, **attrs):
    with h5py.File(folder / "image.h5", "w") as file:
        file["cube"] = VALUES
        file["cube"].attrs.update(attrs)
    return folder / "image.h5"


def netcdf(folder, **attrs):
    with netcdf_file(str(folder / "image.nc"), "w") as file:
        for name, size in zip(("band", "y", "x"), VALUES.shape, strict=True):
            file.createDimension(name, size)
        variable = file.createVariable("cube", "i2", ("band", "y", "x"))
        variable[:] = VALUES
        for key, value in attrs.items():
            setattr(variable, key, value)
    return folder / "image.nc"


STATED = [
    (envi, ["reflectance scale factor = 1000"], {}, THOUSANDTHS),
    (envi, ["Reflectance Scale Factor = 1000.0"], {}, THOUSANDTHS),
    (
        envi,
        ["data gain values = {0.001, 0.002, 0.004}\ndata offset values = {0, 0.5, -0.5}"],
        {},
        OF_BANDS,
    ),
    (tiff, [[0.001] * 3], {}, THOUSANDTHS),
    (tiff, [[0.001] * 3, [-0.1] * 3], {}, SHIFTED),
    (tiff, [[0.001, 0.002, 0.004], [0, 0.5, -0.5]], {}, OF_BANDS),
    (tiff, [], {"tags": {"REFLECTANCE_SCALE_FACTOR": "1000"}}, THOUSANDTHS),
    (
        tiff,
        [],
        {"of_bands": [{"scale_factor": "0.001", "add_offset": "-0.1"}] * 3},
        SHIFTED,
    ),
    (hdf5, [], {"Scale_Factor": 1000.0}, THOUSANDTHS),
    (hdf5, [], {"SCALE_FACTOR": np.float32(1000)}, THOUSANDTHS),
    (hdf5, [], {"reflectance scale factor": "1000"}, THOUSANDTHS),
    (hdf5, [], {"scale_factor": 0.001, "add_offset": -0.1}, SHIFTED),
    (
        hdf5,
        [],
        {
            "scale_factor": np.array([0.001, 0.002, 0.004]),
            "add_offset": np.array([0, 0.5, -0.5]),
        },
        OF_BANDS,
    ),
    (netcdf, [], {"scale_factor": 0.001, "add_offset": -0.1}, SHIFTED),
    (netcdf, [], {"Scale_Factor": 1000.0}, THOUSANDTHS),
    (
        netcdf,
        [],
        {
            "scale_factor": np.array([0.001, 0.002, 0.004]),
            "add_offset": np.array([0, 0.5, -0.5]),
        },
        OF_BANDS,
    ),
]


def opened(path):
    axes = None if path.suffix in (".hdr", ".tif") else "band,row,col"
    return open_scene(path, labels=False, axes=axes)


@pytest.mark.parametrize(("write", "args", "named", "meaning"), STATED)
def test_what_a_file_states_is_read(tmp_path, write, args, named, meaning):
    scene = opened(write(tmp_path, *args, **named))
    found = ScaleOffset.of(scene)
    np.testing.assert_allclose(found.scale, meaning.scale, rtol=1e-6)
    np.testing.assert_allclose(found.offset, meaning.offset, atol=1e-12)
    # Of some bands, in another order.
    turned = ScaleOffset.of(scene.take_bands([2, 0]))
    np.testing.assert_allclose(
        turned.scale, [meaning.scale[2], meaning.scale[0]], rtol=1e-6
    )


@pytest.mark.parametrize(
    ("write", "named"),
    [
        (envi, {"extra": "reflectance scale factor = 0"}),
        (envi, {"extra": "reflectance scale factor = {10, 20}"}),
        (tiff, {}),
        (hdf5, {"Scale_Factor": "none"}),
        (hdf5, {"scale_factor": np.nan}),
        (hdf5, {"scale_factor": np.array([1.0, 2.0])}),
        (netcdf, {"units": "1"}),
    ],
)
def test_what_makes_no_sense_states_nothing(tmp_path, write, named):
    assert ScaleOffset.of(opened(write(tmp_path, **named))) is None


def test_the_key_of_cf_multiplies_and_others_divide():
    def scale(whole=True, **attrs):
        found = header_from_attributes(attrs, 1, whole=whole)
        return float(found["data gain values"].strip("{}"))

    assert scale(scale_factor=10000) == pytest.approx(1e-4)
    assert scale(scale_factor=100, add_offset=0) == 100
    assert scale(scale_factor=100, whole=False) == 100
    assert scale(ScaleFactor=100, whole=False) == pytest.approx(0.01)
    assert scale(scale_factor=0.5, SCALE=1000) == 0.5


def test_an_array_of_xarray_states_them_in_its_attributes():
    attrs = {"scale_factor": 0.001, "add_offset": -0.1}
    assert ScaleOffset.of(
        Scene(xr.DataArray(VALUES, dims=("band", "y", "x"), attrs=attrs))
    ) == (SHIFTED)


def test_values_are_brought_to_others_where_they_are_read():
    cube = xr.DataArray(VALUES.copy(), dims=("band", "y", "x"), attrs={"nodata": -9999.0})
    cube[:, 1, 2] = -9999
    cube[0, 3, 3] = -9999
    scene = Scene(cube)
    factor, shift = OF_BANDS.towards(SHIFTED)
    made = rescale(scene, factor, shift, SHIFTED)
    whole = made.cube.values
    quantity = VALUES * np.reshape(OF_BANDS.scale, (3, 1, 1)) + np.reshape(
        OF_BANDS.offset, (3, 1, 1)
    )
    held = np.ones((4, 5), bool)
    held[1, 2] = held[3, 3] = False
    np.testing.assert_array_equal(made.valid, held)
    np.testing.assert_allclose(whole[:, held] * 0.001 - 0.1, quantity[:, held], rtol=1e-5)
    assert np.isnan(whole[:, ~held]).all()
    assert ScaleOffset.of(made) == SHIFTED
    # Pieces, bands and every second pixel are those of the whole.
    np.testing.assert_array_equal(made.read(slice(1, 3), slice(2, 5)), whole[:, 1:3, 2:5])
    piece = made.take_bands([2, 0]).cube[:, ::2, 1::2]
    np.testing.assert_array_equal(piece, whole[[2, 0]][:, ::2, 1::2])


def test_the_same_meaning_changes_nothing():
    assert THOUSANDTHS.towards(THOUSANDTHS) is None
    assert (
        THOUSANDTHS.towards(ScaleOffset((float(np.float32(0.001)),) * 3, (0.0,) * 3))
        is None
    )
    factor, shift = SHIFTED.towards(THOUSANDTHS)
    assert factor.tolist() == [1.0] * 3
    np.testing.assert_allclose(shift, -100)
