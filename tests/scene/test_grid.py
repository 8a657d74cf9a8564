"""Areas on the ground: against closed forms, the whole Earth and brute force."""

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.crs import CRS
from scipy.integrate import quad

from hypercover.gis.map_writing import write_class_map
from hypercover.scene.class_map import open_class_map
from hypercover.scene.grid import (
    Grid,
    describe_orientation,
    ground_coordinates,
    has_equal_pixels,
    orientation,
    pixel_hectares,
)
from hypercover.scene.io.reading import open_labels
from hypercover.scene.io.vector import read_vector_labels
from hypercover.scene.legend import Legend
from hypercover.scene.selection import read_area

A, F = 6_378_137.0, 1 / 298.257223563


def wkt(code):
    return CRS.from_epsg(code).to_wkt()


def band(low, high):
    """Hectares between two parallels (degrees), for a degree of longitude, integrated."""
    squared = F * (2 - F)

    def element(latitude):
        return np.cos(latitude) * (1 - squared) / (1 - squared * np.sin(latitude) ** 2) ** 2

    found, _ = quad(element, *np.radians([low, high]), epsabs=0, epsrel=1e-12)
    return A**2 * np.radians(1) * found / 10_000


@pytest.mark.parametrize("top", [89.0, 60.0, 0.5, -40.0])
def test_pixels_in_degrees_by_the_integral_over_the_ellipsoid(top):
    grid = Grid(3, 4, wkt(4326), (0.25, 0, 10.0, 0, -0.5, top))
    found = pixel_hectares(grid)
    assert found.shape == (3, 1)
    want = [0.25 * band(top - 0.5 * (row + 1), top - 0.5 * row) for row in range(3)]
    np.testing.assert_allclose(found[:, 0], want, rtol=1e-9)


def test_all_pixels_together_are_the_earth():
    grid = Grid(180, 360, wkt(4326), (1.0, 0, -180.0, 0, -1.0, 90.0))
    assert float(pixel_hectares(grid).sum()) * 360 == pytest.approx(
        51_006_562_172.4, rel=1e-9
    )


@pytest.mark.parametrize("top", [0.0, 5_000_000.0, 12_000_000.0])
def test_pixels_in_web_mercator_are_those_of_the_same_parallels(top):
    """Its scale grows with the latitude: at 60° a pixel has a quarter of its area."""
    grid = Grid(2, 2, wkt(3857), (1000.0, 0, 300_000.0, 0, -1000.0, top))
    edges = np.degrees(np.arctan(np.sinh((top - 1000 * np.arange(3)) / A)))
    want = [band(edges[row + 1], edges[row]) * np.degrees(1000 / A) for row in range(2)]
    np.testing.assert_allclose(pixel_hectares(grid)[:, 0], want, rtol=1e-9)


@pytest.mark.parametrize(
    ("code", "even"),
    [
        (32632, True),
        (3035, True),
        (2263, True),
        (4326, False),
        (3857, False),
        (3395, False),
        (4087, False),
    ],
)
def test_which_systems_have_pixels_of_one_size(code, even):
    assert has_equal_pixels(wkt(code)) is even


@pytest.mark.parametrize("code", [3395, 4087])
def test_other_cylinders_agree_with_degrees(code):
    """A pixel near 50° north, by its corners in degrees."""
    from rasterio.warp import transform

    x, y = (float(one[0]) for one in transform(wkt(4326), wkt(code), [10.0], [50.0]))
    grid = Grid(1, 1, wkt(code), (1000.0, 0, x, 0, -1000.0, y))
    east, north = transform(wkt(code), wkt(4326), [x, x + 1000], [y, y - 1000])
    want = band(north[1], north[0]) * (east[1] - east[0])
    assert float(pixel_hectares(grid)[0, 0]) == pytest.approx(want, rel=1e-6)


def test_a_turned_grid_in_degrees_has_the_area_of_the_upright_one():
    angle, side = np.radians(30), 0.001
    a, b = side * np.cos(angle), side * np.sin(angle)
    turned = Grid(4, 5, wkt(4326), (a, b, 10.0, b, -a, 50.0))
    upright = pixel_hectares(Grid(1, 1, wkt(4326), (side, 0, 10.0, 0, -side, 50.0)))
    found = pixel_hectares(turned)
    assert found.shape == (4, 5)
    np.testing.assert_allclose(found, float(upright[0, 0]), rtol=1e-4)


def test_metres_and_feet_are_scaled():
    points = np.array([[3.0, 4.0]])
    np.testing.assert_allclose(ground_coordinates(wkt(32632))(points), points)
    feet = ground_coordinates(wkt(2263))(points)
    np.testing.assert_allclose(feet, points * 0.3048006096, rtol=1e-9)


def test_without_a_place_there_is_no_area():
    assert pixel_hectares(Grid(2, 2)) is None
    assert pixel_hectares(Grid(2, 2, None, (1.0, 0, 5.0, 0, -1.0, 5.0))) is None


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
    assert describe_orientation(grid(LIES[found])).startswith(f"{found}: ")


def test_the_angle_is_that_of_the_rows():
    assert "30° south of east" in describe_orientation(grid(LIES["rotated"]))
    turned = NORTH_UP @ Affine.rotation(-12.5)
    assert "12.5° north of east" in describe_orientation(grid(turned))


def test_north_up_and_unplaced_images_need_no_words():
    for one in (grid(NORTH_UP), Grid(5, 6), grid(NORTH_UP @ Affine.rotation(1e-8))):
        assert orientation(one) is None
        assert describe_orientation(one) is None


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
    pyogrio.raw.write(
        tmp_path / "p.gpkg",
        wkb,
        [np.array([1])],
        ["code"],
        crs=utm.crs,
        geometry_type="Polygon",
    )
    assert (read_vector_labels(tmp_path / "p.gpkg", place).codes == codes).all()


@pytest.mark.parametrize(
    ("axes", "found"),
    [((0,), "upside down"), ((1,), "mirrored"), ((0, 1), "upside down and mirrored")],
)
def test_a_raster_that_lies_the_other_way_is_turned(axes, found, tmp_path):
    codes = np.arange(30, dtype=np.uint8).reshape(5, 6)
    far = {
        (0,): Affine.translation(0, 5),
        (1,): Affine.translation(6, 0),
        (0, 1): Affine.translation(6, 5),
    }[axes]
    sign = Affine.scale(-1 if 1 in axes else 1, -1 if 0 in axes else 1)
    place = NORTH_UP @ far @ sign
    assert orientation(grid(place)) == found
    with rasterio.open(
        tmp_path / "a.tif",
        "w",
        driver="GTiff",
        height=5,
        width=6,
        count=1,
        dtype="uint8",
        crs="EPSG:32633",
        transform=place,
    ) as file:
        file.write(np.flip(codes, axes), 1)
    north_up = grid(NORTH_UP)
    labels, _ = open_labels(tmp_path / "a.tif", north_up)
    np.testing.assert_array_equal(labels, codes)
    np.testing.assert_array_equal(read_area(tmp_path / "a.tif", north_up), codes != 0)
