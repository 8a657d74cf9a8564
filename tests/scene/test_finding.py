"""Scenes found by their content, under any name, in any container, among anything."""

import hashlib
import shutil
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import xarray as xr
from scipy.io import savemat

from hypercover.scene import images
from hypercover.scene.finding import find_scene
from hypercover.scene.grid import Grid
from hypercover.scene.legend import Legend
from hypercover.scene.reading import open_scene
from hypercover.scene.scene import Scene
from hypercover.scene.wanted import WANTED, Fit, Wanted
from hypercover.scene.writing import write_labels, write_scene

PIXELS = np.array([[3, 7], [100, 20]])
WITHOUT_WATER = np.r_[0:103, 108:149, 163:219]
SIDE = 145


def fit(labels):
    """Take the map of the tests for the published one."""
    return Fit(0, "the map") if labels[0, 0] == 1 and labels.max() == 16 else None


@pytest.fixture(scope="module")
def labels():
    values = np.random.default_rng(1).integers(0, 17, (SIDE, SIDE)).astype(np.uint8)
    values[0, :2] = 1, 16
    return values


@pytest.fixture(scope="module")
def cube():
    """A cube (band, row, col) of the size of Indian Pines."""
    values = np.random.default_rng(0).integers(900, 9000, (220, SIDE, SIDE))
    return values.astype(np.uint16)


@pytest.fixture
def wanted():
    real = WANTED["indian-pines"]
    return Wanted(real.title, real.sizes, real.bands, fit)


@pytest.fixture
def known(cube, monkeypatch):
    """Let the cube be one that is known by its values; return its digest's entry."""
    entry = SimpleNamespace(scene="indian-pines", title="Indian Pines", stand_in=False)
    seen = cube[WITHOUT_WATER][:, PIXELS[:, 0], PIXELS[:, 1]].T
    digest = hashlib.sha256(np.ascontiguousarray(seen, "<u2").tobytes()).hexdigest()
    monkeypatch.setattr(images, "_known", lambda: (PIXELS, {digest: entry}))
    return entry


def scene_of(values, **facts):
    return Scene(xr.DataArray(values, dims=("band", "y", "x")), **facts)


def write(kind, folder, cube, labels):
    """Write image and labels in some format under names that say nothing."""
    if kind == "one mat":
        savemat(folder / "x", {"u": cube.transpose(1, 2, 0), "v": labels}, appendmat=False)
    elif kind == "mat":
        savemat(folder / "a.mat", {"u": cube.transpose(1, 2, 0)}, do_compression=True)
        savemat(folder / "b.mat", {"v": labels})
    elif kind == "npy":
        np.save(folder / "a.npy", cube.transpose(1, 2, 0))
        np.save(folder / "b.npy", labels)
    elif kind == "npy, bands first":
        np.save(folder / "a.npy", cube)
        np.save(folder / "b.npy", labels)
    elif kind == "npz":
        np.savez(folder / "a.zip.npz", p=cube.transpose(1, 2, 0).astype(float), q=labels)
    elif kind == "h5":
        with h5py.File(folder / "a.bin", "w") as file:
            file["deep/er/cube"], file["gt"] = cube, labels
    else:
        write_scene(scene_of(cube), folder / f"a.{kind}")
        legend = Legend.of({code: f"K{code}" for code in range(1, 17)})
        write_labels(labels, legend, Grid(SIDE, SIDE), folder / f"b.{kind}")


@pytest.mark.parametrize("bands", [slice(None), WITHOUT_WATER])
@pytest.mark.parametrize(
    "kind", ["one mat", "mat", "npy", "npy, bands first", "npz", "h5", "tif", "hdr"]
)
def test_found_in_any_container(kind, bands, cube, labels, wanted, known, tmp_path):
    place = tmp_path / "some" / "where"
    place.mkdir(parents=True)
    write(kind, place, cube[bands], labels)
    image, found = find_scene(wanted, [tmp_path]).pair(stand_in=False)
    assert image.known is known
    scene = open_scene(
        image.path,
        found.path,
        variable=image.variable,
        axes=image.axes,
        label_variable=found.variable,
    )
    np.testing.assert_array_equal(scene.cube.values, cube[bands])
    np.testing.assert_array_equal(scene.labels, labels)


