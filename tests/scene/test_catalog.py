"""Known scenes, and label maps recognised by content alone."""

import re

import numpy as np
import pytest
import xarray as xr

from hypercover.errors import SceneError
from hypercover.scene.catalog import (
    aviris_bands,
    known_map,
    known_scene,
    known_scenes,
    recognise,
    with_known_bands,
)
from hypercover.scene.labels import LabelMap, legend_of
from hypercover.scene.scene import Scene


def map_of(shape, counts):
    """Any arrangement of so many pixels per class."""
    codes = np.repeat(list(counts), list(counts.values()))
    label_map = np.zeros(shape, np.uint8)
    label_map.reshape(-1)[: len(codes)] = codes
    return label_map


INDIAN_PINES = dict(
    enumerate(
        [46, 1428, 830, 237, 483, 730, 28, 478, 20, 972, 2455, 593, 205, 1265, 386, 93], 1
    )
)
PAVIA = dict(enumerate([6631, 18649, 2099, 3064, 1345, 5029, 1330, 3682, 947], 1))
SALINAS_A = {1: 391, 10: 1343, 11: 616, 12: 1525, 13: 674, 14: 799}


@pytest.mark.parametrize(
    ("shape", "counts", "scene", "code", "name"),
    [
        ((145, 145), INDIAN_PINES, "indian-pines", 16, "Stone-Steel-Towers"),
        ((610, 340), PAVIA, "pavia-university", 6, "Bare soil"),
        ((83, 86), SALINAS_A, "salinas-a", 14, "Lettuce_romaine_7wk"),
    ],
)
def test_published_counts_are_recognised(shape, counts, scene, code, name):
    found = recognise(map_of(shape, counts))
    assert found.scene == scene
    assert found.names[code] == name


def test_sensor_date_and_pixel_size_are_told():
    """With the labels or, where only the image is known by its size, with its bands."""
    seen = "AVIRIS, NASA/JPL, 12 June 1992, about 20 m, Indiana, USA"
    labels = LabelMap(map_of((145, 145), INDIAN_PINES))
    _, notes = legend_of(labels)
    assert f"The scene they belong to: Indian Pines, {seen}." in notes
    cube = xr.DataArray(np.ones((200, 145, 145), np.uint8), dims=("band", "y", "x"))
    (note,) = with_known_bands(Scene(cube)).notes
    assert note.endswith(f"are those of Indian Pines ({seen}).")


@pytest.mark.parametrize("kind", [np.uint8, np.int64, np.float32])
def test_the_type_plays_no_part(kind):
    assert recognise(map_of((145, 145), INDIAN_PINES).astype(kind)) is not None


def test_one_pixel_or_one_row_more_is_another_map():
    label_map = map_of((145, 145), INDIAN_PINES)
    label_map[-1, -1] = 3
    assert recognise(label_map) is None
    assert recognise(map_of((146, 145), INDIAN_PINES)) is None
    assert recognise(np.zeros((145, 145), np.uint8)) is None


class TestKnownScenes:
    def test_each_can_be_shown(self):
        scenes = known_scenes()
        assert len({scene.key for scene in scenes}) == len(scenes) >= 6
        for scene in scenes:
            assert scene.citation
            assert scene.licence
            known = (scene.rows, scene.cols, scene.bands, scene.classes)
            assert all(number is None or number > 0 for number in known)
            assert scene.wavelengths
            assert scene.bad_bands
            for file in scene.files:
                assert file.address.startswith("https://")
                assert file.git_blob is None or re.fullmatch("[0-9a-f]{40}", file.git_blob)

    def test_git_blobs_of_files_at_hand(self, data_folder):
        import hashlib

        blobs = {
            file.name: file.git_blob for scene in known_scenes() for file in scene.files
        }
        for name in (
            "indian_pines/Indian_pines_gt.mat",
            "salinas_a/SalinasA_corrected.mat",
            "salinas_a/SalinasA_gt.mat",
            "pavia_university/PaviaU_gt.mat",
        ):
            data = (data_folder / name).read_bytes()
            blob = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
            assert blobs[name.split("/")[1]] == blob


