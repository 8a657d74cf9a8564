"""Experiment files: what is read, what is refused, and in which words."""

import pytest
import yaml

from hypercover.errors import CallError, ExperimentError, LabelError
from hypercover.experiment.config.experiment_file import (
    as_experiment,
    dump,
    load_experiment,
    parse,
)
from hypercover.experiment.config.schema import Experiment
from hypercover.features.chain import Chain
from hypercover.scene.io.class_tables import read_legend
from hypercover.scene.io.safe_parsers import parse_yaml


@pytest.fixture
def folder(tmp_path):
    for name in ("cube.npy", "labels.tif", "train.tif"):
        (tmp_path / name).write_bytes(b"")
    return tmp_path


def document(**changes):
    return {
        "name": "fields",
        "scene": {"path": "cube.npy", "labels": "labels.tif"},
        "split": {"kind": "blocks"},
        "models": {"svm": {"kind": "svm"}, "cnn": {"kind": "cnn", "window": 9}},
    } | changes


def test_defaults_and_paths_relative_to_the_file(folder):
    experiment = parse(document(), folder)
    assert experiment.scene.path == folder / "cube.npy"
    assert (experiment.split.size, experiment.split.train, experiment.split.guard) == (
        15,
        0.25,
        "auto",
    )
    assert experiment.window == 9
    assert list(experiment.draws("main")) == [0]


def test_a_path_a_mapping_and_an_experiment_are_the_same_experiment(folder, monkeypatch):
    (folder / "fields.yaml").write_text(yaml.safe_dump(document()))
    experiment = load_experiment(folder / "fields.yaml")
    assert as_experiment(experiment) is experiment
    assert as_experiment(str(folder / "fields.yaml")) == experiment
    monkeypatch.chdir(folder)
    assert as_experiment(document()) == experiment
    with pytest.raises(ExperimentError, match="experiment is not valid: models"):
        as_experiment(document(models={}))


def test_writing_and_reading_again_gives_the_same_experiment(folder):
    beside = {
        "fixed": {"kind": "masks", "train": "train.tif"},
        "random": {"kind": "random", "train": 50},
    }
    experiment = parse(
        document(
            beside=beside,
            repeats=3,
            map="best",
            split={"kind": "blocks", "validation": 0.2},
        ),
        folder,
    )
    dump(experiment, folder / "again.yaml")
    assert load_experiment(folder / "again.yaml") == experiment


def test_a_key_is_a_name_even_where_yaml_takes_it_for_a_truth(folder):
    path = folder / "fields.yaml"
    path.write_text(yaml.safe_dump(document() | {"map": True}) + "search: {on: all}\n")
    experiment = load_experiment(path)
    assert (experiment.search.on, experiment.map) == ("all", True)


FAULTS = [
    (
        {"split": {"kind": "block"}},
        "split.kind must be one of 'random', 'masks', 'blocks', 'fields', 'clusters', 'kfold', ",
    ),
    (
        {"split": {"kind": "blocks", "gard": 3}},
        "split.gard is an unknown key (did you mean guard?); allowed here: guard, kind, size, train, validation",
    ),
    (
        {"models": {"a": {"kind": "svm", "c": 1}}},
        "models.a.c is an unknown key; allowed here: C, class_weight, features, gamma, kind, nwfe, probability",
    ),
    (
        {"models": {"a": {"kind": "svm", "C": -1}}},
        "models.a.C should be greater than 0, got -1",
    ),
    (
        {"models": {"a": {"kind": "svm", "C": float("inf")}}},
        "models.a.C should be a finite number, got inf",
    ),
    (
        {"models": {"a": {"kind": "svm", "gamma": "find"}}},
        "models.a.gamma should be a valid number or should be 'scale', 'auto' or 'search', got 'find'",
    ),
    (
        {
            "models": {
                "a": {"kind": "sklearn", "estimator": "SVC", "parameters": {"C": "search"}}
            }
        },
        "models.a.parameters must give C a value: only the C and gamma of kind svm are searched",
    ),
    ({"search": {"C": []}}, "search.C must name at least one value, got []"),
    ({"search": {"gamma": []}}, "search.gamma must name at least one value, got []"),
    ({"search": {"C": [1, 1]}}, "search.C must name each value once, not 1.0 twice"),
    ({"search": {"gamma": [0.1, -1]}}, "search.gamma.1 should be greater than 0, got -1"),
    (
        {"search": {"by": ["rows"]}},
        "search.by.0 should be 'random', 'blocks' or 'clusters'",
    ),
    ({"search": {"folds": 1}}, "search.folds should be greater than or equal to 2, got 1"),
    (
        {"models": {"a": {"C": 1}}},
        "models.a.kind must be one of 'svm', 'cnn', 'sklearn', got None",
    ),
    ({"models": {}}, "models"),
    ({"repeats": 0}, "repeats should be greater than or equal to 1, got 0"),
    ({"map": "bst"}, "map should be a valid boolean or should be 'best', got 'bst'"),
    (
        {"name": "a b"},
        "name must be made of 1 to 64 letters from A to Z, digits, dots, dashes and "
        "underscores, the first a letter or a digit, got 'a b'",
    ),
    ({"models": {"../a": {"kind": "svm"}}}, "models.../a must be made of 1 to 64 letters"),
    (
        {"split": {"kind": "saved", "path": "labels.tif", "sha256": "A0"}},
        "split.sha256 must be a SHA-256: 64 digits from 0 to 9 and a to f, got 'A0'",
    ),
    ({"seed": "x"}, "seed should be a valid integer, got 'x'"),
    ({"scenes": {}}, "scenes is an unknown key (did you mean scene?)"),
    ({"scene": {"path": "gone.tif"}}, "scene.path: no file"),
    ({"scene": {"path": "a" * 300}}, "cannot be opened (File name too long)"),
    ({"split": {"kind": "masks", "train": "gone.tif"}}, "split.train: no file"),
    ({"beside": {"main": {"kind": "random"}}}, "main"),
    ({"map": "best"}, "validation"),
    (
        {"models": {"a": {"kind": "svm"}, "a-check": {"kind": "svm"}}},
        "the model 'a-check' would overwrite the check map of 'a'; rename it",
    ),
]