@pytest.mark.parametrize("order", [(1, 2, 0), (0, 1, 2), (2, 1, 0), (0, 2, 1)])
def test_rows_and_columns_are_told_apart_by_the_values(
    order, cube, wanted, known, tmp_path
):
    np.save(tmp_path / "a.npy", cube.transpose(order))
    (image,) = find_scene(wanted, [tmp_path]).images
    assert image.known is known
    scene = open_scene(image.path, axes=image.axes)
    np.testing.assert_array_equal(scene.cube.values, cube)


def test_a_known_image_comes_before_an_unknown_and_a_stand_in_last(
    cube, labels, wanted, known, monkeypatch, tmp_path
):
    np.save(tmp_path / "b-known.npy", cube)
    np.save(tmp_path / "a-other.npy", cube + 1)
    np.save(tmp_path / "labels.npy", labels)
    findings = find_scene(wanted, [tmp_path])
    names = [image.path.name for image in findings.images]
    assert names == ["b-known.npy", "a-other.npy"]
    assert findings.pair(stand_in=True) is None
    known.stand_in = True
    findings = find_scene(wanted, [tmp_path])
    assert findings.pair(stand_in=False)[0].path.name == "a-other.npy"
    assert findings.pair(stand_in=True)[0].path.name == "b-known.npy"


def test_simulated_images_and_stacks_of_features_are_none(cube, wanted, tmp_path):
    write_scene(scene_of(cube, simulated=True), tmp_path / "simulated.tif")
    write_scene(scene_of(cube[:200], stand_in=True), tmp_path / "part-of-a-stand-in.tif")
    names = [f"kpca{number}" for number in range(1, 221)]
    stack = xr.DataArray(cube, dims=("band", "y", "x")).assign_coords(
        band_name=("band", names)
    )
    write_scene(Scene(stack), tmp_path / "features.tif")
    assert find_scene(wanted, [tmp_path]).images == ()
    names = [f"{400 + number} nm" for number in range(220)]
    write_scene(
        Scene(stack.assign_coords(band_name=("band", names))), tmp_path / "named.tif"
    )
    assert len(find_scene(wanted, [tmp_path]).images) == 1


def test_labels_of_another_size_are_no_pair(cube, labels, tmp_path):
    wanted = Wanted("any", (), (5,), lambda codes: Fit(0, "any"))
    np.save(tmp_path / "a.npy", np.ones((5, 40, 50), np.uint16))
    np.save(tmp_path / "b.npy", labels)
    assert find_scene(wanted, [tmp_path]).pair(stand_in=False) is None
    np.save(tmp_path / "c.npy", labels[:40, :50])
    image, found = find_scene(wanted, [tmp_path]).pair(stand_in=False)
    assert (image.path.name, found.path.name) == ("a.npy", "c.npy")


def test_damaged_and_hostile_files_do_not_stop_it(cube, labels, wanted, known, tmp_path):
    write("mat", tmp_path, cube, labels)
    whole = (tmp_path / "a.mat").read_bytes()
    (tmp_path / "cut.mat").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "noise.mat").write_bytes(np.random.default_rng(2).bytes(5000))
    np.save(tmp_path / "pickle.npy", np.array([{}] * 50, dtype=object))
    huge = {"descr": "<f8", "fortran_order": False, "shape": (10**6, 10**6, 220)}
    with (tmp_path / "huge.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, huge)
        file.write(b"\0" * 500)
    for start in (
        b"II*\0",
        b"\x89HDF\r\n\x1a\n",
        b"PK\x03\x04",
        b"HEAD74",
        b"ENVI\n",
        b"CDF\x01",
    ):
        (tmp_path / f"bad-{start[:2].hex()}").write_bytes(start + b"\xff\0" * 400)
    (tmp_path / "shapes.json").write_text('{"type": "FeatureCollection"}' * 30)
    shutil.copy(tmp_path / "b.mat", tmp_path / "c.dat")
    findings = find_scene(wanted, [tmp_path])
    assert [image.path.name for image in findings.images] == ["a.mat"]
    assert [found.path.name for found in findings.labels] == ["b.mat", "c.dat"]


def test_the_scenes_at_hand(data_folder):
    findings = find_scene(WANTED["indian-pines"], [data_folder])
    assert [image.stand_in for image in findings.images] == [True]
    image, labels = findings.pair(stand_in=True)
    assert image.path.name == "indian_pines_rank37_reconstruction.npz"
    assert labels.path.name == "Indian_pines_gt.mat"
    assert len(findings.labels) == 3
    assert find_scene(WANTED["indian-pines-full"], [data_folder]).images == ()
    assert find_scene(WANTED["rome"], [data_folder]).images == ()
