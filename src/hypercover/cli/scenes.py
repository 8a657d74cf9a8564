"""``hypercover scenes``: the benchmark scenes hypercover knows."""

__all__ = ["command"]


def command() -> None:
    """List the known benchmark scenes: what they are, where they come from, their defects.

    Example: hypercover scenes
    """
    from hypercover.cli.tables import scenes_table, show
    from hypercover.scene.catalog import known_scenes

    show(*scenes_table(known_scenes()))