class TestAvirisBands:
    def test_220_bands_from_400_to_2500_nm(self):
        table = aviris_bands()
        assert table.numbers.tolist() == list(range(1, 221))
        assert table.wavelengths[[0, -1]].tolist() == [400.02, 2498.96]
        assert (table.fwhm > 8).all()
        assert (table.fwhm < 18).all()

    def test_equals_the_calibration_file(self, data_folder):
        lines = (data_folder / "indian_pines" / "92AV3C.spc").read_text().splitlines()
        rows = np.array([line.split() for line in lines if len(line.split()) == 5], float)
        np.testing.assert_allclose(aviris_bands().wavelengths, rows[:, 0], atol=0.005)
        np.testing.assert_allclose(aviris_bands().fwhm, rows[:, 1], atol=0.005)


def blank(bands, shape=(145, 145), **coords):
    cube = xr.DataArray(np.ones((bands, *shape), np.uint8), dims=("band", "y", "x"))
    return Scene(
        cube.assign_coords({key: ("band", value) for key, value in coords.items()})
    )


class TestFilledInWavelengths:
    def test_220_bands(self):
        scene = with_known_bands(blank(220))
        np.testing.assert_array_equal(scene.wavelengths, aviris_bands().wavelengths)
        assert "AVIRIS calibration of 1992" in scene.notes[-1]

    def test_the_usual_200(self):
        scene = with_known_bands(blank(200))
        assert scene.bands.tolist() == [*range(1, 104), *range(109, 150), *range(164, 220)]
        assert scene.wavelengths[103] == aviris_bands().wavelengths[108]

    def test_numbers_in_the_file_come_first(self):
        numbers = np.arange(21, 221)
        scene = with_known_bands(blank(200, band=numbers))
        np.testing.assert_array_equal(scene.bands, numbers)
        assert scene.wavelengths[0] == aviris_bands().wavelengths[20]

    @pytest.mark.parametrize(
        "scene",
        [
            blank(30),
            blank(220, (145, 144)),
            blank(200, band=np.arange(101, 301)),
            blank(220, wavelength=np.linspace(1, 2, 220)),
        ],
    )
    def test_nothing_else_is_touched(self, scene):
        assert with_known_bands(scene) is scene


def published(title):
    """A label map (y, x) of the published counts, under codes of its own."""
    counts = [*known_map(title).counts.values()]
    codes = np.random.default_rng(0).permutation(len(counts)) + 1
    labels = np.zeros((1417, 617), np.uint8)
    labels.flat[: sum(counts)] = np.repeat(codes, counts)
    return labels, dict(zip(codes.tolist(), known_map(title).names.values(), strict=True))


@pytest.mark.parametrize(
    ("title", "classes"), [("Indian Pines flight line", 58), ("Rome", 9)]
)
def test_counts_that_are_all_different_name_the_classes_under_any_codes(title, classes):
    labels, names = published(title)
    found = recognise(labels)
    assert found.names == names
    assert len(names) == classes
    labels[labels == 1] = 0
    assert recognise(labels) is None


def test_every_scene_says_its_classes():
    for scene in known_scenes():
        assert len(scene.land) == (scene.classes or 0)
        assert len({one.color for one in scene.land}) == len(scene.land)
    whole = known_scene("indian-pines-full").land
    assert sum(one.pixels for one in whole) == 334_245
    assert sum(one.pixels for one in whole if one.pixels >= 100) == 333_951
    assert {one.pixels for one in known_scene("pavia-centre").land} == {None}


def test_an_unknown_scene_is_a_sentence():
    with pytest.raises(SceneError, match=r"No scene named 'x' .* indian-pines, salinas"):
        known_scene("x")
