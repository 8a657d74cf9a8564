"""``hypercover classify`` and ``demo``: a map from an image and labels, without an experiment file."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from typer import Option

from hypercover.cli import options
from hypercover.cli.run import run_and_show
from hypercover.cli.terminal import bar


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


def demo(
    out: Annotated[Path, Option("--out", "-o", help="Folder of the run.")] = Path(
        "runs/demo"
    ),
    seed: options.SEED = 0,
    workers: options.WORKERS = None,
    device: options.DEVICE = "auto",
    processes: options.PROCESSES = None,
) -> None:
    """Simulate a scene, train an SVM and a CNN, and show what their accuracy is worth.

    Example: hypercover demo --out demo
    """
    from hypercover.experiment.config.experiment_file import built_in, load_experiment
    from hypercover.scene.simulation import simulate as simulation

    # The seed is part of the name: another seed is another scene.
    cube = out / "scene" / f"simulated-{seed}.tif"
    labels = cube.with_name(f"{cube.stem}-labels.tif")
    run_options = options.RunOptions(device=device, processes=processes)
    overrides = options.ExperimentOptions(seed=seed).overrides(run_options)
    options.check_without_scene("demo", overrides)
    if not (cube.exists() and labels.exists()):
        with bar("Simulating a scene") as advance:
            simulation.simulate(cube, preset="demo", seed=seed, progress=advance)
    scene = [f"scene.path={cube.resolve()}", f"scene.labels={labels.resolve()}"]
    experiment = load_experiment(built_in()["demo"], [*scene, *overrides])
    run_and_show(experiment, out, workers)
