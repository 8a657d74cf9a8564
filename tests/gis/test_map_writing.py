"""Maps of one band are cloud-optimised GeoTIFFs, by the rules their readers go by."""

import os
import shutil
import subprocess
import sys
import threading
from xml.etree import ElementTree

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from rasterio.enums import ColorInterp, Resampling

from hypercover.errors import CallError, LabelError, OutputError
from hypercover.gis.map_writing import (
    CHECK_LEGEND,
    class_check,
    fraction_writer,
    is_cog,
    write_class_map,
    write_confidence,
)
from hypercover.gis.style import palette_style
from hypercover.scene.grid import Grid
from hypercover.scene.io.class_tables import category_xml, printable
from hypercover.scene.io.reading import open_scene
from hypercover.scene.legend import LandClass, Legend
from hypercover.splits.split import Split

GRID = Grid(700, 900, "EPSG:32616", (20.0, 0.0, 500_000.0, 0.0, -20.0, 4_480_000.0))

LEGEND = Legend.of({1: "Corn", 2: "Woods", 300: "Hay"})


def check_cog(path):
    """Check the rules of GDAL's and rio-cogeo's validators and return the overviews."""
    with rasterio.open(path) as raster:
        assert raster.driver == "GTiff"
        assert raster.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        high, wide = raster.block_shapes[0]
        assert high == wide == 256
        factors = raster.overviews(1)

        def tag(name, overview):
            return int(raster.get_tag_item(name, "TIFF", bidx=1, ovr=overview))

        order = [None, *range(len(factors))]
        ifds = [tag("IFD_OFFSET", one) for one in order]
        data = [tag("BLOCK_OFFSET_0_0", one) for one in order]
    # Directories first, the full image before its overviews; pixels after them, the
    # smallest overview first.
    assert ifds == sorted(ifds)
    assert data == sorted(data, reverse=True)
    assert max(ifds) < min(data)
    # No overview may be missing down to the size of one tile.
    assert max(GRID.shape) / ([1, *factors][-1]) <= 512
    assert is_cog(path)
    return factors


def plain(path, side, **profile):
    shape = {"height": side, "width": side, "count": 1, "dtype": "uint8"}
    with rasterio.open(path, "w", driver="GTiff", **shape, **profile) as file:
        file.write(np.random.default_rng(0).integers(1, 9, (side, side), np.uint8), 1)
    return path


TILED = {"tiled": True, "blockxsize": 256, "blockysize": 256}


def test_what_is_no_cog_is_told(tmp_path):
    assert not is_cog(plain(tmp_path / "strips.tif", 600))
    bare = plain(tmp_path / "bare.tif", 600, **TILED)
    assert not is_cog(bare)
    with rasterio.open(bare, "r+") as file:
        file.build_overviews([2], Resampling.nearest)
    # Its overviews lie behind the pixels.
    assert not is_cog(bare)
    rasterio.shutil.copy(bare, tmp_path / "cog.tif", driver="COG")
    assert is_cog(tmp_path / "cog.tif")
    (tmp_path / "cog.tif.ovr").write_bytes(b"")
    assert not is_cog(tmp_path / "cog.tif")
    assert is_cog(plain(tmp_path / "small.tif", 300))


@pytest.mark.parametrize("top", [2, 300])
def test_a_class_map_is_a_cog_whose_overviews_hold_the_commonest_class(top, tmp_path):
    labels = np.where(np.indices(GRID.shape).sum(0) % 3 > 0, top, 1).astype(np.uint16)
    write_class_map(tmp_path / "m.tif", labels, LEGEND, GRID)
    factors = check_cog(tmp_path / "m.tif")
    assert factors
    with rasterio.open(tmp_path / "m.tif", overview_level=len(factors) - 1) as small:
        assert set(np.unique(small.read(1))) <= {1, top}
        assert (small.read(1) == top).mean() > 0.6
    with rasterio.open(tmp_path / "m.tif") as raster:
        assert (raster.read(1) == labels).all()
        assert raster.colormap(1)[1][:3] == LEGEND[1].rgb
        assert raster.nodata == 0


def test_a_confidence_is_a_cog_whose_overviews_hold_means(tmp_path):
    sure = np.tile([[0.2, 0.6], [0.6, 1.0]], (350, 450)).astype(np.float32)
    write_confidence(tmp_path / "c.tif", sure, GRID)
    check_cog(tmp_path / "c.tif")
    with rasterio.open(tmp_path / "c.tif", overview_level=0) as small:
        assert small.read(1) == pytest.approx(0.6, abs=1e-6)
        assert np.isnan(small.nodata)


