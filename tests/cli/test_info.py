"""What ``info`` says of an image."""

import numpy as np
import pytest
import xarray as xr

from hypercover.cli.info import scene_table
from hypercover.cli.tables import show
from hypercover.scene.grid import Grid, with_grid
from hypercover.scene.metadata import with_header
from hypercover.scene.scene import Scene


@pytest.fixture
def told(capsys):
    """Return what is said of an image at a place, in one line."""

    def said(place, **header):
        cube = xr.DataArray(np.ones((2, 3, 4)), dims=("band", "y", "x"))
        placed = with_grid(cube, Grid(3, 4, None, place))
        show(*scene_table(Scene(with_header(placed, header))))
        return " ".join(capsys.readouterr().out.split())

    return said


def test_a_northing_keeps_its_last_metre(told):
    said = told((30.0, 0.0, 505_123.5, 0.0, -30.0, 4_476_789.25))
    assert "upper left x 505123.5, y 4476789.25; pixel 30 × 30" in said
    assert "orientation" not in said


def test_an_image_that_is_not_north_up_is_told(told):
    said = told((30.0, 0.0, 505_123.5, 0.0, 30.0, 4_476_789.25))
    assert "first corner x 505123.5" in said
    assert "orientation upside down: the first row is the southernmost; maps" in said
    said = told((15.0, 20.0, 505_123.5, 20.0, -15.0, 4_476_789.25))
    assert "orientation rotated: rows run 53.13° north of east" in said
    assert "pansharpen refuses it" in said


def test_the_header_is_shown_and_long_entries_cut(told):
    place = (30.0, 0.0, 0.0, 0.0, -30.0, 0.0)
    said = told(place, **{"sensor type": "HyMap [x]", "lists": "1" * 1000})
    assert "sensor type HyMap [x]" in said
    assert "1" * 201 not in said.replace(" ", "")
