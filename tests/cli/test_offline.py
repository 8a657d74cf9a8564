"""Files that name addresses: no command asks a network, whatever a file wants."""

import ast
import os
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import rasterio
import rasterio.shutil
import shapely
from listener import listening

import hypercover
from hypercover.errors import HypercoverError, OutputError
from hypercover.files import atomic, is_address, make_folder
from hypercover.scene.io import gdal
from hypercover.scene.io.reading import open_scene

ROOT = Path(hypercover.__file__).parent
PAM = """<PAMDataset><Metadata domain="OVERVIEWS"><MDI key="OVERVIEW_FILE">{}</MDI>
</Metadata></PAMDataset>"""
VRT = """<VRTDataset rasterXSize="48" rasterYSize="40">
<VRTRasterBand dataType="Byte" band="1"><SimpleSource>
<SourceFilename relativeToVRT="0">{}</SourceFilename><SourceBand>1</SourceBand>
</SimpleSource></VRTRasterBand></VRTDataset>"""


@pytest.fixture(scope="module")
def listener(tmp_path_factory):
    with listening(tmp_path_factory.mktemp("listener")) as found:
        yield found


def tagged(path, target):
    with rasterio.open(path, "r+") as file:
        file.update_tags(ns="OVERVIEWS", OVERVIEW_FILE=target)
    return path


def beside(suffix, text):
    def written(path, target):
        path.with_name(path.name + suffix).write_text(text.format(target))
        return path

    return written


def mask_with_tag(path, target):
    mask = path.with_name(path.name + ".msk")
    with rasterio.open(path) as file:
        profile = {"driver": "GTiff", "width": file.width, "height": file.height}
    with rasterio.open(mask, "w", count=1, dtype="uint8", **profile) as file:
        file.write(np.full((1, profile["height"], profile["width"]), 255, np.uint8))
    tagged(mask, target)
    return path


def converted(driver, suffix):
    def written(path, target):
        pixels = path.with_suffix(suffix)
        with rasterio.Env(GDAL_PAM_ENABLED="NO"):
            rasterio.shutil.copy(path, pixels, driver=driver)
        return beside(".aux.xml", PAM)(pixels, target)

    return written


SPOILT = {
    "tag": tagged,
    "sidecar": beside(".aux.xml", PAM),
    "overviews": beside(".ovr", VRT),
    "mask": beside(".msk", VRT),
    "capitals": beside(".MSK", VRT),
    "mask-tag": mask_with_tag,
    "envi": converted("ENVI", ".img"),
    "nitf": converted("NITF", ".ntf"),
    "entity": beside(".aux.xml", PAM.replace("OVERVIEW_FILE", "&#79;VERVIEW_&#x46;ILE")),
}
TARGETS = ("/vsicurl/{}/x.tif", "{}/x.tif", "/vsizip//vsicurl/{}/x.zip/x.tif", "WMTS:{}/w")
VERBS = {
    "info": lambda f, t: ("info", f.image, "-o", f.folder),
    "labels": lambda f, t: ("info", f.image, "--labels", f.labels, "-o", f.folder),
    "predict": lambda f, t: ("predict", t, f.image, "-o", f.folder / "o.tif"),
    "clip": lambda f, t: ("clip", f.image, f.labels, "-o", f.folder / "o.tif"),
    "pansharpen": lambda f, t: ("pansharpen", f.labels, f.image, "-o", f.folder / "o.tif"),
    "export": lambda f, t: ("export", f.labels, "-o", f.folder / "o.gpkg"),
    "area": lambda f, t: ("area", f.labels, "--reference", f.image),
}
SPOILS_LABELS = {"labels", "export", "area", "pansharpen"}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("kind", SPOILT)
def test_no_command_asks_where_a_picture_points(
    call, fields, trained, listener, monkeypatch, kind, verb
):
    # Names of hosts for which curl would use no proxy.
    monkeypatch.setenv("NO_PROXY", "*")
    target = TARGETS[list(SPOILT).index(kind) % len(TARGETS)].format(listener.address)
    spoilt = "labels" if verb in SPOILS_LABELS else "image"
    setattr(fields, spoilt, SPOILT[kind](getattr(fields, spoilt), target))
    refused = call(*VERBS[verb](fields, trained))
    assert "overviews" in refused.sentence or "not a TIFF file" in refused.sentence
    assert listener.asked() == []


