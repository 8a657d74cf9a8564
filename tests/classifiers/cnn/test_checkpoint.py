import hashlib
import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from safetensors import numpy as safetensors
from sklearn.base import clone

from hypercover.classifiers.cnn import checkpoint as checkpoints
from hypercover.classifiers.cnn.cnn_classifier import CNNClassifier
from hypercover.errors import ModelError

RECIPES = {
    "momentum": {"optimiser": "sgd", "momentum": 0.9, "learning_rate": 0.02},
    "plain": {"optimiser": "sgd", "learning_rate": 0.02, "schedule": "inverse"},
    "everything": {
        "jitter": 0.1,
        "band_dropout": 0.2,
        "mix": 0.4,
        "class_weight": "balanced",
        "clip": 1.0,
        "patience": 3,
    },
}


class Killed(BaseException):
    """What a test ends a training with."""


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def _always_due(monkeypatch):
    monkeypatch.setattr(checkpoints, "INTERVAL", 0.0)


def labelled(count=60, seed=0):
    rng = np.random.default_rng(seed)
    y = np.arange(count) % 3 * 10 + 1
    return rng.normal(size=(count, 5, 3, 3)) + y[:, None, None, None] / 5, y


def estimator(**settings):
    settings = {"epochs": 4, "batch_size": 16, "random_state": 0} | settings
    return CNNClassifier(**settings)


def fit(folder=None, stop=None, monkeypatch=None, **settings):
    """Train on the same windows as ever; end it after so many checkpoints."""
    X, y = labelled()
    if stop is not None:
        monkeypatch.setattr(checkpoints.Checkpoints, "save", dying(stop))
    return estimator(**settings).fit(X, y, validation=labelled(30, 1), checkpoint=folder)


def dying(after):
    left, save = [after], checkpoints.Checkpoints.save

    def saves(self, state):
        save(self, state)
        left[0] -= 1
        if left[0] == 0:
            raise Killed

    return saves


def interrupted(folder, monkeypatch, stop, **settings):
    with monkeypatch.context() as patched, pytest.raises(Killed):
        fit(folder, stop, patched, **settings)


def assert_same(first, second):
    (_, weights), (_, others) = first.state(), second.state()
    assert weights.keys() == others.keys()
    for name, array in weights.items():
        np.testing.assert_array_equal(array, others[name])
    for record, other in zip(first.history_, second.history_, strict=True):
        assert record.keys() == other.keys()
        for name in record.keys() - {"seconds"}:
            assert record[name] == other[name], name


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
@pytest.mark.parametrize("stop", [1, 4, 6, 11])
def test_a_training_that_was_ended_anywhere_goes_on_to_the_same_bits(
    tmp_path, monkeypatch, recipe, stop
):
    whole = fit(recipe=recipe)
    interrupted(tmp_path, monkeypatch, stop, recipe=recipe)
    assert_same(fit(tmp_path, recipe=recipe), whole)


def test_interrupted_again_and_again_it_still_ends_with_the_same_bits(
    tmp_path, monkeypatch
):
    whole = fit()
    for stop in (3, 1, 5):
        interrupted(tmp_path, monkeypatch, stop)
    again = fit(tmp_path)
    assert_same(again, whole)
    seconds = [record["seconds"] for record in again.history_]
    assert seconds == sorted(seconds)


@pytest.mark.parametrize("network", ["lecture", "hybridsn"])
def test_other_networks_go_on_too(tmp_path, monkeypatch, network):
    rng = np.random.default_rng(0)
    y = np.arange(24) % 2
    X = rng.normal(size=(24, 30, 9, 9)).astype(np.float32) + y[:, None, None, None]
    settings = {"network": network, "epochs": 2, "batch_size": 12}
    whole = estimator(**settings).fit(X, y)
    with monkeypatch.context() as patched:
        patched.setattr(checkpoints.Checkpoints, "save", dying(3))
        with pytest.raises(Killed):
            estimator(**settings).fit(X, y, checkpoint=tmp_path)
    assert_same(estimator(**settings).fit(X, y, checkpoint=tmp_path), whole)


