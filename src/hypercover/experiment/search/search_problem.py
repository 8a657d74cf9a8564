"""What a search is about: samples, folds, and what the machines see of them."""

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
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

if TYPE_CHECKING:
    from hypercover.classifiers.svm.cv_problem import CVProblem
    from hypercover.classifiers.svm.svm_classifier import SVMClassifier

__all__ = [
    "SearchProblem",
    "fold_preprocessors",
    "folds_for",
    "preferred_folds",
    "samples_for",
    "searched_svm",
]

_ARRAYS = ("mean_", "scale_", "projection_", "offset_")


def fold_preprocessors(
    case: "SearchProblem", path: Path, report: Callable[[float, str], None]
) -> list["SVMClassifier"]:
    """Return a classifier a fold whose preprocessing knows only its training samples.

    Why it exists: learning NWFE costs more than many a row of the grid, and all
    rows share it.  The file holds plain arrays; one that is missing or damaged
    is made again.
    """
    try:
        return _read(case, path)
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        eyes = _fitted(case, report)
    arrays = {
        f"{number}-{name}": getattr(eye, name)
        for number, eye in enumerate(eyes)
        for name in _ARRAYS
    }
    with atomic(path) as draft:
        np.savez(draft, **arrays)
    return eyes


def _fitted(
    case: "SearchProblem", report: Callable[[float, str], None]
) -> list["SVMClassifier"]:
    from sklearn.base import clone

    eyes: list[SVMClassifier] = []
    for train, _ in case.folds:
        report(len(eyes) / len(case.folds), "learning features in each fold")
        eye = clone(case.classifier)
        eyes.append(eye.fit_preprocessing(case.spectra[train], case.labels[train]))
    return eyes


def _read(case: "SearchProblem", path: Path) -> list["SVMClassifier"]:
    """Read what was kept; the arrays must fit the spectra and be finite."""
    from sklearn.base import clone

    eyes = [clone(case.classifier) for _ in range(len(case.folds))]
    bands = case.spectra.shape[1]
    with np.load(path, allow_pickle=False) as found:
        for number, eye in enumerate(eyes):
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
            eye.n_features_in_, eye.mean_, eye.scale_ = bands, mean, scale
            eye.projection_, eye.offset_ = projection, offset
    return eyes


Report = Callable[[float, str], None]

Floats = npt.NDArray[np.floating]


def searched_svm(experiment: Experiment, model: str) -> SVMSpec:
    """Return the spec of a model after checking that a grid can be searched for it.

    Raises
    ------
    ExperimentError
        If it is of another kind.
    """
    spec = experiment.models[model]
    if not isinstance(spec, SVMSpec):
        raise ExperimentError(
            f"Only models of kind svm have a C and a gamma to search, but {model} is of "
            f"kind {spec.kind}; name another model."
        )
    return spec


