"""The input of a saved model: the bands or features of an image, in the model's scale."""

import logging
from dataclasses import dataclass
from hashlib import sha256
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from hypercover.classifiers.band_matching import match_bands
from hypercover.classifiers.bundle import MODEL_FILE, Bundle, load_bundle
from hypercover.errors import CallError, ModelError
from hypercover.features.chain import BorderLevels, Chain
from hypercover.memory import resident_bytes
from hypercover.scene.encoding import ScaleOffset, rescale
from hypercover.scene.file_identity import recorded_identity
from hypercover.scene.samples import Samples, spectra_of
from hypercover.scene.scene import Scene
from hypercover.types import Array, Floats, Progress

_log = logging.getLogger(__name__)

_QUANTILES = (0.01, 0.5, 0.99)
_MOST_SAMPLES = 5000
"""Largest number of labelled pixels that the value ranges of a model are taken from."""
_PLACES, _PATCH = 4, 16
"""Number of patches along each side of an image, and their side in pixels, that the value
ranges of an image are taken from."""
_FAR, _FARTHEST = 20.0, 500.0
"""Factors between the largest values that different land cover cannot explain: if the
ranges do not overlap, and in any case.  Water is 20 times darker than soil."""

_LIBRARIES = 2**28
"""Bytes that compilers and libraries take once the work begins."""


@dataclass(frozen=True, eq=False)
class ModelInput:
    """A saved model and a scene with the bands that it was trained on."""

    bundle: Bundle
    """The model."""
    scene: Scene
    """The model's bands, in the model's scale and offset."""
    identity: dict[str, Any] | None
    """Identifies model and image, as JSON; None if the scene has no file."""
    overlap: int | None = None
    """Pixels around a piece from which attribute profiles are computed."""

    @classmethod
    def of(
        cls, model: Path, scene: Scene, *, device: str = "auto", overlap: int | None = None
    ) -> "ModelInput":
        """Load a model and select its bands from a scene.

        Raises
        ------
        ModelError
            If the bundle is damaged, the image lacks bands or is a stack of
            other features, or the device is not available.
        """
        identity = _identity(model, scene)
        bundle = load_bundle(model, device=device)
        scene = convert_to_model_scale(bundle.card, select_model_bands(bundle.card, scene))
        if identity is not None and overlap is not None:
            identity |= {"overlap": overlap}
        return cls(bundle, scene, identity, overlap)

    @property
    def chain(self) -> Chain | None:
        """The image features of the model."""
        features = self.bundle.features
        return None if features is None else Chain.from_state(*features)

    @property
    def needs_whole_scene(self) -> bool:
        """Whether the features have to be computed of the whole scene, in memory."""
        chain = self.chain
        return chain is not None and chain.reach is None and self.overlap is None

    def border_levels(self) -> BorderLevels | None:
        """Return what attribute profiles computed piece by piece need of the whole scene."""
        chain = self.chain
        if chain is None or chain.reach is not None:
            return None
        return chain.border_levels(self.scene, overlap=self.overlap)

    def compute_features(
        self, *, levels: BorderLevels | None = None, progress: Progress | None = None
    ) -> Scene:
        """Return the scene that the classifier takes: bands or image features.

        Features are computed lazily, when they are read, if pieces allow it; otherwise
        at once, of the whole scene, in memory.

        Raises
        ------
        SceneError
            If they do not fit in memory.
        """
        chain = self.chain
        if chain is None:
            return self.scene
        if self.needs_whole_scene:
            return chain.transform(self.scene, progress=progress)
        return chain.transform_blockwise(self.scene, overlap=self.overlap, levels=levels)


def _identity(model: Path, scene: Scene) -> dict[str, Any] | None:
    """Return what identifies a model and the file of a scene; None without a file."""
    if not scene.source:
        return None
    card = model / MODEL_FILE
    return {
        "model": sha256(card.read_bytes()).hexdigest() if card.is_file() else None,
        "image": [list(part) for part in recorded_identity(Path(scene.source).absolute())],
        "read as": [scene.n_bands, str(scene.cube.dtype), *scene.notes],
    }


