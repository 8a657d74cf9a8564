"""LIBSVM's own program and this one give the same labels, in both directions."""

import os
import re
import shutil
import subprocess
from itertools import combinations

import numpy as np
import pytest
from sklearn.decomposition import PCA

from hypercover.classifiers.bundle import load_bundle, save_bundle
from hypercover.classifiers.svm.svm_classifier import SVMClassifier
from hypercover.errors import ModelError
from hypercover.libsvm.models import (
    model_of,
    read_model,
    write_model,
    write_ranges,
)

needs_libsvm = pytest.mark.skipif(
    shutil.which("svm-train") is None and "CI" not in os.environ,
    reason="LIBSVM's programs are not installed (on Debian: libsvm-tools)",
)


def libsvm(program, *words):
    call = [program, *map(str, words)]
    return subprocess.run(call, capture_output=True, text=True, check=True).stdout


def write(path, labels, values):
    """A writer of its own: what the product writes must not vouch for itself."""
    rows = (
        " ".join([str(label), *(f"{at}:{v!r}" for at, v in enumerate(row, 1))])
        for label, row in zip(labels.tolist(), values.tolist(), strict=True)
    )
    path.write_text("\n".join([*rows, ""]))
    return path


def predicted(folder, model, labels, values, *options):
    data = write(folder / "data.el", labels, values)
    libsvm("svm-predict", "-q", *options, data, model, folder / "out.txt")
    return (folder / "out.txt").read_text()


def mixed(classes, bands, per_class, seed, spread=1.2):
    """Overlapping classes, so that votes tie and decisions come near zero."""
    chance = np.random.default_rng(seed)
    codes = np.array([11, 2, 300, 7, 41, 5, 9])[:classes]
    centres = chance.normal(0, 1, (classes, bands))
    y = codes[np.arange(classes * per_class) % classes]
    which = np.arange(classes * per_class) % classes
    return 500 + 100 * (centres[which] + chance.normal(0, spread, (len(y), bands))), y


CASES = [(2, 3, 40, 0), (3, 5, 40, 1), (7, 2, 25, 2), (5, 30, 30, 3)]


@needs_libsvm
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("reduced", [False, True], ids=["scaled", "reduced"])
def test_svm_predict_gives_our_labels(case, reduced, tmp_path):
    X, y = mixed(*case)
    reduction = PCA(2) if reduced else None
    svm = SVMClassifier(C=10, reduction=reduction).fit(X, y)
    write_model(tmp_path / "m.model", model_of(svm))
    other, codes = mixed(case[0], case[1], 400, case[3] + 50, spread=2.5)
    said = predicted(tmp_path, tmp_path / "m.model", codes, svm.preprocess(other))
    np.testing.assert_array_equal(np.array(said.split(), dtype=int), svm.predict(other))


@needs_libsvm
@pytest.mark.parametrize("case", CASES)
def test_a_model_of_svm_train_gives_its_own_labels(case, tmp_path):
    X, y = mixed(*case)
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    train = write(tmp_path / "train.el", y, X)
    libsvm("svm-train", "-q", "-c", 10, "-g", 1 / X.shape[1], train, tmp_path / "m.model")
    model = read_model(tmp_path / "m.model", X.shape[1])
    assert list(model.labels) == list(dict.fromkeys(y.tolist()))
    svm = model.classifier()
    other = np.random.default_rng(9).normal(0, 2, (4000, X.shape[1]))
    said = predicted(tmp_path, tmp_path / "m.model", np.zeros(4000, int), other)
    wanted = np.array(said.split(), dtype=int)
    np.testing.assert_array_equal(svm.predict(other), wanted)
    save_bundle(tmp_path / "bundle", svm, {})
    kept = load_bundle(tmp_path / "bundle").classifier
    np.testing.assert_array_equal(kept.predict(other), wanted)
    proba = kept.predict_proba(other)
    np.testing.assert_array_equal(kept.classes_[proba.argmax(axis=1)], wanted)


