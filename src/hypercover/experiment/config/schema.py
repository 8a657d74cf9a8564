"""The schema of experiment files."""

import math
import re
from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from hypercover.errors import ExperimentError
from hypercover.splits.predefined_splits import PUBLISHED


def _name(text: str) -> str:
    """Refuse what cannot be part of a file name on every system."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", text):
        raise ValueError(
            "must be made of 1 to 64 letters from A to Z, digits, dots, dashes and "
            "underscores, the first a letter or a digit"
        )
    return text


def _digest(text: str) -> str:
    """Refuse what is not a SHA-256 in hexadecimal."""
    if not re.fullmatch(r"[0-9a-f]{64}", text):
        raise ValueError("must be a SHA-256: 64 digits from 0 to 9 and a to f")
    return text


def _check_file(path: Path, info: ValidationInfo) -> Path:
    """Resolve the path of a file against the folder in the context, where there is one."""
    if not info.context:
        return path
    file = (Path(info.context["folder"]) / path.expanduser()).resolve()
    try:
        file.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise PydanticCustomError(
            MISSING_FILE, "no file {file}", {"file": str(file)}
        ) from None
    except OSError as error:
        found = {"file": str(file), "reason": error.strerror}
        message = "{file} cannot be opened ({reason})"
        raise PydanticCustomError(MISSING_FILE, message, found) from None
    return file


MISSING_FILE = "missing_file"
"""Type of the error about a file that cannot be read."""
Name = Annotated[str, AfterValidator(_name)]
Digest = Annotated[str, AfterValidator(_digest)]
InputFile = Annotated[Path, AfterValidator(_check_file)]
Share = Annotated[float, Field(gt=0, lt=1)]
Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Spec(BaseModel):
    """A part of an experiment file; immutable, and unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


Guard = Annotated[int, Field(ge=0)] | Literal["auto"]

GUARDED = ("blocks", "clusters", "fields", "kfold", "leave-one-out")
"""Kinds of split with a guard band."""


class _SplitSpec(Spec):
    """The part of all splits: the share of training pixels kept for validation."""

    validation: Annotated[float, Field(ge=0, lt=1)] = 0.0

    @property
    def draws(self) -> int:
        """Number of draws per seed: one, or one for each fold."""
        return getattr(self, "folds", 1)


class RandomSpec(_SplitSpec):
    """A stratified random draw of single pixels: easy, common, and leaking."""

    kind: Literal["random"] = "random"
    train: Share | Count = 0.1
    halves: Literal["even", "up"] = "even"


class MasksSpec(_SplitSpec):
    """Pixels marked in files: nonzero = in."""

    kind: Literal["masks"] = "masks"
    train: InputFile
    test: InputFile | None = None
    train_variable: str | None = None
    test_variable: str | None = None
    train_field: str | None = None
    test_field: str | None = None
    train_layer: str | None = None
    test_layer: str | None = None


class BlocksSpec(_SplitSpec):
    """Whole square blocks with a guard band between training and test."""

    kind: Literal["blocks"] = "blocks"
    size: Count = 15
    train: Share = 0.25
    guard: Guard = "auto"


class FieldsSpec(_SplitSpec):
    """Whole connected fields with a guard band between training and test."""

    kind: Literal["fields"] = "fields"
    train: Share = 0.25
    guard: Guard = "auto"


class ClustersSpec(_SplitSpec):
    """Clusters of each class, the largest or most varied train (Lange et al. 2018)."""

    kind: Literal["clusters"] = "clusters"
    train: Share = 0.25
    order: Literal["size", "spread"] = "size"
    eps: Annotated[float, Field(gt=0, le=20)] = 1.5
    min_pixels: Count = 1
    cut: bool = False
    guard: Guard = "auto"


class KFoldSpec(_SplitSpec):
    """Folds of whole blocks or fields: every labelled pixel is tested once a repeat."""

    kind: Literal["kfold"] = "kfold"
    by: Literal["blocks", "fields"] = "blocks"
    folds: Annotated[int, Field(ge=2, le=100)] = 5
    size: Count = 15
    guard: Guard = "auto"


class LeaveOneOutSpec(_SplitSpec):
    """Few labels: each shape that can be spared is held out once, with a buffer."""

    kind: Literal["leave-one-out"] = "leave-one-out"
    folds: Annotated[int, Field(ge=2, le=100)] = 10
    guard: Guard = "auto"
    validation: Literal[0] = 0


class NoneSpec(_SplitSpec):
    """Too few labels to judge: every labelled pixel trains and none is tested."""

    kind: Literal["none"] = "none"
    validation: Literal[0] = 0


