"""The networks that can be asked for by name."""

from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import torch

from hypercover.classifiers.networks.attention import AttentionNetwork
from hypercover.classifiers.networks.cnn1d import SpectralNetwork
from hypercover.classifiers.networks.default import DefaultNetwork
from hypercover.classifiers.networks.hybridsn import HybridSN
from hypercover.classifiers.networks.lecture import LectureNetwork
from hypercover.classifiers.networks.network import Network
from hypercover.classifiers.networks.recipe import Recipe
from hypercover.classifiers.networks.ssrn import SSRN
from hypercover.errors import ModelError

__all__ = ["MAX_WINDOW", "NETWORKS", "build", "get_network", "make_recipe", "register"]


NETWORKS: dict[str, type[Network]] = {
    "default": DefaultNetwork,
    "lecture": LectureNetwork,
    "hybridsn": HybridSN,
    "ssrn": SSRN,
    "spectral-1d": SpectralNetwork,
    "attention": AttentionNetwork,
}

MAX_WINDOW = 2**12
"""Largest side of a window in pixels: that of a window file."""
_ENTRY_POINT_GROUP = "hypercover.networks"
"""Entry points by which installed packages offer networks of their own."""


def register(name: str, kind: type[Network]) -> None:
    """Let a network of one's own be asked for by name in this process.

    Why it exists: trying a network out must not take a change of this package.
    Registering the same class again does nothing.

    Raises
    ------
    ModelError
        If the name is taken, or the class is no ``Network`` with a recipe.
    """
    if not (isinstance(kind, type) and issubclass(kind, Network)) or not hasattr(
        kind, "recipe"
    ):
        raise ModelError(
            f"The network {name!r} must be a class derived from Network with a recipe, "
            f"got {kind!r}."
        )
    if NETWORKS.setdefault(name, kind) is not kind:
        raise ModelError(f"There is a network named {name!r} already; use another name.")


def get_network(name: str) -> type[Network]:
    """Return the network class of a name, or say which names there are.

    Raises
    ------
    ModelError
        If neither hypercover nor an installed package has a network of the name.
    """
    if isinstance(name, str) and name not in NETWORKS:
        for offer in entry_points(group=_ENTRY_POINT_GROUP, name=name):
            register(name, _load_entry_point(offer))
    if not isinstance(name, str) or name not in NETWORKS:
        known = ", ".join(sorted(NETWORKS))
        raise ModelError(f"There is no network named {name!r}; use one of: {known}.")
    return NETWORKS[name]


def _load_entry_point(offer: EntryPoint) -> Any:
    """Load what an installed package offers; it may raise anything at all."""
    try:
        return offer.load()
    except Exception as error:
        package = "an installed package" if offer.dist is None else offer.dist.name
        raise ModelError(
            f"The network {offer.name!r} is offered by {package} as {offer.value}, which "
            f"cannot be loaded ({type(error).__name__}: {error}); repair that package or "
            "use another network."
        ) from error


def make_recipe(name: str, fields: Mapping[str, Any] | None, **settings: Any) -> Recipe:
    """Return a network's recipe with what somebody named put in its place.

    Parameters
    ----------
    name : str
    fields : mapping, optional
        Fields of the recipe; each must count for something.
    **settings
        More fields, which go before those; None: as the recipe says.

    Raises
    ------
    ModelError
        If there is no such network or field, a value has no meaning or counts
        for nothing, or the batches are too small for the network.
    """
    kind = get_network(name)
    named = {} if fields is None else fields
    recipe = kind.recipe.changed(named)
    recipe.check_read(named)
    recipe = recipe.changed(
        {field: value for field, value in settings.items() if value is not None}
    )
    if recipe.batch_size < kind.minimum_batch:
        raise ModelError(
            f"The {name} network needs at least {kind.minimum_batch} windows in a batch, "
            f"got batch_size {recipe.batch_size}; use 64."
        )
    return recipe


def build(name: str, *, bands: int, classes: int, window: int) -> Network:
    """Build a network without weights (on torch's ``meta`` device).

    Sizes can come from a stranger's file, so nothing is allocated here.

    Raises
    ------
    ModelError
        If there is no such network or the input is too small for it.
    """
    kind = get_network(name)
    if window < kind.minimum_window or window % 2 == 0:
        raise ModelError(
            f"The {name} network was asked to take windows of {window} × {window} "
            f"pixels; its minimum window is {kind.minimum_window} and sides are odd."
        )
    if window > MAX_WINDOW:
        raise ModelError(
            f"A network takes windows of at most {MAX_WINDOW} × {MAX_WINDOW} pixels, got "
            f"{window}; use a smaller window."
        )
    if bands < kind.minimum_bands:
        raise ModelError(
            f"The {name} network needs at least {kind.minimum_bands} bands, got {bands}; "
            "use another network."
        )
    with torch.device("meta"):
        return kind(bands, classes, window)
