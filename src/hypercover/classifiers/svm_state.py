"""What a saved SVM says about itself, checked: it may come from a stranger."""

from numbers import Real
from typing import Any

import numpy as np
import numpy.typing as npt

from hypercover.errors import ModelError

__all__ = [
    "check_arrays",
    "check_weights",
    "positive",
    "weights_from_json",
    "weights_to_json",
]

Arrays = dict[str, npt.NDArray[Any]]

_NEEDED = ("mean", "scale", "vectors", "coefficients", "intercepts", "counts")


def positive(value: Any, name: str) -> float:
    """Return a number after checking that it is above zero and finite.

    Raises
    ------
    ModelError
        If it is not, or no number at all.
    """
    number = isinstance(value, Real) and not isinstance(value, bool)
    if number and 0.0 < float(value) < np.inf:
        return float(value)
    raise ModelError(
        f"The {name} of a support vector machine must be a number above 0, got {repr(value)[:60]}; "
        f"use for example {'1' if name != 'cache_size' else '200'}."
    )


def check_weights(weights: Any) -> None:
    """Refuse class weights that are no weights.

    Raises
    ------
    ModelError
        If they are neither None, "balanced" nor numbers above zero by code.
    """
    if isinstance(weights, dict):
        for weight in weights.values():
            positive(weight, "class weight")
    elif weights is not None and weights != "balanced":
        raise ModelError(
            "The class weights of a support vector machine must be None, 'balanced' or a "
            f"number above 0 for each code, got {repr(weights)[:60]}; use for example 'balanced'."
        )


def weights_to_json(weights: Any) -> Any:
    """Return class weights as JSON can hold them: pairs of code and weight."""
    if not isinstance(weights, dict):
        return weights
    codes = np.asarray(list(weights)).tolist()
    values = [float(weight) for weight in weights.values()]
    return [list(pair) for pair in zip(codes, values, strict=True)]


def weights_from_json(value: Any) -> Any:
    """Return class weights as they were given to the classifier.

    Raises
    ------
    ModelError
        If they are not what `weights_to_json` makes.
    """
    if value is None or value == "balanced":
        return value
    try:
        return {code: positive(weight, "class weight") for code, weight in value}
    except (TypeError, ValueError) as error:
        raise ModelError(
            "The class weights of the model are not readable; train it again."
        ) from error


def check_arrays(arrays: Arrays, n_classes: int) -> None:
    """Refuse arrays that cannot be those of machines for so many classes.

    Raises
    ------
    ModelError
        If one is missing, or has another shape or type, or a value without meaning.
    """
    missing = set(_NEEDED) - set(arrays)
    if missing:
        raise ModelError(
            f"The model lacks its {', '.join(sorted(missing))}; train it again."
        )
    for name, shape in _shapes(arrays, n_classes).items():
        _check_array(name, arrays[name], shape)
    counts, n_vectors = arrays["counts"], len(arrays["vectors"])
    if (counts < 0).any() or int(counts.sum()) != n_vectors or not n_vectors:
        raise ModelError(
            f"The model's support vector counts do not add up to its {n_vectors} support "
            "vectors; train it again."
        )
    if not (arrays["scale"] > 0).all():
        raise ModelError("The model's band scales must be above 0; train it again.")


def _shapes(arrays: Arrays, n_classes: int) -> dict[str, tuple[int, ...]]:
    """Return the shape that each array must have if the support vectors are right."""
    n_vectors, n_features = _sides(arrays["vectors"])
    n_bands, n_pairs = n_features, n_classes * (n_classes - 1) // 2
    shapes: dict[str, tuple[int, ...]] = {}
    if "projection" in arrays or "offset" in arrays:
        if "projection" not in arrays or "offset" not in arrays:
            raise ModelError(
                "The model has one of projection and offset without the other; "
                "train it again."
            )
        n_bands = _sides(arrays["projection"])[1]
        shapes |= {"projection": (n_features, n_bands), "offset": (n_features,)}
    if "sigmoids" in arrays:
        shapes["sigmoids"] = (n_pairs, 2)
    return shapes | {
        "mean": (n_bands,),
        "scale": (n_bands,),
        "vectors": (n_vectors, n_features),
        "coefficients": (n_classes - 1, n_vectors),
        "intercepts": (n_pairs,),
        "counts": (n_classes,),
    }


def _sides(array: npt.NDArray[Any]) -> tuple[int, int]:
    """Return rows and columns; no array that is not flat has any."""
    return (array.shape[0], array.shape[1]) if array.ndim == 2 else (0, 0)


def _check_array(name: str, array: npt.NDArray[Any], shape: tuple[int, ...]) -> None:
    """Refuse an array of another shape or type, or with values that are not finite."""
    kind = np.dtype(np.int64 if name == "counts" else np.float64)
    if array.shape != shape or array.dtype != kind or not np.isfinite(array).all():
        raise ModelError(
            f"The model's {name} must be finite {kind} values of shape {shape}, got "
            f"{array.dtype} of shape {array.shape}; train it again."
        )
