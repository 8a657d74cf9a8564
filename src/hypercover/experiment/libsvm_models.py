"""Kept SVMs as LIBSVM model files, and LIBSVM models as bundles that map scenes."""

import shlex
from pathlib import Path

from hypercover.classifiers.bundle import Bundle, load_bundle, save_bundle
from hypercover.errors import ModelError
from hypercover.experiment.mapping import card_of_scene
from hypercover.scene.legend import MAX_CODE
from hypercover.scene.scene import Scene

__all__ = ["export_model", "import_model", "svm_bundle"]


def svm_bundle(model: Path) -> Bundle:
    """Load a bundle that LIBSVM could hold.

    Raises
    ------
    ModelError
        If it is no SVM, or damaged.
    """
    bundle = load_bundle(model)
    if bundle.kind != "svm":
        raise ModelError(
            f"LIBSVM holds support vector machines, but the model in {model} is of the kind "
            f"{bundle.kind}; give the folder of an SVM."
        )
    return bundle


def export_model(model: Path, out: Path) -> tuple[Path | None, str]:
    """Write a kept SVM as a LIBSVM model file and, where it can be, its scaling beside it.

    Returns
    -------
    Path or None
        The range file for ``svm-scale -r``; None where the machines see more
        than scaled bands.
    str
        How data for the exported model are made, in one sentence.

    Raises
    ------
    ModelError
        If the model is no SVM or its classes are no whole numbers.
    """
    from hypercover.classifiers.libsvm_model import model_of, write_model
    from hypercover.classifiers.libsvm_range import write_range

    bundle = svm_bundle(model)
    svm = bundle.classifier
    write_model(out, model_of(svm))
    # The name of svm-scale's own file, F.range, is somebody else's.
    beside = out.with_name(f"{out.name}.range")
    write = f"hypercover libsvm write SCENE --model {shlex.quote(str(model))}"
    if bundle.features is None and svm.projection_ is None:
        write_range(beside, svm)
        return beside, (
            f"The model sees scaled bands: scale raw data with svm-scale -r {shlex.quote(str(beside))}, or, "
            f"with every digit, write them with {write}."
        )
    beside.unlink(missing_ok=True)
    what = "reduced bands" if bundle.features is None else "image features"
    return (
        None,
        f"The model sees {what}, which svm-scale cannot make: write data with {write}.",
    )


def import_model(file: Path, scene: Scene, out: Path, *, ranges: Path | None = None) -> str:
    """Keep a LIBSVM model as a bundle for scenes like the one given; say what it is.

    Parameters
    ----------
    file : a C-SVC model with an RBF kernel
    scene : image with the bands that are the model's features, in their order;
        its legend names the classes
    out : folder of the bundle
    ranges : file of ``svm-scale -s``, where the model was trained on scaled data

    Raises
    ------
    ModelError
        If the model is of another kind or damaged, or wants more features than
        the scene has bands, or knows a class no map can hold.
    """
    from hypercover.classifiers.libsvm_model import read_model
    from hypercover.classifiers.libsvm_range import read_range

    model = read_model(file, scene.n_bands)
    if not all(1 <= label <= MAX_CODE for label in model.labels):
        raise ModelError(
            f"{file} knows the labels {', '.join(map(str, model.labels[:8]))}, but class codes "
            f"are whole numbers from 1 to {MAX_CODE}; train it with class codes."
        )
    scaling = (None, None) if ranges is None else read_range(ranges, scene.n_bands)
    vectors = len(model.machines.vectors)
    said = f"RBF SVM imported from LIBSVM, {vectors} support vectors"
    card = {
        "name": file.stem,
        "description": said,
        "trained_on": f"the data of {file.name}",
        "legend": scene.legend.covering(model.labels).to_json(),
        "preprocessing": "none" if ranges is None else f"svm-scale, from {ranges.name}",
        # On which values it was trained only the data told.
        **card_of_scene(scene, ranges=False),
        "window": 1,
    }
    save_bundle(out, model.classifier(*scaling), card)
    return f"{said}, {len(model.labels)} classes, {scene.n_bands} bands"
