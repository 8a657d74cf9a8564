"""The problem of a grid search: samples, folds, preprocessing, and its finished cells."""

import hashlib
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, Field, ValidationError, model_validator

from hypercover.errors import ExperimentError
from hypercover.experiment.config import schema
from hypercover.experiment.config.builders import build_classifier, build_split, fingerprint
from hypercover.files import atomic, write_json
from hypercover.jobs.local import cores
from hypercover.memory import available_bytes
from hypercover.scene.samples import Samples
from hypercover.scene.scene import Scene
from hypercover.splits.folds import BlockFolds, ClusterFolds, Fold, Folds, RandomFolds
from hypercover.types import Arrays, Ints, Report

if TYPE_CHECKING:
    from hypercover.classifiers.svm.svm_classifier import SVMClassifier
    from hypercover.classifiers.svm.svm_cross_validation import CVProblem

Spectra = npt.NDArray[np.floating]

_FITTED = ("mean_", "scale_", "projection_", "offset_")
"""Attributes of a classifier that its preprocessing fits."""


_MAX_BYTES = 64 * 2**20
"""Bytes of the largest file of cells that is read."""
_NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False, strict=True)]
_Count = Annotated[int, Field(ge=0, strict=True)]


class Cell(BaseModel, extra="forbid", frozen=True):
    """The result of one C and gamma in some or all folds."""

    C: _NonNegative
    """Cost of a sample on the wrong side."""
    folds: tuple[_Count, ...]
    """Numbers of the folds, from 0."""
    correct: tuple[_Count, ...]
    """Held-out samples that were classified right, for each of these folds."""
    seconds: _NonNegative
    """Seconds that all threads together spent on it."""
    began: _NonNegative
    """When the work on it began, in seconds since 1970."""
    ended: _NonNegative
    """When it was finished."""

    @model_validator(mode="after")
    def _check_counts(self) -> "Cell":
        if len(self.folds) != len(self.correct):
            raise ValueError("a cell needs a count for each of its folds")
        return self


class _Cells(BaseModel):
    cells: tuple[Cell, ...]


