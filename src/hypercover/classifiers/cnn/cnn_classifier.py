"""A convolutional network on windows as a scikit-learn classifier."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from hypercover.classifiers.bundle import codes_from_json, codes_to_json
from hypercover.classifiers.cnn import serialization
from hypercover.classifiers.cnn.acceleration import use_precision
from hypercover.classifiers.cnn.checkpoint import Checkpoints, EpochRecord
from hypercover.classifiers.cnn.inference import (
    deterministic_float32,
    predict_tile,
    predict_windows,
    resolve_device,
)
from hypercover.classifiers.cnn.process_group import ProcessGroup
from hypercover.classifiers.cnn.training import train
from hypercover.classifiers.cnn.window_loader import (
    LabelledWindows,
    LazyWindows,
    Stack,
    finite_centre_spectra,
    noise_covariance,
)
from hypercover.classifiers.networks.network import Network
from hypercover.classifiers.networks.network_catalog import (
    build,
    get_network,
    make_recipe,
)
from hypercover.classifiers.networks.recipe import Recipe
from hypercover.classifiers.scaling import Scaling
from hypercover.errors import ModelError
from hypercover.types import Array, Floats, Singles


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
        X: npt.ArrayLike | LazyWindows,
        y: npt.ArrayLike,
        *,
        validation: tuple[npt.ArrayLike | LazyWindows, npt.ArrayLike] | None = None,
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
        with use_precision(self.precision, device):
            """Refuse what this machine cannot do before the windows are read."""
        # an interrupted training must not leave an old network with new classes
        self.__dict__.pop("network_", None)
        training = LabelledWindows.for_training(self._stack(X, reset=True), y)
        self.classes_, self.window_ = training.classes, training.stack.shape[2]
        self.margin_ = self.window_ // 2
        held_out = None
        if validation is not None:
            windows, codes = validation
            held_out = LabelledWindows.for_validation(
                self._check_like_training(windows), codes, self.classes_
            )
        seed = ProcessGroup.current().broadcast(_seed(self.random_state), device)
        generator = torch.Generator().manual_seed(seed)
        network = self._initialise(training.stack, generator).to(device)
        loader, targets = training.loader(self.scaling_, device)
        # the backward pass needs deterministic kernels too
        with deterministic_float32():
            self.history_ = train(
                network,
                loader,
                targets,
                recipe,
                generator=generator,
                classes=len(self.classes_),
                validation=None
                if held_out is None
                else held_out.loader(self.scaling_, device),
                precision=self.precision,
                compile=self.compile,
                checkpoints=None
                if checkpoint is None
                else Checkpoints(checkpoint, self._identity(recipe, training, held_out)),
                progress=self.progress,
            )
        self.network_ = network
        return self

    def predict_proba(self, X: npt.ArrayLike | LazyWindows) -> Floats:
        """Return the probability of each class (n, class), in the order of ``classes_``.

        Raises
        ------
        ModelError
            If bands or window size differ from training, or a value is not finite.
        """
        check_is_fitted(self)
        return predict_windows(
            self._on_device(), self.scaling_, self._check_like_training(X)
        )

    def predict(self, X: npt.ArrayLike | LazyWindows) -> Array:
        """Return the most probable label of each window (n,)."""
        best = self.predict_proba(X).argmax(axis=1)
        labels: Array = self.classes_[best]
        return labels

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
        values = np.asarray(tile)
        bands = self.n_features_in_
        if (
            values.ndim != 3
            or values.shape[0] != bands
            or min(values.shape[1:]) < self.window_
        ):
            raise ModelError(
                f"A tile must have the shape (band, row, col) with {bands} bands and at "
                f"least {self.window_} rows and columns, got {values.shape}; give other "
                "pixels or another model."
            )
        return predict_tile(self._on_device(), self.scaling_, values, self.window_, memory)

    @property
    def dense_note(self) -> str | None:
        """A warning if scenes cannot be predicted in dense passes, else None."""
        if get_network(self.network).spatially_valid:
            return None
        return (
            f"The {self.network} network is predicted window by window, because a whole "
            "tile would give other results; this takes far longer than other networks."
        )

    def state(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """Return the fitted model as JSON values and named arrays."""
        check_is_fitted(self)
        settings = {
            "parameters": serialization.parameters_to_json(self.get_params()),
            "bands": int(self.n_features_in_),
            "window": int(self.window_),
            "classes": codes_to_json(self.classes_),
            "history": [dict(record) for record in self.history_],
        }
        return settings, self.scaling_.arrays() | serialization.network_arrays(
            self.network_
        )

    @classmethod
    def from_state(cls, settings: Mapping[str, Any], arrays: Mapping[str, Array]) -> Self:
        """Return a fitted estimator from what ``state`` returned.

        Everything is checked before it is used, as the source may not be trusted.

        Raises
        ------
        ModelError
            If anything is missing, has another type or size, or is not finite.
        """
        checked = serialization.NetworkSettings.check(settings)
        model = cls(**checked.estimator_parameters)
        model.n_features_in_, model.window_ = checked.bands, checked.window
        model.margin_, model.history_ = checked.window // 2, checked.history
        model.classes_ = codes_from_json(checked.classes)
        model.scaling_, model.network_ = serialization.restore_network(
            checked, arrays, len(model.classes_)
        )
        return model

    def training_recipe(self) -> Recipe:
        """Return the network's recipe with the fields changed by the user.

        Raises
        ------
        ModelError
            If a value is not valid, or has no effect with the others.
        """
        return make_recipe(
            self.network,
            self.recipe,
            passes=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
        )

    def _initialise(self, stack: Stack, generator: torch.Generator) -> Network:
        """Fit the scaling, and return a network for it with initialised weights."""
        kind = get_network(self.network)
        size = {"classes": len(self.classes_), "window": self.window_}
        # refuse what cannot be built before the windows are read
        build(self.network, bands=stack.shape[1], **size)
        spectra = finite_centre_spectra(stack)
        noise = noise_covariance(stack) if kind.scaling == "cleared" else None
        self.scaling_ = Scaling.fit(kind.scaling, spectra, noise, kind.components)
        network = build(self.network, bands=self.scaling_.outputs, **size)
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

    def _stack(self, X: npt.ArrayLike | LazyWindows, *, reset: bool) -> Stack:
        """Return X as a stack (n, band, row, col); lazy windows stay lazy."""
        if isinstance(X, LazyWindows):
            stack: Stack = X
            if reset:
                self.n_features_in_ = int(X.shape[1])
        else:
            array = validate_data(self, X, reset=reset, allow_nd=True)
            stack = array[:, :, None, None] if array.ndim == 2 else array
        self._check_shape(stack)
        return stack

    def _check_like_training(self, X: npt.ArrayLike | LazyWindows) -> Stack:
        """Return X as a stack of windows of the same shape as in training."""
        stack = self._stack(X, reset=False)
        if stack.shape[2] != self.window_:
            raise ModelError(
                f"This model was trained on windows of {self.window_} × {self.window_} "
                f"pixels, got {stack.shape[2]} × {stack.shape[2]}; cut windows of "
                f"{self.window_}."
            )
        return stack

    def _check_shape(self, stack: Stack) -> None:
        """Refuse stacks that are not square windows with the bands of training."""
        shape = tuple(stack.shape)
        if len(shape) != 4 or shape[2] != shape[3] or shape[2] % 2 == 0:
            raise ModelError(
                "Windows must have the shape (n, band, row, col) with one odd side, got "
                f"{shape}; cut them with an odd window size."
            )
        if shape[1] != self.n_features_in_:
            raise ModelError(
                f"This model was trained on {self.n_features_in_} bands, got {shape[1]}; "
                "give the same bands."
            )

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


def _seed(random_state: int | np.random.RandomState | None) -> int:
    """Return a seed for torch's generator from scikit-learn's ``random_state``."""
    return int(check_random_state(random_state).randint(2**31 - 1))
