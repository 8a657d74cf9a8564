"""Files of named arrays: what is chosen, in which axis order, and what is asked for."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray as xr
from rasterio.crs import CRS
from scipy.io import netcdf_file, savemat

from hypercover.errors import LabelError, SceneError
from hypercover.scene.io.reading import check_usable, open_labels, open_scene


def as_file(values):
    """The cube as most files hold it: (row, col, band)."""
    return np.ascontiguousarray(values.transpose(1, 2, 0))


def save_v73(path: Path, **arrays) -> Path:
    """Write a MATLAB 7.3 file: HDF5 behind a 512-byte text, axes reversed."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, array in arrays.items():
            kind = {"f": "double", "i": "int16", "u": "uint8", "c": "single"}[
                array.dtype.kind
            ]
            dataset = file.create_dataset(name, data=array.T)
            dataset.attrs["MATLAB_class"] = np.bytes_(kind)
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\0\2IM")
    return path


class TestMatlab:
    @pytest.mark.parametrize("version", ["plain", "compressed", "7.3"])
    def test_finds_image_and_labels_by_shape(self, tmp_path, values, codes, version):
        path = tmp_path / "any.mat"
        arrays = {"img": as_file(values), "gt": codes, "note": np.arange(4.0)}
        if version == "7.3":
            save_v73(path, **arrays)
        else:
            savemat(path, arrays, do_compression=version == "compressed")
        scene = open_scene(path)
        np.testing.assert_array_equal(scene.cube.values, values)
        np.testing.assert_array_equal(scene.labels, codes)
        assert scene.cube.dtype == values.dtype
        assert "Image: variable 'img', 13 rows × 11 columns × 6 bands." in scene.notes
        assert "Labels: variable 'gt' of the same file." in scene.notes

    def test_labels_from_another_file(self, tmp_path, values, codes):
        savemat(tmp_path / "cube.mat", {"cube": as_file(values)})
        savemat(tmp_path / "gt.mat", {"gt": codes.astype(float)})
        scene = open_scene(tmp_path / "cube.mat", tmp_path / "gt.mat")
        np.testing.assert_array_equal(scene.labels, codes)
        assert scene.labels.dtype == np.uint8

    def test_no_labels_where_none_are_wanted(self, tmp_path, values, codes):
        savemat(tmp_path / "a.mat", {"img": as_file(values), "gt": codes})
        assert open_scene(tmp_path / "a.mat", labels=False).labels is None

    def test_two_images_are_asked_about(self, tmp_path, values):
        path = tmp_path / "two.mat"
        savemat(path, {"raw": as_file(values), "clean": as_file(values + 1)})
        with pytest.raises(SceneError, match=r"--variable NAME: raw .*, clean"):
            open_scene(path)
        scene = open_scene(path, variable="clean")
        np.testing.assert_array_equal(scene.cube.values, values + 1)

    def test_two_label_maps_are_asked_about(self, tmp_path, values, codes):
        path = tmp_path / "two.mat"
        savemat(path, {"img": as_file(values), "train": codes, "test": codes[::-1]})
        # Nobody asked for labels: the image opens, and who needs labels hears of both.
        unlabelled = open_scene(path)
        assert unlabelled.labels is None
        with pytest.raises(LabelError, match=r"--label-variable NAME: train .*, test"):
            check_usable(unlabelled)
        assert not open_scene(path, "none").notes[-1].startswith("No labels")
        scene = open_scene(path, label_variable="test")
        np.testing.assert_array_equal(scene.labels, codes[::-1])

    def test_a_label_file_is_no_image(self, tmp_path, codes):
        savemat(tmp_path / "gt.mat", {"gt": codes})
        with pytest.raises(SceneError, match=r"three axes, found gt \(13 × 11\).*--labels"):
            open_scene(tmp_path / "gt.mat")

    def test_an_unknown_name_lists_what_there_is(self, tmp_path, values):
        savemat(tmp_path / "a.mat", {"img": as_file(values)})
        with pytest.raises(SceneError, match=r"no variable 'x'.*img \(13 × 11 × 6\)"):
            open_scene(tmp_path / "a.mat", variable="x")

    def test_structs_and_cells_are_not_read(self, tmp_path, values):
        cells = np.empty((3, 3, 3), object)
        cells.fill("text")
        path = tmp_path / "mixed.mat"
        savemat(path, {"img": as_file(values), "cells": cells, "s": {"a": 1}})
        np.testing.assert_array_equal(open_scene(path).cube.values, values)
        with pytest.raises(SceneError, match="no numbers"):
            open_scene(path, variable="cells")

    def test_v73_pixels_stay_in_the_file(self, tmp_path, values):
        path = save_v73(tmp_path / "a.mat", img=as_file(values))
        scene = open_scene(path)
        np.testing.assert_array_equal(
            scene.read(slice(2, 5), slice(3, 4)), values[:, 2:5, 3:4]
        )
        path.unlink()
        with pytest.raises(SceneError, match="cannot be read"):
            scene.read(slice(2, 5), slice(3, 4))


