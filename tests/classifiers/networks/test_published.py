"""Published networks against their papers: parameters, layers written out, first weights."""

import math

import pytest
import torch
from torch.nn import functional as F

from hypercover.classifiers.networks.network import Dropout
from hypercover.classifiers.networks.network_catalog import build
from hypercover.classifiers.networks.published_networks import SSRN, HybridSN
from hypercover.classifiers.networks.recipe import Recipe


def ready(name, bands, classes, window):
    network = build(name, bands=bands, classes=classes, window=window)
    network.to_empty(device="cpu").reset(torch.Generator().manual_seed(0))
    return network.eval()


def chance(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def parameters(name, bands, classes, window):
    network = build(name, bands=bands, classes=classes, window=window)
    return sum(weight.numel() for weight in network.parameters())


def hybridsn_closed(bands, classes, window):
    spectral = 8 * 63 + 8 + 16 * 8 * 45 + 16 + 32 * 16 * 27 + 32
    spatial = 64 * 32 * (bands - 12) * 9 + 64
    dense = 64 * (window - 8) ** 2 * 256 + 256 + 256 * 128 + 128 + 128 * classes + classes
    return spectral + spatial + dense


def ssrn_closed(bands, classes, window):
    depth = (bands - 7) // 2 + 1
    spectral = 24 * 7 + 24 + 4 * (24 * 24 * 7 + 24)
    across = 128 * 24 * depth + 128
    spatial = 24 * 128 * 9 + 24 + 4 * (24 * 24 * 9 + 24)
    norms = 2 * (4 * 24 + 24 + 128 + 4 * 24 + 24)
    return spectral + across + spatial + norms + 24 * classes + classes


def spectral_closed(bands, classes, window):
    kernel = -(-bands // 9)
    left = -(-(bands - kernel + 1) // -(-kernel // 5))
    return 20 * (kernel + 1) + (20 * left + 1) * 100 + 101 * classes


def attention_closed(bands, classes, window):
    tokens = -(-bands // 4) + 1
    norm = 2 * 64
    layer = norm + 64 * 192 + 65 * 64 + norm + 2 * 65 * 64
    fusions = 3 * (2 * tokens**2 + tokens)
    places = 64 * tokens + 64
    return (8 * window**2 + 1) * 64 + places + 5 * layer + fusions + norm + 65 * classes


CLOSED = {
    "hybridsn": hybridsn_closed,
    "ssrn": ssrn_closed,
    "spectral-1d": spectral_closed,
    "attention": attention_closed,
}


@pytest.mark.parametrize("name", sorted(CLOSED))
@pytest.mark.parametrize("sizes", [(30, 16, 25), (200, 16, 9), (103, 9, 11), (40, 2, 13)])
def test_parameters_are_as_many_as_the_layers_hold(name, sizes):
    assert parameters(name, *sizes) == CLOSED[name](*sizes)


@pytest.mark.parametrize(
    ("name", "sizes", "count"),
    [
        ("hybridsn", (30, 16, 25), 5_122_176),
        ("hybridsn", (15, 9, 25), 4_844_793),
        ("ssrn", (200, 16, 7), 364_168),
    ],
)
def test_parameters_are_as_many_as_published(name, sizes, count):
    assert parameters(name, *sizes) == count


def test_spectral_network_keeps_30_to_40_values_of_every_sensor_as_its_authors_advise():
    for bands in (102, 103, 200, 204, 220, 224):
        hidden = build("spectral-1d", bands=bands, classes=2, window=1).hidden
        assert 30 <= hidden.in_channels / 20 <= 40


def test_published_recipes_are_the_published_ones():
    adam = {"optimiser": "adamw", "loss": "cross-entropy"}
    assert HybridSN.recipe == Recipe(
        **adam,
        learning_rate=1e-3,
        schedule="inverse",
        decay=1e-6,
        batch_size=256,
        passes=100,
    )
    assert (HybridSN.scaling, HybridSN.components) == ("principal", 30)
    recipe = SSRN.recipe
    assert (recipe.learning_rate, recipe.batch_size, recipe.passes) == (3e-4, 16, 200)
    assert SSRN.scaling == "standard"


def test_hybridsn_equals_the_layers_written_out():
    """Keras's layers one by one, the dense ones as matrices over the flattened window."""
    network = ready("hybridsn", 20, 4, 11)
    weights = {key: value.detach() for key, value in network.state_dict().items()}
    values = chance(3, 20, 11, 11)
    with torch.no_grad():
        scores = network(values)[:, :, 0, 0]
    stack = values[:, None]
    for layer in range(3):
        name = f"convolutions.{layer}"
        stack = F.conv3d(stack, weights[f"{name}.weight"], weights[f"{name}.bias"])
        stack = stack.clamp(min=0)
    assert stack.shape == (3, 32, 8, 5, 5)
    flat = stack.reshape(3, 32 * 8, 5, 5)
    flat = F.conv2d(flat, weights["flat.weight"], weights["flat.bias"]).clamp(min=0)
    flat = flat.flatten(1)
    for name in ("dense.0", "dense.1"):
        flat = flat @ weights[f"{name}.weight"].flatten(1).T + weights[f"{name}.bias"]
        flat = flat.clamp(min=0)
    expected = flat @ weights["last.weight"][:, :, 0, 0].T + weights["last.bias"]
    torch.testing.assert_close(scores, expected)


def normalised(values, weights, name):
    running = weights[f"{name}.running_mean"], weights[f"{name}.running_var"]
    mean, spread = (part[:, None, None, None] for part in running)
    return ((values - mean) / (spread + 1e-3).sqrt()).clamp(min=0)


def test_ssrn_equals_the_layers_written_out():
    network = ready("ssrn", 20, 4, 7)
    for layer in network.modules():
        if isinstance(layer, torch.nn.BatchNorm3d):
            layer.running_mean.copy_(chance(len(layer.running_mean)))
            layer.running_var.copy_(chance(len(layer.running_var)).exp())
    weights = {key: value.detach() for key, value in network.state_dict().items()}
    values = chance(3, 20, 7, 7)
    with torch.no_grad():
        scores = network(values)[:, :, 0, 0]

    def unit(values, name, padding=0):
        kernel = f"{name}.convolution"
        values = normalised(values, weights, f"{name}.norm")
        bias = weights[f"{kernel}.bias"]
        return F.conv3d(values, weights[f"{kernel}.weight"], bias, padding=padding)

    def blocks(values, name, padding):
        for block in range(2):
            inner = unit(values, f"{name}.{block}.units.0", padding)
            values = values + unit(inner, f"{name}.{block}.units.1", padding)
        return values

    stack = F.conv3d(
        values[:, None], weights["first.weight"], weights["first.bias"], stride=(2, 1, 1)
    )
    assert stack.shape == (3, 24, 7, 7, 7)
    stack = unit(blocks(stack, "spectral", (3, 0, 0)), "across")
    assert stack.shape == (3, 128, 1, 7, 7)
    stack = blocks(unit(stack, "together"), "spatial", (0, 1, 1))
    flat = normalised(stack, weights, "norm").mean(dim=(2, 3, 4))
    expected = flat @ weights["last.weight"][:, :, 0, 0].T + weights["last.bias"]
    torch.testing.assert_close(scores, expected, atol=1e-5, rtol=1e-4)


def test_spectral_network_equals_the_layers_written_out():
    network = ready("spectral-1d", 103, 4, 1)
    spectra = chance(5, 103)
    kernel, bias = network.convolution.weight.flatten(1), network.convolution.bias
    with torch.no_grad():
        scores = network(spectra[:, :, None, None])[:, :, 0, 0]
        found = torch.tanh(spectra.unfold(1, 12, 1) @ kernel.T + bias)
        found = torch.stack([part.amax(1) for part in found.split(3, dim=1)], dim=2)
        hidden = found.flatten(1) @ network.hidden.weight.flatten(1).T + network.hidden.bias
        last = network.last
        expected = torch.tanh(hidden) @ last.weight.flatten(1).T + last.bias
    torch.testing.assert_close(scores, expected)


def test_spectral_network_sees_the_centre_of_a_window_alone():
    network = ready("spectral-1d", 30, 4, 9)
    windows = chance(3, 30, 9, 9)
    around = windows + 100
    around[:, :, 4, 4] = windows[:, :, 4, 4]
    with torch.no_grad():
        assert torch.equal(network(windows), network(around))
        assert not torch.equal(network(windows), network(windows + 0.1))


def test_attention_equals_its_layers_written_out():
    """One window, token by token and head by head."""
    network = ready("attention", 22, 4, 3)
    for fusion in network.fusions:
        torch.nn.init.normal_(
            fusion.weight, std=0.3, generator=torch.Generator().manual_seed(2)
        )
    window = chance(1, 22, 3, 3)
    with torch.no_grad():
        scores = network(window)[0, :, 0, 0]
        filled = torch.cat([window[0], torch.zeros(6, 3, 3)])
        kernel = network.embedding.weight.flatten(1)
        tokens = [kernel @ filled[first : first + 8].flatten() for first in range(0, 21, 4)]
        values = torch.stack(tokens) + network.embedding.bias
        values = torch.cat([network.token[0], values]) + network.places[0]
        entered = []
        for depth, layer in enumerate(network.layers):
            entered.append(values)
            if depth > 1:
                fusion = network.fusions[depth - 2]
                new, old = fusion.weight[:, :, 0, 0], fusion.weight[:, :, 0, 1]
                values = new @ values + old @ entered[depth - 2] + fusion.bias[:, None]
            values = layer_written_out(layer, values)
        expected = network.last(network.norm(values[0]))
    torch.testing.assert_close(scores, expected, atol=1e-5, rtol=1e-4)


def layer_written_out(layer, values):
    questions, keys, contents = layer.questions(layer.before(values)).split(64, dim=1)
    heads = []
    for head in range(4):
        own = slice(16 * head, 16 * head + 16)
        weights = (questions[:, own] @ keys[:, own].T / math.sqrt(16)).softmax(1)
        heads.append(weights @ contents[:, own])
    values = values + layer.answers(torch.cat(heads, dim=1))
    return values + layer.narrow(F.gelu(layer.wide(layer.between(values))))


@pytest.mark.parametrize("shape", [(1, 20, 70, 45), (3000, 20, 3, 3), (2, 20, 3, 1500)])
def test_attention_holds_few_positions_at_once_and_answers_for_all(shape, monkeypatch):
    network = ready("attention", 20, 4, 3)
    values = chance(*shape)
    with torch.no_grad():
        whole = network._scores(values)
        held = []
        network.norm.register_forward_hook(
            lambda _, inputs, __: held.append(len(inputs[0]))
        )
        pieces = network(values)
    torch.testing.assert_close(pieces, whole, atol=1e-5, rtol=1e-4)
    assert sum(held) == whole[:, 0].numel()
    assert max(held) <= max(1024, shape[3] - 2)


def test_first_weights_are_drawn_as_published():
    bound = {
        "convolutions.0": (63, 8 * 63),
        "convolutions.2": (16 * 27, 32 * 27),
        "flat": (32 * 18 * 9, 64 * 9),
        "dense.0": (64, 256),
        "last": (128, 16),
    }
    weights = ready("hybridsn", 30, 16, 9).state_dict()
    for name, (inputs, outputs) in bound.items():
        limit = (6 / (inputs + outputs)) ** 0.5
        assert 0.95 * limit < float(weights[f"{name}.weight"].abs().max()) <= limit
    assert not any(weight.any() for name, weight in weights.items() if "bias" in name)
    for layer in ready("ssrn", 200, 16, 7).modules():
        if isinstance(layer, torch.nn.Conv2d | torch.nn.Conv3d):
            spread = (2 / layer.weight[0].numel()) ** 0.5
            if layer.weight.numel() > 4000:
                assert float(layer.weight.detach().std()) == pytest.approx(spread, rel=0.05)
            assert layer.weight.abs().max() <= 2 * spread / 0.8796
    for weight in ready("spectral-1d", 200, 16, 1).parameters():
        assert 0.03 < weight.abs().max() <= 0.05


def test_dropout_silences_its_share_and_keeps_the_mean():
    dropout = Dropout(0.4)
    dropout.reset(torch.Generator().manual_seed(0))
    ones = torch.ones(100, 1000)
    first, second = dropout(ones), dropout(ones)
    assert not torch.equal(first, second)
    assert first.unique().tolist() == [0, pytest.approx(1 / 0.6)]
    assert float(first.mean()) == pytest.approx(1, abs=0.02)
    assert torch.equal(dropout.eval()(ones), ones)


def test_dropout_goes_on_where_its_saved_state_ends():
    dropout, again = Dropout(0.5), Dropout(0.5)
    dropout.reset(torch.Generator().manual_seed(0))
    ones = torch.ones(1000)
    dropout(ones)
    again.load_state_dict(dropout.state_dict())
    assert torch.equal(dropout(ones), again(ones))