def test_probabilities_of_many_classes_stay_band_by_band(tmp_path):
    with fraction_writer(tmp_path / "p.tif", ("a", "b"), GRID) as raster:
        raster.write(np.full((2, *GRID.shape), 0.5, np.float32))
    with rasterio.open(tmp_path / "p.tif") as raster:
        assert raster.interleaving.name == "band"
        assert raster.descriptions == ("a", "b")
    assert {path.name for path in tmp_path.iterdir()} == {"p.tif", "p.qml"}


@pytest.mark.skipif(
    shutil.which("gdalinfo") is None and "CI" not in os.environ,
    reason="the program gdalinfo is not installed",
)
def test_gdal_calls_it_a_cog_with_overviews(tmp_path):
    write_class_map(tmp_path / "m.tif", np.ones(GRID.shape, np.uint8), LEGEND, GRID)
    call = ["gdalinfo", str(tmp_path / "m.tif")]
    said = subprocess.run(call, capture_output=True, text=True, check=True).stdout
    assert "LAYOUT=COG" in said
    assert "Overviews: 450x350, 225x175" in said
    assert {path.name for path in tmp_path.iterdir()} == {"m.tif", "m.tif.aux.xml", "m.qml"}


GRID_OF_EXPORT = Grid(
    300, 270, "EPSG:32616", (20.0, 0.0, 500_000.0, 0.0, -20.0, 4_480_000.0)
)

LEGEND_OF_EXPORT = Legend.of({1: "Corn", 2: "Soy & <beans> \"'", 5: "Wälder\n\x00\x1b北"})

NAMES = ["no data", "Corn", "Soy & <beans> \"'", "", "", "Wälder 北"]


@pytest.fixture
def labels():
    return np.random.default_rng(0).choice([0, 1, 2, 5], (300, 270)).astype(np.uint8)


def categories(path):
    band = ElementTree.parse(f"{path}.aux.xml").getroot().find("PAMRasterBand")
    return [item.text or "" for item in band.find("CategoryNames")]


def attribute_rows(path):
    band = ElementTree.parse(f"{path}.aux.xml").getroot().find("PAMRasterBand")
    table = band.find("GDALRasterAttributeTable")
    assert table.get("tableType") == "thematic"
    return [[cell.text or "" for cell in row] for row in table.findall("Row")]


def test_class_map_keeps_codes_place_and_colours(labels, tmp_path):
    path = tmp_path / "map.tif"
    write_class_map(path, labels, LEGEND_OF_EXPORT, GRID_OF_EXPORT)
    with rasterio.open(path) as raster:
        np.testing.assert_array_equal(raster.read(1), labels)
        assert raster.dtypes == ("uint8",)
        assert raster.nodata == 0
        assert raster.crs.to_epsg() == 32616
        assert tuple(raster.transform)[:6] == GRID_OF_EXPORT.transform
        assert raster.profile["tiled"]
        assert raster.compression.name == "deflate"
        assert raster.colorinterp == (ColorInterp.palette,)
        for land in LEGEND_OF_EXPORT:
            assert raster.colormap(1)[land.code] == (*land.rgb, 255)


def test_names_stand_by_code_in_both_tables(labels, tmp_path):
    path = tmp_path / "map.tif"
    write_class_map(path, labels, LEGEND_OF_EXPORT, GRID_OF_EXPORT)
    assert categories(path) == NAMES
    rows = attribute_rows(path)
    assert [row[0] for row in rows] == ["0", "1", "2", "3", "4", "5"]
    assert [row[1] for row in rows] == NAMES
    assert rows[1][2:] == [*map(str, LEGEND_OF_EXPORT[1].rgb), "255"]
    assert rows[3][2:] == ["0", "0", "0", "0"]


def test_qgis_style_lists_every_class(labels, tmp_path):
    write_class_map(tmp_path / "map.tif", labels, LEGEND_OF_EXPORT, GRID_OF_EXPORT)
    style = ElementTree.parse(tmp_path / "map.qml").getroot()
    drawn = style.find("pipe/rasterrenderer")
    assert drawn.get("type") == "paletted"
    found = [
        (int(item.get("value")), item.get("color"), item.get("label"))
        for item in drawn.find("colorPalette")
    ]
    assert found == [
        (land.code, land.color, printable(land.name)) for land in LEGEND_OF_EXPORT
    ]


