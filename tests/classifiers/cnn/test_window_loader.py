"""Windows are the same from memory, from their cube, or cut for every batch."""

import numpy as np
import pytest
import torch

from hypercover.classifiers.cnn import window_loader
from hypercover.classifiers.cnn.window_loader import CubeWindows, WindowLoader
from hypercover.classifiers.scaling import Scaling
from hypercover.windows.windows import Windows


class Listed:
    """Lazy windows that say of no cube that they lie in it, as those of a file."""

    def __init__(self, windows):
        self.windows, self.shape = windows, windows.shape

    def __len__(self):
        return len(self.windows)

    def __getitem__(self, key):
        return Listed(self.windows[key])

    def cut(self):
        return self.windows.cut()


def windows_of_a_cube(dtype=np.float32, size=5):
    rng = np.random.default_rng(0)
    cube = rng.integers(0, 4000, size=(6, 12, 11)).astype(dtype)
    rows, cols = rng.integers(0, 12, 80), rng.integers(0, 11, 80)
    return Windows(cube, rows, cols, size)


def scaling(stack, kind):
    spectra = stack.centres()
    if kind == "standard":
        return Scaling.standard(spectra)
    return Scaling.noise_adjusted(spectra, np.eye(6) * 1e4, 4)


@pytest.mark.parametrize("kind", ["standard", "cleared"])
@pytest.mark.parametrize("dtype", [np.float32, np.uint16, np.int16])
@pytest.mark.parametrize("size", [1, 5])
def test_windows_are_the_same_kept_gathered_from_their_cube_or_cut(
    monkeypatch, kind, dtype, size
):
    stack = windows_of_a_cube(dtype, size)
    scaled = scaling(stack, kind)
    kept = WindowLoader(stack, scaled)
    monkeypatch.setattr(window_loader, "_MAX_WINDOW_BYTES", 0)
    monkeypatch.setattr(window_loader, "_STRIP_BYTES", 4 * 6 * 15 * 2)
    stack_of_more = stack[np.tile(np.arange(80), 30)]
    gathered, cut = WindowLoader(stack_of_more, scaled), WindowLoader(Listed(stack), scaled)
    assert kept._windows is not None
    assert (gathered._windows, gathered._cube is None) == (None, False)
    assert (cut._windows, cut._cube) == (None, None)
    which = torch.tensor([3, 79, 0, 3])
    wanted = kept.batch(which)
    assert wanted.shape == (4, scaled.outputs, size, size)
    torch.testing.assert_close(gathered.batch(which), wanted, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(cut.batch(which), wanted, atol=1e-5, rtol=1e-5)
    assert len(gathered) == 2400
    assert gathered.values == scaled.outputs


def test_few_windows_of_a_large_cube_do_not_take_the_cube(monkeypatch):
    stack = windows_of_a_cube()[:2]
    monkeypatch.setattr(window_loader, "_MAX_WINDOW_BYTES", 0)
    loader = WindowLoader(stack, scaling(windows_of_a_cube(), "standard"))
    assert (loader._windows, loader._cube) == (None, None)


def test_windows_of_a_cube_are_known_by_what_they_offer():
    assert isinstance(windows_of_a_cube(), CubeWindows)
    assert not isinstance(Listed(windows_of_a_cube()), CubeWindows)
    assert not isinstance(windows_of_a_cube().cut(), CubeWindows)
