"""A convolutional network on windows as a scikit-learn classifier.

Saved networks may come from untrusted sources: sizes are bounded, a network is first
built without memory, and only arrays of exactly its shapes are accepted.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, ConfigDict, Field
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from hypercover.classifiers.bundle import State, codes_from_json, codes_to_json, validated
from hypercover.classifiers.cnn.acceleration import use_precision
from hypercover.classifiers.cnn.checkpoint import Checkpoints, EpochRecord, History
from hypercover.classifiers.cnn.inference import (
    deterministic_float32,
    predict_tile,
    predict_windows,
    resolve_device,
)
from hypercover.classifiers.cnn.process_group import ProcessGroup
from hypercover.classifiers.cnn.training import Trainer
from hypercover.classifiers.cnn.window_loader import (
    LabelledWindows,
    LazyWindows,
    Stack,
    finite_centre_spectra,
    noise_covariance,
)
from hypercover.classifiers.networks import network_catalog
from hypercover.classifiers.networks.network import Network
from hypercover.classifiers.networks.recipe import Recipe, to_python
from hypercover.classifiers.scaling import Scaling
from hypercover.errors import ModelError
from hypercover.types import Array, Floats, Singles

StackLike = npt.ArrayLike | LazyWindows
"""Windows (n, band, row, col), or spectra (n, band)."""

_MAX_BANDS = 100_000
_PREFIX = "network."
"""Prefix of the names of a network's arrays."""


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


class _SavedNetwork(BaseModel):
    """The settings of a saved network."""

    model_config = ConfigDict(strict=True)

    parameters: _Parameters
    """Parameters of the estimator."""
    bands: Annotated[int, Field(ge=1, le=_MAX_BANDS)]
    """Number of bands."""
    window: Annotated[int, Field(ge=1, le=network_catalog.MAX_WINDOW)]
    """Window size in pixels."""
    classes: dict[str, Any]
    """Class labels as ``codes_to_json`` writes them."""
    history: History = []
    """Records of the epochs of the training."""


class CNNClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Classify pixels by the window around them with a convolutional network.

    It works as any classifier of scikit-learn (any labels, ``clone``,
    cross-validation, one seed), and predicts a whole tile in one dense pass with the
    same result as window by window.

    Parameters
    ----------
    network : str
        ``default`` is small, fast and takes any window; ``lecture`` is the network
        of Lange et al. (2018) and needs windows of at least 7 pixels and 22 bands;
        the others are published ones (see ``networks``).
    epochs, batch_size : int, optional
    learning_rate : float, optional
        None: that of the network's own recipe.
    recipe : mapping, optional
        Further fields of the network's ``Recipe`` to change, by name.
    precision : {"float32", "mixed"}
        ``mixed`` computes in bfloat16, if the machine supports it.
    compile : bool
        Whether to compile the network before training.
    random_state : int, RandomState or None
        The same number gives bit-identical results on the CPU as long as
        ``torch.get_num_threads()`` is the same; no global seed is touched.
    device : {"auto", "cpu", "cuda"}

    Attributes
    ----------
    classes_ : array (n_classes,)
        The labels, in their own type and order.
    n_features_in_ : int
        Number of bands.
    window_, margin_ : int
        Window size; pixels from its centre to its edge.
    history_ : list of dict
        Per epoch: ``epoch``, ``loss``, ``accuracy`` (on the augmented training
        batches), ``learning_rate`` of its last step, ``samples`` (windows seen since
        training began) and ``seconds``; with validation windows ``validation_loss``
        and ``validation_accuracy``; with patience ``best_epoch``, the epoch whose
        weights are restored.
    progress : callable, optional
        Set it to be called with each record of ``history_`` and the number of
        ``epochs`` when an epoch ends.  It is not a parameter, so clones do not have it.

    Notes
    -----
    X is a stack of windows (n, band, row, col), an array or a lazy object with
    ``shape``, ``len``, ``[indices]`` and ``cut()``; spectra (n, band) are
    windows of one pixel.  Scaling is fitted on the training windows' centres (and,
    for noise, their neighbours) only.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> windows = rng.normal(size=(40, 5, 3, 3)) + np.repeat([0, 3], 20)[:, None, None, None]
    >>> codes = np.repeat([11, 21], 20)
    >>> cnn = CNNClassifier(epochs=5, random_state=0).fit(windows, codes)
    >>> cnn.predict(windows[[0, -1]]).tolist()
    [11, 21]
    """

    progress: Callable[[EpochRecord], None] | None = None

    def __init__(
        self,
        network: str = "default",
        *,
        epochs: int | None = None,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        recipe: Mapping[str, Any] | None = None,
        precision: str = "float32",
        compile: bool = False,
        random_state: int | np.random.RandomState | None = None,
        device: str = "auto",
    ) -> None:
        self.network = network
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.recipe = recipe
        self.precision = precision
        self.compile = compile
        self.random_state = random_state
        self.device = device

    def fit(
        self,
        X: StackLike,
        y: npt.ArrayLike,
        *,
        validation: tuple[StackLike, npt.ArrayLike] | None = None,
        checkpoint: str | Path | None = None,
    ) -> Self:
        """Fit the network to windows (n, band, row, col) and their labels (n,).

        Parameters
        ----------
        X, y : windows and their labels
        validation : (windows, labels), optional
            Windows that are not trained on, for the records of the epochs and for
            early stopping by the recipe's ``patience``.
        checkpoint : path, optional
            Folder for checkpoints.  The same call after an interruption resumes from
            there and ends with the same weights; a finished training is loaded.

        Raises
        ------
        ModelError
            If the labels hold one class, the input is not finite or too small for the
            network, a parameter is not valid, or the checkpoints belong to another
            training.
        RunError
            If the loss or a weight is no longer finite.
        OutputError
            If a checkpoint cannot be written.
        """
        device, recipe = resolve_device(self.device), self.training_recipe()
        # refuse what this machine cannot do before the windows are read
        with use_precision(self.precision, device):
            pass
        # an interrupted training must not leave an old network with new classes
        self.__dict__.pop("network_", None)
        training = LabelledWindows.of(self._stack(X, reset=True), y)
        self.classes_, self.window_ = training.classes, training.stack.shape[2]
        self.margin_, held_out, checkpoints = self.window_ // 2, None, None
        if validation is not None:
            windows, codes = validation
            held_out = LabelledWindows.of(self._stack(windows), codes, self.classes_)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        seed = ProcessGroup.current().broadcast(seed, device)
        generator = torch.Generator().manual_seed(seed)
        network = self._initialise(training.stack, generator).to(device)
        if checkpoint is not None:
            identity = self._identity(recipe, training, held_out)
            checkpoints = Checkpoints(checkpoint, identity)
        # the backward pass needs deterministic kernels too
        with deterministic_float32():
            trainer = Trainer(
                network,
                training.load(self.scaling_, device),
                recipe,
                generator=generator,
                classes=len(self.classes_),
                validation=held_out.load(self.scaling_, device) if held_out else None,
                precision=self.precision,
                compile=self.compile,
            )
            self.history_ = trainer.run(checkpoints, self.progress)
        self.network_ = network
        return self

    def predict_proba(self, X: StackLike) -> Floats:
        """Return the probability of each class (n, class), in the order of ``classes_``.

        Raises
        ------
        ModelError
            If bands or window size differ from training, or a value is not finite.
        """
        check_is_fitted(self)
        return predict_windows(self._on_device(), self.scaling_, self._stack(X))

    def predict(self, X: StackLike) -> Array:
        """Return the most probable label of each window (n,)."""
        best = self.predict_proba(X).argmax(axis=1)
        return np.asarray(self.classes_[best])

    def predict_dense(self, tile: Array, memory: int | None = None) -> Singles:
        """Return probabilities (class, row, col) of a whole tile.

        Neighbouring windows share most of their pixels, so convolving the tile is many
        times as fast as predicting windows cut from it, with the same probabilities to
        1e-5.  A network that is not spatially valid predicts window by window.

        Parameters
        ----------
        tile : array of shape (band, row + 2 · margin_, col + 2 · margin_)
            Raw values with ``margin_`` pixels around; at the edge of a scene
            repeat its edge pixels, as ``Windows`` does.
        memory : int, optional
            Bytes the network may use besides the tile and its probabilities; on a GPU
            its free memory counts instead.

        Raises
        ------
        ModelError
            If the tile has other bands, is too small, has a value that is not finite,
            or the memory is too little for one window.
        """
        check_is_fitted(self)
        values, bands = np.asarray(tile), self.n_features_in_
        fits = values.ndim == 3 and values.shape[0] == bands
        if not fits or min(values.shape[1:]) < self.window_:
            raise ModelError(
                f"A tile must have {bands} bands and at least {self.window_} rows and columns, got "
                f"the shape {values.shape}; give other pixels or another model."
            )
        return predict_tile(self._on_device(), self.scaling_, values, self.window_, memory)

    @property
    def dense_note(self) -> str | None:
        """A warning if scenes cannot be predicted in dense passes, else None."""
        if network_catalog.get_network(self.network).spatially_valid:
            return None
        return (
            f"The {self.network} network is predicted window by window, because a whole "
            "tile would give other results; this takes far longer than other networks."
        )

    def state(self) -> State:
        """Return the fitted model as JSON values and named arrays."""
        check_is_fitted(self)
        settings = {
            "parameters": self._json_parameters(),
            "bands": int(self.n_features_in_),
            "window": int(self.window_),
            "classes": codes_to_json(self.classes_),
            "history": [dict(record) for record in self.history_],
        }
        weights = {
            _PREFIX + name: np.array(tensor.detach().cpu().numpy(), order="C")
            for name, tensor in self.network_.state_dict().items()
        }
        return settings, self.scaling_.arrays() | weights

    @classmethod
    def from_state(cls, settings: Mapping[str, Any], arrays: Mapping[str, Array]) -> Self:
        """Return a fitted estimator from what ``state`` returned.

        Everything is checked before it is used, as the source may not be trusted.

        Raises
        ------
        ModelError
            If anything is missing, has another type or size, or is not finite.
        """
        checked = validated(_SavedNetwork, settings, "saved network")
        network = network_catalog.get_network(checked.parameters.network)
        network.recipe.changed(checked.parameters.recipe or {})
        model = cls(**checked.parameters.model_dump(exclude={"device"}, exclude_unset=True))
        model.n_features_in_, model.window_ = checked.bands, checked.window
        model.margin_, model.history_ = checked.window // 2, checked.history
        model.classes_ = codes_from_json(checked.classes)
        model.scaling_, model.network_ = _restore(checked, arrays, len(model.classes_))
        return model

    def _json_parameters(self) -> dict[str, Any]:
        """Return the parameters as JSON values.

        A generator given as ``random_state`` is left out, and so is the device: the model
        may be loaded on a machine without it.
        """
        plain = {name: to_python(value) for name, value in self.get_params().items()}
        del plain["device"]
        if plain["recipe"] is not None:
            plain["recipe"] = {
                key: to_python(value) for key, value in plain["recipe"].items()
            }
        if not isinstance(plain["random_state"], int | None):
            plain["random_state"] = None
        return plain

    def training_recipe(self) -> Recipe:
        """Return the network's recipe with the fields changed by the user.

        Raises
        ------
        ModelError
            If a value is not valid, or has no effect with the others.
        """
        return network_catalog.make_recipe(
            self.network,
            self.recipe,
            passes=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
        )

    def _initialise(self, stack: Stack, generator: torch.Generator) -> Network:
        """Fit the scaling, and return a network for it with initialised weights."""
        kind = network_catalog.get_network(self.network)
        size = {"classes": len(self.classes_), "window": self.window_}
        # refuse what cannot be built before the windows are read
        network_catalog.build(self.network, bands=stack.shape[1], **size)
        spectra = finite_centre_spectra(stack)
        noise = noise_covariance(stack) if kind.scaling == "cleared" else None
        self.scaling_ = Scaling.fit(kind.scaling, spectra, noise, kind.components)
        network = network_catalog.build(self.network, bands=self.scaling_.outputs, **size)
        network.to_empty(device="cpu").reset(generator)
        return network

    def _identity(
        self, recipe: Recipe, training: LabelledWindows, held_out: LabelledWindows | None
    ) -> dict[str, Any]:
        """Return what makes this training the one it is, as JSON values."""
        seed = self.random_state
        return {
            "network": self.network,
            "recipe": asdict(recipe),
            "precision": self.precision,
            "compile": bool(self.compile),
            "seed": int(seed) if isinstance(seed, int | np.integer) else None,
            **training.digests("training"),
            **(
                held_out.digests("validation") if held_out else {"validation windows": None}
            ),
        }

    def _stack(self, X: StackLike, *, reset: bool = False) -> Stack:
        """Return X as a stack (n, band, row, col), as in training; lazy windows stay lazy."""
        if isinstance(X, LazyWindows):
            stack: Stack = X
            if reset:
                self.n_features_in_ = int(X.shape[1])
        else:
            array = validate_data(self, X, reset=reset, allow_nd=True)
            stack = array[:, :, None, None] if array.ndim == 2 else array
        shape = tuple(stack.shape)
        if len(shape) != 4 or shape[2] != shape[3] or shape[2] % 2 == 0:
            raise ModelError(
                f"Windows must have the shape (n, band, row, col), got {shape}; cut them with "
                "an odd size."
            )
        if shape[1] != self.n_features_in_:
            raise ModelError(
                f"The model was trained on {self.n_features_in_} bands, got {shape[1]}; "
                "give the same bands."
            )
        if not reset and shape[2] != self.window_:
            raise ModelError(
                f"The model takes windows of {self.window_} × {self.window_} pixels, got "
                f"{shape[2]} × "
                f"{shape[2]}; cut windows of that size."
            )
        return stack

    def _on_device(self) -> Network:
        """Return the network on its device, ready to predict."""
        return self.network_.to(resolve_device(self.device)).eval()

    def __sklearn_is_fitted__(self) -> bool:
        """Tell whether a training has finished."""
        return hasattr(self, "network_")

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the progress callback, which belongs to one process."""
        state: dict[str, Any] = super().__getstate__()
        return {key: value for key, value in state.items() if key != "progress"}


