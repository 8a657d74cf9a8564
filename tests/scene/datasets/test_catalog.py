"""Known scenes, and label maps recognised by content alone."""

import hashlib
import re
from types import SimpleNamespace

import numpy as np
import pytest
import rasterio
import xarray as xr
from scipy.io import savemat

from hypercover.errors import SceneError
from hypercover.gis.map_writing import write_class_map
from hypercover.scene.datasets import catalog
from hypercover.scene.datasets.catalog import (
    aviris_bands,
    known_map,
    known_scene,
    known_scenes,
    recognise_image,
    recognise_labels,
    with_known_bands,
)
from hypercover.scene.grid import Grid
from hypercover.scene.io.reading import open_scene
from hypercover.scene.io.writing import write_scene
from hypercover.scene.labels import LabelMap, legend_of
from hypercover.scene.legend import Legend
from hypercover.scene.metadata import origin_label
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
    found = recognise_labels(map_of(shape, counts))
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
    assert recognise_labels(map_of((145, 145), INDIAN_PINES).astype(kind)) is not None


def test_one_pixel_or_one_row_more_is_another_map():
    label_map = map_of((145, 145), INDIAN_PINES)
    label_map[-1, -1] = 3
    assert recognise_labels(label_map) is None
    assert recognise_labels(map_of((146, 145), INDIAN_PINES)) is None
    assert recognise_labels(np.zeros((145, 145), np.uint8)) is None


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
    found = recognise_labels(labels)
    assert found.names == names
    assert len(names) == classes
    labels[labels == 1] = 0
    assert recognise_labels(labels) is None


def test_every_scene_says_its_classes():
    for scene in known_scenes():
        assert len(scene.known_classes) == (scene.classes or 0)
        assert len({one.color for one in scene.known_classes}) == len(scene.known_classes)
    whole = known_scene("indian-pines-full").known_classes
    assert sum(one.pixels for one in whole) == 334_245
    assert sum(one.pixels for one in whole if one.pixels >= 100) == 333_951
    assert {one.pixels for one in known_scene("pavia-centre").known_classes} == {None}


def test_an_unknown_scene_is_a_sentence():
    with pytest.raises(
        SceneError,
        match=r"No known scene is named 'x'; choose one of indian-pines, salinas",
    ):
        known_scene("x")


STAND_IN = "derived/indian_pines_rank37_reconstruction.npz"

PIXELS = np.array([[3, 7], [100, 20], [144, 144]])

WITHOUT_WATER = np.r_[0:103, 108:149, 163:219]


@pytest.fixture
def cube(monkeypatch):
    """A cube (220, 145, 145) of random numbers that is known as a stand-in."""
    values = np.random.default_rng(0).integers(900, 9000, (220, 145, 145)).astype(np.uint16)
    seen = values[WITHOUT_WATER][:, PIXELS[:, 0], PIXELS[:, 1]].T
    digest = hashlib.sha256(np.ascontiguousarray(seen, "<u2").tobytes()).hexdigest()
    known = SimpleNamespace(
        scene="indian-pines", title="Indian Pines stand-in", stand_in=True
    )
    monkeypatch.setattr(catalog, "_known_images", lambda: (PIXELS, {digest: known}))
    return values


def scene_of(values, **facts):
    return Scene(xr.DataArray(values, dims=("band", "y", "x")), **facts)


@pytest.mark.parametrize("kind", [np.uint16, np.int32, ">i2", np.float32, np.float64])
@pytest.mark.parametrize("bands", [slice(None), WITHOUT_WATER])
def test_type_and_number_of_bands_play_no_part(cube, kind, bands):
    assert recognise_image(scene_of(cube[bands].astype(kind))).stand_in


@pytest.mark.parametrize("suffix", ["mat", "npz", "tif", "hdr"])
def test_container_and_name_play_no_part(cube, tmp_path, suffix):
    path = tmp_path / f"holiday.{suffix}"
    if suffix == "mat":
        savemat(path, {"x": cube.transpose(1, 2, 0)})
    elif suffix == "npz":
        np.savez(path, x=cube.transpose(1, 2, 0))
    else:
        write_scene(scene_of(cube), path)
    scene = open_scene(path)
    assert scene.stand_in
    assert scene.name == "holiday (Indian Pines stand-in)"
    assert "no accuracy on it is a result on Indian Pines" in scene.notes[-1]


def test_no_name_takes_the_mark_away(cube, tmp_path):
    write_scene(scene_of(cube), tmp_path / "a.tif")
    named = {
        name: open_scene(tmp_path / "a.tif", name=name).name
        for name in ("IP", "A Stand-In")
    }
    assert named == {"IP": "IP (Indian Pines stand-in)", "A Stand-In": "A Stand-In"}


@pytest.mark.parametrize(
    "change",
    [
        lambda cube: cube + 1,
        lambda cube: cube / 9000,
        lambda cube: np.where(cube > 8990, np.nan, cube.astype(float)) - 1000,
        lambda cube: -cube.astype(int),
        lambda cube: cube.transpose(0, 2, 1),
        lambda cube: cube[:, ::-1],
        lambda cube: cube[:199],
        lambda cube: cube[:, :144],
    ],
)
def test_other_values_are_another_image(cube, change):
    assert recognise_image(scene_of(change(cube))) is None


def test_a_file_of_some_of_its_bands_still_says_what_it_is(cube, tmp_path):
    scene = scene_of(cube, stand_in=True).take_bands([3, 4, 5])
    for name in ("part.tif", "part.hdr"):
        again = open_scene(write_scene(scene, tmp_path / name))
        assert (again.stand_in, again.simulated) == (True, False)


def test_a_map_says_so_and_one_of_a_measured_image_does_not(tmp_path):
    for stand_in, words in ((True, "Made from a stand-in"), (False, "")):
        path = tmp_path / f"{stand_in}.tif"
        labels, legend = np.ones((8, 9), np.uint8), Legend.of({1: "Corn"})
        origin = scene_of(np.ones((3, 8, 9)), stand_in=stand_in).origin
        write_class_map(path, labels, legend, Grid(8, 9), **origin)
        with rasterio.open(path) as file:
            tags = file.tags()
        assert tags.get("TIFFTAG_IMAGEDESCRIPTION", "").startswith(words)
        assert ("HYPERCOVER_STAND_IN" in tags) == stand_in
        assert "HYPERCOVER_SIMULATED" not in tags


def test_a_stand_in_that_says_it_is_simulated_is_still_a_stand_in():
    assert origin_label({"simulated": True, "stand_in": True}) == "stand-in"


def test_the_published_table_tells_the_two_apart(data_folder):
    """The stand-in is recognised; with the exact training spectra put in, Indian Pines is."""
    stand_in = open_scene(data_folder / STAND_IN, False)
    assert stand_in.stand_in
    with np.load(data_folder / "derived/indian_pines_fixed_train_dn.npz") as exact:
        values = stand_in.cube.values.copy()
        values[:, exact["row"], exact["col"]] = exact["X"].T
    known = recognise_image(scene_of(values))
    assert (known.title, known.stand_in) == ("Indian Pines", False)
