"""Damaged, hostile and misleading files: each its own sentence, none a traceback."""

import contextlib
import io
import pickle
import shutil
import struct
import zipfile
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest
import rasterio
from scipy.io import netcdf_file, savemat

from hypercover import memory
from hypercover.errors import LabelError, SceneError
from hypercover.scene.io.reading import check_usable, open_labels, open_scene
from hypercover.scene.scene import Scene
from hypercover.scene.selection import select_bands


def cut(path, keep):
    """Cut a file down to a share of its bytes."""
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * keep)])
    return path


def tif(path, values, **options):
    with rasterio.open(
        path,
        "w",
        driver=options.pop("driver", "GTiff"),
        height=values.shape[1],
        width=values.shape[2],
        count=len(values),
        dtype=values.dtype,
        **options,
    ) as file:
        file.write(values)
    return path


CUTS = [0.0, 0.1, 0.5, 0.9, 0.99]


class TestCutShort:
    @pytest.mark.parametrize("keep", CUTS)
    @pytest.mark.parametrize("compressed", [False, True])
    def test_mat(self, tmp_path, values, keep, compressed):
        path = tmp_path / "a.mat"
        savemat(path, {"cube": values.transpose(1, 2, 0)}, do_compression=compressed)
        with pytest.raises(SceneError, match=r"a\.mat"):
            open_scene(cut(path, keep))

    @pytest.mark.parametrize("keep", CUTS)
    @pytest.mark.parametrize(
        "options",
        [
            {},
            {"compress": "deflate"},
            {"interleave": "pixel"},
            {"tiled": True, "blockxsize": 16, "blockysize": 16},
        ],
    )
    def test_tif_is_noticed_when_opened(self, tmp_path, keep, options):
        noise = np.random.default_rng(0).integers(0, 9999, (3, 40, 50)).astype("i2")
        path = tif(tmp_path / "a.tif", noise, **options)
        with pytest.raises(SceneError, match=r"a\.tif"):
            open_scene(cut(path, keep)).load()
        if keep >= 0.5:  # the header is whole, so the pixels are what is missing
            with pytest.raises(SceneError, match=r"a\.tif"):
                open_scene(path)

    @pytest.mark.parametrize("keep", [0.5, 0.99])
    def test_envi_says_how_much_is_missing(self, tmp_path, values, keep):
        cut(tif(tmp_path / "a.img", values, driver="ENVI"), keep)
        for name in ("a.hdr", "a.img"):
            with pytest.raises(SceneError, match="requires 1,716 bytes"):
                open_scene(tmp_path / name)

    @pytest.mark.parametrize(
        ("line", "broken"),
        [
            ("header offset = 0", "header offset = x"),
            ("header offset = 0", "header offset = 9"),
            ("data type = 2", "data type = 77"),
            ("lines   = 13", "lines   = -5"),
            ("bands   = 6", "bands   = 600000"),
        ],
    )
    def test_envi_header_that_is_wrong(self, tmp_path, values, line, broken):
        tif(tmp_path / "a.img", values, driver="ENVI")
        header = (tmp_path / "a.hdr").read_text()
        assert line in header
        (tmp_path / "a.hdr").write_text(header.replace(line, broken))
        with pytest.raises(SceneError, match=r"a\.(img|hdr)"):
            open_scene(tmp_path / "a.hdr")

    @pytest.mark.parametrize("header", ["{'descr': '<f8'", "{'shape': (", "()", "\0"])
    def test_npy_header_that_is_wrong(self, tmp_path, header):
        text = header.ljust(117).encode() + b"\n"
        start = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little")
        (tmp_path / "a.npy").write_bytes(start + text)
        with pytest.raises(SceneError, match=r"a\.npy"):
            open_scene(tmp_path / "a.npy")

    def test_envi_header_without_its_data(self, tmp_path, values):
        tif(tmp_path / "a.img", values, driver="ENVI").unlink()
        with pytest.raises(SceneError, match="has no data file"):
            open_scene(tmp_path / "a.hdr")

    def test_envi_data_without_its_header(self, tmp_path, values):
        tif(tmp_path / "a.img", values, driver="ENVI")
        (tmp_path / "a.hdr").unlink()
        with pytest.raises(SceneError, match=r"no header a\.hdr"):
            open_scene(tmp_path / "a.img")

    @pytest.mark.parametrize("keep", CUTS)
    @pytest.mark.parametrize("name", ["a.npy", "a.npz", "a.h5", "a.nc"])
    def test_arrays(self, tmp_path, values, keep, name):
        path = tmp_path / name
        if name == "a.npy":
            np.save(path, values)
        elif name == "a.npz":
            np.savez_compressed(path, cube=values)
        elif name == "a.h5":
            with h5py.File(path, "w") as file:
                file.create_dataset(
                    "cube", data=values, chunks=(1, 13, 11), compression="gzip"
                )
        else:
            with netcdf_file(path, "w") as file:
                for axis, size in enumerate(values.shape):
                    file.createDimension(f"d{axis}", size)
                file.createVariable("cube", "i2", ("d0", "d1", "d2"))[:] = values
        with pytest.raises(SceneError, match=name):
            open_scene(cut(path, keep), axes="band,row,col").load()

    @pytest.mark.parametrize("seed", range(40))
    def test_flipped_bytes_never_escape_as_other_errors(self, tmp_path, values, seed):
        rng = np.random.default_rng(seed)
        savemat(
            tmp_path / "a.mat", {"cube": values.transpose(1, 2, 0)}, do_compression=seed % 2
        )
        np.savez(tmp_path / "a.npz", cube=values)
        tif(tmp_path / "a.tif", values, compress="deflate")
        with h5py.File(tmp_path / "a.h5", "w") as file:
            file["cube"] = values
        for name in ("a.mat", "a.npz", "a.tif", "a.h5"):
            raw = bytearray((tmp_path / name).read_bytes())
            for at in rng.integers(0, min(len(raw), 700), 5):
                raw[at] = rng.integers(0, 256)
            (tmp_path / name).write_bytes(raw)
            with contextlib.suppress(SceneError, LabelError):
                open_scene(tmp_path / name, axes="band,row,col").load()


