"""Wavelengths and widths out of the many ways in which files write them."""

import numpy as np
import pytest
import rasterio
import rasterio.shutil
import xarray as xr

from hypercover.scene.io.reading import open_scene
from hypercover.scene.io.writing import write_scene
from hypercover.scene.scene import Scene
from hypercover.scene.selection import select_bands
from hypercover.scene.wavelengths import bands_from_tags, to_nanometres, widths_in_nm

NM = [450.5, 550.25, 650.0, 850.0, 1400.0, 2200.0]
FINE = [379.027, 379.663, 380.3, 380.936, 381.573, 382.209]


def braced(values):
    return "{" + ", ".join(map(str, values)) + "}"


def image(path, *, names=None, whole=None, bands=None, space=None):
    """Write a GeoTIFF of six bands with names and tags as other programs set them."""
    values = np.arange(1, 6 * 4 * 5 + 1, dtype=np.int16).reshape(6, 4, 5)
    with rasterio.open(
        path, "w", driver="GTiff", height=4, width=5, count=6, dtype="int16"
    ) as file:
        file.write(values)
        if names:
            file.descriptions = names
        file.update_tags(ns="ENVI", **(whole or {}))
        for at, tags in enumerate(bands or (), 1):
            file.update_tags(at, ns=space, **tags)
    return path


class TestUnits:
    @pytest.mark.parametrize(
        ("values", "unit", "taken"),
        [
            (NM, "Micrometers", "nm"),
            ([one / 1e3 for one in NM], "Nanometers", "micrometres"),
            ([one / 1e9 for one in NM], None, "metres"),
            ([one / 1e3 for one in NM], "Meters", "micrometres"),
            ([one * 1e3 for one in NM], "nm", "picometres"),
        ],
    )
    def test_a_unit_that_cannot_be_is_replaced_and_said(self, values, unit, taken):
        nm, notes = to_nanometres(values, unit)
        assert len(notes) == 1
        assert notes[0].endswith(f"taken as {taken}.")
        np.testing.assert_allclose(nm, NM, rtol=1e-12)

    @pytest.mark.parametrize(
        "unit", ["nm", "NANOMETERS", " Nano meters ", "Nanometres.", "{nm}"]
    )
    def test_a_unit_in_any_spelling_is_believed_without_a_note(self, unit):
        nm, notes = to_nanometres(NM, unit)
        assert nm.tolist() == NM
        assert notes == ()

    def test_thermal_bands_stay_what_they_are(self):
        nm, notes = to_nanometres([8.3, 11.0, 14.4], "µm")
        assert nm.tolist() == [8300, 11000, 14400]
        assert notes == ()

    def test_two_units_in_one_list(self):
        nm, notes = to_nanometres([450.5, 550.25, 0.65, 0.85, 1.4, 2.2], "nm")
        np.testing.assert_allclose(nm, NM)
        assert "two units" in notes[0]

    @pytest.mark.parametrize("unit", [None, "Unknown", "nm"])
    def test_numbers_that_count_bands_are_none(self, unit):
        nm, notes = to_nanometres(range(1, 225), unit)
        assert nm is None
        assert "only count the bands" in notes[0]

    def test_what_is_possible_in_no_unit_is_left_out(self):
        nm, notes = to_nanometres([1e-30, 1e30], None)
        assert nm is None
        assert "left out" in notes[0]

    def test_a_unit_of_any_length_makes_a_short_note(self):
        _, notes = to_nanometres(NM, "Micrometers" + " " * 10**6)
        assert len(notes[0]) < 200


@pytest.mark.parametrize(
    ("unit", "per_nm"),
    [
        ("Wavenumber", 1e7),
        ("cm-1", 1e7),
        ("cm⁻¹", 1e7),
        ("MHz", 299_792_458e3),
        ("GHz", 299_792_458),
        ("THz", 299_792.458),
    ],
)
def test_wavenumbers_and_frequencies_are_converted(unit, per_nm):
    numbers = per_nm / np.array(NM)
    widths = numbers * 0.01
    table = bands_from_tags(
        {
            "wavelength": braced(numbers),
            "wavelength units": unit,
            "fwhm": braced(widths),
        },
        [],
        6,
    )
    np.testing.assert_allclose(table.wavelengths, NM, rtol=1e-9)
    np.testing.assert_allclose(table.fwhm, np.array(NM) * 0.01, rtol=1e-6)
    assert table.notes == ()


@pytest.mark.parametrize(
    "text",
    [
        braced(f"{nm} nm" for nm in NM),
        braced(f"{nm / 1e3:.5f}um" for nm in NM),
        " ".join(map(str, NM)),
        "; ".join(map(str, NM)),
    ],
)
def test_lists_with_units_or_without_commas(text):
    table = bands_from_tags({"wavelength": text, "wavelength_units": "Nanometers"}, [], 6)
    assert table.wavelengths.tolist() == NM
    assert table.notes == ()