class PublishedSpec(_SplitSpec):
    """A published split, whose masks are found in a folder by their content."""

    kind: Literal["published"] = "published"
    name: Literal[tuple(PUBLISHED)]  # type: ignore[valid-type]
    path: InputFile


class SavedSpec(_SplitSpec):
    """A split that was saved before: a ``split.json`` or the folder of a run."""

    kind: Literal["saved"] = "saved"
    path: InputFile
    sha256: Digest | None = None
    validation: Literal[0] = 0


class WindowsSplitSpec(_SplitSpec):
    """The parts that a window file was written with."""

    kind: Literal["windows"] = "windows"
    path: InputFile


SplitSpec = Annotated[
    RandomSpec
    | MasksSpec
    | BlocksSpec
    | FieldsSpec
    | ClustersSpec
    | KFoldSpec
    | LeaveOneOutSpec
    | NoneSpec
    | PublishedSpec
    | SavedSpec
    | WindowsSplitSpec,
    Discriminator("kind"),
]


def gap_splits(blocks: BlocksSpec, guard: int) -> dict[str, SplitSpec]:
    """Return the splits that a leak gap compares with blocks of a guard of window − 1 pixels.

    They have the same training share: ``random`` of single pixels, ``centre-free`` of blocks
    whose guard of window // 2 keeps training centres out of test windows.

    Examples
    --------
    >>> beside = gap_splits(BlocksSpec(size=15, train=0.25), guard=8)
    >>> beside["centre-free"].guard, beside["random"].train
    (4, 0.25)
    """
    return {
        "random": RandomSpec(train=blocks.train, validation=blocks.validation),
        "centre-free": blocks.model_copy(update={"guard": (guard + 1) // 2}),
    }


ALL = "all"
"""Name of the split in which all labelled pixels train."""

Bands = str | list[int | str]


def _check_nodata(given: float | str | list[float | str]) -> Any:
    """Refuse what is neither numbers nor a word for no data."""
    parts = given if isinstance(given, list) else [given]
    texts = [part.replace(",", " ") for part in parts if isinstance(part, str)]
    for word in " ".join(texts).split():
        try:
            valid = word.lower() in {"all-zero", "none"} or not math.isnan(float(word))
        except ValueError:
            valid = False
        if not valid:
            raise ValueError(f"must be numbers, all-zero or none, got {word[:40]!r}")
    return given


NoData = Annotated[float | str | list[float | str], AfterValidator(_check_nodata)]


class SceneSpec(Spec):
    """Which image and labels to read, and which bands and classes to use."""

    path: InputFile
    labels: InputFile | None = None
    variable: str | None = None
    label_variable: str | None = None
    axes: str | None = None
    label_field: str | None = None
    label_layer: str | None = None
    legend: InputFile | None = None
    name: str | None = None
    nodata: NoData | None = None
    crop: str | None = None
    keep_bands: Bands | None = None
    drop_bands: Bands | None = None
    drop_classes: list[int | str] = Field(default_factory=list)
    min_pixels: Annotated[int, Field(ge=0)] = 0


class _PixelSpec(Spec):
    """The part of all models that see single pixels."""

    @property
    def window(self) -> int:
        """Side of the window it sees: one pixel."""
        return 1


class SVMSpec(_PixelSpec):
    """An RBF support vector machine on standardised spectra or image features.

    ``features`` names a chain of image features, ``nwfe`` the number of features
    that NWFE learns from the training pixels; ``search`` as C or gamma takes the
    best of the grid in ``search``, chosen on the training pixels alone.
    """

    kind: Literal["svm"] = "svm"
    features: Name | None = None
    nwfe: Count | None = None
    C: Positive | Literal["search"] | None = None
    gamma: Positive | Literal["scale", "auto", "search"] | None = None
    class_weight: Literal["balanced"] | None = None
    probability: bool = False

    @property
    def searched(self) -> bool:
        """Whether C or gamma is the best of a grid."""
        return "search" in (self.C, self.gamma)


class CNNSpec(Spec):
    """A network on spectral-spatial windows.

    ``windows`` names a window file to train from instead of cutting windows out
    of the scene; ``recipe`` changes single fields of the network's own recipe.
    """

    kind: Literal["cnn"] = "cnn"
    features: Name | None = None
    network: str = "default"
    window: Annotated[int, Field(ge=1)] = 9
    epochs: Count | None = None
    batch_size: Count | None = None
    learning_rate: Annotated[float, Field(gt=0)] | None = None
    windows: InputFile | None = None
    recipe: dict[str, Any] | None = None
    precision: Literal["float32", "mixed"] | None = None
    compile: bool = False


class SklearnSpec(_PixelSpec):
    """Any scikit-learn compatible classifier, on standardised spectra."""

    kind: Literal["sklearn"] = "sklearn"
    features: Name | None = None
    estimator: str
    parameters: dict[str, Any] = Field(default_factory=dict)

    @field_validator("parameters")
    @classmethod
    def _only_svms_search(cls, parameters: dict[str, Any]) -> dict[str, Any]:
        for name, value in parameters.items():
            if value == "search":
                raise ValueError(
                    f"must give {name} a value: only the C and gamma of kind svm are searched"
                )
        return parameters


def _once(values: list[Any]) -> list[Any]:
    """Refuse a list that is empty or repeats a value."""
    if not values:
        raise ValueError("must name at least one value")
    return _distinct(values)


def _distinct(values: list[Any]) -> list[Any]:
    """Refuse a list that repeats a value."""
    twice = [value for value in values if values.count(value) > 1]
    if twice:
        raise ValueError(f"must name each value once, not {twice[0]} twice")
    return values


Shares = Annotated[list[Share], Field(max_length=20), AfterValidator(_distinct)]

FoldKind = Literal["random", "blocks", "clusters"]

Grid = Annotated[
    list[Positive], Field(max_length=100), AfterValidator(_once), AfterValidator(sorted)
]


class SearchSpec(Spec):
    """A grid of C × gamma for the SVMs, and the folds that judge its cells.

    ``gamma`` holds widths as they are, ``gamma_scale`` multiples of the width
    that ``gamma: scale`` stands for.  ``by: blocks`` and ``by: clusters`` keep
    ``guard`` pixels between the training and the held-out pixels of a fold.
    """

    C: Grid = Field(default=[1.0, 10.0, 100.0, 1000.0, 10000.0])
    gamma: Grid | None = None
    gamma_scale: Grid = Field(default=[0.25, 0.5, 1.0, 2.0, 4.0])
    folds: Annotated[int, Field(ge=2, le=1000)] = 10
    by: Annotated[list[FoldKind], AfterValidator(_once)] = Field(
        default=["random", "blocks"]
    )
    size: Count = 15
    guard: Annotated[int, Field(ge=0)] = 4
    on: Literal["train", "all"] = "train"


ModelSpec = Annotated[SVMSpec | CNNSpec | SklearnSpec, Discriminator("kind")]


class CleanSpec(Spec):
    """Cleaned class maps, written next to the predicted ones."""

    majority: Annotated[int, Field(ge=1, le=99)] = 1
    sieve: Annotated[int, Field(ge=1)] = 1

    @field_validator("majority")
    @classmethod
    def _majority_is_odd(cls, side: int) -> int:
        if side % 2 == 0:
            raise ValueError(
                f"the side must be an odd number of pixels, got {side}; 3 is usual"
            )
        return side


class Experiment(Spec):
    """Everything needed to repeat a run: scene, splits, models, seed.

    Relative paths in a file are relative to its folder.
    """

    name: Name
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    scene: SceneSpec
    split: SplitSpec
    beside: dict[Name, SplitSpec] = Field(default_factory=dict)
    learning_curve: Shares = Field(default_factory=list)
    features: dict[Name, str | list[str | dict[str, Any]]] = Field(default_factory=dict)
    models: Annotated[dict[Name, ModelSpec], Field(min_length=1)]
    search: SearchSpec = SearchSpec()
    repeats: Annotated[int, Field(ge=1, le=1000)] = 1
    gap: bool = False
    map: bool | Literal["best"] = True
    map_from: Literal["all", "split"] = "all"
    clean: CleanSpec = CleanSpec()
    device: Literal["auto", "cpu", "cuda"] = "auto"
    processes: Annotated[int, Field(ge=1, le=1024)] = 1
    tensorboard: bool = False
    notes: list[str] = Field(default_factory=list)
    versions: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check_names(self) -> "Experiment":
        taken = {"main": "the split itself", ALL: "all labelled pixels together"}
        taken |= dict.fromkeys(self.curve_splits, "a share of learning_curve")
        for name in self.beside:
            if name in taken:
                raise ValueError(
                    f"the name '{name}' under beside is that of {taken[name]}; choose another"
                )
        for name, model in self.models.items():
            if model.features is not None and model.features not in self.features:
                raise ValueError(
                    f"the model '{name}' uses the features '{model.features}', which are not "
                    f"among those of the file ({', '.join(self.features) or 'none'}); add them "
                    "under features"
                )
            for what in ("confidence", "check", "clean"):
                if f"{name}-{what}" in self.models:
                    raise ValueError(
                        f"the model '{name}-{what}' would overwrite the {what} map of "
                        f"'{name}'; rename it"
                    )
        return self

    @model_validator(mode="after")
    def _check_splits(self) -> "Experiment":
        split = self.split
        if self.learning_curve and not isinstance(
            getattr(split, "train", None), int | float
        ):
            raise ValueError(
                f"learning_curve trains on shares, and a split of kind {split.kind} has none; "
                "split by random, blocks, fields or clusters"
            )
        # A window file may have a validation part of its own, which is seen when it is read.
        if self.map == "best" and not (split.validation or split.kind == "windows"):
            raise ValueError(
                "map: best chooses by validation pixels; set split.validation to a share above 0"
            )
        least = max(self.window - 1, 2)
        guard = split.guard if isinstance(split, BlocksSpec) else "auto"
        if self.gap and (
            not isinstance(split, BlocksSpec)
            or guard == "auto"
            or guard < least
            or not gap_splits(split, guard).items() <= self.beside.items()
        ):
            raise ValueError(
                "gap: true compares three splits that train on one share: split must be blocks "
                f"with a guard of {least} pixels or more, beside.centre-free the same blocks "
                "with half that guard, and beside.random random pixels; have hypercover gap "
                "write them"
            )
        return self

    @property
    def quick(self) -> tuple[str, ...]:
        """Models that train quickly and report first, if networks follow."""
        names = tuple(
            name for name, spec in self.models.items() if not isinstance(spec, CNNSpec)
        )
        return names if len(names) < len(self.models) else ()

    @property
    def used_features(self) -> tuple[str, ...]:
        """Names of the chains that models use, in the order of the file."""
        used = {model.features for model in self.models.values()}
        return tuple(name for name in self.features if name in used)

    @property
    def refits(self) -> bool:
        """Whether the models that map are trained again on all labelled pixels."""
        again = self.map is not False and self.map_from == "all"
        return again and self.split.kind != "none"

    @property
    def window(self) -> int:
        """Largest window of the models, in pixels."""
        return max(model.window for model in self.models.values())

    @property
    def splits(self) -> dict[str, SplitSpec]:
        """The split itself as ``main``, the additional ones, and those of the curve."""
        return {"main": self.split, **self.beside, **self.curve_splits}

    @property
    def curve_splits(self) -> dict[str, SplitSpec]:
        """The split with each training share of the learning curve."""
        return {
            f"train-{share}": self.split.model_copy(update={"train": share})
            for share in self.learning_curve
        }

    def check_names(
        self,
        *,
        models: Collection[str] = (),
        features: Collection[str] = (),
        split: str = ALL,
        seed: int | None = None,
    ) -> None:
        """Refuse models, features and splits that this experiment does not have.

        A plan is a separate file, which may belong to another experiment.

        Parameters
        ----------
        seed : number of a draw of the split

        Raises
        ------
        ExperimentError
        """
        again = "make the plan again with hypercover plan --ready"
        for what, names, own in (
            ("model", models, self.models),
            ("features", features, self.features),
            ("split", [] if split == ALL else [split], self.splits),
        ):
            for name in names:
                if name not in own:
                    raise ExperimentError(
                        f"The plan names the {what} {name!r}, but the experiment next to it has "
                        f"{', '.join(own) or 'none'}; {again}."
                    )
        draws = () if split == ALL else self.draws(split)
        if seed is not None and draws and seed not in draws:
            raise ExperimentError(
                f"The plan names the seed {seed} of the split {split!r}, but the experiment "
                f"next to it has {draws[0]} to {draws[-1]}; {again}."
            )

    def draws(self, split: str) -> range:
        """Return a number for each draw of a split: one per seed, or one per seed and fold.

        The names of tasks and files hold this number.
        """
        return range(self.seed, self.seed + self.repeats * self.splits[split].draws)

    def origin(self, split: str, draw: int) -> tuple[int, int]:
        """Return the seed of a draw, and the number of its fold, from 0."""
        repeat, fold = divmod(draw - self.seed, self.splits[split].draws)
        return self.seed + repeat, fold

    @property
    def trials(self) -> list[tuple[str, int]]:
        """Every split with the number of each of its draws, in order."""
        return [(split, draw) for split in self.splits for draw in self.draws(split)]