class TestHostile:
    def test_object_arrays_are_never_unpickled(self, tmp_path):
        class Trap:
            def __reduce__(self):
                return (open, (str(tmp_path / "sprung"), "w"))

        trap = np.empty((2, 2, 2), object)
        trap.fill(Trap())
        np.save(tmp_path / "a.npy", trap, allow_pickle=True)
        np.savez(tmp_path / "a.npz", cube=trap)
        (tmp_path / "p.npy").write_bytes(pickle.dumps(Trap()))
        for name in ("a.npy", "a.npz", "p.npy"):
            with pytest.raises(SceneError):
                open_scene(tmp_path / name)
        assert not (tmp_path / "sprung").exists()

    def test_a_zip_bomb_is_refused_by_its_declared_size(self, tmp_path):
        header = io.BytesIO()
        declared = {"descr": "<f8", "fortran_order": False, "shape": (10**5, 10**5, 200)}
        np.lib.format.write_array_header_1_0(header, declared)
        with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("cube.npy", header.getvalue() + bytes(2**20))
        with pytest.raises(SceneError, match="may be read into memory"):
            open_scene(tmp_path / "a.npz", axes="row,col,band")

    @pytest.mark.parametrize("shape", [(10**8, 10**8, 3), (2, 2, 10**15)])
    def test_an_hdf5_file_that_declares_terabytes(self, tmp_path, shape, monkeypatch):
        monkeypatch.setenv("HYPERCOVER_ALLOW_UNPACKING", "1")
        with h5py.File(tmp_path / "a.h5", "w") as file:
            file.create_dataset("cube", shape, "u1", chunks=(1, 1, 3))
        with pytest.raises(
            SceneError, match="may be read into memory here; cut it smaller"
        ):
            open_scene(tmp_path / "a.h5", axes="row,col,band")

    @pytest.mark.parametrize("kind", ["zip", "gztar", "tar"])
    def test_an_archive_is_told_to_be_one(self, tmp_path, values, kind, utm):
        folder = tmp_path / "product"
        folder.mkdir()
        tif(folder / "a.tif", values)
        packed = shutil.make_archive(str(tmp_path / "product"), kind, folder)
        with pytest.raises(SceneError, match=r"is an archive; unpack it"):
            open_scene(packed)
        with pytest.raises(LabelError, match=r"is an archive; unpack it"):
            open_labels(packed, utm)

    def test_a_raster_is_not_told_to_become_one(self, tmp_path):
        profile = {
            "driver": "GTiff",
            "count": 1,
            "height": 10**6,
            "width": 10**6,
            "blockxsize": 4096,
            "blockysize": 4096,
        }
        path = tmp_path / "a.tif"
        with rasterio.open(path, "w", dtype="uint8", tiled=True, SPARSE_OK=True, **profile):
            pass
        told = "1,000,000 × 1,000,000 pixels, with its labels, masks and maps"
        with pytest.raises(SceneError, match=told) as refused:
            open_scene(path)
        assert "GeoTIFF" not in str(refused.value)

    def test_declared_sizes_are_held_against_memory(self, tmp_path, values, monkeypatch):
        savemat(tmp_path / "a.mat", {"cube": values.astype(float).transpose(1, 2, 0)})
        np.savez(tmp_path / "a.npz", cube=values)
        monkeypatch.setattr(memory, "available_bytes", lambda: 1000)
        for name in ("a.mat", "a.npz"):
            with pytest.raises(SceneError, match="may be read into memory"):
                open_scene(tmp_path / name, axes="row,col,band")

    def test_a_cube_larger_than_memory_is_opened_and_not_loaded(
        self, tmp_path, monkeypatch
    ):
        monkeypatch.setenv("HYPERCOVER_ALLOW_UNPACKING", "1")
        with h5py.File(tmp_path / "a.h5", "w") as file:
            file.create_dataset("cube", (10**3, 10**3, 10**7), "u1", chunks=(1, 1, 3))
        scene = open_scene(tmp_path / "a.h5", axes="row,col,band")
        with pytest.raises(SceneError, match="select fewer bands"):
            scene.load()

    def test_a_tif_whose_one_block_would_fill_the_memory(
        self, tmp_path, values, monkeypatch
    ):
        path = tif(
            tmp_path / "a.tif",
            values,
            tiled=True,
            blockxsize=16,
            blockysize=16,
            interleave="pixel",
            compress="deflate",
        )
        raw = bytearray(path.read_bytes())
        for tag in (322, 323):  # width and length of a tile
            at = raw.index(struct.pack("<HHI", tag, 3, 1)) + 8
            raw[at : at + 2] = struct.pack("<H", 65520)
        path.write_bytes(raw)
        monkeypatch.setattr(memory, "available_bytes", lambda: 2**33)
        with pytest.raises(SceneError, match=r"block of .*a\.tif"):
            open_scene(path)

    def test_a_mat_that_declares_terabytes(self, tmp_path):
        dims = struct.pack("<III", 10**6, 10**6, 200)
        body = (
            struct.pack("<IIII", 6, 8, 6, 0) + struct.pack("<II", 5, 12) + dims + bytes(4)
        )
        body += struct.pack("<HH", 1, 1) + b"c\0\0\0" + struct.pack("<II", 9, 0)
        element = struct.pack("<II", 14, len(body)) + body
        packed = zlib.compress(element)
        path = tmp_path / "a.mat"
        path.write_bytes(
            b"MATLAB 5.0 MAT-file".ljust(124)
            + b"\0\1IM"
            + struct.pack("<II", 15, len(packed))
            + packed
        )
        with pytest.raises(SceneError, match="damaged"):
            open_scene(path)

    @pytest.mark.parametrize(
        "text",
        [
            '<VRTDataset rasterXSize="1" rasterYSize="1"></VRTDataset>',
            "\ufeff  <GDAL_WMS></GDAL_WMS>",
            '<?xml version="1.0"?><x/>',
        ],
    )
    @pytest.mark.parametrize("name", ["a.vrt", "a.tif", "a.img"])
    def test_files_that_point_elsewhere(self, tmp_path, text, name, utm):
        (tmp_path / name).write_text(text, encoding="utf-8")
        with pytest.raises(SceneError, match="XML or VRT"):
            open_scene(tmp_path / name)
        with pytest.raises(LabelError, match="XML or VRT"):
            open_labels(tmp_path / name, utm)

    @pytest.mark.parametrize(
        "path",
        [
            "/vsicurl/http://x/a.tif",
            "https://x/a.tif",
            "/vsizip/a.zip/a.tif",
            "s3://b/a.tif",
            Path("https://x/a.tif"),
        ],
    )
    def test_networks_are_not_reached(self, path):
        with pytest.raises(SceneError, match="Only files on this machine"):
            open_scene(path)

    @pytest.mark.parametrize("prefix", ["GTIFF_DIR:1:", "NETCDF:", "HDF5:"])
    def test_a_file_named_like_a_driver_call_is_a_file(
        self, tmp_path, values, prefix, monkeypatch
    ):
        monkeypatch.chdir(tmp_path)
        tif(tmp_path / "real.tif", values)
        (tmp_path / "real.tif").rename(tmp_path / f"{prefix}a.tif")
        np.testing.assert_array_equal(open_scene(f"{prefix}a.tif").cube.values, values)


