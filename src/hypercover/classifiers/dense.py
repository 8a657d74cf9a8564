"""Prediction by a trained network: window by window, or a whole tile in one pass."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from hypercover.classifiers.scaling import Scaling
from hypercover.classifiers.stack import Stack, check_finite, cut, pieces
from hypercover.errors import ModelError

__all__ = ["device_of", "exact", "predict_tile", "predict_windows"]


def device_of(name: str) -> torch.device:
    """Return the device of a name; ``auto`` takes a GPU where there is one.

    Raises
    ------
    ModelError
        If the name is unknown or there is no GPU to be had.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise ModelError(f"The device must be auto, cpu or cuda, got {name!r}.")
    found = torch.cuda.is_available()
    if name == "cuda" and not found:
        raise ModelError(
            "The device cuda was asked for but PyTorch finds no usable GPU here; "
            "use device auto or cpu."
        )
    return torch.device("cuda" if found and name != "cpu" else "cpu")


@contextmanager
def exact() -> Iterator[None]:
    """Keep a GPU to repeatable kernels in full float32, so that answers agree."""
    with torch.backends.cudnn.flags(
        enabled=True, benchmark=False, deterministic=True, allow_tf32=False
    ):
        yield


def predict_windows(
    network: nn.Module, scaling: Scaling, stack: Stack
) -> npt.NDArray[np.float64]:
    """Return probabilities (n, class) of a stack (n, band, row, col)."""
    parts = []
    for piece in pieces(stack):
        windows = cut(stack, piece)
        check_finite(windows)
        scores = _scores(network, scaling, windows)[:, :, 0, 0]
        parts.append(scores.double().softmax(1).numpy())
    return np.concatenate(parts)


def predict_tile(
    network: nn.Module, scaling: Scaling, tile: npt.NDArray[np.generic]
) -> npt.NDArray[np.float32]:
    """Return probabilities (class, row, col) of a tile (band, row, col) with its margin."""
    check_finite(tile)
    scores = _scores(network, scaling, tile[None])[0]
    probabilities: npt.NDArray[np.float32] = scores.softmax(0).numpy()
    return probabilities


def _scores(
    network: nn.Module, scaling: Scaling, stack: npt.NDArray[np.generic]
) -> torch.Tensor:
    """Return the scores (n, class, row, col) of raw values, on the CPU."""
    device = next(network.parameters()).device
    with torch.inference_mode(), exact():
        scores: torch.Tensor = network(scaling.apply(stack).to(device))
        return scores.cpu()
