"""Scenes found by their content, under any name, in any container, among anything."""

import hashlib
import os
import shutil
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import xarray as xr
from scipy.io import loadmat, savemat

from hypercover.scene.datasets import catalog, discovery
from hypercover.scene.datasets.discovery import (
    SIGNATURES,
    LabelFit,
    SceneSignature,
    find_scene,
    scan_folders,
)
from hypercover.scene.grid import Grid
from hypercover.scene.io.reading import open_labels, open_scene
from hypercover.scene.io.writing import write_labels, write_scene
from hypercover.scene.legend import Legend
from hypercover.scene.scene import Scene

PIXELS = np.array([[3, 7], [100, 20]])

WITHOUT_WATER = np.r_[0:103, 108:149, 163:219]

SIDE = 145


def fit(labels):
    """Take the map of the tests for the published one."""
    return LabelFit(0, "the map") if labels[0, 0] == 1 and labels.max() == 16 else None


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
    real = SIGNATURES["indian-pines"]
    return SceneSignature(real.title, real.sizes, real.bands, fit)


@pytest.fixture
def known(cube, monkeypatch):
    """Let the cube be one that is known by its values; return its digest's entry."""
    entry = SimpleNamespace(scene="indian-pines", title="Indian Pines", stand_in=False)
    seen = cube[WITHOUT_WATER][:, PIXELS[:, 0], PIXELS[:, 1]].T
    digest = hashlib.sha256(np.ascontiguousarray(seen, "<u2").tobytes()).hexdigest()
    monkeypatch.setattr(catalog, "_known_images", lambda: (PIXELS, {digest: entry}))
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
    wanted = SceneSignature("any", (), (5,), lambda codes: LabelFit(0, "any"))
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
    findings = find_scene(SIGNATURES["indian-pines"], [data_folder])
    assert [image.stand_in for image in findings.images] == [True]
    image, labels = findings.pair(stand_in=True)
    assert image.path.name == "indian_pines_rank37_reconstruction.npz"
    assert labels.path.name == "Indian_pines_gt.mat"
    assert len(findings.labels) == 3
    assert find_scene(SIGNATURES["indian-pines-full"], [data_folder]).images == ()
    assert find_scene(SIGNATURES["rome"], [data_folder]).images == ()


def array(path, **saved):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path.with_suffix(".npy"), np.zeros((20, 20)), **saved)
    if path.suffix != ".npy":
        path.with_suffix(".npy").rename(path)
    return path


def found(*roots):
    return scan_folders(roots).files


def test_files_are_known_by_their_first_bytes_whatever_they_are_called(tmp_path):
    wanted = [array(tmp_path / name) for name in ("a.txt", "b", "c.npy", "deep/er/d.x")]
    (tmp_path / "words.npy").write_text("no array, " * 50)
    (tmp_path / "empty.mat").write_bytes(b"")
    assert found(tmp_path) == wanted


def test_the_nearest_come_first_and_no_file_twice(tmp_path):
    far, near = array(tmp_path / "data/far.npy"), array(tmp_path / "near.npy")
    assert found(tmp_path, tmp_path / "data", tmp_path) == [near, far]
    assert found(tmp_path / "data", tmp_path) == [far, near]


@pytest.mark.parametrize("folder", [".hidden", "__pycache__", "site-packages"])
def test_hidden_folders_and_programs_are_passed_over(tmp_path, folder):
    array(tmp_path / folder / "a.npy")
    assert found(tmp_path) == []
    assert (found(tmp_path / folder) == []) == (folder != ".hidden"), (
        "unless they are named"
    )


@pytest.mark.parametrize("mark", ["experiment.yaml", "pyvenv.cfg"])
def test_results_and_environments_are_passed_over(tmp_path, mark):
    array(tmp_path / "runs/one/scene/a.npy")
    (tmp_path / "runs/one" / mark).write_text("")
    assert found(tmp_path) == []


def test_links_are_not_followed_and_that_is_said(tmp_path):
    outside = array(tmp_path / "outside/a.npy")
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "file.npy").symlink_to(outside)
    (inside / "folder").symlink_to(outside.parent)
    (inside / "round").symlink_to(inside)
    looked = scan_folders([inside])
    assert looked.files == []
    assert looked.notes == [
        f"Links are not followed (3 in {inside}); name the folders they lead to with --data."
    ]
    assert found(inside / "folder") == [outside], "a link that is named itself is meant"


