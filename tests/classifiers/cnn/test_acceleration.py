"""Precision: full float32, or bfloat16 where there are units for it, or one sentence."""

import pytest
import torch
from torch import nn

from hypercover.classifiers.cnn import acceleration
from hypercover.classifiers.cnn.acceleration import use_precision
from hypercover.classifiers.networks.network_catalog import build
from hypercover.errors import ModelError

CPU = torch.device("cpu")
UNITS = [getattr(torch.cpu, name, bool) for name in acceleration._BFLOAT16_CHECKS]
HAS_UNITS = any(has() for has in UNITS)
needs_units = pytest.mark.skipif(not HAS_UNITS, reason="no bfloat16 on this processor")


def outcome(kind):
    """Scores and gradients of the lecture's network for a few windows."""
    network = build("lecture", bands=30, classes=4, window=9).to_empty(device="cpu")
    network.reset(torch.Generator().manual_seed(0))
    windows = torch.randn(4, 30, 9, 9, generator=torch.Generator().manual_seed(1))
    with use_precision(kind, CPU):
        scores = network(windows)[:, :, 0, 0]
    scores.float().square().sum().backward()
    return scores, [weight.grad for weight in network.parameters()]


def test_float32_is_float32_even_inside_another_precision():
    scores, gradients = outcome("float32")
    with torch.autocast("cpu", torch.bfloat16):
        inside, _ = outcome("float32")
    assert torch.equal(inside, scores)
    assert {value.dtype for value in (scores, *gradients)} == {torch.float32}


@needs_units
def test_mixed_computes_in_bfloat16_and_keeps_weights_and_gradients_in_float32():
    scores, gradients = outcome("mixed")
    full, full_gradients = outcome("float32")
    assert scores.dtype == torch.bfloat16
    assert {gradient.dtype for gradient in gradients} == {torch.float32}
    # a bfloat16 has 8 bits, and nine layers round one after another
    torch.testing.assert_close(scores.float(), full, rtol=0.05, atol=0.05)
    for ours, theirs in zip(gradients, full_gradients, strict=True):
        assert (ours - theirs).norm() < 0.1 * theirs.norm()
        assert not torch.equal(ours, theirs)


def test_mixed_is_refused_where_there_are_no_units(monkeypatch):
    for name in acceleration._BFLOAT16_CHECKS:
        monkeypatch.setattr(torch.cpu, name, lambda: False, raising=False)
    with (
        pytest.raises(ModelError, match="does not support; use precision float32"),
        use_precision("mixed", CPU),
    ):
        pass


def test_mixed_is_refused_by_a_release_that_cannot_tell(monkeypatch):
    for name in acceleration._BFLOAT16_CHECKS:
        monkeypatch.delattr(torch.cpu, name, raising=False)
    with pytest.raises(ModelError, match="bfloat16"), use_precision("mixed", CPU):
        pass


@pytest.mark.parametrize("kind", ["", "bf16", "float16", None, 32])
def test_unknown_precisions_are_refused(kind):
    with (
        pytest.raises(ModelError, match="must be float32 or mixed"),
        use_precision(kind, CPU),
    ):
        pass


def test_what_was_set_before_is_set_again():
    layer, values = nn.Linear(3, 2), torch.ones(1, 3)
    flags = torch.backends.cudnn.allow_tf32, torch.backends.cudnn.deterministic
    with torch.autocast("cpu", torch.bfloat16):
        with use_precision("float32", CPU):
            assert not torch.backends.cudnn.allow_tf32
            assert torch.backends.cudnn.deterministic
        assert layer(values).dtype == torch.bfloat16
    assert layer(values).dtype == torch.float32
    now = torch.backends.cudnn.allow_tf32, torch.backends.cudnn.deterministic
    assert now == flags
