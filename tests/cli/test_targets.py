"""Commands that write one file: a name that cannot be that of one costs a sentence."""

import pytest

WRITE = {
    "windows": ["windows", "{image}", "-l", "{labels}", "-o"],
    "coordinates": ["windows", "{image}", "-l", "{labels}", "--coordinates-only", "-o"],
    "predict": ["predict", "{model}", "{image}", "-o"],
    "confidence": ["predict", "{model}", "{image}", "-o", "{out}/m.tif", "--confidence"],
    "export": ["export", "{model}", "-o"],
    "features": ["features", "{image}", "--chain", "pca:2", "-o"],
    "libsvm write": ["libsvm", "write", "{image}", "-l", "{labels}", "-o"],
    "libsvm export": ["libsvm", "export", "{model}", "-o"],
    "simulate": ["simulate", "--rows", "32", "--cols", "32", "--bands", "4"],
    "area": ["area", "{labels}", "--reference", "{labels}", "-o"],
}
NAMES = ("", ".", "..", "/", "folder", "folder.tif", "folder.onnx", f"{'x' * 300}.tif")


@pytest.mark.parametrize("command", WRITE)
def test_a_name_of_no_file(fields, call, trained, tmp_path, monkeypatch, command):
    out = tmp_path / "out"
    for folder in NAMES[4:7]:
        (out / folder).mkdir(parents=True)
    monkeypatch.chdir(out)
    known = vars(fields) | {"model": trained, "out": out}
    words = [word.format(**known) for word in WRITE[command]]
    for name in NAMES:
        said = call(*words, name).sentence
        assert "Cannot write" in said or "the name" in said, (name, said)
    left = sorted(path.name for path in tmp_path.rglob("*") if path.parent != fields.folder)
    assert left == ["folder", "folder.onnx", "folder.tif", "in", "out"]


def test_an_image_whose_name_is_too_long(call, tmp_path):
    image = tmp_path / ("x" * 300 + ".tif")
    for words in (["info", image], ["windows", image, "-o", tmp_path / "W.h5"]):
        assert "There is no file" in call(*words).sentence


def test_a_file_beside_is_looked_at_too(fields, call, tmp_path):
    (tmp_path / "a-labels.tif").mkdir()
    (tmp_path / "b.positions.json").mkdir()
    (tmp_path / "c.hdr").mkdir()
    write = ["libsvm", "write", fields.image, "-l", fields.labels]
    for words in (
        ["simulate", tmp_path / "a.tif", "--rows", 32, "--cols", 32, "--bands", 4],
        ["simulate", tmp_path / "c.img", "--rows", 32, "--cols", 32, "--bands", 4],
        [*write, "-o", tmp_path / "b.el"],
    ):
        assert "a folder of that name" in call(*words).sentence
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"a-labels.tif", "b.positions.json", "c.hdr", "in"}
