"""Networks that others published, for comparison: a 1-D network, HybridSN, SSRN and attention."""

import math
from typing import cast

import torch
from torch import nn

from hypercover.classifiers.networks.network import (
    Dropout,
    Layer,
    Network,
    glorot_uniform_,
    he_normal_,
    zero_bias_,
)
from hypercover.classifiers.networks.recipe import Recipe


class SpectralNetwork(Network):
    """A convolution along the spectrum, max-pooling and two dense layers.

    It only uses the spectrum of the centre pixel, so it shows how much of another
    network's accuracy comes from the neighbourhood.  20 kernels of ceil(bands / 9)
    bands, pooling over groups of ceil(kernel / 5), which leaves the 30 to 40 values the
    authors recommend, and 100 hidden units; convolution and hidden units end in tanh.
    All weights and biases are initialised uniformly between -0.05 and 0.05, as
    published.

    Differences: bands are standardised, where the authors scale them to -1 … 1, and
    Adam replaces plain gradient descent at 0.01, which is slow from such small weights:
    after 100 epochs on a tenth of the Indian Pines stand-in its accuracy is 51 %,
    Adam's 76 %.

    Parameters
    ----------
    bands, classes, window : int
        Bands of the input, classes of the output, window size.

    References
    ----------
    Hu, Huang, Wei, Zhang, Li: Deep convolutional neural networks for
    hyperspectral image classification, Journal of Sensors 2015, 258619.

    Examples
    --------
    >>> network = SpectralNetwork(bands=200, classes=16, window=1)
    >>> sum(weight.numel() for weight in network.parameters())
    74196
    """

    recipe = Recipe("adamw", 1e-3, "one-cycle", "cross-entropy", batch_size=100, passes=300)

    def __init__(self, bands: int, classes: int, window: int) -> None:
        super().__init__(bands, classes, window)
        self.margin = window // 2
        kernel = math.ceil(bands / 9)
        self.pool = math.ceil(kernel / 5)
        left = math.ceil((bands - kernel + 1) / self.pool)
        self.convolution = nn.Conv3d(1, 20, (kernel, 1, 1))
        self.hidden = nn.Conv2d(20 * left, 100, 1)
        self.last = nn.Conv2d(100, classes, 1)

    def reset(self, generator: torch.Generator) -> None:
        """Initialise all weights and biases uniformly between -0.05 and 0.05."""
        for weight in self.parameters():
            nn.init.uniform_(weight, -0.05, 0.05, generator=generator)

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        """Map (n, band, row, col) to scores (n, class, row - margins, col - margins)."""
        rows, cols = (side - self.margin for side in windows.shape[2:])
        values = windows[:, :, self.margin : rows, self.margin : cols].unsqueeze(1)
        values = nn.functional.max_pool3d(
            self.convolution(values), (self.pool, 1, 1), ceil_mode=True
        )
        # tanh is monotonic, so pooling first gives the same with fewer values
        values = torch.tanh(self.hidden(torch.tanh(values).flatten(1, 2)))
        scores: torch.Tensor = self.last(values)
        return scores


_FILTERS = (8, 16, 32)
_DEPTHS = (7, 5, 3)
_FLAT_FILTERS = 64
_HIDDEN = (256, 128)
_CACHED = 2 * 10**7
"""Bytes of the largest activation that stays in the cache."""


