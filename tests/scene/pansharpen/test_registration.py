"""One grid laid on another: ratio, phase, and every pair that does not fit."""

import pytest
from rasterio.crs import CRS

from hypercover.errors import SceneError
from hypercover.scene.grid import Grid
from hypercover.scene.pansharpen.registration import register

UTM32, UTM33 = (CRS.from_epsg(code).to_wkt() for code in (32632, 32633))


def grid(rows, cols, side, left=0.0, top=0.0, crs=UTM33, down=None):
    height = -side if down is None else down
    return Grid(rows, cols, crs, (side, 0.0, 3e5 + left, 0.0, height, 4.6e6 + top))


COLOURS = grid(10, 10, 2.4)


def test_ratio_phase_and_planes_come_from_the_georeference():
    laid = register(grid(40, 40, 0.6), COLOURS)
    assert laid.ratio == pytest.approx(4)
    assert laid.levels == 2
    assert laid.centres(0, slice(0, 4)) == pytest.approx([-0.375, -0.125, 0.125, 0.375])


def test_a_grid_half_a_fine_pixel_off_has_another_phase():
    """As Landsat's: the corner of 15 m lies half a pixel off that of 30 m."""
    laid = register(grid(40, 40, 15, left=7.5, top=-7.5), grid(20, 20, 30))
    assert laid.levels == 1
    assert laid.centres(1, slice(0, 2)) == pytest.approx([0.0, 0.5])
    assert laid.centres(0, slice(0, 2)) == pytest.approx([0.0, 0.5])


def test_the_inverse_lays_coarse_pixels_on_fine_ones():
    laid = register(grid(40, 40, 0.6, left=1.2), COLOURS)
    back = laid.inverse()
    assert back.edges(1, slice(0, 2)) == pytest.approx([-2.0, 2.0, 6.0])
    assert back.inverse().start == pytest.approx(laid.start)


@pytest.mark.parametrize(
    ("pan", "colours", "told"),
    [
        (Grid(40, 40), COLOURS, "The panchromatic image has no georeference"),
        (grid(40, 40, 0.6), Grid(10, 10), "The multispectral image has no georeference"),
        (
            Grid(40, 40, UTM33, (0.6, 0.1, 3e5, -0.1, -0.6, 4.6e6)),
            COLOURS,
            "The panchromatic image is rotated",
        ),
        (grid(40, 40, 0.6, down=0.6), COLOURS, "mirrored"),
        (grid(40, 40, 0.6, crs=UTM32), COLOURS, "EPSG:32632 and the multispectral one in"),
        (grid(40, 40, 0.6, left=24.0), COLOURS, "do not overlap"),
        (grid(40, 40, 0.6, top=-24.0), COLOURS, "do not overlap"),
        (grid(40, 40, 0.6, left=-24.0), COLOURS, "do not overlap"),
        (COLOURS, grid(40, 40, 0.6), "1.5 to 16 times as fine"),
        (COLOURS, COLOURS, "1.5 to 16 times as fine"),
        (grid(400, 400, 0.06), COLOURS, "1.5 to 16 times as fine"),
        (grid(40, 40, 0.6, down=-1.2), COLOURS, "alike in both directions"),
    ],
)
def test_pairs_that_do_not_fit_are_refused_in_one_sentence(pan, colours, told):
    with pytest.raises(SceneError, match=told) as error:
        register(pan, colours)
    assert str(error.value).endswith(".")
    assert ". " not in str(error.value)


def test_touching_by_one_pixel_is_an_overlap():
    assert register(grid(40, 40, 0.6, left=23.4), COLOURS).ratio == pytest.approx(4)


def test_an_unnamed_coordinate_system_is_taken_for_the_other():
    assert register(grid(40, 40, 0.6, crs=None), COLOURS).ratio == pytest.approx(4)
