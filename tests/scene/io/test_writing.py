"""What is written comes back: values, wavelengths, georeference, names and colours."""

import os
import resource
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import rasterio
import spectral.io.envi as envi
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hypercover.errors import CallError, OutputError, SceneError
from hypercover.scene.grid import Grid, with_grid
from hypercover.scene.io.reading import open_labels, open_scene
from hypercover.scene.io.writing import write_labels, write_scene
from hypercover.scene.legend import Legend
from hypercover.scene.scene import Scene
from hypercover.scene.tiling import LazyArray

FORMATS = ["a.tif", "a.hdr", "a.img", "a.dat", "a.bil", "a.bip"]
CRSES = [None, "EPSG:32616", "EPSG:4326", "EPSG:3035"]


def whole(scene):
    return scene.read(slice(None), slice(None))


def assert_same(found, scene):
    np.testing.assert_array_equal(whole(found), whole(scene))
    assert found.cube.dtype == scene.cube.dtype.newbyteorder("=")
    for one, other in (
        (found.wavelengths, scene.wavelengths),
        (found.fwhm, scene.fwhm),
        (found.bad, scene.bad),
        (found.bands, scene.bands),
    ):
        np.testing.assert_array_equal(one, other)
    assert found.nodata == scene.nodata or np.isnan([found.nodata, scene.nodata]).all()
    assert found.simulated == scene.simulated
    assert found.cube.attrs.get("units") == scene.cube.attrs.get("units")
    np.testing.assert_allclose(found.grid.transform, scene.grid.transform, rtol=1e-12)
    if scene.grid.crs is None:
        assert found.grid.crs is None
    else:
        crs = rasterio.crs.CRS.from_wkt
        assert crs(found.grid.crs) == crs(scene.grid.crs)


@pytest.mark.parametrize("name", [*FORMATS, "a.h5"])
def test_everything_survives(tmp_path, scene, name):
    scene = scene.replace(simulated=True, name="Feld {1}, Nord = Süd")
    write_scene(scene, tmp_path / name)
    assert_same(open_scene(tmp_path / name), scene)


@pytest.mark.parametrize("name", ["a.tif", "a.hdr", "a.h5"])
def test_chosen_bands_keep_their_numbers(tmp_path, scene, name):
    write_scene(scene.take_bands([0, 3, 5]), tmp_path / name)
    found = open_scene(tmp_path / name)
    np.testing.assert_array_equal(found.bands, [1, 4, 6])
    np.testing.assert_array_equal(found.wavelengths, scene.wavelengths[[0, 3, 5]])


def positive(count, least=200, most=20_000):
    lengths = st.floats(least, most, allow_nan=False)
    return hnp.arrays(np.float64, count, elements=lengths)


@st.composite
def scenes(draw):
    dtype = draw(st.sampled_from(["u1", "i2", "u2", ">u2", "i4", "f4", "f8"]))
    shape = draw(hnp.array_shapes(min_dims=3, max_dims=3, max_side=5))
    values = draw(
        hnp.arrays(dtype, shape, elements=hnp.from_dtype(np.dtype(dtype), allow_nan=False))
    )
    nodata = draw(st.sampled_from([None, 0, 7]))
    cube = xr.DataArray(values, dims=("band", "y", "x"))
    cube.attrs = {} if nodata is None else {"nodata": nodata}
    if draw(st.booleans()):
        cube = cube.assign_coords(wavelength=("band", draw(positive(shape[0]))))
        if draw(st.booleans()):
            # Narrower than 0.5 nm or wider than their centre, they are of another unit.
            cube = cube.assign_coords(fwhm=("band", draw(positive(shape[0], 1, 150))))
    if draw(st.booleans()):
        cube = cube.assign_coords(bad=("band", draw(hnp.arrays(bool, shape[0]))))
    crs = draw(st.sampled_from(CRSES))
    if crs is None:
        return Scene(with_grid(cube, Grid(*shape[1:])))
    size = st.floats(0.001, 100)
    place = (
        draw(size),
        0.0,
        draw(st.floats(-170, 170)),
        0.0,
        -draw(size),
        draw(st.floats(-80, 80)),
    )
    wkt = rasterio.crs.CRS.from_string(crs).to_wkt()
    return Scene(with_grid(cube, Grid(*shape[1:], wkt, place)))


