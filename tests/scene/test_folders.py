"""Looking through folders: bounded, following nothing, stumbling over nothing."""

import os

import numpy as np
import pytest

from hypercover.scene import folders
from hypercover.scene.folders import look_through


def array(path, **saved):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path.with_suffix(".npy"), np.zeros((20, 20)), **saved)
    if path.suffix != ".npy":
        path.with_suffix(".npy").rename(path)
    return path


def found(*roots):
    return look_through(roots).files


def test_files_are_known_by_their_first_bytes_whatever_they_are_called(tmp_path):
    wanted = [array(tmp_path / name) for name in ("a.txt", "b", "c.npy", "deep/er/d.x")]
    (tmp_path / "words.npy").write_text("no array, " * 50)
    (tmp_path / "empty.mat").write_bytes(b"")
    assert found(tmp_path) == wanted


def test_the_nearest_come_first_and_no_file_twice(tmp_path):
    far, near = array(tmp_path / "data/far.npy"), array(tmp_path / "near.npy")
    assert found(tmp_path, tmp_path / "data", tmp_path) == [near, far]
    assert found(tmp_path / "data", tmp_path) == [far, near]


@pytest.mark.parametrize("folder", [".hidden", "__pycache__", "site-packages"])
def test_hidden_folders_and_programs_are_passed_over(tmp_path, folder):
    array(tmp_path / folder / "a.npy")
    assert found(tmp_path) == []
    assert (found(tmp_path / folder) == []) == (folder != ".hidden"), (
        "unless they are named"
    )


@pytest.mark.parametrize("mark", ["experiment.yaml", "pyvenv.cfg"])
def test_results_and_environments_are_passed_over(tmp_path, mark):
    array(tmp_path / "runs/one/scene/a.npy")
    (tmp_path / "runs/one" / mark).write_text("")
    assert found(tmp_path) == []


def test_links_are_not_followed_and_that_is_said(tmp_path):
    outside = array(tmp_path / "outside/a.npy")
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "file.npy").symlink_to(outside)
    (inside / "folder").symlink_to(outside.parent)
    (inside / "round").symlink_to(inside)
    looked = look_through([inside])
    assert looked.files == []
    assert looked.notes == [
        f"Links are not followed (3 in {inside}); name the folders they lead to with --data."
    ]
    assert found(inside / "folder") == [outside], "a link that is named itself is meant"


def test_depth_and_number_are_bounded_and_that_is_said(tmp_path, monkeypatch):
    deep = tmp_path.joinpath(*"abcdefg")
    array(deep / "too-deep.npy")
    edge = array(deep.parent / "edge.npy")
    assert found(tmp_path) == [edge]
    many = [array(tmp_path / f"{number}.npy") for number in range(5)]
    monkeypatch.setattr(folders, "_MOST_FILES", 3)
    looked = look_through([tmp_path])
    assert looked.files == many[:3]
    assert "holds more files than are looked at" in looked.notes[0]
    monkeypatch.setattr(folders, "_MOST_ENTRIES", 2)
    assert len(look_through([tmp_path]).files) <= 2


def test_what_cannot_be_read_is_counted_and_passed_over(tmp_path, monkeypatch):
    array(tmp_path / "closed/a.npy")
    b = array(tmp_path / "b.npy")
    refused = os.scandir

    def scandir(path):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied")
        return refused(path)

    monkeypatch.setattr(os, "scandir", scandir)
    looked = look_through([tmp_path])
    assert looked.files == [b]
    assert looked.notes == [f"1 files or folders in {tmp_path} cannot be read."]


def test_pipes_and_sockets_do_not_stop_it(tmp_path):
    os.mkfifo(tmp_path / "pipe.npy")
    assert found(tmp_path) == []


def test_a_folder_that_is_not_there_is_noted(tmp_path):
    looked = look_through([tmp_path / "gone"])
    assert looked.notes == [f"There is no folder {tmp_path / 'gone'}."]