ORDERS = {
    "row,col,band": (1, 2, 0),
    "band,row,col": (0, 1, 2),
    "row,band,col": (1, 0, 2),
    "col,row,band": (2, 1, 0),
}


def test_a_file_without_an_image_says_what_lies_there_and_what_to_do(tmp_path, codes):
    cells = np.empty((2, 2, 2), object)
    cells[:] = "text"
    savemat(tmp_path / "a.mat", {"cells": cells, "none": np.zeros((0, 5, 3)), "gt": codes})
    told = r"cells \(2 × 2 × 2, no numbers\), none \(0 × 5 × 3, empty\), gt \(13 × 11\)"
    with pytest.raises(SceneError, match=told + "; .* --labels, the image first"):
        open_scene(tmp_path / "a.mat")
    savemat(tmp_path / "b.mat", {"cells": cells})
    with pytest.raises(SceneError, match=r"no numbers\); objects, structures and cells"):
        open_scene(tmp_path / "b.mat")


class TestArrays:
    @pytest.mark.parametrize(("axes", "order"), ORDERS.items())
    def test_named_axes(self, tmp_path, values, axes, order):
        np.save(tmp_path / "a.npy", values.transpose(order))
        scene = open_scene(tmp_path / "a.npy", axes=axes)
        np.testing.assert_array_equal(scene.cube.values, values)
        assert f"Axes of the file: {axes.replace(',', ', ')}" in " ".join(scene.notes)

    @pytest.mark.parametrize("axes", ["row,col,band", "band,row,col", "row,band,col"])
    def test_labels_tell_the_axes(self, tmp_path, values, codes, axes):
        np.savez_compressed(
            tmp_path / "a.npz", cube=values.transpose(ORDERS[axes]), labels=codes
        )
        scene = open_scene(tmp_path / "a.npz")
        np.testing.assert_array_equal(scene.cube.values, values)
        assert any("because the labels have 13 × 11 pixels" in note for note in scene.notes)

    def test_labels_in_another_file_tell_the_axes(self, tmp_path, values, codes):
        np.save(tmp_path / "a.npy", values.transpose(1, 2, 0))
        np.save(tmp_path / "gt.npy", codes)
        scene = open_scene(tmp_path / "a.npy", tmp_path / "gt.npy")
        np.testing.assert_array_equal(scene.cube.values, values)
        np.testing.assert_array_equal(scene.labels, codes)

    def test_a_wavelength_list_tells_the_axes_and_is_kept(self, tmp_path, values):
        path = tmp_path / "a.npz"
        centres = np.linspace(0.4, 2.4, 6)
        np.savez(path, cube=values, wavelength=centres, fwhm=np.full(6, 0.01))
        scene = open_scene(path)
        np.testing.assert_allclose(scene.wavelengths, centres * 1000)
        np.testing.assert_allclose(scene.fwhm, 10.0)
        assert "Wavelengths have no unit and were taken as micrometres." in scene.notes

    def test_band_numbers_are_kept(self, tmp_path, values):
        numbers = np.array([1, 2, 3, 7, 8, 9])
        np.savez(tmp_path / "a.npz", cube=as_file(values), band=numbers)
        np.testing.assert_array_equal(open_scene(tmp_path / "a.npz").bands, numbers)

    def test_an_ambiguous_order_says_how_to_name_it(self, tmp_path):
        np.save(tmp_path / "a.npy", np.ones((30, 32, 34)))
        with pytest.raises(SceneError, match="--axes row,col,band"):
            open_scene(tmp_path / "a.npy")

    @pytest.mark.parametrize("axes", ["row,col", "row,row,band", "y,x,z", ""])
    def test_wrong_axes(self, tmp_path, values, axes):
        np.save(tmp_path / "a.npy", values)
        with pytest.raises(SceneError, match="must name row, col and band once"):
            open_scene(tmp_path / "a.npy", axes=axes)

    def test_npy_is_mapped_not_read(self, tmp_path):
        path = tmp_path / "large.npy"
        big = np.lib.format.open_memmap(path, "w+", np.uint8, (2**13, 2**13, 64))
        del big  # 4 GiB of nothing, kept sparse by the file system
        scene = open_scene(path)
        assert scene.read(slice(5, 6), slice(7, 9)).shape == (64, 1, 2)


