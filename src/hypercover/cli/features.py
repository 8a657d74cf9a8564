"""``hypercover features``: image features as a stack of bands."""

from typing import Annotated

from typer import Option

from hypercover.cli import options
from hypercover.cli.terminal import bar, say
from hypercover.errors import counted


def features(
    *,
    image: options.IMAGE,
    chain: Annotated[
        str,
        Option(
            "--chain",
            "-c",
            help="Features one after another: kpca:5,esdap:area+std; or pca:10, mnf:10, rome. "
            "With more settings as a list: [{kpca: {components: 5, gamma: 0.01}}, esdap].",
        ),
    ],
    out: options.IMAGE_OUT,
    variable: options.VARIABLE = None,
    axes: options.AXES = None,
    nodata: options.NODATA = None,
    keep_bands: options.KEEP_BANDS = None,
    drop_bands: options.DROP_BANDS = None,
    seed: options.SEED = 0,
    tile_options: options.TileOptions,
) -> None:
    """Compute image features: kernel PCA, PCA, MNF, attribute profiles, or a chain of them.

    They are fitted on all pixels with data and on no label, and written as a stack
    of float32 bands with their names, NaN where there is no data.  With --workers, and
    where the stack takes more than 64 MiB, they are computed tile by tile; attribute
    profiles need --overlap for that, and without it are computed whole.

    Example: hypercover features cube.hdr --chain kpca:5,esdap:area+std -o features.tif
    """
    from hypercover.experiment.tasks.feature_tiles import write_features
    from hypercover.features.chain import NWFE_FEATURES, Chain
    from hypercover.prediction.tile_tasks import SceneSource
    from hypercover.scene.io.writing import check_overwrite, data_path, driver_for
    from hypercover.scene.metadata import labelled_name

    check_overwrite(out, image)
    driver_for(out)
    steps = Chain.parse(chain)
    tiles = tile_options.choose_executor()
    path, values = str(image.absolute()), options.join_nodata(nodata)
    source = SceneSource(path, variable, axes, keep_bands, drop_bands, values)
    scene = source.open()
    options.warn_of_fill(scene)
    with bar("Features") as advance:
        overlap = tile_options.overlap
        stack = write_features(
            source, steps, out, tiles, seed=seed, overlap=overlap, progress=advance
        )
    features = counted(stack.n_bands, "feature")
    say(*(f"Note: {note}" for note in stack.notes[len(scene.notes) :]))
    say(f"{features} of {counted(scene.n_bands, 'band')}: {steps.text}")
    if chain in NWFE_FEATURES:
        say(
            f"Note: {chain} continues with {NWFE_FEATURES[chain]} features that NWFE learns from "
            "training pixels, which libsvm write, libsvm sets and a model's nwfe make."
        )
    say(f"{labelled_name('Image', scene.origin)}: {data_path(out)}")
