"""Model bundles: a fitted classifier and its card, in a folder that is safe to open.

A bundle is ``model.json`` (kind, settings, bands, classes) and ``weights.safetensors``
(plain arrays, checked by SHA-256).  It holds no code and nothing is unpickled.  A model
on image features also holds the fitted features, as settings and arrays.
"""

import hashlib
import json
import math
import re
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any, Protocol, Self, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, StrictInt, ValidationError
from safetensors import SafetensorError
from safetensors import numpy as safetensors

from hypercover import files
from hypercover.errors import ModelError, first_fault
from hypercover.types import Array, Arrays

_MAX_CLASSES = 65_535

_DTYPE_NAME = re.compile(r"[iu][1248]|f[248]|b1|O|U\d{0,10}")

_PYTHON_TYPES = {"i": int, "u": int, "U": str, "O": str, "b": bool, "f": float}


def codes_to_json(classes: Array) -> dict[str, Any]:
    """Return class codes as a JSON object with their dtype.

    Examples
    --------
    >>> codes_to_json(np.array([11, 21], dtype=np.uint8))
    {'type': 'u1', 'values': [11, 21]}
    """
    values, kind = classes.tolist(), classes.dtype.kind
    if kind not in _PYTHON_TYPES or not all(
        isinstance(value, _PYTHON_TYPES[kind]) for value in values
    ):
        raise ModelError(
            f"Only whole numbers and names can be class codes, got {classes.dtype} "
            f"{values[:3]}; use codes such as 1, 2, 3."
        )
    return {
        "type": "U" if kind == "U" else classes.dtype.str.lstrip("<>|="),
        "values": values,
    }


def codes_from_json(value: Any, *, ordered: bool = True) -> Array:
    """Return class codes from their JSON object.

    Parameters
    ----------
    value : what `codes_to_json` made
    ordered : bool
        Whether they must be sorted.  A LIBSVM model has them in the order in which it
        breaks ties.

    Raises
    ------
    ModelError
        If the object is not one that `codes_to_json` makes.
    """
    try:
        name, values = str(value["type"]), value["values"]
        # other dtypes could be parsed as code or need any amount of memory
        dtype = np.dtype(name if _DTYPE_NAME.fullmatch(name) else "V")
        python_type = _PYTHON_TYPES[dtype.kind]
        valid = isinstance(values, list) and all(type(c) is python_type for c in values)
        # the width of text is not trusted either
        dtype = np.dtype("U") if dtype.kind == "U" else dtype
        classes = np.array(values, dtype=dtype) if valid else np.empty(0)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ModelError(
            "The class codes of the model are not readable; train it again."
        ) from error
    codes = classes.tolist() if ordered else sorted(classes.tolist())
    if not 2 <= len(classes) <= _MAX_CLASSES or codes != sorted(set(values)):
        raise ModelError(
            "The class codes of the model must be two or more, sorted; train it again."
        )
    return classes


_Model = TypeVar("_Model", bound=BaseModel)

_MAX_BANDS = 1_000_000

_MAX_NUMBER = 1e30
"""Largest magnitude of a wavelength, scale or pixel value."""

_Finite = Annotated[
    float, Field(ge=-_MAX_NUMBER, le=_MAX_NUMBER, allow_inf_nan=False, strict=True)
]

_Positive = Annotated[float, Field(gt=0, le=_MAX_NUMBER, allow_inf_nan=False, strict=True)]

_Number = Annotated[StrictInt, Field(ge=-(2**31), lt=2**31)]


def _each(kind: Any) -> Any:
    """Return the type of a list with one entry per band."""
    return Annotated[list[kind], Field(max_length=_MAX_BANDS)]


