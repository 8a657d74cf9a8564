"""A trained network as one ONNX file: raw values in, probabilities out."""

import copy
import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from hypercover.classifiers.cnn.cnn_classifier import CNNClassifier
from hypercover.classifiers.scaling import Scaling
from hypercover.errors import CallError, ModelError, RunError
from hypercover.files import atomic

__all__ = ["onnx_graph", "write_onnx"]

_OPSET, _FORMAT = 18, 8
"""Operators and file format of ONNX 1.13, which runtimes since 2022 read."""
_MOST = 2**31 - 2**24
"""Bytes of weights that one ONNX file holds, with room for the graph."""
_APART = 1e-3
"""Difference of two probabilities that rounding does not explain."""
_TILE = (12, 17)
"""Rows and columns of the tile on which file and model are compared."""


def write_onnx(
    classifier: CNNClassifier,
    path: str | Path,
    metadata: Mapping[str, Any],
    temperature: float | None = None,
) -> float | None:
    """Write a trained network as an ONNX file and hold its answers against the model's.

    Why it exists: a map can then be made where there is neither Python nor
    PyTorch.  The file appears only if ONNX Runtime, where it is installed, loads
    it and agrees.

    Parameters
    ----------
    classifier : CNNClassifier
        Fitted.
    path : file to write
    metadata : mapping of names to JSON values
        What the file shall say beside what :func:`onnx_graph` adds.
    temperature : float, optional
        By which the scores are divided before the softmax.

    Returns
    -------
    largest difference of two probabilities on a random tile
        None where ONNX Runtime is not installed.

    Raises
    ------
    CallError
        If the packages ``onnx`` and ``onnxscript`` are not installed.
    ModelError
        If the weights are too large for one file.
    RunError
        If ONNX Runtime gives other probabilities than the model.
    OutputError
        If the file cannot be written.
    """
    graph = onnx_graph(classifier, metadata, temperature)
    with atomic(path) as draft:
        draft.write_bytes(graph.SerializeToString(deterministic=True))
        apart = _largest_difference(classifier, draft, temperature)
        if apart is not None and not apart < _APART:
            raise RunError(
                f"ONNX Runtime gives probabilities that differ from the model's by "
                f"{apart:.2g}, so {path} was not written; update onnxruntime."
            )
    return apart


def onnx_graph(
    classifier: CNNClassifier,
    metadata: Mapping[str, Any],
    temperature: float | None = None,
) -> Any:
    """Return a trained network as an ``onnx.ModelProto``.

    A network that may see a tile at once takes ``cube`` (batch, band, height,
    width) of any height and width and gives ``probabilities`` (batch, class,
    height, width): half a window of repeated edge pixels is put around inside
    the graph, as around a scene in training.  One that may not takes ``windows``
    (batch, band, window, window) and gives (batch, class).

    Every value of its metadata is JSON.  It says ``input``, ``network``,
    ``window``, ``margin``, ``padding``, ``nodata``, ``temperature`` and
    ``hypercover_version`` beside what it is given.

    Raises
    ------
    CallError
        If the packages ``onnx`` and ``onnxscript`` are not installed.
    ModelError
        If the weights are too large for one file.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401  torch.onnx needs it
    except ImportError as error:
        raise CallError(
            f"Writing ONNX needs the package {error.name}, which is not installed; "
            "install it by pip install 'hypercover[onnx]'."
        ) from error
    graph = _exported(classifier, temperature)
    graph.producer_name, graph.producer_version = "hypercover", version("hypercover")
    graph.ir_version = _FORMAT
    said = {**_description(classifier), "temperature": temperature, **metadata}
    values = {key: json.dumps(value, allow_nan=False) for key, value in said.items()}
    onnx.helper.set_model_props(graph, values)
    onnx.checker.check_model(graph, full_check=True)
    return graph


class _RawValues(nn.Module):
    """Scaling, padding, network, temperature and softmax as one module on the CPU."""

    mean: torch.Tensor
    weight: torch.Tensor

    def __init__(self, classifier: CNNClassifier, temperature: float | None) -> None:
        super().__init__()
        self.temperature = temperature
        scaling = classifier.scaling_
        self.register_buffer("mean", _per_band(scaling.mean))
        weight = scaling.weight
        matrix = weight.ndim == 2
        kernel = torch.from_numpy(weight)[:, :, None, None] if matrix else _per_band(weight)
        self.register_buffer("weight", kernel)
        self.matrix, self.tiles = matrix, classifier.network_.spatially_valid
        self.margin = classifier.margin_
        self.network = copy.deepcopy(classifier.network_).cpu()

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Map raw values to probabilities."""
        values = values - self.mean
        if self.matrix:
            values = nn.functional.conv2d(values, self.weight)
        else:
            values = values * self.weight
        if not self.tiles:
            return self._shares(self.network(values)[:, :, 0, 0])
        # after the scaling, which may leave far fewer values than there are bands
        around = nn.functional.pad(values, [self.margin] * 4, mode="replicate")
        return self._shares(self.network(around))

    def _shares(self, scores: torch.Tensor) -> torch.Tensor:
        if self.temperature is not None:
            scores = scores / self.temperature
        return torch.softmax(scores, 1)


