"""Comparing runs: which models, seeds and test pixels are compared, and which are refused."""

import csv
import io
import json

import numpy as np
import pytest
import rasterio

from hypercover.errors import CallError
from hypercover.evaluation.comparison import compare_models
from hypercover.evaluation.intervals import BlockUnits
from hypercover.evaluation.predictions import Predictions
from hypercover.experiment.results.run_comparison import compare_runs
from hypercover.experiment.results.run_folder import RunFolder
from hypercover.files import write_json
from hypercover.scene.grid import Grid
from hypercover.scene.samples import Samples
from hypercover.splits.split import Split

LEGEND = [
    {"code": code, "name": name, "color": "#112233"}
    for code, name in ((1, "Corn"), (2, "Woods"), (3, "Oats"))
]
GRID = Grid(24, 24, None, (30.0, 0.0, 500_000.0, 0.0, -30.0, 4_500_000.0))
LABELS = np.random.default_rng(5).integers(1, 3, (6, 6)).repeat(4, 0).repeat(4, 1)


def drawn(seed, labels=LABELS):
    """Test three quarters of the pixels, others under every seed."""
    return np.where(np.random.default_rng(seed).random(labels.shape) < 0.75, labels, 0)


def run(
    folder,
    models,
    seeds=(0,),
    *,
    masks=drawn,
    kind="blocks",
    size=6,
    beside=(),
    curve=(),
    gap=False,
    codes=None,
):
    """Leave a run as far as a comparison needs it: ``models`` are shares that are right."""
    where = RunFolder(folder)
    made = {"kind": kind, "settings": {"size": size}}
    told = {
        name: {"repeats": [{"seed": seed, "overall_accuracy": 0.5} for seed in seeds]}
        for name in models
    }
    for split in ("main", *beside, *curve):
        for at, seed in enumerate(seeds):
            mask = masks(seed)
            Split.from_parts(train=mask == 0, test=mask > 0).save(
                *where.split(split, at), grid=GRID
            )
            for number, (name, share) in enumerate(models.items()):
                rng = np.random.default_rng([number, seed])
                test = Samples.of(mask)
                right = rng.random(len(test)) < share
                taken = np.where(right, test.labels, 3 - test.labels)
                Predictions.of(test, taken, shape=mask.shape).recoded(codes or {}).save(
                    where.predictions(split, seed, name)
                )
    part = {"split": made, "models": told}
    legend = [row | {"code": (codes or {}).get(row["code"], row["code"])} for row in LEGEND]
    document = {
        "scene": {"simulated": True},
        "legend": legend,
        **part,
        "beside": dict.fromkeys(beside, part),
        "learning_curve": dict.fromkeys(curve, part),
    }
    if gap:
        document["gap"] = {"window": 9, "rows": []}
    write_json(where.metrics, document)
    return folder


@pytest.fixture
def three(tmp_path):
    models = {"svm": 0.7, "forest": 0.72, "cnn": 0.9}
    return run(tmp_path / "fields", models, seeds=(3, 4), beside=("random",))


def test_all_pairs_of_one_run(three):
    found = compare_runs([three])
    names = [(pair.first.label, pair.second.label) for pair in found.pairs]
    assert names == [("svm", "forest"), ("svm", "cnn"), ("forest", "cnn")]
    assert found.seeds == (3, 4)
    assert found.mark == "simulated scene"
    assert found.notes == ("Without a test pixel, so not compared: Oats.",)
    answers = [
        [
            Predictions.load(RunFolder(three).predictions("main", seed, name))
            for seed in (3, 4)
        ]
        for name in ("svm", "cnn")
    ]
    expected = compare_models(*answers, units=BlockUnits(6), codes=[1, 2, 3])
    assert found.pairs[1].comparison.to_json() == expected.to_json()


def test_models_and_splits_that_are_asked_for(three):
    found = compare_runs([three], models=["cnn", "svm"], split="random")
    assert [(p.first.label, p.second.label) for p in found.pairs] == [("svm", "cnn")]
    assert found.split == "random"


