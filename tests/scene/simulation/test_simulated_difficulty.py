"""The reason for the simulated scene: a random split flatters on it, as on real ones."""

import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from hypercover.scene.simulation.simulate import SimulationSettings, simulated_scene

SIZE, GUARD = 15, 4
Bools = npt.NDArray[np.bool_]


def random_split(labels: npt.NDArray[np.int_], rng: np.random.Generator) -> Bools:
    train = np.zeros(labels.shape, bool)
    for code in np.unique(labels[labels > 0]):
        places = np.argwhere(labels == code)
        rows, cols = rng.permutation(places)[: max(2, len(places) // 10)].T
        train[rows, cols] = True
    return train


def block_split(
    labels: npt.NDArray[np.int_], rng: np.random.Generator
) -> tuple[Bools, Bools]:
    """A quarter of the blocks, drawn until most classes stand on both sides, and a guard."""
    rows, cols = np.indices(labels.shape) // SIZE
    block = rows * (cols.max() + 1) + cols
    best: tuple[int, Bools, Bools] | None = None
    for _ in range(60):
        drawn = rng.permutation(block.max() + 1)[: round(0.25 * (block.max() + 1))]
        inside = np.isin(block, drawn)
        train = inside & (labels > 0)
        test = (labels > 0) & ~ndimage.maximum_filter(inside, 2 * GUARD + 1)
        both = np.intersect1d(labels[train], labels[test])
        if best is None or len(both) > best[0]:
            keep = np.isin(labels, both)
            best = len(both), train & keep, test & keep
    assert best is not None
    return best[1], best[2]


def accuracy(
    features: npt.NDArray[np.float32],
    labels: npt.NDArray[np.int_],
    train: Bools,
    test: Bools,
) -> float:
    scale = StandardScaler().fit(features[train])
    model = SVC(C=100.0).fit(scale.transform(features[train]), labels[train])
    return float((model.predict(scale.transform(features[test])) == labels[test]).mean())


@pytest.fixture(scope="module")
def accuracies() -> dict[str, float]:
    """Mean over two lands of a pixel SVM and of one that sees the neighbourhood."""
    found: dict[str, list[float]] = {}
    for seed in (0, 1):
        scene = simulated_scene(SimulationSettings(100, 100, 60, 10, seed))
        labels = np.asarray(scene.labels, dtype=int)
        pixel = scene.cube.values.astype(np.float32)
        around = np.stack([ndimage.uniform_filter(band, 9) for band in pixel])
        near = np.concatenate([pixel, around]).transpose(1, 2, 0)
        rng = np.random.default_rng(seed)
        drawn = random_split(labels, rng)
        splits = {
            "random": (drawn, (labels > 0) & ~drawn),
            "blocks": block_split(labels, rng),
        }
        for split, parts in splits.items():
            for kind, features in (("pixel", near[..., : len(pixel)]), ("near", near)):
                found.setdefault(f"{split} {kind}", []).append(
                    accuracy(features, labels, *parts)
                )
    return {name: float(np.mean(values)) for name, values in found.items()}


def test_a_random_split_is_far_easier_than_a_guarded_one(
    accuracies: dict[str, float],
) -> None:
    assert accuracies["random pixel"] > accuracies["blocks pixel"] + 0.12
    assert accuracies["random near"] > accuracies["blocks near"] + 0.2


def test_a_neighbourhood_helps_on_a_random_split_as_on_real_scenes(
    accuracies: dict[str, float],
) -> None:
    assert 0.75 < accuracies["random pixel"] < 0.97
    assert accuracies["random near"] > accuracies["random pixel"]
    assert accuracies["random near"] > 0.9


def test_a_guarded_split_is_neither_hopeless_nor_easy(accuracies: dict[str, float]) -> None:
    assert 0.4 < accuracies["blocks pixel"] < 0.85
    assert 0.4 < accuracies["blocks near"] < 0.85


def test_fields_of_one_class_differ_more_than_the_pixels_of_one_field() -> None:
    scene = simulated_scene(SimulationSettings(145, 145, 30, 16, 0))
    cube = scene.cube.values.astype(float).transpose(1, 2, 0)
    wider = []
    for land in scene.legend:
        pieces, count = ndimage.label(scene.labels == land.code)
        if count >= 4:
            means = np.array([cube[pieces == n].mean(axis=0) for n in range(1, count + 1)])
            within = np.mean(
                [cube[pieces == n].std(axis=0) for n in range(1, count + 1)], 0
            )
            wider.append(np.median(means.std(axis=0) / within))
    assert np.median(wider) > 1.5
