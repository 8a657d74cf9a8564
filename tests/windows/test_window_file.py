"""Window files: whole after any interruption, read like an array, refused where hostile."""

import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from hypercover.errors import CallError, LabelError, OutputError, SceneError, SplitError
from hypercover.scene.grid import Grid, with_grid
from hypercover.scene.legend import Legend
from hypercover.scene.samples import Samples
from hypercover.scene.scene import Scene
from hypercover.splits.split import Split
from hypercover.windows.window_file import WindowFile, WindowMetadata
from hypercover.windows.window_writer import WindowWriter
from hypercover.windows.windows import Windows

BANDS, ROWS, COLS, SIZE = 4, 12, 15, 5
LEGEND = Legend.of({1: "Corn", 2: "Wälder", 7: "Woods"})
PLACE = Grid(ROWS, COLS, None, (20.0, 0.0, 505_000.0, 0.0, -20.0, 4_476_000.0))


def scene_of(dtype="<i2", seed=0):
    chance = np.random.default_rng(seed)
    cube = chance.integers(1, 900, (BANDS, ROWS, COLS)).astype(dtype)
    coords = {
        "wavelength": ("band", np.linspace(450, 900, BANDS)),
        "band": ("band", [1, 2, 5, 9]),
    }
    labels = chance.choice(np.array([0, 1, 2, 7], np.uint8), (ROWS, COLS))
    array = xr.DataArray(cube, dims=("band", "y", "x"), coords=coords)
    return Scene(with_grid(array, PLACE), labels, LEGEND, simulated=True)


def writer_of(scene, path, size=SIZE, part=None, contents="windows", **more):
    samples = Samples.of(scene.labels)
    given = np.arange(len(samples)) % 4 if part is None else part
    drawn = Split.from_parts(train=scene.labels == 1, test=scene.labels == 2, kind="random")
    metadata = WindowMetadata.of(scene, size, drawn, contents)
    return WindowWriter(path, metadata, samples, given.astype(np.uint8), **more)


def pieces_of(scene, writer, step=7):
    windows = Windows.of(scene, writer.samples, writer.metadata.window)

    def after(start):
        for top in range(start, len(windows), step):
            yield windows[top : top + step].cut()

    return after


def write(scene, path, **more):
    writer = writer_of(scene, path, **more)
    with writer.begun() as draft:
        draft.write(pieces_of(scene, writer))
    return WindowFile(path)


@pytest.fixture
def scene():
    return scene_of()


@pytest.fixture
def made(scene, tmp_path):
    file = write(scene, tmp_path / "W.h5")
    dense = Windows.of(scene, file.samples, SIZE).cut()
    return SimpleNamespace(file=file, dense=dense, path=tmp_path / "W.h5", scene=scene)


@pytest.mark.parametrize("dtype", ["u1", "<i2", ">u2", "<i4", "<f4", "<f8"])
def test_every_window_comes_back_in_the_scenes_type(dtype, tmp_path):
    scene = scene_of(dtype)
    file = write(scene, tmp_path / "W.h5")
    assert file.dtype == np.dtype(dtype).newbyteorder("=")
    assert isinstance(file, WindowFile)
    np.testing.assert_array_equal(file.cut(), Windows.of(scene, file.samples, SIZE).cut())
    np.testing.assert_array_equal(file.labels, scene.labels[scene.labels > 0])
    np.testing.assert_array_equal(file.labels, scene.labels[file.rows, file.cols])


def test_all_that_is_known_of_the_scene_comes_back(made):
    file, about = made.file, made.file.metadata
    assert file.legend == LEGEND
    assert file.wavelengths.tolist() == [450, 600, 750, 900]
    assert about.bands == (1, 2, 5, 9)
    assert about.grid == PLACE
    assert about.simulated is True
    assert (about.split, about.band_names, about.fwhm) == ("random", None, None)
    assert file.shape == made.dense.shape
    assert (file.ndim, len(file), file.window) == (4, len(made.dense), SIZE)


def test_bad_bands_come_back(tmp_path):
    scene = scene_of()
    bad = np.arange(scene.n_bands) == 1
    marked = scene.replace(cube=scene.cube.assign_coords(bad=("band", bad)))
    assert write(marked, tmp_path / "W.h5").metadata.bbl == tuple((~bad).tolist())
    assert write(scene, tmp_path / "V.h5").metadata.bbl is None