class TestNotAnImage:
    def test_missing_folder_and_empty(self, tmp_path):
        with pytest.raises(SceneError, match="There is no file"):
            open_scene(tmp_path / "none.tif")
        with pytest.raises(SceneError, match="is a folder"):
            open_scene(tmp_path)
        (tmp_path / "empty.tif").touch()
        with pytest.raises(SceneError, match="is empty"):
            open_scene(tmp_path / "empty.tif")

    @pytest.mark.parametrize("name", ["a.tif", "a.img", "a.hdr", "a.mat", "a.npz", "a.txt"])
    def test_text_is_no_image(self, tmp_path, name):
        (tmp_path / name).write_text("hello " * 400)
        with pytest.raises(SceneError, match=name):
            open_scene(tmp_path / name)

    def test_a_missing_label_file_is_wrong_with_the_labels(self, tmp_path, values, utm):
        image = tif(tmp_path / "a.tif", values)
        with pytest.raises(LabelError, match="There is no file"):
            open_scene(image, tmp_path / "none.tif")
        with pytest.raises(LabelError, match="is a folder"):
            open_labels(tmp_path, utm)

    @pytest.mark.parametrize("options", [{"variable": "x"}, {"axes": "row,col,band"}])
    def test_a_raster_has_no_named_arrays(self, tmp_path, values, options):
        with pytest.raises(SceneError, match="leave the option out"):
            open_scene(tif(tmp_path / "a.tif", values), **options)

    def test_shapes_are_no_image(self, tmp_path):
        (tmp_path / "a.geojson").write_text('{"type": "FeatureCollection", "features": []}')
        with pytest.raises(SceneError, match="vector file, not an image"):
            open_scene(tmp_path / "a.geojson")


