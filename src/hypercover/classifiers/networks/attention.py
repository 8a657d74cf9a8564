"""An attention network on groups of bands, after SpectralFormer (Hong et al. 2022)."""

import torch
from torch import nn
from torch.nn import functional

from hypercover.classifiers.networks.network import Dropout, Network, glorot_uniform_
from hypercover.classifiers.networks.recipe import Recipe

_GROUP = 8
_STEP = 4
_WIDTH = 64
_HEADS = 4
_LAYERS = 5
_HIDDEN = 64
_DROPOUT = 0.1
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
        optimiser="adamw",
        learning_rate=2e-3,
        schedule="one-cycle",
        loss="cross-entropy",
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
            1, _WIDTH, (_GROUP, window, window), stride=(_STEP, 1, 1)
        )
        self.token = nn.Parameter(torch.empty(1, 1, _WIDTH))
        self.places = nn.Parameter(torch.empty(1, tokens + 1, _WIDTH))
        self.dropout = Dropout(_DROPOUT)
        self.layers = nn.ModuleList(_Layer() for _ in range(_LAYERS))
        self.fusions = nn.ModuleList(
            nn.Conv2d(tokens + 1, tokens + 1, (1, 2)) for _ in range(_LAYERS - 2)
        )
        self.norm = nn.LayerNorm(_WIDTH)
        self.last = nn.Linear(_WIDTH, classes)

    def reset(self, generator: torch.Generator) -> None:
        """Initialise all weights."""
        for layer in self.modules():
            if isinstance(layer, nn.Conv3d):
                glorot_uniform_(layer, generator, dense=True)
            elif isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight, generator=generator)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
            elif isinstance(layer, nn.LayerNorm):
                layer.reset_parameters()
            elif isinstance(layer, nn.Conv2d):
                _initialise_fusion(layer)
            elif isinstance(layer, Dropout):
                layer.reset(generator)
        for parameter in (self.token, self.places):
            nn.init.normal_(parameter, std=0.02, generator=generator)

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
        padded = functional.pad(windows.unsqueeze(1), (0, 0, 0, 0, 0, self.padding))
        embedded = self.embedding(padded)
        count, _, tokens, rows, cols = embedded.shape
        values = embedded.permute(0, 3, 4, 2, 1).reshape(-1, tokens, _WIDTH)
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


class _Layer(nn.Module):
    """Attention and two dense layers, both with residual connections."""

    def __init__(self) -> None:
        super().__init__()
        self.before = nn.LayerNorm(_WIDTH)
        self.questions = nn.Linear(_WIDTH, 3 * _WIDTH, bias=False)
        self.answers = nn.Linear(_WIDTH, _WIDTH)
        self.between = nn.LayerNorm(_WIDTH)
        self.wide = nn.Linear(_WIDTH, _HIDDEN)
        self.narrow = nn.Linear(_HIDDEN, _WIDTH)
        self.dropouts = nn.ModuleList(Dropout(_DROPOUT) for _ in range(3))

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Keep the shape (n, token, width)."""
        first, second, third = self.dropouts
        values = values + first(self._attention(self.before(values)))
        hidden = second(functional.gelu(self.wide(self.between(values))))
        result: torch.Tensor = values + third(self.narrow(hidden))
        return result

    def _attention(self, values: torch.Tensor) -> torch.Tensor:
        """Apply multi-head self-attention."""
        parts = self.questions(values).unflatten(2, (3, _HEADS, -1)).permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(*parts.unbind())
        result: torch.Tensor = self.answers(attended.transpose(1, 2).flatten(2))
        return result


def _initialise_fusion(fusion: nn.Conv2d) -> None:
    """Initialise a fusion so that it passes on the later values unchanged."""
    nn.init.zeros_(fusion.weight)
    with torch.no_grad():
        fusion.weight[:, :, 0, 0].fill_diagonal_(1)
    if fusion.bias is not None:
        nn.init.zeros_(fusion.bias)
