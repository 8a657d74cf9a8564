"""Precision: in what numbers a network computes."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["computing"]


@contextmanager
def computing(precision: str, device: torch.device) -> Iterator[None]:
    """Compute in ``float32``, or in bfloat16 where that is exact enough (``mixed``)."""
    with torch.autocast(device.type, torch.bfloat16, enabled=precision == "mixed"):
        yield