def samples_for(experiment: Experiment, scene: Scene) -> Samples:
    """Return the samples that a search may look at.

    Those that the main split trains on with the first seed or, with ``on:
    all``, every labelled pixel.
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
    """Make the folds of one kind that an experiment asks for."""
    makers: dict[FoldKind, RandomFolds | BlockFolds | ClusterFolds] = {
        "random": RandomFolds(spec.folds),
        "blocks": BlockFolds(spec.folds, spec.size, spec.guard),
        "clusters": ClusterFolds(spec.folds, spec.guard),
    }
    return makers[by].folds(samples, seed=seed, legend=scene.legend)


def preferred_folds(split: str, by: Sequence[FoldKind]) -> FoldKind:
    """Return the kind of folds that choose for a split.

    Under a split with a guard the first kind with a guard, under any other the
    first of all.

    Examples
    --------
    >>> preferred_folds("blocks", ["random", "clusters", "blocks"])
    'clusters'
    >>> preferred_folds("random", ["random", "blocks"])
    'random'
    """
    guarded = [kind for kind in by if kind != "random"]
    return guarded[0] if split in GUARDED and guarded else by[0]


def _fair_memory() -> int:
    """Return the bytes a search may take: half of what is free, shared with its like.

    Processes that work side by side have their threads pinned to their share of
    the cores; the same share of the memory is theirs.
    """
    from hypercover.classifiers.svm.threads import default_threads

    share = min(1.0, default_threads() / cores())
    return int(available_bytes() / 2 * share)


def _silent(_share: float, _what: str) -> None:
    """Report to nobody."""


@dataclass(frozen=True, eq=False)
class FoldFeatures:
    """What the machines see of all samples, in some of the folds."""

    problem: "CVProblem"
    """The samples as they are seen, whose distances all rows share."""
    folds: tuple[int, ...]
    """Numbers of the folds, from 0."""


@dataclass(frozen=True, eq=False)
class SearchProblem:
    """Samples, folds and a classifier whose C and gamma are to be found.

    Why it exists: ``hypercover search`` and a run with ``C: search`` ask the
    same question, so they find the same answer in the same kept cells.
    """

    spectra: Floats
    """Spectra or image features of the samples (n, band)."""
    labels: npt.NDArray[np.int64]
    """Class code of each sample (n,)."""
    folds: Folds
    """Which samples train and which are held out."""
    classifier: "SVMClassifier"
    """The untrained classifier."""
    key: str
    """Hash of everything but C and gamma that a cell depends on."""
    home: Path
    """Folder in which cells and fitted reductions are kept."""

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
        """Pose the question for one model; ``scene`` is what the model sees."""
        spec = searched_svm(experiment, model)
        samples = folds.samples
        values = np.asarray(scene.cube.values)
        places = np.column_stack((samples.rows, samples.cols, samples.labels))
        facts = (
            spec.model_dump(mode="json", exclude={"C", "gamma", "probability"}),
            (experiment.features[spec.features], experiment.seed)
            if spec.features
            else None,
            hashlib.sha256(places.astype("<i8").tobytes()).hexdigest(),
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
        """The gamma that ``scale`` stands for, over all samples."""
        return 1.0 / (self.features * (float(self._seen.var()) or 1.0))

    @property
    def features(self) -> int:
        """How many values of a sample the machines see."""
        return int(self._seen.shape[1])

    @cached_property
    def _seen(self) -> Floats:
        return self.whole.preprocess(self.spectra)

    def rung(self, *, gamma: float | None = None, scale: float | None = None) -> GammaValue:
        """Return a gamma given as it is, or as a multiple of that of ``scale``."""
        if gamma is not None:
            return GammaValue(gamma, None)
        multiple = 1.0 if scale is None else scale
        return GammaValue(multiple * self.width, multiple)

    def views(self) -> Iterator[FoldFeatures]:
        """Go through what the machines see: once where there is only scaling, else by fold.

        A reduction has seen labels, so the held-out ones must be kept from it.
        """
        if self.classifier.reduction is None:
            yield self._whole_view
            return
        # One after another: the distances of every fold at once would fill any memory.
        for number, eye in enumerate(self.eyes(_silent)):
            yield self._view(eye, (number,))

    def eyes(self, report: Report) -> list["SVMClassifier"]:
        """Return a classifier a fold whose preprocessing knows its training samples alone."""
        return fold_preprocessors(self, self.home / f"eyes-{self.key}.npz", report)

    @cached_property
    def _whole_view(self) -> FoldFeatures:
        """What the machines see in all folds; its distances serve every gamma."""
        return self._view(self.whole, tuple(range(len(self.folds))))

    def _view(self, eye: "SVMClassifier", folds: tuple[int, ...]) -> FoldFeatures:
        from hypercover.classifiers.svm.cv_problem import CVProblem

        pairs = [(self.folds.parts[n].train, self.folds.parts[n].test) for n in folds]
        seen = eye.preprocess(self.spectra)
        return FoldFeatures(
            CVProblem.of(seen, self.labels, pairs, memory=_fair_memory()), folds
        )

    def cells_of(self, gamma: float) -> CellFile:
        """Return the cells of one gamma that are finished."""
        digest = hashlib.sha256(f"{self.key} {gamma!r}".encode()).hexdigest()[:24]
        return CellFile(self.home / f"cells-{digest}.json")

    def solve(
        self, gamma: float, costs: Iterable[float], report: Report
    ) -> tuple[Cell, ...]:
        """Do the cells of one gamma that are not done, and return them all."""
        wanted, kept = tuple(sorted(costs)), self.cells_of(gamma)
        if any(kept.lacks(C, range(len(self.folds))) for C in wanted):
            for view in self.views():
                missing = tuple(C for C in wanted if kept.lacks(C, view.folds))
                if missing:
                    kept.keep(*self._solve(view, gamma, missing, report))
        return tuple(cell for cell in kept.cells if cell.C in wanted)

    def _solve(
        self, view: FoldFeatures, gamma: float, costs: tuple[float, ...], report: Report
    ) -> list[Cell]:
        """Do a row of cells; one gamma shares its kernel among them."""
        from hypercover.classifiers.svm.svm_cross_validation import cross_validate_gamma

        def said(share: float, what: str) -> None:
            report((view.folds[0] + share * len(view.folds)) / len(self.folds), what)

        began = time.time()
        row = cross_validate_gamma(
            view.problem,
            gamma=gamma,
            C=costs,
            class_weight=self.classifier.class_weight,
            progress=said,
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