def working_memory(memory: int | None) -> int | None:
    """Return what a memory limit of the whole process leaves for the work.

    Raises
    ------
    CallError
        If nothing is left.
    """
    if memory is None:
        return None
    used = resident_bytes() + _LIBRARIES
    if used >= memory:
        raise CallError(
            f"The program alone takes {used / 2**20:,.0f} MiB, and the limit is "
            f"{memory / 2**20:,.0f} MiB of memory; allow more."
        )
    return memory - used


def describe_training_image(scene: Scene, *, ranges: bool = True) -> dict[str, Any]:
    """Return what a model's card records about its training image.

    These are numbers, wavelengths and names of the bands; scale and offset of each
    band; and, with ``ranges``, the 1, 50 and 99 % quantiles of each band at labelled
    pixels.
    """
    stated, names = ScaleOffset.of(scene), scene.band_names
    return {
        **scene.origin,
        "bands": scene.bands.tolist(),
        "wavelengths": _listed(scene.wavelengths),
        "fwhm": _listed(scene.fwhm),
        "band_names": None if names is None else list(names),
        "scale": None if stated is None else list(stated.scale),
        "offset": None if stated is None else list(stated.offset),
        "value_ranges": _labelled_ranges(scene) if ranges else None,
    }


def _listed(values: Floats | None) -> list[float | None] | None:
    """Return a number per band, None if unknown, as JSON has no NaN."""
    if values is None:
        return None
    return [value if np.isfinite(value) else None for value in values.tolist()]


