"""``hypercover features``: image features of a scene, as an image."""

from pathlib import Path
from typing import Annotated

import typer

from hypercover.cli.options import (
    AXES,
    DROP_BANDS,
    IMAGE,
    KEEP_BANDS,
    SEED,
    VARIABLE,
)

__all__ = ["command"]


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
        Path, typer.Option("--out", "-o", help="Image to write: .tif, or .hdr for ENVI.")
    ],
    variable: VARIABLE = None,
    axes: AXES = None,
    keep_bands: KEEP_BANDS = None,
    drop_bands: DROP_BANDS = None,
    seed: SEED = 0,
) -> None:
    """Compute image features: kernel PCA, PCA, MNF, attribute profiles, or a chain of them.

    They are fitted on all pixels with data and on no label, and written as a stack
    of float32 bands with their names, NaN where there is no data.

    Example: hypercover features cube.hdr --chain kpca:5,esdap:area+std -o features.tif
    """
    from hypercover.cli.progress import bar
    from hypercover.cli.tables import say
    from hypercover.errors import counted
    from hypercover.features.chain import Chain
    from hypercover.scene.bands import select_bands
    from hypercover.scene.origin import marked
    from hypercover.scene.reading import open_scene
    from hypercover.scene.writing import check_apart, driver_of, write_scene

    check_apart(out, image)
    driver_of(out)
    steps = Chain.parse(chain)
    scene = open_scene(image, labels=False, variable=variable, axes=axes)
    if keep_bands or drop_bands:
        scene = select_bands(scene, keep=keep_bands, drop=drop_bands)
    steps.outputs(scene.n_bands)
    with bar("Features") as advance:
        stack = steps.fit_transform(scene, seed=seed, progress=advance)
    written = write_scene(stack, out, tags={"HYPERCOVER_FEATURES": steps.text})
    features = counted(stack.n_bands, "feature")
    say(*(f"Note: {note}" for note in stack.notes[len(scene.notes) :]))
    say(f"{features} of {counted(scene.n_bands, 'band')}: {steps.text}")
    say(f"{marked('Image', scene.origin)}: {written}")