class TestLabelsThatDoNotFit:
    @pytest.mark.parametrize("name", ["gt.npy", "gt.mat", "gt.tif"])
    def test_another_size(self, tmp_path, values, codes, name):
        tif(tmp_path / "a.tif", values)
        wrong = codes[:-1]
        if name == "gt.npy":
            np.save(tmp_path / name, wrong)
        elif name == "gt.mat":
            savemat(tmp_path / name, {"gt": wrong})
        else:
            tif(tmp_path / name, wrong[None])
        with pytest.raises(
            LabelError, match=r"size of the image, 13 rows × 11 columns.*12 × 11"
        ):
            open_scene(tmp_path / "a.tif", tmp_path / name)

    def test_swapped_axes_are_said(self, tmp_path, codes, utm):
        tif(tmp_path / "gt.tif", codes.T[None])
        with pytest.raises(LabelError, match="rows and columns are swapped"):
            open_labels(tmp_path / "gt.tif", utm)

    @pytest.mark.parametrize(
        ("value", "message"),
        [
            (0.5, "whole numbers, found 0.5"),
            (np.inf, "whole numbers, found inf"),
            (-3.0, "between 0 and 65535, found -3"),
            (70000.0, "between 0 and 65535, found 70000"),
        ],
    )
    def test_values_that_are_no_codes(self, tmp_path, codes, utm, value, message):
        wrong = codes.astype(float)
        wrong[0, 0] = value
        np.save(tmp_path / "gt.npy", wrong)
        with pytest.raises(LabelError, match=message):
            open_labels(tmp_path / "gt.npy", utm)

    def test_whole_floats_and_nan_are_codes(self, tmp_path, codes, utm):
        np.save(tmp_path / "gt.npy", np.where(codes == 0, np.nan, codes))
        np.testing.assert_array_equal(open_labels(tmp_path / "gt.npy", utm)[0], codes)

    def test_large_codes_need_16_bits(self, tmp_path, codes, utm):
        np.save(tmp_path / "gt.npy", codes.astype(np.int64) * 13000)
        found, legend = open_labels(tmp_path / "gt.npy", utm)
        assert found.dtype == np.uint16
        assert legend.codes == (13000, 26000, 65000)

    def test_no_labelled_pixel(self, tmp_path, codes, utm):
        np.save(tmp_path / "gt.npy", codes * 0)
        with pytest.raises(LabelError, match="No pixel is labelled"):
            open_labels(tmp_path / "gt.npy", utm)


