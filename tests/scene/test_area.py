"""An area is what polygons cover or a raster marks, and messages speak of it as one."""

import numpy as np
import pyogrio
import pytest
import rasterio
import scipy.io
import shapely
from affine import Affine

from hypercover.errors import HypercoverError, LabelError
from hypercover.scene.area import area_of
from hypercover.scene.grid import Grid
from hypercover.scene.legend import Legend
from hypercover.scene.writing import write_labels


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
    assert (area_of(raster(tmp_path / "a.tif", values, utm), utm) == marked).all()


def test_what_holds_no_data_is_not_in(marked, utm, tmp_path):
    values = np.where(marked, 7, 255).astype(np.uint8)
    path = raster(tmp_path / "a.tif", values, utm, nodata=255)
    assert (area_of(path, utm) == marked).all()


def test_a_label_map_and_an_array_are_areas(codes, marked, utm, tmp_path):
    path = write_labels(codes, Legend(), utm, tmp_path / "labels.tif")
    assert (area_of(path, utm) == (codes > 0)).all()
    np.save(tmp_path / "a.npy", marked)
    scipy.io.savemat(tmp_path / "a.mat", {"mask": marked.astype(float), "x": np.ones(3)})
    for name in ("a.npy", "a.mat"):
        assert (area_of(tmp_path / name, utm) == marked).all()


def layers(path):
    wkb = shapely.to_wkb([shapely.box(0, 0, 1, 1)])
    for name in ("a", "b"):
        pyogrio.raw.write(path, wkb, [np.array([1])], ["n"], layer=name, append=name == "b",
                          geometry_type="Polygon", crs="EPSG:32616")  # fmt: skip


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
        "none.tif": "no area",
        "small.npy": "An area must be one array of the size of the image",
        "two.npz": "An area must be one array of the size of the image",
        "layers.gpkg": "2 layers with shapes",
        "broken.tif": "damaged",
        "a.kml": "is KML",
    }
    for name, words in said.items():
        with pytest.raises(HypercoverError) as refused:
            area_of(tmp_path / name, utm)
        assert words in str(refused.value), name
        assert "label" not in str(refused.value).lower(), name
    with pytest.raises(LabelError, match="without a georeference"):
        area_of(tmp_path / "layers.gpkg", Grid(5, 5))
