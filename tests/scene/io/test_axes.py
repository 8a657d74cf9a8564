"""The order of axes: what counts as evidence and what stays open."""

import pytest

from hypercover.errors import SceneError
from hypercover.scene.io.axes import find_order

RCB, BRC, RBC = ("row", "col", "band"), ("band", "row", "col"), ("row", "band", "col")


@pytest.mark.parametrize(
    ("shape", "evidence", "order"),
    [
        ((610, 340, 103), {}, RCB),
        ((103, 610, 340), {}, BRC),
        ((610, 103, 340), {}, RBC),
        ((145, 145, 200), {}, RCB),
        ((200, 145, 145), {}, BRC),
        ((40, 50, 60), {"band_counts": [60]}, RCB),
        ((40, 50, 60), {"band_counts": [40]}, BRC),
        ((40, 50, 60), {"label_shapes": [(40, 60)]}, RBC),
        ((50, 50, 50), {"dims": ["y", "x", "wavelength"]}, RCB),
        ((50, 50, 50), {"dims": ["lambda", "lines", "samples"]}, BRC),
        ((50, 50, 50), {"dims": ["phony", "lat", "lon"]}, BRC),
        ((50, 60, 70), {"dims": ["x", "y", "b"]}, ("col", "row", "band")),
        ((60, 60, 20), {"label_shapes": [(60, 60)], "band_counts": [60]}, RCB),
        ((9, 9, 9), {"label_shapes": [(9, 9)], "dims": ["band", "y", "x"]}, BRC),
    ],
)
def test_what_is_clear(shape, evidence, order):
    assert find_order(shape, **evidence)[0] == order


@pytest.mark.parametrize(
    ("shape", "evidence"),
    [
        ((40, 50, 60), {}),
        ((50, 50, 50), {}),
        ((60, 60, 60), {"label_shapes": [(60, 60)]}),
        ((40, 50, 60), {"label_shapes": [(1, 2)]}),
    ],
)
def test_what_is_not(shape, evidence):
    with pytest.raises(SceneError, match=r"could be .* or .*--axes"):
        find_order(shape, **evidence)
