"""A kept model and an image as it sees it: what must be there before a map is made."""

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from hypercover.classifiers.bundle import CARD, Bundle, check_scene_fits, load_bundle
from hypercover.errors import CallError
from hypercover.features.blockwise import Levels, blockwise, outer_levels
from hypercover.features.chain import Chain
from hypercover.features.feature import Progress
from hypercover.memory import resident_bytes
from hypercover.scene.companions import identity
from hypercover.scene.scene import Scene

__all__ = ["Mapping", "memory_left"]

_LIBRARIES = 2**28
"""Bytes that compilers and libraries take for themselves once the work begins."""


@dataclass(frozen=True, eq=False)
class Mapping:
    """A kept model, and the bands or features of a scene that it was trained on.

    Why it exists: the process that writes a map and those that predict its
    tiles must mean the same.
    """

    bundle: Bundle
    """The model."""
    scene: Scene
    """The scene as the model sees it."""
    identity: dict[str, Any] | None
    """What tells this model and this image from others; None without a file."""
    overlap: int | None = None
    """Pixels around a piece from which attribute profiles are computed."""

    @classmethod
    def of(
        cls,
        model: Path,
        scene: Scene,
        *,
        device: str = "auto",
        overlap: int | None = None,
    ) -> "Mapping":
        """Load a model and choose the bands of a scene that it was trained on.

        Raises
        ------
        ModelError
            If the bundle is damaged, the image lacks bands or is a stack of
            other features, or the device is not to be had.
        """
        known = _identity(model, scene)
        bundle = load_bundle(model, device=device)
        card = bundle.card
        positions = check_scene_fits(card, scene.bands, scene.wavelengths, scene.band_names)
        if positions is not None:
            scene = scene.take_bands([int(position) for position in positions])
        if known is not None and overlap is not None:
            known |= {"overlap": overlap}
        return cls(bundle, scene, known, overlap)

    @property
    def chain(self) -> Chain | None:
        """The image features of the model."""
        features = self.bundle.features
        return None if features is None else Chain.from_state(*features)

    @property
    def whole(self) -> bool:
        """Whether its features have to be computed of the whole scene, in memory."""
        chain = self.chain
        return chain is not None and chain.reach is None and self.overlap is None

    def levels(self) -> Levels | None:
        """Return what pieces cannot know of the scene, to be looked for once."""
        chain = self.chain
        if chain is None or chain.reach is not None:
            return None
        return outer_levels(chain, self.scene, overlap=self.overlap)

    def seen(
        self, *, levels: Levels | None = None, progress: Progress | None = None
    ) -> Scene:
        """Return the scene that the classifier takes: bands, or image features.

        Features that can be computed piece by piece are, where they are read;
        others now, of the whole scene, in memory.

        Raises
        ------
        SceneError
            If they do not fit in memory.
        """
        chain = self.chain
        if chain is None:
            return self.scene
        if self.whole:
            return chain.transform(self.scene, progress=progress)
        return blockwise(chain, self.scene, overlap=self.overlap, levels=levels)


def _identity(model: Path, scene: Scene) -> dict[str, Any] | None:
    """Return what tells a model and the file of a scene from others; None without a file."""
    if not scene.source:
        return None
    card = model / CARD
    return {
        "model": sha256(card.read_bytes()).hexdigest() if card.is_file() else None,
        "image": [list(facts) for facts in identity(Path(scene.source).absolute())],
        "read as": [scene.n_bands, str(scene.cube.dtype), *scene.notes],
    }


def memory_left(memory: int | None) -> int | None:
    """Return what a bound on the whole process leaves for the work.

    Raises
    ------
    CallError
        If nothing is left.
    """
    if memory is None:
        return None
    held = resident_bytes() + _LIBRARIES
    if held >= memory:
        raise CallError(
            f"The program alone takes {held / 2**20:,.0f} MiB, and it may take "
            f"{memory / 2**20:,.0f} MiB of memory; allow more."
        )
    return memory - held
