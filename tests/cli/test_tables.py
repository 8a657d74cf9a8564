"""What tables on stdout say of a scene."""

import numpy as np
import xarray as xr

from hypercover.cli.tables import scene_table, show
from hypercover.scene.grid import Grid, with_grid
from hypercover.scene.scene import Scene


def test_a_northing_keeps_its_last_metre(capsys):
    cube = xr.DataArray(np.ones((2, 3, 4)), dims=("band", "y", "x"))
    place = (30.0, 0.0, 505_123.5, 0.0, -30.0, 4_476_789.25)
    show(*scene_table(Scene(with_grid(cube, Grid(3, 4, None, place)))))
    assert "x 505123.5, y 4476789.25; pixel 30 × 30" in capsys.readouterr().out
