"""Model bundles: a fitted classifier and what it was made for, in a folder anyone may open.

A bundle is ``model.json`` (what kind, which settings, which bands and classes)
and ``weights.safetensors`` (plain arrays, checked by SHA-256).  Nothing in it is
code, and nothing is unpickled.  A model on image features carries what was learnt
for them too, as settings and arrays.
"""

import hashlib
import json
import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any, Protocol, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, StrictInt, ValidationError
from safetensors import SafetensorError
from safetensors import numpy as safetensors

from hypercover.errors import ModelError
from hypercover.files import DamageError, atomic, make_folder, read_sealed, write_sealed

__all__ = [
    "MODEL_FILE",
    "Bundle",
    "Classifier",
    "ModelCard",
    "check_card",
    "codes_from_json",
    "codes_to_json",
    "load_bundle",
    "save_bundle",
]

_MOST_CLASSES = 65_535

_TYPE = re.compile(r"[iu][1248]|f[248]|b1|O|U\d{0,10}")

_KINDS = {"i": int, "u": int, "U": str, "O": str, "b": bool, "f": float}


def codes_to_json(classes: npt.NDArray[Any]) -> dict[str, Any]:
    """Return class codes as a JSON object with their type.

    Examples
    --------
    >>> codes_to_json(np.array([11, 21], dtype=np.uint8))
    {'type': 'u1', 'values': [11, 21]}
    """
    values = classes.tolist()
    known = _KINDS.get(classes.dtype.kind)
    if known is None or not all(isinstance(value, known) for value in values):
        raise ModelError(
            "Only whole numbers and names can be saved as class codes, got "
            f"{classes.dtype} {values[:3]}; use codes such as 1, 2, 3."
        )
    text = classes.dtype.kind == "U"
    return {"type": "U" if text else classes.dtype.str.lstrip("<>|="), "values": values}


def codes_from_json(value: Any, *, ordered: bool = True) -> npt.NDArray[Any]:
    """Return class codes from their JSON object.

    Parameters
    ----------
    value : what `codes_to_json` made
    ordered : bool
        Whether they must rise.  Those of a LIBSVM model stand in the order in
        which it breaks ties.

    Raises
    ------
    ModelError
        If the object is not one that `codes_to_json` makes.
    """
    try:
        written, values = str(value["type"]), value["values"]
        # Other types that NumPy knows would be parsed as code, or ask for any memory.
        dtype = np.dtype(written if _TYPE.fullmatch(written) else "V")
        known = _KINDS[dtype.kind]
        fitting = isinstance(values, list) and all(type(code) is known for code in values)
        # A width from outside is not believed: it could ask for any amount of memory.
        wanted = np.dtype("U") if dtype.kind == "U" else dtype
        classes = np.array(values, dtype=wanted) if fitting else np.empty(0)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ModelError(
            "The class codes of the model are not readable; train it again."
        ) from error
    found = classes.tolist() if ordered else sorted(classes.tolist())
    if not 2 <= len(classes) <= _MOST_CLASSES or found != sorted(set(values)):
        raise ModelError(
            "The class codes of the model must be at least two, different and in order; "
            "train it again."
        )
    return classes


_MOST_BANDS = 1_000_000

_LARGEST = 1e30
"""No wavelength, scale or value of a pixel is larger."""

_Finite = Annotated[
    float, Field(ge=-_LARGEST, le=_LARGEST, allow_inf_nan=False, strict=True)
]

_Positive = Annotated[float, Field(gt=0, le=_LARGEST, allow_inf_nan=False, strict=True)]

_Number = Annotated[StrictInt, Field(ge=-(2**31), lt=2**31)]


def _each(kind: Any) -> Any:
    """Return the type of one entry for each band."""
    return Annotated[list[kind], Field(max_length=_MOST_BANDS)]


