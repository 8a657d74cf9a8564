"""A kept model and an image as it sees it: what must be there before a map is made."""

import logging
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hypercover.classifiers.bundle import MODEL_FILE, Bundle, load_bundle
from hypercover.classifiers.compatibility import match_bands
from hypercover.errors import CallError, ModelError
from hypercover.features.blockwise import BorderLevels, blockwise, border_levels
from hypercover.features.chain import Chain
from hypercover.features.feature import Progress
from hypercover.memory import resident_bytes
from hypercover.scene.inputs import input_identity
from hypercover.scene.samples import Samples, spectra_of
from hypercover.scene.scale_offset import ScaleOffset, rescale
from hypercover.scene.scene import Scene

__all__ = [
    "ModelInput",
    "check_values",
    "convert_to_model_scale",
    "describe_training_image",
    "select_model_bands",
    "working_memory",
]

_log = logging.getLogger(__name__)

_QUANTILES = (0.01, 0.5, 0.99)
_MOST_SAMPLES = 5000
"""Labelled pixels that tell the range of a model's numbers."""
_PLACES, _PATCH = 4, 16
"""Patches along each side of an image, and their pixels, that tell the range of its numbers."""
_FAR, _FARTHEST = 20.0, 500.0
"""Factors between the largest numbers: what other land does not explain where the ranges
are apart, and what it never explains.  Water is 20 times darker than soil."""

_LIBRARIES = 2**28
"""Bytes that compilers and libraries take for themselves once the work begins."""


@dataclass(frozen=True, eq=False)
class ModelInput:
    """A kept model, and the bands or features of a scene that it was trained on.

    Why it exists: the process that writes a map and those that predict its
    tiles must mean the same.
    """

    bundle: Bundle
    """The model."""
    scene: Scene
    """The scene as the model sees it."""
    identity: dict[str, Any] | None
    """What tells this model and this image from others; None without a file."""
    overlap: int | None = None
    """Pixels around a piece from which attribute profiles are computed."""

    @classmethod
    def of(
        cls,
        model: Path,
        scene: Scene,
        *,
        device: str = "auto",
        overlap: int | None = None,
    ) -> "ModelInput":
        """Load a model and choose the bands of a scene that it was trained on.

        Raises
        ------
        ModelError
            If the bundle is damaged, the image lacks bands or is a stack of
            other features, or the device is not to be had.
        """
        known = _identity(model, scene)
        bundle = load_bundle(model, device=device)
        scene = convert_to_model_scale(bundle.card, select_model_bands(bundle.card, scene))
        if known is not None and overlap is not None:
            known |= {"overlap": overlap}
        return cls(bundle, scene, known, overlap)

    @property
    def chain(self) -> Chain | None:
        """The image features of the model."""
        features = self.bundle.features
        return None if features is None else Chain.from_state(*features)

    @property
    def whole(self) -> bool:
        """Whether its features have to be computed of the whole scene, in memory."""
        chain = self.chain
        return chain is not None and chain.reach is None and self.overlap is None

    def levels(self) -> BorderLevels | None:
        """Return what pieces cannot know of the scene, to be looked for once."""
        chain = self.chain
        if chain is None or chain.reach is not None:
            return None
        return border_levels(chain, self.scene, overlap=self.overlap)

    def seen(
        self, *, levels: BorderLevels | None = None, progress: Progress | None = None
    ) -> Scene:
        """Return the scene that the classifier takes: bands, or image features.

        Features that can be computed piece by piece are, where they are read;
        others now, of the whole scene, in memory.

        Raises
        ------
        SceneError
            If they do not fit in memory.
        """
        chain = self.chain
        if chain is None:
            return self.scene
        if self.whole:
            return chain.transform(self.scene, progress=progress)
        return blockwise(chain, self.scene, overlap=self.overlap, levels=levels)