@pytest.mark.parametrize("words", ["true,true,false,true,true,true", "1 1 0 1 1 1"])
def test_bad_bands_in_words_or_without_commas(words):
    assert bands_from_tags({"bbl": f"{{{words}}}"}, [], 6).bad.tolist() == [
        0,
        0,
        1,
        0,
        0,
        0,
    ]


def test_tags_of_bands_that_carry_their_unit():
    bands = [{"WAVELENGTH": f"{nm / 1e3:.5f} Micrometers", "FWHM": "10 nm"} for nm in NM]
    table = bands_from_tags({}, bands, 6)
    assert table.wavelengths.tolist() == NM
    assert table.fwhm.tolist() == [10.0] * 6


class TestWidths:
    @pytest.mark.parametrize(
        ("widths", "nm"),
        [([0.01] * 6, [10] * 6), ([0.06] * 6, [60] * 6), ([5000] * 6, [5] * 6)],
    )
    def test_of_another_unit(self, widths, nm):
        found, notes = widths_in_nm(widths, NM, np.array(NM))
        assert found.tolist() == nm
        assert "are impossible and were taken as" in notes[0]

    @pytest.mark.parametrize("width", [0.25, 1.5, 12.0, 60.0, 180.0])
    def test_of_a_sensor_are_believed(self, width):
        # HyPlant FLUO has bands of 0.25 nm, 0.11 nm apart.
        centres = 670 + (0.11 if width < 1 else width) * np.arange(9)
        found, notes = widths_in_nm([width] * 9, centres, centres)
        assert found.tolist() == [width] * 9
        assert notes == ()

    def test_that_cannot_be_are_left_out(self):
        found, notes = widths_in_nm([1e-9] * 6, NM, np.array(NM))
        assert found is None
        assert "left out" in notes[0]

    def test_a_unit_of_their_own(self):
        tags = {"wavelength": braced(NM), "wavelength units": "nm"}
        tags |= {"fwhm": braced([0.012] * 6), "fwhm units": "Micrometers"}
        assert bands_from_tags(tags, [], 6).fwhm.tolist() == [12] * 6


class TestPlaces:
    @pytest.mark.parametrize("spelling", [str.upper, str.title, str.lower])
    def test_keys_of_the_whole_in_any_case(self, spelling):
        keys = {
            "wavelength": braced(FINE),
            "wavelength_units": "Nanometers",
            "fwhm": braced([1.5] * 6),
            "bbl": "{1,1,0,1,1,1}",
        }
        table = bands_from_tags({spelling(key): text for key, text in keys.items()}, [], 6)
        assert table.wavelengths.tolist() == FINE
        assert table.fwhm.tolist() == [1.5] * 6
        assert np.flatnonzero(table.bad).tolist() == [2]

    def test_the_most_exact_place_wins(self, tmp_path):
        rounded = [{"CENTRAL_WAVELENGTH_UM": f"{one / 1e3:.3f}"} for one in FINE]
        exact = [{"wavelength": str(one), "wavelength_units": "Nanometers"} for one in FINE]
        both = [one | other for one, other in zip(rounded, exact, strict=True)]
        scene = open_scene(image(tmp_path / "a.tif", bands=both))
        assert scene.wavelengths.tolist() == FINE

    def test_a_copy_made_by_gdal_keeps_every_digit(self, tmp_path):
        (tmp_path / "e.img").write_bytes(bytes(range(1, 121)))
        (tmp_path / "e.hdr").write_text(
            "ENVI\nsamples = 5\nlines = 4\nbands = 6\ndata type = 1\ninterleave = bsq\n"
            f"wavelength units = nm\nwavelength = {braced(FINE)}\nfwhm = {braced([1.5] * 6)}\n"
        )
        rasterio.shutil.copy(tmp_path / "e.img", tmp_path / "copy.tif", driver="GTiff")
        assert open_scene(tmp_path / "copy.tif").wavelengths.tolist() == FINE

    def test_places_that_contradict_are_said(self):
        tags = {"wavelength": braced(NM), "wavelength_units": "nm"}
        table = bands_from_tags(tags, [{"wavelength": str(one + 40)} for one in NM], 6)
        assert table.wavelengths.tolist() == NM
        assert any("differ" in note for note in table.notes)

    @pytest.mark.parametrize("space", [None, "IMAGERY", "ENVI", "EnMAP-Box"])
    def test_tags_of_each_band_with_units_of_their_own(self, tmp_path, space):
        tags = [
            {"WAVELENGTH": str(one), "WAVELENGTH_UNITS": "nm", "Fwhm": "12"}
            if at < 3
            else {
                "WAVELENGTH": str(one / 1e3),
                "WAVELENGTH_UNITS": "Micrometers",
                "Fwhm": ".01",
            }
            for at, one in enumerate(NM)
        ]
        scene = open_scene(image(tmp_path / "a.tif", bands=tags, space=space))
        np.testing.assert_allclose(scene.wavelengths, NM)
        np.testing.assert_allclose(scene.fwhm, [12] * 3 + [10] * 3)

    @pytest.mark.parametrize("space", [None, "IMAGERY", "ENVI"])
    def test_bad_bands_in_tags_of_each_band(self, tmp_path, space):
        tags = [{"bbl": "0" if at in {1, 4} else "1"} for at in range(6)]
        scene = open_scene(image(tmp_path / "a.tif", bands=tags, space=space))
        assert np.flatnonzero(scene.bad).tolist() == [1, 4]
        assert select_bands(scene, drop="bad").bands.tolist() == [1, 3, 4, 6]

    def test_a_flag_on_some_bands_alone(self):
        table = bands_from_tags({}, [{}, {"BBL": "0"}, {}], 3)
        assert table.bad.tolist() == [False, True, False]
        assert bands_from_tags({}, [{}, {}, {}], 3).bad is None

    def test_wavelengths_of_some_bands_alone_are_said(self):
        table = bands_from_tags({}, [{"wavelength": "450"}, {}, {}], 3)
        assert table.wavelengths is None
        assert "Only 1 of 3 bands" in table.notes[0]


