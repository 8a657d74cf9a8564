"""Windows are cut lazily, reach over the edge by repeating it, and act like an array."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from hypercover.errors import CallError
from hypercover.scene.samples import check_window
from hypercover.windows.windows import Windows


def brute_force(cube, row, col, size):
    """Cut one window pixel by pixel, each clipped to the image."""
    margin, (bands, height, width) = size // 2, cube.shape
    cut = np.empty((bands, size, size), dtype=cube.dtype)
    for y in range(size):
        for x in range(size):
            from_row = min(max(row + y - margin, 0), height - 1)
            from_col = min(max(col + x - margin, 0), width - 1)
            cut[:, y, x] = cube[:, from_row, from_col]
    return cut


@pytest.fixture
def cube():
    return np.random.default_rng(0).integers(0, 1000, (3, 7, 9)).astype(np.int16)


@pytest.fixture
def stack(cube):
    rows, cols = np.divmod(np.arange(63), 9)
    return Windows(cube, rows, cols, size=5)


def test_a_repr_names_number_shape_and_type():
    windows = Windows(np.zeros((2, 4, 4), np.float32), [1], [2], 3)
    assert repr(windows) == "<Windows of 1 window of 2 × 3 × 3 (band, row, col), float32>"


@given(
    bands=st.integers(1, 4),
    shape=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    data=st.data(),
)
def test_every_window_equals_the_brute_force_cut(bands, shape, data):
    size = data.draw(st.sampled_from([w for w in (1, 3, 5, 7, 9) if w <= min(shape)]))
    cube = np.arange(bands * shape[0] * shape[1]).reshape(bands, *shape)
    rows, cols = np.divmod(np.arange(shape[0] * shape[1]), shape[1])
    windows = Windows(cube, rows, cols, size)
    expected = np.stack([brute_force(cube, *at, size) for at in zip(rows, cols)])  # noqa: B905
    assert windows.shape == expected.shape
    np.testing.assert_array_equal(windows.cut(), expected)


@pytest.mark.parametrize(
    "key",
    [
        3,
        -1,
        slice(2, 9, 3),
        slice(None, None, -1),
        [5, 2, 2],
        np.array([True, False, True] * 21),
        np.arange(0),
        (4, 1),
        (slice(3, 6), 0, 2),
        (slice(None), slice(None), 2, 2),
        ([7, 1], slice(1, 3)),
        (..., 0),
        (...,),
    ],
    ids=str,
)
def test_indexing_agrees_with_the_dense_array(stack, key):
    dense = stack.cut()
    np.testing.assert_array_equal(np.asarray(stack[key]), dense[key])


def test_selecting_stays_lazy_and_shares_the_pixels(stack):
    part = stack[[1, 5]]
    assert isinstance(part, Windows)
    assert part._padded is stack._padded


def test_an_index_out_of_range_is_an_index_error(stack):
    with pytest.raises(IndexError):
        stack[63]


def test_shape_type_and_length_are_those_of_the_dense_array(stack):
    dense = np.asarray(stack)
    assert stack.shape == dense.shape
    assert stack.ndim == dense.ndim
    assert stack.dtype == dense.dtype == np.int16
    assert len(stack) == len(dense)


def test_numpy_can_ask_for_another_type_but_not_for_no_copy(stack):
    assert np.asarray(stack, dtype=np.float32).dtype == np.float32
    with pytest.raises(ValueError, match="always a copy"):
        np.asarray(stack, copy=False)


def test_the_centres_are_the_spectra(stack, cube):
    np.testing.assert_array_equal(stack.centres(), cube.reshape(3, -1).T)
    np.testing.assert_array_equal(stack.centres(), stack.cut()[:, :, 2, 2])


def test_a_window_of_one_pixel_copies_nothing(cube):
    assert np.shares_memory(Windows(cube, [0], [0], size=1)._padded, cube)


def test_a_stack_81_times_the_image_costs_one_padded_image():
    cube = np.ones((20, 150, 150), dtype=np.float32)
    rows, cols = np.divmod(np.arange(150 * 150), 150)
    tracemalloc.start()
    windows = Windows(cube, rows, cols, size=9)[::-1]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert np.prod(windows.shape) == 81 * cube.size
    assert peak < 2 * cube.nbytes


def test_cutting_changes_neither_cube_nor_stack(stack, cube):
    before = cube.copy()
    stack.cut()[:] = 0
    stack[3][:] = 0
    np.testing.assert_array_equal(cube, before)
    assert stack.cut().any()


def _flat(windows):
    return np.asarray(windows).reshape(len(windows), -1) / 1000


@pytest.fixture
def model():
    return make_pipeline(FunctionTransformer(_flat), LogisticRegression())


def test_a_pipeline_scores_lazy_windows_like_the_dense_array(stack, model):
    y = np.asarray(stack.centres()[:, 0] > 500).astype(int)
    lazy = cross_val_score(model, stack, y, cv=3)
    np.testing.assert_array_equal(lazy, cross_val_score(model, stack.cut(), y, cv=3))


def test_a_grid_search_takes_lazy_windows(stack, model):
    y = np.asarray(stack.centres()[:, 0] > 500).astype(int)
    search = GridSearchCV(model, {"logisticregression__C": [0.1, 1]}, cv=3).fit(stack, y)
    dense = GridSearchCV(model, search.param_grid, cv=3).fit(stack.cut(), y)
    assert search.best_score_ == dense.best_score_


@pytest.mark.parametrize("size", [0, -3, 2, 8])
def test_even_and_empty_windows_are_refused_with_a_way_out(size):
    with pytest.raises(CallError, match=f"odd and at least 1, got {size}; use"):
        check_window(size, (20, 20))


def test_a_window_that_no_file_and_no_network_takes_is_refused():
    with pytest.raises(CallError, match="at most 4096 × 4096 pixels, got 4097; use a"):
        check_window(4097, (5000, 5000))
    assert check_window(4095, (5000, 5000)) == 4095


def test_a_window_larger_than_the_image_is_refused():
    with pytest.raises(CallError, match="9 × 9 pixels is larger than the image of 8 × 20"):
        check_window(9, (8, 20))


@pytest.mark.parametrize(
    ("rows", "cols", "words"),
    [
        ([-1], [0], "rows of windows must be from 0 to 6, got -1"),
        ([0], [9], "columns of windows must be from 0 to 8, got 9"),
        ([0, 1], [0], "2 rows and 1 columns"),
    ],
)
def test_centres_outside_the_image_are_refused(cube, rows, cols, words):
    with pytest.raises(CallError, match=words):
        Windows(cube, rows, cols, size=3)
