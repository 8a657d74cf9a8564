"""The same run again: kept, repeated elsewhere, changed, or its models on an image."""

import json

import numpy as np
import pytest

pytestmark = pytest.mark.usefixtures("sketched")

NAMES = ("svm", "cnn", "forest")


def test_running_again_costs_nothing_and_changes_nothing(finished, call):
    """The experiment file a run leaves runs again: every task is kept."""
    run = finished.folder
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    answer = call("run", run / "experiment.yaml", "-o", run)
    assert answer.code == 0
    assert answer.err == ""
    assert answer.out == finished.out
    after = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    lock = run / "tasks" / "lock"
    assert {**after, lock: b""} == {**before, lock: b""}


def test_what_was_deleted_is_made_again(desk, finished, call, tmp_path):
    import shutil

    run = tmp_path / "run"
    shutil.copytree(finished.folder, run)
    for name in ("metrics.json", "maps/svm.tif", "figures/scene.png", "split.json"):
        (run / name).unlink()
    shutil.rmtree(run / "models" / "forest")
    assert call("run", finished.path, "-o", run).code == 0
    assert desk.figures_of(run) == desk.figures(finished.metrics)
    for name in ("maps/svm.tif", "models/forest/weights.safetensors"):
        assert (run / name).read_bytes() == (finished.folder / name).read_bytes()
    assert (run / "figures" / "scene.png").exists()


@pytest.mark.parametrize("model", NAMES)
def test_a_kept_model_makes_the_same_map(desk, scene, finished, call, tmp_path, model):
    target, sure = tmp_path / "map.tif", tmp_path / "sure.tif"
    bundle = finished.folder / "models" / model
    answer = call("predict", bundle, scene.image, "-o", target, "--confidence", sure)
    assert (answer.code, answer.out) == (0, f"Map: {target}\nConfidence: {sure}\n")
    own = finished.folder / "maps"
    assert desk.pixels(target).tobytes() == desk.pixels(own / f"{model}.tif").tobytes()
    confidence = desk.pixels(own / f"{model}-confidence.tif")
    assert np.allclose(desk.pixels(sure), confidence, atol=1e-5)


def test_a_scene_of_other_bands_or_wavelengths_is_refused(scene, finished, call, tmp_path):
    from hypercover.scene.io.reading import open_scene
    from hypercover.scene.io.writing import write_scene
    from hypercover.scene.selection import select_bands

    whole = open_scene(scene.image)
    fewer = write_scene(select_bands(whole, drop="5-7"), tmp_path / "fewer.tif")
    moved = whole.cube.assign_coords(wavelength=("band", whole.wavelengths + 100))
    shifted = write_scene(whole.replace(cube=moved), tmp_path / "shifted.tif")
    bundle, target = finished.folder / "models" / "cnn", tmp_path / "map.tif"
    said = call("predict", bundle, fewer, "-o", target).sentence
    assert "5" in said
    assert "7" in said
    assert "band" in said
    assert "nm" in call("predict", bundle, shifted, "-o", target).sentence
    assert not target.exists()


def test_the_same_call_gives_the_same_figures(desk, scene, finished, tmp_path):
    # With as many threads as the first: they decide in which order numbers are added.
    again = desk.shell("run", finished.path, "-o", tmp_path / "again")
    assert again.returncode == 0, again.stderr
    assert desk.figures_of(tmp_path / "again") == desk.figures(finished.metrics)


def test_a_changed_run_cut_short_does_not_pass_for_the_one_before(
    desk, scene, call, tmp_path
):
    from hypercover.experiment.config.experiment_file import load_experiment
    from hypercover.experiment.run import run_experiment

    models = {"svm": {"kind": "svm"}}
    path = desk.experiment(scene, tmp_path, models=models, map=False)
    assert call("run", path, "-o", tmp_path / "run").code == 0
    changed = load_experiment(path).model_copy(update={"seed": 9})

    def stop(_event):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_experiment(changed, tmp_path / "run", progress=stop)
    for verb in ("report", "compare"):
        assert "metrics.json" in call(verb, tmp_path / "run").sentence
    assert not (tmp_path / "run" / "report.html").exists()


def test_only_the_best_is_mapped_if_so_asked(desk, scene, call, tmp_path):
    """And a map of another experiment in the same folder does not stay behind."""
    models = {name: desk.models[name] for name in ("svm", "forest")}
    path = desk.experiment(scene, tmp_path, models=models)
    run = tmp_path / "run"
    assert call("run", path, "-o", run).code == 0
    assert len(list((run / "maps").glob("*.tif"))) == 6
    answer = call("run", path, "-o", run, "--set", "map=best")
    best = json.loads((run / "metrics.json").read_text())["best"]
    assert [line for line in answer.out.splitlines() if line.startswith("Map: ")] == [
        f"Map: {run}/maps/{best}.tif"
    ]
    assert sorted(path.name for path in (run / "maps").glob("*.tif")) == [
        f"{best}-check.tif",
        f"{best}-confidence.tif",
        f"{best}.tif",
    ]
    answer = call("run", path, "-o", run, "--set", "map=false")
    assert "Map: " not in answer.out
    assert list((run / "maps").iterdir()) == []
    assert not (run / "figures" / f"map-{best}.png").exists()


def test_a_seed_from_the_prompt_stands_for_that_of_the_file(desk, scene, call, tmp_path):
    path = desk.experiment(scene, tmp_path, models={"svm": desk.models["svm"]}, map=False)
    assert call("run", path, "-o", tmp_path / "a", "--seed", 7).code == 0
    assert call("run", path, "-o", tmp_path / "b", "--set", "seed=7").code == 0
    split = [(tmp_path / name / "split.tif").read_bytes() for name in "ab"]
    assert split[0] == split[1]
    assert json.loads((tmp_path / "a" / "metrics.json").read_text())["seed"] == 7
