"""Groups of samples that folds keep whole, how they are dealt, and what cannot be dealt."""

import numpy as np
import numpy.typing as npt
from scipy.ndimage import find_objects, label, maximum_filter
from scipy.sparse import coo_array

from hypercover.errors import SplitError, counted
from hypercover.samples.samples import Samples
from hypercover.scene.legend import Legend

__all__ = [
    "check_classes",
    "check_groups",
    "check_members",
    "check_number",
    "check_width",
    "class_name",
    "clusters",
    "deal",
]

Positions = npt.NDArray[np.intp]


def clusters(samples: Samples, gap: int) -> Positions:
    """Give each sample a cluster: samples of one class, linked over at most ``gap`` pixels.

    Two samples are so near exactly when the squares of side ``gap`` around them
    touch or overlap.
    """
    rows, cols = samples.rows - samples.rows.min(), samples.cols - samples.cols.min()
    _, classes = np.unique(samples.labels, return_inverse=True)
    codes = np.zeros((int(rows.max()) + 1, int(cols.max()) + 1), dtype=np.int32)
    codes[rows, cols] = classes + 1
    groups, count = np.empty(len(samples), dtype=np.intp), 0
    for position, box in enumerate(find_objects(codes)):
        own = classes == position
        marked = np.pad(codes[box] == position + 1, gap).astype(np.uint8)
        named, found = label(maximum_filter(marked, size=gap), structure=np.ones((3, 3)))
        top, left = (gap - side.start for side in box)
        groups[own] = count + named[rows[own] + top, cols[own] + left] - 1
        count += found
    return groups


def deal(
    labels: npt.NDArray[np.int64], groups: Positions, n: int, rng: np.random.Generator
) -> Positions:
    """Deal whole groups to folds; return the fold of each sample.

    Large groups first, each goes where least of its classes lies, so that every
    class is spread over as many folds as it has groups, and no fold stays empty.
    """
    _, classes = np.unique(labels, return_inverse=True)
    counts = coo_array((np.ones(len(groups)), (groups, classes))).toarray()
    shares = counts / counts.sum(axis=0)
    order = rng.permutation(len(shares))
    order = order[np.argsort(-shares.max(axis=1)[order], kind="stable")]
    held, sizes = np.zeros((n, shares.shape[1])), np.zeros(n)
    numbers = np.empty(len(shares), dtype=np.intp)
    for group in order:
        numbers[group] = chosen = np.lexsort((sizes, held @ shares[group]))[0]
        held[chosen] += shares[group]
        sizes[chosen] += counts[group].sum()
    return np.asarray(numbers[groups])


def class_name(code: int, legend: Legend | None) -> str:
    """Name a class by code and, where a legend knows it, by name."""
    return (
        f"Class {code} ({legend[code].name})"
        if legend and code in legend
        else f"Class {code}"
    )


def check_classes(samples: Samples) -> None:
    """Refuse samples that no classifier can be trained on."""
    codes = np.unique(samples.labels)
    if len(codes) < 2:
        found = f"only class {codes[0]}" if len(codes) else "no sample"
        raise SplitError(
            f"Folds need samples of at least two classes, got {found}; label more pixels."
        )


def check_members(samples: Samples, n: int, legend: Legend | None) -> None:
    """Refuse a class that cannot give a sample to every fold."""
    codes, counts = np.unique(samples.labels, return_counts=True)
    least = int(counts.argmin())
    code, count = int(codes[least]), int(counts[least])
    if count >= n:
        return
    fewer = f"use at most {count} folds, " if count > 1 else ""
    raise SplitError(
        f"{class_name(code, legend)} has {counted(count, 'sample')}, fewer than "
        f"the {n} folds; {fewer}label more of it or drop the class."
    )


def check_groups(
    groups: Positions, n: int, what: str, way_out: str, *, size: str = ""
) -> None:
    """Refuse fewer groups than folds."""
    count = int(groups.max()) + 1
    if count >= n:
        return
    fewer = f"at most {count} folds or " if count > 1 else ""
    raise SplitError(
        f"The samples lie in {counted(count, what)}{size}, fewer than the {n} folds; "
        f"use {fewer}{way_out}."
    )


def check_number(n: int) -> None:
    """Refuse a number of folds that leaves nothing to hold out."""
    if n < 2:
        raise SplitError(f"Cross-validation needs at least 2 folds, got {n}; use 10.")


def check_width(guard: int) -> None:
    """Refuse a guard that is no width."""
    if guard < 0:
        raise SplitError(f"The guard is a width in pixels from 0, got {guard}; use 4.")
