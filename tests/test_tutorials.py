"""The tutorials run from the first cell to the last."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

TUTORIALS = sorted((Path(__file__).parents[1] / "docs/tutorials").glob("*.md"))


@pytest.mark.parametrize("page", TUTORIALS, ids=lambda page: page.stem)
def test_a_tutorial_runs(page, tmp_path):
    cells = re.findall(
        r"^```{code-cell} python\n(.*?)^```", page.read_text("utf-8"), re.M | re.S
    )
    assert cells
    script = tmp_path / "tutorial.py"
    script.write_text("\n".join(cells), encoding="utf-8")
    answer = subprocess.run(
        [sys.executable, "-W", "ignore", script],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"MPLBACKEND": "agg"},
    )
    assert answer.returncode == 0, answer.stderr
