"""The compiler: a network made into code for the machine it runs on."""

import os
import shutil
from typing import cast

import torch
from torch import nn

from hypercover.classifiers.networks.dropout import Dropout
from hypercover.errors import ModelError

__all__ = ["check_compiler", "compiled"]


def check_compiler(device: torch.device) -> None:
    """Refuse to compile for the CPU where there is no C++ compiler.

    Raises
    ------
    ModelError
        If there is none.
    """
    compiler = os.environ.get("CXX", "g++")
    if device.type == "cpu" and shutil.which(compiler) is None:
        raise ModelError(
            f"To compile a network for the CPU takes a C++ compiler, but {compiler} is not "
            "here; install g++ or leave compile out."
        )


def compiled(network: nn.Module) -> nn.Module:
    """Return a network with the same weights whose layers are compiled when first used.

    Raises
    ------
    ModelError
        If it is on the CPU and there is no C++ compiler here.
    """
    check_compiler(next(network.parameters()).device)
    Dropout.stay_out()
    return cast(nn.Module, torch.compile(network, dynamic=False))
