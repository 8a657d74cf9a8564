"""Bundles of strangers, mutant by mutant: read as they are, or refused in a sentence.

Every number of the card and the settings is replaced by ones that are out of range or of
another type, every entry is left out, and the header of the weights is spoilt alike.
``HYPERCOVER_MUTANTS=all`` tries each of them, some thousands for every kind of model.
"""

import copy
import hashlib
import json
import os
import struct
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import xarray as xr
from safetensors import numpy as safetensors

from hypercover.classifiers.bundle import save_bundle
from hypercover.classifiers.cnn.cnn_classifier import CNNClassifier
from hypercover.classifiers.sklearn_wrapper import SklearnClassifier
from hypercover.classifiers.svm.svm_classifier import SVMClassifier
from hypercover.errors import HypercoverError
from hypercover.features.chain import Chain
from hypercover.files import read_checksummed
from hypercover.prediction.map_prediction import predict_bundle_to_files
from hypercover.prediction.model_input import describe_training_image
from hypercover.scene.legend import Legend
from hypercover.scene.samples import Samples
from hypercover.scene.scene import Scene
from hypercover.windows.windows import Windows

ALL = os.environ.get("HYPERCOVER_MUTANTS") == "all"
SOME = 30
"""Mutants of each kind and part that are tried where not all are."""
LONGEST, SLOWEST = 1200, 20.0
"""Letters of a refusal, and seconds of a mutant."""
STRANGE = [
    10**19,
    -(10**19),
    2**63 - 1,
    10**400,
    1e308,
    1e-320,
    -1,
    0,
    0.5,
    "INF",
    "",
    "9" * 5000,
    None,
    True,
    [],
    {},
    [10**19],
    [[[]]],
    {"a": 10**19},
]
SHAPES = ["F16", "F64", "I64", "U8", "BOOL", [1], [0], [3, 3], [2**40], [2**62, 4]]
VALUES = [np.inf, np.nan, 1e308, -1e308, 0, -1, 2**62]


def land() -> Scene:
    labels = np.repeat([[1, 2, 3]], 12, axis=0).repeat(4, axis=1).astype(np.uint8)
    noise = np.random.default_rng(0).normal(0, 0.1, (5, 12, 12))
    values = (noise + labels * np.arange(1, 6)[:, None, None]).astype(np.float32)
    cube = xr.DataArray(values, dims=("band", "y", "x"))
    cube = cube.assign_coords(wavelength=("band", np.linspace(400, 800, 5)))
    legend = Legend.of({1: "Corn", 2: "Meadow", 3: "Woods"})
    return Scene(cube).with_labels(labels, legend)


SCENE = land()
SPECTRA, CODES = SCENE.cube.values.reshape(5, -1).T, SCENE.labels.ravel()


def forest() -> Any:
    return SklearnClassifier(params={"n_estimators": 3, "max_depth": 4}, random_state=0)


def neighbours() -> Any:
    path = "sklearn.neighbors.KNeighborsClassifier"
    return SklearnClassifier(path, {"n_neighbors": 3}, random_state=0)


def network() -> Any:
    windows = Windows.of(SCENE, Samples.of(SCENE.labels), 5)
    return CNNClassifier("default", epochs=1, random_state=0).fit(windows, CODES)


KINDS = {
    "svm": lambda: SVMClassifier(class_weight={1: 1.0, 2: 2.0, 3: 1.0}).fit(SPECTRA, CODES),
    "platt": lambda: SVMClassifier(probability=True).fit(SPECTRA, CODES),
    "forest": lambda: forest().fit(SPECTRA, CODES),
    "neighbours": lambda: neighbours().fit(SPECTRA, CODES),
    "network": network,
}


