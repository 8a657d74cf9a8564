"""Coordinates of any piece of a land are those of the whole."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hypercover.scene.simulation.land_cover import Axis, land_strips

SLOPE = st.floats(-1, 1)


@given(slope=SLOPE, other=SLOPE, start=st.floats(-99, 99), cut=st.integers(0, 9))
def test_a_piece_is_cut_out_of_the_whole(slope, other, start, cut):
    axis = Axis((9, 11), slope, other, start)
    y, x = np.mgrid[:9, :11].astype(float)
    whole = slope * x + other * y + start
    assert (axis[:, :] == whole).all()
    assert (axis[cut:, 2:7] == whole[cut:, 2:7]).all()
    assert axis.at(3, 4) == whole[3, 4]
    assert axis.corners.min() == whole.min()
    assert axis.corners.max() == whole.max()


def test_strips_cover_all_rows_once():
    for shape in ((1, 1), (5000, 700), (3, 2**21)):
        rows = [
            row for part in land_strips(shape) for row in range(*part.indices(shape[0]))
        ]
        assert rows == list(range(shape[0]))
