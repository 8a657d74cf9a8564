"""Raster images and label maps through GDAL: ENVI, GeoTIFF, ERDAS and the rest."""

import logging
import warnings
from collections import Counter

import numpy as np
import pytest
import rasterio
import rasterio.shutil
import spectral.io.envi as envi
from affine import Affine

from hypercover.errors import LabelError, SceneError
from hypercover.scene.grid import Grid
from hypercover.scene.io.raster import _cube, find_masks, open_dataset
from hypercover.scene.io.reading import open_labels, open_scene


def write(path, values, **options):
    """Write a cube (band, row, col) or a map (row, col) with GDAL."""
    cube = values if values.ndim == 3 else values[None]
    tags = options.pop("envi", {})
    band_tags = options.pop("bands", [])
    options.setdefault("driver", "GTiff")
    with rasterio.open(
        path,
        "w",
        height=cube.shape[1],
        width=cube.shape[2],
        count=len(cube),
        dtype=cube.dtype,
        **options,
    ) as file:
        file.write(cube)
        file.update_tags(ns="ENVI", **tags)
        for number, one in enumerate(band_tags, 1):
            file.update_tags(number, ns="IMAGERY", **one)
    return path


class TestEnvi:
    @pytest.mark.parametrize("interleave", ["bsq", "bil", "bip"])
    @pytest.mark.parametrize("opened", ["cube.hdr", "cube.img"])
    def test_agrees_with_another_implementation(self, tmp_path, values, interleave, opened):
        header = {
            "wavelength": [0.4, 0.5, 0.6, 0.7, 0.8, 0.9],
            "wavelength units": "Micrometers",
            "fwhm": [0.01] * 6,
            "bbl": [1, 0, 1, 1, 1, 0],
        }
        envi.save_image(
            str(tmp_path / "cube.hdr"),
            values.transpose(1, 2, 0),
            metadata=header,
            interleave=interleave,
            ext="img",
            dtype=values.dtype,
        )
        scene = open_scene(tmp_path / opened)
        theirs = envi.open(str(tmp_path / "cube.hdr")).load(dtype=values.dtype, scale=False)
        np.testing.assert_array_equal(
            scene.cube.values, np.asarray(theirs).transpose(2, 0, 1)
        )
        np.testing.assert_array_equal(scene.wavelengths, [400, 500, 600, 700, 800, 900])
        np.testing.assert_array_equal(scene.fwhm, [10] * 6)
        np.testing.assert_array_equal(scene.bad, [0, 1, 0, 0, 0, 1])

    @pytest.mark.parametrize("suffix", ["", ".dat", ".bsq", ".IMG"])
    def test_header_finds_its_data(self, tmp_path, values, suffix):
        write(tmp_path / "a.img", values, driver="ENVI")
        (tmp_path / "a.img").rename(tmp_path / f"a{suffix}")
        scene = open_scene(tmp_path / "a.hdr")
        np.testing.assert_array_equal(scene.cube.values, values)

    def test_header_with_the_whole_name(self, tmp_path, values):
        write(tmp_path / "a.img", values, driver="ENVI")
        (tmp_path / "a.hdr").rename(tmp_path / "a.img.hdr")
        np.testing.assert_array_equal(
            open_scene(tmp_path / "a.img.hdr").cube.values, values
        )

    def test_class_names_and_colours(self, tmp_path, codes, utm):
        envi.save_classification(
            str(tmp_path / "gt.hdr"),
            codes,
            ext="img",
            class_names=["Unlabelled", "Wheat", "Woods", "c", "d", "Water"],
            class_colors=[
                [0, 0, 0],
                [255, 0, 0],
                [0, 255, 0],
                [0, 1, 2],
                [3, 4, 5],
                [0, 0, 255],
            ],
        )
        labels, legend = open_labels(tmp_path / "gt.hdr", utm)
        np.testing.assert_array_equal(labels, codes)
        assert legend.names == ("Wheat", "Woods", "Water")
        assert [land.color for land in legend] == ["#ff0000", "#00ff00", "#0000ff"]