def test_depth_and_number_are_bounded_and_that_is_said(tmp_path, monkeypatch):
    deep = tmp_path.joinpath(*"abcdefg")
    array(deep / "too-deep.npy")
    edge = array(deep.parent / "edge.npy")
    assert found(tmp_path) == [edge]
    many = [array(tmp_path / f"{number}.npy") for number in range(5)]
    monkeypatch.setattr(discovery, "_MOST_FILES", 3)
    looked = scan_folders([tmp_path])
    assert looked.files == many[:3]
    assert "holds more files than are scanned" in looked.notes[0]
    monkeypatch.setattr(discovery, "_MOST_ENTRIES", 2)
    assert len(scan_folders([tmp_path]).files) <= 2


def test_what_cannot_be_read_is_counted_and_passed_over(tmp_path, monkeypatch):
    array(tmp_path / "closed/a.npy")
    b = array(tmp_path / "b.npy")
    refused = os.scandir

    def scandir(path):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied")
        return refused(path)

    monkeypatch.setattr(os, "scandir", scandir)
    looked = scan_folders([tmp_path])
    assert looked.files == [b]
    assert looked.notes == [f"1 files or folders in {tmp_path} cannot be read."]


def test_pipes_and_sockets_do_not_stop_it(tmp_path):
    os.mkfifo(tmp_path / "pipe.npy")
    assert found(tmp_path) == []


def test_a_folder_that_is_not_there_is_noted(tmp_path):
    looked = scan_folders([tmp_path / "gone"])
    assert looked.notes == [f"There is no folder {tmp_path / 'gone'}."]


def map_of(counts, shape):
    labels = np.zeros(shape, np.uint8)
    labels.flat[: sum(counts)] = np.repeat(np.arange(1, len(counts) + 1), counts)
    return labels


def test_the_two_maps_of_indian_pines_and_no_other(data_folder):
    wanted = SIGNATURES["indian-pines"]
    folder = data_folder / "indian_pines"
    ranks = {}
    for path in sorted(folder.iterdir()):
        if path.suffix in (".tif", ".GIS") or path.name in (
            "Indian_pines_gt.mat",
            "indianpines_disjoint_dset.mat",
        ):
            fit = wanted.fit(open_labels(path, Grid(145, 145))[0])
            ranks[path.name] = fit and fit.rank
    assert ranks == {
        "19920612_AVIRIS_IndianPine_Site3_gr.tif": 1,
        "92AV3GT.GIS": 1,
        "IndianTE123_temp123.tif": None,
        "IndianTR123_temp123.tif": None,
        "Indian_pines_gt.mat": 0,
        "indianpines_disjoint_dset.mat": None,
    }


def test_a_map_with_rows_and_columns_swapped_is_not_taken(data_folder):
    labels = loadmat(data_folder / "indian_pines/Indian_pines_gt.mat")["indian_pines_gt"]
    fit = SIGNATURES["indian-pines"].fit
    assert fit(labels) is not None
    assert fit(labels.T) is None
    assert fit(labels[:, ::-1]) is None


def test_rome_is_known_by_the_pixels_of_its_nine_classes():
    counts = [18126, 10982, 16353, 1606, 6962, 9088, 8127, 1506, 4792]
    tests = [163129, 98834, 147176, 14454, 62655, 81792, 73144, 13551, 43124]
    whole = [train + test for train, test in zip(counts, tests, strict=True)]
    fit = SIGNATURES["rome"].fit
    assert "775,401" in fit(map_of(whole, (900, 900))).title
    assert fit(map_of(counts, (900, 900))) is None


@pytest.mark.parametrize(
    ("classes", "pixels", "rank"),
    [
        (58, 334_245, 0),
        (58, 334_244, 1),
        (52, 333_951, 1),
        (39, 39_000, None),
        (65, 65_000, None),
    ],
)
def test_the_full_scene_needs_about_as_many_classes(classes, pixels, rank):
    counts = [pixels // classes] * (classes - 1)
    labels = map_of([*counts, pixels - sum(counts)], (1417, 617))
    fit = SIGNATURES["indian-pines-full"].fit(labels)
    assert (fit and fit.rank) == rank


@pytest.mark.parametrize(
    ("key", "shape", "same"),
    [
        ("indian-pines", (145, 145, 200), True),
        ("indian-pines", (145, 145, 220), True),
        ("indian-pines", (145, 145, 103), False),
        ("indian-pines", (145, 146, 200), False),
        ("indian-pines-full", (1417, 617, 220), True),
        ("indian-pines-full", (2678, 614, 220), True),
        ("indian-pines-full", (145, 145, 220), False),
        ("rome", (31, 77, 5), True),
        ("rome", (31, 77, 4), False),
    ],
)
def test_sizes(key, shape, same):
    assert SIGNATURES[key].has_shape(*shape) is same