@pytest.mark.parametrize(
    ("called", "options"),
    [
        ("blocks", {}),
        ("blocks (main)", {"beside": ("blocks",)}),
        ("overlap-free", {"beside": ("random", "centre-free"), "gap": True}),
    ],
)
def test_the_main_split_answers_to_the_name_it_has_in_tables(tmp_path, called, options):
    folder = run(tmp_path / "run", {"svm": 0.7, "cnn": 0.9}, **options)
    main, named = (compare_runs([folder], split=split) for split in ("main", called))
    assert named.pairs[0].comparison.to_json() == main.pairs[0].comparison.to_json()
    for name in options.get("beside", ()):
        assert compare_runs([folder], split=name).split == name


def test_shares_of_a_learning_curve_are_compared_too(tmp_path):
    folder = run(tmp_path / "run", {"svm": 0.7, "cnn": 0.9}, curve=("train-0.1",))
    assert len(compare_runs([folder], split="train-0.1").pairs) == 1
    with pytest.raises(
        CallError, match=r"'train-0.3'; it has main \(blocks\), train-0.1\."
    ):
        compare_runs([folder], split="train-0.3")


def test_models_of_several_runs_carry_the_name_of_their_run(three, tmp_path):
    other = run(tmp_path / "other", {"svm": 0.8}, seeds=(3, 4, 5))
    found = compare_runs([three, other], models=["svm"])
    (pair,) = found.pairs
    assert (pair.first.label, pair.second.label) == ("fields/svm", "other/svm")
    assert found.seeds == (3, 4)
    assert found.notes[0] == "Not all have seed 5, so these were left out."


def test_runs_of_one_name_are_told_apart_by_their_paths(three, tmp_path):
    other = run(tmp_path / "b" / "fields", {"svm": 0.8}, seeds=(3, 4))
    (pair,) = compare_runs([three, other], models=["svm"]).pairs
    assert pair.first.label == f"{three}/svm"
    assert pair.second.label == f"{other}/svm"


def test_what_is_written_says_the_same(three, tmp_path):
    found = compare_runs([three], models=["svm", "cnn"])
    files = found.write(tmp_path / "out")
    assert [file.name for file in files] == [
        "comparison.json",
        "comparison.csv",
        "agreement-svm-cnn.tif",
    ]
    told = json.loads(files[0].read_text())
    assert told["pairs"][0]["first"] == {"model": "svm", "run": str(three)}
    rows = list(csv.DictReader(io.StringIO(files[1].read_text())))
    assert len(rows) == 3 + 3 * 3
    assert rows[0]["measure"] == "overall_accuracy"
    value = told["pairs"][0]["overall_accuracy"]["difference"]
    assert float(rows[0]["difference"]) == pytest.approx(value, rel=1e-5)
    oats = [row for row in rows if row["name"] == "Oats"]
    assert {row["difference"] for row in oats} == {""}
    with rasterio.open(files[2]) as map_file:
        assert map_file.transform[:6] == GRID.transform
        assert map_file.tags()["HYPERCOVER_SIMULATED"] == "yes"
        shown = map_file.read(1)
    np.testing.assert_array_equal(shown > 0, drawn(3) > 0)
    assert "only cnn right" in (tmp_path / "out/agreement-svm-cnn.qml").read_text()
    assert "only svm right" in files[2].with_name(f"{files[2].name}.aux.xml").read_text()


def other_labels(seed):
    return drawn(seed, np.where(LABELS == 1, 2, np.where(np.arange(24) < 3, 1, LABELS)))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"seeds": (7,)},
            "no seed in common: .*fields has seeds 3, 4 and .*other has seed 7",
        ),
        (
            {"masks": lambda seed: drawn(seed + 9)},
            r"under seed 3 \d+ and \d+ test pixels, "
            r"\d+ in common; compare runs of the same",
        ),
        ({"masks": lambda seed: np.where(drawn(seed) == 0, LABELS, 0)}, "none in common"),
        ({"masks": other_labels}, r"\d+ of these with other labels"),
        (
            {"masks": lambda seed: drawn(seed)[:20]},
            "scenes have 24 × 24 and 20 × 24 pixels",
        ),
        (
            {"masks": lambda seed: drawn(seed + 9), "size": 9},
            r"in common \(splits with size 6 and 9\)",
        ),
        (
            {"masks": lambda seed: drawn(seed + 9), "kind": "random"},
            r"\(splits of the kinds blocks and random\)",
        ),
    ],
)
def test_runs_that_tested_other_pixels_are_refused_and_told_how(
    three, tmp_path, options, sentence
):
    if "masks" in options and options["masks"](3).shape != LABELS.shape:
        other = run_on(tmp_path / "other", options["masks"], Grid(20, 24))
    else:
        other = run(tmp_path / "other", {"svm": 0.8}, **{"seeds": (3, 4)} | options)
    with pytest.raises(CallError, match=sentence):
        compare_runs([three, other])