class ModelCard(BaseModel):
    """What a card says of the image that its model was trained on; all may be left out."""

    model_config = ConfigDict(extra="allow", frozen=True)

    bands: _each(_Number) | None = None  # type: ignore[valid-type]
    """Numbers of the bands in their file, in the model's order."""
    wavelengths: _each(_Positive | None) | None = None  # type: ignore[valid-type]
    """Centre of each band in nm; None where it is not known."""
    fwhm: _each(_Finite | None) | None = None  # type: ignore[valid-type]
    """Width of each band in nm."""
    band_names: _each(str) | None = None  # type: ignore[valid-type]
    """Name of each band."""
    scale: _each(_Finite) | None = None  # type: ignore[valid-type]
    """Quantity for each step of a band's numbers."""
    offset: _each(_Finite) | None = None  # type: ignore[valid-type]
    """Quantity where a band's number is 0."""
    value_ranges: _each(tuple[_Finite, _Finite, _Finite]) | None = None  # type: ignore[valid-type]
    """Quantiles of 1, 50 and 99 % of the labelled pixels' numbers in each band."""
    window: Annotated[StrictInt, Field(ge=1, le=2**12)] | None = None
    """Side of the windows in pixels."""


def check_card(card: Mapping[str, Any]) -> None:
    """Refuse a card whose entries are out of range or of another type.

    Raises
    ------
    ModelError
        It names the first entry that is.

    Examples
    --------
    >>> check_card({"bands": [10**19]})
    Traceback (most recent call last):
        ...
    hypercover.errors.ModelError: The model's bands (entry 1) are out of range or of another type: input should be less than 2147483648; save the model again.
    """
    try:
        ModelCard.model_validate(dict(card))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = [part for part in first["loc"] if isinstance(part, int | str)]
        entries = [part + 1 for part in place[1:] if isinstance(part, int)]
        where = f" (entry {entries[0]})" if entries else ""
        said = first["msg"][:80]
        raise ModelError(
            f"The model's {str(place[0])[:40]}{where} are out of range or of another type: "
            f"{said[0].lower()}{said[1:]}; save the model again."
        ) from error


_FORMAT = "hypercover-model"

_PLAIN, _FEATURED = 1, 2
"""Versions of the format: without image features, and with them."""

_FEATURES = "features/"
"""What the names of the arrays of image features begin with."""

MODEL_FILE = "model.json"
"""Name of the file that describes a bundle, with the checksum of its weights."""

_WEIGHTS = "weights.safetensors"

_MOST_TEXT = 2**26

_MOST_WEIGHTS = 2**33

_CLASSIFIERS = {
    "svm": ("hypercover.classifiers.svm.svm_classifier", "SVMClassifier"),
    "cnn": ("hypercover.classifiers.cnn.cnn_classifier", "CNNClassifier"),
    "sklearn": ("hypercover.classifiers.sklearn_wrapper", "SklearnClassifier"),
}

_DIGITS, _LARGEST_FILE = 20, 2**63

_MOST_VALUE = 1e30
"""Size beyond which no weight is believed: its square would overflow."""

_COLDEST, _HOTTEST = 1e-3, 1e3

_PACKAGES = ("hypercover", "numpy", "scikit-learn", "torch")

Arrays = dict[str, npt.NDArray[Any]]

State = tuple[dict[str, Any], Arrays]


class Classifier(Protocol):
    """What every classifier that can be bundled offers."""

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """Return the class code of each spectrum or window."""

    def state(self) -> tuple[dict[str, Any], Arrays]:
        """Return JSON-able settings and plain arrays."""

    @classmethod
    def from_state(cls, settings: dict[str, Any], arrays: Arrays) -> Self:
        """Return the fitted classifier they describe."""


@dataclass(frozen=True, eq=False)
class Bundle:
    """A fitted classifier with its card."""

    classifier: Any
    """The fitted classifier: predict, classes_ and more, by its kind."""
    card: dict[str, Any]
    """What it was made for: ``bands`` (numbers), ``wavelengths`` and ``fwhm`` (nm or
    None), ``band_names`` (or None), ``legend``, ``window`` (pixels), ``temperature`` and
    whatever else its maker noted."""
    kind: str
    """Kind of the classifier: svm, cnn or sklearn."""
    versions: dict[str, str]
    """Versions of the packages it was made with."""
    weights_sha256: str
    """Checksum of its weights: which training this is."""
    features: State | None = None
    """State of the image features it takes in the place of bands, not checked yet:
    settings and arrays; None where it takes the bands of the card."""

    @property
    def temperature(self) -> float | None:
        """By what its probabilities are to be scaled; None: they are taken as they are.

        Raises
        ------
        ModelError
            If the card, which may come from a stranger, says what no temperature is.
        """
        given = self.card.get("temperature")
        if given is None:
            return None
        number = isinstance(given, int | float) and not isinstance(given, bool)
        if not (number and _COLDEST <= given <= _HOTTEST):
            raise ModelError(
                f"The temperature of a model is a number from {_COLDEST:g} to {_HOTTEST:g}, "
                f"and the card says {str(given)[:40]!r}; train it again."
            )
        return float(given)