class TestHdf5:
    def test_nested_lazy_and_named_dimensions(self, tmp_path, values, codes):
        path = tmp_path / "a.h5"
        with h5py.File(path, "w") as file:
            cube = file.create_dataset("x/y/cube", data=as_file(values), compression="gzip")
            for axis, name in enumerate(["lines", "samples", "bands"]):
                cube.dims[axis].label = name
            file["x/gt"] = codes
            file["x/wavelength"] = np.linspace(0.4, 0.9, 6)
            file["x/wavelength"].attrs["units"] = "um"
            file["title"] = "text"
        scene = open_scene(path)
        np.testing.assert_array_equal(scene.cube.values, values)
        np.testing.assert_array_equal(scene.labels, codes)
        np.testing.assert_allclose(scene.wavelengths, np.linspace(400, 900, 6))
        assert scene.read(slice(0, 2), slice(4, 5)).shape == (6, 2, 1)
        assert any(
            "its axes are named lines, samples, bands" in note for note in scene.notes
        )

    def test_the_last_part_of_a_name_is_enough(self, tmp_path, values):
        with h5py.File(tmp_path / "a.h5", "w") as file:
            file["one/cube"], file["two/other"] = values, values + 1
        scene = open_scene(tmp_path / "a.h5", variable="other", axes="band,row,col")
        np.testing.assert_array_equal(scene.cube.values, values + 1)

    def test_band_selection_reads_the_right_bands(self, tmp_path, values):
        with h5py.File(tmp_path / "a.h5", "w") as file:
            file["cube"] = as_file(values)
        scene = open_scene(tmp_path / "a.h5", axes="row,col,band").take_bands([4, 0])
        np.testing.assert_array_equal(
            scene.read(slice(3, 5), slice(None)), values[[4, 0], 3:5]
        )

    @pytest.mark.parametrize("trick", ["link", "external", "virtual"])
    def test_data_in_other_files_is_refused(self, tmp_path, values, trick):
        with h5py.File(tmp_path / "other.h5", "w") as file:
            file["cube"] = values
        with h5py.File(tmp_path / "a.h5", "w") as file:
            if trick == "link":
                file["cube"] = h5py.ExternalLink("other.h5", "/cube")
            elif trick == "external":
                place = [(str(tmp_path / "raw.bin"), 0, values.nbytes)]
                file.create_dataset("cube", values.shape, values.dtype, external=place)
            else:
                layout = h5py.VirtualLayout(values.shape, values.dtype)
                layout[:] = h5py.VirtualSource(tmp_path / "other.h5", "cube", values.shape)
                file.create_virtual_dataset("cube", layout)
        with pytest.raises(SceneError, match="takes its data from another file"):
            open_scene(tmp_path / "a.h5")

    def test_groups_in_a_circle_end(self, tmp_path, values):
        with h5py.File(tmp_path / "a.h5", "w") as file:
            group = file.create_group("g")
            group["cube"] = values
            group["back"], group["soft"] = file["/"], h5py.SoftLink("/g/soft")
        scene = open_scene(tmp_path / "a.h5", axes="band,row,col")
        np.testing.assert_array_equal(scene.cube.values, values)


