"""What a GPU makes of a network must be what a processor makes of it."""

import numpy as np
import pytest
import torch

from hypercover.classifiers.cnn.cnn_classifier import CNNClassifier
from hypercover.windows.windows import Windows

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="PyTorch finds no GPU here"
)
NETWORKS = ["default", "lecture", "hybridsn", "ssrn", "spectral-1d", "attention"]


@pytest.fixture(scope="module")
def striped():
    """Windows of stripes whose spectra differ, their classes, and the padded cube."""
    chance = np.random.default_rng(0)
    spectra = chance.uniform(1000, 5000, (3, 40))
    which = np.arange(24) * 3 // 24
    cube = spectra[which].T[:, None, :] + chance.normal(0, 400, (40, 24, 24))
    cube = cube.astype(np.float32)
    rows, cols = (place.ravel() for place in np.mgrid[0:24:2, 0:24:2])
    around = np.pad(cube, ((0, 0), (4, 4), (4, 4)), mode="edge")
    return Windows(cube, rows, cols, 9), which[cols] + 1, around


@pytest.mark.parametrize("name", NETWORKS)
def test_answers_are_those_of_the_processor(name, striped):
    windows, codes, around = striped
    model = CNNClassifier(name, epochs=3, random_state=0, device="cpu").fit(windows, codes)
    here, tile = model.predict_proba(windows), model.predict_dense(around)
    model.device = "cuda"
    np.testing.assert_allclose(model.predict_proba(windows), here, atol=1e-5)
    np.testing.assert_allclose(model.predict_dense(around), tile, atol=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_same_training_gives_the_same_weights(name, striped):
    windows, codes, _ = striped
    first, second = (
        CNNClassifier(name, epochs=3, random_state=0, device="cuda").fit(windows, codes)
        for _ in range(2)
    )
    again = second.network_.state_dict()
    for weight, value in first.network_.state_dict().items():
        assert torch.equal(value, again[weight]), weight


def test_training_goes_the_way_of_the_processor(striped):
    windows, codes, _ = striped
    losses = [
        [
            record["loss"]
            for record in CNNClassifier("lecture", epochs=4, random_state=0, device=device)
            .fit(windows, codes)
            .history_
        ]
        for device in ("cpu", "cuda")
    ]
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-3)


@pytest.mark.parametrize("compile", [False, True])
def test_mixed_precision_learns(compile, striped):
    windows, codes, _ = striped
    model = CNNClassifier(
        epochs=15, precision="mixed", compile=compile, random_state=0, device="cuda"
    )
    assert model.fit(windows, codes).score(windows, codes) == 1.0


def test_an_interrupted_training_ends_with_the_same_weights(striped, tmp_path):
    windows, codes, _ = striped

    def network():
        return CNNClassifier(epochs=6, random_state=0, device="cuda")

    whole = network().fit(windows, codes)
    stopped = network()

    def stop(record):
        if record["epoch"] == 3:
            raise KeyboardInterrupt

    stopped.progress = stop
    with pytest.raises(KeyboardInterrupt):
        stopped.fit(windows, codes, checkpoint=tmp_path)
    gone_on = network().fit(windows, codes, checkpoint=tmp_path)
    again = gone_on.network_.state_dict()
    for weight, value in whole.network_.state_dict().items():
        assert torch.equal(value, again[weight]), weight
