"""An area is what polygons cover or a raster marks, and messages speak of it as one."""

import json

import numpy as np
import pyogrio
import pytest
import rasterio
import scipy.io
import shapely
import xarray as xr
from affine import Affine
from rasterio.crs import CRS

from hypercover.errors import HypercoverError, LabelError, SceneError
from hypercover.scene.grid import Grid, with_grid
from hypercover.scene.io.reading import open_scene
from hypercover.scene.io.writing import write_labels, write_scene
from hypercover.scene.legend import Legend
from hypercover.scene.scene import Scene
from hypercover.scene.selection import clip, crop, read_area


def raster(path, values, grid, **more):
    values = np.atleast_3d(values.T).T
    shape = dict(zip(("count", "height", "width"), values.shape, strict=True))
    place = {"crs": grid.crs, "transform": Affine(*grid.transform)}
    with rasterio.open(
        path, "w", "GTiff", dtype=values.dtype, **shape, **place, **more
    ) as f:
        f.write(values)
    return path


@pytest.fixture
def marked(utm):
    inside = np.zeros(utm.shape, bool)
    inside[2:5, 3:7] = inside[9, :2] = True
    return inside


@pytest.mark.parametrize("mark", [1, 255, -3, 0.5, 70_000])
def test_every_number_but_zero_marks_a_pixel(mark, marked, utm, tmp_path):
    values = np.where(marked, mark, 0).astype(np.min_scalar_type(mark))
    if values.dtype == np.float16:
        values = values.astype(np.float32)
        values[0, 0], values[0, 1] = np.nan, np.inf
    assert (read_area(raster(tmp_path / "a.tif", values, utm), utm) == marked).all()


def test_what_holds_no_data_is_not_in(marked, utm, tmp_path):
    values = np.where(marked, 7, 255).astype(np.uint8)
    path = raster(tmp_path / "a.tif", values, utm, nodata=255)
    assert (read_area(path, utm) == marked).all()


def test_a_label_map_and_an_array_are_areas(codes, marked, utm, tmp_path):
    path = write_labels(codes, Legend(), utm, tmp_path / "labels.tif")
    assert (read_area(path, utm) == (codes > 0)).all()
    np.save(tmp_path / "a.npy", marked)
    scipy.io.savemat(tmp_path / "a.mat", {"mask": marked.astype(float), "x": np.ones(3)})
    for name in ("a.npy", "a.mat"):
        assert (read_area(tmp_path / name, utm) == marked).all()


def layers(path):
    wkb = shapely.to_wkb([shapely.box(0, 0, 1, 1)])
    for name in ("a", "b"):
        pyogrio.raw.write(
            path,
            wkb,
            [np.array([1])],
            ["n"],
            layer=name,
            append=name == "b",
            geometry_type="Polygon",
            crs="EPSG:32616",
        )


def test_messages_speak_of_an_area(marked, utm, tmp_path):
    values, (a, b, c, d, e, f) = marked.astype(np.uint8), utm.transform
    shifted = Grid(*utm.shape, utm.crs, (a, b, c + 0.3 * a, d, e, f))
    raster(tmp_path / "small.tif", values[:5], utm)
    raster(tmp_path / "shifted.tif", values, shifted)
    raster(tmp_path / "two.tif", np.stack([values, values]), utm)
    raster(tmp_path / "none.tif", values * 0, utm)
    np.save(tmp_path / "small.npy", values[:5])
    np.savez(tmp_path / "two.npz", a=values, b=values)
    layers(tmp_path / "layers.gpkg")
    (tmp_path / "broken.tif").write_bytes(b"II*\0broken")
    (tmp_path / "a.kml").write_text("<kml>")
    said = {
        "small.tif": "The area must have the size of the image",
        "shifted.tif": "Pixels of the area",
        "two.tif": "The area must have one band, found 2",
        "none.tif": "at least one nonzero pixel",
        "small.npy": "An area must be one array of the size of the image",
        "two.npz": "An area must be one array of the size of the image",
        "layers.gpkg": "2 layers with shapes",
        "broken.tif": "damaged",
        "a.kml": "is KML",
    }
    for name, words in said.items():
        with pytest.raises(HypercoverError) as refused:
            read_area(tmp_path / name, utm)
        assert words in str(refused.value), name
        assert "label" not in str(refused.value).lower(), name
    with pytest.raises(LabelError, match="without a georeference"):
        read_area(tmp_path / "layers.gpkg", Grid(5, 5))