@pytest.mark.parametrize("name", ["a.tif", "a.hdr", "a.h5"])
@given(scene=scenes())
@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_any_scene_comes_back(tmp_path, name, scene):
    write_scene(scene, tmp_path / name)
    assert_same(open_scene(tmp_path / name), scene)


@pytest.mark.parametrize("interleave", ["bsq", "bil", "bip"])
def test_envi_is_read_alike_by_another_implementation(tmp_path, scene, interleave):
    write_scene(scene, tmp_path / "a.hdr", interleave=interleave)
    theirs = envi.open(str(tmp_path / "a.hdr"))
    assert theirs.metadata["interleave"] == interleave
    np.testing.assert_array_equal(theirs.load(dtype="i2").transpose(2, 0, 1), whole(scene))
    np.testing.assert_allclose(theirs.bands.centers, scene.wavelengths)
    np.testing.assert_allclose(theirs.bands.bandwidths, scene.fwhm)
    assert [int(one) for one in theirs.metadata["bbl"]] == [1, 1, 0, 1, 1, 1]
    assert theirs.bands.band_unit == "Nanometers"


def test_no_name_of_a_draft_stays(tmp_path, scene):
    for name in FORMATS:
        write_scene(scene, tmp_path / name)
    assert sorted(one.name for one in tmp_path.iterdir()) == sorted(
        ["a.tif", "a.hdr", "a.img", "a.dat", "a.bil", "a.bip"]
    )
    assert ".part" not in (tmp_path / "a.hdr").read_text()


@pytest.mark.parametrize("name", ["a.tif", "a.hdr", "a.h5"])
def test_what_a_killed_process_left_of_the_file_is_swept_up(tmp_path, scene, name):
    """A draft may be as large as a disk; of living writers and other files nothing goes."""
    suffix = ".img" if name == "a.hdr" else Path(name).suffix
    living = tmp_path / f".a.{os.getpid()}-77.part{suffix}"
    others = tmp_path / f".b.999999999-0.part{suffix}"
    dead = tmp_path / f".a.999999999-0.part{suffix}"
    for draft in (living, others, dead):
        draft.touch()
    write_scene(scene, tmp_path / name)
    assert living.exists()
    assert others.exists()
    assert not dead.exists()


def test_band_tags_are_those_of_gdal(tmp_path, scene):
    write_scene(scene, tmp_path / "a.tif", tags={"SEED": "3"})
    with rasterio.open(tmp_path / "a.tif") as file:
        assert file.tags(2, ns="IMAGERY")["CENTRAL_WAVELENGTH_UM"].startswith("0.4334")
        assert file.tags()["SEED"] == "3"
        assert file.descriptions[3] == "Band 4"
        assert file.profile["tiled"]
        assert file.profile["compress"] == "deflate"


def test_written_in_pieces(tmp_path):
    """A cube larger than one piece is never asked for whole."""
    asked = []

    def fetch(wanted):
        asked.append(np.prod([len(part) for part in wanted]))
        band, row, col = np.ix_(*wanted)
        return (band * 7 + row * 3 + col).astype(np.uint16)

    shape = (300, 150, 900)
    cube = xr.DataArray(
        LazyArray(shape, "u2", fetch).as_variable_data(), dims=("band", "y", "x")
    )
    scene = Scene(cube)
    write_scene(scene, tmp_path / "a.tif")
    assert max(asked) <= 2**24 < np.prod(shape)
    found = open_scene(tmp_path / "a.tif")
    np.testing.assert_array_equal(
        found.read(slice(140, 150), slice(890, 900)),
        scene.read(slice(140, 150), slice(890, 900)),
    )


def test_the_same_scene_gives_the_same_bytes(tmp_path, scene):
    for folder in ("one", "two"):
        write_scene(scene, tmp_path / folder / "a.tif")
        write_scene(scene, tmp_path / folder / "b.hdr")
        write_scene(scene, tmp_path / folder / "c.h5")
    for name in ("a.tif", "b.hdr", "b.img", "c.h5"):
        assert (tmp_path / "one" / name).read_bytes() == (
            tmp_path / "two" / name
        ).read_bytes()


