"""The training loop that fits a network to windows, and the augmentation of its batches."""

import logging
import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from scipy.special import betaincinv
from torch import nn

from hypercover.classifiers.cnn.acceleration import (
    CUDAGraphStep,
    compile_network,
    use_precision,
)
from hypercover.classifiers.cnn.checkpoint import Checkpoints, EpochRecord, TrainingState
from hypercover.classifiers.cnn.process_group import ProcessGroup
from hypercover.classifiers.cnn.window_loader import (
    WindowLoader,
    split_batches,
    split_range,
)
from hypercover.classifiers.networks.network import Network
from hypercover.classifiers.networks.recipe import (
    Recipe,
    learning_rate_schedule,
    make_loss,
)
from hypercover.errors import ModelError, RunError
from hypercover.stopping import Stopped, stop_requested

Dataset = tuple[WindowLoader, torch.Tensor]
"""Windows, and the position of each one's class (n,)."""

_CHECKPOINT_STEPS = 8
"""Steps after which several processes agree whether a checkpoint is due."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Augmentation:
    """The random numbers that augment one batch.

    They are drawn for the whole batch before its windows are loaded, so they stay the
    same however the batch is split into micro-batches or among processes.
    """

    symmetry: int
    """One of the 8 symmetries of the square."""
    gain: torch.Tensor | None
    """Factor of each band (n, band)."""
    offset: torch.Tensor | None
    """Offset of each band (n, band)."""
    partner: torch.Tensor | None
    """Position in the batch of the window to mix in (n,)."""
    own_share: torch.Tensor
    """Share of the window itself in the mixture (n,)."""

    @classmethod
    def draw(
        cls, recipe: Recipe, count: int, bands: int, generator: torch.Generator
    ) -> "Augmentation":
        """Draw the augmentation of a recipe for a batch of ``count`` windows."""
        symmetry, gain, offset, partner = 0, None, None, None
        own_share = torch.ones(count)
        if recipe.symmetries:
            symmetry = int(torch.randint(8, (), generator=generator))
        if recipe.jitter:
            noise = torch.randn(2, count, bands, generator=generator) * recipe.jitter
            gain, offset = 1 + noise[0], noise[1]
        if recipe.band_dropout:
            keep = torch.rand(count, bands, generator=generator) >= recipe.band_dropout
            gain = keep.float() if gain is None else gain * keep
            offset = None if offset is None else offset * keep
        if recipe.mix:
            partner = torch.randperm(count, generator=generator)
            # Beta(mix, mix) from uniform numbers, by its inverse CDF
            uniform = torch.rand(count, generator=generator).double().numpy()
            own_share = torch.from_numpy(
                betaincinv(recipe.mix, recipe.mix, uniform)
            ).float()
        return cls(symmetry, gain, offset, partner, own_share)

    def mix(
        self, part: slice, values: torch.Tensor, partners: torch.Tensor
    ) -> torch.Tensor:
        """Mix values (n, …) of a part of the batch with those of their partners."""
        share = self.own_share[part].to(values.device, non_blocking=True)
        return torch.lerp(partners, values, share.view(-1, *[1] * (values.ndim - 1)))

    def transform(self, part: slice, windows: torch.Tensor) -> torch.Tensor:
        """Rotate, flip and rescale windows (n, band, row, col) of a part of the batch."""
        windows = apply_symmetry(windows, self.symmetry)
        for factor, operation in ((self.gain, torch.mul), (self.offset, torch.add)):
            if factor is not None:
                per_band = factor[part].to(windows.device, non_blocking=True)
                windows = operation(windows, per_band[:, :, None, None])
        return windows


def apply_symmetry(windows: torch.Tensor, symmetry: int) -> torch.Tensor:
    """Apply one of the 8 symmetries of the square to (…, row, col).

    >>> square = torch.arange(4).reshape(2, 2)
    >>> len({str(apply_symmetry(square, symmetry).tolist()) for symmetry in range(8)})
    8
    """
    windows = torch.rot90(windows, symmetry % 4, (-2, -1))
    return windows.flip(-1) if symmetry >= 4 else windows


@dataclass(eq=False)
class Trainer:
    """A training that fits a network in place.

    If a process group of ``torch.distributed`` is initialised, all its processes train
    with the same arguments, and each takes its share of every batch.

    Raises
    ------
    ModelError
        If the recipe needs validation windows and there are none.
    """

    network: Network
    """The network on its device, with initialised weights."""
    dataset: Dataset
    """The training windows."""
    recipe: Recipe
    generator: torch.Generator
    """Draws the order and the augmentation, on the CPU."""
    classes: int
    """Number of classes."""
    validation: Dataset | None = None
    """Windows that are not trained on, for the record and for early stopping."""
    precision: str = "float32"
    """``float32`` or ``mixed``."""
    compile: bool = False
    """Whether to compile the network first."""

    def __post_init__(self) -> None:
        """Check the sizes of the batches and make the optimiser."""
        network, recipe = self.network, self.recipe
        if recipe.patience is not None and self.validation is None:
            raise ModelError(
                "The recipe has a patience, but there are no validation windows; give "
                "some, or leave it out."
            )
        loader, targets = self.dataset
        self.processes = ProcessGroup.current()
        self.processes.check_batch_size(
            recipe.batch_size, len(loader), network.minimum_batch
        )
        self.device = next(network.parameters()).device
        on_gpu = self.device.type == "cuda"
        self.micro_batch_size = None if on_gpu else network.micro_batch_size()
        self.one_hot = torch.eye(self.classes, device=self.device)
        counts = torch.bincount(targets, minlength=self.classes).to(self.device)
        self.loss = make_loss(recipe, counts)
        self.state = TrainingState(
            network,
            recipe,
            self.generator,
            order=torch.arange(len(loader)),
            totals=torch.zeros(3, dtype=torch.float64, device=self.device),
        )
        self.graph_step: CUDAGraphStep | None = None
        if network.cuda_graph_safe and on_gpu and self.processes.world_size == 1:
            self.graph_step = CUDAGraphStep(self._backpropagate, network)
        self.epochs = recipe.epochs(len(loader))
        self.schedule = learning_rate_schedule(recipe, self.epochs * len(self._batches()))
        self.model: nn.Module = compile_network(network) if self.compile else network

    def run(
        self,
        checkpoints: Checkpoints | None = None,
        progress: Callable[[EpochRecord], None] | None = None,
    ) -> list[EpochRecord]:
        """Train for all epochs, or until the recipe's patience ends.

        Parameters
        ----------
        checkpoints : Checkpoints, optional
            Where to resume from, and to save to.
        progress : callable, optional
            Called with the record of each finished epoch, to which ``epochs``, their
            number, is added.

        Returns
        -------
        list of dict
            One record per epoch.

        Raises
        ------
        ModelError
            If the checkpoints belong to another training.
        RunError
            If the loss, or at the end a weight, is no longer finite.
        """
        if checkpoints is not None:
            self._resume(checkpoints)
        self.model = self.processes.data_parallel(self.model)
        devices = [torch.cuda.current_device()] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            while not self._finished():
                self._train_epoch(checkpoints)
                record = self._finish_epoch()
                if progress is not None and self.processes.is_first:
                    progress({**record, "epochs": self.epochs})
        # its graphs hold memory of the GPU, and it refers to this training
        self.graph_step = None
        if self.state.best:
            self.network.load_state_dict(self.state.best)
        # the loss after the last step is not computed
        weights = self.network.state_dict().values()
        if not all(bool(value.isfinite().all()) for value in weights):
            raise self._divergence("weights are", len(self.state.history))
        self.network.eval()
        if checkpoints is not None and self.processes.is_first:
            checkpoints.save(self.state)
        return self.state.history

    def _resume(self, checkpoints: Checkpoints) -> None:
        """Load the last checkpoint, if there is one."""
        if not checkpoints.restore(self.state) and self.processes.world_size == 1:
            return
        if self.processes.broadcast(self.state.step, self.device) != self.state.step:
            raise RunError(
                "The processes found different checkpoints; use a folder that all of them see."
            )
        if not self.processes.is_first:
            # the first process has the sums over all of them
            self.state.totals.zero_()
        if self.state.step:
            epoch = len(self.state.history) + 1
            _log.info(
                "Training resumes in epoch %d, after %d steps.", epoch, self.state.step
            )

    def _finished(self) -> bool:
        """Tell whether all epochs are done, or too many without an improvement."""
        history, patience = self.state.history, self.recipe.patience
        if len(history) >= self.epochs:
            return True
        if patience is None or not history:
            return False
        return history[-1]["epoch"] - history[-1]["best_epoch"] >= patience

    def _batches(self) -> list[torch.Tensor]:
        """Split the order of this epoch into batches, none of a single window."""
        minimum = max(2, self.processes.world_size * self.network.minimum_batch)
        return split_batches(self.state.order, self.recipe.batch_size, minimum)

    def _train_epoch(self, checkpoints: Checkpoints | None) -> None:
        """Take one step per batch, from the current batch of the epoch on."""
        self.network.train()
        if self.state.batch == 0:
            count = len(self.state.order)
            self.state.order = torch.randperm(count, generator=self.state.generator)
            self.state.totals.zero_()
        for batch in self._batches()[self.state.batch :]:
            self._step(batch)
            self.state.batch += 1
            self.state.step += 1
            if checkpoints is not None:
                self._save_if_due(checkpoints)

    def _save_if_due(self, checkpoints: Checkpoints) -> None:
        """Write a checkpoint if one is due, or if the training is to stop."""
        processes = self.processes
        if processes.world_size > 1 and self.state.step % _CHECKPOINT_STEPS:
            return
        stop = processes.any(stop_requested(), self.device)
        if not stop and not processes.broadcast(checkpoints.due(), self.device):
            return
        own = self.state.totals.clone()
        self.state.totals.copy_(processes.sum(own))
        if processes.is_first:
            checkpoints.save(self.state)
        self.state.totals.copy_(own)
        if stop:
            raise Stopped

    def learning_rate(self, step: int) -> float:
        """Return the learning rate of a step."""
        return self.recipe.learning_rate * self.schedule(step)

    def _step(self, batch: torch.Tensor) -> None:
        """Take one step down the mean gradient of a batch."""
        for group in self.state.optimiser.param_groups:
            group["lr"] = self.learning_rate(self.state.step)
        count, values = len(batch), self.dataset[0].values
        augmentation = Augmentation.draw(self.recipe, count, values, self.generator)
        self._seed_step()
        self.state.optimiser.zero_grad()
        shard = self.processes.shard(count)
        parts = split_range(shard, self.micro_batch_size or count)
        for part in parts:
            # processes exchange gradients only after the last part of a batch
            last = part is parts[-1] or self.processes.world_size == 1
            with nullcontext() if last else self.model.no_sync():  # type: ignore[operator]
                windows, targets = self._augment(batch, part, augmentation)
                if self.graph_step is not None:
                    self.graph_step(windows, targets)
                else:
                    self._backpropagate(windows, targets, count)
        if self.recipe.clip is not None:
            nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.clip)
        self.state.optimiser.step()

    def _backpropagate(
        self, windows: torch.Tensor, targets: torch.Tensor, batch_size: int | None = None
    ) -> None:
        """Pass windows forward and backward, and add to the totals."""
        with use_precision(self.precision, self.device):
            loss = self._add_loss(self.state.totals, self.model, windows, targets)
        # the mean over processes must be the mean over the windows of the batch
        divisor = (batch_size or len(windows)) / self.processes.world_size
        (loss / divisor).backward()  # type: ignore[no-untyped-call]

    def _add_loss(
        self,
        totals: torch.Tensor,
        model: nn.Module,
        windows: torch.Tensor,
        targets: torch.Tensor,
    ) -> torch.Tensor:
        """Return the sum of the losses; add it, correct answers and windows to the totals.

        The totals are added up on the device, without waiting.
        """
        output = model(windows)[:, :, 0, 0]
        scores = output.to(torch.promote_types(output.dtype, torch.float32))
        loss = self.loss(scores, targets).sum()
        totals[0] += loss.detach()
        totals[1] += (scores.detach().argmax(1) == targets.argmax(1)).sum()
        totals[2] += len(scores)
        return loss

    def _augment(
        self, batch: torch.Tensor, part: slice, augmentation: Augmentation
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return augmented windows and target probabilities on the device."""
        windows, targets = self._load(self.dataset, batch[part])
        if augmentation.partner is not None:
            partners = batch[augmentation.partner[part]]
            other_windows, other_targets = self._load(self.dataset, partners)
            windows = augmentation.mix(part, windows, other_windows)
            targets = augmentation.mix(part, targets, other_targets)
        return augmentation.transform(part, windows), targets

    def _load(
        self, dataset: Dataset, positions: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return windows and one-hot targets on the device."""
        loader, targets = dataset
        classes = targets[positions].to(self.device, non_blocking=True)
        return loader.batch(positions), self.one_hot[classes]

    def _seed_step(self) -> None:
        """Seed PyTorch's global generator, which third-party layers may draw from.

        The seed depends on the step, so that it need not be saved, and on the rank, so
        that processes draw different numbers.
        """
        first = self.generator.initial_seed() + self.state.step * self.processes.world_size
        seed = (first + self.processes.rank) % 2**63
        torch.default_generator.manual_seed(seed)
        if self.device.type == "cuda":
            torch.cuda.manual_seed(seed)

    def _finish_epoch(self) -> EpochRecord:
        """Append the record of the epoch to the history, and return it."""
        self.processes.broadcast_buffers(self.network)
        loss, correct, count = self.processes.sum(self.state.totals).tolist()
        history = self.state.history
        record: EpochRecord = {
            "epoch": len(history) + 1,
            "loss": self._finite(loss / count),
            "accuracy": correct / count,
            "learning_rate": self.learning_rate(self.state.step - 1),
            "samples": int(count) + (history[-1]["samples"] if history else 0),
        }
        if self.validation is not None:
            record |= self._validate(self.validation)
        record["seconds"] = self.state.seconds
        history.append(record)
        self.state.batch = 0
        _log.debug("epoch %(epoch)d loss %(loss).4f accuracy %(accuracy).4f", record)
        return record

    def _validate(self, dataset: Dataset) -> EpochRecord:
        """Return loss and accuracy on the validation windows, and the best epoch.

        With patience, the weights are saved if they are the best so far.
        """
        totals = torch.zeros_like(self.state.totals)
        batch_size = self.micro_batch_size or self.recipe.batch_size
        self.network.eval()
        with torch.no_grad(), use_precision(self.precision, self.device):
            for part in split_range(self.processes.shard(len(dataset[0])), batch_size):
                windows, targets = self._load(dataset, torch.arange(part.start, part.stop))
                self._add_loss(totals, self.network, windows, targets)
        loss_sum, correct, count = self.processes.sum(totals).tolist()
        loss, history = self._finite(loss_sum / count), self.state.history
        record = {"validation_loss": loss, "validation_accuracy": correct / count}
        if self.recipe.patience is None:
            return record
        if not history or loss < min(earlier["validation_loss"] for earlier in history):
            self.state.save_best()
            return record | {"best_epoch": len(history) + 1}
        return record | {"best_epoch": history[-1]["best_epoch"]}

    def _finite(self, loss: float) -> float:
        """Return a loss, unless the training has diverged."""
        if not math.isfinite(loss):
            raise self._divergence("loss is", len(self.state.history) + 1)
        return loss

    def _divergence(self, what: str, epoch: int) -> RunError:
        return RunError(
            f"The {what} no longer finite in epoch {epoch}; use a learning rate below "
            f"{self.recipe.learning_rate:g} or the recipe's clip."
        )
