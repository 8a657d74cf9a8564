"""Asked to stop, a training leaves a checkpoint and goes on from it to the same bits."""

import threading

import numpy as np
import pytest

from hypercover import stopping
from hypercover.classifiers.cnn.cnn_classifier import CNNClassifier
from hypercover.stopping import Stopped, request_stop, stop_requested


@pytest.fixture
def unasked(monkeypatch):
    """Nobody has asked, and afterwards nobody remembers."""
    monkeypatch.setattr(stopping, "_requested", threading.Event())


def network(**given):
    settings = {"network": "spectral-1d", "epochs": 3, "batch_size": 8, "random_state": 0}
    return CNNClassifier(**settings, device="cpu", **given)


def test_a_stopped_training_goes_on_to_the_same_bits(tmp_path, unasked, monkeypatch):
    chance = np.random.default_rng(0)
    X, y = chance.normal(size=(40, 12, 1, 1)), np.repeat([1, 2], 20)
    whole = network().fit(X, y)
    request_stop()
    with pytest.raises(Stopped):
        network().fit(X, y, checkpoint=tmp_path)
    # at once, and not when the next one would be due
    assert [path.name for path in tmp_path.glob("*.json")] == ["step-000000001.json"]
    monkeypatch.setattr(stopping, "_requested", threading.Event())
    assert not stop_requested()
    again = network().fit(X, y, checkpoint=tmp_path)
    for name, weight in whole.network_.state_dict().items():
        assert (again.network_.state_dict()[name] == weight).all(), name