def polygons(path, *boxes, crs="EPSG:32616"):
    """Write boxes of pixels (top, left, bottom, right) of the grid of the tests."""
    shapes = [
        shapely.box(
            500_000.5 + 20 * left,
            4_480_000 - 20 * bottom,
            500_000.5 + 20 * right,
            4_480_000 - 20 * top,
        )
        for top, left, bottom, right in boxes
    ]
    pyogrio.raw.write(
        path,
        shapely.to_wkb(shapes),
        [np.zeros(len(boxes))] * 2,
        ["a", "b"],
        geometry_type="Polygon",
        crs=crs,
    )
    return path


def test_polygons_without_a_class_are_an_area(scene, tmp_path):
    path = polygons(tmp_path / "area.gpkg", (2, 3, 5, 7), (9, 0, 10, 2))
    expected = np.zeros(scene.shape, bool)
    expected[2:5, 3:7] = expected[9, :2] = True
    assert (read_area(path, scene.grid) == expected).all()


def test_a_clipped_image_lies_where_it_lay(scene, tmp_path):
    path = polygons(tmp_path / "area.gpkg", (2, 3, 5, 7), (4, 6, 8, 9))
    part = clip(scene, path)
    assert part.shape == (6, 6)
    assert part.grid.transform[2] == 500_000.5 + 3 * 20
    assert part.grid.transform[5] == 4_480_000 - 2 * 20
    written = open_scene(write_scene(part, tmp_path / "part.tif"))
    inside = read_area(path, scene.grid)[2:8, 3:9]
    assert (written.valid == inside).all()
    assert (
        written.cube.values[:, inside] == scene.cube.values[:, 2:8, 3:9][:, inside]
    ).all()
    assert (written.cube.values[:, ~inside] == -9).all()
    assert written.wavelengths == pytest.approx(scene.wavelengths)
    assert written.bad.tolist() == scene.bad.tolist()
    some = part.cube[[4, 1], 1:5:2, [5, 0]].values
    assert (some == part.cube.values[[4, 1]][:, 1:5:2][:, :, [5, 0]]).all()


def whole_numbers(values, utm):
    cube = xr.DataArray(values, dims=("band", "y", "x"))
    return Scene(with_grid(cube, Grid(*values.shape[1:], utm.crs, utm.transform)))


@pytest.mark.parametrize("suffix", [".tif", ".hdr", ".h5"])
@pytest.mark.parametrize(
    ("dtype", "low", "high", "expected"),
    [
        ("u1", 1, 255, 0),
        ("u1", 0, 254, 255),
        ("u2", 0, 500, 65535),
        ("i2", -3, 500, -9999),
        ("i4", -3, 500, -9999),
        ("u4", 0, 500, 2**32 - 1),
    ],
)
def test_whole_numbers_get_a_value_for_no_data(
    suffix, dtype, low, high, expected, utm, tmp_path
):
    values = np.random.default_rng(0).integers(low, high + 1, (3, 30, 30)).astype(dtype)
    values[0, 0, 0], values[:, 2:4, 3:5] = low, max(low, 0)
    inside = np.add.outer(np.arange(30), np.arange(30)) < 45
    part = clip(whole_numbers(values, utm), inside)
    written = open_scene(write_scene(part, tmp_path / f"a{suffix}"))
    assert written.nodata == expected
    assert written.cube.dtype == dtype
    outside = ~inside
    assert (written.cube.values[:, outside] == expected).all()
    assert (written.cube.values[:, inside] == values[:, inside]).all()
    # Zero in all bands is data where nothing says otherwise.
    assert (written.valid == inside).all()
    assert f"{expected}, which is unused" in part.notes[-1]


def test_the_value_for_no_data_is_looked_for_inside_alone(utm):
    values = np.full((2, 6, 6), 9, np.uint8)
    values[:, 5] = np.arange(12).reshape(2, 6)
    inside = np.ones((6, 6), bool)
    inside[5] = False
    inside[4, 0] = False
    assert clip(whole_numbers(values, utm), inside).nodata == 0
    whole = clip(whole_numbers(values, utm), np.ones((6, 6), bool))
    assert whole.nodata is None