class ModelCard(BaseModel):
    """What a model was trained on, as written to its bundle; other entries are allowed."""

    model_config = ConfigDict(extra="allow", frozen=True)

    bands: _each(_Number) | None = None  # type: ignore[valid-type]
    """Numbers of the bands in their file, in the model's order."""
    wavelengths: _each(_Positive | None) | None = None  # type: ignore[valid-type]
    """Centre of each band in nm; None if unknown."""
    fwhm: _each(_Finite | None) | None = None  # type: ignore[valid-type]
    """Width of each band in nm; None if unknown."""
    band_names: _each(str) | None = None  # type: ignore[valid-type]
    """Name of each band."""
    scale: _each(_Finite) | None = None  # type: ignore[valid-type]
    """Factor from stored values to the quantity, of each band."""
    offset: _each(_Finite) | None = None  # type: ignore[valid-type]
    """Quantity at stored value 0, of each band."""
    value_ranges: _each(tuple[_Finite, _Finite, _Finite]) | None = None  # type: ignore[valid-type]
    """Quantiles of 1, 50 and 99 % of the labelled pixels' values in each band."""
    window: Annotated[StrictInt, Field(ge=1, le=2**12)] | None = None
    """Window size in pixels."""
    temperature: Annotated[float, Field(ge=1e-3, le=1e3, strict=True)] | None = None
    """Temperature by which the scores are divided before the softmax."""

    @classmethod
    def check(cls, card: Mapping[str, Any]) -> "ModelCard":
        """Validate a card.

        Raises
        ------
        ModelError
            If an entry is of another type or out of range.

        Examples
        --------
        >>> ModelCard.check({"bands": [10**19]})
        Traceback (most recent call last):
            ...
        hypercover.errors.ModelError: The card of the model cannot be read: bands.0: input should be less than 2147483648; save the model again.
        """
        return validated(cls, card, "card of the model")


def validated(model: type[_Model], value: Mapping[str, Any], what: str) -> _Model:
    """Return plain data from a file as a pydantic model.

    Raises
    ------
    ModelError
        If an entry is missing, of another type or out of range.
    """
    try:
        return model.model_validate(dict(value))
    except ValidationError as error:
        raise ModelError(
            f"The {what} cannot be read: {first_fault(error)}; {_SAVE_AGAIN}."
        ) from error


_FORMAT = "hypercover-model"

_WITHOUT_FEATURES, _WITH_FEATURES = 1, 2
"""Format versions: without image features, and with them."""

_FEATURE_PREFIX = "features/"
"""Prefix of the arrays of image features."""

MODEL_FILE = "model.json"
"""File that describes a bundle, with the checksum of its weights."""

_WEIGHTS = "weights.safetensors"

_GIVE_FOLDER = "give the folder of a saved model"
_SAVE_AGAIN = "save the model again"

_MAX_TEXT = 2**26

_MAX_WEIGHTS = 2**33

_CLASSIFIERS = {
    "svm": ("hypercover.classifiers.svm.svm_classifier", "SVMClassifier"),
    "cnn": ("hypercover.classifiers.cnn.cnn_classifier", "CNNClassifier"),
    "sklearn": ("hypercover.classifiers.sklearn_wrapper", "SklearnClassifier"),
}

_MAX_DIGITS, _MAX_INTEGER = 20, 2**63

_MAX_VALUE = 1e30
"""Largest magnitude of a weight: the square of a larger one could overflow."""

_PACKAGES = ("hypercover", "numpy", "scikit-learn", "torch")


State = tuple[dict[str, Any], Arrays]
"""Settings as JSON values, and arrays."""


class Classifier(Protocol):
    """The interface of a classifier that can be saved in a bundle."""

    def predict(self, X: Any) -> Array:
        """Return the class code of each spectrum or window."""

    def state(self) -> State:
        """Return settings as JSON values, and arrays."""

    @classmethod
    def from_state(cls, settings: dict[str, Any], arrays: Arrays) -> Self:
        """Return the fitted classifier that ``state`` described."""


@dataclass(frozen=True, eq=False)
class Bundle:
    """A fitted classifier with its card."""

    classifier: Any
    """The fitted classifier."""
    card: dict[str, Any]
    """The entries of a ``ModelCard``, ``legend`` and others."""
    kind: str
    """Kind of the classifier: svm, cnn or sklearn."""
    versions: dict[str, str]
    """Versions of the packages it was trained with."""
    weights_sha256: str
    """Checksum of its weights, which identifies the training."""
    features: State | None = None
    """State of the image features it is trained on, not validated: settings and arrays.
    None if it is trained on the bands of the card."""

    @property
    def temperature(self) -> float | None:
        """Temperature by which the scores are divided, or None."""
        temperature = self.card.get("temperature")
        return None if temperature is None else float(temperature)


