"""Precision: in what numbers a network computes."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from hypercover.classifiers.dense import exact
from hypercover.errors import ModelError

__all__ = ["computing"]

_UNITS = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
"""Functions of ``torch.cpu`` that tell of units for bfloat16."""
_FIRST_GPU = (8, 0)
"""Compute capability from which on a GPU has them."""


@contextmanager
def computing(precision: str, device: torch.device) -> Iterator[None]:
    """Compute in full float32, or where that is exact enough in bfloat16.

    Why it exists: units for bfloat16 multiply several times faster.  Weights,
    their gradients and the loss stay float32.  A processor without such units
    would be slower than in float32, so there it is refused.

    Parameters
    ----------
    precision : {"float32", "mixed"}
        ``float32``: repeatable and without TF32; ``mixed``: convolutions and
        matrix products in bfloat16.
    device : device
        Where the network is.

    Raises
    ------
    ModelError
        If the precision is unknown or the device has no units for bfloat16.

    Examples
    --------
    >>> layer, values = torch.nn.Linear(2, 2), torch.ones(1, 2)
    >>> with computing("float32", values.device):
    ...     layer(values).dtype
    torch.float32
    """
    if precision not in ("float32", "mixed"):
        raise ModelError(f"The precision must be float32 or mixed, got {precision!r:.40}.")
    mixed = precision == "mixed"
    if mixed and not _has_units(device):
        raise ModelError(
            "The precision mixed computes in bfloat16, for which "
            f"{_name(device)} has no units; use precision float32."
        )
    with exact(), torch.autocast(device.type, torch.bfloat16, enabled=mixed):
        yield


def _has_units(device: torch.device) -> bool:
    """Tell whether a device multiplies bfloat16 in hardware."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= _FIRST_GPU
    # older releases of PyTorch lack one or the other
    return any(getattr(torch.cpu, name, bool)() for name in _UNITS)


def _name(device: torch.device) -> str:
    """Say what a device is."""
    if device.type == "cuda":
        return f"the GPU {torch.cuda.get_device_name(device)}"
    return "this processor"