def test_a_pipe_beside_an_image_is_not_opened(fields):
    os.mkfifo(fields.image.with_name("cube.tif.aux.xml"))
    with pytest.raises(HypercoverError, match="is a pipe"):
        open_scene(fields.image)


@pytest.mark.parametrize("target", TARGETS)
def test_the_listener_would_hear_gdal(tmp_path, fields, listener, target):
    """Without this the test above could not fail."""
    tagged(fields.image, target.format(listener.address))
    with rasterio.open(fields.image) as file:
        file.overviews(1)
    assert listener.asked()


@pytest.mark.parametrize("target", TARGETS)
def test_gdal_is_offline_even_where_a_pointer_was_not_seen(
    fields, listener, monkeypatch, target
):
    monkeypatch.setattr(gdal, "_check_overviews", lambda dataset, path: None)
    tagged(fields.image, target.format(listener.address))
    with gdal.open_raster(fields.image) as file:
        file.overviews(1)
        file.dataset_mask()
    assert listener.asked() == []


def test_an_image_that_an_allowed_vrt_names_points_nowhere(fields, listener, monkeypatch):
    monkeypatch.setenv("HYPERCOVER_ALLOW_VRT", "1")
    tagged(fields.labels, f"/vsicurl/{listener.address}/x.tif")
    whole = fields.folder / "whole.vrt"
    whole.write_text(VRT.format(fields.labels))
    with pytest.raises(HypercoverError, match="overviews in another file"):
        open_scene(whole)
    assert listener.asked() == []


SHAPES = {
    "crs.geojson": """{{"type": "FeatureCollection", "crs": {{"type": "name", "properties":
{{"name": "{0}/crs"}}}}, "features": [{1}]}}""",
    "fg.geojson": """{{"type": "FeatureCollection", "coordRefSys": "{0}/crs",
"conformsTo": ["[ogc-json-fg-1-0.1:core]"], "features": [{1}]}}""",
    "stac.json": """{{"type": "FeatureCollection", "stac_version": "1.0.0",
"links": [{{"rel": "next", "href": "{0}/next"}}], "features": [{1}]}}""",
    "assets.json": """{{"type": "Feature", "stac_version": "1.0.0", "id": "a", "properties": {{}},
"geometry": null, "assets": {{"a": {{"href": "/vsicurl/{0}/x.tif"}}}}, "links": []}}""",
    "esri.json": """{{"geometryType": "esriGeometryPolygon", "exceededTransferLimit": true,
"features": [], "url": "{0}/q"}}""",
}


@pytest.mark.parametrize("name", SHAPES)
def test_no_shapes_are_fetched(call, fields, listener, name):
    a, _, c, _, e, f = fields.grid.transform
    shape = shapely.to_geojson(shapely.box(c, f + 8 * e, c + 8 * a, f))
    one = f'{{"type": "Feature", "properties": {{"class": 1}}, "geometry": {shape}}}'
    path = fields.folder / name
    path.write_text(SHAPES[name].format(listener.address, one))
    call("info", fields.image, "--labels", path, "-o", fields.folder)
    call("clip", fields.image, path, "-o", fields.folder / "o.tif")
    assert listener.asked() == []


