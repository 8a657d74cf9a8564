"""Getting the files of a known scene: from the disk if they are there, else from the web."""

import shutil
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any
from urllib.parse import urlsplit

from hypercover.errors import CallError, OutputError, RunError
from hypercover.files import atomic, explained, make_folder, missing_folders
from hypercover.scene.datasets.catalog import KnownFile, KnownScene
from hypercover.scene.datasets.finding import known_by, look_through, same_bytes

__all__ = ["LARGEST", "Fault", "Fetched", "download", "fetch_scene", "unpack"]

LARGEST = 4 * 2**30
"""Bytes of a file beyond which no known scene goes."""

_CHUNK = 2**13
"""Bytes received at once: so many are lost where a connection breaks off."""

_TRIES = 3
"""Times a connection that breaks off is taken up again."""

_AGENT = "hypercover (land-cover maps)"

Check = Callable[[Path], str | None]

Progress = Callable[[int, int], None]


class Fault(Exception):
    """Addresses did not give the file; the arguments say why, one for each."""


class _BrokenError(Fault):
    """The connection broke off; what came is kept, and it may be tried again."""


def download(
    addresses: Iterable[str],
    target: Path,
    *,
    check: Check,
    progress: Progress = lambda done, total: None,
    patience: float = 30.0,
    pause: float = 1.0,
) -> str:
    """Download a file from the first of some addresses that gives it.

    Why it exists: the servers of universities break off, move and refuse.  What
    has come lies in ``<name>.part`` beside the target and is gone on with, after
    a broken connection and in the next call alike; the target appears only
    once it is whole and right.

    Parameters
    ----------
    addresses : iterable of str
        The publisher's first, then mirrors.
    target : path
        File to write; must not be there.
    check : callable
        Given the downloaded file, returns what is wrong with it, or None.
    progress : callable
        Called with the bytes that have come and the bytes in all.
    patience : float
        Seconds without a byte after which a server is given up.
    pause : float
        Seconds before a broken connection is taken up again.

    Returns
    -------
    str
        The address that gave the file.

    Raises
    ------
    Fault
        If none of them gave it; its arguments say what each of them did.
    OutputError
        If the file cannot be written.
    """
    import pooch

    pooch.get_logger().setLevel("ERROR")
    make_folder(target.parent)
    part = target.with_name(f"{target.name}.part")
    faults: list[str] = []
    # Where pooch makes files of random names, which a process that is killed leaves.
    aside = target.with_name(f".{target.name}.fetch")
    for address in addresses:
        fetch = _Resuming(part, check, progress, patience, pause)
        try:
            pooch.retrieve(address, None, target.name, aside, downloader=fetch)
            (aside / target.name).replace(target)
            return address
        except Fault as fault:
            faults.append(f"{urlsplit(address).netloc} {fault}")
        except OSError as error:
            raise explained(target, error) from error
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    raise Fault(*dict.fromkeys(faults))


@dataclass
class _Resuming:
    """A downloader for pooch that goes on where an earlier one broke off."""

    part: Path
    check: Check
    progress: Progress
    patience: float
    pause: float

    @property
    def _mark(self) -> Path:
        """File that says which version of which address the part is of."""
        return self.part.with_name(f"{self.part.name}.of")

    def __call__(self, url: str, output_file: str, _pooch: Any) -> None:
        """Download an address to a file."""
        for left in reversed(range(_TRIES)):
            try:
                resumed = self._receive(url)
                break
            except _BrokenError:
                if not left:
                    raise
                time.sleep(self.pause)
        wrong = self.check(self.part)
        if wrong is not None and resumed:
            # The part may have been of another version: once more from the start.
            self._forget()
            self._receive(url)
            wrong = self.check(self.part)
        if wrong is not None:
            self._forget()
            raise Fault(wrong)
        self.part.replace(output_file)
        self._forget()

    def _forget(self) -> None:
        self.part.unlink(missing_ok=True)
        self._mark.unlink(missing_ok=True)

    def _receive(self, url: str) -> bool:
        """Receive what is missing; tell whether an earlier part was gone on with."""
        import requests

        have = self._had(url)
        try:
            with requests.get(
                url, headers=self._headers(have), stream=True, timeout=self.patience
            ) as answer:
                return self._store(url, answer, have)
        except requests.exceptions.InvalidSchema:
            raise Fault("leads elsewhere than to a web server") from None
        except requests.exceptions.TooManyRedirects:
            raise Fault("leads in circles") from None
        except (requests.exceptions.Timeout, requests.exceptions.ConnectionError) as error:
            if have == 0 and not self.part.exists():
                raise _BrokenError("does not answer") from error
            raise _BrokenError("broke off") from error
        except requests.exceptions.RequestException as error:
            raise _BrokenError("broke off") from error

    def _had(self, url: str) -> int:
        """Return how many bytes of this address have come before."""
        if not self.part.exists():
            return 0
        said = self._mark.read_text().splitlines() if self._mark.exists() else []
        if said[:1] != [url]:
            self._forget()
            return 0
        return self.part.stat().st_size

    def _headers(self, have: int) -> dict[str, str]:
        headers = {"Accept-Encoding": "identity", "User-Agent": _AGENT}
        if have:
            headers["Range"] = f"bytes={have}-"
            version = "".join(self._mark.read_text().splitlines()[1:2])
            if version:
                headers["If-Range"] = version
        return headers

    def _store(self, url: str, answer: Any, have: int) -> bool:
        """Write what a server sends behind what has come before."""
        if answer.status_code == 416:
            self._forget()
            raise _BrokenError("has another file now")
        if answer.status_code not in (200, 206):
            raise Fault(f"answers {answer.status_code} {answer.reason}".strip())
        resumed = answer.status_code == 206 and have > 0
        if resumed and not answer.headers.get("Content-Range", "").startswith(
            f"bytes {have}-"
        ):
            self._forget()
            raise _BrokenError("sends another part than was asked for")
        done = have if resumed else 0
        length = answer.headers.get("Content-Length", "")
        total = done + int(length) if length.isdigit() else 0
        self._mark.write_text(f"{url}\n{_version(answer.headers)}\n")
        with self.part.open("ab" if resumed else "wb") as out:
            for chunk in answer.iter_content(_CHUNK):
                done += len(chunk)
                if max(done, total) > LARGEST:
                    self._forget()
                    raise Fault(f"sends more than the {LARGEST // 2**30} GiB of any scene")
                out.write(chunk)
                self.progress(done, total)
        if done < total:
            raise _BrokenError("broke off")
        return resumed


