"""``hypercover features`` writes a stack that other programs can name and place."""

import json
import os
import shutil
import subprocess

import numpy as np
import pytest
import rasterio

from hypercover.features.chain import Chain
from hypercover.scene.io.reading import open_scene
from hypercover.scene.io.writing import write_scene

pytestmark = pytest.mark.usefixtures("sketched")

NAMES = ["kpca1", "kpca1 area<4", "kpca2", "kpca2 area<4"]
CHAIN = "kpca:2,esdap:area=4"


def bands_named(path):
    with rasterio.open(path) as file:
        return list(file.descriptions)


@pytest.mark.parametrize(
    ("name", "pixels"), [("out.tif", "out.tif"), ("out.hdr", "out.img")]
)
def test_a_stack_is_written_with_names_place_and_no_data(
    fields, call, tmp_path, name, pixels
):
    said = call(
        "features", fields.image, "--chain", CHAIN, "-o", tmp_path / name, "--seed", 2
    )
    written = tmp_path / pixels
    assert said.code == 0, said.err
    assert said.out.splitlines() == [
        f"4 features of 6 bands: {CHAIN}",
        f"Image: {written}",
    ]
    with rasterio.open(written) as file:
        assert list(file.descriptions) == NAMES
        assert set(file.dtypes) == {"float32"}
        assert np.isnan(file.nodata)
        assert file.crs.to_epsg() == 32633
        assert tuple(file.transform)[:6] == (10.0, 0.0, 4e5, 0.0, -10.0, 5.5e6)
        found = file.read()
    expected = Chain.parse(CHAIN).fit_transform(
        open_scene(fields.image, labels=False), seed=2
    )
    np.testing.assert_array_equal(found, expected.cube.values)


@pytest.mark.parametrize("name", ["out.tif", "out.hdr"])
def test_the_names_are_read_again_and_shown(fields, call, tmp_path, name):
    assert call("features", fields.image, "-c", CHAIN, "-o", tmp_path / name).code == 0
    again = open_scene(tmp_path / name)
    assert again.band_names == tuple(NAMES)
    assert again.wavelengths is None
    assert again.valid.all()
    said = call("info", tmp_path / name, "-o", tmp_path)
    assert "kpca1, kpca1 area<4, kpca2, kpca2 area<4" in said.out


@pytest.mark.skipif(
    shutil.which("gdalinfo") is None and "CI" not in os.environ,
    reason="the program gdalinfo is not installed",
)
def test_gdal_names_the_bands(fields, call, tmp_path):
    assert call("features", fields.image, "-c", CHAIN, "-o", tmp_path / "out.tif").code == 0
    told = subprocess.run(
        ["gdalinfo", "-json", tmp_path / "out.tif"], capture_output=True, check=True
    )
    assert [band["description"] for band in json.loads(told.stdout)["bands"]] == NAMES


def test_features_of_features_can_be_computed_file_by_file(fields, call, tmp_path):
    first, second = tmp_path / "first.tif", tmp_path / "second.tif"
    assert call("features", fields.image, "-c", "kpca:2", "-o", first).code == 0
    assert call("features", first, "-c", "esdap:area=4", "-o", second).code == 0
    assert bands_named(second) == NAMES
    assert call("features", fields.image, "-c", CHAIN, "-o", first).code == 0
    with rasterio.open(first) as one, rasterio.open(second) as other:
        np.testing.assert_array_equal(one.read(), other.read())


def test_bands_can_be_dropped_first(fields, call, tmp_path):
    said = call(
        "features",
        fields.image,
        "-c",
        "pca:2",
        "-o",
        tmp_path / "out.tif",
        "--drop-bands",
        "1,6",
    )
    assert said.out.startswith("2 features of 4 bands: pca:2\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["-c", "umap:3", "-o", "out.tif"],
            "Unknown image feature 'umap'; choose one of kpca",
        ),
        (["-c", "kpca:5,nwfe:3", "-o", "out.tif"], "NWFE learns from labels"),
        (["-c", "pca:7", "-o", "out.tif"], "PCA cannot compute 7 components from 6 bands"),
        (["-c", "pca:2", "-o", "out.png"], "Images are written as GeoTIFF"),
        (["-c", "", "-o", "out.tif"], "Unknown image feature ''"),
        (["-c", "pca:2", "-o", "out.tif", "--keep-bands", "9"], "no band 9"),
    ],
)
def test_what_cannot_be_is_said_in_one_sentence(
    fields, call, monkeypatch, tmp_path, words, said
):
    monkeypatch.chdir(tmp_path)
    assert said in call("features", fields.image, *words).sentence
    assert not list(tmp_path.glob("*.*"))


@pytest.mark.parametrize("given", ["cube.hdr", "cube.img", "cube.raw"])
@pytest.mark.parametrize("out", ["cube.hdr", "cube.img", "cube.dat"])
def test_an_image_is_never_written_over(fields, call, tmp_path, given, out):
    folder = tmp_path / "measured"
    write_scene(open_scene(fields.image), folder / "cube.hdr")
    if given == "cube.raw":
        (folder / "cube.img").rename(folder / given)
    before = {path: path.read_bytes() for path in folder.iterdir()}
    said = call("features", folder / given, "-c", "pca:2", "-o", folder / out)
    assert f"would destroy {folder / given}" in said.sentence
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_a_stack_may_be_written_again_beside_its_image(fields, call, tmp_path):
    image = tmp_path / "cube.tif"
    shutil.copy(fields.image, image)
    for _ in range(2):
        said = call("features", image, "-c", "pca:2", "-o", tmp_path / "cube.hdr")
        assert said.code == 0, said.err


@pytest.mark.parametrize(
    "chain", [CHAIN, "pca:6", "mnf:6", "esdap:area=4+std=9+inertia=0.3"]
)
def test_a_model_on_bands_takes_no_stack_of_features(fields, call, tmp_path, chain):
    stack, folder = tmp_path / "stack.tif", tmp_path / "run"
    assert call("features", fields.image, "-c", chain, "-o", stack).code == 0
    assert call("run", fields.experiment, "-o", folder, "--set", "map=false").code == 0
    said = call("predict", folder / "models" / "svm", stack, "-o", tmp_path / "map.tif")
    assert said.code != 0
    assert "is a stack of features" in said.err
    assert not (tmp_path / "map.tif").exists()


def test_a_model_on_a_stack_takes_that_stack_alone(fields, call, tmp_path):
    stack, folder = fields.folder / "stack.tif", tmp_path / "run"
    model, out = folder / "models" / "svm", tmp_path / "map.tif"
    assert call("features", fields.image, "-c", "pca:6", "-o", stack).code == 0
    change = ("--set", f"scene.path={stack}", "--set", "map=false")
    assert call("run", fields.experiment, "-o", folder, *change).code == 0
    assert call("predict", model, stack, "-o", out).code == 0
    said = call("predict", model, fields.image, "-o", out)
    assert "trained on features (pca1, pca2, pca3 …)" in said.err
    assert call("features", fields.image, "-c", "mnf:6", "-o", stack).code == 0
    assert "'pca1' but 'mnf1'" in call("predict", model, stack, "-o", out).err


def test_one_feature_of_one_band_is_said_so(fields, call, tmp_path):
    said = call(
        "features",
        fields.image,
        "-c",
        "pca:1",
        "--keep-bands",
        "1",
        "-o",
        tmp_path / "one.tif",
    )
    assert said.out.startswith("1 feature of 1 band: pca:1\n"), said.err