@needs_libsvm
def test_ties_go_where_libsvm_sends_them(tmp_path):
    """With three classes a tie of one vote each goes to the first in the file's order."""
    X, y = mixed(3, 2, 60, 4, spread=3)
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    train = write(tmp_path / "train.el", y, X)
    libsvm("svm-train", "-q", "-c", 100, "-g", 2, train, tmp_path / "m.model")
    svm = read_model(tmp_path / "m.model", 2).classifier()
    grid = np.stack(np.meshgrid(*[np.linspace(-3, 3, 120)] * 2), axis=-1).reshape(-1, 2)
    decisions = svm.machines_.decisions(grid) > 0
    tied = (decisions[:, 0] & ~decisions[:, 1] & decisions[:, 2]) | (
        ~decisions[:, 0] & decisions[:, 1] & ~decisions[:, 2]
    )
    assert tied.sum() > 10
    assert svm.classes_.tolist() != sorted(svm.classes_.tolist())
    said = predicted(tmp_path, tmp_path / "m.model", np.zeros(len(grid), int), grid)
    np.testing.assert_array_equal(svm.predict(grid), np.array(said.split(), dtype=int))


@needs_libsvm
@pytest.mark.parametrize("case", CASES[:3])
def test_probabilities_travel_both_ways(case, tmp_path):
    X, y = mixed(*case)
    svm = SVMClassifier(C=1, probability=True).fit(X, y)
    write_model(tmp_path / "m.model", model_of(svm))
    said = predicted(tmp_path, tmp_path / "m.model", y, svm.preprocess(X), "-b", 1)
    head, *rows = said.splitlines()
    assert head == "labels " + " ".join(map(str, svm.classes_))
    theirs = np.array([row.split()[1:] for row in rows], dtype=float)
    # svm-predict prints 6 digits and stops its iteration at 0.005 / classes.
    np.testing.assert_allclose(svm.predict_proba(X), theirs, atol=0.02)
    back = read_model(tmp_path / "m.model").classifier()
    np.testing.assert_array_equal(
        back.predict_proba(svm.preprocess(X)), svm.predict_proba(X)
    )


@needs_libsvm
def test_svm_scale_restores_our_scaling_of_raw_data(tmp_path):
    X, y = mixed(4, 6, 50, 5)
    X[:, 2] = 7.0
    svm = SVMClassifier().fit(X, y)
    low, high = svm.mean_ - svm.scale_, svm.mean_ + svm.scale_
    write_ranges(tmp_path / "m.range", low, high, target=(-1, 1))
    write_model(tmp_path / "m.model", model_of(svm))
    raw = write(tmp_path / "raw.el", y, X)
    scaled = libsvm("svm-scale", "-r", tmp_path / "m.range", raw)
    for line, seen in zip(scaled.splitlines(), svm.preprocess(X), strict=True):
        pairs = dict(word.split(":") for word in line.split()[1:])
        theirs = [float(pairs.get(str(at), 0)) for at in range(1, 7)]
        # svm-scale prints 6 digits.
        np.testing.assert_allclose(theirs, seen, rtol=1e-5, atol=1e-12)
    (tmp_path / "scaled.el").write_text(scaled)
    libsvm(
        "svm-predict", "-q", tmp_path / "scaled.el", tmp_path / "m.model", tmp_path / "o"
    )
    said = np.array((tmp_path / "o").read_text().split(), dtype=int)
    np.testing.assert_array_equal(said, svm.predict(X))


