"""What a training window costs the lecture's network: Keras, a plain loop, and hypercover.

Windows of 9 × 9 × 200 of the Indian Pines stand-in where the folder named by
HYPERCOVER_DATA is known, of noise otherwise; batches of 50, the lecture's loss
and descent.  Keras 3 on its PyTorch backend and a plain PyTorch loop are handed
float32 windows that lie ready in memory; hypercover is handed the scene, and
its time is that of a whole ``fit`` of three passes: cutting, scaling, records.
All sides take turns in this process with all cores; the figures are medians over
the rounds.

Where the processor has units for bfloat16, mixed precision runs beside, and
``--seeds 5`` trains both precisions that often on the fixed split of 695 pixels
by a short recipe (AdamW, one cycle of ``--epochs`` passes: the published 600 of
plain descent take hours) and prints the accuracies on its 9,671 test pixels.
The last line is the time of Keras over that of hypercover in float32.

    HYPERCOVER_DATA=… python benchmarks/training.py [--rounds 5] [--seeds 0] [--epochs 12]
"""

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

os.environ["KERAS_BACKEND"] = "torch"
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from hypercover.classifiers.cnn.acceleration import use_precision
from hypercover.classifiers.cnn.cnn_classifier import CNNClassifier
from hypercover.classifiers.networks.network_catalog import build
from hypercover.errors import ModelError
from hypercover.scene.io.reading import open_scene
from hypercover.scene.samples import Samples
from hypercover.splits.predefined_splits import MaskSplit
from hypercover.windows.windows import Windows

BANDS, CLASSES, WINDOW, BATCH = 200, 16, 9, 50
WINDOWS = 500
"""Windows that every side passes over in a round."""
PASSES = 3
"""Passes of a whole fit."""
SHORT = {"optimiser": "adamw", "loss": "cross-entropy", "schedule": "one-cycle"}
Cube = npt.NDArray[np.generic]
Floats = npt.NDArray[np.float32]
Step = Callable[[], object]


def raster(data: Path, name: str) -> npt.NDArray[np.integer]:
    """Read a label map of the stand-in."""
    values: npt.NDArray[np.integer] = np.asarray(
        open_scene(data / "indian_pines" / name).cube.values[0]
    )
    return values


def scene() -> tuple[str, Cube, Samples, Samples | None]:
    """Return a name, a cube (band, row, col), training samples, and test samples if any."""
    named = os.environ.get("HYPERCOVER_DATA")
    if named is None:
        chance = np.random.default_rng(0)
        labels = chance.integers(1, CLASSES + 1, (30, 30))
        noise = chance.normal(size=(BANDS, 30, 30)).astype(np.float32)
        return "noise", noise, Samples.of(labels), None
    data = Path(named)
    with np.load(data / "derived/indian_pines_rank37_reconstruction.npz") as file:
        cube = np.ascontiguousarray(file["cube"].transpose(2, 0, 1))
    masks = [raster(data, f"Indian{part}123_temp123.tif") for part in ("TR", "TE")]
    labels = raster(data, "19920612_AVIRIS_IndianPine_Site3_gr.tif")
    split = MaskSplit(train=masks[0], test=masks[1]).split(labels, window=WINDOW)
    train, test = (split.samples(part, labels) for part in ("train", "test"))
    return "Indian Pines stand-in", cube, train, test


def by_keras(windows: Floats, wanted: Floats) -> Step:
    """Return one pass over all windows by Keras, in its own order of axes."""
    import keras
    from keras import layers

    model = keras.Sequential(
        [
            keras.Input((WINDOW, WINDOW, BANDS, 1)),
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
            layers.Dense(CLASSES, activation="softmax"),
        ]
    )
    rate = keras.optimizers.schedules.InverseTimeDecay(1.0, 1, 5e-6)
    model.compile(loss="mse", optimizer=keras.optimizers.SGD(rate))
    images = np.ascontiguousarray(windows.transpose(0, 2, 3, 1)[..., None])
    return lambda: model.fit(images, wanted, batch_size=BATCH, epochs=1, verbose=0)


class Plain(nn.Module):
    """The lecture's network as PyTorch's own modules, with the weights of ours."""

    def __init__(self) -> None:
        super().__init__()
        network = build("lecture", bands=BANDS, classes=CLASSES, window=WINDOW)
        self.network = network.to_empty(device="cpu")
        self.network.reset(torch.Generator().manual_seed(0))

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        """Map (n, band, row, col) to scores (n, class)."""
        values = windows.unsqueeze(1)
        for layer, pool in zip(self.network.convolutions, (3, 3, 2), strict=True):
            values = torch.relu(layer(values))
            values = nn.functional.max_pool3d(values, (pool, 1, 1))
            if pool == 3:
                values = nn.functional.pad(values, (0, 0, 0, 0, 2, 2))
        first, second, last = self.network.dense
        values = torch.relu(second(torch.relu(first(values.flatten(1, 2)))))
        return last(values)[:, :, 0, 0]


