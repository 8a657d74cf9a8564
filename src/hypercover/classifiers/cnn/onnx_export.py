"""Export of a trained network to ONNX, from raw values to probabilities."""

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
import torch
from torch import nn

from hypercover.classifiers.cnn.cnn_classifier import CNNClassifier
from hypercover.classifiers.scaling import Scaling
from hypercover.errors import CallError, ModelError, RunError
from hypercover.files import atomic
from hypercover.types import Singles

_OPSET, _FORMAT = 18, 8
"""Operator set and file format of ONNX 1.13, supported by runtimes since 2022."""
_MAX_BYTES = 2**31 - 2**24
"""Largest weights of one ONNX file, leaving room for the graph."""
_MAX_DIFFERENCE = 1e-3
"""Difference of two probabilities that rounding can explain."""
_TILE = (12, 17)
"""Rows and columns of the tile on which file and model are compared."""


def write_onnx(
    classifier: CNNClassifier,
    path: str | Path,
    metadata: Mapping[str, Any],
    temperature: float | None = None,
) -> float | None:
    """Write a trained network as an ONNX file after comparing it with the model.

    If ONNX Runtime is installed, the file is written only if it loads and gives the
    probabilities of the model.

    Parameters
    ----------
    classifier : CNNClassifier
        Fitted.
    path : file to write
    metadata : mapping of names to JSON values
        Metadata in addition to those of :func:`onnx_graph`.
    temperature : float, optional
        Temperature by which the scores are divided before the softmax.

    Returns
    -------
    float or None
        Largest difference of two probabilities on a random tile; None if ONNX Runtime
        is not installed.

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
        difference = _largest_difference(classifier, draft, temperature)
        if difference is not None and not difference < _MAX_DIFFERENCE:
            raise RunError(
                f"ONNX Runtime's probabilities differ from the model's by {difference:.2g}, so "
                f"{path} was not written; update onnxruntime."
            )
    return difference


def onnx_graph(
    classifier: CNNClassifier, metadata: Mapping[str, Any], temperature: float | None = None
) -> Any:
    """Return a trained network as an ``onnx.ModelProto``.

    A spatially valid network has the input ``cube`` (batch, band, height, width) of any
    height and width and the output ``probabilities`` (batch, class, height, width); the
    graph pads it with half a window of repeated edge pixels.  Any other network has the
    input ``windows`` (batch, band, window, window) and the output (batch, class).

    All metadata values are JSON: those given, and ``input``, ``network``, ``window``,
    ``margin``, ``padding``, ``nodata``, ``temperature`` and ``hypercover_version``.

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
            f"Writing ONNX needs the package {error.name}; install it by pip install "
            "'hypercover[onnx]'."
        ) from error
    graph = _exported(classifier, temperature)
    graph.producer_name, graph.producer_version = "hypercover", version("hypercover")
    graph.ir_version = _FORMAT
    tiles = classifier.network_.spatially_valid
    metadata = {
        "input": _input_name(classifier),
        "network": classifier.network,
        "window": classifier.window_,
        "margin": classifier.margin_,
        "padding": "edge pixels repeated, inside the graph" if tiles else "none",
        "nodata": 0,
        "hypercover_version": version("hypercover"),
        "temperature": temperature,
        **metadata,
    }
    values = {key: json.dumps(value, allow_nan=False) for key, value in metadata.items()}
    onnx.helper.set_model_props(graph, values)
    onnx.checker.check_model(graph, full_check=True)
    return graph


class _RawValues(nn.Module):
    """Scaling, padding, network, temperature and softmax as one module on the CPU."""

    mean: torch.Tensor
    weight: torch.Tensor

    def __init__(self, classifier: CNNClassifier, temperature: float | None) -> None:
        super().__init__()
        self.temperature, scaling = temperature, classifier.scaling_
        self.register_buffer("mean", torch.from_numpy(scaling.mean)[None, :, None, None])
        weight = torch.from_numpy(np.atleast_2d(scaling.weight))[:, :, None, None]
        self.register_buffer("weight", weight)
        self.matrix, self.margin = scaling.weight.ndim == 2, classifier.margin_
        self.tiles = classifier.network_.spatially_valid
        self.network = copy.deepcopy(classifier.network_).cpu()

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Map raw values to probabilities."""
        values = values - self.mean
        if self.matrix:
            values = nn.functional.conv2d(values, self.weight)
        else:
            values = values * self.weight
        if self.tiles:
            # after scaling, which may leave far fewer values than bands
            values = nn.functional.pad(values, [self.margin] * 4, mode="replicate")
        scores = self.network(values)
        if not self.tiles:
            scores = scores[:, :, 0, 0]
        if self.temperature is not None:
            scores = scores / self.temperature
        return torch.softmax(scores, 1)


def _exported(classifier: CNNClassifier, temperature: float | None) -> Any:
    """Return the graph without PyTorch's notes on this machine."""
    whole = _RawValues(classifier, temperature).eval()
    size = sum(4 * values.numel() for values in whole.state_dict().values())
    if size > _MAX_BYTES:
        raise ModelError(
            f"The weights have {size / 2**30:.1f} GiB and an ONNX file holds 2 GiB; use "
            "smaller windows."
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
    # paths and versions of the Python code of each operator
    inner = graph.graph
    lists = (inner.node, inner.input, inner.output, inner.value_info, inner.initializer)
    for part in (inner, *(item for items in lists for item in items)):
        del part.metadata_props[:]
        part.doc_string = ""
    return graph


def _input_name(classifier: CNNClassifier) -> str:
    return "cube" if classifier.network_.spatially_valid else "windows"


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the developer messages of torch.onnx."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)


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


def _random_values(scaling: Scaling, rows: int, cols: int) -> Singles:
    """Draw raw values (band, row, col) that scaling turns into standard normal ones."""
    scaled = np.random.default_rng(0).normal(size=(scaling.outputs, rows * cols))
    weight = scaling.weight.astype(np.float64)
    matrix = weight if weight.ndim == 2 else np.diag(weight)
    spectra = np.linalg.pinv(matrix) @ scaled
    raw = (spectra + scaling.mean[:, None]).astype(np.float32)
    return raw.reshape(scaling.bands, rows, cols)
