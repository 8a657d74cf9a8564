"""The lecture's network against Keras itself: the same scores, and the same training."""

import os
import subprocess
import sys
from copy import deepcopy
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from hypercover.classifiers.cnn.training import Trainer
from hypercover.classifiers.networks.lecture import LectureNetwork, depth_after
from hypercover.classifiers.networks.network_catalog import build

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        find_spec("keras") is None and "CI" not in os.environ,
        reason="Keras is not installed",
    ),
]

WINDOW, BATCH = 9, 50
DECAY = LectureNetwork.recipe.decay


def as_keras(network, bands):
    """Weights in Keras's order of axes: row, col, band, channel in, channel out."""
    arrays = []
    for layer in network.convolutions:
        arrays += [layer.weight.permute(3, 4, 2, 1, 0), layer.bias]
    for layer in network.dense:
        weight = layer.weight.permute(2, 3, 1, 0)
        if layer is network.dense[0]:
            weight = weight.unflatten(2, (32, depth_after(bands))).transpose(2, 3)
        arrays += [weight.flatten(0, -2), layer.bias]
    return [array.detach().numpy().copy() for array in arrays]


class Recorded:
    """Windows for a training, and the order in which they were asked for."""

    def __init__(self, windows):
        self.windows, self.asked = windows, []
        self.values = windows.shape[1]

    def __len__(self):
        return len(self.windows)

    def batch(self, which):
        self.asked += which.tolist()
        return self.windows[which]


def twin(given, answered):
    """Score and train by Keras what a file holds; run in a process of its own."""
    import keras
    from keras import layers

    with np.load(given) as file:
        held = dict(file)
    keras.config.set_floatx(str(held["windows"].dtype))
    _, bands, *_ = held["windows"].shape
    classes = int(held["targets"].max()) + 1
    model = keras.Sequential(
        [
            keras.Input((WINDOW, WINDOW, bands, 1)),
            layers.Conv3D(48, (3, 3, 5), activation="relu"),
            layers.MaxPooling3D((1, 1, 3)),
            layers.ZeroPadding3D((0, 0, 2)),
            layers.Conv3D(32, (3, 3, 5), activation="relu"),
            layers.MaxPooling3D((1, 1, 3)),
            layers.ZeroPadding3D((0, 0, 2)),
            layers.Conv3D(32, (3, 3, 5), activation="relu"),
            layers.MaxPooling3D((1, 1, 2)),
            layers.Flatten(),
            layers.Dense(128, activation="relu"),
            layers.Dense(128, activation="relu"),
            layers.Dense(classes, activation="softmax"),
        ]
    )
    model.set_weights([held[f"weight{n}"] for n in range(len(model.weights))])
    # rate / (1 + decay · iteration), as Keras 2 wrote it
    rate = keras.optimizers.schedules.InverseTimeDecay(1.0, 1, float(held["decay"]))
    model.compile(loss="mse", optimizer=keras.optimizers.SGD(rate))
    windows = held["windows"].transpose(0, 2, 3, 1)[..., None]
    wanted = np.eye(classes)[held["targets"]]
    found = {"probabilities": model.predict_on_batch(windows[:BATCH])}
    for epoch in held["asked"].reshape(-1, len(windows)):
        for first in range(0, len(windows), BATCH):
            which = epoch[first : first + BATCH]
            model.train_on_batch(windows[which], wanted[which])
    trained = {f"weight{n}": value for n, value in enumerate(model.get_weights())}
    np.savez(answered, **found, **trained)