def test_an_odd_value_is_taken_where_the_usual_are_held_and_a_wider_type_where_all_are(
    utm, tmp_path
):
    values = np.arange(256, dtype=np.uint8).reshape(1, 16, 16).repeat(2, axis=0)
    values[1, 0, 0] = 1
    inside = np.ones((16, 16), bool)
    inside[15, 14] = False
    assert clip(whole_numbers(values, utm), inside).nodata == 254
    values[0, 0, 1] = 254
    part = clip(whole_numbers(values, utm), inside)
    assert (part.nodata, part.cube.dtype) == (-9999, "int16")
    assert "its pixels use every value of uint8" in part.notes[-1]
    written = open_scene(write_scene(part, tmp_path / "part.tif"))
    assert (written.valid == inside).all()
    assert (written.cube.values[:, inside] == values[:, inside]).all()


def test_labels_outside_are_dropped(scene, codes):
    inside = np.zeros(scene.shape, bool)
    inside[0:4, 0:5] = True
    part = clip(scene.with_labels(codes, Legend.of({1: "a", 2: "b", 5: "c"})), inside)
    assert part.legend.names == ("a",)
    assert (part.labels == codes[0:4, 0:5]).all()


def test_areas_that_are_none_are_refused(scene, tmp_path):
    outside = polygons(tmp_path / "far.gpkg", (100, 100, 120, 120))
    with pytest.raises(LabelError, match="covers the centre of a pixel"):
        clip(scene, outside)
    with pytest.raises(LabelError, match="must have the size of the image"):
        clip(scene, np.ones((3, 3), bool))
    empty = polygons(tmp_path / "empty.gpkg")
    with pytest.raises(LabelError, match="holds no shape"):
        clip(scene, empty)
    linked = tmp_path / "linked.geojson"
    crs = {"type": "link", "properties": {"href": "http://127.0.0.1:9/crs"}}
    linked.write_text(json.dumps({"type": "FeatureCollection", "crs": crs, "features": []}))
    with pytest.raises(LabelError, match="network address"):
        clip(scene, linked)


UTM = CRS.from_epsg(32616).to_wkt()


@pytest.fixture
def small():
    values = np.arange(3 * 8 * 6).reshape(3, 8, 6)
    cube = xr.DataArray(values, dims=("band", "y", "x"))
    cube = cube.assign_coords(wavelength=("band", [500.0, 600.0, 700.0]))
    grid = Grid(8, 6, UTM, (20.0, 1.0, 1000.0, 2.0, -20.0, 5000.0))
    labels = np.zeros((8, 6), np.uint8)
    labels[:4], labels[4:] = 1, 2
    return Scene(with_grid(cube, grid), labels, Legend.of({1: "Corn", 2: "Woods"}))


def test_pixels_labels_bands_and_place_go_along(small):
    part = crop(small, "1:4, 2:6")
    np.testing.assert_array_equal(part.cube.values, small.cube.values[:, 1:4, 2:6])
    np.testing.assert_array_equal(part.labels, small.labels[1:4, 2:6])
    assert part.legend.names == ("Corn",)
    assert part.wavelengths.tolist() == [500.0, 600.0, 700.0]
    # The corner of pixel (1, 2), worked out by hand from the affine transform.
    assert part.grid.transform == (20.0, 1.0, 1041.0, 2.0, -20.0, 4984.0)
    assert part.notes[-1] == "Cropped to rows 1 to 3 and columns 2 to 5 of 8 × 6."


def test_what_is_left_out_is_the_edge(small):
    assert crop(small, ":,:").shape == (8, 6)
    assert crop(small, "3:,:2").shape == (5, 2)
    assert crop(crop(small, "2:,:"), "1:3,:").labels[:, 0].tolist() == [1, 2]


def test_an_image_without_a_place_gets_none(small):
    bare = Scene(xr.DataArray(np.ones((1, 4, 4)), dims=("band", "y", "x")))
    assert not crop(bare, "1:3,1:3").grid.placed


@pytest.mark.parametrize(
    "part", ["", "1:2", "0:9,0:6", "3:3,0:2", "4:2,:", "-1:2,:", "a:b,:"]
)
def test_what_is_no_part_of_the_image_is_a_sentence(small, part):
    with pytest.raises(SceneError, match=r"image, 8 × 6, such as '0:8,0:6', got"):
        crop(small, part)
