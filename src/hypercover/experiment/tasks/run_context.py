"""What the tasks of a run share: its experiment, scene and splits, and its image features."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib.metadata import version
from pathlib import Path
from platform import python_version
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy
from safetensors import SafetensorError
from safetensors import numpy as safetensors

from hypercover import files
from hypercover.errors import CallError, ModelError, RunError
from hypercover.experiment.config.builders import all_labelled, load_scene
from hypercover.experiment.config.experiment_file import load_experiment
from hypercover.experiment.config.schema import ALL, Experiment, ModelSpec
from hypercover.experiment.results.run_folder import RunFolder
from hypercover.features.chain import Chain
from hypercover.features.feature import feature_scene
from hypercover.scene.metadata import labelled_name
from hypercover.scene.scene import Scene
from hypercover.splits.split import Split

_PACKAGES = ("hypercover", "numpy", "scipy", "scikit-learn", "torch", "rasterio", "xarray")


def versions() -> dict[str, str]:
    """Return the versions that a result depends on."""
    return {"python": python_version()} | {name: version(name) for name in _PACKAGES}


@lru_cache(maxsize=1)
def _experiment(path: Path, _changed: int) -> Experiment:
    return load_experiment(path)


@dataclass(frozen=True)
class RunContext:
    """The run folder, the experiment and the scene of a task."""

    folder: RunFolder
    """Paths of the run."""
    experiment: Experiment
    """The experiment."""

    @classmethod
    def of(cls, folder: str | Path, **names: Any) -> "RunContext":
        """Read the experiment of a run folder.

        Parameters
        ----------
        **names
            Names that the task uses, as `Experiment.check_names` takes them.

        Raises
        ------
        ExperimentError
            If the experiment has no such model, features or split.
        """
        run = RunFolder(Path(folder))
        experiment = _experiment(run.experiment, files.modified_ns(run.experiment))
        experiment.check_names(**names)
        return cls(run, experiment)

    @cached_property
    def scene(self) -> Scene:
        """Image and labels."""
        return load_scene(self.experiment.scene)

    def load_split(self, split: str, seed: int) -> Split:
        """Read a split of the run; in ``all`` every labelled pixel is for training."""
        if split == ALL:
            return all_labelled(self.scene, kind=ALL, seed=seed)
        return Split.load(*self.folder.split(split, seed - self.experiment.seed))

    def load_chain(self, spec: ModelSpec) -> Chain | None:
        """Read the fitted chain of a model's image features; None for the bands."""
        return None if spec.features is None else load_chain(self.folder, spec.features)

    def model_scene(self, spec: ModelSpec) -> Scene:
        """Return the scene of a model's input: its image features, or else the bands.

        Training, searching and mapping thus use the same values, which are computed once.
        A task that calls it needs the task of the features (`feature_needs`).

        Raises
        ------
        RunError
            If the features are missing in the run folder, or damaged.
        """
        if spec.features is None:
            return self.scene
        return load_feature_scene(self.folder, spec.features, self.scene)

    def count_training_pixels(self, parts: Split) -> dict[str, Any]:
        """Count the pixels that a model is trained on, and those of each class."""
        labels = self.scene.usable_labels[parts.mask("train")]
        codes, counts = np.unique(labels, return_counts=True)
        per_class = dict(zip(map(str, codes.tolist()), counts.tolist(), strict=True))
        return {"pixels": int(counts.sum()), "per_class": per_class}

    def title(self, name: str) -> str:
        """Return the title of a figure, with a label if the image was not measured."""
        return labelled_name(name, self.scene.origin)


def parse_chain(experiment: Experiment, name: str) -> Chain:
    """Make a named chain of an experiment, not yet fitted.

    Raises
    ------
    CallError
        If its text is not a chain; the message names it.
    """
    try:
        return Chain.parse(experiment.features[name])
    except CallError as error:
        raise CallError(f"The features {name!r} of the experiment: {error}") from error


