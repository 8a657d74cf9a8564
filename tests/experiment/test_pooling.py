"""Folds are pooled as if all their pixels had been tested at once."""

import numpy as np
import pytest

from hypercover.evaluation.evaluate import evaluate
from hypercover.experiment.pooling import pool_splits, summarise_folds
from hypercover.samples.kfold import KFoldSplit


@pytest.fixture(scope="module")
def folded():
    """Results of three folds of two seeds on a map with a class that one field holds."""
    rng = np.random.default_rng(2)
    labels = rng.integers(1, 4, (5, 5)).repeat(5, 0).repeat(5, 1)
    labels[:3, :3] = 9
    splits, results, answers = [], [], []
    for seed in (0, 1):
        for split in KFoldSplit("fields", 3, guard=1).splits(labels, seed=seed, window=3):
            test = split.samples("test", labels).labels
            taken = np.where(
                rng.random(len(test)) < 0.7, test, rng.integers(1, 4, len(test))
            )
            found = evaluate(taken, labels=labels, split=split, window=3)
            results.append(found.to_json() | {"train_seconds": 1.5, "predict_seconds": 0.5})
            splits.append(split.to_json(labels))
            answers.append((test, taken))
    return labels, splits, results, answers


def test_figures_are_those_of_all_pixels_of_a_seed(folded):
    labels, _, results, answers = folded
    pooled = summarise_folds(results[:3], range(3), 3)
    reference, taken = (np.concatenate([each[at] for each in answers[:3]]) for at in (0, 1))
    assert len(reference) == labels.size
    assert pooled["overall_accuracy"] == pytest.approx(np.mean(reference == taken))
    for row in pooled["per_class"]:
        own = reference == row["code"]
        assert row["test_count"] == own.sum()
        expected = np.mean(taken[own] == row["code"])
        assert row["producers_accuracy"] == pytest.approx(expected)
    assert pooled["train_seconds"] == 4.5
    each = [result["overall_accuracy"] for result in results[:3]]
    assert pooled["spread"]["overall_accuracy"] == pytest.approx(np.std(each, ddof=1))


def test_seeds_are_averaged_and_leaks_weighed_by_pixels(folded):
    _, _, results, answers = folded
    whole = summarise_folds(results, range(10, 16), 3)
    seeds = [summarise_folds(results[at : at + 3], range(3), 3) for at in (0, 3)]
    for key in ("overall_accuracy", "average_accuracy", "kappa"):
        assert whole[key] == pytest.approx(np.mean([one[key] for one in seeds]))
    assert [(row["seed"], row["fold"]) for row in whole["repeats"]] == [
        (10, 1), (11, 2), (12, 3), (13, 1), (14, 2), (15, 3)
    ]  # fmt: skip
    counts = [len(reference) for reference, _ in answers[:3]]
    shares = [result["leakage"]["window_overlap"] for result in results[:3]]
    expected = np.average(shares, weights=counts)
    assert seeds[0]["leakage"]["window_overlap"] == pytest.approx(expected)


def test_counts_are_those_of_all_folds_and_lost_classes_are_named(folded):
    labels, splits, _, _ = folded
    pooled = pool_splits(splits[:3], refits=False)
    assert pooled["test"]["count"] == labels.size
    assert pooled["test"]["per_class"]["9"] == 9
    train = np.mean([split["train"]["count"] for split in splits[:3]])
    assert pooled["train"]["count"] == pytest.approx(train, abs=0.05)
    assert [row["code"] for row in pooled["unscored"]] == [9]
    assert "fold" not in pooled["settings"]