def by_loop(windows: Floats, wanted: Floats) -> Step:
    """Return one pass over all windows by the loop that everybody writes."""
    network = Plain()
    optimiser = torch.optim.SGD(network.parameters(), lr=1.0)
    inputs, targets = torch.from_numpy(windows), torch.from_numpy(wanted)

    def step() -> None:
        for which in torch.randperm(len(inputs)).split(BATCH):
            optimiser.zero_grad()
            found = network(inputs[which]).softmax(1)
            nn.functional.mse_loss(found, targets[which]).backward()
            optimiser.step()

    return step


def by_hypercover(cube: Cube, train: Samples, precision: str) -> Step:
    """Return one whole fit of some passes over the windows."""

    def step() -> None:
        windows = Windows(cube, train.rows, train.cols, WINDOW)
        model = CNNClassifier(
            "lecture", epochs=PASSES, batch_size=BATCH, precision=precision, random_state=0
        )
        model.fit(windows, train.labels)

    return step


def prepared(cube: Cube, train: Samples) -> tuple[Floats, Floats]:
    """Return standardised windows (n, band, row, col) and wanted probabilities."""
    cut = Windows(cube, train.rows, train.cols, WINDOW).cut().astype(np.float32)
    centres = cut[:, :, WINDOW // 2, WINDOW // 2]
    mean, spread = (part[:, None, None] for part in (centres.mean(0), centres.std(0)))
    wanted = np.eye(CLASSES, dtype=np.float32)[train.labels - 1]
    return np.ascontiguousarray((cut - mean) / spread), wanted


def has_bfloat16() -> bool:
    """Tell whether this processor can train in mixed precision."""
    try:
        with use_precision("mixed", torch.device("cpu")):
            return True
    except ModelError:
        return False


def milliseconds(sides: dict[str, Step], rounds: int, windows: int) -> dict[str, float]:
    """Time a window's pass on all sides in turn, after a round that counts for nothing."""
    found: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(rounds + 1):
        for name, step in sides.items():
            began = time.perf_counter()
            step()
            if turn:
                passes = PASSES if name.startswith("hypercover") else 1
                seconds = time.perf_counter() - began
                found[name].append(1000 * seconds / windows / passes)
    return {name: median(times) for name, times in found.items()}


def accuracies(
    cube: Cube, train: Samples, test: Samples, precision: str, asked: argparse.Namespace
) -> npt.NDArray[np.float64]:
    """Train once for every seed and return the shares of test pixels that are right."""
    margin, shares = WINDOW // 2, []
    around = np.pad(cube, ((0, 0), (margin, margin), (margin, margin)), mode="edge")
    for seed in range(asked.seeds):
        model = CNNClassifier(
            "lecture",
            epochs=asked.epochs,
            learning_rate=1e-3,
            recipe=SHORT,
            precision=precision,
            random_state=seed,
        )
        model.fit(Windows(cube, train.rows, train.cols, WINDOW), train.labels)
        codes = model.classes_[model.predict_dense(around).argmax(axis=0)]
        shares.append(float((codes[test.rows, test.cols] == test.labels).mean()))
        print(f"{precision:8} seed {seed}: {100 * shares[-1]:.1f} %", flush=True)
    return np.array(shares)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=12)
    asked = parser.parse_args()
    name, cube, train, test = scene()
    some = train.take(np.random.default_rng(0).permutation(len(train))[:WINDOWS])
    windows, wanted = prepared(cube, some)
    precisions = ["float32", *(["mixed"] if has_bfloat16() else [])]
    sides = {"Keras": by_keras(windows, wanted), "plain loop": by_loop(windows, wanted)} | {
        f"hypercover {kind}": by_hypercover(cube, some, kind) for kind in precisions
    }
    print(f"{name}, {len(some)} windows of 9 × 9 × 200, {torch.get_num_threads()} threads")
    found = milliseconds(sides, asked.rounds, len(some))
    for side, cost in found.items():
        ratio = found["plain loop"] / cost
        print(
            f"{side:20} {cost:6.2f} ms a window, {ratio:.2f} × the plain loop", flush=True
        )
    for kind in precisions if asked.seeds and test is not None else []:
        shares = 100 * accuracies(cube, train, test, kind, asked)
        print(
            f"{kind}: {shares.mean():.1f} ± {shares.std():.1f} % after {asked.epochs} passes"
        )
    print(f"ratio: {found['Keras'] / found['hypercover float32']:.2f}")


if __name__ == "__main__":
    main()