def _per_band(values: npt.NDArray[np.float32]) -> torch.Tensor:
    return torch.from_numpy(values)[None, :, None, None]


def _exported(classifier: CNNClassifier, temperature: float | None) -> Any:
    """Return the bare graph, freed of what PyTorch notes of this machine."""
    whole = _RawValues(classifier, temperature).eval()
    size = sum(4 * values.numel() for values in whole.state_dict().values())
    if size > _MOST:
        raise ModelError(
            f"The weights take {size / 2**30:.1f} GiB and one ONNX file holds 2; train a "
            "network on smaller windows."
        )
    window = classifier.window_
    rows, cols = (window + 2, window + 5) if whole.tiles else (window, window)
    sizes = {0: "batch"} | ({2: "height", 3: "width"} if whole.tiles else {})
    with _quiet():
        program: Any = torch.onnx.export(
            whole,
            (torch.zeros(2, classifier.n_features_in_, rows, cols),),
            input_names=[_input_name(classifier)],
            output_names=["probabilities"],
            dynamic_shapes=(sizes,),
            opset_version=_OPSET,
            dynamo=True,
            verbose=False,
        )
    graph = program.model_proto
    _clear_notes(graph)
    return graph


def _input_name(classifier: CNNClassifier) -> str:
    return "cube" if classifier.network_.spatially_valid else "windows"


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what torch.onnx says to its developers from the user."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)


def _clear_notes(graph: Any) -> None:
    """Take out where each operator stood in the Python code: paths and versions."""
    inner = graph.graph
    parts = (inner.node, inner.input, inner.output, inner.value_info, inner.initializer)
    for part in (inner, *(one for some in parts for one in some)):
        del part.metadata_props[:]
        part.doc_string = ""


def _description(classifier: CNNClassifier) -> dict[str, Any]:
    """Say how the graph is to be used."""
    tiles = classifier.network_.spatially_valid
    return {
        "input": _input_name(classifier),
        "network": classifier.network,
        "window": classifier.window_,
        "margin": classifier.margin_,
        "padding": "edge pixels repeated, inside the graph" if tiles else "none",
        "nodata": 0,
        "hypercover_version": version("hypercover"),
    }


def _largest_difference(
    classifier: CNNClassifier, path: Path, temperature: float | None
) -> float | None:
    """Compare the file with the model on random values; None without ONNX Runtime."""
    try:
        import onnxruntime
    except ImportError:
        return None
    margin, window = classifier.margin_, classifier.window_
    tiles = classifier.network_.spatially_valid
    values = _random_values(classifier.scaling_, *(_TILE if tiles else (window, window)))
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    answer = session.run(None, {_input_name(classifier): values[None]})[0][0]
    if tiles:
        sides = [(0, 0), (margin, margin), (margin, margin)]
        expected = classifier.predict_dense(np.pad(values, sides, mode="edge"))
    else:
        expected = classifier.predict_proba(values[None])[0]
    if temperature is not None:
        powers = (expected / expected.max(axis=0)) ** (1 / temperature)
        expected = powers / powers.sum(axis=0)
    return float(np.abs(answer - expected).max())


def _random_values(scaling: Scaling, rows: int, cols: int) -> npt.NDArray[np.float32]:
    """Draw raw values (band, row, col) that scaling turns into standard normal ones."""
    chance = np.random.default_rng(0)
    scaled = chance.normal(size=(scaling.outputs, rows * cols))
    weight = scaling.weight.astype(np.float64)
    if weight.ndim == 2:
        spectra = np.linalg.pinv(weight) @ scaled
    else:
        inverse = np.divide(1, weight, out=np.zeros_like(weight), where=weight > 0)
        spectra = inverse[:, None] * scaled
    raw = (spectra + scaling.mean[:, None]).astype(np.float32)
    return raw.reshape(scaling.bands, rows, cols)