def _restore(
    settings: _SavedNetwork, arrays: Mapping[str, Array], classes: int
) -> tuple[Scaling, Network]:
    """Build the scaling and the network that saved arrays describe.

    Raises
    ------
    ModelError
        If the arrays are not exactly those of the network.
    """
    name = settings.parameters.network
    components = network_catalog.get_network(name).components
    scaling = Scaling.from_arrays(arrays, settings.bands, matrix=components is not None)
    size = {"classes": classes, "window": settings.window}
    network = network_catalog.build(name, bands=scaling.outputs, **size)
    expected = {_PREFIX + key: value for key, value in network.state_dict().items()}
    if set(arrays) != set(expected) | set(scaling.arrays()):
        raise ModelError(
            f"The saved arrays are not those of the {name} network; save the model again."
        )
    for key, value in expected.items():
        array, shape = arrays[key], tuple(value.shape)
        dtype = str(value.dtype).removeprefix("torch.")
        fits = array.shape == shape and str(array.dtype) == dtype
        if not fits or not np.isfinite(array).all():
            raise ModelError(
                f"The saved array {key} must be finite {dtype} of shape {shape}, got "
                f"{array.dtype} of shape "
                f"{array.shape}; the file is damaged, save the model again."
            )
    state = {
        key.removeprefix(_PREFIX): torch.from_numpy(np.array(arrays[key]))
        for key in expected
    }
    network.load_state_dict(state, assign=True)
    return scaling, network.eval()
