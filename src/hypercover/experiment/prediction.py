"""Using a kept model on an image: what it was trained on must be there."""

from pathlib import Path
from typing import Any

from hypercover.classifiers.bundle import check_scene_fits, load_bundle
from hypercover.errors import CallError, ModelError
from hypercover.features.chain import Chain
from hypercover.features.feature import Progress, part_of
from hypercover.maps.predict import predict_to_files
from hypercover.scene.legend import Legend
from hypercover.scene.scene import Scene

__all__ = ["card_legend", "check_map_names", "predict_image"]


def predict_image(
    model: Path,
    scene: Scene,
    out: Path,
    *,
    confidence: Path | None = None,
    progress: Progress | None = None,
) -> None:
    """Map an image with a kept model, from file to file.

    Parameters
    ----------
    model : folder of the bundle
    scene : the image; where it has more bands than the model, those of the
        model are chosen by number and wavelength.  A model on image features
        computes them of the whole scene first, in memory.

    Raises
    ------
    CallError
        If a map is to have another suffix than that of a GeoTIFF.
    ModelError
        If the bundle is damaged, or the image lacks bands the model was
        trained on, or is a stack of other features; they are named.
    SceneError
        If the image features of the scene do not fit in memory.
    """
    check_map_names(out, confidence)
    bundle = load_bundle(model)
    positions = check_scene_fits(
        bundle.card, scene.bands, scene.wavelengths, scene.band_names
    )
    if positions is not None:
        scene = scene.take_bands([int(position) for position in positions])
    legend = card_legend(bundle.card)
    if bundle.features is not None:
        chain = Chain.from_state(*bundle.features)
        scene = chain.transform(scene, progress=part_of(progress, 0, 2))
        progress = part_of(progress, 1, 2)
    predict_to_files(
        bundle.classifier,
        scene,
        out,
        confidence_path=confidence,
        legend=legend,
        progress=progress,
    )


def card_legend(card: dict[str, Any]) -> Legend:
    """Read the classes of a card, which may come from a stranger.

    Raises
    ------
    ModelError
        If it does not say which they are.
    """
    try:
        return Legend.from_json(card["legend"])
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(
            "The model does not say which classes it knows; train it again."
        ) from error


def check_map_names(out: Path, confidence: Path | None) -> None:
    """Refuse to write a GeoTIFF under the name of something else, or two under one name.

    Raises
    ------
    CallError
        If a name has another suffix than that of a GeoTIFF, or both are the same.
    """
    for path in (out, confidence):
        if path is not None and path.suffix.lower() not in (".tif", ".tiff"):
            raise CallError(
                f"A map is written as GeoTIFF, got the name {path}; give it the suffix .tif."
            )
    if confidence is not None and confidence.absolute() == out.absolute():
        raise CallError(
            f"The class map and its confidence cannot both be written to {out}; give each "
            "a name of its own."
        )
