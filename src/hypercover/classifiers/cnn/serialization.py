"""A fitted network as settings and arrays, and back after checking both.

What is read here may come from a stranger: sizes are bounded, the network is
built without memory first, and only arrays of exactly its shapes are taken.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from hypercover.classifiers.bundle import codes_from_json
from hypercover.classifiers.networks.network import Network
from hypercover.classifiers.networks.network_catalog import MAX_WINDOW, build, get_network
from hypercover.classifiers.scaling import Scaling
from hypercover.errors import ModelError

__all__ = ["NetworkSettings", "checked_history", "parameters", "restored", "weights"]

_MOST_BANDS = 100_000
_PARAMETERS = {
    "network": str,
    "epochs": int | None,
    "batch_size": int | None,
    "learning_rate": float | int | None,
    "recipe": dict | None,
    "precision": str,
    "compile": bool,
    "random_state": int | None,
    "device": str,
}
_PREFIX = "network."


@dataclass(frozen=True, eq=False)
class NetworkSettings:
    """The settings of a saved network after checking them."""

    parameters: dict[str, Any]
    """Parameters of the estimator; where it computes is for whoever loads it to say."""
    bands: int
    """Number of bands."""
    window: int
    """Side of a window in pixels."""
    classes: npt.NDArray[Any]
    """Labels, in their own type and order."""
    history: list[dict[str, float]]
    """Records of the training's epochs."""

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> "NetworkSettings":
        """Check settings that were read from a file.

        Raises
        ------
        ModelError
            If one is missing, has another type or is out of bounds.
        """
        return cls(
            _checked_parameters(_typed(settings, "parameters", dict)),
            _bounded(settings, "bands", _MOST_BANDS),
            _bounded(settings, "window", MAX_WINDOW),
            codes_from_json(_typed(settings, "classes", dict)),
            checked_history(settings.get("history", [])),
        )


def parameters(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return an estimator's parameters as JSON values.

    Left out are a generator as seed, and the device: a model goes to machines
    that have another one.
    """
    plain = _plain(given)
    del plain["device"]
    if plain["recipe"] is not None:
        plain["recipe"] = _plain(plain["recipe"])
    if not isinstance(plain["random_state"], int | None):
        plain["random_state"] = None
    return plain


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: value.item() if isinstance(value, np.generic) else value
        for key, value in values.items()
    }


def weights(network: nn.Module) -> dict[str, npt.NDArray[Any]]:
    """Return a network's weights as C-contiguous arrays by name."""
    return {
        _PREFIX + name: np.array(tensor.detach().cpu().numpy(), order="C")
        for name, tensor in network.state_dict().items()
    }


def restored(
    settings: NetworkSettings, name: str, arrays: Mapping[str, npt.NDArray[Any]]
) -> tuple[Scaling, Network]:
    """Build the scaling and the network that saved arrays describe.

    Raises
    ------
    ModelError
        If the arrays are not exactly those of the network.
    """
    components = get_network(name).components
    scaling = Scaling.restored(arrays, settings.bands, components is not None)
    network = build(
        name,
        bands=scaling.outputs,
        classes=len(settings.classes),
        window=settings.window,
    )
    found = {key for key in arrays if key.startswith(_PREFIX)}
    expected = {_PREFIX + key: value for key, value in network.state_dict().items()}
    if found != set(expected) or len(arrays) != len(found) + 2:
        raise _damaged("names of arrays")
    for key, value in expected.items():
        _check_array(key, arrays[key], value)
    tensors = {
        key.removeprefix(_PREFIX): torch.from_numpy(np.array(arrays[key])) for key in found
    }
    network.load_state_dict(tensors, assign=True)
    network.eval()
    return scaling, network


def _check_array(name: str, array: npt.NDArray[Any], expected: torch.Tensor) -> None:
    """Refuse an array that is not of the network's shape and type, or not finite."""
    wanted = str(expected.dtype).removeprefix("torch.")
    if array.shape != tuple(expected.shape) or str(array.dtype) != wanted:
        raise ModelError(
            f"The saved array {name} must be {wanted} of shape {tuple(expected.shape)}, got "
            f"{array.dtype} of shape {array.shape}; the file is damaged, save the model "
            "again."
        )
    if not np.isfinite(array).all():
        raise _damaged(name)


def _checked_parameters(given: Mapping[str, Any]) -> dict[str, Any]:
    """Refuse parameters that are unknown or of another type."""
    for key, value in given.items():
        if key not in _PARAMETERS or not isinstance(value, _PARAMETERS[key]):
            raise _damaged(f"parameter {key!r}")
    if given.get("recipe") is not None:
        get_network(given.get("network", "default")).recipe.changed(given["recipe"])
    # A model that was kept with one goes to other machines too.
    return {key: value for key, value in given.items() if key != "device"}


def checked_history(history: Any) -> list[dict[str, float]]:
    """Return a history that was read from a file.

    Raises
    ------
    ModelError
        If it is not a list of records of numbers.
    """
    if not isinstance(history, list):
        raise _damaged("history")
    for record in history:
        numbers = isinstance(record, dict) and all(
            isinstance(key, str) and isinstance(value, int | float)
            for key, value in record.items()
        )
        if not numbers:
            raise _damaged("history")
    return [dict(record) for record in history]


def _bounded(settings: Mapping[str, Any], key: str, most: int) -> int:
    value = _typed(settings, key, int)
    if isinstance(value, bool) or not 1 <= value <= most:
        raise _damaged(key)
    return int(value)


def _typed(settings: Mapping[str, Any], key: str, kind: type) -> Any:
    if not isinstance(settings, Mapping) or not isinstance(settings.get(key), kind):
        raise _damaged(key)
    return settings[key]


def _damaged(what: str) -> ModelError:
    return ModelError(
        f"The saved network's {what} cannot be used; the file is damaged or of another "
        "version, save the model again."
    )
