"""``hypercover pansharpen`` writes a sharp image, or says in a sentence why not."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio

from hypercover.scene.io.reading import open_scene
from hypercover.scene.io.writing import write_scene
from hypercover.scene.simulation.city import quickbird_pair
from hypercover.scene.tile_store import TileStore


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


_KILLED = """
import os, signal, sys
from hypercover.cli.main import main
from hypercover.scene.tile_store import TileStore
kept, last = TileStore.save, sys.argv.pop(1)

def save(store, name, layers):
    kept(store, name, layers)
    if name == last:
        # half of the next one, as a kill may leave it
        (store.folder / "strip-3.tile").write_bytes(b"0" * 100)
        os.kill(os.getpid(), signal.SIGKILL)

TileStore.save = save
main()
"""


def killed_after(name, *words):
    """Run the command in a process that is killed once a piece is kept."""
    call = [sys.executable, "-c", _KILLED, name, "pansharpen", *map(str, words)]
    ended = subprocess.run(call, capture_output=True, text=True, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    return ended.stderr


def test_killed_again_and_again_it_goes_on_to_the_same_bytes(pair, call, tmp_path, caplog):
    whole, out = tmp_path / "whole" / "sharp.tif", tmp_path / "killed" / "sharp.tif"
    first = call("pansharpen", *pair, "-o", whole, "--quality")
    words = (*pair, "-o", out, "--quality")
    killed_after("comparison-1", *words)
    said = killed_after("strip-1", *words)
    assert "Resuming: 2 of 3 comparisons already done." in said
    assert not out.exists()
    last = call("pansharpen", *words)
    assert last.code == 0, last.err
    assert "Resuming: 2 of 4 strips already done." in caplog.text
    assert out.read_bytes() == whole.read_bytes()
    assert last.out.replace(str(out), "") == first.out.replace(str(whole), "")
    assert list(out.parent.iterdir()) == [out]


def stopped_at_third_strip(call, monkeypatch, *words):
    """Press Ctrl-C while the third of four strips is kept."""
    kept = TileStore.save

    def save(store, name, layers):
        if name == "strip-2":
            raise KeyboardInterrupt
        kept(store, name, layers)

    with monkeypatch.context() as patch:
        patch.setattr(TileStore, "save", save)
        said = call("pansharpen", *words)
    assert said.code == 130
    assert "run the same command again to resume" in said.err


def contents(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.mark.parametrize("name", ["sharp.tif", "sharp.hdr", "sharp.h5"])
def test_stopped_it_goes_on_in_every_format(
    pair, call, tmp_path, monkeypatch, caplog, name
):
    whole, out = tmp_path / "whole" / name, tmp_path / "stopped" / name
    assert call("pansharpen", *pair, "-o", whole, "--keep-pan").code == 0
    words = (*pair, "-o", out, "--keep-pan")
    stopped_at_third_strip(call, monkeypatch, *words)
    assert [one.name for one in out.parent.iterdir()] == [f".{name}.tiles"]
    assert call("pansharpen", *words).code == 0
    assert "Resuming: 2 of 4 strips already done." in caplog.text
    assert contents(out.parent) == contents(whole.parent)


def test_a_pair_that_was_touched_goes_on(pair, call, tmp_path, monkeypatch, caplog):
    pan, bands = (Path(shutil.copy2(one, tmp_path)) for one in pair)
    words = [pan, bands, "-o", tmp_path / "out" / "sharp.tif"]
    stopped_at_third_strip(call, monkeypatch, *words)
    for one in (pan, bands):
        os.utime(one, (1, 1))
    assert call("pansharpen", *words).code == 0
    assert "Resuming: 2 of 4 strips already done." in caplog.text
    assert [one.name for one in words[3].parent.iterdir()] == ["sharp.tif"]


@pytest.mark.parametrize("changed", ["option", "grey image", "bands", "version"])
def test_where_anything_changed_it_begins_anew(
    pair, call, tmp_path, monkeypatch, caplog, changed
):
    pan, bands = (Path(shutil.copy2(one, tmp_path)) for one in pair)
    words = [pan, bands, "-o", tmp_path / "out" / "sharp.tif"]
    stopped_at_third_strip(call, monkeypatch, *words)
    if changed == "option":
        words += ["--injection", "proportional"]
    elif changed == "version":
        monkeypatch.setattr("hypercover.scene.tile_store.version", lambda _: "0.0.0")
    else:
        file = pan if changed == "grey image" else bands
        scene = open_scene(file, labels=False).load()
        write_scene(scene.replace(cube=scene.cube[:, ::-1].copy()), file)
    assert call("pansharpen", *words).code == 0
    assert "Resuming" not in caplog.text
    assert call("pansharpen", *words[:3], tmp_path / "whole.tif", *words[4:]).code == 0
    assert contents(words[3].parent) == {"sharp.tif": (tmp_path / "whole.tif").read_bytes()}


def test_a_strip_that_was_damaged_is_computed_again(
    pair, call, tmp_path, monkeypatch, caplog
):
    whole, out = tmp_path / "whole.tif", tmp_path / "out" / "sharp.tif"
    assert call("pansharpen", *pair, "-o", whole).code == 0
    stopped_at_third_strip(call, monkeypatch, *pair, "-o", out)
    strip = out.parent / ".sharp.tif.tiles" / "strip-1.tile"
    content = bytearray(strip.read_bytes())
    content[-1] ^= 1
    strip.write_bytes(content)
    assert call("pansharpen", *pair, "-o", out).code == 0
    assert "Resuming: 1 of 4 strips already done." in caplog.text
    assert out.read_bytes() == whole.read_bytes()


def test_a_pair_without_common_data_leaves_no_folder_behind(pair, call, tmp_path):
    scene = open_scene(pair[0], labels=False).load()
    scene.cube.attrs["nodata"] = 7
    empty = write_scene(scene.replace(cube=scene.cube * 0 + 7), tmp_path / "empty.tif")
    said = call("pansharpen", empty, pair[1], "-o", tmp_path / "a" / "b" / "sharp.tif")
    assert "have no pixel with data in both" in said.sentence
    assert list(tmp_path.iterdir()) == [empty]
