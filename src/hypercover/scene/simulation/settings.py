"""What a simulated scene is to be like, and which wishes cannot be met."""

from dataclasses import asdict, dataclass, replace

from hypercover.errors import CallError
from hypercover.memory import available_bytes
from hypercover.scene.simulation.land_cover import land_covers

__all__ = ["AVIRIS", "PRESETS", "SimulationSettings", "chosen"]

AVIRIS = 220
"""Number of bands for which those of AVIRIS in 1992 are taken."""
_MOST_PIXELS = 2**26
_MOST_BANDS = 2101
_LAND_BYTES = 130
"""Memory per pixel of land while it is laid out; the cube itself never is in memory."""
_LEAST_PER_CLASS = 60
"""Pixels of land per class below which there is no room for two fields of each."""


@dataclass(frozen=True)
class SimulationSettings:
    """What a simulated scene is to be like."""

    rows: int = 145
    """Number of rows of 20 m."""
    cols: int = 145
    """Number of columns of 20 m."""
    bands: int = AVIRIS
    """Number of bands; 220 are those of AVIRIS in 1992, others stand evenly."""
    classes: int = 16
    """Number of labelled classes."""
    seed: int = 0
    """Seed of everything that is drawn."""
    imitates: str = ""
    """Known scene whose classes it has, with as many pixels; empty: none."""

    def __str__(self) -> str:
        """Say every setting in one line."""
        given = {name: value for name, value in asdict(self).items() if value != ""}
        return ", ".join(f"{name} {value}" for name, value in given.items())

    def check(self) -> None:
        """Refuse settings no scene can be made of.

        Raises
        ------
        CallError
            About the first setting that is wrong.
        """
        _check_size(self.rows, self.cols)
        _check_counts(self)
        if self.rows * self.cols < _LEAST_PER_CLASS * self.classes:
            raise CallError(
                f"{self.classes} classes need at least {_LEAST_PER_CLASS * self.classes} "
                f"pixels of land, got {self.rows} × {self.cols}; ask for fewer classes or "
                "for a larger scene."
            )


def _check_size(rows: int, cols: int) -> None:
    if rows < 32 or cols < 32 or rows * cols > _MOST_PIXELS:
        raise CallError(
            "A simulated scene must have at least 32 rows and columns and at most "
            f"{_MOST_PIXELS:,} pixels, got {rows} × {cols}; choose another size."
        )
    most = int(0.8 * available_bytes()) // _LAND_BYTES
    if rows * cols > most:
        raise CallError(
            f"The land of a simulated scene is kept in memory, which has room for {most:,} "
            f"pixels now, got {rows} × {cols}; choose a smaller size."
        )


def _check_counts(settings: SimulationSettings) -> None:
    most = len(land_covers())
    if not 3 <= settings.bands <= _MOST_BANDS:
        raise CallError(
            f"A simulated scene must have 3 to {_MOST_BANDS} bands, got {settings.bands}; "
            f"{AVIRIS} are those of AVIRIS."
        )
    if not 2 <= settings.classes <= most:
        raise CallError(
            f"A simulated scene must have 2 to {most} classes, got {settings.classes}; "
            "choose a number between."
        )
    if settings.seed < 0:
        raise CallError(f"A seed must be 0 or more, got {settings.seed}; use another one.")


PRESETS = {
    "demo": SimulationSettings(rows=128, cols=128, bands=AVIRIS, classes=10),
    "indian-pines-full": SimulationSettings(
        rows=1417, cols=617, bands=AVIRIS, classes=58, imitates="indian-pines-full"
    ),
    "rome": SimulationSettings(rows=1200, cols=1200, bands=5, classes=9, imitates="rome"),
}
"""Named scenes; a preset takes the place of rows, cols, bands and classes."""


def chosen(preset: str, seed: int) -> SimulationSettings:
    """Return the settings of a named scene.

    Raises
    ------
    CallError
        If there is none of this name.
    """
    if preset not in PRESETS:
        raise CallError(
            f"There is no simulated scene named {preset!r}; the named ones are "
            f"{', '.join(PRESETS)}."
        )
    return replace(PRESETS[preset], seed=seed)
