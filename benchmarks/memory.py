"""Peak memory of each command at four sizes of a scene, from 145 × 145 to 2834 × 1234 pixels.

The scenes are simulated, the largest with four times the pixels of the flight line of
Indian Pines.  They have few bands, so that the table takes minutes, and equally many
labelled pixels, so that only the size of the scene differs.  Each command runs in a
process of its own.  A row ends with the largest peak over the smallest; the last line
is the largest of these.

    python benchmarks/memory.py [--bands 16] [--sizes 145x145,610x340] [--only info,predict]
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from rasterio.enums import Resampling
from rasterio.windows import Window

SIZES = "145x145,610x340,1417x617,2834x1234"
AVERAGE = Resampling.average
LABELLED = 4_000
"""Labelled pixels of every scene."""
# What getrusage says of a process counts the program that started it as well.
PROGRAM = r"""
import re, sys
from pathlib import Path
from hypercover.cli.main import main
told = Path(sys.argv.pop(1))
try:
    main()
finally:
    status = Path("/proc/self/status").read_text()
    told.write_text(re.search(r"VmHWM:\s+(\d+) kB", status)[1])
"""
EXPERIMENT = {
    "name": "fields",
    "split": {"kind": "random", "train": 0.1},
    "models": {"svm": {"kind": "svm"}, "cnn": {"kind": "cnn", "window": 5, "epochs": 1}},
    "device": "cpu",
}


def peak(*words: object) -> float:
    """Run hypercover; return the MiB it held at its peak."""
    with tempfile.NamedTemporaryFile("r") as told:
        call = [sys.executable, "-c", PROGRAM, told.name, *map(str, words)]
        ended = subprocess.run(call, capture_output=True, text=True, check=False)
        if ended.returncode:
            sys.exit(f"hypercover {words[0]} failed: {ended.stderr.strip()[-500:]}")
        return int(told.read()) / 1024


def thin(labels: Path) -> None:
    """Leave as many labelled pixels as every scene has, class by class."""
    with rasterio.open(labels, "r+") as file:
        codes = file.read(1)
        chance = np.random.default_rng(0)
        classes = np.unique(codes[codes > 0])
        for code in classes:
            places = chance.permutation(np.flatnonzero(codes == code))
            codes.flat[places[LABELLED // len(classes) :]] = 0
        file.write(codes, 1)


class Desk:
    """The files of one scene, and the commands to be measured on them."""

    def __init__(self, folder: Path, size: str, bands: int, models: Path | None) -> None:
        self.folder, self.bands = folder, bands
        self.rows, self.cols = map(int, size.split("x"))
        self.image, self.labels = folder / "scene.tif", folder / "scene-labels.tif"
        self.experiment = folder / "fields.yaml"
        self.models = models or folder / "run" / "models"
        scene = {"path": str(self.image), "labels": str(self.labels)}
        self.experiment.write_text(json.dumps(EXPERIMENT | {"scene": scene}))

    def simulate(self) -> float:
        """Make the scene."""
        size = ("--rows", self.rows, "--cols", self.cols, "--bands", self.bands)
        measured = peak("simulate", self.image, *size, "--classes", 4)
        thin(self.labels)
        return measured

    def info(self) -> float:
        """Look at it."""
        return peak("info", self.image, "--labels", self.labels, "-o", self.folder)

    def libsvm(self) -> float:
        """Write its labelled pixels as text."""
        return peak("libsvm", "write", *self._labelled("f.el"))

    def libsvm_read(self) -> float:
        """Make a scene of that text again."""
        return peak("libsvm", "read", self.folder / "f.el", "-o", self.folder / "f.tif")

    def windows(self) -> float:
        """Write windows around them."""
        return peak("windows", *self._labelled("W.h5"), "--size", 5)

    def features(self) -> float:
        """Compute components of all pixels."""
        out = self.folder / "features.tif"
        return peak("features", self.image, "--chain", "pca:3", "-o", out)

    def profiles(self) -> float:
        """Compute attribute profiles: the tree of shapes needs a whole band."""
        out = self.folder / "profiles.tif"
        return peak("features", self.image, "--chain", "pca:1,esdap:area=50/500", "-o", out)

    def clip(self) -> float:
        """Cut out the labelled pixels."""
        return peak("clip", self.image, self.labels, "-o", self.folder / "clip.tif")

    def pansharpen(self) -> float:
        """Sharpen four bands with a grey image of the scene's size."""
        pair = self.folder / "pan.tif", self.folder / "bands.tif"
        with rasterio.open(self.image) as file:
            for path, bands, ratio in zip(pair, ([1], [2, 3, 4, 5]), (1, 4), strict=True):
                self._coarse(file, path, bands, ratio)
        return peak("pansharpen", *pair, "-o", self.folder / "sharp.tif")

    def _coarse(self, file: Any, path: Path, bands: list[int], ratio: int) -> None:
        rows, cols = self.rows // ratio, self.cols // ratio
        window = Window(0, 0, cols * ratio, rows * ratio)
        shape = (len(bands), rows, cols)
        values = file.read(bands, out_shape=shape, window=window, resampling=AVERAGE)
        placed = file.transform @ Affine.scale(ratio)
        size = {"height": rows, "width": cols, "count": len(bands)}
        kind = {"driver": "GTiff", "dtype": values.dtype, "crs": file.crs}
        with rasterio.open(path, "w", **kind, **size, transform=placed) as made:
            made.write(values)

    def run(self) -> float:
        """Train two models, map the scene and write the report."""
        return peak("run", self.experiment, "-o", self.folder / "run", "--workers", 1)

    def classify(self) -> float:
        """Make a map of it in one command."""
        model = ("--model", "svm", "--workers", 1)
        return peak("classify", *self._labelled("classified"), *model)

    def gap(self) -> float:
        """Train the models under three splits."""
        return peak("gap", self.experiment, "-o", self.folder / "gap", "--workers", 1)

    def plan(self) -> float:
        """Say what a run would do."""
        return peak("plan", self.experiment, "-o", self.folder / "planned")

    def search(self) -> float:
        """Search C and gamma under two kinds of folds."""
        return peak("search", self.experiment, "-o", self.folder / "search")

    def report(self) -> float:
        """Write the report of the run again."""
        return peak("report", self.folder / "run")

    def compare(self) -> float:
        """Compare its two models."""
        return peak("compare", self.folder / "run", "-o", self.folder / "comparison")

    def polygons(self) -> float:
        """Turn a map into polygons."""
        return peak("export", self._map, "-o", self.folder / "polygons.gpkg")

    def area(self) -> float:
        """Estimate the areas of a map by a sample of the labels."""
        return peak("area", self._map, "--reference", self.labels)

    @property
    def _map(self) -> Path:
        return self.folder / "run" / "maps" / "svm.tif"

    def predict_svm(self) -> float:
        """Map the scene with a kept SVM."""
        return self._predict("svm")

    def predict_cnn(self) -> float:
        """Map the scene with a kept network."""
        return self._predict("cnn")

    def _labelled(self, name: str) -> tuple[object, ...]:
        return (self.image, "--labels", self.labels, "-o", self.folder / name)

    def _predict(self, model: str) -> float:
        out = self.folder / f"{model}.tif"
        return peak("predict", self.models / model, self.image, "-o", out)


