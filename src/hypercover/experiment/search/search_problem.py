"""The problem of a grid search: samples, folds and preprocessing."""

import hashlib
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from hypercover.errors import ExperimentError
from hypercover.experiment.config.builders import (
    build_classifier,
    build_split,
    fingerprint,
)
from hypercover.experiment.config.schema import (
    GUARDED,
    Experiment,
    FoldKind,
    SearchSpec,
    SVMSpec,
)
from hypercover.experiment.search.search_table import Cell, CellFile, GammaValue
from hypercover.files import atomic
from hypercover.jobs.local import cores
from hypercover.memory import available_bytes
from hypercover.scene.samples import Samples
from hypercover.scene.scene import Scene
from hypercover.splits.folds import BlockFolds, ClusterFolds, Folds, RandomFolds
from hypercover.types import Ints, Report

if TYPE_CHECKING:
    from hypercover.classifiers.svm.cv_problem import CVProblem
    from hypercover.classifiers.svm.svm_classifier import SVMClassifier


_ARRAYS = ("mean_", "scale_", "projection_", "offset_")


def fold_preprocessors(
    problem: "SearchProblem", path: Path, report: Report
) -> list["SVMClassifier"]:
    """Return for each fold a classifier with preprocessing fitted on its training samples.

    Fitting NWFE may cost more than a row of the grid, so the arrays are kept in a file that
    all rows share.  A missing or damaged file is made again.
    """
    try:
        return _read(problem, path)
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        fitted = _fitted(problem, report)
    arrays = {
        f"{number}-{name}": getattr(classifier, name)
        for number, classifier in enumerate(fitted)
        for name in _ARRAYS
    }
    with atomic(path) as draft:
        np.savez(draft, **arrays)
    return fitted


def _fitted(problem: "SearchProblem", report: Report) -> list["SVMClassifier"]:
    from sklearn.base import clone

    fitted: list[SVMClassifier] = []
    for train, _ in problem.folds:
        report(len(fitted) / len(problem.folds), "learning features in each fold")
        classifier = clone(problem.classifier)
        fitted.append(
            classifier.fit_preprocessing(problem.spectra[train], problem.labels[train])
        )
    return fitted


def _read(problem: "SearchProblem", path: Path) -> list["SVMClassifier"]:
    """Read the kept arrays, which must fit the spectra and be finite."""
    from sklearn.base import clone

    fitted = [clone(problem.classifier) for _ in range(len(problem.folds))]
    bands = problem.spectra.shape[1]
    with np.load(path, allow_pickle=False) as found:
        for number, classifier in enumerate(fitted):
            mean, scale, projection, offset = (
                found[f"{number}-{name}"] for name in _ARRAYS
            )
            shapes = (mean.shape, scale.shape, projection.shape, offset.shape)
            if shapes != ((bands,), (bands,), (len(offset), bands), (len(offset),)):
                raise ValueError(f"{path} holds arrays of other shapes")
            if not all(
                np.isfinite(part).all() for part in (mean, scale, projection, offset)
            ):
                raise ValueError(f"{path} holds values that are not finite")
            classifier.n_features_in_, classifier.mean_, classifier.scale_ = (
                bands,
                mean,
                scale,
            )
            classifier.projection_, classifier.offset_ = projection, offset
    return fitted


Floats = npt.NDArray[np.floating]


def searched_svm(experiment: Experiment, model: str) -> SVMSpec:
    """Return the spec of a model, which must be an SVM.

    Raises
    ------
    ExperimentError
        If the model is of another kind.
    """
    spec = experiment.models[model]
    if not isinstance(spec, SVMSpec):
        raise ExperimentError(
            f"Only models of kind svm have a C and a gamma to search, but {model} is of "
            f"kind {spec.kind}; name another model."
        )
    return spec


def samples_for(experiment: Experiment, scene: Scene) -> Samples:
    """Return the samples of a search.

    They are the training pixels of the main split with the first seed or, with ``on: all``,
    every labelled pixel.
    """
    labels = scene.usable_labels
    if experiment.search.on == "all":
        return Samples.of(labels)
    split = build_split(
        experiment.split, scene, seed=experiment.seed, window=experiment.window
    )
    return split.samples("train", labels)


def folds_for(
    spec: SearchSpec, by: FoldKind, samples: Samples, *, scene: Scene, seed: int
) -> Folds:
    """Make the folds of one kind."""
    makers: dict[FoldKind, RandomFolds | BlockFolds | ClusterFolds] = {
        "random": RandomFolds(spec.folds),
        "blocks": BlockFolds(spec.folds, spec.size, spec.guard),
        "clusters": ClusterFolds(spec.folds, spec.guard),
    }
    return makers[by].folds(samples, seed=seed, legend=scene.legend)


def preferred_folds(split: str, by: Sequence[FoldKind]) -> FoldKind:
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
    return guarded[0] if split in GUARDED and guarded else by[0]


def _memory_share() -> int:
    """Return the bytes a search may use: half of the free memory, or its share of that.

    Parallel workers have a share of the cores each, and use the same share of the memory.
    """
    from hypercover.classifiers.svm.threads import default_threads

    share = min(1.0, default_threads() / cores())
    return int(available_bytes() / 2 * share)


def _silent(_share: float, _what: str) -> None:
    """Ignore progress."""


@dataclass(frozen=True, eq=False)
class FoldFeatures:
    """The preprocessed samples of some of the folds."""

    problem: "CVProblem"
    """The preprocessed samples, whose distances all rows share."""
    folds: tuple[int, ...]
    """Numbers of the folds, from 0."""


