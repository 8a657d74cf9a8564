"""Image features in an experiment: asked for by name, computed once, kept with the model."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr

from hypercover.classifiers.bundle import load_bundle, save_bundle
from hypercover.classifiers.svm.svm_classifier import SVMClassifier
from hypercover.errors import CallError, ModelError, RunError, SceneError
from hypercover.experiment.config.builders import (
    build_classifier,
    describe_model,
    load_scene,
)
from hypercover.experiment.config.experiment_check import check_experiment
from hypercover.experiment.config.experiment_file import parse
from hypercover.experiment.config.schema import CNNSpec, SVMSpec
from hypercover.experiment.results.run_folder import RunFolder
from hypercover.experiment.tasks.experiment_plan import make_plan
from hypercover.experiment.tasks.run_context import (
    RunContext,
    load_chain,
    load_feature_scene,
    save_features,
)
from hypercover.features.chain import Chain
from hypercover.features.nwfe import NWFE
from hypercover.files import read_checksummed
from hypercover.prediction.map_prediction import predict_bundle_to_files
from hypercover.scene.scene import Scene

CLASSES = [
    {"code": 1, "name": "A", "color": "#000000"},
    {"code": 2, "name": "B", "color": "#ffffff"},
]


def make_scene(bands: int = 6) -> Scene:
    chance = np.random.default_rng(2)
    cube = chance.normal(size=(bands, 14, 15)) + np.add.outer(np.arange(14), np.arange(15))
    cube[:, 2, 3] = np.nan
    labels = np.repeat([1, 2], [7, 7]).astype(np.uint8)[:, None].repeat(15, axis=1)
    return Scene(xr.DataArray(cube, dims=("band", "y", "x")), labels)


def document(folder, **changes):
    path, scene = folder / "cube.npz", make_scene()
    if not path.exists():
        np.savez(path, cube=np.nan_to_num(scene.cube.values), labels=scene.labels)
    return {
        "name": "a",
        "scene": {
            "path": "cube.npz",
            "variable": "cube",
            "label_variable": "labels",
            "axes": "band,row,col",
        },
        "split": {"kind": "random", "train": 0.5},
        "features": {
            "few": "pca:3",
            "spatial": ["kpca:2", {"esdap": {"attributes": "area", "thresholds": [3, 9]}}],
            "idle": "mnf:2",
        },
        "models": {
            "raw": {"kind": "svm"},
            "svm": {"kind": "svm", "features": "spatial"},
            "pca": {"kind": "svm", "features": "few"},
        },
    } | changes


def experiment(folder, **changes):
    return parse(document(folder, **changes), folder)


@pytest.fixture
def kept(tmp_path):
    """A run folder that keeps the features ``two`` of a scene."""
    scene, run = make_scene(), RunFolder(tmp_path / "run")
    chain = Chain.parse("mnf:4,pca:2")
    stack = chain.fit_transform(scene)
    save_features(run, "two", chain, stack)
    return SimpleNamespace(scene=scene, run=run, chain=chain, stack=stack)


def test_kept_features_come_back_as_they_were(kept):
    again = load_feature_scene(kept.run, "two", kept.scene)
    np.testing.assert_array_equal(again.cube, kept.stack.cube)
    assert again.band_names == ("pca1", "pca2")
    assert again.labels is kept.scene.labels
    assert load_feature_scene(kept.run, "two", kept.scene) is again
    found = load_chain(kept.run, "two").transform(kept.scene)
    np.testing.assert_array_equal(found.cube, kept.stack.cube)


@pytest.mark.parametrize("small", [0, 2**26])
def test_a_large_stack_is_computed_where_it_is_written(small, tmp_path, monkeypatch):
    monkeypatch.setattr("hypercover.features.chain._SMALL_STACK", small)
    monkeypatch.setattr("hypercover.scene.scene._STRIP", 100)
    monkeypatch.setattr("hypercover.scene.scene._MOST_STRIP", 100)
    scene, run = make_scene(), RunFolder(tmp_path)
    assert len(list(scene.strips())) == 14
    chain, told = Chain.parse("mnf:4,pca:2"), []
    stack = chain.fit_stack(scene, progress=lambda *done: told.append(done))
    assert isinstance(stack.cube.variable._data, np.ndarray) == (small > 0)
    assert told
    save_features(run, "two", chain, stack)
    whole = Chain.parse("mnf:4,pca:2").fit_transform(scene)
    kept = load_feature_scene(run, "two", scene).cube
    np.testing.assert_array_equal(kept, whole.cube)
    assert kept.dtype == np.float32
    assert np.load(run.feature_files("two")[0]).tobytes() == kept.values.tobytes()


def test_a_stack_is_mapped_and_not_read(kept):
    base = load_feature_scene(kept.run, "two", kept.scene).cube.values
    while not isinstance(base, np.memmap):
        base = base.base
    assert not base.flags.writeable


def test_a_model_sees_its_features_or_else_the_bands(kept):
    context = RunContext(kept.run, None)
    vars(context)["scene"] = kept.scene
    assert context.model_scene(SVMSpec()) is kept.scene
    found = context.model_scene(SVMSpec(features="two"))
    np.testing.assert_array_equal(found.cube, kept.stack.cube)
    with pytest.raises(RunError, match="delete that folder and run the experiment again"):
        context.model_scene(SVMSpec(features="other"))


def cut(path):
    path.write_bytes(path.read_bytes()[:-40])


def overwritten_by(array):
    return lambda path: np.save(path, array)


@pytest.mark.parametrize(
    ("place", "damage"),
    [
        (0, cut),
        (0, lambda path: path.write_bytes(b"")),
        (0, lambda path: np.save(path, np.array([{}]), allow_pickle=True)),
        (0, overwritten_by(np.zeros((2, 14, 15)))),
        (0, overwritten_by(np.zeros((3, 14, 15), np.float32))),
        (0, overwritten_by(np.zeros((2, 15, 14), np.float32))),
        (1, cut),
        (1, lambda path: path.write_text("[1]")),
        (1, lambda path: path.write_text('{"names": 3}')),
        (1, lambda path: path.unlink()),
    ],
)
def test_damaged_features_are_refused(kept, place, damage):
    damage(kept.run.feature_files("two")[place])
    with pytest.raises(RunError, match="is missing or damaged"):
        load_feature_scene(kept.run, "two", kept.scene)


@pytest.mark.parametrize(
    ("place", "damage"),
    [
        (2, cut),
        (2, lambda path: path.unlink()),
        (1, lambda path: path.write_text("{}")),
        (1, lambda path: path.write_text(path.read_text().replace('"pca"', '"mnf"'))),
    ],
)
def test_a_damaged_chain_is_refused(kept, place, damage):
    damage(kept.run.feature_files("two")[place])
    with pytest.raises(RunError, match="is missing or damaged"):
        load_chain(kept.run, "two")


def test_only_what_models_use_is_computed_once(tmp_path):
    asked = experiment(tmp_path, repeats=3, beside={"b": {"kind": "blocks", "size": 4}})
    assert asked.used_features == ("few", "spatial")
    plan = make_plan(asked)
    names = [task.name for task in plan.tasks if task.name.startswith("features-")]
    assert names == ["features-few", "features-spatial"]
    for seed, split in ((0, "main"), (2, "b")):
        assert "features-spatial" in plan.task(f"train-{split}-{seed}-svm").needs
        assert plan.task(f"train-{split}-{seed}-raw").needs == (f"split-{split}-{seed}",)
    assert "features-spatial" in plan.task("map-svm").needs


def test_another_chain_is_computed_again_with_what_depends_on_it(tmp_path):
    before = make_plan(experiment(tmp_path)).fingerprints
    changed = document(tmp_path)["features"] | {"few": "pca:2"}
    after = make_plan(experiment(tmp_path, features=changed)).fingerprints
    redone = {name for name in before if before[name] != after[name]}
    assert redone == {
        *("features-few", "train-main-0-pca", "train-all-0-pca", "map-pca"),
        *("reduce", "classes", "report"),
    }
    models = document(tmp_path)["models"] | {
        "pca": {"kind": "svm", "features": "few", "C": 3}
    }
    other = make_plan(experiment(tmp_path, models=models)).fingerprints
    assert other["features-few"] == before["features-few"]
    assert other["features-spatial"] == before["features-spatial"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"features": {"few": "pca:3", "spatial": "kpca:two"}},
            "The features 'spatial' of the experiment: Cannot read kpca:two",
        ),
        ({"features": {"few": "umap:3", "spatial": "pca"}}, "Unknown image feature 'umap'"),
        ({"features": {"few": "pca:7", "spatial": "pca"}}, "7 components from 6 bands"),
        (
            {"features": {"few": "kpca:2,mnf:3", "spatial": "pca"}},
            "3 components from 2 bands",
        ),
        (
            {"models": {"a": {"kind": "svm", "nwfe": 7}}},
            "NWFE cannot make 7 features from 6",
        ),
        (
            {"models": {"a": {"kind": "svm", "nwfe": 4, "features": "few"}}},
            "NWFE cannot make 4 features from 3 bands; use at most 3",
        ),
    ],
)
def test_what_cannot_be_is_refused_before_anything_runs(tmp_path, changes, said):
    with pytest.raises(CallError, match=said):
        check_experiment(experiment(tmp_path, **changes))


def test_features_that_fit_are_let_through(tmp_path):
    models = {
        "svm": {"kind": "svm", "nwfe": 6, "features": "spatial"},
        "cnn": {"kind": "cnn", "window": 5, "features": "few"},
    }
    check_experiment(experiment(tmp_path, models=models))


def test_features_beyond_memory_are_refused_before_anything_runs(tmp_path, monkeypatch):
    asked = experiment(tmp_path)
    load_scene(asked.scene)
    monkeypatch.setattr("hypercover.memory.available_bytes", lambda: 900)
    with pytest.raises(SceneError, match=r"A stack of 6 features .* computed whole"):
        check_experiment(asked)


def test_models_are_described_with_their_features():
    assert describe_model(SVMSpec()) == "RBF SVM on standardised spectra"
    described = describe_model(SVMSpec(features="few", nwfe=9), "pca:12")
    assert described == (
        "RBF SVM on standardised image features pca:12, reduced to 9 features by NWFE"
    )
    described = describe_model(CNNSpec(features="few", window=5), "pca:3")
    assert described == "CNN 'default' on 5 × 5 windows of the image features pca:3"


def test_nwfe_and_probabilities_reach_the_classifier():
    svm = build_classifier(SVMSpec(nwfe=7, probability=True), seed=0)
    assert isinstance(svm.reduction, NWFE)
    assert svm.reduction.n_components == 7
    assert svm.probability
    assert build_classifier(SVMSpec(), seed=0).reduction is None


@pytest.fixture
def model(tmp_path):
    """A saved model on two features of six bands, and the scene it was made of."""
    scene = make_scene()
    chain = Chain.parse([{"kpca": {"components": 2, "sample": 50}}])
    stack = chain.fit_transform(scene)
    svm = SVMClassifier().fit(
        stack.cube.values[:, scene.valid].T, scene.labels[scene.valid]
    )
    card = {"bands": scene.bands.tolist(), "legend": CLASSES}
    save_bundle(tmp_path / "model", svm, card, features=chain.state())
    return SimpleNamespace(path=tmp_path / "model", scene=scene, stack=stack, svm=svm)


def test_a_bundle_carries_the_fitted_chain(model):
    bundle = load_bundle(model.path)
    again = Chain.from_state(*bundle.features)
    np.testing.assert_array_equal(again.transform(model.scene).cube, model.stack.cube)
    assert bundle.classifier.n_features_in_ == 2


def test_a_model_on_features_maps_an_image_of_the_bands(model, tmp_path):
    import rasterio

    said = []
    more = model.scene.cube.values[[0, 1, 2, 3, 4, 5, 5]]
    wider = Scene(xr.DataArray(more, dims=("band", "y", "x")))
    report = lambda done, total: said.append(done / total)  # noqa: E731
    predict_bundle_to_files(model.path, wider, tmp_path / "map.tif", progress=report)
    with rasterio.open(tmp_path / "map.tif") as file:
        found = file.read(1)
    expected = model.svm.predict(model.stack.cube.values[:, model.scene.valid].T)
    np.testing.assert_array_equal(found[model.scene.valid], expected)
    assert found[2, 3] == 0
    assert said == sorted(said)
    assert said[-1] == 1.0


def test_an_image_whose_features_do_not_fit_in_memory_is_refused(
    model, tmp_path, monkeypatch
):
    monkeypatch.setattr("hypercover.memory.available_bytes", lambda: 100)
    with pytest.raises(SceneError, match="cut the image smaller, or use a larger machine"):
        predict_bundle_to_files(model.path, model.scene, tmp_path / "map.tif")
    assert not (tmp_path / "map.tif").exists()


@pytest.mark.parametrize(
    "change",
    [
        lambda features: features["fitted"][0].update(components=1),
        lambda features: features.update(steps=[{"svd": 2}]),
        lambda features: features.clear(),
        lambda features: features.update(steps="kpca:2"),
    ],
)
def test_a_bundle_with_other_features_is_refused(model, tmp_path, change):
    path = model.path / "model.json"
    written = read_checksummed(path.read_bytes())
    change(written["features"])
    path.write_text(json.dumps(written))
    with pytest.raises(CallError):
        predict_bundle_to_files(model.path, model.scene, tmp_path / "map.tif")
    assert not (tmp_path / "map.tif").exists()


def test_an_image_without_the_bands_is_refused(model, tmp_path):
    fewer = model.scene.take_bands([0, 1, 2])
    with pytest.raises(ModelError, match="it lacks bands 4-6"):
        predict_bundle_to_files(model.path, fewer, tmp_path / "map.tif")
