"""``hypercover area``: the areas of the classes of a map, and how sure they are."""

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from hypercover.cli import options
from hypercover.cli.terminal import say
from hypercover.errors import CallError

_CONDITION = (
    "These figures hold only if the reference is a probability sample of the map, drawn at "
    "random as --design says; test pixels left over from training are not such a sample."
)


class Design(StrEnum):
    """How the reference pixels were drawn."""

    stratified = "stratified"
    simple = "simple"


def area(
    class_map: Annotated[Path, Argument(metavar="MAP", help="A class map: maps/cnn.tif.")],
    reference: Annotated[
        Path,
        Option(
            "--reference",
            "-r",
            help="Sampled labels: a raster on the map's grid or points.",
        ),
    ],
    design: Annotated[
        Design, Option(help="Drawn within strata, or from the whole map.")
    ] = Design.stratified,
    strata: Annotated[
        Path | None,
        Option(help="Raster or polygons of the strata (default: the classes of the map)."),
    ] = None,
    strata_field: Annotated[
        str | None, Option(help="Attribute of a vector file that holds the stratum.")
    ] = None,
    strata_layer: Annotated[
        str | None, Option(help="Layer of the strata, if there are several.")
    ] = None,
    strata_variable: Annotated[
        str | None, Option(help="Variable of the strata, if the file has several.")
    ] = None,
    out: Annotated[
        Path | None, Option("--out", "-o", help="Table to write: areas.csv.")
    ] = None,
    label_field: options.LABEL_FIELD = None,
    label_layer: options.LABEL_LAYER = None,
    label_variable: options.LABEL_VARIABLE = None,
) -> None:
    """Estimate accuracy and class areas of a map from a random sample of reference pixels.

    After Olofsson et al. (2014), with 95 % intervals; in hectares where the map says
    where it lies.

    Example: hypercover area maps/cnn.tif --reference points.gpkg -o areas.csv
    """
    from hypercover.cli.tables import new_table, show, table_cell
    from hypercover.evaluation.area import estimate_area
    from hypercover.experiment.results.run_folder import check_map
    from hypercover.files import write_text
    from hypercover.scene.class_map import open_class_map
    from hypercover.scene.io.reading import open_labels
    from hypercover.scene.io.writing import check_overwrite
    from hypercover.scene.labels import replaced_options

    if out is not None:
        check_overwrite(out, class_map, reference, strata)
        if out.suffix.lower() != ".csv":
            raise CallError(
                f"The table of areas is a CSV file, and -o names {out}; end its name in .csv."
            )
    check_map(class_map)
    opened = open_class_map(class_map)
    codes, legend, notes = opened.reference(
        reference, variable=label_variable, field=label_field, layer=label_layer
    )
    layers = None
    if strata is not None:
        with replaced_options({" (scene.label_layer)": "", "--label-": "--strata-"}):
            layers, _ = open_labels(
                strata,
                opened.grid,
                variable=strata_variable,
                field=strata_field,
                layer=strata_layer,
            )
    estimate = estimate_area(
        opened.codes,
        codes,
        design=design.value,
        strata=layers,
        legend=legend,
        pixel_areas=opened.pixel_areas,
    )
    if opened.pixel_areas is not None:
        estimate = replace(estimate, unit="hectares")
    if out is not None:
        write_text(out, estimate.csv())
    mark = f" ({opened.made_from})" if opened.made_from else ""
    title = f"areas in {estimate.unit}, accuracies in %{mark}"
    numbers = ("sampled", "in the map", "area", "user's", "producer's")
    table = new_table(title, left=["class"], right=numbers)
    for cells in estimate.cells():
        table.add_row(*map(table_cell, cells))
    show(table)
    say(f"Overall accuracy, adjusted for areas: {estimate.overall_text}")
    outside = int(((codes > 0) & (opened.codes == 0)).sum())
    if outside:
        say(f"Note: {outside:,} reference pixels lie where the map has no class.")
    say(*(f"Note: {note}" for note in (*opened.notes, *notes)), _CONDITION)
    if out is not None:
        say(f"Table: {out}")
