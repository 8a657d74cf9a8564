"""``hypercover classify``: from an image and labels to a map, without an experiment file."""

from dataclasses import asdict
from typing import Annotated

from typer import Option

from hypercover.cli import options


def classify(
    *,
    image: options.IMAGE,
    labels: options.LABELS = None,
    out: options.RUN_FOLDER = None,
    model: Annotated[
        list[str] | None,
        Option(
            help="svm, cnn, forest or lda; several times for several (default: svm and cnn, "
            "the better one maps; of few labels svm and forest)."
        ),
    ] = None,
    window: Annotated[
        int | None,
        Option(
            help="Side of the windows that a network sees, in pixels, odd (default: 9, or "
            "what a small image holds)."
        ),
    ] = None,
    scene_options: options.SceneOptions,
    min_pixels: Annotated[int, Option(min=0, help="Drop classes with fewer pixels.")] = 0,
    seed: options.SEED = 0,
    workers: options.WORKERS = None,
    device: options.DEVICE = "auto",
    processes: options.PROCESSES = None,
) -> None:
    """Make a land-cover map from an image and a few labels, with an honest accuracy.

    A CNN and an SVM are trained on blocks with a guard band and, for comparison, on a
    random split; the better one on validation pixels is retrained on all labels and
    maps the scene.  Few labels, such as points, are evaluated by leave-one-out.  The
    experiment file is in the run folder, ready to be edited.

    Example: hypercover classify cube.hdr --labels fields.gpkg --label-field crop -o runs/fields
    """
    from hypercover.cli.run import run_and_show
    from hypercover.experiment.config.presets import default_experiment

    scene = {
        "path": image,
        "labels": labels,
        **asdict(scene_options),
        "min_pixels": min_pixels,
    }
    experiment = default_experiment(
        {key: value for key, value in scene.items() if value is not None},
        model=model,
        seed=seed,
        device=device,
        processes=processes or 1,
        window=window,
    )
    run_and_show(experiment, options.run_folder(out, experiment.name), workers)
