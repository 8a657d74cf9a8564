"""Where a search lies in a run folder."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from hypercover.experiment.folder import RunFolder

__all__ = ["SearchFolder"]


@dataclass(frozen=True)
class SearchFolder:
    """The paths of a search: its results beside those of a run, its work below.

    Why it exists: a search and a run of the same experiment share one folder
    for people, and neither may overwrite what the other works with.
    """

    path: Path
    """The run folder."""

    @property
    def home(self) -> Path:
        """Folder of the tasks, the features and the finished cells."""
        return self.path / "search"

    @property
    def experiment(self) -> Path:
        """The experiment file as it was searched."""
        return RunFolder(self.home).experiment

    @property
    def table(self) -> Path:
        """Every figure of the search."""
        return self.path / "search.json"

    @property
    def digest(self) -> str | None:
        """SHA-256 of the figures, in hexadecimal; None where there are none."""
        if not self.table.is_file():
            return None
        return hashlib.sha256(self.table.read_bytes()).hexdigest()

    @property
    def csv(self) -> Path:
        """Every cell as a line."""
        return self.path / "search.csv"

    @property
    def speedup(self) -> Path:
        """What the search cost and how busy its workers were, as a table."""
        return self.path / "search-speedup.csv"

    def figure(self, model: str, by: str) -> Path:
        """Return the path of a heat map."""
        return RunFolder(self.path).figure(f"search-{model}-{by}")