class TestRefused:
    @pytest.mark.parametrize("name", ["a.jpg", "a", "a.mat"])
    def test_suffix(self, tmp_path, scene, name):
        with pytest.raises(CallError, match=r"GeoTIFF \(\.tif\), ENVI"):
            write_scene(scene, tmp_path / name)

    def test_interleave(self, tmp_path, scene):
        with pytest.raises(CallError, match="bsq, bil or bip, got 'bqs'"):
            write_scene(scene, tmp_path / "a.hdr", interleave="bqs")

    def test_a_sheared_grid_in_envi(self, tmp_path, scene):
        grid = Grid(13, 11, scene.grid.crs, (20.0, 3.0, 5e5, 0.0, -20.0, 4e6))
        sheared = scene.replace(cube=with_grid(scene.cube, grid))
        with pytest.raises(CallError, match="write a GeoTIFF"):
            write_scene(sheared, tmp_path / "a.hdr")
        assert not list(tmp_path.iterdir())
        for name in ("a.tif", "a.h5"):
            write_scene(sheared, tmp_path / name)
            assert open_scene(tmp_path / name).grid == grid


class TestNothingHalfWritten:
    @pytest.mark.parametrize("name", ["a.tif", "a.hdr", "a.h5"])
    def test_a_failure_keeps_the_old_file(self, tmp_path, scene, name):
        write_scene(scene, tmp_path / name)
        before = {one: one.read_bytes() for one in tmp_path.iterdir()}

        def fail(wanted):
            raise SceneError("the source broke")

        broken = LazyArray(scene.cube.shape, "i2", fail).as_variable_data()
        with pytest.raises((SceneError, OutputError)):
            write_scene(
                Scene(xr.DataArray(broken, dims=("band", "y", "x"))), tmp_path / name
            )
        assert {one: one.read_bytes() for one in tmp_path.iterdir()} == before

    @pytest.mark.parametrize("name", ["a.tif", "a.hdr", "a.h5"])
    def test_a_full_disk(self, tmp_path, name):
        """A limit on the size of files stands for the disk that is full."""
        code = (
            "import resource, signal, sys, numpy as np, xarray as xr\n"
            "from hypercover.errors import OutputError\n"
            "from hypercover.scene.scene import Scene\n"
            "from hypercover.scene.io.writing import write_scene\n"
            "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
            "noise = np.random.default_rng(0).integers(0, 2**16, (9, 200, 200)).astype('u2')\n"
            "scene = Scene(xr.DataArray(noise, dims=('band', 'y', 'x')))\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))\n"
            "try:\n    write_scene(scene, sys.argv[1])\n"
            "except OutputError as error:\n    print(error)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / name)],
            capture_output=True,
            text=True,
            check=True,
            timeout=300,
        )
        assert f"Cannot write {tmp_path / name}" in done.stdout
        assert not list(tmp_path.iterdir())
        assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 200_000

    @pytest.mark.skipif(not Path("/sys/kernel").is_dir(), reason="needs Linux's /sys")
    def test_a_folder_that_even_root_may_not_write(self, scene):
        with pytest.raises(OutputError, match="permission is denied"):
            write_scene(scene, "/sys/kernel/hypercover/a.tif")

    def test_a_file_in_place_of_the_folder(self, tmp_path, scene):
        (tmp_path / "file").touch()
        with pytest.raises(OutputError, match="Cannot write"):
            write_scene(scene, tmp_path / "file" / "a.tif")

    def test_a_stale_sidecar_goes(self, tmp_path, scene):
        (tmp_path / "a.tif.aux.xml").write_text("<PAMDataset/>")
        write_scene(scene, tmp_path / "a.tif")
        assert not (tmp_path / "a.tif.aux.xml").exists()


