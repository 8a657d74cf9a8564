"""A small scene, a whole run folder, and a real browser to look at its report."""

import json
import os
import select
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
import xarray as xr

from hypercover.maps import draw
from hypercover.samples.split import Split
from hypercover.scene.grid import Grid, with_grid
from hypercover.scene.legend import Legend
from hypercover.scene.scene import Scene

HOSTILE = "<script>window.hacked=1</script>\"'><img src=x onerror=window.hacked=2> $\\frac{"


@pytest.fixture(scope="session")
def land():
    """40 × 53 pixels, 8 bands with a gap, three classes, one of a hostile name."""
    random = np.random.default_rng(7)
    labels = np.zeros((40, 53), np.uint8)
    labels[2:12, 3:40], labels[15:28, 10:50], labels[30:38, 1:30] = 1, 4, 9
    values = random.normal(100, 5, (8, 40, 53)) + 30 * labels
    values[:, 0] = np.nan
    bands = [1, 2, 3, 4, 9, 10, 11, 12]
    cube = xr.DataArray(
        values.astype(np.float32),
        dims=("band", "y", "x"),
        coords={"band": bands, "wavelength": ("band", 400.0 + 50 * np.array(bands))},
    )
    legend = Legend.of({1: "Corn", 4: HOSTILE, 9: "Soy\nbean"})
    grid = Grid(40, 53, "EPSG:32616", (20.0, 0.0, 500_000.0, 0.0, -20.0, 4_480_000.0))
    return Scene(with_grid(cube, grid), labels, legend, "small-field")


@pytest.fixture(scope="session")
def split(land):
    random = np.random.default_rng(1)
    parts = np.where(land.labels > 0, random.integers(1, 5, land.shape), 0)
    return Split(parts.astype(np.uint8), kind="blocks", window=5)


def model_json(accuracy, window):
    rows = [
        (1, "Corn", 40, 100, 0.9, 0.8, 0.847),
        (4, HOSTILE, 30, 120, 0.7, 0.95, 0.806),
        (9, "Soy\nbean", 10, 0, None, 0.0, None),
    ]
    keys = ("code", "name", "train_count", "test_count")
    keys += ("producers_accuracy", "users_accuracy", "f1")
    return {
        "description": f"a {HOSTILE} model",
        "overall_accuracy": accuracy,
        "average_accuracy": accuracy - 0.02,
        "kappa": accuracy - 0.1,
        "per_class": [dict(zip(keys, row, strict=True)) for row in rows],
        "confusion": {"codes": [1, 4, 9], "matrix": [[90, 6, 4], [30, 84, 6], [0, 0, 0]]},
        "leakage": {"window": window, "centre_in_window": 0.904, "window_overlap": 1.0},
        "validation_accuracy": accuracy,
        "train_seconds": 3.2,
        "predict_seconds": 0.4,
        "repeats": [],
        "spread": None,
    }


def split_json(kind):
    return {
        "kind": kind,
        "settings": {"size": 15, "train": 0.25, "guard": 4},
        "window": 5,
        "train": {"count": 80, "per_class": {"1": 40, "4": 30, "9": 10}},
        "test": {"count": 220, "per_class": {"1": 100, "4": 120, "9": 0}},
        "unscored": [{"code": 9, "name": "Soy\nbean", "reason": "no test pixel"}],
    }


@pytest.fixture
def metrics(land):
    return {
        "name": f"first {HOSTILE}",
        "seed": 3,
        "created": "2031-02-03T04:05:06",
        "versions": {"numpy": "2.4", "torch": None},
        "scene": {
            "name": land.name,
            "source": "field.hdr",
            "rows": 40,
            "cols": 53,
            "bands": 8,
            "simulated": True,
            "wavelengths": [450.0, 1000.0],
            "crs": None,
            "notes": [f"A note. {HOSTILE}"],
        },
        "legend": land.legend.to_json(),
        "split": split_json("blocks"),
        "models": {"svm": model_json(0.63, 1), "cnn": model_json(0.71, 5)},
        "best": "cnn",
        "beside": {
            "random": {
                "split": split_json("random"),
                "models": {"svm": model_json(0.88, 1), "cnn": model_json(0.99, 5)},
            }
        },
    }