def _identity(model: Path, scene: Scene) -> dict[str, Any] | None:
    """Return what tells a model and the file of a scene from others; None without a file."""
    if not scene.source:
        return None
    card = model / MODEL_FILE
    return {
        "model": sha256(card.read_bytes()).hexdigest() if card.is_file() else None,
        "image": [list(facts) for facts in input_identity(Path(scene.source).absolute())],
        "read as": [scene.n_bands, str(scene.cube.dtype), *scene.notes],
    }


def working_memory(memory: int | None) -> int | None:
    """Return what a bound on the whole process leaves for the work.

    Raises
    ------
    CallError
        If nothing is left.
    """
    if memory is None:
        return None
    held = resident_bytes() + _LIBRARIES
    if held >= memory:
        raise CallError(
            f"The program alone takes {held / 2**20:,.0f} MiB, and it may take "
            f"{memory / 2**20:,.0f} MiB of memory; allow more."
        )
    return memory - held


def describe_training_image(scene: Scene, *, ranges: bool = True) -> dict[str, Any]:
    """Return what the card of a model says of the image it was trained on.

    Bands, wavelengths and names; scale and offset of each band; and, with ``ranges``,
    those of the numbers of labelled pixels: quantiles of 1, 50 and 99 %.
    """
    meaning, names = ScaleOffset.of(scene), scene.band_names
    return {
        **scene.origin,
        "bands": scene.bands.tolist(),
        "wavelengths": _listed(scene.wavelengths),
        "fwhm": _listed(scene.fwhm),
        "band_names": None if names is None else list(names),
        "scale": None if meaning is None else list(meaning.scale),
        "offset": None if meaning is None else list(meaning.offset),
        "value_ranges": _labelled_ranges(scene) if ranges else None,
    }


def _listed(values: npt.NDArray[np.float64] | None) -> list[float | None] | None:
    """Return one number for each band; those that are not known are None, as JSON has no NaN."""
    if values is None:
        return None
    return [float(one) if np.isfinite(one) else None for one in values]


