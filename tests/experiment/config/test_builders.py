"""How the parts of an experiment file become scenes and splits."""

import os

import numpy as np
import pytest
import rasterio
import xarray as xr
from affine import Affine
from rasterio.crs import CRS
from scipy.io import savemat

from hypercover.errors import LabelError
from hypercover.experiment.config.builders import build_split, fingerprint, load_scene
from hypercover.experiment.config.schema import Experiment, MasksSpec, SceneSpec
from hypercover.scene.grid import Grid, with_grid
from hypercover.scene.io.reading import label_losses
from hypercover.scene.legend import Legend
from hypercover.scene.scene import Scene


@pytest.fixture
def scene():
    labels = np.tile(np.array([1, 2], np.uint8), (6, 3))
    return Scene(xr.DataArray(np.ones((2, 6, 6)), dims=("band", "y", "x")), labels)


def test_two_masks_in_one_file_are_told_apart_by_name(tmp_path, scene):
    upper = np.arange(6)[:, None] < np.full(6, 2)
    path = tmp_path / "masks.mat"
    savemat(path, {"TR": 9 * upper.astype("u1"), "TE": (~upper).astype("u1")})
    spec = MasksSpec(train=path, test=path, train_variable="TR", test_variable="TE")
    split = build_split(spec, scene, seed=0, window=1)
    np.testing.assert_array_equal(split.mask("train"), upper)
    np.testing.assert_array_equal(split.mask("test"), ~upper)
    with pytest.raises(LabelError, match=r"TR \(6 × 6\), TE \(6 × 6\)"):
        build_split(MasksSpec(train=path), scene, seed=0, window=1)


def test_a_mask_that_declares_no_data_marks_nothing_with_0(tmp_path):
    """0 is a class of such labels, but never a mark."""
    labels = np.tile(np.array([1, 2], np.uint8), (6, 3))
    cube = xr.DataArray(np.ones((2, 6, 6)), dims=("band", "y", "x"))
    scene = Scene(cube).with_labels(labels, Legend.of({1: "Corn", 2: "Woods"}))
    mask = np.where(np.arange(6)[:, None] < 3, labels, 0).astype(np.uint8)
    mask[0, 0] = 2
    with rasterio.open(
        tmp_path / "m.tif",
        "w",
        driver="GTiff",
        height=6,
        width=6,
        count=1,
        dtype="uint8",
        nodata=255,
    ) as file:
        file.write(mask, 1)
    split = build_split(MasksSpec(train=tmp_path / "m.tif"), scene, seed=0, window=1)
    np.testing.assert_array_equal(split.mask("train"), mask > 0)
    assert split.notes[0].startswith(
        "1 of the 18 labelled pixels that m.tif marks have another"
    )


@pytest.mark.parametrize(
    ("bare", "told"),
    [
        (0, []),
        (1, ["1 of the 36 labelled pixels holds"]),
        (3, ["3 of the 36 labelled pixels hold"]),
    ],
)
def test_labels_on_pixels_without_data_are_told(tmp_path, scene, bare, told):
    cube = np.ones((2, 6, 6), np.float32)
    cube[:, 0, :bare] = np.nan
    np.savez(tmp_path / "scene.npz", cube=cube, labels=scene.labels)
    losses = load_scene(SceneSpec(path=tmp_path / "scene.npz")).losses
    assert [note[: len(said)] for note, said in zip(losses, told, strict=True)] == told


def test_classes_that_are_lost_with_their_pixels_are_named(tmp_path, scene):
    cube = np.ones((2, 6, 6), np.float32)
    labels = scene.labels.copy()
    labels[0, :2] = 7
    cube[:, 0, :3] = np.nan
    np.savez(tmp_path / "scene.npz", cube=cube, labels=labels)
    assert load_scene(SceneSpec(path=tmp_path / "scene.npz")).losses == (
        "3 of the 36 labelled pixels hold no data: left out (1 of Class 1, 2 of Class 7).",
        "Classes lost, because none of their pixels holds data: Class 7.",
    )


def test_classes_outside_a_crop_are_named(tmp_path, scene):
    labels = scene.labels.copy()
    labels[5, 5] = 7
    np.savez(tmp_path / "scene.npz", cube=np.ones((2, 6, 6), np.float32), labels=labels)
    spec = SceneSpec(path=tmp_path / "scene.npz", crop="0:5,:")
    assert load_scene(spec).losses == (
        "Classes without a pixel in the selected part: Class 7.",
    )