@pytest.fixture(scope="module", params=[*KINDS, "chain"])
def model(request, tmp_path_factory):
    """A bundle of each kind: its folder, its document and its weights."""
    folder = tmp_path_factory.mktemp(request.param)
    window = 5 if request.param == "network" else 1
    card = {
        **describe_training_image(SCENE),
        "legend": SCENE.legend.to_json(),
        "window": window,
        "temperature": 1.5,
    }
    if request.param == "chain":
        chain = Chain.parse("pca:2")
        features = chain.fit_transform(SCENE, seed=0).cube.values.reshape(2, -1).T
        save_bundle(
            folder, SVMClassifier().fit(features, CODES), card, features=chain.state()
        )
    else:
        save_bundle(folder, KINDS[request.param](), card)
    document = read_checksummed((folder / "model.json").read_bytes())
    return folder, document, (folder / "weights.safetensors").read_bytes()


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Go through all places of a document; of a list through the first two."""
    if at:
        yield at
    if isinstance(value, dict):
        for key in value:
            yield from places(value[key], (*at, key))
    elif isinstance(value, list):
        for position in range(min(len(value), 2)):
            yield from places(value[position], (*at, position))


def changed(document: Any, at: tuple[Any, ...], *value: Any) -> Any:
    """Return the document with another value at a place, or without it."""
    made = copy.deepcopy(document)
    inner = made
    for key in at[:-1]:
        inner = inner[key]
    if value:
        inner[at[-1]] = value[0]
    else:
        del inner[at[-1]]
    return made


def of_document(document: Any, values: list[Any]) -> list[Any]:
    every = [changed(document, at) for at in places(document)]
    every += [changed(document, at, value) for at in places(document) for value in values]
    if ALL:
        return every
    chosen = np.random.default_rng(1).choice(
        len(every), min(SOME, len(every)), replace=False
    )
    return [every[number] for number in chosen]


def try_out(model: Any, document: Any, weights: bytes, target: Any) -> None:
    """Map with a mutant; what is not refused in a short sentence, and soon, fails."""
    folder = model[0]
    (folder / "model.json").write_text(json.dumps(document))
    (folder / "weights.safetensors").write_bytes(weights)
    began, said = time.process_time(), ""
    try:
        predict_bundle_to_files(folder, SCENE, target)
    except HypercoverError as error:
        said = str(error)
    assert len(said) < LONGEST
    assert time.process_time() - began < SLOWEST


def test_every_kind_maps_before_it_is_spoilt(model, tmp_path):
    folder, document, weights = model
    try_out(model, document, weights, tmp_path / "map.tif")
    assert (tmp_path / "map.tif").exists()
    assert folder.exists()


def test_documents_out_of_range(model, tmp_path):
    _, document, weights = model
    for mutant in of_document(document, STRANGE):
        try_out(model, mutant, weights, tmp_path / "map.tif")


def sealed(document: Any, weights: bytes) -> Any:
    """Return the document of other weights, as whoever spoils them would write it."""
    digest = hashlib.sha256(weights).hexdigest()
    return document | {"weights": {"sha256": digest, "bytes": len(weights)}}


def test_headers_of_weights_out_of_range(model, tmp_path):
    _, document, weights = model
    (size,) = struct.unpack("<Q", weights[:8])
    header, body = json.loads(weights[8 : 8 + size]), weights[8 + size :]
    for mutant in of_document(header, [*STRANGE, *SHAPES]):
        text = json.dumps(mutant).encode()
        spoilt = struct.pack("<Q", len(text)) + text + body
        try_out(model, sealed(document, spoilt), spoilt, tmp_path / "map.tif")
    for length in (0, 2**31, 2**63):
        spoilt = struct.pack("<Q", length) + weights[8:]
        try_out(model, sealed(document, spoilt), spoilt, tmp_path / "map.tif")


def test_arrays_of_strange_numbers(model, tmp_path):
    _, document, weights = model
    arrays = safetensors.load(weights)
    mutants = []
    for name, array in arrays.items():
        for value in VALUES:
            whole = np.iinfo(array.dtype) if array.dtype.kind in "iu" else None
            if whole is None or (np.isfinite(value) and whole.min <= value <= whole.max):
                spoilt = array.copy()
                with np.errstate(over="ignore"):
                    spoilt.reshape(-1)[:1] = value
                mutants.append({**arrays, name: spoilt})
        mutants += [
            {**arrays, name: array.reshape(-1)[:-1]},
            {**arrays, name: array.reshape(-1)[:0]},
        ]
    step = 1 if ALL else max(1, len(mutants) // SOME)
    for mutant in mutants[::step]:
        spoilt = safetensors.save(mutant)
        try_out(model, sealed(document, spoilt), spoilt, tmp_path / "map.tif")