def _labelled_ranges(scene: Scene) -> list[list[float]] | None:
    """Return low, median and high numbers of each band (band, 3) of labelled pixels."""
    samples = Samples.of(scene.usable_labels)
    step = max(1, len(samples) // _MOST_SAMPLES)
    spectra = spectra_of(scene, samples.take(np.arange(0, len(samples), step)))
    return _quantiles(spectra.T)


def _quantiles(values: npt.NDArray[Any]) -> list[list[float]] | None:
    """Return low, median and high of each row (band, n), or None without numbers."""
    if not values.shape[1]:
        return None
    found = np.quantile(values.astype(np.float64), _QUANTILES, axis=1).T
    return found.tolist() if np.isfinite(found).all() else None


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
    """Return the scene with numbers that mean what those of the training image did.

    Where model and image both state scale and offset and these differ, each number is
    replaced by the one that stands for the same quantity in the model's image.  Nothing
    changes where they agree, or where one of them states nothing (see `check_values`).
    """
    own, there = _meaning(card), ScaleOffset.of(scene)
    change = None if own is None or there is None else there.towards(own)
    return scene if own is None or change is None else rescale(scene, *change, own)


def _meaning(card: dict[str, Any]) -> ScaleOffset | None:
    """Return scale and offset of the image that a model was trained on."""
    return ScaleOffset.checked(card.get("scale"), card.get("offset"), len(card["bands"]))


def check_values(card: dict[str, Any], given: Scene, seen: Scene) -> list[str]:
    """Say how the numbers of an image were brought to a model's, and whether they fit.

    Parameters
    ----------
    card : of the model
    given : the image as it was given
    seen : with the model's bands and in its numbers

    Returns
    -------
    list of str
        What people must know; empty where both state the same and the ranges overlap.

    Raises
    ------
    ModelError
        If the numbers of the image are so much larger or smaller than those of the
        training pixels that no other land explains it.
    """
    own, there = _meaning(card), ScaleOffset.of(select_model_bands(card, given))
    said = []
    if own is not None and there is not None and there.towards(own) is not None:
        said.append(
            f"{given.name} states {there}, the model was trained on {own}: the values of "
            f"{given.name} are converted to the model's."
        )
    if own is not None and there is None:
        said.append(
            f"The model was trained on an image that states {own}, and {given.name} states "
            "none: its values are taken as they are."
        )
    if own is None and there is not None and "scale" in card:
        said.append(
            f"{given.name} states {there}, and the model was trained on an image that states "
            "none: its values are taken as they are."
        )
    if given.wavelengths is None and card.get("wavelengths"):
        said.append(
            f"{given.name} names no wavelengths; its bands were taken by their numbers, as "
            "those the model was trained on."
        )
    if given.wavelengths is not None and not card.get("wavelengths"):
        said.append(
            f"The model was trained on an image that names no wavelengths; the bands of "
            f"{given.name} were taken by their numbers and must be the same in the same order."
        )
    ranges = _ranges(card)
    found = None if ranges is None else _sampled_ranges(seen)
    if ranges is None or found is None:
        return said
    remedy = _REMEDY[own is not None and there is None]
    return said + _compared(ranges, np.array(found), seen, remedy)


_REMEDY = {
    True: "state its scale factor in the image (reflectance scale factor of an ENVI header, "
    "scale and offset of a GeoTIFF) or give one with values like those",
    False: "give an image with values like those, or train again on images that state their "
    "scale and offset",
}
"""What to do about values that do not fit, by whether only the model states a scale."""


def _ranges(card: dict[str, Any]) -> npt.NDArray[np.float64] | None:
    """Return the ranges (band, 3) of a card, or None where it holds none."""
    try:
        ranges = np.asarray(card.get("value_ranges"), dtype=np.float64)
    except (TypeError, ValueError):
        return None
    usable = ranges.shape == (len(card["bands"]), 3) and np.isfinite(ranges).all()
    return ranges if usable else None


def _sampled_ranges(scene: Scene) -> list[list[float]] | None:
    """Return low, median and high of each band of some patches spread over a scene."""
    spectra = []
    tops, lefts = (_starts(size) for size in scene.shape)
    for top in tops:
        for left in lefts:
            patch = slice(top, top + _PATCH), slice(left, left + _PATCH)
            values, valid = scene.read_valid(*patch)
            spectra.append(values[:, valid])
    return _quantiles(np.concatenate(spectra, axis=1))


def _starts(size: int) -> list[int]:
    """Return where patches begin along a side of so many pixels."""
    last = max(0, size - _PATCH)
    return sorted({round(last * at / (_PLACES - 1)) for at in range(_PLACES)})


def _compared(
    ranges: npt.NDArray[np.float64],
    found: npt.NDArray[np.float64],
    scene: Scene,
    remedy: str,
) -> list[str]:
    """Warn of numbers that do not overlap a model's, and refuse those of another scale."""
    apart = (found[:, 2] < ranges[:, 0]) | (found[:, 0] > ranges[:, 2])
    sizes = [np.abs(part).max(axis=1) for part in (found, ranges)]
    factor = float(np.median(sizes[0] / np.maximum(sizes[1], np.finfo(float).tiny)))
    times = max(factor, 1 / max(factor, np.finfo(float).tiny))
    mostly = apart.mean() > 0.5
    if not mostly and times < _FAR:
        return []
    at = int(np.flatnonzero(apart)[0]) if apart.any() else 0
    told = (
        f"The model was trained on values from {ranges[at, 0]:.6g} to {ranges[at, 2]:.6g} in "
        f"band {scene.bands[at]} and {scene.name} holds {found[at, 0]:.6g} to "
        f"{found[at, 2]:.6g}"
    )
    if (mostly and times >= _FAR) or times >= _FARTHEST:
        raise ModelError(f"{told}: they do not mean the same; {remedy}.")
    return [
        f"{told}: they hardly overlap in {int(apart.sum())} of {len(apart)} bands; check "
        "that both mean the same."
    ]
