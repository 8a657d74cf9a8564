"""Any scikit-learn compatible classifier, on standardised bands.

A fitted classifier is saved with skops, which stores plain data and never pickles.
"""

import difflib
import inspect
import json
import re
import warnings
from collections.abc import Collection, Iterable
from functools import lru_cache
from importlib import import_module
from importlib.metadata import entry_points
from io import BytesIO
from typing import Any
from zipfile import ZIP_STORED, BadZipFile, ZipFile, ZipInfo

import numpy as np
import sklearn
from pydantic import BaseModel, ConfigDict
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import all_estimators, check_random_state
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, validate_data

from hypercover.classifiers.bundle import State, codes_from_json, codes_to_json, validated
from hypercover.classifiers.pixel_spectra import centre_spectra, training_classes
from hypercover.errors import ModelError
from hypercover.types import Array, Arrays, Floats

_N_PROBES = 64
_DEFAULT = "sklearn.ensemble.RandomForestClassifier"
_ENTRY_POINTS = "hypercover.classifiers"

_SCHEMA = "schema.json"
"""The member of a skops archive that describes the others."""
_ADDRESS = re.compile(r'("__id__": |"file": ")(\d+)(?=[,}."])')
"""An address in a schema: inside a text, the quotes would be escaped."""

_TRUSTED_TYPES = frozenset(
    {
        "collections.OrderedDict",
        "lightgbm.basic.Booster",
        "lightgbm.sklearn.LGBMClassifier",
        "xgboost.core.Booster",
        "xgboost.sklearn.XGBClassifier",
        "xgboost.sklearn.XGBRFClassifier",
    }
)
"""Types outside scikit-learn that a saved model may contain."""


class _Parameters(BaseModel):
    """The parameters of a saved classifier."""

    model_config = ConfigDict(strict=True)

    path: str
    params: dict[str, Any] | None = None
    seed: int


def sklearn_classifier(
    path: str, params: dict[str, Any] | None = None, *, random_state: int | None = None
) -> "SklearnClassifier":
    """Return an unfitted classifier after checking its import path and parameters.

    Raises
    ------
    ModelError
        If the classifier or one of its parameters does not exist; the message
        suggests close matches.

    Examples
    --------
    >>> sklearn_classifier("sklearn.ensemble.RandomForestClasifier")
    Traceback (most recent call last):
        ...
    hypercover.errors.ModelError: No classifier 'sklearn.ensemble.RandomForestClasifier' in scikit-learn; the closest is sklearn.ensemble.RandomForestClassifier.
    """
    classifier = SklearnClassifier(path, params, random_state=random_state)
    classifier.build()
    return classifier


class SklearnClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Classify spectra with any scikit-learn compatible classifier on standardised bands.

    Parameters
    ----------
    path : str
        Import path such as ``sklearn.ensemble.RandomForestClassifier``,
        ``xgboost.XGBClassifier`` or ``mypackage.module:Class``, or the name of an
        entry point in the group ``hypercover.classifiers``.  **Naming an import
        path runs the code of that package.**
    params : dict or None
        Parameters of the classifier; None keeps its defaults.
    random_state : None or int
        Seed, for classifiers that take one; None draws a new one in each fit.

    Attributes
    ----------
    classes_ : array (class,)
        Class codes in ascending order.
    n_features_in_ : int
        Number of bands.
    seed_ : int
        The seed used.
    pipeline_ : sklearn.pipeline.Pipeline
        The fitted scaler and classifier.

    Examples
    --------
    >>> spectra = np.array([[0.0, 1.0], [0.1, 1.1], [3.0, 2.0], [3.1, 2.1]])
    >>> nearest = SklearnClassifier("sklearn.neighbors.NearestCentroid")
    >>> nearest.fit(spectra, [11, 11, 21, 21]).predict([[0.2, 1.0], [2.9, 2.2]])
    array([11, 21])
    """

    def __init__(
        self,
        path: str = _DEFAULT,
        params: dict[str, Any] | None = None,
        *,
        random_state: int | None = None,
    ) -> None:
        self.path = path
        self.params = params
        self.random_state = random_state

    def build(self) -> Any:
        """Return the wrapped classifier, unfitted.

        Raises
        ------
        ModelError
            If the classifier or one of its parameters does not exist.
        """
        kind = _import_classifier(self.path)
        params = dict(self.params or {})
        known = kind().get_params(deep=False)
        for name in params:
            # Classifiers such as LightGBM's pass unknown parameters on.
            any_name = any(each.kind == each.VAR_KEYWORD for each in _parameters(kind))
            if name not in known and not any_name:
                raise ModelError(
                    f"{self.path} has no parameter {str(name)[:60]!r}; "
                    f"{_suggest(str(name)[:60], known)}"
                )
        if "random_state" in known:
            params.setdefault("random_state", getattr(self, "seed_", None))
        return kind(**params)

    def fit(self, X: Any, y: Any) -> "SklearnClassifier":
        """Fit to spectra (n, band) or to the centre spectra of windows.

        Raises
        ------
        ModelError
            If the classifier cannot be built or rejects the samples.
        """
        seed = self.random_state
        if not isinstance(seed, int | np.integer):
            seed = check_random_state(seed).randint(2**31 - 1)
        self.seed_ = int(seed)
        classifier = self.build()
        spectra, y = validate_data(self, centre_spectra(X), y, dtype=np.float64)
        self.classes_, positions = training_classes(y)
        pipeline = make_pipeline(StandardScaler(), classifier)
        try:
            # Classifiers such as XGBoost's take no codes but 0, 1, 2 …
            pipeline.fit(spectra, positions if self._encodes else y)
        except (TypeError, ValueError) as error:
            raise ModelError(
                f"{self.path} cannot learn from these {len(spectra)} samples: {str(error)[:300]}"
            ) from error
        self.pipeline_ = pipeline
        self._probes = spectra[:: max(1, len(spectra) // _N_PROBES)]
        return self

    @property
    def _encodes(self) -> bool:
        """Whether the classifier is fitted to class positions rather than codes."""
        return not str(self.path).startswith("sklearn.")

    def predict(self, X: Any) -> Array:
        """Return the class code of each spectrum (n, band) or window."""
        spectra = self._check_spectra(X)
        answers = np.asarray(self.pipeline_.predict(spectra))
        return np.asarray(self.classes_[answers]) if self._encodes else answers

    def _has_proba(self) -> bool:
        return hasattr(getattr(self, "pipeline_", None) or self.build(), "predict_proba")

    @available_if(_has_proba)  # type: ignore[untyped-decorator]
    def predict_proba(self, X: Any) -> Floats:
        """Return the class probabilities (n, class), if the classifier offers any."""
        spectra = self._check_spectra(X)
        return np.asarray(self.pipeline_.predict_proba(spectra))

    def _check_spectra(self, X: Any) -> Array:
        check_is_fitted(self, "pipeline_")
        return np.asarray(
            validate_data(self, centre_spectra(X), dtype=np.float64, reset=False)
        )

    def state(self) -> State:
        """Return JSON-able settings, and the fitted classifier as skops bytes with a probe.

        Raises
        ------
        ModelError
            If skops cannot store the classifier.
        """
        check_is_fitted(self, "pipeline_")
        settings = {
            "path": self.path,
            "params": self.params,
            "seed": self.seed_,
            "classes": codes_to_json(self.classes_),
            "scikit_learn": sklearn.__version__,
        }
        # Loads torch.
        import skops.io

        try:
            stored = _reproducible(skops.io.dumps(self.pipeline_))
        except Exception as error:  # whatever a foreign class raises
            raise ModelError(
                f"{self.path} cannot be saved: {str(error)[:200]}; use another classifier."
            ) from error
        return settings, {
            "skops": np.frombuffer(stored, dtype=np.uint8),
            "probes": self._probes,
            "answers": np.searchsorted(self.classes_, self.predict(self._probes)),
        }

    @classmethod
    def from_state(
        cls, settings: dict[str, Any], arrays: Arrays, *, trusted: Collection[str] = ()
    ) -> "SklearnClassifier":
        """Return the fitted classifier that `state` described.

        Parameters
        ----------
        trusted : collection of str
            Packages whose types the model may contain, besides those of
            scikit-learn, XGBoost, LightGBM and the packages with an entry point in
            the group ``hypercover.classifiers``.

        Raises
        ------
        ModelError
            If the state is incomplete, contains a type that is not trusted, or
            the loaded classifier predicts something else than the saved one.
        """
        if "samples" in arrays:
            raise ModelError(
                "The model was saved by an older version of hypercover, without its "
                "classifier; delete its folder and run its experiment again."
            )
        saved = validated(_Parameters, settings, "parameters of the model")
        path, seed = saved.path, saved.seed
        classifier = cls(path, saved.params, random_state=seed)
        classifier.classes_ = codes_from_json(settings.get("classes"))
        try:
            classifier.pipeline_ = _load_pipeline(arrays["skops"].tobytes(), trusted)
            classifier.n_features_in_ = classifier.pipeline_.n_features_in_
            classifier.seed_, classifier._probes = seed, arrays["probes"]
            predicted = classifier.predict(classifier._probes)
            answers = np.searchsorted(classifier.classes_, predicted)
            same = np.array_equal(answers, arrays["answers"])
        except ModelError:
            raise
        except Exception as error:  # damaged data fails anywhere in skops or scikit-learn
            raise ModelError(
                f"The model {path[:100]} cannot be loaded ({type(error).__name__}: "
                f"{str(error)[:200]}); train it again."
            ) from error
        if not same:
            made = str(settings.get("scikit_learn"))[:20]
            raise ModelError(
                f"The model {path[:100]} was saved with scikit-learn {made} and predicts other "
                f"classes with {sklearn.__version__}; install that version or train it again."
            )
        return classifier


def _reproducible(data: bytes) -> bytes:
    """Return a skops archive without times and memory addresses.

    skops numbers objects and names members by their addresses, so that the same
    classifier would be saved with other bytes, and another checksum, each time.
    """
    numbers: dict[str, str] = {}

    def renumber(match: re.Match[str]) -> str:
        return match[1] + numbers.setdefault(match[2], str(len(numbers)))

    clean = BytesIO()
    with ZipFile(BytesIO(data)) as archive, ZipFile(clean, "w", ZIP_STORED) as target:
        schema = json.dumps(json.loads(archive.read(_SCHEMA)))
        schema = _ADDRESS.sub(renumber, schema)
        for member in archive.namelist():
            if member != _SCHEMA:
                stem, dot, suffix = member.partition(".")
                name = f"{numbers.get(stem, stem)}{dot}{suffix}"
                target.writestr(ZipInfo(name), archive.read(member))
        target.writestr(ZipInfo(_SCHEMA), schema)
    return clean.getvalue()


def _load_pipeline(data: bytes, trusted: Collection[str]) -> Pipeline:
    """Load a pipeline with skops after checking sizes and types."""
    import skops.io

    try:
        members = ZipFile(BytesIO(data)).infolist()
    except BadZipFile as error:
        raise ModelError("The model's classifier is damaged; train it again.") from error
    compressed = any(member.compress_type != ZIP_STORED for member in members)
    if compressed or sum(member.file_size for member in members) > len(data):
        raise ModelError(
            "The model's classifier unpacks to more than its file; train it again."
        )
    points = entry_points(group=_ENTRY_POINTS)
    packages = {*trusted, *(point.module.partition(".")[0] for point in points)}
    types = skops.io.get_untrusted_types(data=data)
    foreign = [name for name in types if not _is_trusted(name, packages)]
    if foreign:
        package = foreign[0].partition(".")[0]
        raise ModelError(
            f"The model contains the type {foreign[0][:100]}, which may run any code; if you trust "
            f"its package, open it in Python with load_bundle(..., trusted=[{package[:60]!r}])."
        )
    with warnings.catch_warnings():
        # The probe tells whether another version of scikit-learn matters.
        warnings.simplefilter("ignore")
        pipeline = skops.io.loads(data, trusted=types)
    if not isinstance(pipeline, Pipeline):
        raise ModelError("The model does not contain a classifier; train it again.")
    return pipeline


def _is_trusted(name: str, packages: Collection[str]) -> bool:
    """Tell whether a saved model may contain a type: classes of scikit-learn, and a few more."""
    module, _, attribute = name.rpartition(".")
    package = module.partition(".")[0]
    if package == "sklearn":
        try:
            kind = getattr(import_module(module), attribute, None)
        except ImportError:
            return False
        # Modules of scikit-learn import names of other packages too.
        return isinstance(kind, type) and kind.__module__.startswith("sklearn.")
    return package in packages or name in _TRUSTED_TYPES


@lru_cache(maxsize=1)
def _sklearn_classifiers() -> dict[str, type]:
    """Return scikit-learn's classifiers that wrap no other estimator, by import path."""
    classifiers = {}
    for name, kind in all_estimators(type_filter="classifier"):
        parts = [part for part in kind.__module__.split(".") if not part.startswith("_")]
        if all(
            each.default is not each.empty or each.kind == each.VAR_KEYWORD
            for each in _parameters(kind)
        ):
            classifiers[".".join([*parts, name])] = kind
    return classifiers