@pytest.mark.skipif(
    shutil.which("gdalinfo") is None and "CI" not in os.environ,
    reason="gdalinfo is not installed",
)
def test_gdal_itself_reads_names_and_attribute_table(labels, tmp_path):
    path = tmp_path / "map.tif"
    write_class_map(path, labels, LEGEND_OF_EXPORT, GRID_OF_EXPORT)
    call = ["gdalinfo", str(path)]
    said = subprocess.run(call, capture_output=True, text=True, check=True).stdout
    assert "1: Corn" in said
    assert "2: Soy & <beans> \"'" in said
    assert '<GDALRasterAttributeTable tableType="thematic">' in said
    assert "NoData Value=0" in said


def test_codes_above_255_become_16_bit_with_colours(tmp_path):
    labels = np.array([[0, 11, 300], [4_000, 300, 11]], np.uint16)
    path = tmp_path / "map.tif"
    write_class_map(path, labels, Legend.of({300: "Woods"}), Grid(2, 3))
    with rasterio.open(path) as raster:
        assert raster.dtypes == ("uint16",)
        np.testing.assert_array_equal(raster.read(1), labels)
        assert raster.colormap(1)[300][:3] == Legend.of({300: "Woods"})[300].rgb
    names = categories(path)
    assert names[300] == "Woods"
    assert names[11] == "Class 11"
    assert len(names) == 4_001


def test_map_without_a_place_on_earth_has_none(tmp_path):
    write_class_map(
        tmp_path / "m.tif", np.ones((4, 5), np.uint8), LEGEND_OF_EXPORT, Grid(4, 5)
    )
    with rasterio.open(tmp_path / "m.tif") as raster:
        assert raster.crs is None
        assert raster.transform.is_identity


def test_stale_files_beside_the_map_are_removed(labels, tmp_path):
    stale = ["m.tif.ovr", "m.tif.msk", "m.tif.aux.xml", "m.qml"]
    for name in stale:
        (tmp_path / name).write_text("old")
    (tmp_path / "other.qml").write_text("kept")
    write_class_map(tmp_path / "m.tif", labels, LEGEND_OF_EXPORT, GRID_OF_EXPORT)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"m.tif", "m.tif.aux.xml", "m.qml", "other.qml"}
    assert "old" not in (tmp_path / "m.qml").read_text()
    write_confidence(tmp_path / "m.tif", np.zeros(GRID_OF_EXPORT.shape), GRID_OF_EXPORT)
    assert not (tmp_path / "m.tif.aux.xml").exists()


def test_confidence_is_float_with_nan_for_no_data(tmp_path):
    sure = np.random.default_rng(0).random((300, 270))
    sure[:5] = np.nan
    write_confidence(tmp_path / "c.tif", sure, GRID_OF_EXPORT)
    with rasterio.open(tmp_path / "c.tif") as raster:
        np.testing.assert_array_equal(raster.read(1), sure.astype(np.float32))
        assert np.isnan(raster.nodata)
        assert raster.dtypes == ("float32",)
    style = ElementTree.parse(tmp_path / "c.qml").getroot()
    assert style.find("pipe/rasterrenderer").get("type") == "singlebandpseudocolor"


def test_check_in_closed_form():
    labels = np.array([[0, 1, 1, 2, 2, 2, 1]], np.uint8)
    predicted = np.array([[2, 1, 2, 2, 1, 0, 2]], np.uint8)
    split = Split(np.array([[0, 3, 3, 1, 1, 3, 4]], np.uint8))
    names = [
        CHECK_LEGEND[code].name if code else "no data"
        for code in class_check(labels, predicted, split.parts)[0].tolist()
    ]
    assert names == [
        *["unlabelled", "right", "wrong", "training", "training", "no data", "wrong"]
    ]


def test_check_is_blue_where_right_or_training_red_where_wrong_grey_else():
    red, green, blue = zip(*(land.rgb for land in CHECK_LEGEND), strict=True)
    right, wrong, training, unlabelled = range(4)
    for at in (right, training):
        assert blue[at] > max(red[at], green[at]) + 40
    assert red[wrong] > max(green[wrong], blue[wrong]) + 40
    assert red[unlabelled] == green[unlabelled] == blue[unlabelled]


