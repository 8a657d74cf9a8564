"""Class maps for other programs: polygons, cleaned and clipped maps, STAC, ``clip``."""

import json

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely

from hypercover.gis.cleaning import Cleaning
from hypercover.gis.map_writing import write_class_map
from hypercover.scene.grid import Grid
from hypercover.scene.io.reading import open_scene
from hypercover.scene.io.writing import write_labels, write_scene
from hypercover.scene.legend import Legend

PLACE = (10.0, 0.0, 400_000.0, 0.0, -10.0, 5_500_000.0)
LEGEND = Legend.of({1: "Corn", 2: "Meadow", 3: "Woods"})


@pytest.fixture
def codes():
    made = np.repeat(np.repeat(np.array([[1, 2], [3, 1]], np.uint8), 20, 0), 24, 1)
    made[5, 5], made[30, 30], made[0, 0] = 3, 2, 0
    return made


@pytest.fixture
def path(codes, tmp_path):
    wkt = rasterio.crs.CRS.from_epsg(32633).to_wkt()
    grid = Grid(*codes.shape, wkt, PLACE)
    write_class_map(tmp_path / "m.tif", codes, LEGEND, grid, simulated=True)
    return tmp_path / "m.tif"


@pytest.fixture
def area(tmp_path):
    """The upper left quarter, in degrees."""
    box = shapely.box(400_000, 5_499_800, 400_240, 5_500_000)
    from rasterio.warp import transform

    x, y = box.exterior.coords.xy
    lon, lat = transform("EPSG:32633", "EPSG:4326", list(x), list(y))
    shape = shapely.polygons(list(zip(lon, lat, strict=True)))
    file = tmp_path / "area.geojson"
    pyogrio.raw.write(
        file,
        shapely.to_wkb([shape]),
        [np.array([1])],
        ["n"],
        geometry_type="Polygon",
        crs="EPSG:4326",
    )
    return file


def test_polygons_with_a_minimum_area(path, call, tmp_path):
    said = call("export", path, "-o", tmp_path / "p.gpkg", "--minimum-area", 0.02)
    assert said.out.splitlines() == [
        f"4 polygons: {tmp_path / 'p.gpkg'}",
        "2 pixels changed class in regions of fewer than 2.",
    ]
    _, _, _, columns = pyogrio.raw.read(tmp_path / "p.gpkg")
    assert sorted(columns[1]) == ["Corn", "Corn", "Meadow", "Woods"]


@pytest.mark.parametrize("suffix", [".gpkg", ".geojson"])
def test_polygons_and_a_map_of_one_name_would_share_a_style(path, call, tmp_path, suffix):
    """The map lost its legend in QGIS when polygons of its name were written beside it."""
    style = path.with_suffix(".qml").read_text()
    said = call("export", path, "-o", path.with_suffix(suffix))
    assert f"would take the style m.qml of {path}" in said.sentence
    assert path.with_suffix(".qml").read_text() == style
    assert not path.with_suffix(suffix).exists()
    assert call("export", path, "-o", tmp_path / f"p{suffix}").code == 0
    back = call("export", path, "-o", tmp_path / "p.tif", "--sieve", 4)
    assert f"would take the style p.qml of {tmp_path / 'p'}{suffix}" in back.sentence
    assert call("export", path, "-o", tmp_path / f"p{suffix}").code == 0


@pytest.mark.parametrize("suffix", [".gpkg", ".geojson", ".tif"])
def test_what_a_killed_export_left_is_swept_up(path, call, tmp_path, suffix):
    dead = tmp_path / f".p.999999999-0.part{suffix}"
    dead.touch()
    assert call("export", path, "-o", tmp_path / f"p{suffix}").code == 0
    assert not dead.exists()


def test_a_cleaned_and_clipped_map_keeps_names_and_origin(
    path, area, codes, call, tmp_path
):
    out = tmp_path / "clean.tif"
    said = call("export", path, "-o", out, "--majority", 3, "--sieve", 4, "--within", area)
    assert said.code == 0, said.err
    with rasterio.open(out) as raster:
        made = raster.read(1)
        assert raster.tags()["HYPERCOVER_SIMULATED"] == "yes"
        assert raster.colormap(1)[1][:3] == LEGEND[1].rgb
    expected = np.zeros_like(codes)
    expected[:20, :24] = 1
    expected[0, 0] = 0
    assert (made == expected).all()
    assert "1 pixel changed class." in said.out


def test_a_stac_item(path, call, tmp_path):
    out = tmp_path / "m.json"
    assert call("export", path, "-o", out, "--datetime", "1992-06-12").code == 0
    item = json.loads(out.read_text())
    classes = item["assets"]["classes"]["classification:classes"]
    assert [one["title"] for one in classes] == ["no data", "Corn", "Meadow", "Woods"]


