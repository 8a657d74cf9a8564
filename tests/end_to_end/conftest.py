"""A small simulated scene, a whole run of it, and what the tests do with both."""

import contextlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import rasterio
import yaml

COMMAND = Path(sys.executable).with_name("hypercover")
MODELS = {
    "svm": {"kind": "svm"},
    "cnn": {"kind": "cnn", "window": 5, "epochs": 2},
    "forest": {
        "kind": "sklearn",
        "estimator": "sklearn.ensemble.RandomForestClassifier",
        "parameters": {"n_estimators": 15},
    },
}
BLOCKS = {"kind": "blocks", "size": 8, "train": 0.3, "guard": 4, "validation": 0.2}
ONE_THREAD = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def on_two_cores() -> None:
    """Give a process two cores, so that one worker of two has one thread anywhere."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])


def shell(*words: object, **options) -> subprocess.CompletedProcess[str]:
    """Call the real command in a process of its own."""
    command = [str(COMMAND), *map(str, words)]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        env=ONE_THREAD,
        check=False,
        preexec_fn=on_two_cores,
        **options,
    )


def here(*words: object) -> SimpleNamespace:
    """Call the command in this process, which has loaded what takes seconds to load."""
    from hypercover.cli.main import main

    said = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(said):
        patch.setattr(sys, "argv", ["hypercover", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
    return SimpleNamespace(code=ended.value.code or 0, out=said.getvalue())


def experiment(scene: SimpleNamespace, folder: Path, **changes) -> Path:
    """Write an experiment on the small scene into a folder."""
    document = {
        "name": "tiny",
        "seed": 3,
        "scene": {"path": str(scene.image), "labels": str(scene.labels)},
        "split": BLOCKS,
        "models": MODELS,
        # Answers are held against maps, so these are by the models that were tested;
        # test_map_from has those that were trained on all labelled pixels.
        "map_from": "split",
        "device": "cpu",
    } | changes
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def pixels(path: Path) -> np.ndarray:
    with rasterio.open(path) as file:
        return file.read(1)


def figures(metrics: dict) -> dict:
    """Return the metrics without what no two runs share: the clock and the times."""
    timed = {"checksum", "created", "train_seconds", "predict_seconds"}

    def bare(value):
        if isinstance(value, dict):
            return {key: bare(inner) for key, inner in value.items() if key not in timed}
        return [bare(inner) for inner in value] if isinstance(value, list) else value

    return bare(metrics)


def figures_of(folder: Path) -> dict:
    return figures(json.loads((folder / "metrics.json").read_text()))


@pytest.fixture(scope="session")
def desk() -> SimpleNamespace:
    """What the tests work with: how to call the command and how to read its files."""
    return SimpleNamespace(
        command=COMMAND,
        models=MODELS,
        blocks=BLOCKS,
        environment=ONE_THREAD,
        on_two_cores=on_two_cores,
        shell=shell,
        here=here,
        experiment=experiment,
        pixels=pixels,
        figures=figures,
        figures_of=figures_of,
    )


@pytest.fixture(scope="session")
def scene(tmp_path_factory) -> SimpleNamespace:
    """A simulated scene of 64 × 64 pixels, 24 bands and 4 classes."""
    image = tmp_path_factory.mktemp("scene") / "tiny.tif"
    size = ["--rows", 64, "--cols", 64, "--bands", 24, "--classes", 4, "--seed", 1]
    made = shell("simulate", image, *size)
    assert made.returncode == 0, made.stderr
    labels = image.with_name("tiny-labels.tif")
    assert f"Image (simulated): {image}\nLabels: {labels}\n" == made.stdout
    with rasterio.open(labels) as file:
        codes = file.read(1)
    return SimpleNamespace(image=image, labels=labels, codes=codes)


@pytest.fixture(scope="session")
def finished(scene, tmp_path_factory) -> SimpleNamespace:
    """A whole run: three models, blocks and a random split beside them, all maps."""
    folder = tmp_path_factory.mktemp("finished")
    beside = {"random": {"kind": "random", "train": 0.1}}
    path = experiment(scene, folder, beside=beside)
    ended = shell("run", path, "-o", folder / "run")
    assert ended.returncode == 0, ended.stderr
    return SimpleNamespace(
        path=path,
        folder=folder / "run",
        out=ended.stdout,
        err=ended.stderr,
        metrics=json.loads((folder / "run" / "metrics.json").read_text()),
    )


@pytest.fixture
def cluster(desk, slurm) -> SimpleNamespace:
    """The command as somebody on the login node calls it."""

    nobody = {"XDG_CONFIG_HOME": "/nowhere"}

    def call(*words: object, code: int = 0, **environment: str) -> str:
        done = subprocess.run(
            [str(desk.command), *map(str, words)],
            capture_output=True,
            text=True,
            env=desk.environment | slurm.environment | nobody | environment,
            check=False,
        )
        assert done.returncode == code, (words, done.stdout, done.stderr)
        return done.stdout + done.stderr

    def outputs(folder: Path) -> str:
        return "".join(path.read_text() for path in sorted(folder.glob("jobs/*.out")))

    return SimpleNamespace(call=call, slurm=slurm, outputs=outputs)
