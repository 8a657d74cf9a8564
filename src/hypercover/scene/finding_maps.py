"""Finding published label maps in a folder by what they hold, whatever they are called."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hypercover.errors import HypercoverError, LabelError
from hypercover.scene.catalog import KnownMap
from hypercover.scene.folders import look_through
from hypercover.scene.formats.containers import CONTAINERS, open_container
from hypercover.scene.formats.signature import Kind, kind_of
from hypercover.scene.labels import as_codes

__all__ = ["find_maps"]

Codes = npt.NDArray[np.unsignedinteger]


def find_maps(path: str | Path, wanted: Iterable[KnownMap]) -> dict[str, Codes]:
    """Find published label maps in a folder, or in one file, by their content.

    Why it exists: the same map is passed on as MATLAB, TIFF or NumPy file under
    many names, and a name proves nothing.  A map is the one wanted when the
    SHA-256 of its codes is.

    Parameters
    ----------
    path : path
        A folder, which is searched with all folders in it, or a file.
    wanted : iterable of KnownMap
        Maps of the catalogue.

    Returns
    -------
    codes (y, x) of each map, by its title

    Raises
    ------
    LabelError
        If a map is not there, or only one with its class counts and other pixels.
    """
    missing = {known.title: known for known in wanted}
    asked, found, alike = tuple(missing), {}, []
    for file in _files(Path(path)):
        for codes in _maps_in(file, {known.shape for known in missing.values()}):
            for title, known in tuple(missing.items()):
                if codes.shape == known.shape and known.is_exactly(codes):
                    found[title] = codes
                    del missing[title]
                elif _counts(codes) == sorted(known.counts.values()):
                    alike.append(file.name)
        if not missing:
            return {title: found[title] for title in asked}
    same = f" ({alike[0]} has its class counts, but other pixels)" if alike else ""
    raise LabelError(
        f"No file in {path} holds the {next(iter(missing))}{same}; give the folder of its files, "
        "in any format, unchanged."
    )


def _files(path: Path) -> list[Path]:
    """List the files that may hold a map."""
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise LabelError(f"There is no file or folder {path}; check the path.")
    return look_through([path]).files


def _maps_in(file: Path, shapes: set[tuple[int, int]]) -> Iterator[Codes]:
    """Go through the label maps of some sizes in a file; other files hold none."""
    try:
        kind = kind_of(file)
        if kind in CONTAINERS:
            members = open_container(file, kind).members
            fitting = [one for one in members if one.is_numeric and one.shape in shapes]
            yield from (as_codes(one.values(), file) for one in fitting)
        elif kind is Kind.RASTER:
            from hypercover.scene.formats.raster import raster_shape
            from hypercover.scene.formats.rasterlabels import read_raster_labels

            if raster_shape(file) in shapes:
                yield read_raster_labels(file).codes
    except HypercoverError:
        return


def _counts(codes: Codes) -> list[int]:
    """Count the pixels of each class, without their codes."""
    return sorted(np.unique(codes[codes > 0], return_counts=True)[1].tolist())