def test_what_does_not_go_together_is_refused(path, call, tmp_path):
    cases = {
        "m.shp": ((), "exported as polygons"),
        "m.json": ((), "needs the day the image was taken"),
        "a.tif": (("--minimum-area", 1), "is for polygons"),
        "b.tif": (("--datetime", "1992-06-12"), "nothing else does"),
        "b.json": (("--datetime", "1992-06-12", "--sieve", 3), "describes a map as it is"),
        "c.tif": (("--majority", 2), "odd number of pixels"),
    }
    before = {file.name for file in tmp_path.iterdir()}
    for name, (words, told) in cases.items():
        assert told in call("export", path, "-o", tmp_path / name, *words).sentence
    assert "would destroy" in call("export", path, "-o", path).sentence
    assert {file.name for file in tmp_path.iterdir()} == before


def dated(image):
    """Note in an image when it was taken."""
    with rasterio.open(image, "r+") as file:
        file.update_tags(ns="ENVI", acquisition_time="2005-06-21T10:32:00Z")


def test_a_prediction_of_a_dated_image_has_an_item(fields, trained, call, tmp_path):
    words = ("predict", trained, fields.image, "-o", tmp_path / "map.tif")
    assert "STAC" not in call(*words).out
    dated(fields.image)
    said = call(*words).out.splitlines()
    assert said[-1] == f"STAC item: {tmp_path}/map.stac.json"
    item = json.loads((tmp_path / "map.stac.json").read_text())
    assert item["properties"]["datetime"] == "2005-06-21T10:32:00Z"
    assert item["properties"]["proj:code"] == "EPSG:32633"


def test_clip_cuts_an_image(fields, area, call, tmp_path):
    out = tmp_path / "part.tif"
    said = call("clip", fields.image, area, "-o", out)
    assert said.out.splitlines() == ["20 rows × 24 columns of 40 × 48", f"Image: {out}"]
    with rasterio.open(out) as raster:
        assert (raster.read() == fields.cube[:, :20, :24]).all()
        assert tuple(raster.transform)[:6] == PLACE
        assert raster.tags(1, ns="IMAGERY")["CENTRAL_WAVELENGTH_UM"] == "0.45"


def test_what_lies_outside_a_clip_is_data_for_no_command(
    fields, trained, area, call, tmp_path
):
    inside = np.zeros(fields.grid.shape, np.uint8)
    inside[3:23, 2:40] = inside[20:30, 10:20] = 1
    mask = write_labels(inside, Legend(), fields.grid, tmp_path / "mask.tif")
    part = tmp_path / "part.tif"
    said = call("clip", fields.image, mask, "-o", part)
    assert "Note: The image declares no value for no data; 0, which is" in said.out
    outside = inside[3:30, 2:40] == 0
    with rasterio.open(part) as raster:
        assert (raster.dataset_mask() == np.where(outside, 0, 255)).all()
    told = call("info", part, "-o", tmp_path).out
    assert f"{np.count_nonzero(outside)} of {outside.size} pixels" in " ".join(told.split())
    assert call("predict", trained, part, "-o", tmp_path / "map.tif").code == 0
    assert call("features", part, "--chain", "pca:2", "-o", tmp_path / "f.tif").code == 0
    with (
        rasterio.open(tmp_path / "map.tif") as map_,
        rasterio.open(tmp_path / "f.tif") as f,
    ):
        assert ((map_.read(1) == 0) == outside).all()
        assert (np.isnan(f.read()).all(axis=0) == outside).all()


def test_clip_keeps_the_labels_of_an_hdf5_file(fields, path, area, call, tmp_path):
    whole = write_scene(open_scene(fields.image, path), tmp_path / "whole.h5")
    said = call("clip", whole, area, "-o", tmp_path / "part.h5")
    assert said.code == 0, said.err
    part = open_scene(tmp_path / "part.h5")
    assert (part.labels == open_scene(whole).labels[:20, :24]).all()
    assert [(one.code, one.name) for one in part.legend] == [(1, "Corn"), (3, "Woods")]
    assert call("clip", whole, area, "-o", tmp_path / "part.tif").code == 0


def test_a_run_writes_cleaned_maps_beside_and_removes_them_again(fields, call, tmp_path):
    dated(fields.image)
    run = tmp_path / "run"
    words = ("run", fields.experiment, "-o", run)
    done = call(*words, "--set", "clean={majority: 3, sieve: 4}")
    assert done.code == 0, done.err
    with (
        rasterio.open(run / "maps/svm.tif") as raw,
        rasterio.open(run / "maps/svm-clean.tif") as clean,
    ):
        assert (clean.read(1) == Cleaning(3, 4).apply(raw.read(1))).all()
    item = json.loads((run / "maps/svm.stac.json").read_text())
    assert item["properties"]["datetime"] == "2005-06-21T10:32:00Z"
    assert item["assets"]["classes"]["type"].endswith("profile=cloud-optimized")
    named = [one["title"] for one in item["assets"]["classes"]["classification:classes"]]
    assert named == ["no data", "Corn", "Meadow", "Woods"]
    assert call(*words).code == 0
    assert not list((run / "maps").glob("svm-clean*"))
    assert (run / "maps/svm.stac.json").exists()
    assert call(*words, "--set", "map=false").code == 0
    assert not list((run / "maps").iterdir())
    assert "clean.majority" in call(*words, "--set", "clean.majority=4").sentence
