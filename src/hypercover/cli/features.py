"""``hypercover features``: image features of a scene, as an image."""

from pathlib import Path
from typing import Annotated

import typer

from hypercover.cli.opening import tell_fill
from hypercover.cli.options import (
    AXES,
    DASK,
    DROP_BANDS,
    EXECUTOR,
    IMAGE,
    KEEP_BANDS,
    NODATA,
    OVERLAP,
    SEED,
    TILE_WORKERS,
    VARIABLE,
    stated,
)
from hypercover.cli.terminal import say


def command(
    image: IMAGE,
    chain: Annotated[
        str,
        typer.Option(
            "--chain",
            "-c",
            help="Features one after another: kpca:5,esdap:area+std; or pca:10, mnf:10, rome. "
            "With more settings as a list: [{kpca: {components: 5, gamma: 0.01}}, esdap].",
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Image to write: .tif, .hdr (ENVI) or .h5.")
    ],
    variable: VARIABLE = None,
    axes: AXES = None,
    nodata: NODATA = None,
    keep_bands: KEEP_BANDS = None,
    drop_bands: DROP_BANDS = None,
    seed: SEED = 0,
    workers: TILE_WORKERS = None,
    executor: EXECUTOR = None,
    dask: DASK = None,
    overlap: OVERLAP = None,
) -> None:
    """Compute image features: kernel PCA, PCA, MNF, attribute profiles, or a chain of them.

    They are fitted on all pixels with data and on no label, and written as a stack
    of float32 bands with their names, NaN where there is no data.  With --workers, and
    where the stack takes more than 64 MiB, they are computed tile by tile; attribute
    profiles need --overlap for that, and without it are computed whole.

    Example: hypercover features cube.hdr --chain kpca:5,esdap:area+std -o features.tif
    """
    from hypercover.cli.executors import tile_executor
    from hypercover.cli.progress import bar
    from hypercover.errors import counted
    from hypercover.experiment.tasks.feature_tiles import write_features
    from hypercover.features.chain import NWFE_FEATURES, Chain
    from hypercover.prediction.tile_tasks import SceneSource
    from hypercover.scene.io.writing import check_overwrite, data_path, driver_for
    from hypercover.scene.metadata import labelled_name

    check_overwrite(out, image)
    driver_for(out)
    steps = Chain.parse(chain)
    done_by = tile_executor(executor, workers=workers, dask=dask)
    source = SceneSource(
        str(image.absolute()), variable, axes, keep_bands, drop_bands, stated(nodata)
    )
    scene = source.open()
    tell_fill(scene)
    with bar("Features") as advance:
        stack = write_features(
            source, steps, out, done_by, seed=seed, overlap=overlap, progress=advance
        )
    features = counted(stack.n_bands, "feature")
    say(*(f"Note: {note}" for note in stack.notes[len(scene.notes) :]))
    say(f"{features} of {counted(scene.n_bands, 'band')}: {steps.text}")
    if chain in NWFE_FEATURES:
        say(
            f"Note: {chain} goes on with {NWFE_FEATURES[chain]} features that NWFE learns from "
            "training pixels, which libsvm write, libsvm sets and a model's nwfe make."
        )
    say(f"{labelled_name('Image', scene.origin)}: {data_path(out)}")