@pytest.fixture
def neon(tmp_path, values):
    """An image as airborne sensors deliver it: attributes in capitals, its place as text."""
    values[:, :, :4] = -9999
    path = tmp_path / "neon.h5"
    with h5py.File(path, "w") as file:
        group = file.create_group("SITE/Reflectance")
        data = group.create_dataset("Reflectance_Data", data=as_file(values))
        data.attrs["Data_Ignore_Value"], data.attrs["Scale_Factor"] = "-9999", 10000.0
        data.attrs["Units"] = "Unitless"
        spectral = group.create_group("Metadata/Spectral_Data")
        centres = spectral.create_dataset("Wavelength", data=np.linspace(0.4, 0.9, 6))
        centres.attrs["Units"] = "Micrometers"
        place = group.create_group("Metadata/Coordinate_System")
        place["EPSG Code"] = "32633"
        place["Map_Info"] = np.bytes_(
            "UTM, 2, 3, 500010.0, 4000000.0, 10.0, 20.0, 33, North, WGS-84, units=Meters, 0"
        )
    return path


class TestAttributes:
    def test_any_spelling_is_read(self, neon):
        scene = open_scene(neon)
        assert scene.nodata == -9999
        assert scene.valid.sum() == 13 * 7
        assert scene.cube.attrs["units"] == "Unitless"
        np.testing.assert_allclose(scene.wavelengths, np.linspace(400, 900, 6))
        assert not [note for note in scene.notes if "unit" in note]
        assert scene.grid.transform == (10, 0, 500_000, 0, -20, 4_000_040)
        assert CRS.from_wkt(scene.grid.crs) == CRS.from_epsg(32633)

    @pytest.mark.parametrize(
        ("info", "epsg"),
        [
            ("UTM, 1, 1, 5, 6, 10, 10, 33, North, WGS-84", 32633),
            ("{UTM, 1, 1, 5, 6, 10, 10, 7, South, WGS-84, units=Meters}", 32707),
            ("Geographic Lat/Lon, 1, 1, 5, 6, 10, 10, WGS-84, units=Degrees", 4326),
            ("UTM, 1, 1, 5, 6, 10, 10, 33, North, North America 1927", None),
            ("Arbitrary, 1, 1, 5, 6, 10, 10", None),
        ],
    )
    def test_the_system_follows_from_the_map_info(self, neon, info, epsg):
        with h5py.File(neon, "r+") as file:
            place = file["SITE/Reflectance/Metadata/Coordinate_System"]
            del place["EPSG Code"], place["Map_Info"]
            place["map info"] = info
        grid = open_scene(neon).grid
        assert grid.transform == (10, 0, 5, 0, -10, 6)
        found = grid.crs and CRS.from_wkt(grid.crs)
        assert found == (epsg and CRS.from_epsg(epsg))

    def test_a_rotated_map_info_is_that_of_gdal(self, neon, tmp_path, values):
        rotated = "UTM, 2, 3, 500010, 4000000, 10, 20, 33, North, WGS-84, rotation=30"
        with h5py.File(neon, "r+") as file:
            place = file["SITE/Reflectance/Metadata/Coordinate_System"]
            del place["Map_Info"]
            place["Map_Info"] = rotated
        (tmp_path / "a.img").write_bytes(bytes(13 * 11))
        (tmp_path / "a.hdr").write_text(
            "ENVI\nsamples = 11\nlines = 13\nbands = 1\nheader offset = 0\ndata type = 1\n"
            f"interleave = bsq\nbyte order = 0\nmap info = {{{rotated}}}\n"
        )
        expected = open_scene(tmp_path / "a.hdr").grid.transform
        np.testing.assert_allclose(open_scene(neon).grid.transform, expected)

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("Missing_Value", np.array([b"-9999"])),
            ("DATA_IGNORE_VALUE", np.array(["-9999"], dtype=h5py.string_dtype())),
            ("FILLVALUE", b"-9999"),
            ("Bad_Value", np.array([[-9999.0]])),
        ],
    )
    def test_a_list_of_one_text_is_that_text(self, neon, name, value):
        with h5py.File(neon, "r+") as file:
            attrs = file["SITE/Reflectance/Reflectance_Data"].attrs
            del attrs["Data_Ignore_Value"]
            attrs[name] = value
        assert open_scene(neon).nodata == -9999

    @pytest.mark.parametrize("where", ["group", "file", "beside"])
    def test_no_data_of_a_group_of_the_file_or_beside(self, neon, where):
        with h5py.File(neon, "r+") as file:
            del file["SITE/Reflectance/Reflectance_Data"].attrs["Data_Ignore_Value"]
            if where == "beside":
                file["SITE/Reflectance/No_Data"] = -9999
            else:
                home = file["SITE"] if where == "group" else file
                home.attrs["_FillValue"] = np.int16(-9999)
        assert open_scene(neon).valid.sum() == 13 * 7

    def test_a_value_beside_an_image_of_matlab_or_numpy(self, tmp_path, values):
        values[2, 5, 5] = -1
        savemat(tmp_path / "a.mat", {"cube": as_file(values), "NoData": -1})
        np.savez(tmp_path / "a.npz", cube=as_file(values), nodata=-1)
        for name in ("a.mat", "a.npz"):
            valid = open_scene(tmp_path / name, axes="row,col,band").valid
            assert np.argwhere(~valid).tolist() == [[5, 5]]