@needs_libsvm
def test_both_programs_agree_on_the_stand_in(data_folder, tmp_path):
    """Indian Pines stand-in: 695 fixed training pixels, every 7th pixel of the scene."""
    derived = data_folder / "derived"
    kept = np.load(derived / "indian_pines_fixed_train_dn.npz", allow_pickle=False)
    cube = np.load(derived / "indian_pines_rank37_reconstruction.npz", allow_pickle=False)[
        "cube"
    ]
    y, X = kept["label"].astype(int), kept["X"].astype(float)
    scene = cube.reshape(-1, cube.shape[-1])[::7].astype(float)
    svm = SVMClassifier(C=100).fit(X, y)
    write_model(tmp_path / "ours.model", model_of(svm))
    blank = np.zeros(len(scene), int)
    said = predicted(tmp_path, tmp_path / "ours.model", blank, svm.preprocess(scene))
    np.testing.assert_array_equal(np.array(said.split(), int), svm.predict(scene))
    write(tmp_path / "train.el", y, svm.preprocess(X))
    width = svm.machines_.gamma
    libsvm(
        "svm-train",
        "-q",
        "-c",
        100,
        "-g",
        repr(width),
        tmp_path / "train.el",
        tmp_path / "theirs.model",
    )
    theirs = read_model(tmp_path / "theirs.model", 200).classifier()
    said = predicted(tmp_path, tmp_path / "theirs.model", blank, svm.preprocess(scene))
    answers = theirs.predict(svm.preprocess(scene))
    np.testing.assert_array_equal(np.array(said.split(), int), answers)


@pytest.fixture
def model(tmp_path):
    X, y = mixed(3, 4, 20, 7)
    svm = SVMClassifier().fit(X, y)
    write_model(tmp_path / "good.model", model_of(svm))
    return tmp_path / "good.model"


def test_a_model_comes_back_exactly(tmp_path):
    X, y = mixed(5, 4, 20, 8)
    svm = SVMClassifier(probability=True).fit(X, y)
    write_model(tmp_path / "m.model", model_of(svm))
    back = read_model(tmp_path / "m.model", 4)
    assert back.labels == tuple(svm.classes_.tolist())
    assert back.machines.counts == svm.machines_.counts
    assert back.machines.gamma == svm.machines_.gamma
    for name in ("vectors", "coefficients", "intercepts"):
        np.testing.assert_array_equal(
            getattr(back.machines, name), getattr(svm.machines_, name)
        )
    np.testing.assert_array_equal(back.sigmoids, svm.sigmoids_)


def test_zeros_may_be_left_out_and_the_number_of_features_is_what_it_is_said_to_be(model):
    text = model.read_text()
    assert read_model(model, 9).machines.vectors.shape[1] == 9
    model.write_text(re.sub(r" 4:\S+", "", text))
    assert read_model(model).n_features == 3
    np.testing.assert_array_equal(read_model(model, 4).machines.vectors[:, 3], 0)


def test_named_classes_are_no_labels():
    X, y = mixed(2, 3, 10, 0)
    svm = SVMClassifier().fit(X, np.where(y == 2, "corn", "oats"))
    with pytest.raises(
        ModelError, match=r"integers, but the classes of this model are \['corn'"
    ):
        model_of(svm)


def swapped(pattern, new):
    return lambda text: re.sub(pattern, new, text, count=1, flags=re.MULTILINE)


