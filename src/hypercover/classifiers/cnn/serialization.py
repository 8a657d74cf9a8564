"""A fitted network as settings and arrays, and back.

Saved models may come from untrusted sources: sizes are bounded, the network is first
built without memory, and only arrays of exactly its shapes are accepted.
"""

from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import nn

from hypercover.classifiers.networks.network import Network
from hypercover.classifiers.networks.network_catalog import (
    MAX_WINDOW,
    build,
    get_network,
)
from hypercover.classifiers.scaling import Scaling
from hypercover.errors import ModelError
from hypercover.types import Array

_MAX_BANDS = 100_000
_PREFIX = "network."

History = list[dict[str, int | float]]
"""Records of the epochs of a training."""


class _Parameters(BaseModel):
    """The parameters of a ``CNNClassifier``."""

    model_config = ConfigDict(extra="forbid", strict=True)

    network: str = "default"
    epochs: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    recipe: dict[str, Any] | None = None
    precision: str = "float32"
    compile: bool = False
    random_state: int | None = None
    device: str = "auto"
    """Saved by early releases, and ignored: a model may be loaded on another machine."""


class NetworkSettings(BaseModel):
    """The settings of a saved network."""

    model_config = ConfigDict(strict=True)

    parameters: _Parameters
    """Parameters of the estimator."""
    bands: Annotated[int, Field(ge=1, le=_MAX_BANDS)]
    """Number of bands."""
    window: Annotated[int, Field(ge=1, le=MAX_WINDOW)]
    """Window size in pixels."""
    classes: dict[str, Any]
    """Class labels as ``codes_to_json`` writes them."""
    history: History = []
    """Records of the epochs of the training."""

    @classmethod
    def check(cls, settings: Mapping[str, Any]) -> "NetworkSettings":
        """Validate settings read from a file.

        Raises
        ------
        ModelError
            If one is missing, of the wrong type or out of range.
        """
        try:
            checked = cls.model_validate(settings)
        except ValidationError as error:
            location = error.errors(include_url=False, include_input=False)[0]["loc"]
            raise _damaged(" ".join(str(part)[:40] for part in location)) from error
        if checked.parameters.recipe is not None:
            network = get_network(checked.parameters.network)
            network.recipe.changed(checked.parameters.recipe)
        return checked

    @property
    def estimator_parameters(self) -> dict[str, Any]:
        """The saved parameters of the estimator, without the device."""
        return self.parameters.model_dump(exclude={"device"}, exclude_unset=True)


def parameters_to_json(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return an estimator's parameters as JSON values.

    A generator given as ``random_state`` is left out, and so is the device: the model
    may be loaded on a machine without it.
    """
    plain = _to_python(parameters)
    del plain["device"]
    if plain["recipe"] is not None:
        plain["recipe"] = _to_python(plain["recipe"])
    if not isinstance(plain["random_state"], int | None):
        plain["random_state"] = None
    return plain


def _to_python(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: value.item() if isinstance(value, np.generic) else value
        for key, value in values.items()
    }


def network_arrays(network: nn.Module) -> dict[str, Array]:
    """Return a network's state dict as C-contiguous arrays."""
    return {
        _PREFIX + name: np.array(tensor.detach().cpu().numpy(), order="C")
        for name, tensor in network.state_dict().items()
    }


def restore_network(
    settings: NetworkSettings, arrays: Mapping[str, Array], classes: int
) -> tuple[Scaling, Network]:
    """Build the scaling and the network that saved arrays describe.

    Raises
    ------
    ModelError
        If the arrays are not exactly those of the network.
    """
    name = settings.parameters.network
    components = get_network(name).components
    scaling = Scaling.from_arrays(arrays, settings.bands, matrix=components is not None)
    network = build(name, bands=scaling.outputs, classes=classes, window=settings.window)
    expected = {_PREFIX + key: value for key, value in network.state_dict().items()}
    if set(arrays) != set(expected) | set(scaling.arrays()):
        raise _damaged("names of arrays")
    for key, value in expected.items():
        _check_array(key, arrays[key], value)
    state = {
        key.removeprefix(_PREFIX): torch.from_numpy(np.array(arrays[key]))
        for key in expected
    }
    network.load_state_dict(state, assign=True)
    network.eval()
    return scaling, network


def _check_array(name: str, array: Array, expected: torch.Tensor) -> None:
    """Refuse an array of another shape or type than the network's, or with NaN."""
    dtype = str(expected.dtype).removeprefix("torch.")
    if array.shape != tuple(expected.shape) or str(array.dtype) != dtype:
        raise ModelError(
            f"The saved array {name} must be {dtype} of shape {tuple(expected.shape)}, got "
            f"{array.dtype} of shape {array.shape}; the file is damaged, save the model "
            "again."
        )
    if not np.isfinite(array).all():
        raise _damaged(name)


def _damaged(part: str) -> ModelError:
    return ModelError(
        f"The saved network's {part} cannot be used; the file is damaged or from another "
        "version, save the model again."
    )
