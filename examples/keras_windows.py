"""The lecture's network in plain Keras: load a window file, scale, build, train, test.

    hypercover libsvm sets CUBE --labels LABELS -o sets
    KERAS_BACKEND=torch python examples/keras_windows.py sets/indian_windows.h5 --quick

Needs h5py, NumPy and Keras 3 with any of its backends; hypercover itself is not imported.
``--quick`` trains 12 passes of AdamW, minutes on two cores, in the place of the lecture's 600
passes of plain gradient descent, which take hours there.
"""

import argparse
import json

import h5py
import keras
import numpy as np
from keras import layers

TRAIN, TEST = 1, 3
"""Values of the dataset ``part``."""
BATCH = 50


def load(path, part):
    """Return windows (n, row, col, band, 1) as float32 and the labels (n,) of a part."""
    with h5py.File(path) as file:
        rows = np.flatnonzero(file["part"][:] == part)
        if not len(rows):
            raise SystemExit(
                f"{path} has no windows of part {part}; write it with --train 0.1."
            )
        # The file holds (n, band, row, col), as hypercover does everywhere.
        windows = file["windows"][rows].astype("float32")
        labels = file["labels"][:][rows]
    return np.transpose(windows, (0, 2, 3, 1))[..., np.newaxis], labels


def classes_of(path):
    """Return the class codes of the file in rising order, and their names.

    They come from the legend: numbering the labels of one part anew would shift every code
    behind a class that this part lacks.
    """
    with h5py.File(path) as file:
        legend = json.loads(file.attrs["legend"])
    legend.sort(key=lambda entry: entry["code"])
    return np.array([entry["code"] for entry in legend]), [
        entry["name"] for entry in legend
    ]


def build(window, bands, classes):
    """Build the lecture's 'standard model': 48, 32, 32 filters of 3 × 3 × 5, 128, 128."""
    return keras.Sequential(
        [
            keras.Input((window, window, bands, 1)),
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


def compile_as(model, quick):
    """Give the model the lecture's loss and descent, or a faster recipe."""
    if quick:
        model.compile(
            loss="categorical_crossentropy",
            optimizer=keras.optimizers.AdamW(1e-3),
            metrics=["accuracy"],
        )
        return
    # rate / (1 + decay · iteration), as Keras 2 wrote decay=5e-6
    rate = keras.optimizers.schedules.InverseTimeDecay(1.0, 1, 5e-6)
    model.compile(loss="mse", optimizer=keras.optimizers.SGD(rate), metrics=["accuracy"])


def main():
    """Train on the training windows of a file and test on its test windows."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("windows", help="window file with a training and a test part")
    parser.add_argument("--epochs", type=int, help="passes over the training windows")
    parser.add_argument("--quick", action="store_true", help="AdamW, 12 passes")
    asked = parser.parse_args()
    keras.utils.set_random_seed(0)

    codes, names = classes_of(asked.windows)
    x, labels = load(asked.windows, TRAIN)
    # Mean and deviation of each band over the training pixels, the centres of their windows.
    middle = x.shape[1] // 2
    pixels = x[:, middle, middle, :, 0]
    mean, deviation = pixels.mean(axis=0), pixels.std(axis=0)
    deviation[deviation == 0] = 1
    scale = (1 / deviation)[:, np.newaxis]
    x = (x - mean[:, np.newaxis]) * scale
    y = keras.utils.to_categorical(np.searchsorted(codes, labels), len(codes))

    model = build(x.shape[1], x.shape[3], len(codes))
    compile_as(model, asked.quick)
    epochs = asked.epochs or (12 if asked.quick else 600)
    model.fit(x, y, batch_size=BATCH, epochs=epochs, verbose=2)

    x, labels = load(asked.windows, TEST)
    x -= mean[:, np.newaxis]
    x *= scale
    predicted = codes[model.predict(x, batch_size=256, verbose=0).argmax(axis=1)]
    for code, name in zip(codes, names, strict=True):
        here = labels == code
        if here.any():
            right = 100 * np.mean(predicted[here] == code)
            print(f"{code:3d} {name}: {right:.1f} % of {here.sum()} test pixels")
    print(f"overall accuracy: {100 * np.mean(predicted == labels):.1f} %")


if __name__ == "__main__":
    main()