def test_a_shapefile_whose_projection_is_an_address(call, fields, listener):
    path = fields.folder / "shapes.shp"
    a, _, c, _, e, f = fields.grid.transform
    box = shapely.to_wkb(np.array([shapely.box(c, f + 8 * e, c + 8 * a, f)]))
    pyogrio.raw.write(
        path, box, [np.array([1])], ["class"], geometry_type="Polygon", crs="EPSG:32633"
    )
    path.with_suffix(".prj").write_text(f"{listener.address}/crs")
    call("info", fields.image, "--labels", path, "-o", fields.folder)
    assert listener.asked() == []


def test_masks_class_names_and_world_files_beside_an_image_are_still_read(tmp_path):
    path = tmp_path / "plain.tif"
    values = np.arange(20, dtype=np.uint8).reshape(1, 4, 5)
    profile = {"driver": "GTiff", "width": 5, "height": 4, "count": 1, "dtype": "uint8"}
    outside = rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False)
    with outside, rasterio.open(path, "w", **profile) as file:
        file.write(values)
        mask = np.where(values[0] < 5, 0, 255).astype(np.uint8)
        file.write_mask(mask)
    assert path.with_name("plain.tif.msk").exists()
    path.with_suffix(".tfw").write_text("10\n0\n0\n-10\n400005\n5499995\n")
    (tmp_path / "plain.tif.aux.xml").write_text(
        '<PAMDataset><PAMRasterBand band="1"><Description>red</Description>'
        "</PAMRasterBand></PAMDataset>"
    )
    with gdal.open_raster(path) as file:
        assert np.array_equal(file.dataset_mask(), mask)
        assert file.descriptions == ("red",)
        assert tuple(file.transform)[:6] == (10, 0, 400000, 0, -10, 5500000)


@pytest.mark.parametrize(
    "out",
    [
        "http://127.0.0.1:9/o.tif",
        "s3://bucket/o.tif",
        "/vsicurl/http://127.0.0.1:9/o.tif",
        "/vsimem/o.tif",
        "/vsizip/o.zip/o.tif",
        "\\\\server\\share\\o.tif",
    ],
)
@pytest.mark.parametrize("verb", ["predict", "clip", "pansharpen", "export", "area"])
def test_an_address_is_no_place_to_write_to(
    call, fields, trained, tmp_path, monkeypatch, out, verb
):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    *words, last = VERBS[verb](fields, trained)
    words = [*words, last, "-o"] if verb == "area" else words
    asked = out if verb != "export" else out.replace(".tif", ".gpkg")
    refused = call(*words, asked.replace(".tif", ".csv") if verb == "area" else asked)
    assert "on this machine" in refused.sentence
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("path", ["https://example.org/run", "/vsis3/bucket/run"])
def test_no_folder_is_made_at_an_address(tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OutputError, match="on this machine"):
        make_folder(Path(path))
    with pytest.raises(OutputError, match="on this machine"), atomic(Path(path) / "a.txt"):
        pass
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("path", ["vsierra/a.tif", "C:/maps/a.tif", "a:b.tif", "../x"])
def test_a_path_of_this_machine_is_no_address(path):
    assert not is_address(Path(path))


def test_only_one_module_opens_or_creates_files_by_gdal():
    """All others would open them with networks, sidecars and drivers of any kind."""
    forbidden = {
        "list_layers",
        "read_info",
        "read_dataframe",
        "DatasetReader",
        "Env",
        "list_drivers",
        "shutil",
        "vrt",
        "MemoryFile",
        "write_dataframe",
    }
    for path in sorted(ROOT.rglob("*.py")):
        if path == Path(gdal.__file__):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                module = node.module or ""
                if module.partition(".")[0] in {"rasterio", "pyogrio", "osgeo", "fiona"}:
                    names = {module.rpartition(".")[2]} | {one.name for one in node.names}
                    assert not names & forbidden, (path, names)
            if isinstance(node, ast.Import):
                names = {one.name.partition(".")[0] for one in node.names}
                assert not names & {"rasterio", "pyogrio", "osgeo", "fiona"}, path