def test_a_repr_names_the_file_and_its_windows(made):
    assert repr(made.file[:5]) == (
        f"<WindowFile of 5 windows of 4 × 5 × 5 (band, row, col), int16, {made.path}>"
    )


def test_a_legend_larger_than_an_attribute_of_old_may_be(tmp_path):
    scene = scene_of().replace(
        legend=Legend.of({code: f"class {code} " + "x" * 30 for code in range(1, 3000)})
    )
    assert write(scene, tmp_path / "W.h5").legend == scene.legend


@pytest.mark.parametrize(
    "key",
    [
        3,
        -1,
        slice(2, 9, 3),
        slice(None, None, -1),
        [5, 2, 2],
        np.arange(0),
        np.arange(130) % 3 == 0,
        (4, 1),
        (slice(3, 6), 0, 2),
        ([7, 1], slice(1, 3)),
        (..., 0),
    ],
    ids=str,
)
def test_indexing_agrees_with_the_dense_array(made, key):
    file, dense = made.file[:130], made.dense[:130]
    np.testing.assert_array_equal(np.asarray(file[key]), dense[key])


@given(st.lists(st.integers(0, 100), max_size=200), st.booleans())
@settings(max_examples=30)
def test_any_order_and_any_repetition_is_read(tmp_path_factory, order, again):
    folder = tmp_path_factory.getbasetemp()
    path, scene = folder / "order.h5", scene_of()
    file = WindowFile(path) if path.exists() else write(scene, path)
    dense = Windows.of(scene, file.samples, SIZE).cut()
    order = np.array(order * (1 + again), np.intp)
    np.testing.assert_array_equal(file[order].cut(), dense[order])


def test_each_chunk_is_unpacked_once_however_often_it_is_asked_for(made, monkeypatch):
    with h5py.File(made.path, "r") as hdf5:
        chunk = hdf5["windows"].chunks[0]
    read = []
    fill = made.file._handle._fill
    monkeypatch.setattr(
        made.file._handle,
        "_fill",
        lambda data, at, out: read.append(at) or fill(data, at, out),
    )
    order = np.random.default_rng(0).permutation(np.repeat(np.arange(len(made.file)), 3))
    np.testing.assert_array_equal(made.file[order].cut(), made.dense[order])
    assert len(read) == -(-len(made.file) // chunk)


def test_parts_are_taken_by_name(made):
    train = made.file.take_part("train")
    np.testing.assert_array_equal(train.cut(), made.dense[1::4])
    np.testing.assert_array_equal(train.labels, made.file.labels[1::4])
    np.testing.assert_array_equal(train[3:].rows, made.file.rows[1::4][3:])
    with pytest.raises(SplitError, match=r"No window .* part 'guard'"):
        made.file.take_part("guard")
    with pytest.raises(SplitError, match="got 'tests'"):
        made.file.take_part("tests")


def test_coordinates_alone_with_the_scene_give_the_same_windows(made, tmp_path):
    path = tmp_path / "C.h5"
    bare = write(made.scene, path, contents="coordinates")
    with h5py.File(path) as hdf5:
        assert "windows" not in hdf5
    assert bare.shape == made.file.shape
    with pytest.raises(SceneError, match="coordinates only; open it with its scene"):
        bare.cut()
    placed = WindowFile.open(path, made.scene).take_part("train")[::-2]
    np.testing.assert_array_equal(placed.cut(), made.dense[1::4][::-2])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: s.take_bands([0, 1, 2]), r"its bands \(\(1, 2, 5\)\)"),
        (lambda s: s.replace(cube=s.cube.astype("f4")), r"its type \(float32\)"),
        (lambda s: s.replace(cube=s.cube[:, :-1], labels=None), r"its size \(\(11, 15\)\)"),
        (lambda s: s.replace(cube=s.cube.drop_vars("spatial_ref")), "its position"),
    ],
)
def test_another_scene_is_refused(made, change, words):
    with pytest.raises(SceneError, match=words):
        WindowFile.open(made.path, change(made.scene))


def test_a_pickled_file_is_opened_anew_and_reads_the_same(made):
    part = made.file.take_part("test")
    part.cut()
    again = pickle.loads(pickle.dumps(part))
    assert again._handle._open is None
    np.testing.assert_array_equal(again.cut(), part.cut())