COMMANDS: dict[str, Callable[[Desk], float]] = {
    "simulate": Desk.simulate,
    "info": Desk.info,
    "libsvm": Desk.libsvm,
    "libsvm-read": Desk.libsvm_read,
    "windows": Desk.windows,
    "features": Desk.features,
    "profiles": Desk.profiles,
    "clip": Desk.clip,
    "pansharpen": Desk.pansharpen,
    "run": Desk.run,
    "classify": Desk.classify,
    "gap": Desk.gap,
    "plan": Desk.plan,
    "search": Desk.search,
    "report": Desk.report,
    "compare": Desk.compare,
    "export": Desk.polygons,
    "area": Desk.area,
    "predict-svm": Desk.predict_svm,
    "predict-cnn": Desk.predict_cnn,
}

OF_LIBSVM = {"libsvm-read"}
"""Commands on what libsvm leaves."""
OF_A_RUN = {"report", "compare", "export", "area", "predict-svm", "predict-cnn"}
"""Commands on what a run leaves."""


def measure(sizes: list[str], bands: int, names: list[str]) -> dict[str, list[float]]:
    """Return the peaks (MiB) of each command at each size."""
    found: dict[str, list[float]] = {name: [] for name in names}
    before = {"simulate"} | ({"libsvm"} if OF_LIBSVM & set(names) else set())
    needed = [name for name in COMMANDS if name in before | set(names)]
    with tempfile.TemporaryDirectory() as folder:
        models = None
        for size in sizes:
            place = Path(folder) / size
            place.mkdir()
            desk = Desk(place, size, bands, models)
            for name in needed:
                measured = COMMANDS[name](desk)
                print(f"{size} {name}: {measured:,.0f} MiB", file=sys.stderr)
                if name in found:
                    found[name].append(measured)
            # The model of the smallest scene maps all of them.
            models = models or desk.models
    return found


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bands", type=int, default=16)
    parser.add_argument("--sizes", default=SIZES)
    parser.add_argument("--only", default=",".join(COMMANDS))
    asked = parser.parse_args()
    sizes, names = asked.sizes.split(","), asked.only.split(",")
    unknown = set(names) - set(COMMANDS)
    if unknown or ("run" not in names and OF_A_RUN & set(names)):
        parser.error(
            f"--only takes {', '.join(COMMANDS)}; {', '.join(sorted(OF_A_RUN))} need run."
        )
    found = measure(sizes, asked.bands, names)
    print(f"Peak memory in MiB; {asked.bands} bands, {LABELLED:,} labelled pixels at most")
    print(f"{'':12}" + "".join(f"{size:>12}" for size in sizes) + f"{'ratio':>8}")
    ratios = {}
    for name, peaks in found.items():
        ratios[name] = max(peaks) / min(peaks)
        cells = "".join(f"{one:12,.0f}" for one in peaks)
        print(f"{name:12}{cells}{ratios[name]:8.2f}")
    print(f"ratio: {max(ratios.values()):.2f}")


if __name__ == "__main__":
    main()
