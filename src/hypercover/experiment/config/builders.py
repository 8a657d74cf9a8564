"""Scenes, splits and classifiers, built from the specs of an experiment."""

import hashlib
import json
import re
from functools import lru_cache
from typing import Any

import numpy as np

from hypercover.experiment.config import schema
from hypercover.scene.file_identity import file_identity, recorded_identity
from hypercover.scene.io.reading import check_usable, label_losses, open_mask, open_scene
from hypercover.scene.labels import replaced_options
from hypercover.scene.scene import Scene, blank_invalid
from hypercover.scene.selection import crop, drop_classes, select_bands
from hypercover.splits.blocks import BlockSplit
from hypercover.splits.cross_validation import KFoldSplit, LeaveOneOutSplit
from hypercover.splits.fields import ClusterSplit, FieldSplit
from hypercover.splits.predefined_splits import (
    MaskSplit,
    PublishedSplit,
    SavedSplit,
    saved_split_path,
)
from hypercover.splits.random_split import RandomSplit
from hypercover.splits.split import Split

MAX_CUBE_BYTES = 2**30
"""Bytes of the largest cube that is held in memory; others are read in strips."""
_OPENING = {
    "variable",
    "label_variable",
    "axes",
    "label_field",
    "label_layer",
    "legend",
    "name",
    "nodata",
}
"""Settings of a scene that opening it takes."""


def load_scene(spec: schema.SceneSpec) -> Scene:
    """Open the scene of an experiment, with its bands and classes selected."""
    return _scene(
        spec.model_dump_json(), file_identity(spec.path), file_identity(spec.labels)
    )


@lru_cache(maxsize=1)
def _scene(spec_json: str, *_identities: object) -> Scene:
    """Open a scene once for all tasks of a process."""
    spec = schema.SceneSpec.model_validate_json(spec_json)
    scene = open_scene(spec.path, spec.labels, **spec.model_dump(include=_OPENING))
    if spec.crop is not None:
        scene = crop(scene, spec.crop)
    if spec.keep_bands is not None or spec.drop_bands is not None:
        scene = select_bands(scene, keep=spec.keep_bands, drop=spec.drop_bands)
    if spec.drop_classes or spec.min_pixels:
        codes = tuple(item for item in spec.drop_classes if isinstance(item, int))
        names = tuple(item for item in spec.drop_classes if isinstance(item, str))
        scene = drop_classes(scene, codes=codes, names=names, min_pixels=spec.min_pixels)
    if scene.cube.nbytes <= MAX_CUBE_BYTES:
        # Loaded first, so that the search for pixels without data reads no file twice.
        scene = scene.load()
    check_usable(scene)
    return scene.replace(losses=(*scene.losses, *label_losses(scene)))


def forget_scene() -> None:
    """Release the scene that was opened last, before other processes do the work."""
    _scene.cache_clear()


def all_labelled(scene: Scene, *, kind: str, seed: int) -> Split:
    """Return the split in which all labelled pixels are training pixels."""
    labelled = scene.usable_labels > 0
    nowhere = np.zeros_like(labelled)
    return Split.from_parts(train=labelled, test=nowhere, kind=kind, seed=seed)


_NO_PARAMETERS = {"window", "windows", "features", "nwfe"}
"""Settings of a model that its classifier does not take."""
_SPLITTERS: dict[type[Any], Any] = {
    schema.RandomSpec: RandomSplit,
    schema.BlocksSpec: BlockSplit,
    schema.FieldsSpec: FieldSplit,
    schema.ClustersSpec: ClusterSplit,
    schema.KFoldSpec: KFoldSplit,
    schema.LeaveOneOutSpec: LeaveOneOutSplit,
    schema.PublishedSpec: PublishedSplit,
}
"""Splitters with the same settings as their spec."""


def build_split(
    spec: schema.SplitSpec, scene: Scene, *, seed: int, window: int, fold: int = 0
) -> Split:
    """Make the split of a spec; with folds, the one with number ``fold``."""
    if isinstance(spec, schema.WindowsSplitSpec):
        from hypercover.experiment.window_export import split_of

        share = spec.validation
        return split_of(spec.path, scene, validation=share, seed=seed, window=window)
    if isinstance(spec, schema.NoneSpec):
        return all_labelled(scene, kind="none", seed=seed)
    folds = {"fold": fold} if spec.draws > 1 else {}
    split: Split = _splitter(spec, scene).split(
        scene.usable_labels, seed=seed, window=window, **folds
    )
    return split


