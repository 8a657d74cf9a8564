"""The lecture's layers as products of matrices against PyTorch's own convolutions."""

import pytest
import torch

from hypercover.classifiers.networks.network_catalog import build


@pytest.mark.parametrize(("bands", "window"), [(40, 9), (41, 7), (22, 9)])
def test_products_are_the_convolutions(bands, window):
    network = build("lecture", bands=bands, classes=3, window=window).to_empty(device="cpu")
    network.reset(torch.Generator().manual_seed(0))
    network.double()
    chance = torch.Generator().manual_seed(1)
    windows = torch.randn(3, bands, window, window, dtype=torch.float64, generator=chance)
    answers, slopes = [], []
    for convolved in (
        lambda: network(windows),
        lambda: network.classify(network.convolve_by_products(windows)),
    ):
        network.zero_grad()
        scores = convolved()
        scores.square().sum().backward()
        answers.append(scores.detach())
        slopes.append([weight.grad.clone() for weight in network.parameters()])
    torch.testing.assert_close(answers[1], answers[0], rtol=1e-10, atol=1e-12)
    for found, wanted in zip(slopes[1], slopes[0], strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-8, atol=1e-10)


def test_products_in_bfloat16_are_near():
    network = build("lecture", bands=40, classes=3, window=9).to_empty(device="cpu")
    network.reset(torch.Generator().manual_seed(0))
    windows = torch.randn(4, 40, 9, 9, generator=torch.Generator().manual_seed(1))
    with torch.autocast("cpu", torch.bfloat16):
        scores = network.classify(network.convolve_by_products(windows)).float()
    scores.square().sum().backward()
    wanted = network(windows)
    assert (scores - wanted).norm() < 0.03 * wanted.norm()
    assert all(weight.grad.isfinite().all() for weight in network.parameters())
