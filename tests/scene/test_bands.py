"""Bands by number, by wavelength and by name."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from hypercover.errors import SceneError
from hypercover.scene.datasets.catalog import aviris_bands
from hypercover.scene.scene import Scene
from hypercover.scene.selection import select_bands

WATER = [*range(104, 109), *range(150, 164), 220]


def blank(count, **coords):
    cube = xr.DataArray(np.ones((count, 2, 2)), dims=("band", "y", "x"))
    return Scene(
        cube.assign_coords({key: ("band", value) for key, value in coords.items()})
    )


@pytest.mark.parametrize(
    ("spec", "numbers"),
    [
        ("1-3", [1, 2, 3]),
        ("5", [5]),
        (" 1 , 4 - 5 ", [1, 4, 5]),
        ([2, 3], [2, 3]),
        (6, [6]),
        (["1-2", 4], [1, 2, 4]),
        ("400-460nm", [1, 2]),
        ("0.46-0.51 um", [3, 4]),
        ("bad", [3]),
        ("bad,1", [1, 3]),
    ],
)
def test_what_is_named_is_kept_or_dropped(scene, spec, numbers):
    rest = [band for band in range(1, 7) if band not in numbers]
    assert select_bands(scene, keep=spec).bands.tolist() == numbers
    assert select_bands(scene, drop=spec).bands.tolist() == rest


def test_values_and_wavelengths_follow(scene):
    chosen = select_bands(scene, keep="2-5", drop="3")
    np.testing.assert_array_equal(chosen.cube.values, scene.cube.values[[1, 3, 4]])
    np.testing.assert_array_equal(chosen.wavelengths, scene.wavelengths[[1, 3, 4]])
    assert chosen.notes[-1] == "3 of 6 bands are used; left out: 1, 3, 6."


def test_numbers_stay_those_of_the_file(scene):
    once = select_bands(scene, drop="1-2")
    assert select_bands(once, drop="3").bands.tolist() == [4, 5, 6]


@given(st.sets(st.integers(1, 40), min_size=1, max_size=39))
def test_keep_and_drop_are_opposites(numbers):
    scene = blank(40)
    kept = select_bands(scene, keep=sorted(numbers)).bands.tolist()
    dropped = select_bands(scene, drop=sorted(numbers)).bands.tolist()
    assert kept == sorted(numbers)
    assert sorted(kept + dropped) == list(range(1, 41))


class TestWaterAbsorption:
    def test_220_bands_are_those_of_aviris(self):
        chosen = select_bands(blank(220), drop="water-absorption")
        assert chosen.bands.tolist() == [
            band for band in range(1, 221) if band not in WATER
        ]
        assert chosen.n_bands == 200
        assert "104-108, 150-163 and 220" in chosen.notes[0]

    def test_again_on_what_is_left_changes_nothing(self):
        known = aviris_bands()
        scene = blank(220, wavelength=known.wavelengths, band=known.numbers)
        once = select_bands(scene, drop="water-absorption")
        twice = select_bands(once, drop="water-absorption")
        assert twice.bands.tolist() == once.bands.tolist()
        assert "none of them is in this image" in twice.notes[-1]

    def test_other_sensors_by_wavelength(self):
        centres = np.arange(400.0, 2500.0, 10.0)
        chosen = select_bands(
            blank(len(centres), wavelength=centres), drop="water-absorption"
        )
        gone = set(centres) - set(chosen.wavelengths)
        assert gone == {*np.arange(1350.0, 1431.0, 10), *np.arange(1800.0, 1961.0, 10)}
        assert "1350-1430 nm and 1800-1960 nm" in chosen.notes[0]

    def test_without_wavelengths_it_cannot_be_known(self):
        with pytest.raises(SceneError, match="need wavelengths"):
            select_bands(blank(100), drop="water-absorption")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("7-9", "has no band 7-9; its bands are numbered 1 to 6"),
        ("0", "has no band 0"),
        ("1-", "not understood"),
        ("water", "not understood"),
        ("", "contains no band"),
        ([], "contains no band"),
        ("1,,2", "contains no band"),
        (
            "900-1000nm",
            "no band in 900-1000nm; its wavelengths range from 400.1 to 566.767 nm",
        ),
        ("400-900m", "not understood"),
        ("1" * 5000, "not understood"),
    ],
)
def test_what_cannot_be_meant(scene, spec, message):
    with pytest.raises(SceneError, match=message):
        select_bands(scene, keep=spec)


def test_no_band_left(scene):
    with pytest.raises(SceneError, match="None of the 6 bands"):
        select_bands(scene, drop="1-6")
