"""The side file of a LIBSVM file: all of it comes back, and nothing in it is believed."""

import json

import numpy as np
import pytest
from rasterio.crs import CRS

from hypercover.errors import CallError
from hypercover.libsvm.positions import (
    Positions,
    positions_path,
    read_positions,
    write_positions,
)
from hypercover.scene.grid import Grid
from hypercover.scene.legend import Legend

UTM = CRS.from_epsg(32616).to_wkt()
GRID = Grid(3, 4, UTM, (20.0, 0.0, 500_000.0, 0.0, -20.0, 4_480_000.0))


def positions(**changes):
    given = {
        "rows": np.array([0, 2, 1]),
        "cols": np.array([3, 0, 1]),
        "grid": GRID,
        "legend": Legend.of({2: "Corn", 5: "Woods"}),
        "features": ("kpca1", "kpca2"),
        "bands": (3, 7),
        "wavelengths": (400.5, 410.25),
        "fwhm": (9.5, 10.0),
        "bad": (False, True),
        "header": {"sensor type": "HyMap", "reflectance scale factor": "10000"},
        "part": "test",
        "dtype": "float32",
        "dense": False,
        "scene": "fields",
        "simulated": True,
        "seen": "kpca:2",
        "notes": ("one", "two"),
    }
    return Positions(**given | changes)


def test_everything_comes_back(tmp_path):
    path = positions_path(tmp_path / "fields-test.el")
    write_positions(path, positions())
    assert path.name == "fields-test.positions.json"
    back = read_positions(path)
    np.testing.assert_array_equal(back.rows, [0, 2, 1])
    np.testing.assert_array_equal(back.cols, [3, 0, 1])
    for name in Positions.model_fields:
        if name not in ("rows", "cols"):
            assert getattr(back, name) == getattr(positions(), name)
    assert (len(back), back.n_features) == (3, 2)
    unknown = dict.fromkeys(("wavelengths", "fwhm", "bad", "bands"))
    write_positions(path, positions(**unknown, grid=Grid(3, 4)))
    assert read_positions(path).wavelengths is None
    assert read_positions(path).bad is None
    assert read_positions(path).bands is None
    assert read_positions(path).grid == Grid(3, 4)


def test_values_lie_where_their_samples_do():
    laid = positions().to_map(np.array([5, 2, 7]), 0, "it")
    assert laid.tolist() == [[0, 0, 0, 5], [0, 7, 0, 0], [2, 0, 0, 0]]
    with pytest.raises(CallError, match=r"p\.txt holds 2 samples, its positions file 3;"):
        positions().to_map(np.array([5, 2]), 0, "p.txt")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"format": "other"}, "its entry 'format'"),
        ({"rows": [0, 1]}, "its entry 'cols' has 3 values for 2 rows"),
        ({"rows": [0, 1, 3]}, "its rows are not whole numbers below 3"),
        ({"cols": [0, 1, -1]}, "its entry 'cols'"),
        ({"cols": [0, 1, 1.5]}, "its entry 'cols'"),
        ({"cols": [0, 1, True]}, "its entry 'cols'"),
        ({"cols": None}, "its entry 'cols'"),
        ({"rows": [0, 0, 1], "cols": [3, 3, 1]}, "two samples lie on one pixel"),
        ({"fwhm": [1]}, "its entry 'fwhm'"),
        ({"bad": [0, 1]}, "its entry 'bad'"),
        ({"header": ["a"]}, "its entry 'header'"),
        ({"header": {"sensor type": 1}}, "its entry 'header'"),
        ({"features": "kpca1"}, "its entry 'features'"),
        ({"features": [1, 2]}, "its entry 'features'"),
        ({"dtype": "O"}, "its entry 'dtype'"),
        ({"dtype": ["i4"]}, "its entry 'dtype'"),
        ({"dense": 1}, "its entry 'dense'"),
        ({"grid": []}, "its entry 'grid'"),
        ({"grid": {"rows": 10**9, "cols": 4}}, "its entry"),
        ({"grid": {"rows": 3, "cols": 4, "crs": 7}}, "its entry 'grid'"),
        (
            {"grid": {"rows": 3, "cols": 4, "crs": None, "transform": [1]}},
            "its entry 'grid'",
        ),
        ({"legend": [{"code": 0, "name": "a", "color": "#000000"}]}, "its entry 'legend'"),
        ({"legend": [{"code": 1}]}, "its entry 'legend'"),
        ({"legend": 3}, "its entry 'legend'"),
        ({"wavelengths": [1]}, "its entry 'wavelengths'"),
        ({"wavelengths": [1, "a"]}, "its entry 'wavelengths'"),
        ({"bands": [1]}, "its entry 'bands'"),
        ({"bands": [1, 0]}, "its entry 'bands'"),
        ({"bands": [1, 1.5]}, "its entry 'bands'"),
        ({"part": None}, "its entry 'part'"),
        ({"simulated": "no"}, "its entry 'simulated'"),
    ],
)
def test_contradictions_are_one_sentence(changes, said, tmp_path):
    path = tmp_path / "x.positions.json"
    write_positions(path, positions())
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(CallError) as refused:
        read_positions(path)
    assert said in str(refused.value)
    assert str(refused.value).startswith(f"The positions file {path} ")
    assert str(refused.value).endswith(".")


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "[" * 100_000, '{"format": NaN}', "\x00", '{"a": ' + "1" * 5000 + "}"],
)
def test_what_is_no_document_is_refused(text, tmp_path):
    path = tmp_path / "x.positions.json"
    path.write_text(text)
    with pytest.raises(CallError, match="cannot be used"):
        read_positions(path)


def test_infinite_numbers_are_no_place(tmp_path):
    path = tmp_path / "x.positions.json"
    write_positions(path, positions())
    path.write_text(path.read_text().replace("400.5", "NaN"))
    with pytest.raises(CallError, match="wavelengths"):
        read_positions(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CallError, match="cannot be read"):
        read_positions(tmp_path / "none.positions.json")


def test_a_scene_larger_than_memory_is_not_laid_out(tmp_path):
    huge = positions(grid=Grid(2**24, 2**24))
    with pytest.raises(CallError, match="GiB"):
        huge.to_map(np.array([1, 2, 3]), 0, "map")
