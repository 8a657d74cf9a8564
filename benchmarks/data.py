"""The folder of real scenes that benchmarks read, named by HYPERCOVER_DATA."""

import argparse
import os
from pathlib import Path

__all__ = ["DATA", "check_data"]

DATA = Path(os.environ.get("HYPERCOVER_DATA", "HYPERCOVER_DATA is not set"))
"""The folder; whether there is one is for `check_data` to say."""


def check_data(parser: argparse.ArgumentParser) -> None:
    """End with a sentence and exit code 2 where the folder is not named or not there."""
    if "HYPERCOVER_DATA" not in os.environ:
        parser.error("set HYPERCOVER_DATA to the folder of the real scenes.")
    if not DATA.is_dir():
        parser.error(f"HYPERCOVER_DATA names {DATA}, which is no folder; name another.")
