"""ENVI's pairs of a text header and a file of pixels."""

from pathlib import Path

from hypercover.errors import SceneError

__all__ = ["data_file"]

_DATA = (
    "",
    ".img",
    ".dat",
    ".bsq",
    ".bil",
    ".bip",
    ".raw",
    ".bin",
    ".rfl",
    ".rdn",
    ".cube",
)


def data_file(header: Path) -> Path:
    """Return the file of pixels that belongs to a header.

    Raises
    ------
    SceneError
        If it is not beside the header.
    """
    stem = header.with_suffix("")
    wanted = [stem.name.lower() + suffix for suffix in _DATA]
    beside = {one.name.lower(): one for one in sorted(header.parent.iterdir())}
    found = [beside[name] for name in wanted if name in beside and beside[name].is_file()]
    if not found:
        raise SceneError(
            f"The header {header} is there, but not its data: no {stem.name}, "
            f"{stem.name}.img or {stem.name}.dat beside it; put both into one folder."
        )
    return found[0]