def _read_in_child(file, order, answers):
    answers.put((os.getpid() == file._handle._open[0], file[order].cut()))


def test_a_forked_child_opens_the_file_for_itself(made):
    made.file[:1].cut()
    context = multiprocessing.get_context("fork")
    answers, order = context.Queue(), np.arange(len(made.file))[::-1]
    child = context.Process(target=_read_in_child, args=(made.file, order, answers))
    child.start()
    own, found = answers.get(timeout=300)
    child.join()
    assert own is False
    np.testing.assert_array_equal(found, made.dense[::-1])
    np.testing.assert_array_equal(made.file.cut(), made.dense)


def test_a_closed_file_is_opened_again_but_not_another_of_its_name(made):
    made.file.cut()
    made.file.close()
    np.testing.assert_array_equal(made.file[:2].cut(), made.dense[:2])
    made.file.close()
    write(scene_of("f8"), made.path)
    with pytest.raises(SceneError, match="has changed since it was opened"):
        made.file.cut()


# ---------------------------------------------------------------- interruption

KILLED = """
import os, signal, sys
sys.path.insert(0, {here!r})
import test_window_file as t
from pathlib import Path
import hypercover.windows.window_writer as w
w._CHECKPOINT, w._CHUNK = 1, 1400
scene, path, kill = t.scene_of(), Path(sys.argv[1]), sys.argv[2]
writer = t.writer_of(scene, path)
def killed(*_):
    os.kill(os.getpid(), signal.SIGKILL)
def pieces(start):
    for count, piece in enumerate(t.pieces_of(scene, writer)(start)):
        if kill == str(count):
            killed()
        yield piece
if kill == "laid out":
    w.Draft._fill = killed
elif kill == "tables":
    w.os.fsync = killed
elif kill == "closed":
    w.Draft._check = killed
elif kill == "renamed":
    w.FileRecord.forget = killed
with writer.begun() as draft:
    draft.write(pieces)
"""


