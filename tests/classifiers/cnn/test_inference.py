"""A whole tile at once must say what window by window says, in the memory that is left."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from hypercover.classifiers.cnn.cnn_classifier import CNNClassifier
from hypercover.classifiers.cnn.inference import forward_memory, peak_memory, square_side
from hypercover.classifiers.networks.lecture import convolve_pooled
from hypercover.classifiers.networks.network import Network
from hypercover.errors import ModelError
from hypercover.windows.windows import Windows

BANDS, WINDOW = 24, 9


class Unfit(Network):
    """Answers otherwise for a tile: it takes the mean of all the pixels it is given."""

    spatially_valid = False

    def __init__(self, bands, classes, window):
        super().__init__(bands, classes, window)
        self.layer = nn.Conv2d(bands, classes, 1)

    def reset(self, generator):
        nn.init.normal_(self.layer.weight, generator=generator)
        nn.init.zeros_(self.layer.bias)

    def forward(self, windows):
        assert windows.shape[2:] == (WINDOW, WINDOW), "a tile was passed at once"
        return self.layer(windows.mean(dim=(2, 3), keepdim=True))


def cube(rows, cols, seed=0):
    return np.random.default_rng(seed).normal(size=(BANDS, rows, cols)).astype(np.float32)


def trained(network):
    rows, cols = np.indices((6, 7)).reshape(2, -1)
    windows = Windows(cube(12, 12), rows + 3, cols + 3, WINDOW)
    return CNNClassifier(network, epochs=1, random_state=0).fit(windows, rows % 3 + 1)


@pytest.fixture(scope="module")
def models():
    found = {name: trained(name) for name in ("default", "lecture")}
    unfit = trained("default")
    unfit.network_ = Unfit(unfit.scaling_.outputs, 3, WINDOW)
    unfit.network_.reset(torch.Generator().manual_seed(0))
    return found | {"unfit": unfit}


def least(model, side):
    return forward_memory(model.network_, model.scaling_, WINDOW, side)


@pytest.mark.parametrize("name", ["default", "lecture", "unfit"])
@pytest.mark.parametrize("side", [1, 4, 16, None])
def test_a_tile_gets_the_answers_of_its_windows(models, name, side):
    model, scene = models[name], cube(21, 26, seed=1)
    shape = (21 - 8, 26 - 8) if side != 1 else (2, 3)
    scene = scene[:, : shape[0] + 8, : shape[1] + 8]
    rows, cols = np.indices(shape).reshape(2, -1)
    windows = Windows(scene, rows + 4, cols + 4, WINDOW)
    expected = model.predict_proba(windows).T.reshape(3, *shape)
    memory = None if side is None else least(model, side)
    found = model.predict_dense(scene, memory=memory)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_array_equal(found.argmax(axis=0), expected.argmax(axis=0))


@pytest.mark.parametrize("name", ["default", "lecture", "unfit"])
def test_squares_fit_the_memory_and_are_no_smaller_than_they_must(models, name):
    model = models[name]
    parts = model.network_, model.scaling_, WINDOW
    for side in (1, 2, 4, 8, 16):
        needed = least(model, side)
        assert square_side(*parts, needed) == side
        if side > 1:
            assert square_side(*parts, needed - 1) == side // 2
    with pytest.raises(ModelError, match=r"a single window needs .* allow more memory"):
        square_side(*parts, least(model, 1) - 1)


def test_squares_stay_small_enough_for_the_cache(models):
    sides = {
        name: square_side(model.network_, model.scaling_, WINDOW)
        for name, model in models.items()
    }
    assert sides["default"] > sides["lecture"] >= 32
    assert sides["unfit"] == 16


def test_the_note_is_about_the_networks_that_need_it(models, monkeypatch):
    assert models["lecture"].dense_note is None
    monkeypatch.setattr(type(models["lecture"].network_), "spatially_valid", False)
    assert (
        "The lecture network is predicted window by window" in models["lecture"].dense_note
    )


@settings(max_examples=40, deadline=None)
@given(
    bands=st.integers(9, 40),
    reach=st.integers(1, 5),
    pool=st.integers(1, 4),
    pad=st.integers(0, 2),
    bias=st.booleans(),
)
def test_phases_are_convolution_rectifying_pooling_and_padding(
    bands, reach, pool, pad, bias
):
    layer = nn.Conv3d(1, 5, (reach, 3, 3), bias=bias)
    tile = torch.randn(1, bands, 6, 7)
    with torch.inference_mode():
        plain = nn.functional.max_pool3d(torch.relu(layer(tile[:, None])), (pool, 1, 1))
        padded = nn.functional.pad(plain, (0, 0, 0, 0, pad, pad))
        found = convolve_pooled(tile, layer, pool, pad)
    torch.testing.assert_close(found, padded)


def test_phases_are_the_same_in_many_parts(monkeypatch):
    layer, tile = nn.Conv3d(1, 4, (5, 3, 3)), torch.randn(1, 60, 9, 9)
    with torch.inference_mode():
        whole = convolve_pooled(tile, layer, 3, 2)
        monkeypatch.setattr("hypercover.classifiers.networks.lecture._CACHE_BYTES", 1)
        torch.testing.assert_close(convolve_pooled(tile, layer, 3, 2), whole)


def test_the_working_set_counts_what_is_alive_together():
    def doubled_then_summed(_, values):
        twice = values * 2
        halves = [twice + 1, twice + 2]
        del twice
        return halves[0].sum() + halves[1].sum()

    size = 4 * 1000
    found = peak_memory(nn.Identity(), doubled_then_summed, 1000)
    assert 4 * size <= found < 5 * size


def test_views_take_no_memory_and_in_place_work_none():
    def work(_, values):
        return values.view(10, 100).T.relu_()[1:]

    assert peak_memory(nn.Identity(), work, 1000) == 4 * 1000


PEAK = """
import numpy as np, sys
from pathlib import Path
from hypercover.classifiers.cnn.inference import forward_memory, predict_tile
from hypercover.classifiers.networks.network_catalog import build
from hypercover.classifiers.scaling import Scaling
import torch

def most():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024

network = build("lecture", bands=200, classes=16, window=9).to_empty(device="cpu").eval()
network.reset(torch.Generator().manual_seed(0))
scaling = Scaling(np.zeros(200, np.float32), np.ones(200, np.float32))
tile = np.ones((200, 72, 72), np.float32)
predict_tile(network, scaling, tile[:, :20, :20], 9)
Path("/proc/self/clear_refs").write_text("5")
before = most()
allowed = forward_memory(network, scaling, 9, 32)
predict_tile(network, scaling, tile, 9, allowed)
print(most() - before, allowed)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_a_network_takes_no_more_memory_than_was_measured():
    answer = subprocess.run(
        [sys.executable, "-c", PEAK], capture_output=True, text=True, check=True
    )
    taken, allowed = map(int, answer.stdout.split())
    assert taken < 1.2 * allowed
    assert taken > 0.2 * allowed
