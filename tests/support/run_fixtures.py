"""A small scene, a whole run folder, and a real browser to look at its report."""

import io
import json
import os
import shutil

import numpy as np
import pytest
import xarray as xr
from PIL import Image

from hypercover.figures.canvas import save_figure
from hypercover.figures.map_figures import (
    draw_check,
    draw_confidence,
    draw_labels,
    draw_map,
    draw_quicklook,
    draw_split,
)
from hypercover.figures.spectra import draw_spectra
from hypercover.gis.map_writing import class_check
from hypercover.report.report import write_report
from hypercover.report.scene_view import ModelView, make_scene_view
from hypercover.scene.grid import Grid, with_grid
from hypercover.scene.legend import Legend
from hypercover.scene.scene import Scene
from hypercover.splits.split import Split

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
    return metrics_of(land)


def metrics_of(land):
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
    save_figure(draw_quicklook(land), figures / "scene.png")
    save_figure(draw_labels(land), figures / "labels.png")
    save_figure(draw_spectra(land), figures / "spectra.png")
    for name in ("split", "split-random"):
        save_figure(draw_split(land, split), figures / f"{name}.png")
    for model in ("svm", "cnn"):
        pictures = {
            "map": draw_map(land.labels, land.legend, model),
            "confidence": draw_confidence(np.full(land.shape, 0.5), model),
            "check": draw_check(class_check(land.labels, land.labels, split.parts), model),
        }
        for what, figure in pictures.items():
            save_figure(figure, figures / f"{what}-{model}.png")
    return figures


@pytest.fixture(scope="session")
def maps(land):
    """Class maps of two models that take some pixels of each class for another."""
    random = np.random.default_rng(5)
    codes = np.array([1, 4, 9], np.uint16)
    found = {}
    for model, wrong in (("svm", 0.3), ("cnn", 0.1)):
        guess = codes[random.integers(0, 3, land.shape)]
        keep = (random.random(land.shape) > wrong) & (land.labels > 0)
        found[model] = np.where(keep, land.labels, guess).astype(np.uint16)
    return found


@pytest.fixture(scope="session")
def ranked(maps):
    """The three classes of each model's pixels, the highest first, and their shares."""
    first = {
        model: np.stack([labels, *_others(labels)]).astype(np.uint16)
        for model, labels in maps.items()
    }
    shares = np.broadcast_to(np.array([204, 38, 13], np.uint8)[:, None, None], (3, 40, 53))
    return first, shares


def _others(labels):
    """Return the other two of the classes 1, 4 and 9 of each pixel."""
    after = {1: (4, 9), 4: (9, 1), 9: (1, 4)}
    return [np.vectorize(lambda code, at=at: after[code][at])(labels) for at in range(2)]


@pytest.fixture(scope="session")
def views(tmp_path_factory, land, split, maps, ranked):
    """What a run keeps for its page, made once for all tests."""
    folder = tmp_path_factory.mktemp("views")
    parts = {"main": split.parts, "random": np.flipud(split.parts)}
    make_scene_view(land, parts, metres=20.0).save(folder / "scene.npz")
    first, shares = ranked
    for model, labels in maps.items():
        sure = np.full(land.shape, 204, np.uint8)
        view = ModelView(labels, sure, first[model], shares, model == "cnn")
        view.save(folder / f"map-{model}.npz")
    return folder


@pytest.fixture
def old_folder(tmp_path, figures, metrics):
    """A run folder that keeps pictures and nothing to draw the map from."""
    fill_folder(tmp_path, figures, metrics)
    return tmp_path


def fill_folder(tmp_path, figures, metrics):
    shutil.copytree(figures, tmp_path / "figures")
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    (tmp_path / "experiment.yaml").write_text(f"name: first\n# {HOSTILE}\n")
    log = [
        {"model": "cnn", "split": split, "seed": 3, "epoch": epoch, "loss": 1 / epoch}
        for split in ("main", "random")
        for epoch in range(1, 6)
    ]
    (tmp_path / "log.jsonl").write_text("\n".join(map(json.dumps, log)) + '\n{"cut": 1')


@pytest.fixture
def run_folder(old_folder, views):
    """A run folder as a finished experiment leaves it."""
    shutil.copytree(views, old_folder / "view")
    return old_folder


class Page:
    """A report in a real browser, and everything the browser said of it."""

    def __init__(self, browser, path, **context):
        self.said, self.asked = [], []
        size = {"width": context.pop("width", 1200), "height": 900}
        # A page that still glides to its place is clicked beside it.
        context = {"reduced_motion": "reduce"} | context
        self.context = browser.new_context(viewport=size, **context)
        self.page = self.context.new_page()
        self.page.set_default_timeout(20_000)
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(path.as_uri())
        self.page.wait_for_selector("html[data-ready]", state="attached")

    def value(self, expression):
        """Return the value of an expression on the page."""
        return self.page.evaluate(expression)

    def text(self, selector):
        """Return the text of one element, as a person reads it."""
        return self.page.locator(selector).inner_text()

    def spot(self, row, col, shape):
        """Return where a pixel of the scene lies on the screen, in swipe mode at full view."""
        stage = self.page.locator(".stage")
        stage.scroll_into_view_if_needed()
        box = stage.bounding_box()
        scale = min(box["width"] / shape[1], box["height"] / shape[0])
        across = box["x"] + box["width"] / 2 + (col + 0.5 - shape[1] / 2) * scale
        down = box["y"] + box["height"] / 2 + (row + 0.5 - shape[0] / 2) * scale
        return across, down

    def inspect(self):
        """Click a pixel beside the border of the swipe and wait for what is said of it."""
        box = self.page.locator(".stage").bounding_box()
        place = {"x": box["width"] * 0.4, "y": box["height"] * 0.43}
        self.page.locator(".stage").click(position=place)
        self.page.wait_for_selector(".inspector h3")

    def color(self, across, down):
        """Return red, green and blue of a place on the screen."""
        clip = {"x": across, "y": down, "width": 1, "height": 1}
        picture = Image.open(io.BytesIO(self.page.screenshot(clip=clip)))
        return picture.convert("RGB").getpixel((0, 0))


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    names = ("chromium", "chromium-browser", "google-chrome")
    program = next(filter(None, map(shutil.which, names)), None)
    if program is None:
        reason = "NO BROWSER: chromium is not installed, so the report was not looked at"
        if os.environ.get("CI"):
            pytest.fail(f"{reason}, which CI must do; install it")
        pytest.skip(reason)
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def report(tmp_path_factory, land, figures, views):
    """The report of a finished run, written once for all tests that only look at it."""
    folder = tmp_path_factory.mktemp("run")
    fill_folder(folder, figures, metrics_of(land))
    shutil.copytree(views, folder / "view")
    return write_report(folder)


@pytest.fixture
def opened(browser):
    """Open a report: a call that takes its path and how the screen is."""
    pages = []

    def open_page(path, **context):
        pages.append(Page(browser, path, **context))
        return pages[-1]

    yield open_page
    for page in pages:
        page.context.close()
