"""Features and maps made tile by tile, by several processes, are those of one piece."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
import xarray as xr

from hypercover.errors import CallError, RunError, SceneError
from hypercover.experiment.config.schema import Experiment
from hypercover.experiment.run import run_experiment
from hypercover.experiment.tasks.feature_tiles import write_features
from hypercover.features.chain import Chain
from hypercover.jobs.executor import InProcessExecutor
from hypercover.jobs.local import LocalExecutor, cores
from hypercover.prediction.map_prediction import predict_bundle_to_files
from hypercover.prediction.tile_tasks import SceneSource, WorkFolder, check_tile_range
from hypercover.scene.io.writing import write_scene
from hypercover.scene.scene import Scene
from hypercover.scene.simulation.simulate import simulate


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """A scene of several tiles."""
    home = tmp_path_factory.mktemp("mosaic")
    cube, labels = simulate(home / "m.tif", rows=260, cols=530, bands=6, classes=3)
    return cube, labels


def values(path):
    with rasterio.open(path) as file:
        return file.read(), file.descriptions, file.profile["crs"], file.tags()


def test_features_by_several_processes_are_those_of_one_piece(image, tmp_path):
    source = SceneSource(str(image[0]), drop_bands="3")
    spec = "mnf:4,pca:3"
    write_features(source, Chain.parse(spec), tmp_path / "whole.tif", seed=1)
    said = []
    stack = write_features(
        source,
        Chain.parse(spec),
        tmp_path / "tiles.tif",
        LocalExecutor(2),
        seed=1,
        progress=lambda done, total: said.append(done / total),
    )
    whole, tiled = values(tmp_path / "whole.tif"), values(tmp_path / "tiles.tif")
    np.testing.assert_array_equal(whole[0], tiled[0])
    assert whole[1:] == tiled[1:]
    assert stack.band_names == ("pca1", "pca2", "pca3")
    assert said == sorted(said)
    assert said[-1] == 1.0
    assert not list(tmp_path.glob(".*"))


def test_profiles_by_tiles_say_that_they_are_not_quite_those_of_one_piece(image, tmp_path):
    source, spec = SceneSource(str(image[0])), "pca:1,esdap:area=10"
    write_features(source, Chain.parse(spec), tmp_path / "whole.tif")
    stack = write_features(source, Chain.parse(spec), tmp_path / "tiles.tif", overlap=40)
    whole, tiled = values(tmp_path / "whole.tif"), values(tmp_path / "tiles.tif")
    assert (whole[0] != tiled[0]).mean() < 0.001
    assert tiled[3]["HYPERCOVER_OVERLAP"] == "40 pixels"
    assert any("a margin of 40 pixels" in note for note in stack.notes)
    with pytest.raises(CallError, match="--overlap"):
        write_features(source, Chain.parse(spec), tmp_path / "x.tif", InProcessExecutor())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tiles.tif", "whole.tif"]


def test_a_large_stack_is_computed_tile_by_tile(image, tmp_path, monkeypatch):
    source = SceneSource(str(image[0]))
    write_features(source, Chain.parse("pca:2"), tmp_path / "whole.tif")
    monkeypatch.setattr("hypercover.features.chain._SMALL_STACK", 0)
    monkeypatch.setattr("hypercover.features.spectral_features.empty_stack", None)
    with pytest.raises(TypeError):
        Chain.parse("pca:2").fit_transform(source.open())
    monkeypatch.undo()
    monkeypatch.setattr("hypercover.features.chain._SMALL_STACK", 0)
    write_features(source, Chain.parse("pca:2"), tmp_path / "tiles.tif")
    whole, tiled = values(tmp_path / "whole.tif"), values(tmp_path / "tiles.tif")
    np.testing.assert_array_equal(whole[0], tiled[0])


class Stopping(InProcessExecutor):
    """Ends after some tasks, as Ctrl-C would."""

    def __init__(self, tasks):
        self.left = tasks

    def wait(self, seconds):
        if not self.left:
            raise KeyboardInterrupt
        self.left -= 1
        return super().wait(seconds)


@pytest.mark.parametrize("small", [0, 2**26])
def test_features_that_cannot_be_learnt_leave_nothing(small, tmp_path, monkeypatch):
    monkeypatch.setattr("hypercover.features.chain._SMALL_STACK", small)
    flat = xr.DataArray(np.full((3, 9, 8), 5.0, np.float32), dims=("band", "y", "x"))
    write_scene(Scene(flat), tmp_path / "flat.tif")
    with pytest.raises(SceneError, match="vary in no direction"):
        write_features(
            SceneSource(str(tmp_path / "flat.tif")),
            Chain.parse("pca:2"),
            tmp_path / "new" / "pca.tif",
        )
    assert [one.name for one in tmp_path.iterdir()] == ["flat.tif"]


def test_a_stopped_work_goes_on_and_a_damaged_tile_is_made_again(
    image, tmp_path, monkeypatch
):
    source, out = SceneSource(str(image[0])), tmp_path / "tiles.tif"
    with pytest.raises(KeyboardInterrupt):
        write_features(source, Chain.parse("pca:2"), out, Stopping(2))
    assert not out.exists()
    kept = sorted((WorkFolder.of(out).path / ".stack.tiles").glob("*.tile"))
    assert len(kept) == 4
    kept[0].write_bytes(b"cut")
    fitted = []
    monkeypatch.setattr(Chain, "fit_blockwise", lambda *_, **__: fitted.append(1))
    write_features(source, Chain.parse("pca:2"), out, InProcessExecutor())
    assert not fitted
    write_features(source, Chain.parse("pca:2"), tmp_path / "whole.tif")
    np.testing.assert_array_equal(values(out)[0], values(tmp_path / "whole.tif")[0])


@pytest.mark.parametrize("same", [True, False])
def test_a_touched_image_goes_on_and_another_of_its_size_begins_anew(
    image, tmp_path, monkeypatch, same
):
    cube = Path(shutil.copy2(image[0], tmp_path / "own.tif"))
    source, out = SceneSource(str(cube)), tmp_path / "tiles.tif"
    with pytest.raises(KeyboardInterrupt):
        write_features(source, Chain.parse("pca:2"), out, Stopping(2))
    content = bytearray(cube.read_bytes())
    content[-1] ^= not same
    cube.write_bytes(content)
    os.utime(cube, (1, 1))
    fitted, fit = [], Chain.fit_blockwise

    def fitting(*given, **options):
        fitted.append(1)
        return fit(*given, **options)

    monkeypatch.setattr(Chain, "fit_blockwise", fitting)
    write_features(source, Chain.parse("pca:2"), out, InProcessExecutor())
    assert len(fitted) == (not same)
    write_features(source, Chain.parse("pca:2"), tmp_path / "whole.tif")
    np.testing.assert_array_equal(values(out)[0], values(tmp_path / "whole.tif")[0])
    assert not list(tmp_path.glob(".*"))


def test_an_image_that_changes_meanwhile_is_noticed(image, tmp_path):
    source = SceneSource(str(image[0]))
    told = source.to_json()
    assert SceneSource.from_json(told) == source
    told["identity"][0][2] += 1
    with pytest.raises(RunError, match="has changed since the work began"):
        SceneSource.from_json(told)


@pytest.fixture(scope="module")
def models(image, tmp_path_factory):
    """A run with a model on bands, a network, and models on features."""
    folder = tmp_path_factory.mktemp("run")
    experiment = Experiment.model_validate(
        {
            "name": "m",
            "scene": {"path": str(image[0]), "labels": str(image[1])},
            "split": {"kind": "random", "train": 0.02},
            "features": {"spectral": "mnf:3", "spatial": "pca:1,esdap:area=5/10"},
            "models": {
                "svm": {"kind": "svm"},
                "cnn": {"kind": "cnn", "window": 5, "epochs": 1},
                "spectral": {
                    "kind": "cnn",
                    "window": 5,
                    "epochs": 1,
                    "features": "spectral",
                },
                "spatial": {"kind": "svm", "features": "spatial"},
            },
            "map": False,
        }
    )
    run_experiment(experiment, folder, workers=1)
    return folder / "models"


@pytest.fixture
def half_the_threads():
    """As many threads as each of two processes has: more of them round otherwise."""
    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, cores() // 2))
    yield
    torch.set_num_threads(threads)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["svm", "cnn", "spectral"])
def test_a_map_by_several_processes_is_that_of_one(
    image, models, tmp_path, name, half_the_threads
):
    source = SceneSource(str(image[0]))
    one, two = tmp_path / "one.tif", tmp_path / "two.tif"
    predict_bundle_to_files(
        models / name, source.open(), one, confidence=tmp_path / "c1.tif"
    )
    predict_bundle_to_files(
        models / name,
        source.open(),
        two,
        confidence=tmp_path / "c2.tif",
        source=source,
        executor=LocalExecutor(2),
    )
    np.testing.assert_array_equal(values(one)[0], values(two)[0])
    np.testing.assert_array_equal(
        values(tmp_path / "c1.tif")[0], values(tmp_path / "c2.tif")[0]
    )
    assert not list(tmp_path.glob(".*"))


@pytest.mark.slow
def test_a_model_on_profiles_is_mapped_with_an_overlap_where_it_is_asked_for(
    image, models, tmp_path
):
    source = SceneSource(str(image[0]))
    predict_bundle_to_files(models / "spatial", source.open(), tmp_path / "one.tif")
    with pytest.raises(CallError, match="--overlap"):
        predict_bundle_to_files(
            models / "spatial",
            source.open(),
            tmp_path / "two.tif",
            source=source,
            executor=InProcessExecutor(),
        )
    predict_bundle_to_files(
        models / "spatial",
        source.open(),
        tmp_path / "two.tif",
        overlap=60,
        source=source,
        executor=InProcessExecutor(),
    )
    one, two = values(tmp_path / "one.tif")[0], values(tmp_path / "two.tif")[0]
    assert (one != two).mean() < 0.001


_KILLED = """
import sys
from pathlib import Path
from hypercover.experiment.tasks.feature_tiles import write_features
from hypercover.prediction.tile_tasks import SceneSource
from hypercover.features.chain import Chain
from hypercover.jobs.local import LocalExecutor, cores
image, out = sys.argv[1:]
write_features(SceneSource(image), Chain.parse("kpca:3"), Path(out), LocalExecutor(2))
"""


@pytest.mark.slow
def test_a_killed_work_goes_on_where_it_was(image, tmp_path):
    out = tmp_path / "tiles.tif"
    run = subprocess.Popen([sys.executable, "-c", _KILLED, str(image[0]), str(out)])
    home = WorkFolder.of(out).path
    until = time.monotonic() + 300
    while not list(home.glob(".stack.tiles/*.tile")):
        assert time.monotonic() < until
        time.sleep(0.02)
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    assert not out.exists()
    source = SceneSource(str(image[0]))
    write_features(source, Chain.parse("kpca:3"), out, LocalExecutor(2))
    write_features(source, Chain.parse("kpca:3"), tmp_path / "whole.tif")
    np.testing.assert_array_equal(values(out)[0], values(tmp_path / "whole.tif")[0])
    assert not home.exists()


@pytest.mark.parametrize(("first", "stop"), [(0, 4), (2, 2), (3, 4)])
def test_tiles_that_an_image_does_not_have_are_refused(first, stop):
    """A plan lies in a file of its own, and may be that of another image."""
    check_tile_range(0, 3, 3)
    with pytest.raises(
        CallError, match=f"tiles {first} to {stop - 1}, and the image has 3"
    ):
        check_tile_range(first, stop, 3)