class TestNames:
    @pytest.mark.parametrize(
        "names",
        [
            [f"Band {at} ({one} Nanometers)" for at, one in enumerate(NM, 1)],
            [f"{one} Nanometers" for one in NM],
            [f"{one / 1e3:.6g} um" for one in NM],
            [f"Refl_{one}nm" for one in NM],
            [f"X{one}" for one in NM],
            [f"Band {at} ({one})" for at, one in enumerate(NM, 1)],
            [f"B{at} {one - 10}-{one + 10} nm" for at, one in enumerate(NM, 1)],
            [f"Band {at}: {one * 10:g} Å" for at, one in enumerate(NM, 1)],
            [f"{1e7 / one!r} cm-1" for one in NM],
            [f"wavelength={one}" for one in NM],
        ],
    )
    def test_hold_wavelengths(self, tmp_path, names):
        scene = open_scene(image(tmp_path / "a.tif", names=names))
        np.testing.assert_allclose(scene.wavelengths, NM)
        assert any("from the names of the bands" in note for note in scene.notes)

    def test_that_say_more_are_kept(self, tmp_path):
        names = [f"{word} ({one} nm)" for word, one in zip("abcdef", NM, strict=True)]
        scene = open_scene(image(tmp_path / "a.tif", names=names))
        assert scene.band_names == tuple(names)
        names = [f"{one} nm" for one in NM]
        assert open_scene(image(tmp_path / "b.tif", names=names)).band_names is None

    @pytest.mark.parametrize(
        "names",
        [
            [str(year) for year in range(2001, 2007)],
            [str(at) for at in range(1, 7)],
            ["450", "550", "650", "850", "1400", "other"],
            ["kpca1", "kpca2", "kpca3", "kpca4", "kpca5", "kpca6"],
            ["450 nm area<50", "450 nm area<90", "450 nm", "550 nm", "550 nm", "550 nm"],
            [f"2021010{at}" for at in range(1, 7)],
        ],
    )
    def test_that_hold_none(self, tmp_path, names):
        assert open_scene(image(tmp_path / "a.tif", names=names)).wavelengths is None


def test_water_absorption_works_on_what_was_taken(tmp_path):
    tags = {"wavelength": braced(NM), "wavelength_units": "Micrometers"}
    scene = open_scene(image(tmp_path / "a.tif", whole=tags))
    assert select_bands(scene, drop="water-absorption").bands.tolist() == [1, 2, 3, 4, 6]


def test_an_image_of_our_own_does_not_contradict_itself(tmp_path):
    """GDAL's tags hold nine digits: of 1130 nm fewer decimals than of 400 nm."""
    cube = xr.DataArray(np.ones((24, 3, 3), np.float32), dims=("band", "y", "x"))
    waves = np.linspace(400, 2500, 24)
    scene = Scene(cube.assign_coords(wavelength=("band", waves)))
    write_scene(scene, tmp_path / "a.tif")
    back = open_scene(tmp_path / "a.tif")
    np.testing.assert_array_equal(back.wavelengths, waves)
    assert not [note for note in back.notes if "differ from" in note]
