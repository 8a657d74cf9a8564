"""What a file says reaches the terminal as text that cannot steer it."""

import ast
import io
import logging
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st

import hypercover
from hypercover.cli.tables import table_cell
from hypercover.cli.terminal import PlainFormatter, guarded_streams, new_console, plain, say
from hypercover.errors import LabelError

EVIL = "a\x1b[2J\x1b]0;title\x07b\x9b31mc\u202ed\u200be\ufefff\rg\u2066h\x08i\u2028j"
STEERS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]"
)
CLI = Path(hypercover.__file__).parent / "cli"


@given(st.text())
def test_a_plain_line_has_no_sign_that_steers(text):
    line = plain(text)
    assert not STEERS.search(line)
    assert "\n" not in line
    assert "\t" not in line
    if text.isprintable():
        assert line == text


def test_a_long_line_keeps_both_ends():
    line = plain("left" + "x" * 10**6 + "right")
    assert len(line) < 5000
    assert line.startswith("left")
    assert line.endswith("right")
    assert len(table_cell("x" * 10**5)) < 400


def evil_scene(folder):
    path = folder / f"{EVIL}\nnotes: all is well.tif"
    profile = {"driver": "GTiff", "width": 8, "height": 8, "count": 2, "dtype": "uint8"}
    with rasterio.open(path, "w", **profile) as file:
        file.write(np.arange(128, dtype=np.uint8).reshape(2, 8, 8))
        file.set_band_description(1, f"red{EVIL}")
        file.set_band_description(2, f"nir{EVIL}")
        file.update_tags(ns="ENVI", description=EVIL, sensor_type=EVIL)
    return path


@pytest.mark.usefixtures("sketched")
def test_names_and_headers_of_an_image_are_shown_plainly(call, tmp_path):
    done = call("info", evil_scene(tmp_path), "-o", tmp_path)
    assert done.code == 0
    assert not STEERS.search(done.out + done.err)
    assert "\ufffd[2J\ufffd]0;title\ufffdb" in done.out
    assert not any(line.startswith("notes:") for line in done.out.splitlines())


def test_an_error_names_a_file_plainly_and_in_one_line(call, tmp_path):
    refused = call("info", tmp_path / f"{EVIL}\n{'x' * 40}.tif")
    assert not STEERS.search(refused.sentence)


def test_a_message_of_any_length_is_cut(call, monkeypatch, tmp_path):
    def refuse(*_, **__):
        raise LabelError("The attribute " + "9" * 690_000 + " is none.")

    monkeypatch.setattr("hypercover.scene.io.reading.open_scene", refuse)
    refused = call("info", tmp_path / "a.tif")
    assert len(refused.sentence) < 5000


def test_streams_are_guarded_whoever_writes(capsys):
    with guarded_streams():
        print(EVIL)
        sys.stderr.write(f"{EVIL}\n")
        say(EVIL, err=True)
    shown = capsys.readouterr()
    assert not STEERS.search(shown.out + shown.err)
    assert shown.out.count("\n") == 1


def test_a_console_writes_its_own_colours_and_no_others():
    class Screen(io.StringIO):
        def isatty(self):
            return True

    screen = Screen()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", screen)
        patch.setenv("TERM", "xterm")
        console = new_console(force_terminal=True, color_system="standard")
        console.print(f"[bold red]{table_cell(EVIL)}[/]", EVIL)
    written = screen.getvalue()
    assert "\x1b[1;31m" in written
    assert not STEERS.search(re.sub(r"\x1b\[(?:1;31|0)m", "", written))
    assert "\x1b[2J" not in written


def test_a_log_has_one_line_for_each_message():
    record = logging.LogRecord("a", logging.WARNING, "f", 1, "%s\nb", (EVIL,), None)
    assert not STEERS.search(PlainFormatter().format(record))
    assert "\n" not in PlainFormatter().format(record)


@pytest.mark.parametrize("path", sorted(CLI.glob("*.py")), ids=lambda path: path.name)
def test_no_verb_prints_past_the_guard(path):
    """A line goes through ``say``, a table through ``show`` or ``new_console``."""
    if path.name in {"terminal.py", "tables.py"}:
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in {"print", "typer.echo", "click.echo", "Console"}, called
        if isinstance(node, ast.ImportFrom) and node.module == "rich.markup":
            raise AssertionError("text from outside is made plain by cell")