class HybridSN(Network):
    """Three 3-D convolutions, one 2-D convolution and three dense layers.

    Most other networks are compared with it.  Layers, initialisation (Keras's: Glorot
    uniform, zero biases), dropout, Adam and its learning rate follow the authors' code,
    and so does its input: 30 whitened principal components.  The dense layers are
    written as convolutions, which changes no number for a single window and lets a
    larger tile pass at once.

    Differences: components are fitted on training pixels only, where the authors use
    all pixels of the image, including test pixels; the weights of the last epoch are
    used, not those of the highest training accuracy; the edge of the scene is repeated,
    not padded with zeros; and windows may be smaller than 25, down to 9.

    Parameters
    ----------
    bands, classes, window : int
        Components of the input, classes of the output, window size (at least 9).

    References
    ----------
    Roy, Krishna, Dubey, Chaudhuri: HybridSN: Exploring 3-D-2-D CNN feature
    hierarchy for hyperspectral image classification, IEEE GRSL 17(2), 2020,
    pp. 277-281, doi 10.1109/LGRS.2019.2918719; code:
    github.com/gokriznastic/HybridSN.

    Examples
    --------
    >>> network = HybridSN(bands=30, classes=16, window=25)
    >>> sum(weight.numel() for weight in network.parameters())
    5122176
    """

    minimum_window = 9
    minimum_bands = 13
    scaling = "principal"
    components = 30
    recipe = Recipe(
        "adamw", 1e-3, "inverse", "cross-entropy", batch_size=256, passes=100, decay=1e-6
    )

    def __init__(self, bands: int, classes: int, window: int) -> None:
        super().__init__(bands, classes, window)
        self.bands, self.window = bands, window
        self.convolutions = nn.ModuleList(
            nn.Conv3d(before, after, (depth, 3, 3))
            for before, after, depth in zip((1, *_FILTERS), _FILTERS, _DEPTHS, strict=False)
        )
        deep = _FILTERS[-1] * (bands - sum(_DEPTHS) + len(_DEPTHS))
        self.flat = nn.Conv2d(deep, _FLAT_FILTERS, 3)
        self.dense = nn.ModuleList(
            [
                nn.Conv2d(_FLAT_FILTERS, _HIDDEN[0], window - 8),
                nn.Conv2d(_HIDDEN[0], _HIDDEN[1], 1),
            ]
        )
        self.dropouts = nn.ModuleList(Dropout(0.4) for _ in _HIDDEN)
        self.last = nn.Conv2d(_HIDDEN[1], classes, 1)

    def initialise(self, layer: Layer, generator: torch.Generator) -> None:
        """Initialise a layer: Glorot uniform, zero biases, as Keras does."""
        glorot_uniform_(layer, generator, dense=layer in {*self.dense, self.last})

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        """Map (n, band, row, col) to scores (n, class, row - margins, col - margins)."""
        values = windows.unsqueeze(1)
        for layer in self.convolutions:
            values = torch.relu_(layer(values))
        values = torch.relu_(self.flat(values.flatten(1, 2)))
        for layer, dropout in zip(self.dense, self.dropouts, strict=True):
            values = dropout(torch.relu_(layer(values)))
        scores: torch.Tensor = self.last(values)
        return scores

    def micro_batch_size(self) -> int:
        """Count the windows whose largest activation fits the cache."""
        depth, side, largest = self.bands, self.window, 1
        for filters, reach in zip(_FILTERS, _DEPTHS, strict=True):
            depth, side = depth - reach + 1, side - 2
            largest = max(largest, 4 * filters * depth * side * side)
        return max(1, _CACHED // largest)


_WIDTH = 24
_DEPTH = 7


class SSRN(Network):
    """Two residual blocks along the spectrum, then two across the window.

    It has one of the highest accuracies published for random splits, with few weights.
    A convolution with stride 2 halves the bands; two blocks of 7 × 1 × 1 convolutions
    follow; a kernel over all remaining bands gives 128 values a pixel; a 3 × 3
    convolution and two blocks of them see the window, whose mean decides the class.
    Every convolution but the first follows batch normalisation and ReLU.

    The paper has two blocks of each kind: 364,168 weights for 200 bands and 16
    classes, the number that comparisons state.  The authors' code builds one of
    each, a 1 × 1 × 1 convolution as a shortcut and more normalisation: its
    trained model holds 346,784 numbers, 640 of them running statistics.

    Differences: the blocks pad their borders with zeros, so scenes are predicted window
    by window.  The authors use RMSprop with an L2 penalty of 1e-4, and the weights of
    the lowest validation loss; here Adam with decoupled weight decay has the same
    learning rate.  The running statistics weigh a new batch by 0.1, in Keras by 0.01,
    so that short trainings work too.  The edge of the scene is repeated, not padded
    with zeros, and bands are standardised over training pixels only, not all pixels.

    Parameters
    ----------
    bands, classes, window : int
        Bands of the input, classes of the output, window size (published: 7).

    References
    ----------
    Zhong, Li, Luo, Chapman: Spectral-spatial residual network for hyperspectral
    image classification: a 3-D deep learning framework, IEEE TGRS 56(2), 2018,
    pp. 847-858, doi 10.1109/TGRS.2017.2755542; code: github.com/zilongzhong/SSRN.

    Examples
    --------
    >>> network = SSRN(bands=200, classes=16, window=7)
    >>> sum(weight.numel() for weight in network.parameters())
    364168
    """

    minimum_window = 3
    minimum_bands = _DEPTH
    minimum_batch = 2
    spatially_valid = False
    recipe = Recipe(
        "adamw",
        3e-4,
        "constant",
        "cross-entropy",
        batch_size=16,
        passes=200,
        weight_decay=0.01,
    )

    def __init__(self, bands: int, classes: int, window: int) -> None:
        super().__init__(bands, classes, window)
        depth = (bands - _DEPTH) // 2 + 1
        self.first = nn.Conv3d(1, _WIDTH, (_DEPTH, 1, 1), stride=(2, 1, 1))
        self.spectral = nn.Sequential(
            _ResidualBlock((_DEPTH, 1, 1)), _ResidualBlock((_DEPTH, 1, 1))
        )
        self.across = _Convolution3d(_WIDTH, 128, (depth, 1, 1))
        self.together = _Convolution3d(128, _WIDTH, (1, 3, 3))
        self.spatial = nn.Sequential(_ResidualBlock((1, 3, 3)), _ResidualBlock((1, 3, 3)))
        self.norm = _norm(_WIDTH)
        self.mean = nn.AvgPool2d(window - 2, stride=1)
        self.dropout = Dropout(0.5)
        self.last = nn.Conv2d(_WIDTH, classes, 1)

    def initialise(self, layer: Layer, generator: torch.Generator) -> None:
        """Initialise a layer: He normal, zero biases, as Keras does."""
        he_normal_(layer, generator)

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        """Map (n, band, row, col) to scores (n, class, row - margins, col - margins)."""
        values = self.first(windows.unsqueeze(1))
        # channels-last convolutions take half the time
        values = values.contiguous(memory_format=torch.channels_last_3d)
        values = self.spatial(self.together(self.across(self.spectral(values))))
        values = self.mean(torch.relu_(self.norm(values)).squeeze(2))
        scores: torch.Tensor = self.last(self.dropout(values))
        return scores


class _Convolution3d(nn.Module):
    """Batch normalisation, ReLU and a convolution."""

    def __init__(
        self, before: int, after: int, kernel: tuple[int, int, int], *, same: bool = False
    ) -> None:
        super().__init__()
        around = cast(tuple[int, int, int], tuple(same * (side // 2) for side in kernel))
        self.norm = _norm(before)
        self.convolution = nn.Conv3d(before, after, kernel, padding=around)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Map (n, before, depth, row, col) to (n, after, …)."""
        result: torch.Tensor = self.convolution(torch.relu_(self.norm(values)))
        return result


class _ResidualBlock(nn.Module):
    """Two zero-padded units with a residual connection."""

    def __init__(self, kernel: tuple[int, int, int]) -> None:
        super().__init__()
        self.units = nn.Sequential(
            *(_Convolution3d(_WIDTH, _WIDTH, kernel, same=True) for _ in range(2))
        )

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Keep the shape (n, width, depth, row, col)."""
        result: torch.Tensor = values + self.units(values)
        return result


def _norm(width: int) -> nn.BatchNorm3d:
    # Keras adds this to the variance.
    return nn.BatchNorm3d(width, eps=1e-3)


_GROUP, _STEP = 8, 4
"""Components of a token, and from one token to the next."""
_TOKEN = 64
"""Values of a token."""
_TOKEN_DROPOUT = 0.1
_POSITIONS = 1024
"""Positions predicted at once."""


class AttentionNetwork(Network):
    """A transformer whose tokens are groups of spectral components over the window.

    Attention connects distant parts of the spectrum, where a convolution connects
    neighbours.  A group of inputs over the whole window is embedded into a token of 64
    values; a class token and five layers of attention with four heads follow.  Before
    the third, fourth and fifth layer the input of two layers before is fused in
    (cross-layer adaptive fusion).  The class token decides.  The embedding is a
    convolution, so a tile can be predicted in strips.

    Differences from SpectralFormer: its tokens are groups of 3 neighbouring bands, one
    for every band; here they are groups of 8 of the 40 noise-adjusted components (see
    ``Scaling``), one for every 4, so 10 tokens replace 200.  On the Indian Pines
    stand-in this is more accurate after as many epochs than groups of 8 of 200
    standardised bands, at a third of the cost.  The layers between attentions have 64
    units (there 8), a fusion initially passes on the later layer, and the recipe is
    AdamW with one cycle, label smoothing and symmetries (there Adam at 5e-4, decayed in
    steps, 300 epochs).  The last group is padded with zeros.

    Parameters
    ----------
    bands, classes, window : int
        Components of the input, classes of the output, window size (published: 7).

    References
    ----------
    Hong, Han, Yao, Gao, Zhang, Plaza, Chanussot: SpectralFormer: Rethinking
    hyperspectral image classification with transformers, IEEE TGRS 60, 2022,
    5518615, doi 10.1109/TGRS.2021.3130716; code:
    github.com/danfenghong/IEEE_TGRS_SpectralFormer.

    Examples
    --------
    >>> network = AttentionNetwork(bands=40, classes=16, window=7)
    >>> sum(weight.numel() for weight in network.parameters())
    152967
    """

    scaling = "cleared"
    components = 40
    recipe = Recipe(
        "adamw",
        2e-3,
        "one-cycle",
        "cross-entropy",
        batch_size=64,
        passes=100,
        weight_decay=0.05,
        label_smoothing=0.1,
        symmetries=True,
    )

    def __init__(self, bands: int, classes: int, window: int) -> None:
        super().__init__(bands, classes, window)
        self.window = window
        tokens = -(-bands // _STEP)
        self.padding = _STEP * (tokens - 1) + _GROUP - bands
        self.embedding = nn.Conv3d(
            1, _TOKEN, (_GROUP, window, window), stride=(_STEP, 1, 1)
        )
        self.token = nn.Parameter(torch.empty(1, 1, _TOKEN))
        self.places = nn.Parameter(torch.empty(1, tokens + 1, _TOKEN))
        self.dropout = Dropout(_TOKEN_DROPOUT)
        self.layers = nn.ModuleList(_AttentionLayer() for _ in range(5))
        self.fusions = nn.ModuleList(
            nn.Conv2d(tokens + 1, tokens + 1, (1, 2)) for _ in range(3)
        )
        self.norm = nn.LayerNorm(_TOKEN)
        self.last = nn.Linear(_TOKEN, classes)

    def reset(self, generator: torch.Generator) -> None:
        """Initialise all weights."""
        super().reset(generator)
        for parameter in (self.token, self.places):
            nn.init.normal_(parameter, std=0.02, generator=generator)

    def initialise(self, layer: Layer, generator: torch.Generator) -> None:
        """Initialise a layer; a fusion passes on the later values unchanged."""
        if isinstance(layer, nn.Conv3d):
            glorot_uniform_(layer, generator, dense=True)
        elif isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight, generator=generator)
            zero_bias_(layer)
        else:
            nn.init.zeros_(layer.weight)
            with torch.no_grad():
                layer.weight[:, :, 0, 0].fill_diagonal_(1)
            zero_bias_(layer)

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        """Map (n, band, row, col) to scores (n, class, row - margins, col - margins)."""
        if self.training or torch.onnx.is_in_onnx_export():
            return self._scores(windows)
        batch_size = max(1, _POSITIONS // (windows.shape[3] - self.window + 1))
        batches = torch.split(windows, batch_size)
        return torch.cat([self._score_strips(batch) for batch in batches])

    def _score_strips(self, windows: torch.Tensor) -> torch.Tensor:
        """Return the scores of all positions, computed in strips of rows."""
        margin = self.window - 1
        count, _, rows, cols = windows.shape
        step = max(1, _POSITIONS // (count * (cols - margin)))
        strips = [
            self._scores(windows[:, :, first : first + step + margin])
            for first in range(0, rows - margin, step)
        ]
        return torch.cat(strips, dim=2)

    def _scores(self, windows: torch.Tensor) -> torch.Tensor:
        """Return the scores of all positions at once."""
        padded = nn.functional.pad(windows.unsqueeze(1), (0, 0, 0, 0, 0, self.padding))
        embedded = self.embedding(padded)
        count, _, tokens, rows, cols = embedded.shape
        values = embedded.permute(0, 3, 4, 2, 1).reshape(-1, tokens, _TOKEN)
        values = torch.cat([self.token.expand(values.shape[0], -1, -1), values], dim=1)
        values = self._encode(self.dropout(values + self.places))
        scores: torch.Tensor = self.last(self.norm(values[:, 0]))
        return scores.view(count, rows, cols, -1).permute(0, 3, 1, 2)

    def _encode(self, values: torch.Tensor) -> torch.Tensor:
        """Pass tokens (n, token, width) through all layers and fusions."""
        inputs: list[torch.Tensor] = []
        for depth, layer in enumerate(self.layers):
            inputs.append(values)
            if depth > 1:
                both = torch.stack([values, inputs[depth - 2]], dim=3)
                values = self.fusions[depth - 2](both).squeeze(3)
            values = layer(values)
        return values


class _AttentionLayer(nn.Module):
    """Attention and two dense layers, both with residual connections."""

    def __init__(self) -> None:
        super().__init__()
        self.before = nn.LayerNorm(_TOKEN)
        self.questions = nn.Linear(_TOKEN, 3 * _TOKEN, bias=False)
        self.answers = nn.Linear(_TOKEN, _TOKEN)
        self.between = nn.LayerNorm(_TOKEN)
        self.wide = nn.Linear(_TOKEN, _TOKEN)
        self.narrow = nn.Linear(_TOKEN, _TOKEN)
        self.dropouts = nn.ModuleList(Dropout(_TOKEN_DROPOUT) for _ in range(3))

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Keep the shape (n, token, width)."""
        first, second, third = self.dropouts
        values = values + first(self._attention(self.before(values)))
        hidden = second(nn.functional.gelu(self.wide(self.between(values))))
        result: torch.Tensor = values + third(self.narrow(hidden))
        return result

    def _attention(self, values: torch.Tensor) -> torch.Tensor:
        """Apply multi-head self-attention."""
        parts = self.questions(values).unflatten(2, (3, 4, -1)).permute(2, 0, 3, 1, 4)
        attended = nn.functional.scaled_dot_product_attention(*parts.unbind())
        result: torch.Tensor = self.answers(attended.transpose(1, 2).flatten(2))
        return result
