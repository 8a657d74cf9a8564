"""Using a kept model on an image: what it was trained on must be there."""

from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hypercover.classifiers.bundle import CARD, check_scene_fits, load_bundle
from hypercover.errors import CallError, ModelError
from hypercover.features.chain import Chain
from hypercover.features.feature import Progress, part_of
from hypercover.maps.clean import Cleaning
from hypercover.maps.export import write_class_map
from hypercover.maps.predict import check_places, predict_to_files
from hypercover.maps.style import sidecars_of
from hypercover.memory import resident_bytes
from hypercover.scene.classmap import open_class_map
from hypercover.scene.clipping import area_of
from hypercover.scene.companions import identity
from hypercover.scene.legend import Legend
from hypercover.scene.scene import Scene

__all__ = ["card_legend", "check_map_names", "predict_image"]

_LIBRARIES = 2**28
"""Bytes that compilers and libraries take for themselves once the work begins."""


def predict_image(
    model: Path,
    scene: Scene,
    out: Path,
    *,
    confidence: Path | None = None,
    probabilities: Path | None = None,
    entropy: Path | None = None,
    memory: int | None = None,
    device: str = "auto",
    cleaning: Cleaning | None = None,
    within: Path | None = None,
    progress: Progress | None = None,
) -> None:
    """Map an image with a kept model, from file to file.

    Stopped at any time, the same call goes on with the tile it was at.

    Parameters
    ----------
    model : folder of the bundle
    scene : the image; where it has more bands than the model, those of the
        model are chosen by number and wavelength.  A model on image features
        computes them of the whole scene first, in memory.
    out, confidence, probabilities, entropy : maps to write
    memory : int, optional
        Bytes that this process may take, with all it holds already; None: as
        :func:`~hypercover.maps.predict.predict_scene` says.
    device : {"auto", "cpu", "cuda"}
        Where a network computes.
    cleaning : Cleaning, optional
        What is done to the class map; the other maps stay as predicted.
    within : path, optional
        Area (polygons or a raster) outside which the class map holds no data.

    Raises
    ------
    CallError
        If a map is to have another suffix than that of a GeoTIFF, or the name
        of another one, or the memory is too little.
    ModelError
        If the bundle is damaged, or the image lacks bands the model was
        trained on, or is a stack of other features; they are named.  Or if
        the device is not to be had.
    OutputError
        If a map cannot be written; it is refused before anything is predicted.
    SceneError
        If the image features of the scene do not fit in memory.
    """
    check_map_names(out, confidence, probabilities, entropy)
    check_places(out, confidence, probabilities, entropy)
    area = None if within is None else area_of(within, scene.grid)
    known = _identity(model, scene)
    bundle = load_bundle(model, device=device)
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
    # A map that is not finished must not lie under the name asked for.
    changed = bool(cleaning) or area is not None
    raw = out.with_name(f".{out.name}.raw") / out.name if changed else out
    predict_to_files(
        bundle.classifier,
        scene,
        raw,
        confidence_path=confidence,
        probabilities_path=probabilities,
        entropy_path=entropy,
        legend=legend,
        memory=None if memory is None else _left(memory),
        temperature=bundle.temperature,
        identity=known,
        progress=progress,
    )
    if changed:
        _finish(raw, out, scene, legend, cleaning or Cleaning(), area)


def _finish(
    raw: Path,
    out: Path,
    scene: Scene,
    legend: Legend,
    cleaning: Cleaning,
    area: npt.NDArray[np.bool_] | None,
) -> None:
    """Write the class map clipped and cleaned, and remove it as it was predicted."""
    codes = open_class_map(raw).codes
    if area is not None:
        codes = np.where(area, codes, 0).astype(codes.dtype)
    write_class_map(out, cleaning.apply(codes), legend, scene.grid, **scene.origin)
    for file in (raw, *sidecars_of(raw)):
        file.unlink(missing_ok=True)
    with suppress(OSError):
        raw.parent.rmdir()


def _identity(model: Path, scene: Scene) -> dict[str, Any] | None:
    """Return what tells a model and the file of a scene from others; None without a file."""
    if not scene.source:
        return None
    card = model / CARD
    return {
        "model": sha256(card.read_bytes()).hexdigest() if card.is_file() else None,
        "image": [list(facts) for facts in identity(Path(scene.source).absolute())],
        "read as": [scene.n_bands, str(scene.cube.dtype), *scene.notes],
    }


def _left(memory: int) -> int:
    """Return what a bound on the whole process leaves for the work."""
    held = resident_bytes() + _LIBRARIES
    if held >= memory:
        raise CallError(
            f"The program alone takes {held / 2**20:,.0f} MiB, and it may take "
            f"{memory / 2**20:,.0f} MiB of memory; allow more."
        )
    return memory - held


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


def check_map_names(*paths: Path | None) -> None:
    """Refuse to write a GeoTIFF under the name of something else, or two under one name.

    Raises
    ------
    CallError
        If a name has another suffix than that of a GeoTIFF, or two differ in
        nothing else: their styles would have one name.
    """
    given = [path for path in paths if path is not None]
    for path in given:
        if path.suffix.lower() not in (".tif", ".tiff"):
            raise CallError(
                f"A map is written as GeoTIFF, got the name {path}; give it the suffix .tif."
            )
    stems = [path.resolve().with_suffix("") for path in given]
    for path, stem in zip(given, stems, strict=True):
        if stems.count(stem) > 1:
            raise CallError(
                f"Two maps cannot both be written to {path}; give each a name of its own."
            )
