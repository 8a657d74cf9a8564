"""``hypercover classify``: the analyst's one line."""

from typing import Annotated

import typer

from hypercover.cli.options import (
    AXES,
    DEVICE,
    DROP_BANDS,
    IMAGE,
    KEEP_BANDS,
    LABEL_FIELD,
    LABEL_LAYER,
    LABEL_VARIABLE,
    LABELS,
    LEGEND,
    NODATA,
    PROCESSES,
    RUN_FOLDER,
    SEED,
    VARIABLE,
    WORKERS,
    run_folder,
)


def command(
    image: IMAGE,
    labels: LABELS = None,
    out: RUN_FOLDER = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="svm, cnn, forest or lda; several times for several (default: svm and cnn, "
            "the better one maps; of few labels svm and forest)."
        ),
    ] = None,
    window: Annotated[
        int | None,
        typer.Option(
            help="Side of the windows that a network sees, in pixels, odd (default: 9, or "
            "what a small image holds)."
        ),
    ] = None,
    variable: VARIABLE = None,
    label_variable: LABEL_VARIABLE = None,
    axes: AXES = None,
    nodata: NODATA = None,
    label_field: LABEL_FIELD = None,
    label_layer: LABEL_LAYER = None,
    legend: LEGEND = None,
    keep_bands: KEEP_BANDS = None,
    drop_bands: DROP_BANDS = None,
    min_pixels: Annotated[
        int, typer.Option(min=0, help="Drop classes with fewer pixels.")
    ] = 0,
    seed: SEED = 0,
    workers: WORKERS = None,
    device: DEVICE = "auto",
    processes: PROCESSES = None,
) -> None:
    """Make a land-cover map from an image and a few labels, with an honest accuracy.

    A CNN and an SVM are trained on guard-banded blocks and, beside them, on a
    random split; the better one by validation is trained again on all labels and
    maps the scene.  Few labels, such as points, are judged by leaving them out one
    after another.  The experiment file that was used lies in the run folder, ready
    to be edited.

    Example: hypercover classify cube.hdr --labels fields.gpkg --label-field crop -o runs/fields
    """
    from hypercover.cli.run import run_and_show
    from hypercover.experiment.config.presets import default_experiment

    scene = {
        "path": image,
        "labels": labels,
        "variable": variable,
        "label_variable": label_variable,
        "axes": axes,
        "nodata": nodata,
        "label_field": label_field,
        "label_layer": label_layer,
        "legend": legend,
        "keep_bands": keep_bands,
        "drop_bands": drop_bands,
        "min_pixels": min_pixels,
    }
    given = {key: value for key, value in scene.items() if value is not None}
    experiment = default_experiment(
        given,
        model=model,
        seed=seed,
        device=device,
        processes=processes or 1,
        window=window,
    )
    run_and_show(experiment, run_folder(out, experiment.name), workers)
