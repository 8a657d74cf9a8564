"""``hypercover pansharpen`` writes a sharp image, or says in a sentence why not."""

import numpy as np
import pytest
import rasterio

from hypercover.scene.simulation.quickbird import quickbird_pair
from hypercover.scene.writing import write_scene


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pair")
    made = quickbird_pair(256, 320, seed=3)
    pan = write_scene(made.pan, folder / "pan.tif")
    return pan, write_scene(made.bands, folder / "bands.tif")


def test_a_sharp_image_lies_on_the_grid_of_the_grey_one(pair, call, tmp_path):
    out = tmp_path / "sharp.tif"
    said = call("pansharpen", *pair, "-o", out, "--keep-pan", "--quality")
    assert said.code == 0, said.err
    with rasterio.open(out) as file, rasterio.open(pair[0]) as pan:
        assert (file.count, file.shape, file.transform) == (5, pan.shape, pan.transform)
        assert file.descriptions[0] == "pan"
        assert (file.read(1) == pan.read(1)).all()
        assert set(file.dtypes) == {"uint16"}
        assert file.tags()["HYPERCOVER_SIMULATED"] == "yes"
    assert f"{out}" in said.out
    rows = {line.split()[1]: line for line in said.out.splitlines() if line.startswith("│")}
    assert set(rows) == {"interpolation", "additive", "proportional"}
    ergas = {name: float(line.split("│")[3]) for name, line in rows.items()}
    assert ergas["additive"] < ergas["interpolation"]


def test_wavelengths_are_kept_where_the_bands_alone_are_written(pair, call, tmp_path):
    out = tmp_path / "sharp.hdr"
    said = call("pansharpen", *pair, "-o", out, "--injection", "proportional")
    assert said.code == 0, said.err
    with rasterio.open(tmp_path / "sharp.img") as file:
        assert file.tags(ns="ENVI")["wavelength"] == "{485.0, 560.0, 660.0, 830.0}"
        assert np.asarray(file.read()).min() > 0


def test_what_cannot_be_sharpened_is_refused_and_nothing_is_written(pair, call, tmp_path):
    pan, bands = pair
    out = tmp_path / "sharp.tif"
    cases = {
        (bands, pan): "must have one band",
        (pan, pan): "1.5 to 16 times as fine",
        (pan, bands, "--injection", "brovey"): "must be one of additive",
    }
    for words, told in cases.items():
        assert told in call("pansharpen", *words, "-o", out).sentence
    assert "would destroy" in call("pansharpen", pan, bands, "-o", bands).sentence
    assert (
        "a folder" not in call("pansharpen", pan, bands, "-o", tmp_path / "a.png").sentence
    )
    assert list(tmp_path.iterdir()) == []


def test_an_image_smaller_than_a_block_has_no_q(call, tmp_path):
    made = quickbird_pair(64, 64, seed=3)
    pan = write_scene(made.pan, tmp_path / "pan.tif")
    bands = write_scene(made.bands, tmp_path / "bands.tif")
    said = call("pansharpen", pan, bands, "-o", tmp_path / "sharp.tif", "--quality")
    assert said.code == 0, said.err
    assert "nan" not in said.out
    assert "Q needs 32 × 32 pixels with data" in said.out


def test_nothing_is_written_where_the_quality_cannot_be_had(call, tmp_path):
    small = write_scene(quickbird_pair(64, 64, seed=3).pan, tmp_path / "pan.tif")
    cube = quickbird_pair(64, 64, seed=3).bands
    few = write_scene(cube.replace(cube=cube.cube[:, :12, :12]), tmp_path / "few.tif")
    out = tmp_path / "sharp.tif"
    said = call("pansharpen", small, few, "-o", out, "--quality")
    assert "too small to be made 4 times coarser" in said.sentence
    assert not out.exists()