class TestNetcdf:
    def test_classic_with_names_and_fill_value(self, tmp_path, values):
        path = tmp_path / "a.nc"
        with netcdf_file(path, "w") as file:
            for name, size in zip(("y", "x", "band"), (13, 11, 6), strict=True):
                file.createDimension(name, size)
            cube = file.createVariable("radiance", "i2", ("y", "x", "band"))
            cube[:] = as_file(values)
            cube._FillValue = np.int16(-7)
            file.createVariable("wavelength", "f8", ("band",))[:] = np.linspace(400, 900, 6)
        scene = open_scene(path)
        np.testing.assert_array_equal(scene.cube.values, values)
        assert scene.nodata == -7
        assert scene.wavelengths[0] == 400

    def test_version_4_with_coordinates_is_placed(self, tmp_path, scene):
        path = tmp_path / "a.nc"
        a, _, c, _, e, f = scene.grid.transform
        placed = scene.cube.assign_coords(
            x=c + a * (np.arange(11) + 0.5), y=f + e * (np.arange(13) + 0.5)
        )
        placed.attrs["grid_mapping"] = "spatial_ref"
        placed.astype("f4").rename("cube").to_netcdf(path, engine="netcdf4")
        found = open_scene(path)
        np.testing.assert_array_equal(found.cube.values, scene.cube.values)
        np.testing.assert_allclose(found.grid.transform, scene.grid.transform)
        np.testing.assert_allclose(found.wavelengths, scene.wavelengths)
        assert found.grid.crs == scene.grid.crs
        assert found.grid.placed

    def test_a_coordinate_system_that_is_none_is_left_out(self, tmp_path, capfd):
        cube = xr.DataArray(
            np.ones((3, 4, 5), "f4"),
            dims=("band", "y", "x"),
            coords={"y": np.arange(4.0), "x": np.arange(5.0)},
            attrs={"grid_mapping": "crs"},
            name="cube",
        )
        mapping = xr.DataArray(0, attrs={"crs_wkt": "somewhere"})
        path = tmp_path / "a.nc"
        cube.to_dataset().assign(crs=mapping).to_netcdf(path, engine="netcdf4")
        found = open_scene(path)
        assert found.grid.placed
        assert found.grid.crs is None
        assert capfd.readouterr().err == ""