class TestBands:
    def test_imagery_tags_of_each_band(self, tmp_path, values):
        bands = [
            {"CENTRAL_WAVELENGTH_UM": f"{0.4 + 0.1 * at:.1f}", "FWHM_UM": "0.02"}
            for at in range(6)
        ]
        scene = open_scene(write(tmp_path / "a.tif", values, bands=bands))
        np.testing.assert_allclose(scene.wavelengths, [400, 500, 600, 700, 800, 900])
        np.testing.assert_allclose(scene.fwhm, 20)

    @pytest.mark.parametrize(
        ("unit", "first", "note"),
        [("Unknown", 0.4, "taken as micrometres"), (None, 400.0, "taken as nm")],
    )
    def test_an_unknown_unit_is_guessed_and_said(self, tmp_path, values, unit, first, note):
        tags = {
            "wavelength": "{" + ",".join(str(first * (1 + at)) for at in range(6)) + "}"
        }
        tags |= {"wavelength_units": unit} if unit else {}
        scene = open_scene(write(tmp_path / "a.tif", values, envi=tags))
        assert scene.wavelengths[0] == 400
        assert any(note in one for one in scene.notes)

    def test_a_list_of_the_wrong_length_is_left_out_and_said(self, tmp_path, values):
        tags = {"wavelength": "{1, 2}", "fwhm": "{a, b}", "wavelength_units": "nm"}
        scene = open_scene(write(tmp_path / "a.tif", values, envi=tags))
        assert scene.wavelengths is None
        assert sum("was left out" in note for note in scene.notes) == 2

    def test_band_numbers_are_no_wavelengths(self, tmp_path, values):
        tags = {"wavelength": "{1,2,3,4,5,6}", "wavelength_units": "Index"}
        assert open_scene(write(tmp_path / "a.tif", values, envi=tags)).wavelengths is None


class TestPixels:
    def test_only_what_is_asked_is_read(self, tmp_path, values):
        path = write(tmp_path / "a.tif", values)
        scene = open_scene(path)
        for bands in ([0, 5, 2], [3], [5, 4]):
            found = scene.take_bands(bands).read(slice(3, 8), slice(2, 3))
            np.testing.assert_array_equal(found, values[bands, 3:8, 2:3])
        np.testing.assert_array_equal(
            scene.cube.isel(y=[7, 1], x=4).values, values[:, [7, 1], 4]
        )
        np.testing.assert_array_equal(
            scene.cube.isel(band=1, y=2, x=3).values, values[1, 2, 3]
        )
        assert scene.read(slice(2, 2), slice(None)).shape == (6, 0, 11)

    def test_nodata_masks_and_is_dropped_where_the_type_cannot_hold_it(
        self, tmp_path, values
    ):
        scene = open_scene(write(tmp_path / "a.tif", values, nodata=1))
        assert scene.nodata == 1
        assert not scene.valid[0, 0]
        assert scene.valid.sum() == 13 * 11 - 1
        path = write(tmp_path / "f.tif", values.astype("f4"), nodata=float("nan"))
        assert open_scene(path).valid.all()

    @pytest.mark.parametrize("kind", ["complex64", "complex_int16"])
    def test_complex_values_are_refused(self, tmp_path, values, kind):
        """For pairs of 16-bit numbers NumPy has no name, which ended in a traceback."""
        path = tmp_path / "a.tif"
        profile = {"width": 11, "height": 13, "count": 1, "dtype": kind}
        rasterio.open(path, "w", driver="GTiff", **profile).close()
        with pytest.raises(SceneError, match="real numbers"):
            open_scene(path)

    def test_nothing_leaks_to_the_user(self, tmp_path, values, capfd, recwarn):
        path = write(tmp_path / "a.tif", values)
        recwarn.clear()
        warnings.simplefilter("always")
        open_scene(path).load()
        with pytest.raises(SceneError):
            (tmp_path / "b.tif").write_bytes(b"II*\0 nonsense") and open_scene(
                tmp_path / "b.tif"
            )
        assert not recwarn.list
        assert capfd.readouterr() == ("", "")
        assert logging.getLogger("rasterio").handlers