@pytest.mark.parametrize(
    ("bands", "classes", "count", "epochs", "kind", "decay", "apart"),
    [
        (200, 16, 50, 1, torch.float32, DECAY, 1e-5),
        (200, 16, 100, 5, torch.float64, DECAY, 5e-5),
        (200, 16, 100, 5, torch.float32, DECAY, 5e-4),
        (30, 4, 110, 4, torch.float64, DECAY, 5e-4),
        (30, 4, 110, 4, torch.float64, 0.2, 1e-7),
    ],
)
def test_scores_and_training_are_those_of_keras(
    tmp_path, bands, classes, count, epochs, kind, decay, apart
):
    """One step of the published network, ten, and twelve, four with a last batch of 10.

    Where two bands of a group are nearly equal, rounding chooses which of them
    gets the gradient.  In single precision that happens in every step, and any
    two programs drift apart: by 2.5e-4 in ten steps, where weights change by 3e-3.
    Keras rounds its updates to single precision even with weights in double, so that
    there, too, such a choice may differ, on one processor and not on another.
    """
    drawing = torch.Generator().manual_seed(0)
    targets = torch.arange(count) % classes
    spectra = torch.randn(classes, bands, 1, 1, generator=drawing)
    noise = torch.randn(count, bands, WINDOW, WINDOW, generator=drawing)
    windows = (spectra[targets] + noise).to(kind)
    network = build("lecture", bands=bands, classes=classes, window=WINDOW)
    network.to_empty(device="cpu").reset(drawing)
    before, feed = as_keras(network.to(kind), bands), Recorded(windows)
    with torch.no_grad():
        ours = network(windows[:BATCH])[:, :, 0, 0].softmax(1).numpy()
    recipe = LectureNetwork.recipe.changed({"passes": epochs, "decay": decay})
    Trainer(network, (feed, targets), recipe, generator=drawing, classes=classes).run()

    weights = {f"weight{n}": value for n, value in enumerate(before)}
    shown = {"windows": windows, "targets": targets, "asked": feed.asked, "decay": decay}
    np.savez(tmp_path / "given.npz", **weights, **shown)
    subprocess.run(
        [sys.executable, __file__, tmp_path / "given.npz", tmp_path / "answered.npz"],
        env=os.environ | {"KERAS_BACKEND": "torch", "CUDA_VISIBLE_DEVICES": ""},
        check=True,
    )
    with np.load(tmp_path / "answered.npz") as answered:
        np.testing.assert_allclose(ours, answered["probabilities"], rtol=0, atol=1e-5)
        for n, (old, new) in enumerate(zip(before, as_keras(network, bands), strict=True)):
            np.testing.assert_allclose(new, answered[f"weight{n}"], rtol=0, atol=apart)
            # the training went far enough to tell another one from it
            assert np.abs(new - old).max() > max(1e-4, apart), n


def test_training_is_the_plain_loop_to_the_last_digits():
    """Twelve steps of the published network in double precision, by PyTorch alone."""
    drawing = torch.Generator().manual_seed(0)
    targets = torch.arange(110) % 4
    windows = torch.randn(110, 30, WINDOW, WINDOW, generator=drawing).double()
    network = build("lecture", bands=30, classes=4, window=WINDOW)
    network.to_empty(device="cpu").reset(drawing)
    network.double()
    plain, feed = deepcopy(network), Recorded(windows)
    recipe = LectureNetwork.recipe.changed({"passes": 4, "decay": 0.01})
    Trainer(network, (feed, targets), recipe, generator=drawing, classes=4).run()
    wanted = torch.nn.functional.one_hot(targets, 4).double()
    step = 0
    for epoch in torch.tensor(feed.asked).reshape(-1, 110):
        for which in epoch.split(BATCH):
            scores = plain(windows[which])[:, :, 0, 0]
            loss = (scores.softmax(1) - wanted[which]).square().mean()
            gradients = torch.autograd.grad(loss, list(plain.parameters()))
            with torch.no_grad():
                for weight, gradient in zip(plain.parameters(), gradients, strict=True):
                    weight -= gradient / (1 + 0.01 * step)
            step += 1
    for found, expected in zip(network.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


if __name__ == "__main__":
    twin(*map(Path, sys.argv[1:]))