def test_check_file_names_its_codes(labels, tmp_path):
    split = Split(np.where(labels > 0, 3, 0).astype(np.uint8))
    check = class_check(labels, np.ones_like(labels), split.parts)
    write_class_map(tmp_path / "k.tif", check, CHECK_LEGEND, GRID_OF_EXPORT)
    with rasterio.open(tmp_path / "k.tif") as raster:
        found = raster.read(1)
    expected = np.select([labels == 0, labels == 1], [4, 1], 2)
    np.testing.assert_array_equal(found, expected)
    assert categories(tmp_path / "k.tif") == [
        *["no data", "right", "wrong", "training", "unlabelled"]
    ]


@pytest.mark.parametrize("simulated", [True, False])
def test_maps_of_simulated_land_say_so(labels, tmp_path, simulated):
    told = {"simulated": simulated}
    write_class_map(tmp_path / "m.tif", labels, Legend(), GRID_OF_EXPORT, **told)
    write_confidence(
        tmp_path / "c.tif", np.zeros(GRID_OF_EXPORT.shape), GRID_OF_EXPORT, **told
    )
    for name in ("m.tif", "c.tif"):
        assert open_scene(tmp_path / name).simulated is simulated
        with rasterio.open(tmp_path / name) as raster:
            assert (
                "simulated" in raster.tags().get("TIFFTAG_IMAGEDESCRIPTION", "")
            ) is simulated


def test_sizes_and_codes_that_do_not_fit_are_refused(labels, tmp_path):
    with pytest.raises(LabelError, match="300 rows × 270 columns, got 299 × 270"):
        write_class_map(tmp_path / "m.tif", labels[1:], LEGEND_OF_EXPORT, GRID_OF_EXPORT)
    with pytest.raises(LabelError, match="cannot hold the code -1"):
        write_class_map(
            tmp_path / "m.tif", labels.astype(int) - 1, LEGEND_OF_EXPORT, GRID_OF_EXPORT
        )
    with pytest.raises(LabelError, match="of one size"):
        class_check(labels, labels[1:], labels.clip(0, 4))
    with pytest.raises(CallError, match="not understood"):
        write_class_map(
            tmp_path / "m.tif", labels, LEGEND_OF_EXPORT, Grid(300, 270, "EPSG:nowhere")
        )
    assert not list(tmp_path.iterdir())


def test_folder_that_cannot_be_made_is_an_output_error(labels, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError):
        write_class_map(
            tmp_path / "file" / "m.tif", labels, LEGEND_OF_EXPORT, GRID_OF_EXPORT
        )


def test_disk_that_fills_up_leaves_the_old_map(tmp_path):
    """A limit on the size of a file stands for a full disk, at every stage of writing."""
    program = f"""
import resource, signal
from pathlib import Path
import numpy as np
from hypercover.errors import OutputError
from hypercover.gis.map_writing import write_class_map
from hypercover.scene.grid import Grid
from hypercover.scene.legend import Legend
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
path = Path({str(tmp_path)!r}) / "m.tif"
noise = np.random.default_rng(0).integers(0, 9, (600, 600)).astype(np.uint8)
legend = Legend.of({{code: "c" for code in range(1, 9)}})
write_class_map(path, noise, legend, Grid(600, 600))
whole = path.read_bytes()
for limit in (10, 3000, len(whole) // 2, len(whole) - 3000, len(whole) - 10):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        write_class_map(path, noise[::-1], legend, Grid(600, 600))
    except OutputError as error:
        assert "free some space" in str(error), error
    else:
        raise SystemExit(f"wrote past {{limit}} bytes")
    assert path.read_bytes() == whole
assert len(list(path.parent.iterdir())) == 3
"""
    call = [sys.executable, "-W", "ignore", "-c", program]
    done = subprocess.run(call, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_threads_write_maps_side_by_side(labels, tmp_path):
    def write(index):
        write_class_map(tmp_path / f"{index}.tif", labels, LEGEND_OF_EXPORT, GRID_OF_EXPORT)

    threads = [threading.Thread(target=write, args=[index]) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({path.read_bytes() for path in tmp_path.glob("*.tif")}) == 1
    assert len(list(tmp_path.iterdir())) == 12


def test_sidecars_of_an_empty_legend_are_whole():
    assert "no data" in category_xml(Legend())
    assert "colorPalette" in palette_style(Legend())


def test_colours_without_a_hash_get_one():
    style = palette_style(Legend((LandClass(1, "Corn", "AABBCC"),)))
    assert 'color="#aabbcc"' in style