@dataclass(frozen=True, eq=False)
class SearchProblem:
    """Samples, folds and a classifier whose C and gamma are searched.

    ``hypercover search`` and a run with ``C: search`` share it, and so their finished cells.
    """

    spectra: Floats
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
        experiment: Experiment,
        model: str,
        scene: Scene,
        folds: Folds,
        home: Path,
        *,
        seed: int,
    ) -> "SearchProblem":
        """Make the problem of one model; ``scene`` holds its bands or features."""
        spec = searched_svm(experiment, model)
        samples = folds.samples
        values = np.asarray(scene.cube.values)
        positions = np.column_stack((samples.rows, samples.cols, samples.labels))
        facts = (
            spec.model_dump(mode="json", exclude={"C", "gamma", "probability"}),
            (experiment.features[spec.features], experiment.seed)
            if spec.features
            else None,
            hashlib.sha256(positions.astype("<i8").tobytes()).hexdigest(),
            {key: value for key, value in folds.to_json().items() if key != "notes"},
        )
        return cls(
            np.ascontiguousarray(values[:, samples.rows, samples.cols].T),
            samples.labels,
            folds,
            build_classifier(spec, seed=seed),
            fingerprint(experiment, *facts),
            home,
        )

    @cached_property
    def whole(self) -> "SVMClassifier":
        """The classifier with its preprocessing fitted on all samples."""
        from sklearn.base import clone

        fitted: SVMClassifier = clone(self.classifier)
        return fitted.fit_preprocessing(self.spectra, self.labels)

    @cached_property
    def width(self) -> float:
        """The value of ``gamma: scale`` over all samples."""
        return 1.0 / (self.features * (float(self._preprocessed.var()) or 1.0))

    @property
    def features(self) -> int:
        """Number of values of a preprocessed sample."""
        return int(self._preprocessed.shape[1])

    @cached_property
    def _preprocessed(self) -> Floats:
        return self.whole.preprocess(self.spectra)

    def gamma_value(
        self, *, gamma: float | None = None, scale: float | None = None
    ) -> GammaValue:
        """Return a gamma that is given as a number, or as a multiple of ``scale``."""
        if gamma is not None:
            return GammaValue(gamma, None)
        multiple = 1.0 if scale is None else scale
        return GammaValue(multiple * self.width, multiple)

    def views(self) -> Iterator[FoldFeatures]:
        """Yield the preprocessed samples: of all folds if they are only scaled, else by fold.

        A reduction learns from labels, so it must not see those of held-out samples.
        """
        if self.classifier.reduction is None:
            yield self._whole_view
            return
        # One after another: the distances of all folds together may not fit into memory.
        for number, classifier in enumerate(self.preprocessors(_silent)):
            yield self._view(classifier, (number,))

    def preprocessors(self, report: Report) -> list["SVMClassifier"]:
        """Return for each fold a classifier with preprocessing fitted on its training samples."""
        return fold_preprocessors(self, self.home / f"eyes-{self.key}.npz", report)

    @cached_property
    def _whole_view(self) -> FoldFeatures:
        """The samples scaled once for all folds; every gamma shares their distances."""
        return self._view(self.whole, tuple(range(len(self.folds))))

    def _view(self, classifier: "SVMClassifier", folds: tuple[int, ...]) -> FoldFeatures:
        from hypercover.classifiers.svm.cv_problem import CVProblem

        pairs = [(self.folds.parts[n].train, self.folds.parts[n].test) for n in folds]
        seen = classifier.preprocess(self.spectra)
        return FoldFeatures(
            CVProblem.of(seen, self.labels, pairs, memory=_memory_share()), folds
        )

    def cells_of(self, gamma: float) -> CellFile:
        """Return the file of finished cells of one gamma."""
        digest = hashlib.sha256(f"{self.key} {gamma!r}".encode()).hexdigest()[:24]
        return CellFile(self.home / f"cells-{digest}.json")

    def solve(
        self, gamma: float, costs: Iterable[float], report: Report
    ) -> tuple[Cell, ...]:
        """Compute the missing cells of one gamma, and return all."""
        costs, file = tuple(sorted(costs)), self.cells_of(gamma)
        if any(file.is_missing(C, range(len(self.folds))) for C in costs):
            for view in self.views():
                missing = tuple(C for C in costs if file.is_missing(C, view.folds))
                if missing:
                    file.add(*self._solve(view, gamma, missing, report))
        return tuple(cell for cell in file.cells if cell.C in costs)

    def _solve(
        self, view: FoldFeatures, gamma: float, costs: tuple[float, ...], report: Report
    ) -> list[Cell]:
        """Compute the cells of one gamma, which share its kernel."""
        from hypercover.classifiers.svm.svm_cross_validation import cross_validate_gamma

        def progress(share: float, what: str) -> None:
            report((view.folds[0] + share * len(view.folds)) / len(self.folds), what)

        began = time.time()
        row = cross_validate_gamma(
            view.problem,
            gamma=gamma,
            C=costs,
            class_weight=self.classifier.class_weight,
            progress=progress,
        )
        ended = max(time.time(), began)
        return [
            Cell(
                C,
                view.folds,
                tuple(row.correct[at].tolist()),
                float(row.seconds[at]),
                began,
                ended,
            )
            for at, C in enumerate(costs)
        ]
