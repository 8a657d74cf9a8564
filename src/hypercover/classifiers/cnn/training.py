"""Training: the loop that fits a network to windows, and nothing else."""

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
from hypercover.classifiers.cnn.checkpoint import Checkpoints, EpochRecord, TrainingState
from hypercover.classifiers.cnn.optimiser import Loss, learning_rate_schedule
from hypercover.classifiers.cnn.process_group import ProcessGroup
from hypercover.classifiers.cnn.window_loader import (
    Augmentation,
    WindowLoader,
    split_batches,
    split_range,
)
from hypercover.classifiers.networks.network import Network
from hypercover.classifiers.networks.recipe import Recipe
from hypercover.errors import ModelError, RunError
from hypercover.stopping import Stopped, stop_asked

__all__ = ["Dataset", "train"]

Dataset = tuple[WindowLoader, torch.Tensor]
"""Windows, and the position of each one's class (n,)."""

_CHECKPOINT_STEPS = 8
"""Batches after which processes agree whether a checkpoint is due."""

_log = logging.getLogger(__name__)


def train(
    network: Network,
    feed: WindowLoader,
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

    Where a process group was initialised before, all its processes call this
    with the same arguments; each takes its share of every batch.

    Parameters
    ----------
    network : Network
        On its device, with weights drawn.
    feed : WindowLoader
        The training windows.
    targets : tensor (n,) of int
        Position of each window's class.
    recipe : Recipe
    generator : Generator on the CPU
        Draws the order and the augmentation: all there is of chance.
    classes : int
        Number of classes.
    validation : (Feed, tensor), optional
        Windows that are not trained on, for the record and for patience.
    precision : {"float32", "mixed"}
    compile : bool
        Whether the network is compiled first.
    checkpoints : Checkpoints, optional
        Where to go on from and what to leave behind.
    progress : callable, optional
        Is given the record of each epoch when it ends, with ``epochs``, their
        number.

    Raises
    ------
    ModelError
        If the recipe asks for what the call does not give, or the checkpoints
        are of another training.
    RunError
        If the loss, or at the end a weight, is no longer a number.
    """
    training = Trainer(
        network,
        (feed, targets),
        recipe,
        generator=generator,
        classes=classes,
        validation=validation,
        precision=precision,
    )
    if compile:
        training.model = compile_network(network)
    return training.run(checkpoints, progress)


class Trainer:
    """One training under way: data, network and where it stands."""

    def __init__(
        self,
        network: Network,
        examples: Dataset,
        recipe: Recipe,
        *,
        generator: torch.Generator,
        classes: int,
        validation: Dataset | None,
        precision: str,
    ) -> None:
        if recipe.patience is not None and validation is None:
            raise ModelError(
                "The recipe's patience waits for a lower validation loss, but there are no "
                "validation windows; give some, or leave patience out."
            )
        feed, targets = examples
        self.world = ProcessGroup.here()
        self.world.check(recipe.batch_size, len(feed), network.minimum_batch)
        self.network, self.recipe, self.precision = network, recipe, precision
        self.examples, self.validation = examples, validation
        self.model: nn.Module = network
        self.device = next(network.parameters()).device
        self.at_once = network.micro_batch_size() if self.device.type == "cpu" else None
        self.certain = torch.eye(classes, device=self.device)
        counts = torch.bincount(targets, minlength=classes).to(self.device)
        self.loss = Loss(recipe, counts)
        self.at = TrainingState(
            network,
            recipe,
            generator,
            order=torch.arange(len(feed)),
            totals=torch.zeros(3, dtype=torch.float64, device=self.device),
        )
        self.replay: CUDAGraphStep | None = None
        if network.cuda_graph_safe and self.device.type == "cuda" and self.world.size == 1:
            self.replay = CUDAGraphStep(self._pass_through, network)
        self.epochs = recipe.epochs(len(feed))
        self.share = learning_rate_schedule(recipe, self.epochs * len(self._batches()))

    def run(
        self,
        checkpoints: Checkpoints | None = None,
        progress: Callable[[EpochRecord], None] | None = None,
    ) -> list[EpochRecord]:
        """Pass over the windows as often as the recipe says."""
        if checkpoints is not None:
            self._go_on(checkpoints)
        self.model = self.world.parallel(self.model)
        with _preserve_global_rng(self.device):
            while not self._done():
                self._pass(checkpoints)
                record = self._closed()
                if progress is not None and self.world.first:
                    progress({**record, "epochs": self.epochs})
        # its recordings hold memory of the GPU, and it holds this training
        self.replay = None
        if self.at.best:
            self.network.load_state_dict(self.at.best)
        self._check_weights()
        self.network.eval()
        if checkpoints is not None and self.world.first:
            checkpoints.save(self.at)
        return self.at.history

    def _go_on(self, checkpoints: Checkpoints) -> None:
        """Go to where the last checkpoint was written, if there is one."""
        if not checkpoints.restore(self.at) and self.world.size == 1:
            return
        if self.world.said(self.at.step, self.device) != self.at.step:
            raise RunError(
                "The processes found different checkpoints; keep them in a folder that "
                "all of them see."
            )
        if not self.world.first:
            # what was summed by all was given to the first
            self.at.totals.zero_()
        if self.at.step:
            _log.info(
                "Training goes on in epoch %d, after %d steps.",
                len(self.at.history) + 1,
                self.at.step,
            )

    def _done(self) -> bool:
        """Tell whether all epochs were seen, or too many without a better one."""
        history, patience = self.at.history, self.recipe.patience
        if len(history) >= self.epochs:
            return True
        if patience is None or not history:
            return False
        return history[-1]["epoch"] - history[-1]["best_epoch"] >= patience

    def _batches(self) -> list[torch.Tensor]:
        """Cut the order of this epoch into batches, none with a window alone."""
        least = max(2, self.world.size * self.network.minimum_batch)
        return split_batches(self.at.order, self.recipe.batch_size, least)

    def _pass(self, checkpoints: Checkpoints | None) -> None:
        """Take one step per batch, from where the epoch stands."""
        self.network.train()
        if self.at.batch == 0:
            count = len(self.at.order)
            self.at.order = torch.randperm(count, generator=self.at.generator)
            self.at.totals.zero_()
        for which in self._batches()[self.at.batch :]:
            self._step(which)
            self.at.batch += 1
            self.at.step += 1
            if checkpoints is not None:
                self._leave(checkpoints)

    def _leave(self, checkpoints: Checkpoints) -> None:
        """Write a checkpoint when one is due: all processes sum, the first one writes.

        Asked to stop, they write one and stop.
        """
        if self.world.size > 1 and self.at.step % _CHECKPOINT_STEPS:
            return
        stop = self.world.any(stop_asked(), self.device)
        if not stop and not self.world.said(checkpoints.due(), self.device):
            return
        own = self.at.totals.clone()
        self.at.totals.copy_(self.world.total(own))
        if self.world.first:
            checkpoints.save(self.at)
        self.at.totals.copy_(own)
        if stop:
            raise Stopped

    def rate(self, step: int) -> float:
        """Return the learning rate of a step."""
        return self.recipe.learning_rate * self.share(step)

    def _step(self, which: torch.Tensor) -> None:
        """Take one step down the mean gradient of a batch."""
        for group in self.at.optimiser.param_groups:
            group["lr"] = self.rate(self.at.step)
        values = self.examples[0].values
        chance = Augmentation.drawn(self.recipe, len(which), values, self.at.generator)
        self._reseed()
        self.at.optimiser.zero_grad()
        pieces = split_range(self.world.share(len(which)), self.at_once or len(which))
        for piece in pieces:
            with self._added_up(last=piece is pieces[-1]):
                self._learn(which, piece, chance)
        if self.recipe.clip is not None:
            nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.clip)
        self.at.optimiser.step()

    def _learn(self, which: torch.Tensor, piece: slice, chance: Augmentation) -> None:
        """Add the gradient of a piece of a batch."""
        windows, wanted = self._look(which, piece, chance)
        if self.replay is not None:
            self.replay(windows, wanted)
        else:
            self._pass_through(windows, wanted, len(which))

    def _pass_through(
        self, windows: torch.Tensor, wanted: torch.Tensor, whole: int | None = None
    ) -> None:
        """Pass windows forward and backward, and count what came out."""
        with use_precision(self.precision, self.device):
            scores = _class_scores(self.model(windows))
            loss = self.loss(scores, wanted).sum()
        # the mean over processes must be that over the windows of the batch
        share = (whole or len(windows)) / self.world.size
        (loss / share).backward()  # type: ignore[no-untyped-call]
        self._count(self.at.totals, loss, scores, wanted)

    def _look(
        self, which: torch.Tensor, piece: slice, chance: Augmentation
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return augmented windows and wanted probabilities on the device."""
        windows, wanted = self._known(self.examples, which[piece])
        if chance.partner is not None:
            others, theirs = self._known(self.examples, which[chance.partner[piece]])
            windows = chance.mixed(piece, windows, others)
            wanted = chance.mixed(piece, wanted, theirs)
        return chance.changed(piece, windows), wanted

    def _known(
        self, examples: Dataset, which: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return windows and the certainty of their classes on the device."""
        feed, targets = examples
        known = targets[which].to(self.device, non_blocking=True)
        return feed.batch(which), self.certain[known]

    def _added_up(self, last: bool) -> AbstractContextManager[None]:
        """Let processes exchange gradients after the last piece of a batch alone."""
        if last or self.world.size == 1:
            return nullcontext()
        waiting: AbstractContextManager[None] = self.model.no_sync()  # type: ignore[operator]
        return waiting

    def _reseed(self) -> None:
        """Seed PyTorch's own generator, by which layers such as dropout draw.

        By step, so that there is no state to keep, and by process, so that
        shares of a batch do not get the same.
        """
        seed = self.at.generator.initial_seed() + self.at.step * self.world.size
        _seed_global_rng(self.device, (seed + self.world.rank) % 2**63)

    @staticmethod
    def _count(
        totals: torch.Tensor,
        loss: torch.Tensor,
        scores: torch.Tensor,
        wanted: torch.Tensor,
    ) -> None:
        """Add up losses, right answers and windows, where they are: nobody waits."""
        totals[0] += loss.detach()
        totals[1] += (scores.detach().argmax(1) == wanted.argmax(1)).sum()
        totals[2] += len(scores)

    def _closed(self) -> EpochRecord:
        """End an epoch: return its record."""
        self.world.same_buffers(self.network)
        loss, right, seen = self.world.total(self.at.totals).tolist()
        history = self.at.history
        record: EpochRecord = {
            "epoch": len(history) + 1,
            "loss": loss / seen,
            "accuracy": right / seen,
            "learning_rate": self.rate(self.at.step - 1),
            "samples": int(seen) + (history[-1]["samples"] if history else 0),
        }
        self._check_finite(record["loss"])
        if self.validation is not None:
            record |= self._validated(self.validation)
        record["seconds"] = self.at.seconds
        history.append(record)
        self.at.batch = 0
        _log.debug("epoch %(epoch)d loss %(loss).4f accuracy %(accuracy).4f", record)
        return record

    def _validated(self, examples: Dataset) -> EpochRecord:
        """Return loss and accuracy on the validation windows, and note the best epoch."""
        totals = torch.zeros_like(self.at.totals)
        most = self.at_once or self.recipe.batch_size
        self.network.eval()
        with torch.no_grad(), use_precision(self.precision, self.device):
            for piece in split_range(self.world.share(len(examples[0])), most):
                which = torch.arange(piece.start, piece.stop)
                windows, wanted = self._known(examples, which)
                scores = _class_scores(self.network(windows))
                self._count(totals, self.loss(scores, wanted).sum(), scores, wanted)
        loss, right, seen = self.world.total(totals).tolist()
        self._check_finite(loss / seen)
        found = {"validation_loss": loss / seen, "validation_accuracy": right / seen}
        return found | self._best_epoch(loss / seen)

    def _best_epoch(self, loss: float) -> EpochRecord:
        """Keep the weights if none were better; say which epoch had the best."""
        if self.recipe.patience is None:
            return {}
        history = self.at.history
        if not history or loss < min(record["validation_loss"] for record in history):
            self.at.keep_best()
            return {"best_epoch": len(history) + 1}
        return {"best_epoch": history[-1]["best_epoch"]}

    def _check_finite(self, loss: float) -> None:
        """Stop a training that has run away."""
        if not math.isfinite(loss):
            raise self._ran_away("loss is", len(self.at.history) + 1)

    def _check_weights(self) -> None:
        """Refuse weights that the last step, whose loss nobody sees, took away."""
        values = self.network.state_dict().values()
        if not all(bool(value.isfinite().all()) for value in values):
            raise self._ran_away("weights are", len(self.at.history))

    def _ran_away(self, what: str, epoch: int) -> RunError:
        return RunError(
            f"The {what} no longer a number in epoch {epoch}; use a learning rate below "
            f"{self.recipe.learning_rate:g} or the recipe's clip."
        )


@contextmanager
def _preserve_global_rng(device: torch.device) -> Iterator[None]:
    """Give PyTorch's own generators back as they were."""
    devices = [torch.cuda.current_device()] if device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        yield


def _seed_global_rng(device: torch.device, seed: int) -> None:
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)


def _class_scores(map_: torch.Tensor) -> torch.Tensor:
    """Return the scores (n, class) of one window each, in float32 or what is finer."""
    return map_[:, :, 0, 0].to(torch.promote_types(map_.dtype, torch.float32))
