"""Files of a known scene, from a disk and from a server that does everything wrong."""

import hashlib
import io
import re
import signal
import subprocess
import sys
import threading
import zipfile
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from scipy.io import savemat

from hypercover.errors import CallError, OutputError, RunError
from hypercover.scene.datasets.catalog import KnownFile, KnownScene
from hypercover.scene.datasets.fetch import fetch_scene

NAME = "cube.mat"


@pytest.fixture(scope="module")
def cube():
    """The bytes of a MATLAB file with an image of 20 × 30 × 60."""
    values = np.random.default_rng(0).integers(0, 9000, (20, 30, 60)).astype(np.uint16)
    file = io.BytesIO()
    savemat(file, {"cube": values})
    return file.getvalue()


class Server(ThreadingHTTPServer):
    """Serves some bytes; the folder in the address says what goes wrong."""

    daemon_threads = True

    def __init__(self, content):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = content
        self.asked = []
        self.broken = 0
        self.still = threading.Event()

    def address(self, fault="ok", name=NAME):
        return f"http://127.0.0.1:{self.server_port}/{fault}/{name}"


class Handler(BaseHTTPRequestHandler):
    """Answers as the address wishes."""

    def log_message(self, *words):
        pass

    def do_GET(self):
        fault = self.path.split("/")[1]
        self.server.asked.append((fault, self.headers.get("Range")))
        getattr(self, fault, self.ok)()

    def ok(self, content=None):
        content = self.server.content if content is None else content
        first = 0
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        if asked and int(asked[1]) >= len(content):
            self.send_error(416)
            return
        if asked:
            first = int(asked[1])
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/*")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(content) - first))
        self.end_headers()
        self.body(content[first:])

    def body(self, content):
        self.wfile.write(content)

    def once(self):
        """Break off in the middle the first time."""
        self.server.broken += 1
        if self.server.broken == 1:
            self.body = lambda content: self.wfile.write(content[: len(content) // 2])
        self.ok()

    def truncated(self):
        self.body = lambda content: self.wfile.write(content[: len(content) // 3])
        self.ok()

    def stalled(self):
        def body(content):
            self.wfile.write(content[:1000])
            self.wfile.flush()
            self.server.still.wait(20)

        self.body = body
        self.ok()

    def corrupt(self):
        content = bytearray(self.server.content)
        content[len(content) // 2] ^= 1
        self.ok(bytes(content))

    def page(self):
        self.ok(b"<!DOCTYPE html><html>We have moved.</html>" * 9)

    def chunked(self):
        """Send no length, as some servers do."""
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.server.content)

    def refused(self):
        self.send_error(403)

    def gone(self):
        self.send_error(404)

    def moved(self):
        self.send_response(302)
        self.send_header("Location", self.server.address())
        self.end_headers()

    def circle(self):
        self.send_response(302)
        self.send_header("Location", self.path)
        self.end_headers()

    def elsewhere(self):
        self.send_response(302)
        self.send_header("Location", "file:///etc/passwd")
        self.end_headers()


@contextmanager
def serving(content):
    server = Server(content)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.still.set()
        server.shutdown()
        server.server_close()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    """Let pooch try again at once."""
    monkeypatch.setattr("pooch.core.time.sleep", lambda seconds: None)


@pytest.fixture
def server(cube):
    with serving(cube) as running:
        yield running


def scene_of(file, **more):
    return KnownScene(
        key="fields",
        title="Fields",
        sensor="",
        rows=20,
        cols=30,
        bands=60,
        classes=2,
        files=(file,),
        citation="",
        licence="",
        defects=(),
        wavelengths="",
        bad_bands="",
        **more,
    )


def file_of(server, *faults, known=True, **more):
    """A file at some addresses, the publisher's first."""
    addresses = [server.address(fault) for fault in faults or ["ok"]]
    digest = hashlib.sha256(server.content).hexdigest() if known else None
    return KnownFile(
        NAME,
        "image",
        addresses[0],
        None,
        digest,
        "cube",
        (20, 30, 60),
        tuple(addresses[1:]),
        **more,
    )


def fetch(server, folder, *faults, known=True, **more):
    scene = scene_of(file_of(server, *faults, known=known))
    return fetch_scene(scene, folder, patience=0.5, **more)[0]


def names(folder):
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


@pytest.mark.parametrize("fault", ["ok", "moved", "once", "chunked"])
@pytest.mark.parametrize("known", [True, False])
def test_what_comes_is_whole(server, cube, tmp_path, fault, known):
    seen = []

    @contextmanager
    def watch(title):
        assert title == NAME
        yield lambda done, total: seen.append(done)

    got = fetch(server, tmp_path, fault, known=known, watch=watch)
    assert got.path.read_bytes() == cube
    assert names(tmp_path) == [NAME]
    assert seen[-1] == len(cube)
    assert ("with the published checksum" in got.how) == known


def test_what_broke_off_is_gone_on_with(server, cube, tmp_path):
    fetch(server, tmp_path, "once")
    (_, first), (_, second) = server.asked
    assert first is None
    assert len(cube) // 2 - 2**13 < int(second.strip("bytes=-")) <= len(cube) // 2


def part_of(folder, address):
    """The file in which the received bytes of an address are kept."""
    name = f"{hashlib.sha256(address.encode()).hexdigest()[:16]}.part"
    return folder / f".{NAME}.download" / name


def test_the_next_call_resumes_the_part_of_this_one(server, cube, tmp_path):
    with pytest.raises(RunError, match="broke off"):
        fetch(server, tmp_path, "truncated")
    part = part_of(tmp_path, server.address("truncated"))
    have = part.stat().st_size
    assert names(tmp_path) == [f".{NAME}.download"]
    part.rename(part_of(tmp_path, server.address()))
    assert fetch(server, tmp_path).path.read_bytes() == cube
    assert server.asked[-1] == ("ok", f"bytes={have}-")
    assert names(tmp_path) == [NAME]


_KILLED = """
import os, signal, sys
from pathlib import Path
from hypercover.scene.datasets.fetch import download

def progress(done, total):
    if done > 2**14:
        os.kill(os.getpid(), signal.SIGKILL)

download([sys.argv[1]], Path(sys.argv[2]), check=lambda path: None, progress=progress)
"""


def test_a_killed_call_leaves_its_part_and_nothing_that_stays(server, cube, tmp_path):
    call = [sys.executable, "-c", _KILLED, server.address(), str(tmp_path / NAME)]
    assert subprocess.run(call, check=False).returncode == -signal.SIGKILL
    assert names(tmp_path) == [f".{NAME}.download"]
    assert fetch(server, tmp_path).path.read_bytes() == cube
    (_, first), (_, second) = server.asked
    assert (first, second.startswith("bytes=")) == (None, True)
    assert names(tmp_path) == [NAME]


@pytest.mark.parametrize("size", [500, 10**7])
def test_a_part_that_turns_out_wrong_is_fetched_anew(server, cube, tmp_path, size):
    part = part_of(tmp_path, server.address())
    part.parent.mkdir()
    part.write_bytes(b"x" * size)
    assert fetch(server, tmp_path).path.read_bytes() == cube
    assert [asked for _, asked in server.asked] == [f"bytes={size}-", None]


def test_a_server_that_sends_all_of_it_again_is_believed(server, cube, tmp_path):
    part = part_of(tmp_path, server.address("chunked"))
    part.parent.mkdir()
    part.write_bytes(b"x" * 500)
    assert fetch(server, tmp_path, "chunked").path.read_bytes() == cube
    assert len(server.asked) == 1


def test_an_endless_file_is_given_up(server, tmp_path, monkeypatch):
    monkeypatch.setattr("hypercover.scene.datasets.fetch.LARGEST", 10_000)
    with pytest.raises(RunError, match="sends more than the 0 GiB of any scene"):
        fetch(server, tmp_path, "chunked")
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("refused", "answers 403 Forbidden"),
        ("gone", "answers 404 Not Found"),
        ("corrupt", "sends a file with another checksum than was published"),
        ("page", "sends a file with another checksum than was published"),
        ("truncated", "broke off"),
        ("stalled", "broke off"),
        ("circle", "leads in circles"),
        ("elsewhere", "leads elsewhere than to a web server"),
    ],
)
def test_a_fault_is_one_sentence_and_a_mirror_helps(server, cube, tmp_path, fault, words):
    folder = tmp_path / "new"
    with pytest.raises(RunError) as caught:
        fetch(server, folder, fault)
    said = str(caught.value)
    assert (
        f"{NAME} cannot be fetched: 127.0.0.1:{server.server_port} {words}; get it" in said
    )
    assert f"({server.address(fault)}) and put it into {folder}, under any name." in said
    assert NAME not in names(folder)
    assert folder.exists() == (fault == "truncated")
    assert fetch(server, folder, fault, "ok").path.read_bytes() == cube


@pytest.mark.parametrize(
    "content", [b"", b"<html>moved</html>", b"MATLAB 5.0" + bytes(200)]
)
def test_without_a_checksum_the_content_decides(tmp_path, content):
    with serving(content) as server, pytest.raises(RunError, match="sends something else"):
        fetch(server, tmp_path / "new", known=False)
    assert names(tmp_path / "new") == []


def test_a_server_that_is_not_there(cube, tmp_path):
    with serving(cube) as server:
        pass
    with pytest.raises(RunError, match=r"127\.0\.0\.1:\d+ does not answer; get it by hand"):
        fetch(server, tmp_path)


def test_a_file_on_the_disk_is_taken_under_any_name(server, cube, tmp_path):
    other = tmp_path / "deep" / "er"
    other.mkdir(parents=True)
    (other / "no-idea.dat").write_bytes(cube)
    got = fetch(server, tmp_path / "new", "refused", look_in=[tmp_path])
    assert got.path == other / "no-idea.dat"
    assert got.how == "on the disk already, known by its checksum"
    assert server.asked == []
    assert not (tmp_path / "new").exists()


def test_a_copy_in_other_bytes_is_known_by_what_it_holds(server, tmp_path):
    values = np.ones((20, 30, 60), np.int16)
    savemat(tmp_path / "other.mat", {"cube": values})
    got = fetch(server, tmp_path, "refused")
    assert got.how.endswith("known by its array cube and size")
    savemat(tmp_path / "other.mat", {"tube": values})
    with pytest.raises(RunError, match="403"):
        fetch(server, tmp_path, "refused")


def test_labels_are_known_by_the_pixels_of_their_classes(server, tmp_path, data_folder):
    from hypercover.scene.datasets.catalog import known_scene

    scene = known_scene("salinas-a")
    labels = next(file for file in scene.files if file.is_labels)
    lonely = replace(labels, address=server.address("gone"), mirrors=(), sha256="0" * 64)
    scene = replace(scene, files=(lonely,))
    (got,) = fetch_scene(scene, tmp_path, look_in=[data_folder])
    assert got.path == data_folder / "salinas_a/SalinasA_gt.mat"
    assert got.how.endswith("known by the pixels of its classes")


def test_what_is_in_the_way_stays(server, tmp_path):
    (tmp_path / NAME).write_bytes(b"mine" * 100)
    with pytest.raises(OutputError, match=r"it is not cube\.mat of Fields"):
        fetch(server, tmp_path)
    assert (tmp_path / NAME).read_bytes() == b"mine" * 100


def test_no_address_is_a_wrong_call(tmp_path):
    file = KnownFile("some.el", "image", "https://b2share.eudat.eu")
    with pytest.raises(CallError, match="no address of the file itself is known; get it"):
        fetch_scene(scene_of(file), tmp_path)


def packed(**files):
    """Pack files, each in a folder, into the bytes of a zip archive."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(f"../odd/{name.replace('_', '.')}", content)
    return out.getvalue()


def test_a_file_in_an_archive_in_an_archive(cube, tmp_path):
    inside = packed(readme_txt=b"hello", bundle_zip=packed(cube_mat=cube))
    with serving(inside) as server:
        known = replace(
            file_of(server),
            sha256=None,
            archive=server.address(name="serve?render=archive"),
        )
        (got,) = fetch_scene(scene_of(known), tmp_path / "new")
    assert got.path.read_bytes() == cube
    assert names(tmp_path / "new") == [NAME]


@pytest.mark.parametrize(
    ("inside", "words"),
    [
        (packed(other_mat=b"x"), "gives an archive without it"),
        (packed(cube_mat=b"x" * 300), "sends something else than the file"),
        (b"no archive at all", "sends something else than an archive"),
    ],
)
def test_a_wrong_archive(tmp_path, inside, words):
    with serving(inside) as server:
        known = replace(file_of(server), sha256=None, archive=server.address(name="all"))
        with pytest.raises(RunError, match=words):
            fetch_scene(scene_of(known), tmp_path / "new")
    assert names(tmp_path / "new") == []


def test_a_damaged_archive_is_a_sentence(cube, tmp_path):
    inside = bytearray(packed(cube_mat=cube))
    inside[len(inside) // 2] ^= 255
    with serving(bytes(inside)) as server:
        known = replace(file_of(server), sha256=None, archive=server.address(name="all"))
        with pytest.raises(RunError, match="damaged archive"):
            fetch_scene(scene_of(known), tmp_path / "new")
    assert NAME not in names(tmp_path / "new")
