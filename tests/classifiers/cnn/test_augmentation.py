"""Augmentation: symmetries, jitter, band dropout and mixup, drawn from one generator."""

import numpy as np
import pytest
import torch

from hypercover.classifiers.cnn.training import Augmentation, apply_symmetry
from hypercover.classifiers.networks.recipe import Recipe

PLAIN = Recipe("sgd", 1.0, "constant", "squared", 50, 600)

ALL = {"symmetries": True, "jitter": 0.1, "band_dropout": 0.2, "mix": 0.4}


def windows(count=40, bands=6, side=5, seed=0):
    return torch.randn(
        count, bands, side, side, generator=torch.Generator().manual_seed(seed)
    )


def drawn(count=40, bands=6, seed=0, **changes):
    generator = torch.Generator().manual_seed(seed)
    return Augmentation.draw(PLAIN.changed(changes), count, bands, generator)


def spectra(window):
    """The spectra of a window, in an order that does not depend on their places."""
    return sorted(map(tuple, window.flatten(-2).T.tolist()))


def test_turned_windows_keep_their_centre_and_are_eight():
    square = torch.arange(2 * 9.0).reshape(2, 1, 3, 3)
    seen = {
        tuple(apply_symmetry(square, symmetry).flatten().tolist()) for symmetry in range(8)
    }
    assert len(seen) == 8
    assert {flat[4] for flat in seen} == {4.0}


def test_turning_moves_spectra_and_changes_none():
    given = windows(count=3)
    seen = set()
    for seed in range(60):
        found = drawn(count=3, seed=seed, symmetries=True).transform(slice(0, 3), given)
        seen.add(str(found.tolist()))
        assert [spectra(each) for each in found] == [spectra(each) for each in given]
        assert torch.equal(found[:, :, 2, 2], given[:, :, 2, 2])
    assert len(seen) == 8


def test_nothing_asked_for_is_the_identity_and_draws_nothing():
    generator = torch.Generator().manual_seed(0)
    before = generator.get_state()
    augmentation = Augmentation.draw(PLAIN, 40, 6, generator)
    assert torch.equal(generator.get_state(), before)
    assert torch.equal(augmentation.transform(slice(0, 40), windows()), windows())
    assert augmentation.partner is None


def test_jitter_is_a_gain_and_an_offset_of_each_band_of_a_window():
    given, jitter = windows(), drawn(jitter=0.1)
    found = jitter.transform(slice(0, 40), given)
    for window, before in zip(found, given, strict=True):
        for band, old in zip(window, before, strict=True):
            gain, offset = np.polyfit(old.flatten(), band.flatten(), 1)
            np.testing.assert_allclose(band, gain * old + offset, atol=1e-5)
    assert len({round(float(gain), 6) for gain in jitter.gain.flatten()}) > 200
    many = drawn(count=4000, jitter=0.1)
    assert float((many.gain - 1).std()) == pytest.approx(0.1, rel=0.03)
    assert float(many.offset.std()) == pytest.approx(0.1, rel=0.03)


@pytest.mark.parametrize("jitter", [0.0, 0.3])
def test_dropped_bands_are_0_everywhere_and_as_many_as_asked(jitter):
    given = windows(count=2000, bands=10, side=3)
    augmentation = drawn(2000, 10, band_dropout=0.3, jitter=jitter)
    found = augmentation.transform(slice(0, 2000), given)
    gone = (found == 0).all(dim=(2, 3))
    assert float(gone.float().mean()) == pytest.approx(0.3, abs=0.01)
    if not jitter:
        assert torch.equal(found[~gone], given[~gone])


def test_mixing_keeps_probability_sums_and_mixes_windows_and_targets_alike():
    given, wanted = windows(), torch.eye(4).repeat(10, 1)
    augmentation = drawn(mix=0.4)
    whole = slice(0, 40)
    mixed = augmentation.mix(whole, given, given[augmentation.partner])
    targets = augmentation.mix(whole, wanted, wanted[augmentation.partner])
    torch.testing.assert_close(targets.sum(1), torch.ones(40))
    assert (targets >= 0).all()
    own = augmentation.own_share[:, None, None, None]
    by_hand = own * given + (1 - own) * given[augmentation.partner]
    torch.testing.assert_close(mixed, by_hand)
    assert (targets.max(1).values < 0.99).any()


@pytest.mark.parametrize("alpha", [0.2, 1.0, 8.0])
def test_shares_of_mixtures_are_of_the_beta_distribution(alpha):
    from scipy.stats import beta, kstest

    own = drawn(count=4000, mix=alpha).own_share.double().numpy()
    assert kstest(own, beta(alpha, alpha).cdf).pvalue > 0.01


def test_augmentation_is_the_same_for_a_batch_that_is_cut():
    given = windows()
    augmentation = drawn(**ALL)
    whole = augmentation.transform(slice(0, 40), given)
    parts = [
        augmentation.transform(slice(first, first + 7), given[first : first + 7])
        for first in range(0, 40, 7)
    ]
    torch.testing.assert_close(torch.cat(parts), whole)


def test_all_augmentation_comes_from_the_generator():
    before = torch.random.get_rng_state()
    first, second, other = drawn(**ALL), drawn(**ALL), drawn(seed=1, **ALL)
    for name in ("gain", "offset", "partner", "own_share"):
        assert torch.equal(getattr(first, name), getattr(second, name))
        assert not torch.equal(getattr(first, name), getattr(other, name))
    assert torch.equal(torch.random.get_rng_state(), before)