@pytest.fixture(scope="session")
def figures(tmp_path_factory, land, split):
    """The pictures of a run, drawn once for all tests."""
    figures = tmp_path_factory.mktemp("figures")
    draw.save(draw.draw_quicklook(land), figures / "scene.png")
    draw.save(draw.draw_labels(land), figures / "labels.png")
    draw.save(draw.draw_spectra(land), figures / "spectra.png")
    for name in ("split", "split-random"):
        draw.save(draw.draw_split(land, split), figures / f"{name}.png")
    for model in ("svm", "cnn"):
        pictures = {
            "map": draw.draw_map(land.labels, land.legend, model),
            "confidence": draw.draw_confidence(np.full(land.shape, 0.5), model),
            "check": draw.draw_check(land.labels, land.labels, split, model),
        }
        for what, figure in pictures.items():
            draw.save(figure, figures / f"{what}-{model}.png")
    return figures


@pytest.fixture
def run_folder(tmp_path, figures, metrics):
    """A run folder as a finished experiment leaves it."""
    shutil.copytree(figures, tmp_path / "figures")
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    (tmp_path / "experiment.yaml").write_text(f"name: first\n# {HOSTILE}\n")
    log = [
        {"model": "cnn", "split": split, "seed": 3, "epoch": epoch, "loss": 1 / epoch}
        for split in ("main", "random")
        for epoch in range(1, 6)
    ]
    (tmp_path / "log.jsonl").write_text("\n".join(map(json.dumps, log)) + '\n{"cut": 1')
    return tmp_path


_START = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4);"
    "os.set_inheritable(3, True); os.set_inheritable(4, True);"
    "os.execvp(sys.argv[3], sys.argv[3:])"
)
_QUIET = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--remote-debugging-pipe",
]


class Browser:
    """A real browser, spoken to over its two pipes in its own protocol."""

    def __init__(self, program, profile):
        to_read, self._out = os.pipe()
        self._in, to_write = os.pipe()
        pipes = (to_read, to_write)
        call = [sys.executable, "-c", _START, *map(str, pipes), program, *_QUIET]
        self.process = subprocess.Popen(
            [*call, f"--user-data-dir={profile}", "about:blank"],
            pass_fds=pipes,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for pipe in pipes:
            os.close(pipe)
        self._rest, self._serial, self._session = b"", 0, None
        self.events = []
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        attached = self.ask("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")

    def _message(self, deadline):
        while b"\0" not in self._rest:
            left = deadline - time.monotonic()
            ready, _, _ = select.select([self._in], [], [], max(left, 0))
            assert ready, "the browser did not answer in time"
            part = os.read(self._in, 2**20)
            assert part, "the browser went away"
            self._rest += part
        text, _, self._rest = self._rest.partition(b"\0")
        return json.loads(text)

    def ask(self, method, **params):
        """Send a command and return its result, keeping the events on the way."""
        self._serial += 1
        call = {"id": self._serial, "method": method, "params": params}
        if self._session:
            call["sessionId"] = self._session
        os.write(self._out, json.dumps(call).encode() + b"\0")
        deadline = time.monotonic() + 30
        while True:
            message = self._message(deadline)
            if message.get("id") == self._serial:
                assert "error" not in message, message
                return message["result"]
            self.events.append(message)

    def open(self, path, *, width=1200):
        """Show a file and wait until it has loaded."""
        self.events.clear()
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self.ask("Emulation.setDeviceMetricsOverride", **size)
        self.ask("Page.navigate", url=path.as_uri())
        deadline = time.monotonic() + 30
        while not any(one.get("method") == "Page.loadEventFired" for one in self.events):
            self.events.append(self._message(deadline))
        self.value("Promise.all([...document.images].map(i => i.decode().catch(() => 0)))")

    def value(self, expression):
        """Return the value of an expression on the page."""
        asked = {"expression": expression, "awaitPromise": True, "returnByValue": True}
        found = self.ask("Runtime.evaluate", **asked)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def params(self, method):
        """Return what was said in the events of one kind."""
        return [one["params"] for one in self.events if one.get("method") == method]

    def close(self):
        self.process.terminate()
        self.process.wait(timeout=20)
        os.close(self._in)
        os.close(self._out)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    names = ("chromium", "chromium-browser", "google-chrome")
    program = next(filter(None, map(shutil.which, names)), None)
    if program is None:
        reason = "NO BROWSER: chromium is not installed, so the report was not looked at"
        if os.environ.get("CI"):
            pytest.fail(f"{reason}, which CI must do; install it")
        pytest.skip(reason)
    opened = Browser(program, tmp_path_factory.mktemp("profile"))
    yield opened
    opened.close()
