"""The training loop that fits a network to windows."""

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import nn

from hypercover.classifiers.cnn.acceleration import (
    CUDAGraphStep,
    compile_network,
    use_precision,
)
from hypercover.classifiers.cnn.augmentation import Augmentation
from hypercover.classifiers.cnn.checkpoint import Checkpoints, EpochRecord, TrainingState
from hypercover.classifiers.cnn.optimiser import Loss, learning_rate_schedule
from hypercover.classifiers.cnn.process_group import ProcessGroup
from hypercover.classifiers.cnn.window_loader import (
    WindowLoader,
    split_batches,
    split_range,
)
from hypercover.classifiers.networks.network import Network
from hypercover.classifiers.networks.recipe import Recipe
from hypercover.errors import ModelError, RunError
from hypercover.stopping import Stopped, stop_requested

Dataset = tuple[WindowLoader, torch.Tensor]
"""Windows, and the position of each one's class (n,)."""

_CHECKPOINT_STEPS = 8
"""Steps after which several processes agree whether a checkpoint is due."""

_log = logging.getLogger(__name__)


def train(
    network: Network,
    loader: WindowLoader,
    targets: torch.Tensor,
    recipe: Recipe,
    *,
    generator: torch.Generator,
    classes: int,
    validation: Dataset | None = None,
    precision: str = "float32",
    compile: bool = False,
    checkpoints: Checkpoints | None = None,
    progress: Callable[[EpochRecord], None] | None = None,
) -> list[EpochRecord]:
    """Fit a network in place and return one record per epoch.

    If a process group of ``torch.distributed`` is initialised, all its processes call
    this with the same arguments, and each takes its share of every batch.

    Parameters
    ----------
    network : Network
        On its device, with initialised weights.
    loader : WindowLoader
        The training windows.
    targets : tensor (n,) of int
        Position of each window's class.
    recipe : Recipe
    generator : Generator on the CPU
        Draws the order and the augmentation.
    classes : int
        Number of classes.
    validation : (WindowLoader, tensor), optional
        Windows that are not trained on, for the record and for early stopping.
    precision : {"float32", "mixed"}
    compile : bool
        Whether to compile the network first.
    checkpoints : Checkpoints, optional
        Where to resume from, and to save to.
    progress : callable, optional
        Called with the record of each finished epoch, to which ``epochs``, their
        number, is added.

    Raises
    ------
    ModelError
        If the recipe needs validation windows and there are none, or the checkpoints
        belong to another training.
    RunError
        If the loss, or at the end a weight, is no longer finite.
    """
    trainer = Trainer(
        network,
        (loader, targets),
        recipe,
        generator=generator,
        classes=classes,
        validation=validation,
        precision=precision,
    )
    if compile:
        trainer.model = compile_network(network)
    return trainer.run(checkpoints, progress)


