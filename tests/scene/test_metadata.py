"""What a file says of its image as a whole is carried along, and nothing in it is believed."""

import h5py
import numpy as np
import pytest
import xarray as xr

from hypercover.errors import SceneError
from hypercover.features.feature import feature_scene
from hypercover.scene.grid import Grid, with_grid
from hypercover.scene.io.reading import open_scene
from hypercover.scene.io.writing import write_scene
from hypercover.scene.metadata import clean_header, select_header_bands, with_header
from hypercover.scene.pansharpen.fusion import pansharpen
from hypercover.scene.scene import Scene
from hypercover.scene.selection import clip, select_bands

HEADER = """ENVI
description = {
  Reflectance of a field,
  two lines}
samples = 5
lines = 4
bands = 3
header offset = 0
file type = ENVI Standard
data type = 2
interleave = bsq
sensor type = HyMap
byte order = 0
x start = 3
Reflectance Scale Factor = 10000.0
acquisition time = 2005-06-21T10:32:00Z
default bands = {3, 2, 1}
wavelength units = Micrometers
wavelength = {0.4, 0.5, 0.6}
data gain values = {0.1, 0.2, 0.3}
data offset values = {0, 0, 1}
data ignore value = -9999
z plot titles = {Wavelength, Reflectance}
flight id = 7
band names = {a, b, c}
solar irradiance = {
 1, 2,
 3}
"""
SAID = {
    "description": "Reflectance of a field, two lines",
    "sensor type": "HyMap",
    "reflectance scale factor": "10000.0",
    "acquisition time": "2005-06-21T10:32:00Z",
    "default bands": "{3, 2, 1}",
    "data gain values": "{0.1, 0.2, 0.3}",
    "data offset values": "{0.0, 0.0, 1.0}",
    "z plot titles": "{Wavelength, Reflectance}",
    "flight id": "7",
    "solar irradiance": "{1, 2, 3}",
}


@pytest.fixture
def envi(tmp_path):
    """Image whose header says much of it."""
    np.arange(60, dtype=np.int16).tofile(tmp_path / "a.img")
    (tmp_path / "a.hdr").write_text(HEADER)
    return tmp_path / "a.hdr"


@pytest.mark.parametrize("way", [("b.tif", "c.h5", "d.hdr"), ("b.h5", "c.hdr", "d.tif")])
def test_a_whole_header_comes_back(envi, tmp_path, way):
    last = open_scene(envi)
    assert last.header == SAID
    for name in way:
        write_scene(last, tmp_path / name)
        last = open_scene(tmp_path / name)
        assert last.header == SAID, name
    assert last.band_names == ("a", "b", "c")
    assert last.nodata == -9999
    assert last.wavelengths.tolist() == [400, 500, 600]


def test_other_programs_find_scale_and_sensor(envi, tmp_path):
    import rasterio

    scene = open_scene(envi)
    with rasterio.open(write_scene(scene, tmp_path / "b.tif")) as theirs:
        assert theirs.scales == (0.1, 0.2, 0.3)
        assert theirs.offsets == (0, 0, 1)
        assert theirs.tags(ns="ENVI")["sensor_type"] == "HyMap"
    text = write_scene(scene, tmp_path / "c.hdr").with_suffix(".hdr").read_text()
    assert "reflectance scale factor = 10000.0\n" in text
    assert text.startswith("ENVI\ndescription = {Reflectance of a field, two lines}\n")
    with h5py.File(write_scene(scene, tmp_path / "d.h5")) as file:
        assert file["header"].attrs["acquisition time"] == "2005-06-21T10:32:00Z"


def test_scales_of_a_geotiff_are_kept(scene, tmp_path):
    import rasterio

    write_scene(scene, tmp_path / "a.tif")
    with rasterio.open(tmp_path / "a.tif", "r+") as file:
        file.scales, file.offsets = (1e-4,) * 6, (-0.1,) * 6
    write_scene(open_scene(tmp_path / "a.tif"), tmp_path / "b.h5")
    write_scene(open_scene(tmp_path / "b.h5"), tmp_path / "c.tif")
    with rasterio.open(tmp_path / "c.tif") as file:
        assert file.scales == (1e-4,) * 6
        assert file.offsets == (-0.1,) * 6


def test_lists_follow_the_bands_that_are_taken(envi):
    part = select_bands(open_scene(envi), keep="2-3")
    assert part.header["data gain values"] == "{0.2, 0.3}"
    assert part.header["solar irradiance"] == "{2, 3}"
    assert part.header["z plot titles"] == SAID["z plot titles"]
    assert "default bands" not in part.header
    assert select_header_bands({"default bands": "{3, 1}"}, [0, 2], 3) == {
        "default bands": "{2, 1}"
    }
    assert open_scene(envi).header == SAID


def test_what_is_made_of_an_image_keeps_what_is_still_true(envi, scene):
    whole = open_scene(envi)
    inside = np.zeros(whole.shape, bool)
    inside[1:3, 1:4] = True
    assert clip(whole, inside).header == SAID
    made = feature_scene(whole, np.ones((2, 4, 5), np.float32), ["a", "b"])
    assert made.header == {key: SAID[key] for key in ("sensor type", "acquisition time")}
    fine = Grid(26, 22, scene.grid.crs, (10.0, 0.0, 500_000.5, 0.0, -10.0, 4_480_000.0))
    grey = np.random.default_rng(0).normal(size=(1, 26, 22))
    grey = Scene(with_grid(xr.DataArray(grey, dims=("band", "y", "x")), fine))
    bands = scene.replace(cube=with_header(scene.cube, {"sun": "{1,2,3,4,5,6}", "x": "1"}))
    assert pansharpen(grey, bands).header == bands.header
    assert pansharpen(grey, bands, keep_pan=True).header == {"x": "1"}


def test_headers_are_bounded_and_printable():
    many = clean_header({f"k{at}": "x" for at in range(1000)} | {"sensor type": "a"})
    assert len(many) == 100
    assert many["sensor type"] == "a"
    refused = {
        "a": "x" * 20_000,
        "b" * 61: "x",
        "c": "{ }",
        "d": "",
        "é": "x",
        "1a": "x",
        "a:b": "x",
        "lines": "5",
        "wavelength_units": "nm",
        "HYPERCOVER_SIMULATED": "yes",
    }
    assert clean_header(refused) == {}
    assert clean_header({"a": "x\x00y\nclasses = 3\r{\ud800}"}) == {
        "a": "x y classes = 3 ( )"
    }
    assert clean_header({"a": "{a}, {b}"}) == {"a": "{a), (b}"}


def test_an_hdf5_header_is_not_believed(scene, tmp_path):
    path = write_scene(scene, tmp_path / "a.h5")
    with h5py.File(path, "r+") as file:
        group = file.create_group("header")
        group.attrs["sensor type"] = np.bytes_(b"Hy\xffMap")
        group.attrs["many"] = np.arange(1000)
        group.attrs["link"] = file["cube"].ref
        group.attrs["long"] = "x" * 60_000
        group.attrs["number"] = 4
    assert open_scene(path).header == {"sensor type": "Hy�Map", "number": "4"}
    with h5py.File(path, "r+") as file:
        del file["header"]
        file["header"] = h5py.SoftLink("/cube")
    assert open_scene(path).header == {}
    with h5py.File(path, "r+") as file:
        del file["header"]
        file["header"] = h5py.ExternalLink("other.h5", "/")
    with pytest.raises(SceneError, match="another file"):
        open_scene(path)
