"""What a run keeps so that its page can draw the scene and the maps themselves."""

from pathlib import Path
from typing import Any

from hypercover.experiment.folder import RunFolder
from hypercover.experiment.setting import Setting

__all__ = ["keep_view"]


def keep_view(folder: Path) -> dict[str, Any]:
    """Keep the scene, its splits of the first seed and its spectra for the page.

    Why it exists: a page is made again from the run folder alone, long after
    the image has moved away.
    """
    from hypercover.features.thresholds import metres_per_pixel
    from hypercover.maps.view_build import view_of

    setting = Setting.of(folder)
    # Those of a learning curve are the main split over again.
    splits = ("main", *setting.experiment.beside)
    parts = {
        name: setting.load_split(name, setting.experiment.seed).parts for name in splits
    }
    scene = setting.scene
    view = view_of(scene, parts, metres=metres_per_pixel(scene.grid))
    path = setting.folder.view()
    view.save(path)
    return {"view": str(path.relative_to(RunFolder(Path(folder)).path)), "step": view.step}
