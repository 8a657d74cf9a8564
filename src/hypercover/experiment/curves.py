"""How a training goes, told while it goes: words with the time left, and curves."""

import logging
import shutil
import time
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

from hypercover.errors import ExperimentError
from hypercover.maps.numbers import percent, seconds_words

__all__ = ["Curves", "check_tensorboard"]

Report = Callable[[float, str], None]

_SCALARS = {
    "loss": "loss/training",
    "validation_loss": "loss/validation",
    "accuracy": "accuracy/training",
    "validation_accuracy": "accuracy/validation",
    "learning_rate": "learning rate",
}
"""Names of a record's values and of their charts in TensorBoard."""

_log = logging.getLogger(__name__)


class Curves:
    """Takes the record of each epoch; says how far the training is and keeps its curves.

    Parameters
    ----------
    task : str
        Name of the task that trains, for the log.
    report : callable
        Is told the share done and a few words.
    events : path, optional
        Folder for TensorBoard's event files; None: none are written.
    """

    def __init__(self, task: str, report: Report, events: Path | None = None) -> None:
        self._task, self._report, self._folder = task, report, events
        self._writer: Any = None
        self._began, self._first = time.monotonic(), 0

    def __enter__(self) -> Self:
        """Begin: the time left is reckoned from here."""
        return self

    def __exit__(self, *_: object) -> None:
        """Bring the events to the disk."""
        if self._writer is not None:
            self._writer.close()

    def __call__(self, record: Mapping[str, Any]) -> None:
        """Take the record of an epoch that has ended."""
        epoch, epochs = int(record["epoch"]), int(record["epochs"])
        if not self._first:
            self._begin(epoch, epochs)
        done = epoch - self._first + 1
        left = (time.monotonic() - self._began) / done * (epochs - epoch)
        words = [f"epoch {epoch} of {epochs} ({seconds_words(left)} left)"]
        words.append(f"loss {record['loss']:.3f}")
        if "validation_accuracy" in record:
            words.append(f"validation {percent(record['validation_accuracy'])} %")
        self._report(epoch / epochs, ", ".join(words))
        if self._writer is not None:
            self._write(record)

    def _begin(self, epoch: int, epochs: int) -> None:
        """Note where the training begins, or where it goes on."""
        self._first = epoch
        if epoch > 1:
            _log.warning(
                "%s goes on at epoch %d of %d, from its checkpoint.",
                self._task,
                epoch,
                epochs,
            )
        if self._folder is not None:
            self._writer = _event_writer(self._folder, epoch)

    def _write(self, record: Mapping[str, Any]) -> None:
        for name, chart in _SCALARS.items():
            if name in record:
                self._writer.add_scalar(chart, record[name], int(record["epoch"]))
        self._writer.flush()


def _event_writer(folder: Path, epoch: int) -> Any:
    """Open TensorBoard's event files; later points of an interrupted training go."""
    from torch.utils.tensorboard import SummaryWriter

    if epoch == 1:
        shutil.rmtree(folder, ignore_errors=True)
    return SummaryWriter(str(folder), purge_step=epoch)


def check_tensorboard() -> None:
    """Refuse to promise curves that cannot be written.

    Raises
    ------
    ExperimentError
        If TensorBoard is not installed.
    """
    if find_spec("tensorboard") is None:
        raise ExperimentError(
            "tensorboard: true needs the package tensorboard, which is not installed; "
            "install it with pip install 'hypercover[tensorboard]', or set "
            "tensorboard: false."
        )