def _version(headers: Any) -> str:
    """Return what tells this version of a file from the next, if the server says."""
    tag = str(headers.get("ETag", ""))
    return (
        tag if tag and not tag.startswith("W/") else str(headers.get("Last-Modified", ""))
    )


_DEEPEST = 3
"""Archives within one another."""

_MOST_MEMBERS = 10_000

_UNZIP_CHUNK = 2**20


def unpack(archive: Path, name: str, target: Path) -> bool:
    """Take the file of a name out of a zip archive; tell whether it was there.

    Only the last part of a name counts, so no path in the archive leads
    anywhere.  Sizes, numbers and depth are bounded.

    Raises
    ------
    RunError
        If the archive is damaged, locked with a password or too large.
    OutputError
        If the file cannot be written.
    """
    try:
        return _look(archive, name, target, _DEEPEST)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise RunError(
            f"{archive} is a damaged archive; remove it and fetch it again."
        ) from error
    except RuntimeError as error:
        if isinstance(error, RunError):
            raise
        raise RunError(f"{archive} asks for a password; unpack it by hand.") from error


def _look(archive: Path, name: str, target: Path, depth: int) -> bool:
    with zipfile.ZipFile(archive) as opened:
        inner = []
        for member in opened.infolist()[:_MOST_MEMBERS]:
            called = PurePosixPath(member.filename).name
            if called == name and not member.is_dir():
                with atomic(target) as draft, draft.open("wb") as out:
                    _copy(opened.open(member), out, archive)
                return True
            if called.lower().endswith(".zip"):
                inner.append(member)
        return depth > 1 and any(
            _look_inside(opened, member, name, target, depth - 1) for member in inner
        )


def _look_inside(
    opened: zipfile.ZipFile, member: zipfile.ZipInfo, name: str, target: Path, depth: int
) -> bool:
    """Look into an archive in an archive, laid beside the target meanwhile."""
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".unpack-") as folder:
        inner = Path(folder) / "inner.zip"
        with opened.open(member) as source, inner.open("wb") as out:
            _copy(source, out, inner)
        return _look(inner, name, target, depth)


def _copy(source: IO[bytes], out: IO[bytes], archive: Path) -> None:
    """Copy no more than any known scene holds, whatever the archive declares."""
    copied = 0
    while chunk := source.read(_UNZIP_CHUNK):
        copied += len(chunk)
        if copied > LARGEST:
            raise RunError(f"{archive} holds more than {LARGEST // 2**30} GiB in one file.")
        out.write(chunk)


Watch = Callable[[str], AbstractContextManager[Progress]]


@dataclass(frozen=True)
class Fetched:
    """A file of a known scene that is on the disk now."""

    file: KnownFile
    """What it is."""
    path: Path
    """Where it lies."""
    how: str
    """How it came there and by what it is known."""


def _unwatched(_title: str) -> AbstractContextManager[Progress]:
    return nullcontext(lambda done, total: None)