def test_the_last_two_checkpoints_are_kept_and_nothing_else(tmp_path, monkeypatch):
    (tmp_path / ".step-000000001.99999999-0.part.safetensors").write_text("a killed draft")
    (tmp_path / "notes.txt").write_text("not ours")
    interrupted(tmp_path, monkeypatch, 5)
    assert names(tmp_path) == [
        "notes.txt",
        "step-000000004.json",
        "step-000000004.safetensors",
        "step-000000005.json",
        "step-000000005.safetensors",
    ]


def test_checkpoints_are_written_at_an_interval(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "INTERVAL", 1e9)
    fit(tmp_path)
    assert len(names(tmp_path)) == 2


def test_a_training_that_ended_is_answered_at_once(tmp_path):
    first = fit(tmp_path)
    seen = []
    again = estimator()
    again.progress = seen.append
    X, y = labelled()
    again.fit(X, y, validation=labelled(30, 1), checkpoint=tmp_path)
    assert_same(again, first)
    assert seen == []


def test_going_on_is_said_in_the_log(tmp_path, monkeypatch, caplog):
    interrupted(tmp_path, monkeypatch, 6)
    with caplog.at_level(logging.INFO, "hypercover"):
        fit(tmp_path)
    assert "Training resumes in epoch 2, after 6 steps." in caplog.messages


def test_without_a_seed_it_goes_on_with_the_chance_it_had(tmp_path, monkeypatch):
    interrupted(tmp_path, monkeypatch, 5, random_state=None)
    copy = shutil.copytree(tmp_path, tmp_path.with_name("copy"))
    first, second = fit(tmp_path, random_state=None), fit(copy, random_state=None)
    assert_same(first, second)


def cut_short(path):
    path.write_bytes(path.read_bytes()[:-100])


def flipped(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


DAMAGE = {
    "cut": lambda header: cut_short(header.with_suffix(".safetensors")),
    "flipped": lambda header: flipped(header.with_suffix(".safetensors")),
    "gone": lambda header: header.with_suffix(".safetensors").unlink(),
    "header-cut": cut_short,
    "header-flipped": flipped,
    "header-empty": lambda header: header.write_text(""),
    "header-list": lambda header: header.write_text("[]"),
    "header-deep": lambda header: header.write_text("[" * 60_000),
    "header-other": lambda header: header.write_text('{"format": "other"}'),
    "header-later": lambda header: header.write_text(
        header.read_text().replace('"version": 1', '"version": 99')
    ),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_checkpoint_gives_way_to_the_one_before(
    tmp_path, monkeypatch, caplog, damage
):
    interrupted(tmp_path, monkeypatch, 6)
    damage(tmp_path / "step-000000006.json")
    with caplog.at_level(logging.INFO, "hypercover"):
        again = fit(tmp_path)
    assert_same(again, fit())
    assert re.match(r"Skipping the checkpoint .*step-000000006.json: ", caplog.messages[0])
    assert "Training resumes in epoch 2, after 5 steps." in caplog.messages


def test_where_no_checkpoint_is_whole_the_training_begins_anew(
    tmp_path, monkeypatch, caplog
):
    interrupted(tmp_path, monkeypatch, 6)
    for header in tmp_path.glob("*.json"):
        flipped(header.with_suffix(".safetensors"))
    with caplog.at_level(logging.INFO, "hypercover"):
        again = fit(tmp_path)
    assert_same(again, fit())
    assert not any("resumes" in message for message in caplog.messages)


def forged(folder, change):
    """Change what the last checkpoint says and give it the checksum of that."""
    header = max(folder.glob("*.json"))
    weights = header.with_suffix(".safetensors")
    arrays = dict(safetensors.load_file(weights))
    length = int.from_bytes(weights.read_bytes()[:8], "little")
    said = json.loads(weights.read_bytes()[8 : 8 + length])["__metadata__"]["about"]
    about = json.loads(said)
    about = change(about, arrays) or about
    data = safetensors.save(arrays, metadata={"about": json.dumps(about)})
    weights.write_bytes(data)
    document = json.loads(header.read_text())
    document["sha256"] = hashlib.sha256(data).hexdigest()
    header.write_text(json.dumps(document))


def setting(name, value):
    return lambda about, arrays: about["values"].__setitem__(name, value)


def array(name, change):
    return lambda about, arrays: arrays.__setitem__(name, change(arrays[name]))


HOSTILE = {
    "step": setting("step", -1),
    "step-text": setting("step", "6"),
    "batch": setting("batch", 2**63),
    "history": setting("history", [{"loss": "low"}]),
    "seconds": setting("seconds", None),
    "values": lambda about, arrays: about.__setitem__("values", 3),
    "about": lambda about, arrays: [1],
    "tensor-gone": lambda about, arrays: arrays.__delitem__("order"),
    "tensor-more": lambda about, arrays: arrays.__setitem__("more", np.zeros(1)),
    "shape": array("network.head.weight", lambda each: each[:1]),
    "type": array("network.head.weight", lambda each: each.astype(np.float64)),
    "moment": array("optimiser.0.exp_avg", lambda each: each[:1]),
    "order": array("order", lambda each: each * 0),
    "order-far": array("order", lambda each: each + 10**9),
    "generator": array("generator", lambda each: each * 0 + 255),
    "generator-short": array("generator", lambda each: each[:10]),
}


@pytest.mark.parametrize("change", HOSTILE.values(), ids=HOSTILE)
def test_a_forged_checkpoint_is_left_aside_whatever_it_says(
    tmp_path, monkeypatch, caplog, change
):
    interrupted(tmp_path, monkeypatch, 6)
    forged(tmp_path, change)
    with caplog.at_level(logging.INFO, "hypercover"):
        again = fit(tmp_path)
    assert_same(again, fit())
    assert re.match(r"Skipping the checkpoint .*step-000000006.json: ", caplog.messages[0])


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"learning_rate": 0.5}, "its learning_rate was 0.003, not 0.5"),
        ({"epochs": 5}, "its passes was 4, not 5"),
        ({"recipe": {"mix": 0.2}}, "its mix was 0.0, not 0.2"),
        ({"random_state": 1}, "its seed was 0, not 1"),
        ({"network": "spectral-1d"}, "its network was 'default', not 'spectral-1d'"),
    ],
)
def test_checkpoints_of_another_training_are_refused_by_name(
    tmp_path, monkeypatch, settings, sentence
):
    interrupted(tmp_path, monkeypatch, 2)
    before = names(tmp_path)
    with pytest.raises(ModelError, match=sentence) as refused:
        fit(tmp_path, **settings)
    assert str(refused.value).endswith(
        "; use another folder, or delete this one to start again."
    )
    assert names(tmp_path) == before