def _labelled_ranges(scene: Scene) -> list[list[float]] | None:
    """Return low, median and high value (band, 3) of each band at labelled pixels."""
    samples = Samples.of(scene.usable_labels)
    step = max(1, len(samples) // _MOST_SAMPLES)
    spectra = spectra_of(scene, samples.take(np.arange(0, len(samples), step)))
    return _quantiles(spectra.T)


def _quantiles(values: Array) -> list[list[float]] | None:
    """Return low, median and high value of each row (band, n); None without finite values."""
    if not values.shape[1]:
        return None
    quantiles = np.quantile(values.astype(np.float64), _QUANTILES, axis=1).T
    return quantiles.tolist() if np.isfinite(quantiles).all() else None


def select_model_bands(card: dict[str, Any], scene: Scene) -> Scene:
    """Return the scene with the bands that a model was trained on, in its order.

    Raises
    ------
    ModelError
        If it lacks some, or is a stack of other features.
    """
    places = match_bands(card, scene.bands, scene.wavelengths, scene.band_names)
    return scene if places is None else scene.take_bands([int(place) for place in places])


def convert_to_model_scale(card: dict[str, Any], scene: Scene) -> Scene:
    """Return the scene with values in the scale and offset of the training image.

    Values are converted where model and image both state scale and offset and these
    differ.  Nothing changes where they agree or one of them is unknown (see
    `check_values`).
    """
    model, stated = _scale_of_card(card), ScaleOffset.of(scene)
    change = None if model is None or stated is None else stated.towards(model)
    return scene if model is None or change is None else rescale(scene, *change, model)


def _scale_of_card(card: dict[str, Any]) -> ScaleOffset | None:
    return ScaleOffset.checked(card.get("scale"), card.get("offset"), len(card["bands"]))


def check_values(card: dict[str, Any], image: Scene, converted: Scene) -> None:
    """Check that the values of an image fit a model, and log how they may not.

    Parameters
    ----------
    card : of the model
    image : as it was given
    converted : with the model's bands and in its scale

    Raises
    ------
    ModelError
        If the values are so much larger or smaller than those of the training pixels
        that different land cover cannot explain it.
    """
    model = _scale_of_card(card)
    stated = ScaleOffset.of(select_model_bands(card, image))
    name, trained = image.name, "the model was trained on"
    matched, waves = image.wavelengths is not None, bool(card.get("wavelengths"))
    as_they_are = "states none: its values are taken as they are."
    warnings = []
    if model and stated and stated.towards(model) is not None:
        warnings += [
            f"{name} states {stated}, {trained} {model}: the values of {name} are converted to "
            "the model's."
        ]
    elif model and not stated:
        warnings += [
            f"{trained.capitalize()} an image that states {model}, and {name} {as_they_are}"
        ]
    elif stated and not model and "scale" in card:
        warnings += [f"{name} states {stated}, and {trained} an image that {as_they_are}"]
    if waves and not matched:
        warnings += [
            f"{name} has no wavelengths; its bands were matched to those of the model by number."
        ]
    elif matched and not waves:
        warnings += [
            f"{trained.capitalize()} an image without wavelengths; the bands of {name} were matched "
            "by number and must be the same in the same order."
        ]
    expected = _ranges_of_card(card)
    actual = None if expected is None else _sampled_ranges(converted)
    if expected is not None and actual is not None:
        remedy = _REMEDY_SCALE if model is not None and stated is None else _REMEDY_VALUES
        warnings += _compare_ranges(expected, np.array(actual), converted, remedy)
    for warning in warnings:
        _log.warning(warning)


_REMEDY_SCALE = (
    "state its scale factor in the image (reflectance scale factor of an ENVI header, "
    "scale and offset of a GeoTIFF) or give one with values like those"
)
_REMEDY_VALUES = (
    "give an image with values like those, or train again on images that state their "
    "scale and offset"
)


def _ranges_of_card(card: dict[str, Any]) -> Floats | None:
    """Return the value ranges (band, 3) of a card, or None without valid ones."""
    try:
        ranges = np.asarray(card.get("value_ranges"), dtype=np.float64)
    except (TypeError, ValueError):
        return None
    usable = ranges.shape == (len(card["bands"]), 3) and np.isfinite(ranges).all()
    return ranges if usable else None


def _sampled_ranges(scene: Scene) -> list[list[float]] | None:
    """Return low, median and high value of each band in patches spread over a scene."""
    starts = (
        sorted({round(max(0, size - _PATCH) * at / (_PLACES - 1)) for at in range(_PLACES)})
        for size in scene.shape
    )
    spectra = []
    for top, left in product(*starts):
        values, valid = scene.read_valid(
            slice(top, top + _PATCH), slice(left, left + _PATCH)
        )
        spectra.append(values[:, valid])
    return _quantiles(np.concatenate(spectra, axis=1))


def _compare_ranges(
    expected: Floats, actual: Floats, scene: Scene, remedy: str
) -> list[str]:
    """Warn of values outside a model's ranges, and refuse those of another scale."""
    apart = (actual[:, 2] < expected[:, 0]) | (actual[:, 0] > expected[:, 2])
    largest, usual = (np.abs(part).max(axis=1) for part in (actual, expected))
    tiny = np.finfo(float).tiny
    ratio = float(np.median(largest / np.maximum(usual, tiny)))
    factor = max(ratio, 1 / max(ratio, tiny))
    mostly = apart.mean() > 0.5
    if not mostly and factor < _FAR:
        return []
    at = int(np.flatnonzero(apart)[0]) if apart.any() else 0
    ranges = (
        f"The model was trained on values from {expected[at, 0]:.6g} to "
        f"{expected[at, 2]:.6g} in band {scene.bands[at]} and {scene.name} holds "
        f"{actual[at, 0]:.6g} to {actual[at, 2]:.6g}"
    )
    if (mostly and factor >= _FAR) or factor >= _FARTHEST:
        raise ModelError(f"{ranges}: they do not mean the same; {remedy}.")
    return [
        f"{ranges}: they hardly overlap in {int(apart.sum())} of {len(apart)} bands; check "
        "that both mean the same."
    ]
