"""The registry of networks by name."""

from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import torch

from hypercover.classifiers.networks.default import DefaultNetwork
from hypercover.classifiers.networks.lecture import LectureNetwork
from hypercover.classifiers.networks.network import Network
from hypercover.classifiers.networks.published_networks import (
    SSRN,
    AttentionNetwork,
    HybridSN,
    SpectralNetwork,
)
from hypercover.classifiers.networks.recipe import Recipe
from hypercover.errors import ModelError

NETWORKS: dict[str, type[Network]] = {
    "default": DefaultNetwork,
    "lecture": LectureNetwork,
    "hybridsn": HybridSN,
    "ssrn": SSRN,
    "spectral-1d": SpectralNetwork,
    "attention": AttentionNetwork,
}
"""The networks by name."""

MAX_WINDOW = 2**12
"""Largest window size in pixels, as in window files."""
_ENTRY_POINT_GROUP = "hypercover.networks"
"""Entry points by which installed packages register networks."""


def register(name: str, network: type[Network]) -> None:
    """Register a network under a name for this process.

    Registering the same class again does nothing.

    Parameters
    ----------
    name : str
        Name for ``network:`` in experiment files and for `CNNClassifier`.
    network : subclass of Network

    Raises
    ------
    ModelError
        If the name is taken, or the class is not a ``Network`` with a recipe.

    Examples
    --------
    >>> register("lecture", LectureNetwork)
    >>> register("lecture", DefaultNetwork)
    Traceback (most recent call last):
        ...
    hypercover.errors.ModelError: A network named 'lecture' already exists; use another name.
    """
    valid = isinstance(network, type) and issubclass(network, Network)
    if not valid or not hasattr(network, "recipe"):
        raise ModelError(
            f"The network {name!r} must be a class derived from Network with a recipe, "
            f"got {network!r}."
        )
    if NETWORKS.setdefault(name, network) is not network:
        raise ModelError(f"A network named {name!r} already exists; use another name.")


def get_network(name: str) -> type[Network]:
    """Return the network class of a name.

    Raises
    ------
    ModelError
        If neither hypercover nor an installed package has a network of this name.
    """
    if isinstance(name, str) and name not in NETWORKS:
        for entry_point in entry_points(group=_ENTRY_POINT_GROUP, name=name):
            register(name, _load_entry_point(entry_point))
    if not isinstance(name, str) or name not in NETWORKS:
        known = ", ".join(sorted(NETWORKS))
        raise ModelError(f"No network named {name!r}; use one of: {known}.")
    return NETWORKS[name]


def _load_entry_point(entry_point: EntryPoint) -> Any:
    """Load the class of an installed package, which may raise any exception."""
    try:
        return entry_point.load()
    except Exception as error:
        dist = entry_point.dist
        package = "an installed package" if dist is None else dist.name
        raise ModelError(
            f"The network {entry_point.name!r} of {package}, {entry_point.value}, cannot be loaded "
            f"({type(error).__name__}: {error}); repair that package or use another network."
        ) from error


def make_recipe(name: str, fields: Mapping[str, Any] | None, **settings: Any) -> Recipe:
    """Return a network's recipe with some fields changed.

    Parameters
    ----------
    name : str
    fields : mapping, optional
        Fields of the recipe; each must have an effect.
    **settings
        Further fields, which override those; None leaves a field unchanged.

    Raises
    ------
    ModelError
        If the network or a field does not exist, a value is not valid or has no effect,
        or the batches are too small for the network.
    """
    network = get_network(name)
    changes = {} if fields is None else fields
    recipe = network.recipe.changed(changes)
    recipe.check_effective(changes)
    recipe = recipe.changed(
        {field: value for field, value in settings.items() if value is not None}
    )
    if recipe.batch_size < network.minimum_batch:
        raise ModelError(
            f"The {name} network needs at least {network.minimum_batch} windows in a batch, "
            f"got batch_size {recipe.batch_size}; use 64."
        )
    return recipe


def build(name: str, *, bands: int, classes: int, window: int) -> Network:
    """Build a network on torch's ``meta`` device, without allocating its weights.

    The sizes may come from an untrusted file.

    Raises
    ------
    ModelError
        If the network does not exist or the input is too small for it.
    """
    network = get_network(name)
    if window < network.minimum_window or window % 2 == 0:
        raise ModelError(
            f"The {name} network needs windows with an odd side of at least "
            f"{network.minimum_window} pixels, "
            f"got {window} × {window}; use another window size."
        )
    if window > MAX_WINDOW:
        raise ModelError(
            f"Windows may have at most {MAX_WINDOW} × {MAX_WINDOW} pixels, got {window}; "
            "use smaller ones."
        )
    if bands < network.minimum_bands:
        raise ModelError(
            f"The {name} network needs at least {network.minimum_bands} bands, got "
            f"{bands}; use another."
        )
    with torch.device("meta"):
        return network(bands, classes, window)