def _import_classifier(path: Any) -> Any:
    """Return a classifier's class by import path or entry point."""
    known = _sklearn_classifiers()
    if path in known:
        return known[path]
    path = str(path)
    module, _, name = path.rpartition(":" if ":" in path else ".")
    points = entry_points(group=_ENTRY_POINTS, name=path)
    # A misspelt name never leads to a module outside scikit-learn.
    if not points and (not module or module.partition(".")[0] == "sklearn"):
        raise ModelError(
            f"No classifier {path[:100]!r} in scikit-learn; {_suggest(path[:100], known)}"
        )
    try:
        kind = next(iter(points)).load() if points else getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ModelError(
            f"No classifier {path[:100]!r}: {str(error)[:200]}; install its package, or give "
            "its import path as package.module:Class."
        ) from error
    methods = ("fit", "predict", "get_params")
    if not isinstance(kind, type) or not all(hasattr(kind, name) for name in methods):
        raise ModelError(
            f"{path[:100]!r} is not a classifier: it needs the methods fit, predict and get_params."
        )
    return kind


def _parameters(kind: Any) -> Iterable[inspect.Parameter]:
    return inspect.signature(kind).parameters.values()


def _suggest(name: str, known: Iterable[str]) -> str:
    """Suggest names close to an unknown one, whatever their package."""
    last = {path.rsplit(".", 1)[-1]: path for path in sorted(known)}
    near = difflib.get_close_matches(name.rsplit(".", 1)[-1], last, n=2, cutoff=0.8)
    if near:
        verb = "is" if len(near) == 1 else "are"
        return f"the closest {verb} {', '.join(last[path] for path in near)}."
    some = list(last.values())
    rest = f" and {len(some) - 6} more" if len(some) > 6 else ""
    return f"choose one of {', '.join(some[:6])}{rest}."