def run_on(folder, masks, grid):
    """Leave a run on a scene of another size."""
    where = RunFolder(folder)
    for seed in (3, 4):
        test = Samples.of(masks(seed))
        Predictions.of(test, test.labels, shape=grid.shape).save(
            where.predictions("main", seed, "svm")
        )
    told = {"svm": {"repeats": [{"seed": seed} for seed in (3, 4)]}}
    write_json(where.metrics, {"models": told})
    return folder


def test_runs_cut_short_are_refused(three, tmp_path):
    with pytest.raises(CallError, match=r"No metrics\.json in"):
        compare_runs([tmp_path / "nothing"])
    RunFolder(three).predictions("main", 4, "cnn").unlink()
    with pytest.raises(CallError, match=r"main-4-cnn\.npz are missing; run the experiment"):
        compare_runs([three])
    RunFolder(three).metrics.write_text("{")
    with pytest.raises(CallError, match="is not a valid result file"):
        compare_runs([three])


def test_names_that_are_not_there_are_refused(three, tmp_path):
    with pytest.raises(
        CallError, match=r"no split named 'x'; it has main \(blocks\), random"
    ):
        compare_runs([three], split="x")
    with pytest.raises(CallError, match="No model is named 'tree' in"):
        compare_runs([three], models=["svm", "tree"])
    with pytest.raises(CallError, match="at least two models, found 1"):
        compare_runs([three], models=["svm"])
    with pytest.raises(CallError, match="at least two models, found 1"):
        compare_runs([run(tmp_path / "one", {"svm": 0.8})] * 2)


def test_folds_of_a_seed_are_put_together(tmp_path):
    """Four draws are two seeds of two folds each, which test every pixel once."""

    def fold(draw):
        return np.where((np.arange(24) < 12) == (draw % 2 == 0), LABELS, 0)

    folder = run(tmp_path / "a", {"svm": 0.7, "cnn": 0.8}, seeds=(4, 5, 6, 7), masks=fold)
    path = RunFolder(folder).metrics
    document = json.loads(path.read_text())
    for model in document["models"].values():
        model["folds"] = 2
    write_json(path, document)
    found = compare_runs([folder])
    assert found.seeds == (4, 5)
    (pair,) = found.pairs
    assert pair.comparison.pixels == (LABELS.size, LABELS.size)


def test_a_test_of_one_class_is_refused(tmp_path):
    one = run(
        tmp_path / "one",
        {"svm": 0.8, "cnn": 0.8},
        masks=lambda seed: np.where(LABELS == 2, 2, 0),
    )
    with pytest.raises(CallError, match="at least two classes, found only class 2"):
        compare_runs([one])


def test_runs_whose_codes_differ_are_matched_by_the_names_of_classes(tmp_path):
    """They were refused as tested on other pixels, or compared Corn with Woods."""
    first = run(tmp_path / "a", {"svm": 0.9, "cnn": 0.7})
    other = run(tmp_path / "b", {"svm": 0.9, "cnn": 0.7}, codes={1: 2, 2: 1, 3: 7})
    found = compare_runs([first, other], models=["svm"])
    (pair,) = found.pairs
    assert pair.comparison.overall.difference == 0
    assert found.names == {1: "Corn", 2: "Woods", 3: "Oats"}
    assert any("by name: Corn (1), Woods (2), Oats (3)" in note for note in found.notes)