def save_features(folder: RunFolder, name: str, chain: Chain, stack: Scene) -> None:
    """Write a stack of features and its fitted chain into a run folder.

    The stack is a plain ``.npy`` that is mapped into memory, so that the processes of a
    machine share it.  It is written in strips, which may be computed only then.
    """
    stack_file, _, _ = folder.feature_files(name)
    files.make_folder(stack_file.parent)
    with files.atomic(stack_file) as draft, draft.open("wb") as file:
        _write_stack(file, stack)
    names = stack.cube.coords["band_name"].values.tolist()
    save_chain(folder, name, chain, names, stack=files.file_sha256(stack_file))


def _write_stack(file: BinaryIO, stack: Scene) -> None:
    """Write the features (feature, row, col) of a scene as ``numpy.save`` does.

    The file is not mapped into memory: on a full disk that would kill the process.
    """
    shape, kind = (stack.n_bands, *stack.shape), np.dtype(np.float32)
    header = {"descr": npy.dtype_to_descr(kind), "fortran_order": False, "shape": shape}
    npy.write_array_header_1_0(file, header)
    start = file.tell()
    for rows in stack.strips():
        values = stack.read(rows, slice(None)).astype(kind, copy=False)
        for band, part in enumerate(values):
            first = (band * shape[1] + rows.start) * shape[2]
            file.seek(start + first * kind.itemsize)
            file.write(np.ascontiguousarray(part).data)


def save_chain(
    folder: RunFolder,
    name: str,
    chain: Chain,
    names: Sequence[str] = (),
    *,
    stack: str | None = None,
) -> None:
    """Write a fitted chain, the names of its features and the SHA-256 of their stack."""
    _, metadata_file, arrays_file = folder.feature_files(name)
    settings, arrays = chain.state()
    content = safetensors.save(
        {key: np.asarray(array, order="C") for key, array in arrays.items()}
    )
    with files.atomic(arrays_file) as draft:
        draft.write_bytes(content)
    metadata = {
        "chain": chain.text,
        "names": list(names),
        "settings": settings,
        "stack_sha256": stack,
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    files.write_checksummed(metadata_file, metadata)


def load_feature_scene(folder: RunFolder, name: str, scene: Scene) -> Scene:
    """Load the features of a run as a scene, mapped into memory."""
    stack_file, metadata_file, _ = folder.feature_files(name)
    return _mapped(stack_file, metadata_file, files.modified_ns(stack_file), scene)


@lru_cache(maxsize=2)
def _mapped(stack_file: Path, metadata_file: Path, _changed: int, scene: Scene) -> Scene:
    """Map a stack once for all tasks of a process."""
    metadata = _metadata(metadata_file)
    names = metadata.get("names")
    names = names if isinstance(names, list) else []
    try:
        # Each process reads the whole file once, and then takes pixels from memory.
        if metadata.get("stack_sha256") not in (None, files.file_sha256(stack_file)):
            raise _unusable(stack_file, "its checksum differs")
        values = np.asarray(np.load(stack_file, mmap_mode="r", allow_pickle=False))
    except (OSError, ValueError, EOFError) as error:
        raise _unusable(stack_file, error) from error
    if values.shape != (len(names), *scene.shape) or values.dtype != np.float32:
        raise _unusable(stack_file, f"{values.dtype} of shape {values.shape} do not fit")
    return feature_scene(scene, values, names)


def load_chain(folder: RunFolder, name: str) -> Chain:
    """Load the fitted chain of a run."""
    _, metadata_file, arrays_file = folder.feature_files(name)
    metadata = _metadata(metadata_file)
    try:
        content = arrays_file.read_bytes()
        if hashlib.sha256(content).hexdigest() != metadata["sha256"]:
            raise _unusable(arrays_file, "its checksum differs")
        return Chain.from_state(metadata["settings"], dict(safetensors.load(content)))
    except (OSError, KeyError, SafetensorError, ModelError) as error:
        raise _unusable(arrays_file, error) from error


def _metadata(path: Path) -> dict[str, Any]:
    try:
        metadata = files.read_checksummed(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise _unusable(path, error) from error
    if not isinstance(metadata, dict):
        raise _unusable(path, "it is not a JSON object")
    return metadata


def _unusable(path: Path, reason: object) -> RunError:
    reason = getattr(reason, "strerror", None) or reason
    return RunError(
        f"The features in {path.parent} cannot be used: {path.name} is missing or damaged "
        f"({reason}); delete that folder and run the experiment again."
    )