class Trainer:
    """A running training: data, network and state."""

    def __init__(
        self,
        network: Network,
        dataset: Dataset,
        recipe: Recipe,
        *,
        generator: torch.Generator,
        classes: int,
        validation: Dataset | None,
        precision: str,
    ) -> None:
        if recipe.patience is not None and validation is None:
            raise ModelError(
                "The recipe's patience needs a validation loss, but there are no "
                "validation windows; give some, or leave patience out."
            )
        loader, targets = dataset
        self.processes = ProcessGroup.current()
        self.processes.check_batch_size(
            recipe.batch_size, len(loader), network.minimum_batch
        )
        self.network, self.recipe, self.precision = network, recipe, precision
        self.dataset, self.validation = dataset, validation
        self.model: nn.Module = network
        self.device = next(network.parameters()).device
        on_gpu = self.device.type == "cuda"
        self.micro_batch_size = None if on_gpu else network.micro_batch_size()
        self.one_hot = torch.eye(classes, device=self.device)
        counts = torch.bincount(targets, minlength=classes).to(self.device)
        self.loss = Loss(recipe, counts)
        self.state = TrainingState(
            network,
            recipe,
            generator,
            order=torch.arange(len(loader)),
            totals=torch.zeros(3, dtype=torch.float64, device=self.device),
        )
        self.graph_step: CUDAGraphStep | None = None
        if network.cuda_graph_safe and on_gpu and self.processes.world_size == 1:
            self.graph_step = CUDAGraphStep(self._backpropagate, network)
        self.epochs = recipe.epochs(len(loader))
        steps = self.epochs * len(self._batches())
        self.schedule = learning_rate_schedule(recipe, steps)

    def run(
        self,
        checkpoints: Checkpoints | None = None,
        progress: Callable[[EpochRecord], None] | None = None,
    ) -> list[EpochRecord]:
        """Train for all epochs, or until the recipe's patience ends."""
        if checkpoints is not None:
            self._resume(checkpoints)
        self.model = self.processes.data_parallel(self.model)
        with _preserve_global_rng(self.device):
            while not self._finished():
                self._train_epoch(checkpoints)
                record = self._finish_epoch()
                if progress is not None and self.processes.is_first:
                    progress({**record, "epochs": self.epochs})
        # its graphs hold memory of the GPU, and it refers to this training
        self.graph_step = None
        if self.state.best:
            self.network.load_state_dict(self.state.best)
        self._check_weights()
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
                "The processes found different checkpoints; keep them in a folder that "
                "all of them see."
            )
        if not self.processes.is_first:
            # the first process has the sums over all of them
            self.state.totals.zero_()
        if self.state.step:
            _log.info(
                "Training resumes in epoch %d, after %d steps.",
                len(self.state.history) + 1,
                self.state.step,
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
        values = self.dataset[0].values
        augmentation = Augmentation.draw(
            self.recipe, len(batch), values, self.state.generator
        )
        self._seed_step()
        self.state.optimiser.zero_grad()
        parts = split_range(
            self.processes.shard(len(batch)), self.micro_batch_size or len(batch)
        )
        for part in parts:
            with self._synchronise(last=part is parts[-1]):
                self._accumulate(batch, part, augmentation)
        if self.recipe.clip is not None:
            nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.clip)
        self.state.optimiser.step()

    def _accumulate(
        self, batch: torch.Tensor, part: slice, augmentation: Augmentation
    ) -> None:
        """Add the gradient of a part of a batch."""
        windows, targets = self._augment(batch, part, augmentation)
        if self.graph_step is not None:
            self.graph_step(windows, targets)
        else:
            self._backpropagate(windows, targets, len(batch))

    def _backpropagate(
        self, windows: torch.Tensor, targets: torch.Tensor, batch_size: int | None = None
    ) -> None:
        """Pass windows forward and backward, and add to the totals."""
        with use_precision(self.precision, self.device):
            scores = _class_scores(self.model(windows))
            loss = self.loss(scores, targets).sum()
        # the mean over processes must be the mean over the windows of the batch
        divisor = (batch_size or len(windows)) / self.processes.world_size
        (loss / divisor).backward()  # type: ignore[no-untyped-call]
        self._add_totals(self.state.totals, loss, scores, targets)

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

    def _synchronise(self, last: bool) -> AbstractContextManager[None]:
        """Let processes exchange gradients only after the last part of a batch."""
        if last or self.processes.world_size == 1:
            return nullcontext()
        no_sync: AbstractContextManager[None] = self.model.no_sync()  # type: ignore[operator]
        return no_sync

    def _seed_step(self) -> None:
        """Seed PyTorch's global generator, which third-party layers may draw from.

        The seed depends on the step, so that it need not be saved, and on the rank, so
        that processes draw different numbers.
        """
        world_size, rank = self.processes.world_size, self.processes.rank
        seed = self.state.generator.initial_seed() + self.state.step * world_size
        _seed_global_rng(self.device, (seed + rank) % 2**63)

    @staticmethod
    def _add_totals(
        totals: torch.Tensor,
        loss: torch.Tensor,
        scores: torch.Tensor,
        targets: torch.Tensor,
    ) -> None:
        """Add up losses, correct answers and windows on the device, without waiting."""
        totals[0] += loss.detach()
        totals[1] += (scores.detach().argmax(1) == targets.argmax(1)).sum()
        totals[2] += len(scores)

    def _finish_epoch(self) -> EpochRecord:
        """Append the record of the epoch to the history, and return it."""
        self.processes.broadcast_buffers(self.network)
        loss, correct, count = self.processes.sum(self.state.totals).tolist()
        history = self.state.history
        record: EpochRecord = {
            "epoch": len(history) + 1,
            "loss": loss / count,
            "accuracy": correct / count,
            "learning_rate": self.learning_rate(self.state.step - 1),
            "samples": int(count) + (history[-1]["samples"] if history else 0),
        }
        self._check_loss(record["loss"])
        if self.validation is not None:
            record |= self._validate(self.validation)
        record["seconds"] = self.state.seconds
        history.append(record)
        self.state.batch = 0
        _log.debug("epoch %(epoch)d loss %(loss).4f accuracy %(accuracy).4f", record)
        return record

    def _validate(self, dataset: Dataset) -> EpochRecord:
        """Return loss and accuracy on the validation windows, and the best epoch."""
        totals = torch.zeros_like(self.state.totals)
        batch_size = self.micro_batch_size or self.recipe.batch_size
        self.network.eval()
        with torch.no_grad(), use_precision(self.precision, self.device):
            for part in split_range(self.processes.shard(len(dataset[0])), batch_size):
                windows, targets = self._load(dataset, torch.arange(part.start, part.stop))
                scores = _class_scores(self.network(windows))
                loss = self.loss(scores, targets).sum()
                self._add_totals(totals, loss, scores, targets)
        loss_sum, correct, count = self.processes.sum(totals).tolist()
        mean_loss = loss_sum / count
        self._check_loss(mean_loss)
        record = {"validation_loss": mean_loss, "validation_accuracy": correct / count}
        return record | self._update_best(mean_loss)

    def _update_best(self, loss: float) -> EpochRecord:
        """Save the weights if they are the best so far; return the best epoch."""
        if self.recipe.patience is None:
            return {}
        history = self.state.history
        if not history or loss < min(record["validation_loss"] for record in history):
            self.state.save_best()
            return {"best_epoch": len(history) + 1}
        return {"best_epoch": history[-1]["best_epoch"]}

    def _check_loss(self, loss: float) -> None:
        if not math.isfinite(loss):
            raise self._divergence("loss is", len(self.state.history) + 1)

    def _check_weights(self) -> None:
        """Refuse weights that diverged in the last step, whose loss is not computed."""
        values = self.network.state_dict().values()
        if not all(bool(value.isfinite().all()) for value in values):
            raise self._divergence("weights are", len(self.state.history))

    def _divergence(self, what: str, epoch: int) -> RunError:
        return RunError(
            f"The {what} no longer finite in epoch {epoch}; use a learning rate below "
            f"{self.recipe.learning_rate:g} or the recipe's clip."
        )


@contextmanager
def _preserve_global_rng(device: torch.device) -> Iterator[None]:
    """Restore PyTorch's global generators afterwards."""
    devices = [torch.cuda.current_device()] if device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        yield


def _seed_global_rng(device: torch.device, seed: int) -> None:
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)


def _class_scores(output: torch.Tensor) -> torch.Tensor:
    """Return the scores (n, class) of one window each, in float32 or better."""
    return output[:, :, 0, 0].to(torch.promote_types(output.dtype, torch.float32))