class CellFile:
    """The finished cells of one row of the grid, in a file that is written atomically.

    If a search is killed, only the current cells are lost.  The name of the file holds a
    hash of everything the cells depend on, so that a larger grid, or a run with a search,
    finds them again.  A file that is missing or damaged holds no cells.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.cells: tuple[Cell, ...] = ()
        try:
            if path.stat().st_size <= _MAX_BYTES:
                self.cells = _Cells.model_validate_json(path.read_bytes()).cells
        except (OSError, ValidationError):
            pass

    def is_missing(self, C: float, folds: Sequence[int]) -> bool:
        """Tell whether a cell is still to be done in some of these folds."""
        done = {fold for cell in self.cells if cell.C == C for fold in cell.folds}
        return not done.issuperset(folds)

    def add(self, *cells: Cell) -> None:
        """Add finished cells to the file."""
        self.cells = (*self.cells, *cells)
        write_json(self.path, _Cells(cells=self.cells).model_dump(mode="json"))


class GammaValue(NamedTuple):
    """One gamma of a grid."""

    gamma: float
    """Gamma of the RBF kernel."""
    scale: float | None
    """The multiple of the width ``scale`` that the grid gives; None for a plain number."""


def searched_svm(experiment: schema.Experiment, model: str) -> schema.SVMSpec:
    """Return the spec of a model, which must be an SVM.

    Raises
    ------
    ExperimentError
        If the model is of another kind.
    """
    spec = experiment.models[model]
    if not isinstance(spec, schema.SVMSpec):
        raise ExperimentError(
            f"Only models of kind svm have a C and a gamma to search, but {model} is of "
            f"kind {spec.kind}; name another model."
        )
    return spec


def samples_for(experiment: schema.Experiment, scene: Scene) -> Samples:
    """Return the samples of a search.

    They are the training pixels of the main split with the first seed or, with ``on: all``,
    every labelled pixel.
    """
    labels = scene.usable_labels
    if experiment.search.on == "all":
        return Samples.of(labels)
    seed, window = experiment.seed, experiment.window
    split = build_split(experiment.split, scene, seed=seed, window=window)
    return split.samples("train", labels)


def folds_for(
    spec: schema.SearchSpec,
    by: schema.FoldKind,
    samples: Samples,
    *,
    scene: Scene,
    seed: int,
) -> Folds:
    """Make the folds of one kind."""
    makers: dict[schema.FoldKind, RandomFolds | BlockFolds | ClusterFolds] = {
        "random": RandomFolds(spec.folds),
        "blocks": BlockFolds(spec.folds, spec.size, spec.guard),
        "clusters": ClusterFolds(spec.folds, spec.guard),
    }
    return makers[by].folds(samples, seed=seed, legend=scene.legend)


def preferred_folds(split: str, by: Sequence[schema.FoldKind]) -> schema.FoldKind:
    """Return the kind of folds by which parameters are chosen under a split.

    For a split with a guard it is the first kind with a guard, otherwise the first kind.

    Examples
    --------
    >>> preferred_folds("blocks", ["random", "clusters", "blocks"])
    'clusters'
    >>> preferred_folds("random", ["random", "blocks"])
    'random'
    """
    guarded = [kind for kind in by if kind != "random"]
    return guarded[0] if split in schema.GUARDED and guarded else by[0]


@dataclass(frozen=True, eq=False)
class SearchProblem:
    """Samples, folds and a classifier whose C and gamma are searched.

    ``hypercover search`` and a run with ``C: search`` share it, and so their finished cells.
    """

    spectra: Spectra
    """Spectra or image features of the samples (n, band)."""
    labels: Ints
    """Class code of each sample (n,)."""
    folds: Folds
    """Training and held-out samples of each fold."""
    classifier: "SVMClassifier"
    """The untrained classifier."""
    key: str
    """Hash of everything that a cell depends on, except C and gamma."""
    home: Path
    """Folder for cells and fitted reductions."""

    @classmethod
    def of(
        cls,
        experiment: schema.Experiment,
        model: str,
        scene: Scene,
        folds: Folds,
        home: Path,
        *,
        seed: int,
    ) -> "SearchProblem":
        """Make the problem of one model; ``scene`` holds its bands or features."""
        spec, samples = searched_svm(experiment, model), folds.samples
        values = np.asarray(scene.cube.values)[:, samples.rows, samples.cols].T
        positions = np.column_stack((samples.rows, samples.cols, samples.labels))
        chain = spec.features and (experiment.features[spec.features], experiment.seed)
        facts = (
            spec.model_dump(mode="json", exclude={"C", "gamma", "probability"}),
            chain,
            hashlib.sha256(positions.astype("<i8").tobytes()).hexdigest(),
            {key: value for key, value in folds.to_json().items() if key != "notes"},
        )
        return cls(
            np.ascontiguousarray(values),
            samples.labels,
            folds,
            build_classifier(spec, seed=seed),
            fingerprint(experiment, *facts),
            home,
        )

    def _untrained(self) -> "SVMClassifier":
        from sklearn.base import clone

        classifier: SVMClassifier = clone(self.classifier)
        return classifier

    @cached_property
    def whole(self) -> "SVMClassifier":
        """The classifier with its preprocessing fitted on all samples."""
        return self._untrained().fit_preprocessing(self.spectra, self.labels)

    @cached_property
    def _preprocessed(self) -> Spectra:
        return self.whole.preprocess(self.spectra)

    @property
    def features(self) -> int:
        """Number of values of a preprocessed sample."""
        return int(self._preprocessed.shape[1])

    @cached_property
    def scale_gamma(self) -> float:
        """The value of ``gamma: scale`` over all samples."""
        return 1.0 / (self.features * (float(self._preprocessed.var()) or 1.0))

    def gamma_value(
        self, *, gamma: float | None = None, scale: float | None = None
    ) -> GammaValue:
        """Return a gamma that is given as a number, or as a multiple of ``scale``."""
        if gamma is not None:
            return GammaValue(gamma, None)
        multiple = 1.0 if scale is None else scale
        return GammaValue(multiple * self.scale_gamma, multiple)

    def preprocessors(self, report: Report) -> list["SVMClassifier"]:
        """Return for each fold a classifier with preprocessing fitted on its training samples.

        Fitting NWFE may cost more than a row of the grid, so the arrays are kept in a file
        that all rows share.  A missing or damaged file is made again.
        """
        path = self.home / f"preprocessing-{self.key}.npz"
        fitted = [self._untrained() for _ in self.folds]
        try:
            with np.load(path, allow_pickle=False) as arrays:
                for number, classifier in enumerate(fitted):
                    self._restore(classifier, [arrays[f"{number}-{x}"] for x in _FITTED])
        except (OSError, ValueError, KeyError, EOFError, BadZipFile):
            kept: Arrays = {}
            for number, (train, _) in enumerate(self.folds):
                report(number / len(fitted), "learning features in each fold")
                classifier = fitted[number]
                classifier.fit_preprocessing(self.spectra[train], self.labels[train])
                kept |= {f"{number}-{name}": getattr(classifier, name) for name in _FITTED}
            with atomic(path) as draft:
                np.savez(draft, **kept)  # type: ignore[arg-type]
        return fitted

    def _restore(self, classifier: "SVMClassifier", arrays: Sequence[Spectra]) -> None:
        """Restore kept arrays, which must fit the spectra and be finite."""
        bands, features = self.spectra.shape[1], len(arrays[-1])
        shapes = [(bands,), (bands,), (features, bands), (features,)]
        if [array.shape for array in arrays] != shapes:
            raise ValueError("the arrays are of other shapes")
        if not all(np.isfinite(array).all() for array in arrays):
            raise ValueError("the arrays are not finite")
        classifier.n_features_in_ = bands
        for name, array in zip(_FITTED, arrays, strict=True):
            setattr(classifier, name, array)

    def views(self, report: Report) -> Iterator[tuple[tuple[int, ...], "CVProblem"]]:
        """Yield folds with the samples as they see them: all at once if only scaled.

        A reduction learns from labels, so it must not see those of held-out samples.
        """
        if self.classifier.reduction is None:
            yield tuple(range(len(self.folds))), self._scaled
            return
        # One after another: the distances of all folds together may not fit into memory.
        for number, classifier in enumerate(self.preprocessors(report)):
            parts = self.folds.parts[number : number + 1]
            yield (number,), self._problem_of(classifier, parts)

    @cached_property
    def _scaled(self) -> "CVProblem":
        """The samples scaled once for all folds; every gamma shares their distances."""
        return self._problem_of(self.whole, self.folds.parts)

    def _problem_of(
        self, classifier: "SVMClassifier", folds: Sequence[Fold]
    ) -> "CVProblem":
        from hypercover.classifiers.svm.svm_cross_validation import CVProblem
        from hypercover.classifiers.svm.threads import default_threads

        features = classifier.preprocess(self.spectra)
        # Parallel workers have a share of the cores each, and use that of half the memory.
        share = min(1.0, default_threads() / cores())
        memory = int(available_bytes() / 2 * share)
        pairs = [(fold.train, fold.test) for fold in folds]
        return CVProblem.of(features, self.labels, pairs, memory=memory)

    def solve(
        self, gamma: float, costs: Iterable[float], report: Report
    ) -> tuple[Cell, ...]:
        """Compute the missing cells of one gamma, and return all."""
        costs = tuple(sorted(costs))
        digest = hashlib.sha256(f"{self.key} {gamma!r}".encode()).hexdigest()[:24]
        file = CellFile(self.home / f"cells-{digest}.json")
        if any(file.is_missing(C, range(len(self.folds))) for C in costs):
            for folds, problem in self.views(report):
                missing = tuple(C for C in costs if file.is_missing(C, folds))
                if missing:
                    file.add(*self._solve(problem, folds, gamma, missing, report))
        return tuple(cell for cell in file.cells if cell.C in costs)

    def _solve(
        self,
        problem: "CVProblem",
        folds: tuple[int, ...],
        gamma: float,
        costs: tuple[float, ...],
        report: Report,
    ) -> list[Cell]:
        """Compute the cells of one gamma, which share its kernel."""
        from hypercover.classifiers.svm.svm_cross_validation import cross_validate_gamma

        def progress(share: float, what: str) -> None:
            report((folds[0] + share * len(folds)) / len(self.folds), what)

        began = time.time()
        row = cross_validate_gamma(
            problem,
            gamma=gamma,
            C=costs,
            class_weight=self.classifier.class_weight,
            progress=progress,
        )
        times = {"began": began, "ended": max(time.time(), began)}
        return [
            Cell(C=C, folds=folds, correct=correct, seconds=seconds, **times)
            for C, correct, seconds in zip(
                costs, row.correct.tolist(), row.seconds.tolist(), strict=True
            )
        ]