def _splitter(spec: schema.SplitSpec, scene: Scene) -> Any:
    """Return the splitter that a spec describes."""
    if isinstance(spec, schema.MasksSpec):
        return _masks(spec, scene)
    if isinstance(spec, schema.SavedSpec):
        return SavedSplit(spec.path, spec.sha256)
    settings = spec.model_dump(exclude={"kind"})
    if isinstance(spec, schema.LeaveOneOutSpec):
        del settings["validation"]
    if "folds" in settings:
        settings["n_splits"] = settings.pop("folds")
    if isinstance(spec, schema.ClustersSpec) and spec.order == "spread":
        settings["values"] = blank_invalid(np.asarray(scene.cube.values), scene.valid)
    return _SPLITTERS[type(spec)](**settings)


def _masks(spec: schema.MasksSpec, scene: Scene) -> MaskSplit:
    """Read the masks of a spec."""
    masks: dict[str, Any] = {"test": None}
    notes: tuple[str, ...] = ()
    for part, path in (("train", spec.train), ("test", spec.test)):
        if path is not None:
            # Messages about options of labels name the keys of the split.
            parts = ("layer", "field", "variable")
            keys = {f"--label-{x} NAME": f"{part}_{x} of the split" for x in parts}
            keys |= {" (scene.label_layer)": "", "--label-": f"{part}_"}
            names = (
                getattr(spec, f"{part}_{key}") for key in ("variable", "field", "layer")
            )
            with replaced_options(keys):
                masks[part], more = open_mask(path, scene, *names)
            notes += more
    return MaskSplit(**masks, validation=spec.validation, notes=notes)


def build_classifier(spec: schema.ModelSpec, *, seed: int, device: str = "auto") -> Any:
    """Make the untrained classifier of a spec."""
    if isinstance(spec, schema.SklearnSpec):
        from hypercover.classifiers.sklearn_wrapper import sklearn_classifier

        return sklearn_classifier(spec.estimator, spec.parameters, random_state=seed)
    # The classifier has defaults for the rest, and what is searched is set after the search.
    settings = spec.model_dump(exclude={"kind"} | _NO_PARAMETERS, exclude_none=True)
    settings = {name: value for name, value in settings.items() if value != "search"}
    if isinstance(spec, schema.CNNSpec):
        from hypercover.classifiers.cnn.cnn_classifier import CNNClassifier

        return CNNClassifier(**settings, random_state=seed, device=device)
    from hypercover.classifiers.svm.svm_classifier import SVMClassifier
    from hypercover.features.nwfe import NWFE

    reduction = None if spec.nwfe is None else NWFE(spec.nwfe)
    return SVMClassifier(**settings, reduction=reduction, random_state=seed)


def trusted_packages(spec: schema.ModelSpec) -> tuple[str, ...]:
    """Return the package of an estimator, whose types the model of a run may contain."""
    return (
        (re.split("[.:]", spec.estimator)[0],)
        if isinstance(spec, schema.SklearnSpec)
        else ()
    )


def describe_model(spec: schema.ModelSpec, chain: str | None = None) -> str:
    """Describe a model in a few words.

    ``chain`` is the text of its image features, if it has any.
    """
    inputs = "spectra" if chain is None else f"image features {chain}"
    if isinstance(spec, schema.SVMSpec):
        reduced = f", reduced to {spec.nwfe} features by NWFE" if spec.nwfe else ""
        searched = [name for name in ("C", "gamma") if getattr(spec, name) == "search"]
        tuned = f", {' and '.join(searched)} by cross-validation" if searched else ""
        return f"RBF SVM on standardised {inputs}{reduced}{tuned}"
    if isinstance(spec, schema.CNNSpec):
        of = "" if chain is None else f" of the {inputs}"
        return f"CNN {spec.network!r} on {spec.window} × {spec.window} windows{of}"
    return f"{spec.estimator} on standardised {inputs}"


def fingerprint(experiment: schema.Experiment, *parts: Any) -> str:
    """Hash the scene and whatever else a task depends on, with files and package versions.

    A task is done again if its fingerprint has changed: because of its scene, split, model
    or seed, or because a package has another version.
    """
    files = [experiment.scene.path, experiment.scene.labels, experiment.scene.legend]
    for part in parts:
        if isinstance(part, schema.MasksSpec):
            files += [part.train, part.test]
        if isinstance(part, schema.WindowsSplitSpec):
            files.append(part.path)
        if isinstance(part, schema.SavedSpec):
            folder, stem = saved_split_path(part.path)
            files += [folder / f"{stem}.json", folder / f"{stem}.tif"]
        if isinstance(part, schema.CNNSpec):
            files.append(part.windows)
    values = [
        experiment.versions,
        experiment.scene.model_dump(mode="json"),
        [recorded_identity(path, styled=path == experiment.scene.labels) for path in files],
        [
            part.model_dump(mode="json") if hasattr(part, "model_dump") else part
            for part in parts
        ],
    ]
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]
