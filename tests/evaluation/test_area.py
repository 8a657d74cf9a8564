"""Areas and accuracies from a reference sample: the published example, and the truth."""

import numpy as np
import pytest

from hypercover.errors import CallError
from hypercover.evaluation.area import area_from_counts, estimate_area, wilson_interval
from hypercover.scene.legend import Legend

NAMES = Legend.of({1: "deforestation", 2: "gain", 3: "stable forest", 4: "stable other"})
SAMPLE = np.array([[66, 0, 5, 4], [0, 55, 8, 12], [1, 0, 153, 11], [2, 1, 9, 313]])
PIXELS = np.array([200_000, 150_000, 3_200_000, 6_450_000])
HECTARE = 0.09
"""Hectares of a pixel of 30 m."""


@pytest.fixture(scope="module")
def published():
    """Tables 8 and 9 of Olofsson et al. (2014): strata are the classes of the map."""
    counts = np.zeros((4, 4, 4), int)
    counts[range(4), range(4)] = SAMPLE
    return area_from_counts(counts, PIXELS, PIXELS, NAMES)


def test_the_error_matrix_of_the_published_example(published):
    shares = (PIXELS / PIXELS.sum())[:, None] * SAMPLE / SAMPLE.sum(axis=1, keepdims=True)
    printed = [
        [0.0176, 0, 0.0013, 0.0011],
        [0, 0.0110, 0.0016, 0.0024],
        [0.0019, 0, 0.2967, 0.0213],
        [0.0040, 0.0020, 0.0179, 0.6212],
    ]
    np.testing.assert_array_equal(shares.round(4), printed)
    np.testing.assert_allclose(published.areas.value, PIXELS.sum() * shares.sum(axis=0))


def test_accuracies_of_the_published_example(published):
    assert round(float(published.overall.value), 2) == 0.95
    assert round(float(1.96 * published.overall.error), 2) == 0.02
    assert published.users.value.round(2).tolist() == [0.88, 0.73, 0.93, 0.96]
    assert (1.96 * published.users.error).round(2).tolist() == [0.07, 0.10, 0.04, 0.02]
    assert published.producers.value.round(2).tolist() == [0.75, 0.85, 0.93, 0.96]


def test_producers_errors_are_those_of_the_published_equation(published):
    """Equation 7 written out; the paper prints 0.21, 0.23, 0.03, 0.01.

    Its own equation gives 0.25 and 0.02 in the place of 0.23 and 0.01.
    """
    drawn = SAMPLE.sum(axis=1)
    cells = SAMPLE / drawn[:, None]
    size = (PIXELS[:, None] * cells).sum(axis=0)
    users, producers = np.diagonal(cells), PIXELS * np.diagonal(cells) / size
    spread = np.empty(4)
    for j in range(4):
        own = (PIXELS[j] * (1 - producers[j])) ** 2 * users[j] * (1 - users[j])
        rest = [i for i in range(4) if i != j]
        others = (
            PIXELS[rest] ** 2 * cells[rest, j] * (1 - cells[rest, j]) / (drawn[rest] - 1)
        )
        spread[j] = own / (drawn[j] - 1) + producers[j] ** 2 * others.sum()
    np.testing.assert_allclose(published.producers.error, np.sqrt(spread) / size)
    halves = (1.96 * published.producers.error).round(2).tolist()
    assert halves == [0.21, 0.25, 0.03, 0.02]


def test_areas_of_the_published_example(published):
    assert round(float(published.areas.value[0])) == 235_086
    assert round(float(1.96 * published.areas.error[0])) == 68_418
    hectares = published.areas.scaled(HECTARE)
    assert hectares.value.round().tolist() == [21_158, 11_686, 285_770, 581_386]
    assert (1.96 * hectares.error).round().tolist() == [6_158, 3_756, 15_510, 16_282]
    assert round(float(hectares.error[0])) == 3_142


def test_intervals_of_large_samples_are_near_those_of_the_paper(published):
    low, high = published.overall.interval()
    half = 1.96 * published.overall.error
    assert (high - low) / 2 == pytest.approx(float(half), rel=0.05)
    assert low < published.overall.value < high


def test_wilson_by_its_quadratic():
    """The ends are the shares from which the seen one is 1.96 standard errors away."""
    seen, size = np.array([0.0, 0.2, 0.9, 1.0]), np.array([3.0, 13.0, 40.0, 13.0])
    for ends in wilson_interval(seen, size).T:
        away = 1.959964 * np.sqrt(ends * (1 - ends) / size)
        # 0 and 1 are cut off where the share itself is 0 or 1.
        inner = (ends > 0) & (ends < 1)
        np.testing.assert_allclose(np.abs(seen - ends)[inner], away[inner], rtol=1e-6)