@pytest.mark.parametrize(
    ("kill", "resumes"),
    [
        ("laid out", 0),
        ("tables", 0),
        ("0", 0),
        ("3", 1),
        ("9", 1),
        ("closed", 1),
        ("renamed", 0),
    ],
)
def test_killed_at_any_moment_it_is_written_in_the_end(made, tmp_path, kill, resumes):
    path = tmp_path / "killed" / "W.h5"
    program = KILLED.format(here=str(Path(__file__).parent))
    call = [sys.executable, "-c", program, str(path), kill]
    killed = subprocess.run(call, capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert path.exists() == (kill == "renamed")
    writer = writer_of(made.scene, path)
    with writer.begun() as draft:
        assert draft.discarded is False
        assert bool(draft.done) == resumes
        draft.write(pieces_of(made.scene, writer))
    np.testing.assert_array_equal(WindowFile(path).cut(), made.dense)
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("stop", [RuntimeError, KeyboardInterrupt])
def test_what_was_kept_is_not_cut_again(scene, tmp_path, stop, monkeypatch):
    monkeypatch.setattr("hypercover.windows.window_writer._CHECKPOINT", 1)
    monkeypatch.setattr("hypercover.windows.window_writer._CHUNK", 1400)
    writer = writer_of(scene, tmp_path / "W.h5")
    asked = []

    def broken(start):
        asked.append(start)
        for count, piece in enumerate(pieces_of(scene, writer)(start)):
            if count == 3:
                raise stop
            yield piece

    with pytest.raises(stop), writer.begun() as draft:
        draft.write(broken)
    assert not writer.path.exists()
    with writer.begun() as draft:
        assert draft.done == 21
        draft.write(pieces_of(scene, writer))
    np.testing.assert_array_equal(
        WindowFile(writer.path).cut(), Windows.of(scene, writer.samples, SIZE).cut()
    )


@pytest.mark.parametrize(
    "change",
    [
        {"size": 3},
        {"identity": "another file"},
        {"part": np.zeros(200)},
        {"contents": "coordinates"},
    ],
    ids=str,
)
def test_a_draft_of_something_else_is_discarded(scene, tmp_path, change, monkeypatch):
    monkeypatch.setattr("hypercover.windows.window_writer._CHECKPOINT", 1)
    monkeypatch.setattr("hypercover.windows.window_writer._CHUNK", 1400)
    first = writer_of(scene, tmp_path / "W.h5")

    def broken(start):
        yield from list(pieces_of(scene, first)(start))[:3]
        raise RuntimeError

    with pytest.raises(RuntimeError), first.begun() as draft:
        draft.write(broken)
    if "part" in change:
        change = {"part": change["part"][: len(first.samples)]}
    other = writer_of(scene, tmp_path / "W.h5", **change)
    with other.begun() as draft:
        assert (draft.done, draft.discarded) == (0, True)
        draft.write(pieces_of(scene, other))
    assert len(WindowFile(other.path)) == len(other.samples)


@pytest.mark.parametrize("damage", ["cut", "note", "empty"])
def test_a_damaged_draft_is_begun_anew(scene, tmp_path, damage, monkeypatch):
    monkeypatch.setattr("hypercover.windows.window_writer._CHECKPOINT", 1)
    monkeypatch.setattr("hypercover.windows.window_writer._CHUNK", 1400)
    writer = writer_of(scene, tmp_path / "W.h5")

    def broken(start):
        yield from list(pieces_of(scene, writer)(start))[:3]
        raise RuntimeError

    with pytest.raises(RuntimeError), writer.begun() as draft:
        draft.write(broken)
    target = writer.draft if damage == "cut" else writer.note
    kept = {"cut": 1000, "note": 5, "empty": 0}[damage]
    target.write_bytes(target.read_bytes()[:kept])
    with writer.begun() as draft:
        assert (draft.done, draft.discarded) == (0, True)
        draft.write(pieces_of(scene, writer))
    assert len(WindowFile(writer.path)) == len(writer.samples)


def test_nobody_else_writes_the_same_file(scene, tmp_path):
    writer = writer_of(scene, tmp_path / "W.h5")
    program = KILLED.format(here=str(Path(__file__).parent))
    call = [sys.executable, "-c", program, str(writer.path), "never"]
    with writer.begun():
        other = subprocess.run(call, capture_output=True, text=True, check=False)
    assert "another process is writing it" in other.stderr


def test_a_scene_that_changes_while_it_is_written_leaves_no_file(scene, tmp_path):
    writer = writer_of(scene, tmp_path / "W.h5")
    first = pieces_of(scene, writer)
    asked = []

    def changing(start):
        asked.append(start)
        return first(start) if len(asked) == 1 else (1 + one for one in first(start))

    with pytest.raises(OutputError, match="reads differently"), writer.begun() as draft:
        draft.write(changing)
    assert not list(tmp_path.iterdir())


def test_a_disk_too_small_is_refused_before_anything_is_written(
    scene, tmp_path, monkeypatch
):
    writer = writer_of(scene, tmp_path / "W.h5")
    needed = writer.bytes + len(writer.samples) * 64 + 2**20
    for free, done in (
        (needed, 0),
        (needed - 1, 0),
        (needed - writer.bytes, len(writer.samples)),
    ):
        monkeypatch.setattr(
            "hypercover.windows.window_writer.shutil.disk_usage",
            lambda _, free=free: SimpleNamespace(free=free),
        )
        if free == needed - 1:
            with pytest.raises(
                OutputError, match=r"disk is full before .* --coordinates-only"
            ):
                writer.check_space()
        else:
            writer.check_space(done)


def test_no_labelled_pixel_is_refused(scene, tmp_path):
    with pytest.raises(LabelError, match="No labelled pixel"):
        writer_of(scene.replace(labels=np.zeros_like(scene.labels)), tmp_path / "W.h5")


# ---------------------------------------------------------------- hostile files


def _replace(hdf5, name, **made):
    del hdf5[name]
    hdf5.create_dataset(name, **made)


def _virtual(hdf5):
    layout = h5py.VirtualLayout(hdf5["windows"].shape, hdf5["windows"].dtype)
    layout[:] = h5py.VirtualSource("/etc/passwd.h5", "x", hdf5["windows"].shape)
    del hdf5["windows"]
    hdf5.create_virtual_dataset("windows", layout)


def _soft(hdf5):
    hdf5.move("labels", "hidden")
    hdf5["labels"] = h5py.SoftLink("/hidden")


def _link(hdf5):
    del hdf5["windows"]
    hdf5["windows"] = h5py.ExternalLink("/tmp/other.h5", "/windows")


def _outside(hdf5):
    shape, dtype = hdf5["windows"].shape, hdf5["windows"].dtype
    del hdf5["windows"]
    size = int(np.prod(shape)) * dtype.itemsize
    hdf5.create_dataset("windows", shape, dtype, external=[("/etc/passwd", 0, size)])


def _put(name, at, value):
    def change(hdf5):
        hdf5[name][at] = value

    return change


def _attr(name, value):
    def change(hdf5):
        hdf5.attrs[name] = value

    return change


HOSTILE = {
    "no windows' labels": (lambda f: f.__delitem__("labels"), "dataset labels is missing"),
    "no parts": (lambda f: f.__delitem__("part"), "dataset part is missing"),
    "group": (
        lambda f: (f.__delitem__("rows"), f.create_group("rows")),
        "dataset rows is missing",
    ),
    "short": (lambda f: _replace(f, "rows", data=[1, 2]), "rows is 2, not"),
    "flat": (lambda f: _replace(f, "labels", data=np.ones((2, 2), int)), "labels is 2 × 2"),
    "scalar": (lambda f: _replace(f, "labels", data=1), "labels is a single value"),
    "real": (lambda f: _replace(f, "labels", data=np.ones(9)), "labels is of type float64"),
    "objects": (
        lambda f: _replace(f, "labels", data=["a", "b"], dtype=h5py.string_dtype()),
        "labels is of type object",
    ),
    "compound": (
        lambda f: _replace(f, "labels", data=np.zeros(3, "i4,i4")),
        "labels is of type",
    ),
    "type": (
        lambda f: _replace(f, "windows", data=f["windows"][:].astype("f4")),
        "windows are of type float32, not int16",
    ),
    "bands": (lambda f: _replace(f, "windows", data=f["windows"][:, :3]), "windows is"),
    "count": (lambda f: _replace(f, "windows", data=f["windows"][1:]), "windows is"),
    "absurd": (
        lambda f: _replace(f, "labels", shape=(2**52,), dtype="u1", chunks=(1024,)),
        "GiB",
    ),
    "bomb": (
        lambda f: _replace(
            f,
            "windows",
            shape=f["windows"].shape,
            dtype="i2",
            maxshape=(None,) * 4,
            chunks=(2**24, 4, 5, 5),
        ),
        "has chunks of 3,355,443,200 bytes",
    ),
    "label": (_put("labels", 3, 4), "contain the code 4, which is not in its legend"),
    "unlabelled": (_put("labels", 3, 0), "contain the code 0"),
    "row": (_put("rows", 0, 12), "rows are not whole numbers below 12"),
    "column": (_put("cols", 0, -1), "cols are not whole numbers below 15"),
    "twice": (
        lambda f: (
            f["rows"].__setitem__(1, f["rows"][0]),
            f["cols"].__setitem__(1, f["cols"][0]),
        ),
        "two samples lie on one pixel",
    ),
    "part": (_put("part", 0, 6), "parts must be codes from 0 to 5"),
    "virtual": (_virtual, "takes its data from another file"),
    "external": (_outside, "takes its data from another file"),
    "soft": (_soft, "labels is a link"),
    "link": (_link, "windows is a link"),
    "format": (_attr("format", "scene"), "not a file of the format"),
    "version": (_attr("version", 2), "of version 2"),
    "window": (_attr("window", 4), "'window' is wrong: the window size must be odd, got 4"),
    "size": (_attr("window", 2**40), "'window'"),
    "dtype": (_attr("dtype", "object"), "'dtype'"),
    "band": (_attr("bands", [1, 2, 0, 4]), "'bands'"),
    "more bands": (_attr("bands", np.arange(1, 6)), "'wavelengths'"),
    "wave": (_attr("wavelengths", [1, 2, np.nan, 3]), "'wavelengths'"),
    "grid": (_attr("grid_rows", 0), "'grid_rows'"),
    "no windows": (lambda f: f.__delitem__("windows"), "its dataset windows is missing"),
    "contents": (_attr("contents", "nothing"), "'contents'"),
    "settings": (_attr("split_settings", "[]"), "'split_settings'"),
    "endless settings": (_attr("split_settings", '{"size": 1e999}'), "'split_settings'"),
    "odd settings": (_attr("split_settings", '{"size": NaN}'), "'split_settings'"),
    "deep settings": (_attr("split_settings", '{"size": {}}'), "'split_settings'"),
    "checksums": (_attr("checksums", '["0f"]'), "'checksums'"),
    "few checksums": (_attr("checksums", "[]"), "it has 0 checksums"),
    "checksums no list": (_attr("checksums", '{"a": 1}'), "'checksums'"),
    "crs": (_attr("crs", "nonsense"), "is not WKT"),
    "transform": (_attr("transform", [1.0, 2.0]), "'transform'"),
    "legend": (_attr("legend", "{"), "not JSON"),
    "legend code": (
        _attr("legend", '[{"code": 0, "name": "a", "color": "#000000"}]'),
        "legend",
    ),
    "attribute": (_attr("scene", np.zeros(2**12, "V64")), "'scene' is not a number"),
    "none": (
        lambda f: [f.attrs.__delitem__(key) for key in list(f.attrs)],
        "not a file of the",
    ),
}


@pytest.mark.parametrize("damage", HOSTILE)
def test_a_hostile_file_is_one_sentence(made, damage):
    change, words = HOSTILE[damage]
    with h5py.File(made.path, "r+") as hdf5:
        change(hdf5)
    with pytest.raises(CallError) as error:
        WindowFile(made.path)
    said = str(error.value)
    assert words in said
    assert str(made.path) in said
    assert said.endswith(".")
    assert "\n" not in said


def test_a_filter_that_is_not_here_is_named(made):
    with h5py.File(made.path, "r+") as hdf5:
        values = hdf5["windows"][:]
        del hdf5["windows"]
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_chunk(values.shape)
        plist.set_filter(399, h5py.h5z.FLAG_OPTIONAL, ())
        space = h5py.h5s.create_simple(values.shape)
        h5py.h5d.create(hdf5.id, b"windows", h5py.h5t.NATIVE_INT16, space, plist)
    with pytest.raises(SceneError, match=r"filter 399 .* h5repack"):
        WindowFile(made.path)


def test_a_file_that_does_not_say_that_it_holds_windows_still_opens(scene, tmp_path):
    path = tmp_path / "old.h5"
    write(scene, path)
    with h5py.File(path, "r+") as hdf5:
        del hdf5.attrs["contents"]
    file = WindowFile(path)
    assert file.stored
    assert file.metadata.checksums is None
    np.testing.assert_array_equal(
        WindowFile.open(path, scene).cut(), Windows.of(scene, file.samples, SIZE).cut()
    )


def test_a_file_without_windows_that_does_not_say_so_is_refused(scene, tmp_path):
    """It may have been robbed of them, and would pass for one of coordinates only."""
    path = tmp_path / "robbed.h5"
    write(scene, path, contents="coordinates")
    assert not WindowFile(path).stored
    with h5py.File(path, "r+") as hdf5:
        del hdf5.attrs["contents"]
    with pytest.raises(SceneError, match="does not say that it holds coordinates only"):
        WindowFile(path)


@pytest.mark.parametrize("kept", [0, 7, 100, 2000, -1, -100])
def test_a_truncated_file_is_one_sentence(made, kept):
    made.path.write_bytes(made.path.read_bytes()[:kept])
    with pytest.raises(SceneError, match="not an HDF5 file, or cut short"):
        WindowFile(made.path)


def test_no_file_and_a_folder_are_one_sentence(tmp_path):
    for path in (tmp_path / "none.h5", tmp_path):
        with pytest.raises(SceneError, match="cannot be read"):
            WindowFile(path)


@given(st.data())
@settings(max_examples=60)
def test_flipped_bytes_never_crash_nor_lie_about_size(tmp_path_factory, data):
    folder = tmp_path_factory.getbasetemp()
    source, path = folder / "flip.h5", folder / "flipped.h5"
    if not source.exists():
        write(scene_of(), source)
    whole = bytearray(source.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(whole) - 1))
        whole[at] ^= data.draw(st.integers(1, 255))
    path.write_bytes(whole)
    try:
        file = WindowFile(path)
        cut = file.cut()
    except CallError:
        return
    assert cut.shape == file.shape