def save_bundle(
    folder: str | Path,
    classifier: Classifier,
    card: dict[str, Any],
    *,
    features: State | None = None,
) -> None:
    """Save a fitted classifier and its card into a folder.

    ``features`` is the state of the image features the classifier was trained
    on; the bands of the card are then those the features are made of.

    The weights are written first and ``model.json``, which holds their
    checksum, last: a crash in between leaves a bundle that is refused, never
    one that is wrong.

    Raises
    ------
    ModelError
        If the classifier is of no known kind or something in it is not plain data.
    OutputError
        If the folder cannot be written.
    """
    kind = _kind_of(classifier)
    settings, arrays = classifier.state()
    learnt = {} if features is None else {"features": features[0]}
    if features is not None:
        own = {f"{_FEATURES}{name}": array for name, array in features[1].items()}
        arrays = {**arrays, **own}
    weights = safetensors.save(
        {name: np.asarray(array, order="C") for name, array in arrays.items()}
    )
    document = {
        "format": _FORMAT,
        "version": _PLAIN if features is None else _FEATURED,
        "kind": kind,
        "card": card,
        "settings": settings,
        **learnt,
        "weights": {"sha256": hashlib.sha256(weights).hexdigest(), "bytes": len(weights)},
        "made_with": _versions(),
    }
    _check_plain(document)
    with atomic(make_folder(folder) / _WEIGHTS) as draft:
        draft.write_bytes(weights)
    write_sealed(Path(folder) / MODEL_FILE, document)


def load_bundle(
    folder: str | Path, *, device: str = "auto", trusted: Collection[str] = ()
) -> Bundle:
    """Load a bundle after checking everything in it.

    Parameters
    ----------
    folder : path
    device : {"auto", "cpu", "cuda"}
        Where a network computes from now on, whatever it was trained on.
    trusted : collection of str
        Packages whose types a scikit-learn compatible classifier may contain,
        besides those of scikit-learn, XGBoost and LightGBM.  Loading runs their code.

    Raises
    ------
    ModelError
        If a file is missing, cut off or changed, or the bundle is of a kind or
        version that is not known here, or the device is not to be had.
    """
    document = _read_document(Path(folder) / MODEL_FILE)
    _check_document(document, Path(folder))
    check_card(document["card"])
    arrays = _read_weights(Path(folder) / _WEIGHTS, document["weights"])
    module, name = _CLASSIFIERS[document["kind"]]
    kind = getattr(import_module(module), name)
    features = _pop_features(document, arrays)
    options = {"trusted": trusted} if document["kind"] == "sklearn" else {}
    classifier = kind.from_state(document["settings"], arrays, **options)
    if document["kind"] == "cnn":
        # Only a network computes with PyTorch.
        from hypercover.classifiers.cnn.inference import resolve_device

        resolve_device(device)
        classifier.device = device
    return Bundle(
        classifier,
        document["card"],
        document["kind"],
        document["made_with"],
        document["weights"]["sha256"],
        features,
    )


def _pop_features(document: dict[str, Any], arrays: Arrays) -> State | None:
    """Take the arrays of image features out of all arrays, and return their state."""
    if document["version"] == _PLAIN:
        return None
    names = [name for name in arrays if name.startswith(_FEATURES)]
    own = {name.removeprefix(_FEATURES): arrays.pop(name) for name in names}
    return document["features"], own


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
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions


def _check_plain(document: dict[str, Any]) -> None:
    """Refuse what JSON cannot hold before anything is written."""
    try:
        json.dumps(document, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ModelError(
            f"The model's settings and card must be plain data, but {error}."
        ) from error


def _read_document(path: Path) -> dict[str, Any]:
    """Read a JSON object of bounded size."""
    try:
        with path.open("rb") as opened:
            text = opened.read(_MOST_TEXT + 1)
    except OSError as error:
        raise ModelError(
            f"There is no readable model in {path.parent}: {path.name} cannot be read "
            f"({error.strerror}); give the folder of a saved model."
        ) from error
    if len(text) > _MOST_TEXT:
        raise ModelError(f"{path} is larger than 64 MiB, so it is not a model.")
    try:
        document = read_sealed(
            text, parse_constant=_no_constant, parse_int=_whole, parse_float=_finite
        )
    except DamageError as error:
        raise ModelError(f"{path} is damaged: {error}; save the model again.") from error
    except (ValueError, RecursionError) as error:
        raise ModelError(
            f"{path} is damaged: it is not a JSON document of numbers in range; save the model again."
        ) from error
    if not isinstance(document, dict):
        raise ModelError(f"{path} is not a model: it holds no JSON object.")
    return document


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _whole(digits: str) -> int:
    """Return a whole number that arrays can hold: none of a model is larger."""
    if len(digits) > _DIGITS or not -_LARGEST_FILE <= int(digits) < _LARGEST_FILE:
        raise ValueError(f"{digits[:_DIGITS]}… is too large")
    return int(digits)


def _finite(digits: str) -> float:
    """Return a finite number; text such as 1e999 is none."""
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(f"{digits[:_DIGITS]} is too large")
    return number


def _check_document(document: dict[str, Any], folder: Path) -> None:
    """Refuse a document of another format, version or kind, or with parts missing."""
    if document.get("format") != _FORMAT:
        raise ModelError(
            f"{folder / MODEL_FILE} is not a hypercover model: its format is "
            f"{str(document.get('format'))[:40]!r}, not {_FORMAT!r}."
        )
    version = document.get("version")
    if type(version) is not int or version not in (_PLAIN, _FEATURED):
        raise ModelError(
            f"The model in {folder} has format version {str(version)[:40]}, this hypercover "
            f"reads versions {_PLAIN} and {_FEATURED}; install the version it was made with."
        )
    kind = document.get("kind")
    if not isinstance(kind, str) or kind not in _CLASSIFIERS:
        raise ModelError(
            f"The model in {folder} is of the unknown kind {str(kind)[:40]!r}; "
            f"known are {', '.join(_CLASSIFIERS)}."
        )
    parts = ["card", "settings", "weights", "made_with"]
    for part in parts + ["features"] * (version == _FEATURED):
        if not isinstance(document.get(part), dict):
            raise ModelError(
                f"The model in {folder} is damaged: {MODEL_FILE} lacks its part {part!r}; "
                "save the model again."
            )


def _read_weights(path: Path, declared: dict[str, Any]) -> Arrays:
    """Read the arrays after checking size and checksum."""
    try:
        size = path.stat().st_size
    except OSError as error:
        raise ModelError(
            f"The model in {path.parent} lacks its weights: {path.name} cannot be read "
            f"({error.strerror}); save the model again."
        ) from error
    if size != declared.get("bytes") or size > _MOST_WEIGHTS:
        raise ModelError(
            f"The weights in {path} have {size} bytes where {MODEL_FILE} says "
            f"{str(declared.get('bytes'))[:20]}; the file is cut off or of another model."
        )
    weights = path.read_bytes()
    if hashlib.sha256(weights).hexdigest() != declared.get("sha256"):
        raise ModelError(
            f"The weights in {path} do not have the checksum that {MODEL_FILE} says; "
            "the file was changed or is of another model."
        )
    try:
        arrays = dict(safetensors.load(weights))
    except (SafetensorError, KeyError, ValueError, TypeError, OverflowError) as error:
        raise ModelError(
            f"The weights in {path} are not a safetensors file; save the model again."
        ) from error
    for name, array in arrays.items():
        if array.dtype.kind == "f" and (np.abs(array) > _MOST_VALUE).any():
            raise ModelError(
                f"The weights {name[:60]} in {path} hold values beyond {_MOST_VALUE:g} in "
                "size, which no training gives; save the model again."
            )
    return arrays
