"""The scene of a named experiment made of a grey image and coarser bands."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

from hypercover.scene.finding_pairs import FoundPair, find_pair
from hypercover.scene.inputs import identity_of, known_inputs, remember_inputs
from hypercover.scene.keeping import keeping
from hypercover.scene.pansharpen import pair_plan, pansharpen
from hypercover.scene.reading import open_scene
from hypercover.scene.wanted import WANTED
from hypercover.scene.writing import write_scene

__all__ = ["sharpened_pair"]


def sharpened_pair(
    key: str,
    folders: list[Path],
    folder: Path,
    *,
    say: Callable[[str], None],
    progress: Callable[[int, int], None] | None = None,
) -> list[str] | None:
    """Pansharpen the pair that makes a scene into the folder of a run; None without a pair.

    The image keeps the grey band in front, as the published features were made of.  The
    same pair is sharpened once.
    """
    pair = find_pair(WANTED[key], folders)
    if pair is None:
        return None
    say(
        f"Images: {pair.pan} (grey) and {pair.bands} (bands), which make {WANTED[key].title}."
    )
    say(f"Labels: {pair.labels.path}: {pair.labels.fit.title}.")
    place = folder.absolute() / "scene"
    with known_inputs(place / "inputs.json"):
        image = place / f"pansharpened-{_digest(pair)}.tif"
        if not image.exists():
            remember_inputs()
            _sharpen(pair, image, progress)
    say(f"Image (pansharpened): {image}")
    values = {
        "path": str(image),
        "labels": str(pair.labels.path),
        "label_variable": pair.labels.variable,
        "name": WANTED[key].title,
    }
    given = {name: json.dumps(value) for name, value in values.items() if value is not None}
    return [f"scene.{name}={value}" for name, value in given.items()]


def _sharpen(
    pair: FoundPair, image: Path, progress: Callable[[int, int], None] | None
) -> None:
    """Pansharpen a pair into an image, or go on with it."""
    pan, bands = (open_scene(path, False) for path in (pair.pan, pair.bands))
    with keeping(image, lambda: pair_plan(pan, bands, keep_pan=True)) as store:
        sharp = pansharpen(pan, bands, keep_pan=True, store=store)
        write_scene(sharp, image, store=store, progress=progress)


def _digest(pair: FoundPair) -> str:
    """Return what changes when one of the two images does."""
    facts = [identity_of(pair.pan.absolute()), identity_of(pair.bands.absolute())]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:12]
