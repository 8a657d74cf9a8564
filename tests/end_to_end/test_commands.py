"""The small verbs, their help, and what a terminal shows."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from hypercover.scene.datasets.catalog import known_scene


def test_report_writes_the_page_anew(finished, call, tmp_path):
    import shutil

    run = tmp_path / "run"
    shutil.copytree(finished.folder, run)
    page = (run / "report.html").read_bytes()
    (run / "report.html").write_text("gone")
    answer = call("report", run)
    assert (answer.code, answer.out) == (0, f"Report: {run}/report.html\n")
    assert (run / "report.html").read_bytes() == page


def test_info_tells_and_draws(scene, call, tmp_path):
    answer = call("info", scene.image, "-l", scene.labels, "-o", tmp_path)
    assert answer.code == 0
    for fact in ("64 rows × 64 columns × 24 bands", "400.0 to 2500.0 nm", "EPSG:32616"):
        assert fact in answer.out
    for code in (1, 2, 3, 4):
        assert str(np.sum(scene.codes == code)) in answer.out
    for what in ("quicklook", "labels", "spectra"):
        picture = tmp_path / f"tiny-{what}.png"
        assert f"Picture: {picture}\n" in answer.out
        assert picture.read_bytes().startswith(b"\x89PNG")


def test_info_writes_nothing_where_no_folder_is_given(scene, call, tmp_path, monkeypatch):
    """It left three pictures in the folder somebody happened to be in."""
    monkeypatch.chdir(tmp_path)
    answer = call("info", scene.image, "-l", scene.labels)
    assert answer.code == 0
    assert "Picture" not in answer.out
    assert list(tmp_path.iterdir()) == []


def test_scenes_are_listed(call):
    answer = call("scenes")
    assert answer.code == 0
    for name in ("indian-pines", "salinas"):
        assert name in answer.out
    whole = call("scenes", "indian-pines-full").out
    for words in ("2678 × 614", "10.4231/R7RX991C", "Corn-CleanTill-NS", "63,562"):
        assert words in whole
    unbroken = "".join(call("scenes", "indian-pines").out.split())
    for file in known_scene("indian-pines").files:
        assert all(address in unbroken for address in file.downloads)


def test_a_known_file_is_not_fetched_again(call, data_folder, tmp_path):
    answer = call("fetch", "salinas-a", "--data", data_folder, "-o", tmp_path / "new")
    assert answer.code == 0
    for name in ("SalinasA_corrected.mat", "SalinasA_gt.mat"):
        where = data_folder / "salinas_a" / name
        assert f"{name}: {where} (on the disk already, known by its checksum)" in answer.out
    assert not (tmp_path / "new").exists()


def test_what_cannot_be_fetched_is_one_sentence(call, tmp_path):
    answer = call("fetch", "rome", "--data", tmp_path, "-o", tmp_path / "new")
    assert answer.code == 2
    assert "get them by hand (https://b2share.eudat.eu) and put them into" in answer.err
    assert call("fetch", "nowhere").code == 2


VERBS = [
    "demo",
    "classify",
    "info",
    "run",
    "predict",
    "report",
    "simulate",
    "scenes",
    "fetch",
]


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_every_command_has_an_example(call, verb):
    answer = call(verb, "--help")
    assert answer.code == 0
    assert f"Example: hypercover {verb}" in " ".join(answer.out.split())


def test_help_imports_nothing_heavy():
    """That is what keeps it quick; the clock of a busy machine is no measure."""
    program = (
        "import sys; from hypercover.cli.main import main; sys.argv = ['hypercover', "
        "'--help']\ntry: main()\nexcept SystemExit: pass\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    heavy = {"numpy", "torch", "rasterio", "matplotlib", "sklearn", "pydantic", "xarray"}
    assert not heavy & set(ended.stderr.split())
    for verb in VERBS:
        assert f"  {verb} " in ended.stdout


def test_a_terminal_of_few_letters_loses_nothing_else(desk, scene, tmp_path):
    ended = subprocess.run(
        [str(desk.command), "info", str(scene.image), "-o", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        env=desk.environment | {"PYTHONIOENCODING": "ascii"},
    )
    assert ended.returncode == 0, ended.stderr
    assert "64 rows ? 64 columns" in ended.stdout


@pytest.mark.slow
def test_the_demo_shows_that_a_random_split_flatters(desk, tmp_path):
    ended = desk.shell("demo", "--out", tmp_path / "demo")
    assert ended.returncode == 0, ended.stderr
    assert "demo: accuracy in % (simulated scene)" in ended.stdout
    told = json.loads((tmp_path / "demo" / "metrics.json").read_text())
    for model in ("svm", "cnn"):
        beside = told["beside"]["random"]["models"][model]
        assert beside["overall_accuracy"] > told["models"][model]["overall_accuracy"]


def test_a_terminal_gets_a_bar(desk, scene, tmp_path):
    """On a terminal stderr shows a bar; stdout, which is a file, gets the table alone."""
    import pty

    path = desk.experiment(scene, tmp_path, models={"svm": desk.models["svm"]}, map=False)
    mine, theirs = pty.openpty()
    with (tmp_path / "out").open("w") as out:
        process = subprocess.Popen(
            [str(desk.command), "run", str(path), "-o", str(tmp_path / "run")],
            stdout=out,
            stderr=theirs,
            env=desk.environment | {"TERM": "xterm", "COLUMNS": "100"},
        )
        os.close(theirs)
        shown = b""
        while True:
            try:
                chunk = os.read(mine, 4096)
            except OSError:
                break
            if not chunk:
                break
            shown += chunk
        os.close(mine)
        assert process.wait(60) == 0
    assert b"\x1b[" in shown
    assert b"%" in shown
    assert b"done\r\n" not in shown
    assert "\x1b" not in (tmp_path / "out").read_text()
    assert "blocks" in (tmp_path / "out").read_text()
