"""Known images, told by their values alone, and the mark that a stand-in bears."""

import hashlib
from types import SimpleNamespace

import numpy as np
import pytest
import rasterio
import xarray as xr
from scipy.io import savemat

from hypercover.maps.export import write_class_map
from hypercover.scene import images
from hypercover.scene.grid import Grid
from hypercover.scene.images import recognise_image
from hypercover.scene.legend import Legend
from hypercover.scene.origin import mark
from hypercover.scene.reading import open_scene
from hypercover.scene.scene import Scene
from hypercover.scene.writing import write_scene

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
    monkeypatch.setattr(images, "_known", lambda: (PIXELS, {digest: known}))
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
    assert "no figure made with it is a result on Indian Pines" in scene.notes[-1]


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
    assert mark({"simulated": True, "stand_in": True}) == "stand-in"


def test_the_published_table_tells_the_two_apart(data_folder):
    """The stand-in is recognised; with the exact training spectra put in, Indian Pines is."""
    stand_in = open_scene(data_folder / STAND_IN, False)
    assert stand_in.stand_in
    with np.load(data_folder / "derived/indian_pines_fixed_train_dn.npz") as exact:
        values = stand_in.cube.values.copy()
        values[:, exact["row"], exact["col"]] = exact["X"].T
    known = recognise_image(scene_of(values))
    assert (known.title, known.stand_in) == ("Indian Pines", False)
