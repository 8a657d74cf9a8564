"""Splits by fields: whole connected fields train, far enough from the test."""

from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from hypercover.errors import SplitError
from hypercover.samples.block_draw import draw_whole
from hypercover.samples.field_draw import (
    Fields,
    draw_validation_fields,
    field_map,
    share_notes,
)
from hypercover.samples.guard import (
    Guard,
    apart,
    check_guard,
    guard_notes,
    guard_width,
    near,
    too_wide,
)
from hypercover.samples.random import check_validation
from hypercover.samples.split import Split, check_labels
from hypercover.samples.window_size import check_window

__all__ = ["FieldSplit"]


@dataclass(frozen=True)
class FieldSplit:
    """Train on whole fields and test on others, a guard band apart.

    Why it exists: a block may cut a field in two, and then the two sides share
    its soil, its sowing date and its mean spectrum.  Here a field, a connected
    set of pixels of one class (corners included), is never on both sides: the
    question is what a classifier says of a field it has not seen (Friedl et
    al. 2000 hold out sites for the same reason).

    Whole fields are drawn until about ``train`` of every class's pixels lie in
    them.  The best of some seeded draws is taken, and fields are swapped where
    that brings a class onto both sides, but not to even out the shares: there
    are few fields, and every seed would end at the same ones.
    Pixels of other fields are tested if they are farther than ``guard`` pixels
    (Chebyshev) from every drawn pixel; those in between are the guard.  A class
    of one field cannot stand on both sides; notes and
    :meth:`~hypercover.samples.split.Split.unscored` name it.

    Validation takes whole fields out of the drawn ones in the same manner, and
    training pixels within ``guard`` of them join the guard.

    Parameters
    ----------
    train : float between 0 and 1
        Share of every class's pixels in the drawn fields, about.
    guard : int or "auto"
        Width of the guard band in pixels; "auto" is window − 1.
    validation : float from 0 to below 1
        Share of the drawn pixels set aside for validation.

    Examples
    --------
    T train, o test, - guard; four fields of two classes:

    >>> labels = np.repeat([[1, 1, 1, 2, 2, 2, 0, 0, 1, 1, 1, 2, 2, 2]], 2, axis=0)
    >>> split = FieldSplit(train=0.5, guard=1).split(labels, seed=0)
    >>> for row in split.parts:
    ...     print("".join(".T!o-"[part] for part in row))
    TTTTTT..oooooo
    TTTTTT..oooooo
    """

    train: float = 0.25
    """Share of every class's pixels to train on."""
    guard: Guard = "auto"
    """Pixels between training and test, by Chebyshev distance; auto = window − 1."""
    validation: float = 0.0
    """Share of the training pixels set aside for validation."""

    def __post_init__(self) -> None:
        """Refuse shares and guards that no image could give."""
        if not 0 < self.train < 1:
            raise SplitError(
                "A field split trains on a share of every class's pixels between 0 and "
                f"1, got {self.train}; use 0.25."
            )
        check_guard(self.guard)
        check_validation(self.validation)

    def split(self, labels: npt.ArrayLike, *, seed: int = 0, window: int = 1) -> Split:
        """Split a label map (y, x).

        Raises
        ------
        SplitError
            If no class has two fields, or the guard leaves no test pixel; the
            largest guard that leaves some is then named.
        """
        label_map = check_labels(labels)
        check_window(window, label_map.shape)
        guard, numbers = guard_width(self.guard, window), field_map(label_map)
        drawn, alone = self._draw(label_map, numbers, guard, seed)
        if not _tests(label_map, drawn, guard):
            raise too_wide(
                lambda width: _tests(
                    label_map, self._draw(label_map, numbers, width, seed)[0], width
                ),
                guard,
                "fields",
                label_map.shape,
            )
        validation = draw_validation_fields(
            label_map, numbers, drawn, self.validation, guard=guard, seed=seed
        )
        return apart(
            label_map,
            drawn,
            validation,
            guard,
            kind="fields",
            seed=seed,
            settings=asdict(self) | {"guard": guard},
            window=window,
            notes=(
                *_alone(alone),
                *share_notes(drawn, label_map, self.train, "fields"),
                *guard_notes(guard, window),
            ),
        )

    def _draw(
        self,
        label_map: npt.NDArray[np.integer],
        numbers: npt.NDArray[np.intp],
        guard: int,
        seed: int,
    ) -> tuple[npt.NDArray[np.bool_], list[int]]:
        """Draw fields to train on: their pixels (y, x), and the classes of one field."""
        fields = Fields(label_map, numbers, guard)
        codes = np.unique(label_map[label_map > 0])
        if len(fields.single) == len(codes):
            raise SplitError(
                "Every class lies in one field, which cannot both train and test; "
                "split by blocks, which cut fields."
            )
        rng = np.random.default_rng([seed, 0])
        _, chosen = draw_whole(iter([fields]), self.train, rng)
        return fields.pixels(chosen), codes[fields.single].tolist()


def _tests(
    label_map: npt.NDArray[np.integer], drawn: npt.NDArray[np.bool_], guard: int
) -> bool:
    """Tell whether a pixel is left to test."""
    return bool(((label_map > 0) & ~near(drawn, guard)).any())


def _alone(codes: list[int]) -> tuple[str, ...]:
    """Name the classes that lie in one field."""
    if not codes:
        return ()
    named = ", ".join(map(str, codes))
    which = f"Class {named} lies" if len(codes) == 1 else f"Classes {named} lie"
    each = "" if len(codes) == 1 else " each"
    return (f"{which} in one field{each}, which cannot both train and test.",)