@pytest.mark.parametrize("kind", ["NETCDF4", "NETCDF3_64BIT"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_numbers_stored_signed_and_marked_unsigned(tmp_path, kind, dtype):
    top = np.iinfo(dtype).max
    values = np.linspace(0, top - 1, 3 * 4 * 5).astype(dtype).reshape(3, 4, 5)
    values[1, 2, 3] = top
    signed = np.dtype(f"i{values.itemsize}")
    cube = xr.DataArray(values.view(signed), dims=("band", "y", "x"), name="cube")
    cube.attrs["_Unsigned"] = "true"
    encoding = {"cube": {"_FillValue": signed.type(-1)}}
    cube.to_netcdf(
        tmp_path / "a.nc",
        format=kind,
        encoding=encoding,
        engine="netcdf4" if kind == "NETCDF4" else "scipy",
    )
    scene = open_scene(tmp_path / "a.nc")
    np.testing.assert_array_equal(scene.cube.values, values)
    np.testing.assert_array_equal(scene.cube[1, 1:3, ::2], values[1, 1:3, ::2])
    assert scene.nodata == top
    assert np.argwhere(~scene.valid).tolist() == [[2, 3]]


@pytest.mark.parametrize("time", [(), ("time",)])
@pytest.mark.parametrize("kind", ["NETCDF4", "NETCDF3_64BIT"])
def test_bands_that_are_arrays_of_their_own_are_stacked(tmp_path, values, utm, time, kind):
    dims = (*time, "y", "x")
    bands = {
        f"B{at}": (dims, band[None] if time else band, {"wavelength": 400.0 + 50 * at})
        for at, band in enumerate(values, 1)
    }
    y, x = 4e6 - 10 - 20 * np.arange(13.0), 5e5 + 10 + 20 * np.arange(11.0)
    encoding = {name: {"_FillValue": np.int16(-7)} for name in bands}
    xr.Dataset(bands, {"y": y, "x": x}).to_netcdf(
        tmp_path / "a.nc",
        format=kind,
        encoding=encoding,
        engine="netcdf4" if kind == "NETCDF4" else "scipy",
    )
    every = "--variable B1,B2,B3,B4,B5,B6"
    with pytest.raises(SceneError, match=every):
        open_scene(tmp_path / "a.nc")
    scene = open_scene(tmp_path / "a.nc", variable=every.split()[1])
    np.testing.assert_array_equal(scene.cube.values, values)
    np.testing.assert_array_equal(scene.cube[[4, 1], 2:5, ::3], values[[4, 1], 2:5, ::3])
    assert scene.band_names == tuple(bands)
    assert scene.wavelengths.tolist() == [450, 500, 550, 600, 650, 700]
    assert scene.nodata == -7
    assert scene.grid.transform == (20, 0, 5e5, 0, -20, 4e6)
    two = open_scene(tmp_path / "a.nc", variable="B5, B2")
    np.testing.assert_array_equal(two.cube.values, values[[4, 1]])
    with pytest.raises(SceneError, match="no variable 'B9'"):
        open_scene(tmp_path / "a.nc", variable="B1,B9")
    with pytest.raises(SceneError, match="arrays of one size with two axes"):
        open_scene(tmp_path / "a.nc", variable="B1,y")


UTM_33 = {
    "grid_mapping_name": "transverse_mercator",
    "longitude_of_central_meridian": 15.0,
    "latitude_of_projection_origin": 0.0,
    "scale_factor_at_central_meridian": 0.9996,
    "false_easting": 500_000.0,
    "false_northing": 0.0,
    "semi_major_axis": 6_378_137.0,
    "inverse_flattening": 298.257223563,
}


@pytest.mark.parametrize(
    ("names", "mapping", "unit", "epsg"),
    [
        (("y", "x"), UTM_33, "m", 32633),
        (("y", "x"), UTM_33, "km", 32633),
        (("y", "x"), UTM_33 | {"false_northing": 1e7}, "m", 32733),
        (("y", "x"), UTM_33 | {"false_easting": 4e5}, "m", None),
        (("y", "x"), {"epsg_code": "EPSG:32633"}, "m", 32633),
        (("y", "x"), {"spatial_epsg": 32633}, "m", 32633),
        (("lat", "lon"), None, "degrees", 4326),
        (("y", "x"), None, "m", None),
    ],
)
@pytest.mark.parametrize("kind", ["NETCDF4", "NETCDF3_64BIT"])
def test_a_system_by_parameters_codes_or_names_of_axes(
    tmp_path, values, names, mapping, unit, epsg, kind
):
    step = 0.001 if unit == "degrees" else 20
    first = (48.0, 15.0) if unit == "degrees" else (4e6, 5e5)
    in_file = 1e3 if unit == "km" else 1
    y = (first[0] - step * (0.5 + np.arange(13))) / in_file
    x = (first[1] + step * (0.5 + np.arange(11))) / in_file
    cube = xr.DataArray(values, dims=("band", *names), name="cube")
    cube = cube.assign_coords({names[0]: y, names[1]: x})
    for name in names:
        cube.coords[name].attrs["units"] = unit
    whole = cube.to_dataset()
    if mapping is not None:
        whole.cube.attrs["grid_mapping"] = "crs: x y"
        whole["crs"] = xr.DataArray(np.int32(0), attrs=mapping)
    engine = "netcdf4" if kind == "NETCDF4" else "scipy"
    whole.to_netcdf(tmp_path / "a.nc", format=kind, engine=engine)
    scene = open_scene(tmp_path / "a.nc")
    np.testing.assert_array_equal(scene.cube.values, values)
    place = (step, 0, first[1], 0, -step, first[0])
    np.testing.assert_allclose(scene.grid.transform, place, rtol=1e-9)
    found = scene.grid.crs and CRS.from_wkt(scene.grid.crs)
    assert found == (epsg and CRS.from_epsg(epsg))
    assert not [note for note in scene.notes if "not a netCDF variable" in note]
    assert scene.bands.tolist() == [1, 2, 3, 4, 5, 6]


class TestLabelsAlone:
    def test_from_any_container(self, tmp_path, codes, utm):
        np.save(tmp_path / "gt.npy", codes)
        savemat(tmp_path / "gt.mat", {"gt": codes})
        with h5py.File(tmp_path / "gt.h5", "w") as file:
            file["a/gt"] = codes[None]
        for name in ("gt.npy", "gt.mat", "gt.h5"):
            found, legend = open_labels(tmp_path / name, utm)
            np.testing.assert_array_equal(found, codes)
            assert legend.names == ("Class 1", "Class 2", "Class 5")


class TestAxesOfLengthOne:
    @pytest.mark.parametrize("kind", ["netcdf4", "classic", "npy", "mat"])
    def test_drop(self, tmp_path, values, kind):
        path = tmp_path / "t.nc"
        dims = dict(zip(("time", "wavelength", "y", "x"), (1, *values.shape), strict=True))
        if kind == "netcdf4":
            with h5py.File(path, "w") as file:
                dataset = file.create_dataset("r", data=values[None])
                for at, (name, size) in enumerate(dims.items()):
                    scale = file.create_dataset(name, data=400.0 + 10 * np.arange(size))
                    scale.make_scale(name)
                    dataset.dims[at].attach_scale(scale)
        elif kind == "classic":
            with netcdf_file(path, "w") as file:
                for name, size in dims.items():
                    file.createDimension(name, size)
                file.createVariable("r", "i2", tuple(dims))[:] = values[None]
        elif kind == "npy":
            path = tmp_path / "t.npy"
            np.save(path, values[None])
        else:
            path = tmp_path / "t.mat"
            savemat(path, {"r": as_file(values)[None]})
        axes = "band,row,col" if kind == "npy" else None
        variable = "t" if kind == "npy" else "r"
        for scene in (
            open_scene(path, axes=axes),
            open_scene(path, variable=variable, axes=axes),
        ):
            np.testing.assert_array_equal(scene.cube.values, values)
            found = scene.take_bands([4, 1]).read(slice(3, 8), slice(2, 3))
            np.testing.assert_array_equal(found, values[[4, 1], 3:8, 2:3])

    def test_a_single_band_stays_one(self, tmp_path, values):
        with h5py.File(tmp_path / "t.h5", "w") as file:
            dataset = file.create_dataset("r", data=values[:1, None])
            for at, name in enumerate(("band", "time", "y", "x")):
                dataset.dims[at].label = name
        scene = open_scene(tmp_path / "t.h5")
        np.testing.assert_array_equal(scene.cube.values, values[:1])


class TestLabelsTellTheAxes:
    @pytest.mark.parametrize("order", ["band,row,col", "row,band,col", "row,col,band"])
    def test_of_a_matlab_cube(self, tmp_path, values, codes, order):
        savemat(tmp_path / "c.mat", {"cube": values.transpose(ORDERS[order])})
        savemat(tmp_path / "gt.mat", {"gt": codes})
        scene = open_scene(tmp_path / "c.mat", tmp_path / "gt.mat")
        np.testing.assert_array_equal(scene.cube.values, values)
        np.testing.assert_array_equal(scene.labels, codes)

    @pytest.mark.parametrize("suffix", ["mat", "npy"])
    def test_exchanged_they_are_asked_about(self, tmp_path, values, codes, suffix):
        cube, labels = tmp_path / f"c.{suffix}", tmp_path / f"gt.{suffix}"
        for path, array in ((cube, as_file(values)), (labels, codes.T)):
            savemat(path, {"x": array}) if suffix == "mat" else np.save(path, array)
        told = (
            "other axes with --axes col,row,band"
            if suffix == "mat"
            else "say which with --axes"
        )
        with pytest.raises(SceneError, match=told):
            open_scene(cube, labels)
        scene = open_scene(cube, labels, axes="col,row,band")
        np.testing.assert_array_equal(scene.labels, codes.T)

    def test_a_band_list_of_a_matlab_cube(self, tmp_path, values):
        wavelengths = np.arange(400.0, 1000, 100)
        savemat(tmp_path / "c.mat", {"cube": values, "wavelengths": wavelengths})
        np.testing.assert_array_equal(open_scene(tmp_path / "c.mat").cube.values, values)


class TestTablesOfPixels:
    @pytest.mark.parametrize("version", ["plain", "compressed", "7.3"])
    @pytest.mark.parametrize("turned", [False, True])
    @pytest.mark.parametrize("number", [float, np.uint8])
    def test_are_laid_out(self, tmp_path, values, version, turned, number):
        table = values.transpose(0, 2, 1).reshape(6, -1)
        arrays = {
            "Y": table.T if turned else table,
            "M": np.zeros((4, 3)),
            "nRow": np.full((1, 1), 13, number),
            "nCol": np.full((1, 1), 11, number),
        }
        path = tmp_path / "y.mat"
        if version == "7.3":
            save_v73(path, **arrays)
        else:
            savemat(path, arrays, do_compression=version == "compressed")
        scene = open_scene(path)
        np.testing.assert_array_equal(scene.cube.values, values)
        assert "The 143 pixels of Y were laid out column by column, 13 × 11." in scene.notes

    def test_of_numpy_row_by_row(self, tmp_path, values):
        np.savez(tmp_path / "y.npz", Y=values.reshape(6, -1), rows=13, cols=11)
        np.testing.assert_array_equal(open_scene(tmp_path / "y.npz").cube.values, values)

    def test_without_rows_and_columns_are_no_image_until_they_are_stored(
        self, tmp_path, values, codes
    ):
        arrays = {"A": values.transpose(0, 2, 1).reshape(6, -1)}
        savemat(tmp_path / "y.mat", arrays)
        with pytest.raises(
            SceneError, match=r"if A is a table of 143 pixels.* nRow and nCol"
        ):
            open_scene(tmp_path / "y.mat")
        savemat(tmp_path / "gt.mat", {"gt": codes})
        scene = open_scene(tmp_path / "y.mat", tmp_path / "gt.mat")
        np.testing.assert_array_equal(scene.cube.values, values)
        savemat(tmp_path / "y.mat", arrays | {"nRow": 13, "nCol": 11})
        np.testing.assert_array_equal(open_scene(tmp_path / "y.mat").cube.values, values)


@pytest.mark.parametrize("version", ["5", "7.3"])
def test_what_matlab_stores_else_is_named_with_a_remedy(tmp_path, values, version):
    save = save_v73 if version == "7.3" else lambda path, **arrays: savemat(path, arrays)
    save(tmp_path / "c.mat", cube=as_file(values).astype("complex64"))
    with pytest.raises(SceneError, match=r"complex numbers\); store .* abs\(cube\)"):
        open_scene(tmp_path / "c.mat")
    with h5py.File(tmp_path / "real.h5", "w") as file:
        file["cube"] = np.zeros((4, 5, 6), [("real", "f8"), ("imag", "f8")])
    with pytest.raises(SceneError, match="complex numbers"):
        open_scene(tmp_path / "real.h5")
    if version == "5":
        savemat(tmp_path / "s.mat", {"S": {"data": as_file(values)}})
        with pytest.raises(
            SceneError, match=r"objects, structures and cells .* cube = S\.field"
        ):
            open_scene(tmp_path / "s.mat")


@pytest.mark.parametrize("where", ["dataset", "group", "file"])
def test_band_lists_in_attributes_of_hdf5(tmp_path, values, where):
    wavelengths = np.linspace(0.45, 2.2, 6)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        dataset = file.create_dataset("g/image", data=values)
        holder = {"dataset": dataset, "group": file["g"], "file": file}[where]
        dataset.attrs["Units"] = "reflectance"
        holder.attrs["Wavelength"] = wavelengths
        holder.attrs["WAVELENGTH_UNITS"] = "Micrometers"
        holder.attrs["FWHM"] = np.full(6, 0.01)
        holder.attrs["bbl"] = np.array([1, 1, 0, 1, 1, 1])
    scene = open_scene(tmp_path / "a.h5", axes="band,row,col")
    np.testing.assert_allclose(scene.wavelengths, wavelengths * 1000)
    np.testing.assert_allclose(scene.fwhm, 10)
    assert np.flatnonzero(scene.bad).tolist() == [2]