DAMAGE = [
    (swapped("^svm_type .*", "svm_type nu_svc"), "line 1: only models with svm_type c_svc"),
    (
        swapped("^kernel_type .*", "kernel_type linear"),
        "line 2: only models with kernel_type",
    ),
    (
        swapped("^kernel_type .*", "kernel_type precomputed"),
        "train with svm-train -s 0 -t 2",
    ),
    (swapped("^gamma .*", "gamma nan"), "gamma must be 1 finite numbers"),
    (swapped("^gamma .*", "gamma 1_0"), "gamma must be 1 finite numbers"),
    (swapped("^gamma .*", "gamma -1"), "gamma must be above 0, got -1"),
    (swapped("^gamma .*\n", ""), "the head lacks gamma"),
    (swapped("^gamma .*", "gamma 1\ngamma 2"), "'gamma' does not belong"),
    (swapped("^gamma .*", "degree 3"), "'degree' does not belong"),
    (
        swapped("^nr_class .*", "nr_class 1000000000"),
        "label must be 1000000000 finite numbers",
    ),
    (swapped("^nr_class .*", "nr_class 2"), "label must be 2 finite numbers, got 3"),
    (swapped("^nr_class .*", "nr_class 1"), "1 classes and"),
    (swapped("^nr_class .*", "nr_class 2.5"), "nr_class must be integers"),
    (
        swapped("^total_sv .*", "total_sv 999999999"),
        "999999999 support vectors are declared",
    ),
    (swapped("^total_sv .*", "total_sv 1"), "1 support vectors are declared, but"),
    (swapped("^label .*", "label 1 1 2"), "a label occurs twice"),
    (swapped("^label .*", "label 1 2 a"), "label must be 3 finite numbers"),
    (swapped("^label .*", "label 1 2 1e30"), "label must be integers"),
    (swapped("^label .*\n", ""), "the head lacks label"),
    (swapped("^rho (\\S+).*", r"rho \1"), "rho must be 3 finite numbers, got 1"),
    (swapped("^nr_sv .*", "nr_sv -1 1 1"), "nr_sv does not add up"),
    (swapped("^SV\n", "probA 1 2\nSV\n"), "probA must be 3 finite numbers"),
    (swapped("^SV\n", "probA 1 2 3\nSV\n"), "probB must be 3 finite numbers, got 0"),
    (swapped("^SV\n", ""), "does not belong in the head"),
    (swapped(" 1:", " 0:"), "invalid index 0"),
    (swapped(" 2:", " 1:"), "should be sorted and unique"),
    (
        swapped(" 4:", " 1000000000:"),
        "the index 1000000000 is above the number of features",
    ),
    (swapped(r" 3:\S+", " 3:nan"), "a value is not a finite number"),
    (swapped(r" 3:\S+", " 3:x"), "could not convert string to float"),
    (swapped(r" 3:\S+", " 3"), "a feature is not index:value"),
    (
        lambda text: text + text.splitlines()[-1] + "\n",
        "lines follow or the last one is incomplete",
    ),
    (
        lambda text: text[: text.rindex("\n", 0, -1) + 1],
        "lines follow or the last one is incomplete",
    ),
    (lambda text: text[:-3], "the last one is incomplete"),
    (lambda text: "", "the line SV is missing"),
    (lambda text: "\x00\xff" * 100 + "\n", "does not belong in the head"),
]


@pytest.mark.parametrize(("damage", "said"), DAMAGE)
def test_a_damaged_model_is_refused_in_one_sentence(damage, said, model):
    model.write_text(damage(model.read_text()), encoding="latin-1")
    with pytest.raises(ModelError) as refused:
        read_model(model, 4)
    sentence = str(refused.value)
    assert said in sentence
    assert sentence.startswith(str(model))
    assert re.search(r", line \d+: ", sentence)
    assert "\n" not in sentence
    assert sentence.endswith(".")


def test_a_missing_model_is_named(tmp_path):
    with pytest.raises(ModelError, match="No such file"):
        read_model(tmp_path / "none.model")


def test_many_features_and_vectors_are_not_allocated(model):
    text = re.sub(" 4:", " 900000:", model.read_text())
    head, _, vectors = text.partition("SV\n")
    count = 1500
    head = re.sub("total_sv .*", f"total_sv {count}", head)
    head = re.sub("nr_sv .*", f"nr_sv {count} 0 0", head)
    model.write_text(head + "SV\n" + vectors.splitlines(keepends=True)[0] * count)
    with pytest.raises(ModelError, match="are more than can be read"):
        read_model(model)


def test_pairs_of_the_file_are_those_of_the_machines(model):
    """The order of rho is that of LIBSVM: (0, 1), (0, 2), …"""
    machines = read_model(model).machines
    assert machines.pairs == list(combinations(range(3), 2))
    rho = re.search("rho (.*)", model.read_text()).group(1).split()
    np.testing.assert_array_equal(-np.array(rho, float), machines.intercepts)
