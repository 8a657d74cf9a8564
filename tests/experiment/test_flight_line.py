"""The flight line of Indian Pines: the published split, and the repository's own files."""

import numpy as np
import pytest
import rasterio
import xarray as xr

from hypercover.experiment.config.builders import build_split, load_scene
from hypercover.experiment.config.experiment_file import load_experiment
from hypercover.experiment.config.schema import SceneSpec
from hypercover.scene.datasets.catalog import known_map
from hypercover.scene.io.reading import read_label_map
from hypercover.scene.labels import legend_of
from hypercover.scene.scene import Scene
from hypercover.scene.selection import drop_classes
from hypercover.scene.simulation.simulate import PRESETS

PUBLISHED = """
Buildings 1720/15475; Corn 1778/16005; Corn? 16/142; Corn-EW 51/463; Corn-NS 236/2120;
Corn-CleanTill 1240/11164; Corn-CleanTill-EW 2649/23837; Corn-CleanTill-NS 3968/35710;
Corn-CleanTill-NS-Irrigated 80/720; Corn-CleanTilled-NS? 173/1555; Corn-MinTill 105/944;
Corn-MinTill-EW 563/5066; Corn-MinTill-NS 886/7976; Corn-NoTill 438/3943;
Corn-NoTill-EW 121/1085; Corn-NoTill-NS 569/5116; Fescue 11/103; Grass 115/1032;
Grass/Trees 233/2098; Hay 113/1015; Hay? 219/1966; Hay-Alfalfa 226/2032; Lake 22/202;
NotCropped 194/1746; Oats 174/1568; Oats? 34/301; Pasture 1039/9347; pond 10/92;
Soybeans 939/8452; Soybeans? 89/805; Soybeans-NS 111/999; Soybeans-CleanTill 507/4567;
Soybeans-CleanTill? 273/2453; Soybeans-CleanTill-EW 1180/10622;
Soybeans-CleanTill-NS 1039/9348; Soybeans-CleanTill-Drilled 224/2018;
Soybeans-CleanTill-Weedy 54/489; Soybeans-Drilled 1512/13606; Soybeans-MinTill 267/2400;
Soybeans-MinTill-EW 183/1649; Soybeans-MinTill-Drilled 810/7288; Soybeans-MinTill-NS 495/4458;
Soybeans-NoTill 216/1941; Soybeans-NoTill-EW 253/2280; Soybeans-NoTill-NS 93/836;
Soybeans-NoTill-Drilled 873/7858; Swampy Area 58/525; River 311/2799; Trees? 58/522;
Wheat 498/4481; Woods 6356/57206; Woods? 14/130
"""
"""Training and test pixels of the 52 classes (Cavallaro et al., JSTARS 2015)."""


def published():
    """Return training and test pixels by class name."""
    rows = (row.strip().rsplit(" ", 1) for row in PUBLISHED.split(";"))
    return {name: tuple(map(int, counts.split("/"))) for name, counts in rows}


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    """A scene of one band whose label map, of 58 classes, has the published counts."""
    counts = list(known_map("Indian Pines flight line").counts.values())
    codes = np.random.default_rng(0).permutation(58).astype(np.uint8) + 1
    labels = np.zeros((1417, 617), np.uint8)
    where = np.random.default_rng(1).permutation(labels.size)[: sum(counts)]
    labels.flat[where] = np.repeat(codes, counts)
    path = tmp_path_factory.mktemp("flight") / "truth.tif"
    profile = {
        "driver": "GTiff",
        "height": 1417,
        "width": 617,
        "count": 1,
        "dtype": "uint8",
    }
    with rasterio.open(path, "w", **profile) as file:
        file.write(labels, 1)
    cube = xr.DataArray(np.ones((1, 1417, 617), np.uint8), dims=("band", "y", "x"))
    scene = Scene(cube)
    found = read_label_map(path, scene.grid, None, None)
    legend, notes = legend_of(found)
    return scene.with_labels(found.codes, legend).noting(*notes)


def test_the_classes_are_named_by_their_pixels(labelled):
    assert "58 classes, 334,245 pixels" in labelled.notes[0]
    assert set(published()) < set(labelled.legend.names)


@pytest.fixture
def experiment(tmp_path):
    """The lecture's experiment; its scene is not looked at."""
    (tmp_path / "cube.tif").touch()
    return load_experiment("lecture-full", [f"scene.path={tmp_path}/cube.tif"])


def test_the_split_of_the_lecture_has_the_published_counts(labelled, experiment):
    kept = drop_classes(labelled, min_pixels=experiment.scene.min_pixels)
    assert len(kept.legend) == 52
    split = build_split(experiment.split, kept, seed=0, window=1)
    names = dict(zip(kept.legend.codes, kept.legend.names, strict=True))
    train, test = (split.per_class(part, kept.labels) for part in ("train", "test"))
    made = {name: (train[code], test[code]) for code, name in names.items()}
    assert made == published()
    assert (split.count("train"), split.count("test")) == (33_396, 300_555)


def test_all_58_classes_can_be_kept(labelled, experiment):
    split = build_split(experiment.split, labelled, seed=0, window=1)
    train = split.per_class("train", labelled.labels)
    assert len(train) == 58
    assert all(count >= 1 for count in train.values())


def test_a_simulated_flight_line_has_the_published_classes():
    """And is never taken for the published one, of which it lacks a pixel."""
    from hypercover.scene.simulation.land_cover import HALO
    from hypercover.scene.simulation.simulate import _survey_land

    found = _survey_land(PRESETS["indian-pines-full"])
    labels = found.labels()[HALO:-HALO, HALO:-HALO]
    codes, counts = np.unique(labels[labels > 0], return_counts=True)
    made = {
        found.classes[code - 1].name: int(n) for code, n in zip(codes, counts, strict=True)
    }
    line = known_map("Indian Pines flight line")
    wanted = {line.names[code]: count for code, count in line.counts.items()}
    assert made == wanted | {"Woods": wanted["Woods"] - 1}


@pytest.mark.parametrize("suffix", ["tif", "lan"])
def test_the_files_of_the_repository_are_read_cropped_and_stripped(tmp_path, suffix):
    """A GeoTIFF or MultiSpec LAN image of 220 bands without any wavelength."""
    values = np.random.default_rng(0).integers(1, 9000, (220, 60, 40)).astype(np.int16)
    labels = np.zeros((60, 40), np.uint8)
    labels[:30, :20], labels[:30, 20:], labels[30:34] = 1, 2, 3
    image, truth = tmp_path / f"NS-line.{suffix}", tmp_path / "NS-line_gr.tif"
    driver = {"tif": "GTiff", "lan": "LAN"}[suffix]
    profile = {"driver": driver, "height": 60, "width": 40, "dtype": "int16"}
    with rasterio.open(image, "w", count=220, **profile) as file:
        file.write(values)
    with rasterio.open(
        truth, "w", **profile | {"driver": "GTiff", "dtype": "uint8"}, count=1
    ) as file:
        file.write(labels, 1)
    spec = SceneSpec(
        path=image,
        labels=truth,
        crop="0:34,:",
        drop_bands="water-absorption",
        min_pixels=200,
    )
    scene = load_scene(spec)
    assert scene.shape == (34, 40)
    assert scene.n_bands == 200
    assert scene.legend.codes == (1, 2)
    usual = np.r_[0:103, 108:149, 163:219]
    np.testing.assert_array_equal(scene.cube.values, values[usual, :34])
