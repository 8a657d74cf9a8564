"""Telling whether a file is one of a known scene: by its bytes, or else by what it holds."""

import hashlib
from pathlib import Path

import numpy as np

from hypercover.errors import HypercoverError
from hypercover.scene.catalog import KnownFile, KnownScene, ground_truth
from hypercover.scene.grid import Grid
from hypercover.scene.images import recognise_image
from hypercover.scene.outline import Outline, outlines
from hypercover.scene.reading import open_labels, open_scene

__all__ = ["known_by", "same_bytes"]

_CHUNK = 2**20


def same_bytes(path: Path, file: KnownFile) -> bool | None:
    """Tell whether a file has the published checksum; None where none is known.

    Both the SHA-256 and the content id of git are compared, where they are known.
    """
    if file.sha256 is None and file.git_blob is None:
        return None
    plain = hashlib.sha256()
    blob = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as content:
        while chunk := content.read(_CHUNK):
            plain.update(chunk)
            blob.update(chunk)
    wanted = {file.sha256, file.git_blob} - {None}
    return wanted <= {plain.hexdigest(), blob.hexdigest()}


def known_by(path: Path, file: KnownFile, scene: KnownScene) -> str | None:
    """Say by what a file on the disk is known to be one of a scene, or return None.

    Its name plays no part.  Best is the checksum.  A copy in other bytes is known
    by what it holds: labels by the pixels of each class, an image by its values
    where some are known, and what is left by the name and shape of its array.
    """
    alike = [one for one in outlines(path) if one.shape == file.shape]
    if not alike:
        return None
    if same_bytes(path, file):
        return "its checksum"
    told = _labels_by if file.is_labels else _image_by
    return next(filter(None, (told(one, file, scene) for one in alike)), None)


def _labels_by(found: Outline, file: KnownFile, scene: KnownScene) -> str | None:
    """Say by what an array of the right size is known as the labels of a scene."""
    truth = ground_truth(scene.key)
    if truth is None:
        return _by_variable(found, file)
    grid = Grid(found.shape[0], found.shape[1])
    try:
        codes, _ = open_labels(found.path, grid, variable=found.variable)
    except HypercoverError:
        return None
    pixels = np.unique(codes[codes > 0], return_counts=True)[1]
    same = sorted(pixels.tolist()) == sorted(truth.counts.values())
    return "the pixels of its classes" if same else None


def _image_by(found: Outline, file: KnownFile, scene: KnownScene) -> str | None:
    """Say by what an array of the right shape is known as the image of a scene."""
    try:
        image = open_scene(found.path, False, variable=found.variable)
        known = recognise_image(image)
    except HypercoverError:
        return None
    if known is not None:
        return None if known.stand_in else "its values"
    if image.simulated or image.stand_in:
        return None
    return _by_variable(found, file)


def _by_variable(found: Outline, file: KnownFile) -> str | None:
    """Say that name and shape of an array are those published; weak, but all there is."""
    if file.variable is None:
        return "its size"
    same = found.variable == file.variable
    return f"its array {file.variable} and size" if same else None