def test_checkpoints_of_other_windows_or_labels_are_refused(tmp_path, monkeypatch):
    interrupted(tmp_path, monkeypatch, 2)
    X, y = labelled()
    held = labelled(30, 1)
    for changed, what in [
        (((X + 1, y), held), "training windows differ"),
        (((X, y[::-1]), held), "training labels differ"),
        (((X, y), labelled(30, 2)), "validation windows differ"),
        (((X, y), None), "validation windows was"),
    ]:
        (windows, codes), other = changed
        with pytest.raises(ModelError, match=f"its {what}"):
            estimator().fit(windows, codes, validation=other, checkpoint=tmp_path)


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"Cannot write .*file: "):
        fit(tmp_path / "file")


PROGRAM = """
import sys, numpy as np, torch
from hypercover.classifiers.cnn import checkpoint
from hypercover.classifiers.cnn.cnn_classifier import CNNClassifier
torch.set_num_threads(1)
checkpoint.INTERVAL = 0.0
with np.load(sys.argv[1]) as file:
    X, y = file["X"], file["y"]
cnn = CNNClassifier(epochs=8, batch_size=10, random_state=0, recipe={"mix": 0.2})
cnn.fit(X, y, checkpoint=sys.argv[2])
"""


def steps(folder):
    """Steps that the last checkpoint has seen."""
    return max((int(path.stem[5:]) for path in folder.glob("step-*.json")), default=0)


def test_killed_at_any_time_the_same_call_ends_with_the_same_bits(tmp_path):
    X, y = labelled(200)
    np.savez(tmp_path / "data.npz", X=X, y=y)
    folder = tmp_path / "checkpoints"
    for moment in (1, 90):
        call = [sys.executable, "-c", PROGRAM, tmp_path / "data.npz", folder]
        process = subprocess.Popen(call)
        while steps(folder) < moment and process.poll() is None:
            time.sleep(0.001)
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert 90 <= steps(folder) < 160
    cnn = CNNClassifier(epochs=8, batch_size=10, random_state=0, recipe={"mix": 0.2})
    assert_same(cnn.fit(X, y, checkpoint=folder), clone(cnn).fit(X, y))