def save_bundle(
    folder: str | Path,
    classifier: Classifier,
    card: dict[str, Any],
    *,
    features: State | None = None,
) -> None:
    """Save a fitted classifier and its card into a folder.

    ``features`` is the state of the image features the classifier was trained on; the
    bands of the card are then those the features are computed from.

    ``model.json`` is written last, so that an interrupted write leaves a bundle that is
    refused.

    Parameters
    ----------
    folder : path
        Made if missing.
    classifier : fitted SVMClassifier, CNNClassifier or SklearnClassifier
    card : dict
        Bands, wavelengths, classes and other plain values that describe the model.
    features : tuple of settings and arrays, optional
        State of a fitted chain of image features.

    Raises
    ------
    ModelError
        If the classifier is of an unknown kind, or settings or card are not plain data.
    OutputError
        If the folder cannot be written.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from hypercover.classifiers.svm.svm_classifier import SVMClassifier
    >>> svm = SVMClassifier().fit(np.eye(4), [11, 11, 21, 21])
    >>> with TemporaryDirectory() as folder:
    ...     save_bundle(folder, svm, {"bands": [1, 2, 3, 4]})
    ...     load_bundle(folder).classifier.classes_.tolist()
    [11, 21]
    """
    kind = _kind_of(classifier)
    settings, arrays = classifier.state()
    document = {
        "format": _FORMAT,
        "version": _WITHOUT_FEATURES if features is None else _WITH_FEATURES,
        "kind": kind,
        "card": card,
        "settings": settings,
    }
    if features is not None:
        document["features"], own = features
        arrays = arrays | {_FEATURE_PREFIX + name: array for name, array in own.items()}
    weights = safetensors.save(
        {name: np.asarray(array, order="C") for name, array in arrays.items()}
    )
    sha256 = hashlib.sha256(weights).hexdigest()
    document["weights"] = {"sha256": sha256, "bytes": len(weights)}
    document["made_with"] = _versions()
    try:
        json.dumps(document, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ModelError(
            f"The model's settings and card must be plain data, but {error}."
        ) from error
    with files.atomic(files.make_folder(folder) / _WEIGHTS) as draft:
        draft.write_bytes(weights)
    files.write_checksummed(Path(folder) / MODEL_FILE, document)


def load_bundle(
    folder: str | Path, *, device: str = "auto", trusted: Collection[str] = ()
) -> Bundle:
    """Load a bundle after checking everything in it.

    Parameters
    ----------
    folder : path
    device : {"auto", "cpu", "cuda"}
        Device on which a network predicts.
    trusted : collection of str
        Packages whose types a scikit-learn compatible classifier may contain,
        besides those of scikit-learn, XGBoost and LightGBM.  Loading runs their code.

    Raises
    ------
    ModelError
        If a file is missing, truncated or changed, the kind or version of the bundle is
        unknown, or the device is not available.

    Examples
    --------
    >>> load_bundle("no/such/folder")
    Traceback (most recent call last):
        ...
    hypercover.errors.ModelError: No readable model in no/such/folder (No such file or directory); give the folder of a saved model.
    """
    document = _read_document(Path(folder) / MODEL_FILE)
    _check_document(document, Path(folder))
    ModelCard.check(document["card"])
    arrays = _read_weights(Path(folder) / _WEIGHTS, document["weights"])
    features = None
    if document["version"] == _WITH_FEATURES:
        names = [name for name in arrays if name.startswith(_FEATURE_PREFIX)]
        own = {name.removeprefix(_FEATURE_PREFIX): arrays.pop(name) for name in names}
        features = document["features"], own
    kind = document["kind"]
    module, name = _CLASSIFIERS[kind]
    options = {"trusted": trusted} if kind == "sklearn" else {}
    classifier = getattr(import_module(module), name).from_state(
        document["settings"], arrays, **options
    )
    if kind == "cnn":
        # only networks need PyTorch
        from hypercover.classifiers.cnn.inference import resolve_device

        resolve_device(device)
        classifier.device = device
    sha256 = document["weights"]["sha256"]
    return Bundle(
        classifier, document["card"], kind, document["made_with"], sha256, features
    )


def _kind_of(classifier: Any) -> str:
    """Return the kind of a classifier by the name of its class."""
    for kind, (_, name) in _CLASSIFIERS.items():
        if type(classifier).__name__ == name:
            return kind
    names = ", ".join(name for _, name in _CLASSIFIERS.values())
    raise ModelError(
        f"Only {names} can be saved as a model, got {type(classifier).__name__}."
    )


def _versions() -> dict[str, str]:
    """Return the versions of the packages a model depends on."""
    versions = {}
    for package in _PACKAGES:
        with suppress(PackageNotFoundError):
            versions[package] = version(package)
    return versions


def _read_document(path: Path) -> dict[str, Any]:
    """Read a JSON object of bounded size."""
    try:
        with path.open("rb") as opened:
            text = opened.read(_MAX_TEXT + 1)
    except OSError as error:
        raise ModelError(
            f"No readable model in {path.parent} ({error.strerror}); {_GIVE_FOLDER}."
        ) from error
    if len(text) > _MAX_TEXT:
        raise ModelError(
            f"{path} is not a model: it is larger than 64 MiB; {_GIVE_FOLDER}."
        )
    try:
        document = files.read_checksummed(
            text,
            parse_constant=_parse_float,
            parse_int=_parse_int,
            parse_float=_parse_float,
        )
    except (ValueError, RecursionError) as error:
        what = "it is not a JSON document of numbers in range"
        reason = error if isinstance(error, files.DamageError) else what
        raise ModelError(f"{path} is damaged: {reason}; save the model again.") from error
    if not isinstance(document, dict):
        raise ModelError(f"{path} is not a model: it is not a JSON object; {_GIVE_FOLDER}.")
    return document


def _parse_int(digits: str) -> int:
    """Return an integer of at most 64 bits."""
    if len(digits) > _MAX_DIGITS or not -_MAX_INTEGER <= int(digits) < _MAX_INTEGER:
        raise ValueError("the number is too large")
    return int(digits)


def _parse_float(digits: str) -> float:
    """Return a finite number; refuse NaN, Infinity and text such as 1e999."""
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError("the number is not finite")
    return number


def _check_document(document: dict[str, Any], folder: Path) -> None:
    """Refuse a document of another format, version or kind, or with parts missing."""
    format_ = document.get("format")
    if format_ != _FORMAT:
        raise ModelError(
            f"{folder} is not a hypercover model: its format is {format_!r:.40}; {_GIVE_FOLDER}."
        )
    version = document.get("version")
    if type(version) is not int or version not in (_WITHOUT_FEATURES, _WITH_FEATURES):
        raise ModelError(
            f"The model in {folder} has format version {str(version)[:40]}, this hypercover "
            f"reads versions {_WITHOUT_FEATURES} and {_WITH_FEATURES}; install the "
            "version it was made with."
        )
    kind = document.get("kind")
    if not isinstance(kind, str) or kind not in _CLASSIFIERS:
        raise ModelError(
            f"The model in {folder} is of the unknown kind {str(kind)[:40]!r}; this "
            f"hypercover reads {', '.join(_CLASSIFIERS)}; install the version it was made with."
        )
    parts = ["card", "settings", "weights", "made_with"]
    for part in parts + ["features"] * (version == _WITH_FEATURES):
        if not isinstance(document.get(part), dict):
            raise ModelError(
                f"The model in {folder} is damaged: {MODEL_FILE} has no {part!r}; {_SAVE_AGAIN}."
            )


def _read_weights(path: Path, declared: dict[str, Any]) -> Arrays:
    """Read the arrays after checking size and checksum."""
    try:
        size = path.stat().st_size
    except OSError as error:
        raise ModelError(
            f"The model in {path.parent} has no weights ({error.strerror}); {_SAVE_AGAIN}."
        ) from error
    if size != declared.get("bytes") or size > _MAX_WEIGHTS:
        raise ModelError(
            f"The weights in {path} have {size} bytes: truncated or from another model; "
            f"{_SAVE_AGAIN}."
        )
    weights = path.read_bytes()
    if hashlib.sha256(weights).hexdigest() != declared.get("sha256"):
        raise ModelError(
            f"The weights in {path} have another checksum than {MODEL_FILE} states; {_SAVE_AGAIN}."
        )
    try:
        arrays = dict(safetensors.load(weights))
    except (SafetensorError, KeyError, ValueError, TypeError, OverflowError) as error:
        raise ModelError(
            f"The weights in {path} are not a safetensors file; save the model again."
        ) from error
    for name, array in arrays.items():
        if array.dtype.kind == "f" and (np.abs(array) > _MAX_VALUE).any():
            raise ModelError(
                f"The weights {name[:60]} in {path} are above {_MAX_VALUE:g}; {_SAVE_AGAIN}."
            )
    return arrays
