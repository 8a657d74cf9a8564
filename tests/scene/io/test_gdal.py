"""VRT files: refused, unless the user allows them and they only join local images."""

import time

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from affine import Affine

from hypercover.errors import LabelError, SceneError
from hypercover.scene.file_identity import file_identity
from hypercover.scene.io.gdal import is_vrt
from hypercover.scene.io.reading import open_scene

MOSAIC = """<VRTDataset rasterXSize="8" rasterYSize="4">
<SRS>EPSG:32616</SRS><GeoTransform>0, 20, 0, 80, 0, -20</GeoTransform>
<VRTRasterBand dataType="Float32" band="1">{}</VRTRasterBand></VRTDataset>"""
SOURCE = """<SimpleSource><SourceFilename relativeToVRT="1">{}</SourceFilename>
<SourceBand>1</SourceBand><SrcRect xOff="0" yOff="0" xSize="4" ySize="4"/>
<DstRect xOff="{}" yOff="0" xSize="4" ySize="4"/></SimpleSource>"""


@pytest.fixture
def halves(tmp_path):
    """Two images side by side, 4 × 4 pixels each, and the VRT of both."""
    values = np.arange(32, dtype=np.float32).reshape(4, 8)
    for name, left in (("west", 0), ("east", 4)):
        profile = {
            "driver": "GTiff",
            "width": 4,
            "height": 4,
            "count": 1,
            "dtype": "float32",
            "crs": "EPSG:32616",
            "transform": Affine(20, 0, 20 * left, 0, -20, 80),
        }
        with rasterio.open(tmp_path / f"{name}.tif", "w", **profile) as file:
            file.write(values[:, left : left + 4], 1)
    parts = "".join(SOURCE.format(f"{n}.tif", x) for n, x in (("west", 0), ("east", 4)))
    (tmp_path / "both.vrt").write_text(MOSAIC.format(parts))
    return tmp_path, values


@pytest.fixture
def allowed(monkeypatch):
    monkeypatch.setenv("HYPERCOVER_ALLOW_VRT", "1")


def test_a_vrt_is_refused_and_the_way_to_allow_it_named(halves):
    with pytest.raises(SceneError, match="HYPERCOVER_ALLOW_VRT=1"):
        open_scene(halves[0] / "both.vrt")


def test_an_allowed_vrt_is_the_mosaic_of_its_images(halves, allowed):
    scene = open_scene(halves[0] / "both.vrt")
    assert np.array_equal(scene.cube.values[0], halves[1])
    assert scene.grid.transform == (20.0, 0.0, 0.0, 0.0, -20.0, 80.0)


def test_a_vrt_that_gdal_wrote_is_the_image(halves, allowed):
    rasterio.shutil.copy(halves[0] / "west.tif", halves[0] / "copy.vrt", driver="VRT")
    scene = open_scene(halves[0] / "copy.vrt")
    assert np.array_equal(scene.cube.values[0], halves[1][:, :4])


@pytest.mark.parametrize(
    "before", ['<?xml version="1.0" encoding="UTF-8"?>\n', "<!-- of -->\n <!-- two -->"]
)
def test_a_declaration_and_comments_may_come_first(halves, allowed, before):
    file = halves[0] / "both.vrt"
    file.write_text(before + file.read_text())
    assert np.array_equal(open_scene(file).cube.values[0], halves[1])


@pytest.mark.parametrize(
    ("name", "before"),
    [
        ("both.xml", ""),
        ("both.vrt", "<!DOCTYPE a>"),
        ("both.vrt", "<a>"),
        ("both.vrt", "<?xml-stylesheet href='a'?>"),
    ],
)
def test_where_a_vrt_is_allowed_another_xml_is_not_told_to_be(
    halves, allowed, name, before
):
    file = halves[0] / "both.vrt"
    text = before + file.read_text()
    file = file.with_name(name)
    file.write_text(text)
    with pytest.raises(SceneError, match="is an XML file but not a VRT") as refused:
        open_scene(file)
    assert "HYPERCOVER_ALLOW_VRT" not in str(refused.value)


def test_a_changed_image_changes_what_a_run_is_of(halves, allowed):
    folder, _ = halves
    before = file_identity(folder / "both.vrt")
    with rasterio.open(folder / "east.tif", "r+") as file:
        file.write(np.zeros((4, 4), np.float32), 1)
    assert file_identity(folder / "both.vrt") != before


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("/vsicurl/http://example.org/a.tif", "not a file on this machine"),
        ("missing.tif", "not a file on this machine"),
        ("NETCDF:&quot;a.nc&quot;:b", "not a file on this machine"),
        ("both.vrt", "XML or VRT file itself"),
    ],
)
def test_an_allowed_vrt_joins_images_of_this_machine_alone(halves, allowed, name, said):
    folder, _ = halves
    (folder / "bad.vrt").write_text(MOSAIC.format(SOURCE.format(name, 0)))
    with pytest.raises(SceneError, match=said):
        open_scene(folder / "bad.vrt")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (("<VRTDataset", '<VRTDataset subClass="VRTProcessedDataset"'), "run code"),
        (
            (
                "</VRTRasterBand>",
                "<PixelFunctionCode>x</PixelFunctionCode></VRTRasterBand>",
            ),
            "run code",
        ),
        (("<VRTDataset", "<VRTDataset><!DOCTYPE a>"), "document type"),
        (("</VRTDataset>", ""), "not XML"),
        (("SourceFilename", "Nothing"), "names no image"),
    ],
)
def test_an_allowed_vrt_computes_nothing(halves, allowed, changes, said):
    folder, _ = halves
    text = (folder / "both.vrt").read_text().replace(*changes)
    (folder / "bad.vrt").write_text(text)
    with pytest.raises(SceneError, match=said):
        open_scene(folder / "bad.vrt")


def test_an_image_of_a_vrt_that_was_cut_short_is_told_at_once(halves, allowed):
    east = halves[0] / "east.tif"
    east.write_bytes(east.read_bytes()[:-40])
    with pytest.raises(SceneError, match=r"east\.tif is truncated"):
        open_scene(halves[0] / "both.vrt")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("junk " + MOSAIC.format(SOURCE.format("west.tif", 0)), "XML or VRT file itself"),
        (
            '{"type": "FeatureCollection", "stac_version": "1.0.0", "features": []}',
            "cannot be read as an image",
        ),
    ],
)
def test_no_source_is_opened_in_a_format_that_points_elsewhere(halves, allowed, text, said):
    """By whichever door: as an image, or as labels."""
    folder, _ = halves
    (folder / "source.tif").write_text(text)
    (folder / "bad.vrt").write_text(MOSAIC.format(SOURCE.format("source.tif", 0)))
    with pytest.raises(SceneError, match=said):
        open_scene(folder / "bad.vrt")
    with pytest.raises(LabelError, match=said):
        open_scene(folder / "west.tif", folder / "bad.vrt")


@pytest.mark.parametrize(
    "text",
    [
        "<!-- a --><!DOCTYPE x [<!ENTITY e 'west.tif'>]><!-- b --><VRTDataset/>",
        "<!---->" * 28 + "<x/>",
    ],
    ids=["an entity between comments", "comments that could be read in 2^27 ways"],
)
def test_a_comment_ends_at_its_first_end(text, tmp_path):
    file = tmp_path / "made.vrt"
    file.write_text(text)
    begun = time.perf_counter()
    assert not is_vrt(file)
    assert time.perf_counter() - begun < 5
