"""Giving a kept model to programs that know nothing of hypercover."""

from pathlib import Path
from typing import Any

from hypercover.classifiers.bundle import Bundle, load_bundle
from hypercover.errors import CallError, ModelError
from hypercover.experiment.prediction import card_legend
from hypercover.files import check_writable
from hypercover.scene.legend import MAX_CODE

__all__ = ["export_onnx"]

_CARRIED = ("bands", "band_names", "wavelengths", "fwhm", "scale", "offset", "value_ranges")
"""What an ONNX file takes over from the card of the model."""


def export_onnx(model: Path, out: Path) -> float | None:
    """Write a kept network as an ONNX file that says what it takes and gives.

    Parameters
    ----------
    model : folder of the bundle
    out : file to write, with the suffix .onnx

    Returns
    -------
    largest difference of two probabilities between file and model
        On a random tile; None where ONNX Runtime is not installed.

    Raises
    ------
    CallError
        If the name has another suffix, or the packages for ONNX are not installed.
    ModelError
        If the bundle is damaged, is no network or is one on image features.
    RunError
        If ONNX Runtime gives other probabilities than the model.
    OutputError
        If the file cannot be written.
    """
    if check_writable(out).suffix.lower() != ".onnx":
        raise CallError(f"ONNX is to be written to {out}; give it the suffix .onnx.")
    # Of any machine: a graph holds no more than a tile of it takes.
    bundle = load_bundle(model, device="cpu")
    _check_network(bundle, model)
    metadata = {
        "classes": _classes(bundle),
        **{name: bundle.card.get(name) for name in _CARRIED},
        "weights_sha256": bundle.weights_sha256,
    }
    from hypercover.classifiers.onnx_graph import write_onnx

    return write_onnx(bundle.classifier, out, metadata, bundle.temperature)


def _check_network(bundle: Bundle, model: Path) -> None:
    """Refuse what has no graph."""
    if bundle.kind != "cnn":
        raise ModelError(
            f"Only networks are exported to ONNX and the model in {model} is of the kind "
            f"{bundle.kind}; give the folder of a cnn model."
        )
    if bundle.features is not None:
        raise ModelError(
            f"The model in {model} works on image features, which an ONNX graph cannot "
            "compute; export a network that was trained on bands."
        )


def _classes(bundle: Bundle) -> list[dict[str, Any]]:
    """Return code, name and colour of each class in the order of the probabilities."""
    codes = bundle.classifier.classes_
    if codes.dtype.kind not in "iu" or codes.min() < 1 or codes.max() > MAX_CODE:
        raise ModelError(
            f"The classes of the model are not codes from 1 to {MAX_CODE}; train it on "
            "codes."
        )
    return card_legend(bundle.card).covering(codes).to_json()