def fetch_scene(
    scene: KnownScene,
    folder: str | Path,
    *,
    look_in: Iterable[str | Path] = (),
    watch: Watch = _unwatched,
    patience: float = 30.0,
    pause: float = 1.0,
) -> list[Fetched]:
    """Bring the files of a known scene onto the disk.

    Why it exists: everybody needs the same few files, and their servers refuse
    scripts, move and go away.  So a file that is on the disk already is
    taken, under whatever name; otherwise its addresses are tried in turn, and
    what comes is checked: by checksum where one is published, else by what it holds.

    Parameters
    ----------
    scene : KnownScene
        One of :func:`~hypercover.scene.datasets.catalog.known_scenes`.
    folder : path
        Where to put what is downloaded, and where to look first.
    look_in : iterable of path
        Other folders to look through.
    watch : callable
        Gives, for a title, a context whose value is called with the bytes done
        and the bytes in all.
    patience, pause : float
        See :func:`~hypercover.scene.datasets.fetch.download`.

    Raises
    ------
    CallError
        If an address of a missing file is not known.
    RunError
        If no address gave a missing file.  All others are fetched first, and the
        sentence says what to put where.
    OutputError
        If a file cannot be written, or another one is in its way.
    """
    return _Errand(scene, Path(folder), watch, patience, pause).run(look_in)


@dataclass
class _Errand:
    """The fetching of one scene."""

    scene: KnownScene
    folder: Path
    watch: Watch
    patience: float
    pause: float

    def run(self, look_in: Iterable[str | Path]) -> list[Fetched]:
        """Fetch what can be fetched, and say of the rest what to put where."""
        made = missing_folders(self.folder / "file")
        folders = [self.folder, *map(Path, look_in)]
        there = look_through(one for one in folders if one.is_dir()).files
        there = [path for path in there if path.suffix != ".part"]
        got, lacking = [], dict[KnownFile, Fault]()
        for file in self.scene.files:
            try:
                got.append(self._found(file, there) or self._downloaded(file))
            except Fault as fault:
                lacking[file] = fault
        self._archive.unlink(missing_ok=True)
        if lacking:
            _remove_empty(made)
            raise self._error(lacking)
        return got

    def _error(self, lacking: Mapping[KnownFile, Fault]) -> CallError | RunError:
        """Say in one sentence what is missing, why, and what to put where."""
        names = " and ".join(file.name for file in lacking)
        why = " and ".join(
            dict.fromkeys(str(one) for f in lacking.values() for one in f.args)
        )
        where = " and ".join(dict.fromkeys(file.address for file in lacking))
        it = "it" if len(lacking) == 1 else "them"
        said = (
            f"{names} cannot be fetched: {why}; get {it} by hand ({where}) and put {it} "
            f"into {self.folder}, under any name."
        )
        return RunError(said) if any(one.downloads for one in lacking) else CallError(said)

    def _found(self, file: KnownFile, there: list[Path]) -> Fetched | None:
        """Find a file on the disk, whatever it is called."""
        for path in there:
            by = known_by(path, file, self.scene)
            if by is not None:
                return Fetched(file, path, f"on the disk already, known by {by}")
        return None

    def _downloaded(self, file: KnownFile) -> Fetched:
        target = self.folder / file.name
        if not file.downloads:
            raise Fault("no address of the file itself is known")
        if target.exists():
            raise OutputError(
                f"{target} is there, but it is not {file.name} of {self.scene.title}: it is "
                "damaged or something else; move it away or choose another folder with -o."
            )
        address = self._taken(file, target)
        return Fetched(file, target, f"downloaded from {address}, {_checked(file)}")

    def _taken(self, file: KnownFile, target: Path) -> str:
        """Download a file, or the archive it lies in."""
        if file.archive is None:
            return self._download(file.name, file.downloads, target, self._checker(file))
        if not self._archive.exists():
            self._download(self._archive.name, file.downloads, self._archive, _no_archive)
        if not unpack(self._archive, file.name, target):
            raise Fault(f"{file.archive} gives an archive without it")
        wrong = self._checker(file)(target)
        if wrong is not None:
            target.unlink()
            raise Fault(f"{file.archive} {wrong}")
        return file.archive

    def _download(
        self,
        title: str,
        addresses: Iterable[str],
        target: Path,
        check: Callable[[Path], str | None],
    ) -> str:
        with self.watch(title) as progress:
            return download(
                addresses, target, check=check, progress=progress,
                patience=self.patience, pause=self.pause)  # fmt: skip

    @property
    def _archive(self) -> Path:
        return self.folder / f"{self.scene.key}.zip"

    def _checker(self, file: KnownFile) -> Callable[[Path], str | None]:
        """Return what says what is wrong with a downloaded file."""

        def check(path: Path) -> str | None:
            same = same_bytes(path, file)
            if same is False:
                return "sends a file with another checksum than was published"
            if same is None and known_by(path, file, self.scene) is None:
                return "sends something else than the file"
            return None

        return check


def _remove_empty(folders: Iterable[Path]) -> None:
    """Remove folders that were made and hold nothing."""
    for folder in folders:
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def _checked(file: KnownFile) -> str:
    """Say by what a downloaded file is known."""
    if file.sha256 or file.git_blob:
        return "with the published checksum"
    return "known by what it holds, for no checksum is known"


def _no_archive(path: Path) -> str | None:
    return None if zipfile.is_zipfile(path) else "sends something else than an archive"
