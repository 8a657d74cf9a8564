"""The reductions of a search, fitted fold by fold once and kept for every row."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import BadZipFile

import numpy as np

from hypercover.files import atomic

if TYPE_CHECKING:
    from hypercover.classifiers.svm import SVMClassifier
    from hypercover.experiment.search_case import Case

__all__ = ["kept_eyes"]

_ARRAYS = ("mean_", "scale_", "projection_", "offset_")


def kept_eyes(
    case: "Case", path: Path, report: Callable[[float, str], None]
) -> list["SVMClassifier"]:
    """Return a classifier a fold whose preprocessing knows only its training samples.

    Why it exists: learning NWFE costs more than many a row of the grid, and all
    rows share it.  The file holds plain arrays; one that is missing or damaged
    is made again.
    """
    try:
        return _read(case, path)
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        eyes = _fitted(case, report)
    arrays = {
        f"{number}-{name}": getattr(eye, name)
        for number, eye in enumerate(eyes)
        for name in _ARRAYS
    }
    with atomic(path) as draft:
        np.savez(draft, **arrays)
    return eyes


def _fitted(case: "Case", report: Callable[[float, str], None]) -> list["SVMClassifier"]:
    from sklearn.base import clone

    eyes: list[SVMClassifier] = []
    for train, _ in case.folds:
        report(len(eyes) / len(case.folds), "learning features in each fold")
        eye = clone(case.classifier)
        eyes.append(eye.fit_preprocessing(case.spectra[train], case.labels[train]))
    return eyes


def _read(case: "Case", path: Path) -> list["SVMClassifier"]:
    """Read what was kept; the arrays must fit the spectra and be finite."""
    from sklearn.base import clone

    eyes = [clone(case.classifier) for _ in range(len(case.folds))]
    bands = case.spectra.shape[1]
    with np.load(path, allow_pickle=False) as found:
        for number, eye in enumerate(eyes):
            mean, scale, projection, offset = (
                found[f"{number}-{name}"] for name in _ARRAYS
            )
            shapes = (mean.shape, scale.shape, projection.shape, offset.shape)
            if shapes != ((bands,), (bands,), (len(offset), bands), (len(offset),)):
                raise ValueError(f"{path} holds arrays of other shapes")
            if not all(
                np.isfinite(part).all() for part in (mean, scale, projection, offset)
            ):
                raise ValueError(f"{path} holds values that are not finite")
            eye.n_features_in_, eye.mean_, eye.scale_ = bands, mean, scale
            eye.projection_, eye.offset_ = projection, offset
    return eyes