class TestGeoreference:
    def test_is_kept_exactly(self, tmp_path, values, utm):
        path = write(
            tmp_path / "a.tif", values, crs=utm.crs, transform=Affine(*utm.transform)
        )
        assert open_scene(path).grid == utm

    def test_a_system_without_a_place_is_not_believed(self, tmp_path, values):
        path = write(tmp_path / "a.tif", values, crs="EPSG:4326")
        assert open_scene(path).grid == Grid(13, 11)

    def test_shifted_labels_are_refused(self, tmp_path, values, codes, utm):
        place = Affine(*utm.transform)
        write(tmp_path / "a.tif", values, crs=utm.crs, transform=place)
        for shift in (0.5, 300):
            moved = place @ Affine.translation(shift, 0)
            path = write(tmp_path / "gt.tif", codes, crs=utm.crs, transform=moved)
            with pytest.raises(LabelError, match=f"{shift:.2f} pixels off those"):
                open_scene(tmp_path / "a.tif", path)
        path = write(tmp_path / "gt.tif", codes, crs=utm.crs, transform=place)
        np.testing.assert_array_equal(open_scene(tmp_path / "a.tif", path).labels, codes)

    def test_labels_in_another_system_are_refused(self, tmp_path, codes, utm):
        path = write(
            tmp_path / "gt.tif", codes, crs="EPSG:32617", transform=Affine(*utm.transform)
        )
        with pytest.raises(LabelError, match="another coordinate system"):
            open_labels(path, utm)

    def test_unplaced_labels_fit_any_image_of_their_size(self, tmp_path, codes, utm):
        path = write(tmp_path / "gt.tif", codes, crs="EPSG:4326")
        np.testing.assert_array_equal(open_labels(path, utm)[0], codes)


class TestLabelMaps:
    def test_colour_table_and_sidecar(self, tmp_path, codes, utm):
        path = write(tmp_path / "gt.tif", codes)
        with rasterio.open(path, "r+") as file:
            file.write_colormap(1, {1: (1, 2, 3), 2: (9, 8, 7), 5: (250, 0, 0)})
        names = "".join(
            f"<Category>{n}</Category>" for n in ("", "A &amp; B", "Ü", "", "", "e")
        )
        (tmp_path / "gt.tif.aux.xml").write_text(
            f'<PAMDataset><PAMRasterBand band="1"><CategoryNames>{names}</CategoryNames>'
            "</PAMRasterBand></PAMDataset>",
            encoding="utf-8",
        )
        _, legend = open_labels(path, utm)
        assert legend.names == ("A & B", "Ü", "e")
        assert [land.color for land in legend] == ["#010203", "#090807", "#fa0000"]

    def test_a_grey_colour_table_says_nothing(self, tmp_path, codes, utm):
        path = write(tmp_path / "gt.tif", codes)
        with rasterio.open(path, "r+") as file:
            file.write_colormap(1, {code: (code,) * 3 for code in range(256)})
        _, legend = open_labels(path, utm)
        assert len({land.rgb for land in legend}) == 3
        assert legend[1].color == "#e6194b"

    @pytest.mark.parametrize(
        "entity",
        [
            '<!DOCTYPE x [<!ENTITY a "b">]>',
            '<!DOCTYPE x SYSTEM "file:///etc/passwd">',
        ],
    )
    def test_a_sidecar_with_entities_is_ignored(self, tmp_path, codes, utm, entity):
        path = write(tmp_path / "gt.tif", codes)
        (tmp_path / "gt.tif.aux.xml").write_text(
            f'{entity}<PAMDataset><PAMRasterBand band="1"><CategoryNames><Category/>'
            "<Category>evil</Category></CategoryNames></PAMRasterBand></PAMDataset>"
        )
        _, legend = open_labels(path, utm)
        assert legend.names[0] == "Class 1"

    def test_nodata_is_unlabelled(self, tmp_path, codes, utm):
        path = write(tmp_path / "gt.tif", np.where(codes == 0, 255, codes), nodata=255)
        np.testing.assert_array_equal(open_labels(path, utm)[0], codes)

    def test_an_image_is_no_label_map(self, tmp_path, values, utm):
        with pytest.raises(LabelError, match="must have one band, found 6"):
            open_labels(write(tmp_path / "a.tif", values), utm)


