"""How an image lies, against transforms composed of turns and mirrors."""

import numpy as np
import pytest
import rasterio
from affine import Affine

from hypercover.maps.export import write_class_map
from hypercover.scene.area import area_of
from hypercover.scene.classmap import open_class_map
from hypercover.scene.formats.vector import read_vector_labels
from hypercover.scene.grid import Grid
from hypercover.scene.legend import Legend
from hypercover.scene.orientation import orientation, orientation_words
from hypercover.scene.reading import open_labels

NORTH_UP = Affine.translation(500_000, 4_480_000) @ Affine.scale(20, -20)
LIES = {
    "rotated": NORTH_UP @ Affine.rotation(30),
    "upside down": NORTH_UP @ Affine.scale(1, -1),
    "mirrored": NORTH_UP @ Affine.scale(-1, 1),
    "upside down and mirrored": NORTH_UP @ Affine.rotation(180),
    "sheared": NORTH_UP @ Affine.shear(10, 0),
}


def grid(transform, crs=None):
    return Grid(5, 6, crs, tuple(map(float, transform))[:6])


@pytest.mark.parametrize("found", LIES)
def test_every_way_to_lie_is_told(found):
    assert orientation(grid(LIES[found])) == found
    assert orientation_words(grid(LIES[found])).startswith(f"{found}: ")


def test_the_angle_is_that_of_the_rows():
    assert "30° south of east" in orientation_words(grid(LIES["rotated"]))
    turned = NORTH_UP @ Affine.rotation(-12.5)
    assert "12.5° north of east" in orientation_words(grid(turned))


def test_north_up_and_unplaced_images_need_no_words():
    for one in (grid(NORTH_UP), Grid(5, 6), grid(NORTH_UP @ Affine.rotation(1e-8))):
        assert orientation(one) is None
        assert orientation_words(one) is None


@pytest.mark.parametrize("found", LIES)
def test_maps_and_labels_keep_to_it_as_the_words_say(found, utm, tmp_path):
    import pyogrio
    import shapely

    place = grid(LIES[found], utm.crs)
    codes = np.zeros(place.shape, np.uint8)
    codes[1:3, 2:5] = 1
    write_class_map(tmp_path / "map.tif", codes, Legend.of({1: "a"}), place)
    made = open_class_map(tmp_path / "map.tif")
    np.testing.assert_allclose(made.grid.transform, place.transform)
    corners = [LIES[found] @ at for at in ((2, 1), (5, 1), (5, 3), (2, 3))]
    wkb = shapely.to_wkb([shapely.Polygon(corners)])
    pyogrio.raw.write(tmp_path / "p.gpkg", wkb, [np.array([1])], ["code"], crs=utm.crs,
                      geometry_type="Polygon")  # fmt: skip
    assert (read_vector_labels(tmp_path / "p.gpkg", place).codes == codes).all()


@pytest.mark.parametrize(
    ("axes", "found"),
    [((0,), "upside down"), ((1,), "mirrored"), ((0, 1), "upside down and mirrored")],
)
def test_a_raster_that_lies_the_other_way_is_turned(axes, found, tmp_path):
    codes = np.arange(30, dtype=np.uint8).reshape(5, 6)
    far = {(0,): Affine.translation(0, 5), (1,): Affine.translation(6, 0),
           (0, 1): Affine.translation(6, 5)}[axes]  # fmt: skip
    sign = Affine.scale(-1 if 1 in axes else 1, -1 if 0 in axes else 1)
    place = NORTH_UP @ far @ sign
    assert orientation(grid(place)) == found
    with rasterio.open(tmp_path / "a.tif", "w", driver="GTiff", height=5, width=6, count=1,
                       dtype="uint8", crs="EPSG:32633", transform=place) as file:  # fmt: skip
        file.write(np.flip(codes, axes), 1)
    north_up = grid(NORTH_UP)
    labels, _ = open_labels(tmp_path / "a.tif", north_up)
    np.testing.assert_array_equal(labels, codes)
    np.testing.assert_array_equal(area_of(tmp_path / "a.tif", north_up), codes != 0)