@pytest.mark.parametrize(("change", "words"), FAULTS)
def test_each_fault_is_named_with_its_place_and_what_is_allowed(folder, change, words):
    with pytest.raises(ExperimentError) as caught:
        parse(document(**change), folder)
    assert words in str(caught.value)


def test_all_faults_are_told_at_once(folder):
    with pytest.raises(ExperimentError, match=r"seed.*repeats|repeats.*seed"):
        parse(document(seed=-1, repeats="many"), folder)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name: [", "not valid YAML at line"),
        ("- 1\n- 2", "must be a mapping"),
        ("", "must be a mapping"),
        ("a: &a [1]\nb: *a", "alias"),
        ("name: !!python/object/apply:os.system [true]", "not valid YAML"),
        ("\x00", "not valid YAML"),
        ("[" * 20_000, "not valid YAML: a value cannot be read"),
        ("name: !!set {a, b}", "line 1: a value of the YAML type 'set' is not allowed"),
        ("name: a\nseed: !!omap [a: 1]", "line 2: a value of the YAML type 'omap'"),
        ("name: !!pairs [a: 1]", "a value of the YAML type 'pairs'"),
        ("!!set [a]", "a value of the YAML type 'set'"),
        ("name: !!binary aGk=", "a value of the YAML type 'binary'"),
        ("name: !!timestamp x", "a value of the YAML type 'timestamp'"),
        ("name: !own x", "a value of the YAML type '!own'"),
        ("!!map [a]", "a value of the YAML type 'map'"),
        ("seed: !!bool x", "not valid YAML: a value cannot be read"),
        ("seed: !!int ''", "not valid YAML: a value cannot be read"),
        ("seed: =", "a value of the YAML type 'value'"),
        ("? [a, b]\n: 1", "found unhashable key"),
        (f"seed: {'1' * 5000}", "not valid YAML: a value cannot be read"),
        (
            "name: a\nseed: 1\nname: b",
            "not valid YAML at line 1: the key name occurs twice",
        ),
        (
            "models:\n  cnn: {kind: cnn}\n  cnn: {kind: svm}",
            "line 2: the key cnn occurs twice",
        ),
    ],
)
def test_what_is_no_experiment_file_is_refused(tmp_path, text, words):
    path = tmp_path / "e.yaml"
    path.write_text(text)
    with pytest.raises(ExperimentError, match=words):
        load_experiment(path)


def test_binary_and_oversized_files_are_refused(tmp_path):
    path = tmp_path / "e.yaml"
    path.write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(ExperimentError, match="not text"):
        load_experiment(path)
    path.write_bytes(b"#" * (2**20 + 1))
    with pytest.raises(ExperimentError, match="larger than 1 MiB"):
        load_experiment(path)


def test_a_missing_experiment_names_the_built_in_ones(tmp_path):
    with pytest.raises(ExperimentError, match=r"nowhere\.yaml.*demo"):
        load_experiment(tmp_path / "nowhere.yaml")


def test_overrides_change_single_values_and_paths_follow_the_prompt(folder, monkeypatch):
    (folder / "e.yaml").write_text(yaml.safe_dump(document()))
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "other.npy").write_bytes(b"")
    monkeypatch.chdir(elsewhere)
    changes = ("models.svm.C=10", "split.guard=4", "scene.path=other.npy")
    experiment = load_experiment(folder / "e.yaml", changes)
    assert (experiment.models["svm"].C, experiment.split.guard) == (10, 4)
    assert experiment.scene.path == elsewhere / "other.npy"


@pytest.mark.parametrize(
    "change", ["seed", "=3", "seed.deep=1", "a..b=1", "seed=[", "seed.x.y=2"]
)
def test_an_override_that_makes_no_sense_is_refused(folder, change):
    (folder / "e.yaml").write_text(yaml.safe_dump(document(seed=1)))
    with pytest.raises(ExperimentError):
        load_experiment(folder / "e.yaml", (change,))


def test_every_key_is_known_to_its_spec():
    assert set(document()) <= set(Experiment.model_fields)


def test_a_date_is_a_text(folder):
    assert parse_yaml("name: 2001-99-99") == {"name": "2001-99-99"}
    assert parse(document(name="2026-11-30"), folder).name == "2026-11-30"


@pytest.mark.parametrize(
    "value", ["!!set {a}", "!!omap [a: 1]", "!!bool x", "!!binary aGk="]
)
def test_every_yaml_goes_through_one_loader(tmp_path, value):
    """Experiments, settings on the command line, class tables and chains of features."""
    with pytest.raises(ExperimentError, match="has no YAML value"):
        load_experiment("demo", [f"name={value}"])
    table = tmp_path / "classes.yaml"
    table.write_text(value)
    with pytest.raises(LabelError, match="is not a class table"):
        read_legend(table)
    with pytest.raises(CallError, match="is not a list"):
        Chain.parse(f"[{value}]")