class TestLabels:
    LEGEND = Legend.of({1: "A & <B>", 2: "Süd", 5: "", 9: "not there"}, {2: "#0a0b0c"})

    @pytest.mark.parametrize("name", ["gt.tif", "gt.hdr", "gt.img"])
    def test_names_and_colours_come_back(self, tmp_path, codes, utm, name):
        legend = Legend.of({1: "A & <B>", 2: "Süd", 5: "Wald (alt)"}, {2: "#0a0b0c"})
        write_labels(codes, legend, utm, tmp_path / name)
        found, known = open_labels(tmp_path / name, utm)
        np.testing.assert_array_equal(found, codes)
        assert known == legend

    def test_envi_lists_survive_hostile_names(self, tmp_path, codes, utm):
        legend = Legend.of({1: "a, {b}\n= c", 2: "d", 5: "e"})
        write_labels(codes, legend, utm, tmp_path / "gt.hdr")
        assert open_labels(tmp_path / "gt.hdr", utm)[1].names == ("a, {b} = c", "d", "e")
        (tmp_path / "gt.img.aux.xml").unlink()
        assert open_labels(tmp_path / "gt.hdr", utm)[1].names == ("a; (b) - c", "d", "e")
        header = envi.read_envi_header(str(tmp_path / "gt.hdr"))
        assert header["file type"] == "ENVI Classification"
        assert header["class names"][2] == "d"
        assert len(header["class lookup"]) == 3 * int(header["classes"]) == 18

    def test_large_codes(self, tmp_path, codes, utm):
        large = codes.astype(np.uint16) * 9000
        write_labels(large, Legend.of({9000: "x", 18000: "y"}), utm, tmp_path / "gt.tif")
        found, known = open_labels(tmp_path / "gt.tif", utm)
        np.testing.assert_array_equal(found, large)
        assert known.names == ("x", "y", "Class 45000")

    def test_gdal_sees_them(self, tmp_path, codes, utm):
        write_labels(codes, self.LEGEND, utm, tmp_path / "gt.tif")
        with rasterio.open(tmp_path / "gt.tif") as file:
            assert file.nodata == 0
            assert file.colormap(1)[2] == (10, 11, 12, 255)
            assert file.crs.to_epsg() == 32616
        assert "<Category>A &amp; &lt;B&gt;</Category>" in (
            tmp_path / "gt.tif.aux.xml"
        ).read_text(encoding="utf-8")

    def test_the_size_must_be_that_of_the_grid(self, tmp_path, codes, utm):
        with pytest.raises(CallError, match="13 rows × 11 columns"):
            write_labels(codes[1:], self.LEGEND, utm, tmp_path / "gt.tif")


def test_nothing_leaks_to_the_user(tmp_path, values, codes, capfd, recwarn):
    warnings.simplefilter("always")
    for suffix in ("tif", "hdr"):
        write_scene(
            Scene(xr.DataArray(values, dims=("band", "y", "x"))), tmp_path / f"a.{suffix}"
        )
        write_labels(codes, Legend(), Grid(13, 11), tmp_path / f"gt.{suffix}")
    assert not recwarn.list
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["named.tif", "named.hdr", "named.h5"])
def test_names_of_bands_are_kept_and_numbers_are_no_names(tmp_path, name):
    cube = xr.DataArray(np.ones((2, 3, 4), np.float32), dims=("band", "y", "x"))
    plain = write_scene(Scene(cube), tmp_path / f"plain-{name}")
    assert open_scene(plain).band_names is None
    named = cube.assign_coords(band_name=("band", ["kpca1", "kpca1 area<5"]))
    written = write_scene(Scene(named), tmp_path / name)
    again = open_scene(written)
    assert again.band_names == ("kpca1", "kpca1 area<5")
    assert again.take_bands([1]).band_names == ("kpca1 area<5",)


def test_a_name_cannot_break_the_list_in_a_header(tmp_path):
    cube = xr.DataArray(np.ones((2, 3, 4), np.float32), dims=("band", "y", "x"))
    named = cube.assign_coords(band_name=("band", ["a, b}", "wavelength = {1\n2"]))
    written = write_scene(Scene(named), tmp_path / "named.hdr")
    assert open_scene(written).band_names == ("a; b)", "wavelength - (1 2")
    assert open_scene(written).wavelengths is None