@pytest.mark.parametrize("driver", ["HFA", "RST", "SAGA", "PNG"])
def test_other_formats_of_gdal(tmp_path, codes, utm, driver):
    suffix = {"HFA": "img", "PCIDSK": "pix", "RST": "rst", "SAGA": "sdat", "PNG": "png"}
    kind = np.uint8 if driver != "RST" else np.int16
    path = write(tmp_path / f"gt.{suffix[driver]}", codes.astype(kind), driver=driver)
    np.testing.assert_array_equal(open_labels(path, utm)[0], codes)


@pytest.mark.parametrize("kind", ["uint8", "int16"])
@pytest.mark.parametrize(
    ("driver", "name"), [("LAN", "a.lan"), ("COG", "a.tif"), ("HFA", "a.img")]
)
def test_images_in_other_formats(tmp_path, values, kind, driver, name):
    with rasterio.MemoryFile() as memory:
        options = {"height": 13, "width": 11, "count": 6, "dtype": kind}
        with memory.open(driver="GTiff", **options) as file:
            file.write(values.astype(kind))
        with memory.open() as file:
            rasterio.shutil.copy(file, tmp_path / name, driver=driver)
    scene = open_scene(tmp_path / name)
    np.testing.assert_array_equal(scene.cube.values, values.astype(kind))
    assert not scene.grid.placed
    assert scene.grid.crs is None


def test_a_format_that_may_point_to_any_file_is_not_opened(tmp_path, values):
    write(tmp_path / "a.pix", values.astype("u1"), driver="PCIDSK")
    with pytest.raises(SceneError, match="is in the format PCIDSK; save it as GeoTIFF"):
        open_scene(tmp_path / "a.pix")


@pytest.mark.parametrize(
    "line",
    [
        "band numbers = {nan, 2, 3, 4}",
        "band numbers = {1.5, 2, 3, 4}",
        "band numbers = {1, 2, 3, 1e30}",
        "band numbers = {1, 2, 3, 3}",
        "fwhm = {nan, 10, 10, 10}",
        "fwhm = {10, 10, inf, 10}",
        "fwhm = {10, 10, -1, 10}",
    ],
)
def test_band_lists_that_make_no_sense_are_left_out(tmp_path, line):
    np.ones((4, 3, 2), "u1").tofile(tmp_path / "a.img")
    (tmp_path / "a.hdr").write_text(
        "ENVI\nsamples = 2\nlines = 3\nbands = 4\ndata type = 1\ninterleave = bsq\n"
        "wavelength units = Nanometers\nwavelength = {400, 500, 600, 700}\n" + line + "\n"
    )
    scene = open_scene(tmp_path / "a.hdr")
    assert scene.bands.tolist() == [1, 2, 3, 4]
    assert scene.fwhm is None
    assert scene.wavelengths.tolist() == [400, 500, 600, 700]


@pytest.mark.parametrize(
    "unit", ["", "wavelength units = Unknown\n", "wavelength units = nm\n"]
)
@pytest.mark.parametrize("names", [None, ("400", "b (x)")])
def test_wavelengths_are_no_names_of_bands(tmp_path, unit, names):
    (tmp_path / "a.img").write_bytes(bytes(2 * 3 * 4))
    named = f"band names = {{{', '.join(names)}}}\n" if names else ""
    (tmp_path / "a.hdr").write_text(
        "ENVI\nsamples = 4\nlines = 3\nbands = 2\nheader offset = 0\ndata type = 1\n"
        f"interleave = bsq\nbyte order = 0\nwavelength = {{400, 500.0}}\n{unit}{named}"
    )
    scene = open_scene(tmp_path / "a.hdr")
    assert scene.band_names == names
    assert scene.wavelengths.tolist() == [400, 500]


class Asked:
    """A dataset that counts what is asked of it."""

    def __init__(self, dataset):
        self.dataset, self.counts = dataset, Counter()

    def __getattr__(self, name):
        self.counts[name] += 1
        return getattr(self.dataset, name)


def test_lists_of_all_bands_are_asked_for_once(tmp_path):
    """Once for each band, they took minutes of a damaged file that claims 32,767 bands."""
    path = write(tmp_path / "a.tif", np.ones((50, 4, 5), np.uint8))
    with open_dataset(path) as dataset:
        asked = Asked(dataset)
        _cube(path, asked, find_masks(asked, path))
    for name in ("mask_flag_enums", "nodatavals", "dtypes", "scales", "offsets"):
        assert asked.counts[name] <= 3, name
