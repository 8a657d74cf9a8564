"""Settings of a simulated scene, their limits, and presets."""

from dataclasses import asdict, dataclass, replace

from hypercover.errors import CallError
from hypercover.memory import available_bytes
from hypercover.scene.simulation.land_cover import land_covers

AVIRIS = 220
"""This number of bands means those of AVIRIS in 1992."""
_MOST_PIXELS = 2**26
_MOST_BANDS = 2101
_LAND_BYTES = 130
"""Peak memory per pixel of land; the cube itself is never in memory."""
_LEAST_PER_CLASS = 60
"""Pixels of land per class that two fields of each need."""


@dataclass(frozen=True)
class SimulationSettings:
    """Settings of a simulated scene."""

    rows: int = 145
    """Number of rows of 20 m."""
    cols: int = 145
    """Number of columns of 20 m."""
    bands: int = AVIRIS
    """Number of bands: 220 as AVIRIS in 1992, any other number at equal distances."""
    classes: int = 16
    """Number of labelled classes."""
    seed: int = 0
    """Seed of all random numbers."""
    imitates: str = ""
    """Known scene whose classes and class sizes are reproduced; empty: none."""

    def __str__(self) -> str:
        """List all settings in one line."""
        given = {name: value for name, value in asdict(self).items() if value != ""}
        return ", ".join(f"{name} {value}" for name, value in given.items())

    def check(self) -> None:
        """Refuse settings that are out of range.

        Raises
        ------
        CallError
            About the first wrong setting.
        """
        size, pixels = f"{self.rows} × {self.cols}", self.rows * self.cols
        covers = len(land_covers())
        room = int(0.8 * available_bytes()) // _LAND_BYTES
        least = _LEAST_PER_CLASS * self.classes
        checks = (
            (
                min(self.rows, self.cols) >= 32 and pixels <= _MOST_PIXELS,
                "A simulated scene must have at least 32 rows and columns and at most "
                f"{_MOST_PIXELS:,} pixels, got {size}; choose another size.",
            ),
            (
                pixels <= room,
                "The land of a simulated scene is kept in memory, which has room for "
                f"{room:,} pixels now, got {size}; choose a smaller size.",
            ),
            (
                3 <= self.bands <= _MOST_BANDS,
                f"A simulated scene must have 3 to {_MOST_BANDS} bands, got {self.bands}; "
                f"{AVIRIS} are those of AVIRIS.",
            ),
            (
                2 <= self.classes <= covers,
                f"A simulated scene must have 2 to {covers} classes, got {self.classes}; "
                "choose a number between.",
            ),
            (
                self.seed >= 0,
                f"A seed must be 0 or more, got {self.seed}; use another one.",
            ),
            (
                pixels >= least,
                f"{self.classes} classes need at least {least} pixels of land, got {size}; "
                "choose fewer classes or a larger scene.",
            ),
        )
        for valid, message in checks:
            if not valid:
                raise CallError(message)


PRESETS = {
    "demo": SimulationSettings(rows=128, cols=128, bands=AVIRIS, classes=10),
    "indian-pines-full": SimulationSettings(
        rows=1417, cols=617, bands=AVIRIS, classes=58, imitates="indian-pines-full"
    ),
    "rome": SimulationSettings(rows=1200, cols=1200, bands=5, classes=9, imitates="rome"),
}
"""Presets by name."""


def preset_settings(preset: str, seed: int) -> SimulationSettings:
    """Return the settings of a preset with a seed.

    Raises
    ------
    CallError
        If the preset is unknown.
    """
    if preset not in PRESETS:
        raise CallError(
            f"No simulation preset is named {preset!r}; choose one of {', '.join(PRESETS)}."
        )
    return replace(PRESETS[preset], seed=seed)
