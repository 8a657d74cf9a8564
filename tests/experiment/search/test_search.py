"""Searching a small scene: against scikit-learn, cell for cell, and again after any change."""

import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import yaml
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from hypercover.classifiers.svm import svm_cross_validation as engine
from hypercover.errors import CallError, RunError, SplitError
from hypercover.experiment.config.experiment_file import load_experiment
from hypercover.experiment.run import run_experiment, run_search
from hypercover.experiment.search import search_problem
from hypercover.experiment.search.search_scaling import measure_scaling, scaling_csv
from hypercover.features.nwfe import NWFE
from hypercover.files import read_checksummed
from hypercover.scene.grid import Grid, with_grid
from hypercover.scene.io.writing import write_labels, write_scene
from hypercover.scene.legend import Legend
from hypercover.scene.samples import Samples
from hypercover.scene.scene import Scene
from hypercover.splits.folds import BlockFolds, RandomFolds

ROWS, COLS, BANDS = 40, 48, 6
GRID = {"C": [1, 10], "gamma_scale": [0.5, 2.0], "folds": 4, "size": 6, "guard": 2}


def cube_and_labels():
    """Three classes in squares of 8 pixels, blurred into each other."""
    chance = np.random.default_rng(0)
    field = np.add.outer(np.arange(ROWS) // 8, np.arange(COLS) // 8)
    labels = (1 + field % 3).astype(np.uint8)
    spectra = chance.uniform(100, 300, (4, BANDS))
    drift = np.linspace(0, 60, COLS)[None, :, None]
    cube = spectra[labels] + drift + chance.normal(0, 60, (ROWS, COLS, BANDS))
    labels[chance.random(labels.shape) < 0.5] = 0
    return np.moveaxis(cube, -1, 0).astype(np.float32), labels


@pytest.fixture(scope="module")
def fields(tmp_path_factory):
    """Write the scene; return a maker of experiments on it."""
    folder = tmp_path_factory.mktemp("fields")
    cube, labels = cube_and_labels()
    scene = Scene(
        with_grid(xr.DataArray(cube, dims=("band", "y", "x")), Grid(ROWS, COLS)),
        name="cube",
    )
    write_scene(scene, folder / "cube.tif")
    legend = Legend.of({1: "Corn", 2: "Meadow", 3: "Woods"})
    write_labels(labels, legend, scene.grid, folder / "labels.tif")

    def made(**changes):
        document = {
            "name": "fields",
            "seed": 3,
            "scene": {"path": "cube.tif", "labels": "labels.tif"},
            "split": {"kind": "blocks", "size": 8, "train": 0.5, "guard": 1},
            "models": {"svm": {"kind": "svm"}},
            "search": GRID,
            "map": False,
        }
        search = GRID | changes.pop("search", {})
        path = folder / "fields.yaml"
        path.write_text(yaml.safe_dump(document | changes | {"search": search}))
        return load_experiment(path)

    made.labels, made.cube = labels, cube
    return made


@pytest.fixture(scope="module")
def searched(fields, tmp_path_factory):
    """Search all labelled pixels once, undisturbed."""
    folder = tmp_path_factory.mktemp("searched")
    return folder, run_search(fields(search={"on": "all"}), folder)


@pytest.fixture
def rows_done(monkeypatch):
    """Count the rows that are really worked at: gamma and the C that were asked for."""
    done = []
    real = engine.cross_validate_gamma

    def counted(*given, gamma, C, **options):
        done.append((gamma, tuple(C)))
        return real(*given, gamma=gamma, C=C, **options)

    monkeypatch.setattr(engine, "cross_validate_gamma", counted)
    return done


def outcome(found):
    """What must be the same however often a search was interrupted."""
    return [(table["accuracy"], table["best"]["C"]) for table in found["tables"]]


def expected(folds, spectra, gamma, C, *, nwfe=None):
    """Right held-out samples by scikit-learn, everything fitted fold by fold where asked."""
    labels, right = folds.samples.labels, 0
    whole = StandardScaler().fit(spectra)
    for train, test in folds:
        steps = [SVC(C=C, gamma=gamma)]
        if nwfe:
            steps = [StandardScaler(), NWFE(nwfe), *steps]
        seen = spectra if nwfe else whole.transform(spectra)
        model = make_pipeline(*steps).fit(seen[train], labels[train])
        right += np.count_nonzero(model.predict(seen[test]) == labels[test])
    return right / folds.scored


@pytest.mark.parametrize("nwfe", [None, 3])
def test_every_cell_is_that_of_scikit_learn(fields, searched, tmp_path, nwfe):
    found = searched[1]
    if nwfe:
        models = {"svm": {"kind": "svm", "nwfe": nwfe}}
        found = run_search(fields(models=models, search={"on": "all"}), tmp_path)
    samples = Samples.of(fields.labels)
    spectra = fields.cube[:, samples.rows, samples.cols].T.astype(np.float64)
    makers = {"random": RandomFolds(4), "blocks": BlockFolds(4, size=6, guard=2)}
    assert [table["kind"] for table in found["tables"]] == list(makers)
    for table in found["tables"]:
        folds = makers[table["kind"]].folds(samples, seed=3)
        assert table["scored"] == folds.scored
        assert table["folds"] == [fold.to_json() for fold in folds.parts]
        for row, gamma in enumerate(table["gamma"]):
            for column, cost in enumerate(table["C"]):
                right = expected(folds, spectra, gamma, cost, nwfe=nwfe)
                assert table["accuracy"][row][column] == pytest.approx(right, abs=0.0011)


def test_gammas_are_multiples_of_the_usual_one(fields, searched):
    samples = Samples.of(fields.labels)
    spectra = fields.cube[:, samples.rows, samples.cols].T.astype(np.float64)
    usual = SVC(gamma="scale").fit(StandardScaler().fit_transform(spectra), samples.labels)
    for table in searched[1]["tables"]:
        assert table["gamma"] == pytest.approx([0.5 * usual._gamma, 2 * usual._gamma])
        assert table["scale"] == [0.5, 2.0]


def test_a_search_leaves_its_files(searched):
    folder, found = searched
    assert read_checksummed((folder / "search.json").read_bytes()) == found
    assert len((folder / "search.csv").read_text().splitlines()) == 9
    for by in ("random", "blocks"):
        assert (folder / "figures" / f"search-svm-{by}.png").stat().st_size > 5000
    assert not (folder / "report.html").exists()
    assert not list(folder.rglob("*.part*"))
    for table in found["tables"]:
        assert 0 < table["wall_seconds"] < 100
        assert table["serial_seconds"] == pytest.approx(60 * np.sum(table["minutes"]))


def test_the_training_pixels_alone_are_searched_unless_told_otherwise(fields, tmp_path):
    experiment = fields()
    found = run_search(experiment, tmp_path)
    run_experiment(experiment, tmp_path)
    split = json.loads((tmp_path / "metrics.json").read_text())["split"]
    assert {table["samples"] for table in found["tables"]} == {split["train"]["count"]}


def test_doing_it_again_does_nothing(fields, searched, rows_done):
    folder, before = searched
    assert run_search(fields(search={"on": "all"}), folder) == before
    assert rows_done == []


def test_a_larger_grid_takes_over_the_cells_of_a_smaller_one(fields, tmp_path, rows_done):
    small = run_search(fields(search={"by": ["random"]}), tmp_path)
    assert [costs for _, costs in rows_done] == [(1.0, 10.0)] * 2
    rows_done.clear()
    wider = {"by": ["random"], "C": [1, 10, 100], "gamma_scale": [0.5, 1.0, 2.0]}
    large = run_search(fields(search=wider), tmp_path)["tables"][0]
    assert [costs for _, costs in rows_done] == [(100.0,), (1.0, 10.0, 100.0), (100.0,)]
    kept = [large["accuracy"][row][:2] for row in (0, 2)]
    assert kept == small["tables"][0]["accuracy"]


@pytest.mark.parametrize(
    ("nwfe", "left"), [(None, 1), (2, 2)], ids=["a row", "folds of a row"]
)
def test_what_breaks_is_done_again_and_nothing_else(
    fields, tmp_path, monkeypatch, nwfe, left
):
    model = {"kind": "svm"} | ({"nwfe": nwfe} if nwfe else {})
    grid = {"gamma_scale": [1.0]} if nwfe else {"by": ["random", "blocks"]}
    experiment = fields(models={"svm": model}, search={"by": ["random"]} | grid)
    whole = run_search(experiment, tmp_path / "whole")
    real, calls = engine.cross_validate_gamma, []

    def breaks(*given, **options):
        calls.append(options["gamma"])
        if len(calls) == 3:
            raise MemoryError
        return real(*given, **options)

    monkeypatch.setattr(engine, "cross_validate_gamma", breaks)
    with pytest.raises(RunError, match="MemoryError"):
        run_search(experiment, tmp_path / "broken")
    assert not (tmp_path / "broken" / "search.json").exists()
    before = len(calls)
    found = run_search(experiment, tmp_path / "broken")
    assert len(calls) - before == left
    assert outcome(found) == outcome(whole)


def test_damaged_or_lost_files_are_made_again(fields, tmp_path, rows_done):
    models = {"svm": {"kind": "svm", "nwfe": 2}}
    experiment = fields(models=models, search={"by": ["random"], "gamma_scale": [1.0]})
    before = run_search(experiment, tmp_path)
    home = tmp_path / "search"
    assert len(rows_done) == 4
    for path in [
        *home.glob("cells-*"),
        *home.glob("preprocessing-*"),
        *home.glob("tasks/*-1.0.json"),
    ]:
        path.write_bytes(path.read_bytes()[:100])
    (tmp_path / "search.csv").unlink()
    (tmp_path / "figures" / "search-svm-random.png").unlink()
    assert outcome(run_search(experiment, tmp_path)) == outcome(before)
    assert len(rows_done) == 8
    assert (tmp_path / "search.csv").exists()
    assert (tmp_path / "figures" / "search-svm-random.png").exists()


def test_two_processes_come_to_the_same(fields, searched, tmp_path):
    found = run_search(fields(search={"on": "all"}), tmp_path, workers=2)
    assert outcome(found) == outcome(searched[1])


def test_a_run_that_searches_takes_the_best_cell_of_a_search(fields, tmp_path, rows_done):
    table = run_search(fields(), tmp_path)["tables"][1]
    rows_done.clear()
    model = {"kind": "svm", "C": "search", "gamma": "search"}
    metrics = run_experiment(fields(models={"svm": model}), tmp_path)
    assert rows_done == []
    chosen = metrics["models"]["svm"]["search"]
    assert chosen["kind"] == table["kind"] == "blocks"
    assert chosen["accuracy"] == table["accuracy"]
    assert chosen["best"] == table["best"]
    taken = metrics["models"]["svm"]["search_seconds"]
    assert 0 < taken == table["wall_seconds"] < metrics["models"]["svm"]["train_seconds"]
    card = json.loads((tmp_path / "models" / "svm" / "model.json").read_text())
    assert card["settings"]["C"] == table["best"]["C"]
    assert card["settings"]["gamma"] == pytest.approx(table["best"]["gamma"])
    said = "C and gamma by cross-validation"
    assert metrics["models"]["svm"]["description"].endswith(said)
    plain = {"kind": "svm", "C": table["best"]["C"], "gamma": table["best"]["gamma"]}
    again = run_experiment(fields(models={"svm": plain}), tmp_path / "plain")
    one, other = (each["models"]["svm"]["confusion"] for each in (metrics, again))
    assert one == other
    assert "search" not in again["models"]["svm"]


@pytest.mark.parametrize(
    ("model", "costs", "gammas"),
    [
        ({"C": "search"}, [1.0, 10.0], 1),
        ({"C": "search", "gamma": "auto"}, [1.0, 10.0], [1 / BANDS]),
        ({"C": "search", "gamma": 0.3}, [1.0, 10.0], [0.3]),
        ({"gamma": "search"}, [100.0], 2),
        ({"gamma": "search", "C": 7}, [7.0], 2),
    ],
)
def test_only_what_is_searched_is_a_grid(fields, tmp_path, model, costs, gammas):
    split = {"kind": "random", "train": 0.5}
    experiment = fields(models={"svm": {"kind": "svm"} | model}, split=split)
    chosen = run_experiment(experiment, tmp_path)["models"]["svm"]["search"]
    assert chosen["kind"] == "random"
    assert chosen["searched"] == [
        name for name in ("C", "gamma") if model.get(name) == "search"
    ]
    assert chosen["C"] == costs
    assert len(chosen["gamma"]) == gammas if isinstance(gammas, int) else True
    assert chosen["gamma"] == gammas if isinstance(gammas, list) else True


def test_each_split_and_seed_chooses_for_itself(fields, tmp_path):
    model = {"kind": "svm", "C": "search"}
    beside = {"random": {"kind": "random", "train": 0.4}}
    experiment = fields(models={"svm": model}, beside=beside, search={"by": ["random"]})
    metrics = run_experiment(experiment, tmp_path)
    counts = [
        (part["models"]["svm"]["search"]["samples"], part["split"]["train"]["count"])
        for part in (metrics, metrics["beside"]["random"])
    ]
    assert counts[0][0] == counts[0][1] != counts[1][0] == counts[1][1]


def test_image_features_are_searched_as_the_model_sees_them(fields, tmp_path):
    models = {"svm": {"kind": "svm", "features": "few"}}
    experiment = fields(models=models, features={"few": "pca:2"}, search={"by": ["random"]})
    found = run_search(experiment, tmp_path)["tables"][0]
    plain = run_search(fields(search={"by": ["random"]}), tmp_path / "plain")["tables"][0]
    assert found["samples"] == plain["samples"]
    assert found["accuracy"] != plain["accuracy"]


def test_the_report_shows_a_search_made_before_or_after_the_run(fields, tmp_path):
    experiment = fields(search={"by": ["random"]})
    for order in ((run_search, run_experiment), (run_experiment, run_search)):
        folder = tmp_path / order[0].__name__
        for step in order:
            step(experiment, folder)
        assert 'id="search"' in (folder / "report.html").read_text()


def test_what_cannot_be_searched_is_refused_before_anything_is_written(fields, tmp_path):
    folder = tmp_path / "run"
    rare = fields(split={"kind": "random", "train": 3}, search={"folds": 4})
    with pytest.raises(
        SplitError, match=r"Class 1 \(Corn\) has 3 samples, fewer than the 4"
    ):
        run_search(rare, folder)
    with pytest.raises(CallError, match="NWFE cannot make 9 features from 6 bands"):
        run_search(fields(models={"svm": {"kind": "svm", "nwfe": 9}}), folder)
    crowded = fields(models={"svm": {"kind": "svm", "C": "search"}}, search={"folds": 900})
    with pytest.raises(SplitError, match="fewer than the 900 folds; use at most"):
        run_experiment(crowded, folder)
    assert not folder.exists()


def test_a_folder_of_another_experiment_is_refused(fields, searched, tmp_path):
    folder = tmp_path / "run"
    run_experiment(fields(), folder)
    before = sorted(path.stat().st_mtime_ns for path in folder.rglob("*"))
    for place in (folder, searched[0]):
        with pytest.raises(
            CallError, match=r"holds the experiment fields on .*; choose another"
        ):
            run_search(fields(name="other"), place)
    assert sorted(path.stat().st_mtime_ns for path in folder.rglob("*")) == before


def test_models_of_another_kind_have_no_grid(fields):
    experiment = fields(models={"svm": {"kind": "svm"}, "cnn": {"kind": "cnn"}})
    with pytest.raises(CallError, match="cnn is of kind cnn; name another model"):
        search_problem.searched_svm(experiment, "cnn")


def test_paths_of_a_search_lie_below_the_run(searched):
    folder = Path(searched[0])
    assert {path.name for path in folder.iterdir()} == {
        "figures",
        "search",
        "search.csv",
        "search.json",
    }


@pytest.mark.slow
def test_scaling_is_serial_processor_time_over_wall_time(fields, tmp_path):
    """The best cell by threads, all cells by processes; a second call measures nothing anew."""
    lines = []
    search = {"on": "all", "by": ["random"], "folds": 2, "gamma_scale": [1.0]}
    experiment = fields(search=search)
    rows = measure_scaling(experiment, tmp_path, [2], progress=lines.append)
    assert [(row.cells, row.workers) for row in rows] == [
        ("best", 1),
        ("best", 2),
        ("all", 1),
        ("all", 2),
    ]
    table = run_search(experiment, tmp_path / "plain")["tables"][0]
    for row in rows:
        assert (row.C, row.gamma) == (table["best"]["C"], table["best"]["gamma"])
        assert row.accuracy == table["best"]["accuracy"]
        serial = next(one for one in rows if (one.cells, one.workers) == (row.cells, 1))
        assert row.speed_up == pytest.approx(serial.processor_seconds / row.wall_seconds)
        assert row.efficiency == row.speed_up / row.workers
    assert len(lines) == 4
    assert measure_scaling(experiment, tmp_path, [1, 2], progress=lines.append) == rows
    assert len(lines) == 4
    head, *body = scaling_csv(rows).splitlines()
    assert head.split(",")[-2:] == ["speed_up", "efficiency"]
    assert len(body) == 4


def test_scaling_by_no_or_countless_workers_is_refused(fields, tmp_path):
    for workers in ([0], [5000]):
        with pytest.raises(CallError, match="must lie from 1 to 1024"):
            measure_scaling(fields(), tmp_path, workers)
    assert not list(tmp_path.iterdir())
