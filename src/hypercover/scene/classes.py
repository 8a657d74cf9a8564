"""Leaving classes out of a scene: by code, by name, or because they are too small."""

from collections.abc import Iterable

import numpy as np

from hypercover.errors import LabelError
from hypercover.scene.scene import Scene

__all__ = ["drop_classes"]


def drop_classes(
    scene: Scene,
    *,
    codes: Iterable[int] = (),
    names: Iterable[str] = (),
    min_pixels: int = 0,
) -> Scene:
    """Return the scene with the pixels of some classes unlabelled.

    Parameters
    ----------
    scene : Scene
        With labels.
    codes : iterable of int
        Classes to drop by code.
    names : iterable of str
        Classes to drop by name.
    min_pixels : int
        Classes with fewer labelled pixels than this are dropped as well.

    Raises
    ------
    LabelError
        If the scene has no labels or no such class, or no class is left.
    """
    if scene.labels is None:
        raise LabelError(
            f"The scene {scene.name} has no labels; give a label file as well."
        )
    counts = np.bincount(scene.labels.ravel(), minlength=1)
    gone = {_known_code(scene, code) for code in codes}
    gone |= {_code_of(scene, name) for name in names}
    gone |= {code for code in scene.legend.codes if counts[code] < min_pixels}
    if gone and gone >= set(scene.legend.codes):
        raise LabelError(
            f"No class of {scene.name} is left: the largest has {int(counts[1:].max()):,} "
            f"pixels and {len(gone)} classes were to be dropped; drop fewer."
        )
    if not gone:
        return scene
    kept = np.where(np.isin(scene.labels, sorted(gone)), 0, scene.labels)
    listed = ", ".join(
        f"{scene.legend[code].name} ({int(counts[code]):,} pixels)" for code in sorted(gone)
    )
    dropped = scene.with_labels(kept.astype(scene.labels.dtype))
    return dropped.noting(f"Classes left out: {listed}.")


def _known_code(scene: Scene, code: int) -> int:
    if code in scene.legend:
        return int(code)
    raise LabelError(
        f"{scene.name} has no class with code {code}; its codes are "
        f"{', '.join(map(str, scene.legend.codes))}."
    )


def _code_of(scene: Scene, name: str) -> int:
    wanted = name.strip().casefold()
    found = [land.code for land in scene.legend if land.name.casefold() == wanted]
    if len(found) == 1:
        return found[0]
    what = "no class" if not found else "more than one class"
    raise LabelError(
        f"{scene.name} has {what} named {name!r}; its classes are "
        f"{', '.join(scene.legend.names)}."
    )