class TestUsable:
    def test_a_good_scene_passes(self, scene):
        stripes = np.ones(scene.shape, np.uint8)
        stripes[:, ::2] = 2
        check_usable(scene.with_labels(stripes))

    def test_a_class_of_one_pixel_can_be_mapped(self, scene):
        stripes = np.ones(scene.shape, np.uint8)
        stripes[:, ::2] = 2
        stripes[0, 0] = 7
        check_usable(scene.with_labels(stripes))

    @pytest.mark.parametrize("nothing", [np.nan, -9, np.inf])
    def test_empty_bands_that_mask_all_pixels_are_named(self, scene, codes, nothing):
        values = scene.cube.values.astype(np.float32)
        values[[2, 5]], values[0] = nothing, 0
        scene = scene.replace(cube=scene.cube.copy(data=values)).with_labels(codes)
        with pytest.raises(SceneError, match=r"none does in band 3,6; .*--drop-bands 3,6"):
            check_usable(scene)
        check_usable(select_bands(scene, drop="3,6").with_labels(np.minimum(codes, 2)))

    @pytest.mark.parametrize("nothing", [np.nan, -9.0])
    def test_no_data_anywhere(self, scene, codes, nothing):
        empty = scene.cube.astype(float) * 0 + nothing
        empty.attrs = scene.cube.attrs
        with pytest.raises(SceneError, match="No pixel of small holds data"):
            check_usable(Scene(empty, labels=codes, name="small"))

    def test_no_label_on_data(self, scene, codes):
        values = np.where(codes > 0, -9, scene.cube.values)
        bare = scene.replace(cube=scene.cube.copy(data=values))
        with pytest.raises(LabelError, match="No labelled pixel of small holds data"):
            check_usable(bare.with_labels(codes))

    def test_one_class(self, scene, codes):
        with pytest.raises(LabelError, match="found only class 1"):
            check_usable(scene.with_labels((codes > 0).astype(np.uint8)))

    def test_no_labels(self, scene):
        with pytest.raises(LabelError, match="has no labels"):
            check_usable(scene)