@pytest.mark.parametrize("changed", ["cube.img", "cube.hdr", "fields.dbf", "fields.shp"])
def test_a_scene_is_another_once_any_of_its_files_is(tmp_path, changed):
    for name in ("cube.hdr", "cube.img", "fields.shp", "fields.dbf", "cube.png"):
        (tmp_path / name).write_text("first")
    experiment = Experiment.model_validate(
        {
            "name": "fields",
            "scene": {"path": tmp_path / "cube.hdr", "labels": tmp_path / "fields.shp"},
            "split": {"kind": "random"},
            "models": {"svm": {"kind": "svm"}},
        }
    )
    before = fingerprint(experiment)
    os.utime(tmp_path / "cube.png", (1, 1))
    assert fingerprint(experiment) == before
    os.utime(tmp_path / changed, (1, 1))
    assert fingerprint(experiment) != before


def test_shapes_wholly_without_data_are_counted(tmp_path, scene):
    cube = np.ones((2, 6, 6), np.float32)
    cube[:, 0, :3] = np.nan
    shapes = np.arange(6)[:, None] // 1 * 2 + (np.arange(6) > 2) + 1
    whole = Scene(
        xr.DataArray(cube, dims=("band", "y", "x")), shapes=shapes.astype(np.uint8)
    ).with_labels(scene.labels)
    assert label_losses(whole)[1] == "1 of 12 shapes wholly without data."


def test_the_layer_of_labels_is_named_in_the_experiment(tmp_path):
    import pyogrio
    import shapely

    place = Affine(10, 0, 500_000, 0, -10, 4_000_000)
    with rasterio.open(
        tmp_path / "a.tif",
        "w",
        driver="GTiff",
        height=6,
        width=6,
        count=1,
        dtype="uint8",
        crs="EPSG:32633",
        transform=place,
    ) as file:
        file.write(np.ones((1, 6, 6), np.uint8))
    for layer, codes in (("early", [1, 2]), ("late", [5, 7])):
        boxes = [
            shapely.box(500_000 + 30 * at, 3_999_940, 500_030 + 30 * at, 4_000_000)
            for at in range(2)
        ]
        pyogrio.raw.write(
            tmp_path / "l.gpkg",
            shapely.to_wkb(np.array(boxes, object)),
            [np.array(codes)],
            ["code"],
            geometry_type="Polygon",
            crs="EPSG:32633",
            layer=layer,
            append=layer == "late",
        )
    spec = {"path": tmp_path / "a.tif", "labels": tmp_path / "l.gpkg"}
    assert load_scene(SceneSpec(**spec, label_layer="late")).legend.codes == (5, 7)
    with pytest.raises(LabelError, match="label_layer"):
        load_scene(SceneSpec(**spec))


@pytest.mark.parametrize("name", ["labels.qml", "labels.clr", "labels.tif.clr"])
def test_a_changed_style_of_the_labels_counts_and_one_of_the_image_does_not(tmp_path, name):
    image, labels = tmp_path / "image.tif", tmp_path / "labels.tif"
    for path in (image, labels):
        path.write_bytes(b"pixels")
    experiment = Experiment(
        name="e",
        scene=SceneSpec(path=image, labels=labels),
        split={"kind": "none"},
        models={"svm": {"kind": "svm"}},
    )
    found = [fingerprint(experiment)]
    (tmp_path / "image.qml").write_text("<qgis/>")
    assert fingerprint(experiment) == found[0]
    for text in ("<qgis/>", "<qgis>1</qgis>"):
        (tmp_path / name).write_text(text)
        found.append(fingerprint(experiment))
    assert len(set(found)) == 3


def test_a_mask_in_one_of_several_layers(tmp_path):
    import pyogrio
    import shapely

    grid = Grid(6, 6, CRS.from_epsg(32633).to_wkt(), (1.0, 0.0, 0.0, 0.0, -1.0, 6.0))
    cube = xr.DataArray(np.ones((2, 6, 6)), dims=("band", "y", "x"))
    labels = np.tile(np.array([1, 2], np.uint8), (6, 3))
    scene = Scene(with_grid(cube, grid), labels)
    path = tmp_path / "parts.gpkg"
    for layer, box in (("upper", (0, 4, 6, 6)), ("lower", (0, 0, 6, 4))):
        pyogrio.raw.write(
            path,
            shapely.to_wkb([shapely.box(*box)]),
            [np.array([1]), np.array([1])],
            ["a", "b"],
            crs="EPSG:32633",
            geometry_type="Polygon",
            layer=layer,
            append=path.exists(),
        )
    spec = MasksSpec(
        train=path,
        train_layer="upper",
        train_field="a",
        test=path,
        test_layer="lower",
        test_field="b",
    )
    split = build_split(spec, scene, seed=0, window=1)
    assert split.mask("train")[:2].all()
    assert split.mask("test")[2:].all()
    with pytest.raises(LabelError, match="one with train_layer of the split: upper, lower"):
        build_split(MasksSpec(train=path), scene, seed=0, window=1)
    with pytest.raises(LabelError, match="name it with test_field of the split"):
        build_split(spec.model_copy(update={"test_field": None}), scene, seed=0, window=1)