@pytest.mark.parametrize(("size", "lower"), [(3, 0.4385), (13, 0.7719), (100, 0.9630)])
@pytest.mark.parametrize("design", ["simple", "stratified"])
def test_a_small_sample_without_error_is_not_taken_for_certain(size, lower, design):
    """13 samples gave 0.0 ± 0.0, three gave 100.0 ± 0.0."""
    mapped = np.repeat([[1, 2]], size, axis=1)
    found = estimate_area(mapped, mapped, design=design)
    assert found.users.value.tolist() == [1, 1]
    np.testing.assert_allclose(found.users.interval()[:, 0], lower, atol=1e-4)
    assert (found.producers.interval()[:, 0] < 0.97).all()
    assert (found.producers.interval()[:, 1] == 1).all()
    swapped = estimate_area(mapped, 3 - mapped, design=design)
    np.testing.assert_allclose(swapped.users.interval()[:, 1], 1 - lower, atol=1e-4)
    low, high = found.areas.interval(mapped.size).T
    assert (low < size).all()
    assert (high > size).all()


def scene(rng):
    """A map of three classes and the truth, which differs in a fifth of the pixels."""
    mapped = rng.integers(1, 4, (60, 60)) ** 2 // 3 + 1
    wrong = rng.random(mapped.shape) < 0.2
    truth = np.where(wrong, rng.choice([1, 2, 4], mapped.shape), mapped)
    return mapped, truth


def drawn(rng, mapped, each):
    """Draw so many pixels of each class of the map."""
    sample = np.zeros(mapped.shape, bool)
    for code in np.unique(mapped):
        sample.flat[rng.choice(np.flatnonzero(mapped == code), each, replace=False)] = True
    return sample


@pytest.mark.parametrize("design", ["stratified", "simple", "other strata"])
def test_intervals_hold_the_truth_as_often_as_they_say(design):
    rng = np.random.default_rng(4)
    mapped, truth = scene(rng)
    strata = np.where(np.arange(60) < 20, 1, 2) + 0 * mapped
    held = []
    for _ in range(600):
        if design == "simple":
            sample = np.zeros(mapped.shape, bool)
            sample.flat[rng.choice(mapped.size, 400, replace=False)] = True
        else:
            sample = drawn(rng, mapped if design == "stratified" else strata, 150)
        found = estimate_area(
            mapped,
            np.where(sample, truth, 0),
            design="simple" if design == "simple" else "stratified",
            strata=strata if design == "other strata" else None,
        )
        low, high = found.areas.interval(mapped.size).T
        true = np.array([(truth == code).sum() for code in (1, 2, 4)])
        right = (mapped == truth).mean()
        ends = found.overall.interval()
        producers = np.array([(mapped == truth)[truth == c].mean() for c in (1, 2, 4)])
        of_classes = found.producers.interval().T
        held.append(
            [
                *((low <= true) & (true <= high)),
                ends[0] <= right <= ends[1],
                *((of_classes[0] <= producers) & (producers <= of_classes[1])),
            ]
        )
    assert (np.mean(held, axis=0) > 0.91).all(), np.mean(held, axis=0)
    assert (np.mean(held, axis=0) < 0.99).all(), np.mean(held, axis=0)


def test_a_whole_map_as_sample_gives_its_own_figures():
    mapped, truth = scene(np.random.default_rng(1))
    for design in ("stratified", "simple"):
        found = estimate_area(mapped, truth, design=design)
        assert found.overall.value == pytest.approx((mapped == truth).mean())
        np.testing.assert_allclose(found.areas.value, np.bincount(truth.ravel())[[1, 2, 4]])
        np.testing.assert_array_equal(found.mapped, np.bincount(mapped.ravel())[[1, 2, 4]])


def test_a_class_that_only_one_of_map_and_reference_has():
    mapped = np.array([[1, 1, 1, 2, 2, 2, 0]])
    found = estimate_area(mapped, np.array([[1, 1, 3, 1, 3, 0, 3]]))
    assert found.legend.codes == (1, 2, 3)
    assert found.sampled == 5
    assert np.isnan(found.users.value[2])
    assert found.producers.value[2] == 0
    assert np.isnan(found.producers.value[1])
    assert found.areas.value.tolist() == pytest.approx([3.5, 0, 2.5])


ONE = np.array([[1, 1, 2, 2]])


@pytest.mark.parametrize(
    ("reference", "options", "sentence"),
    [
        ([[0, 0, 0, 0]], {}, "No reference pixel lies on a pixel of the map"),
        (
            [[1, 1, 2, 0]],
            {},
            r"Class 2 \(Class 2\) of the map holds 1 reference pixel, and",
        ),
        ([[1, 1, 0, 0]], {}, r"Class 2 \(Class 2\) of the map holds 0 reference pixels"),
        ([[1, 0, 0, 0]], {"design": "simple"}, "The sample holds 1 reference pixel, and"),
        ([[1, 1, 2, 2, 2]], {}, r"one size, got \(1, 4\) and \(1, 5\)"),
        ([[1, 1, 2, 2]], {"strata": ONE, "design": "simple"}, "has no strata; leave them"),
        ([[1, 1, 2, 2]], {"strata": ONE - 1}, "but 2 pixels are not"),
        ([[1, 1, 2, 0]], {"strata": ONE}, "Stratum 2 holds 1 reference pixel"),
    ],
)
def test_samples_that_say_nothing_are_refused(reference, options, sentence):
    with pytest.raises(CallError, match=sentence):
        estimate_area(ONE, np.array(reference), **options)
