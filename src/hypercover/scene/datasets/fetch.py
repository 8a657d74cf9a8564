"""Fetching the files of known scenes: from disk if they are there, or else by pooch."""

import hashlib
import shutil
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from io import FileIO
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

from hypercover.errors import CallError, OutputError, RunError
from hypercover.files import atomic, make_folder, missing_folders, write_error
from hypercover.scene.datasets import discovery
from hypercover.scene.datasets.catalog import KnownFile, KnownScene
from hypercover.types import Progress

LARGEST = 4 * 2**30
"""Bytes; no file of a known scene is larger."""

_CHUNK = 2**13
"""Bytes received at once: so many are lost when a connection breaks."""

_RETRIES = 2

_HEADERS = {"Accept-Encoding": "identity", "User-Agent": "hypercover (land-cover maps)"}

Check = Callable[[Path], str | None]


class DownloadError(Exception):
    """No address gave the file; the arguments say why, one for each address."""


def download(
    addresses: Iterable[str],
    target: Path,
    *,
    check: Check,
    sha256: str | None = None,
    progress: Progress = lambda done, total: None,
    patience: float = 30.0,
) -> str:
    """Download a file from the first address that gives it.

    :mod:`pooch` downloads, retries twice and compares the checksum.  What has been
    received so far stays in the hidden folder ``.<name>.download`` next to the
    target, and the next attempt or call resumes it.  The target appears once it is
    complete and correct.

    Parameters
    ----------
    addresses : iterable of str
        The publisher's first, then mirrors.
    target : path
        File to write; must not exist.
    check : callable
        Given the downloaded file, returns what is wrong with it, or None.
    sha256 : str, optional
        Published checksum.
    progress : callable
        Called with the bytes received and the bytes in all.
    patience : float
        Seconds without a byte after which a connection is given up.

    Returns
    -------
    str
        The address that gave the file.

    Raises
    ------
    DownloadError
        If none of them gave it.
    OutputError
        If the file cannot be written.
    """
    make_folder(target.parent)
    folder = target.with_name(f".{target.name}.download")
    faults = []
    for address in addresses:
        try:
            whole = _retrieve(address, target.name, folder, sha256, progress, patience)
            wrong = check(whole)
            if wrong is None:
                whole.replace(target)
                shutil.rmtree(folder, ignore_errors=True)
                return address
            whole.unlink()
        except DownloadError as error:
            wrong = str(error)
        except OSError as error:
            raise write_error(target, error) from error
        finally:
            with suppress(OSError):
                folder.rmdir()
        faults.append(f"{urlsplit(address).netloc} {wrong}")
    raise DownloadError(*dict.fromkeys(faults))


def _retrieve(
    address: str,
    name: str,
    folder: Path,
    sha256: str | None,
    progress: Progress,
    patience: float,
) -> Path:
    """Download an address into a folder with pooch, resuming an earlier attempt."""
    import pooch
    from requests import exceptions

    pooch.get_logger().setLevel("ERROR")
    part = folder / f"{hashlib.sha256(address.encode()).hexdigest()[:16]}.part"
    answers: list[Any] = []

    def receive(url: str, output_file: str, cache: Any) -> None:
        with _PartialFile(part, progress) as file:

            def begin(answer: Any, **_: Any) -> None:
                answers.append(answer)
                file.begin(answer)

            headers = _HEADERS | ({"Range": f"bytes={file.tell()}-"} if file.tell() else {})
            fetch = pooch.HTTPDownloader(
                headers=headers,
                chunk_size=_CHUNK,
                timeout=patience,
                hooks={"response": begin},
            )
            fetch(url, file, cache)
        part.replace(output_file)

    cache = pooch.create(
        folder,
        base_url="",
        registry={name: sha256 and f"sha256:{sha256}"},
        urls={name: address},
        retry_if_failed=_RETRIES,
    )
    try:
        return Path(cache.fetch(name, downloader=receive))
    except exceptions.InvalidSchema:
        raise DownloadError("leads elsewhere than to a web server") from None
    except exceptions.TooManyRedirects:
        raise DownloadError("leads in circles") from None
    except exceptions.RequestException as error:
        raise DownloadError("broke off" if answers else "does not answer") from error
    except ValueError:
        wrong = "sends a file with another checksum than was published"
        raise DownloadError(wrong) from None
    finally:
        if part.exists() and not part.stat().st_size:
            part.unlink()


class _PartialFile(FileIO):
    """What has been received of a download, bounded in size."""

    def __init__(self, path: Path, progress: Progress) -> None:
        super().__init__(path, "ab")
        self._progress, self._total = progress, 0

    def begin(self, response: Any) -> None:
        """Check an answer, and drop the earlier part if the server starts again."""
        from requests.exceptions import RequestException

        if response.is_redirect:
            return
        have, status = self.tell(), response.status_code
        if status not in (200, 206, 416):
            raise DownloadError(f"answers {status} {response.reason}".strip())
        start = response.headers.get("Content-Range", "")
        if status == 200 or not start.startswith(f"bytes {have}-"):
            self.truncate(0)
            self.seek(0)
            if status != 200:
                # Pooch tries again, without a part.
                raise RequestException
        length = response.headers.get("Content-Length", "")
        self._total = self.tell() + int(length) if length.isdigit() else 0

    def write(self, chunk: Any) -> int:
        """Append bytes and report the progress."""
        if max(self.tell() + len(chunk), self._total) > LARGEST:
            self.truncate(0)
            raise DownloadError(f"sends more than the {LARGEST // 2**30} GiB of any scene")
        written = super().write(chunk)
        self._progress(self.tell(), self._total)
        return written


_DEEPEST = 3
"""Levels of archives inside archives."""

_MOST_MEMBERS = 10_000


def unpack(archive: Path, name: str, target: Path) -> bool:
    """Extract the file of a name from a zip archive; return whether it was there.

    Only the last part of a member's name counts, so no path in the archive leads
    outside.  Sizes, numbers and depth are bounded.

    Raises
    ------
    RunError
        If the archive is damaged, encrypted or too large.
    OutputError
        If the file cannot be written.
    """
    try:
        return _extract(archive, name, target, _DEEPEST)
    except RunError:
        raise
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise RunError(
            f"{archive} is a damaged archive; remove it and fetch it again."
        ) from error
    except RuntimeError as error:
        raise RunError(f"{archive} requires a password; unpack it by hand.") from error


def _extract(archive: Path, name: str, target: Path, depth: int) -> bool:
    """Extract a file from an archive or from an archive inside it."""
    with zipfile.ZipFile(archive) as opened:
        members = opened.infolist()[:_MOST_MEMBERS]
        for member in members:
            if PurePosixPath(member.filename).name == name and not member.is_dir():
                with atomic(target) as draft:
                    _copy_member(opened, member, draft)
                return True
        nested = [member for member in members if member.filename.lower().endswith(".zip")]
        for member in nested if depth > 1 else ():
            with TemporaryDirectory(dir=target.parent, prefix=".unpack-") as folder:
                inner = Path(folder) / "inner.zip"
                _copy_member(opened, member, inner)
                if _extract(inner, name, target, depth - 1):
                    return True
    return False


def _copy_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path) -> None:
    """Copy a member, but no more than the largest known file, whatever its declared size."""
    copied = 0
    with archive.open(member) as source, target.open("wb") as out:
        while chunk := source.read(2**20):
            copied += len(chunk)
            if copied > LARGEST:
                raise RunError(
                    f"{archive.filename} holds more than {LARGEST // 2**30} GiB in one file."
                )
            out.write(chunk)


Watch = Callable[[str], AbstractContextManager[Progress]]


@dataclass(frozen=True)
class FetchedFile:
    """A file of a known scene that is now on disk."""

    file: KnownFile
    """The entry in the catalog."""
    path: Path
    """Its path."""
    how: str
    """Where it came from and how it was checked."""


def fetch_scene(
    scene: KnownScene,
    folder: str | Path,
    *,
    look_in: Iterable[str | Path] = (),
    watch: Watch = lambda title: nullcontext(lambda done, total: None),
    patience: float = 30.0,
) -> list[FetchedFile]:
    """Fetch the files of a known scene.

    A file that is on disk already is used, whatever its name.  Otherwise its
    addresses are tried in turn, and the download is checked: by its checksum if one
    is published, or else by its content.

    Parameters
    ----------
    scene : KnownScene
        One of :func:`~hypercover.scene.datasets.catalog.known_scenes`.
    folder : path
        Where to save downloads, and where to look first.
    look_in : iterable of path
        Other folders to look through.
    watch : callable
        Returns, for a title, a context manager whose value is called with the bytes
        received and the bytes in all.
    patience : float
        See :func:`~hypercover.scene.datasets.fetch.download`.

    Returns
    -------
    list of FetchedFile

    Raises
    ------
    CallError
        If no address of a missing file is known.
    RunError
        If no address gave a missing file.  All others are fetched first, and the
        message says what to put where.
    OutputError
        If a file cannot be written, or another one is in its way.

    Examples
    --------
    >>> from hypercover.scene.datasets.catalog import known_scene
    >>> fetch_scene(known_scene("indian-pines"), "data")  # doctest: +SKIP
    """
    return _SceneFetcher(scene, Path(folder), watch, patience).run(look_in)


@dataclass
class _SceneFetcher:
    """Fetches the files of one scene."""

    scene: KnownScene
    folder: Path
    watch: Watch
    patience: float

    def run(self, look_in: Iterable[str | Path]) -> list[FetchedFile]:
        """Fetch as many files as possible; raise if some are missing in the end."""
        made = missing_folders(self.folder / "file")
        folders = [self.folder, *map(Path, look_in)]
        on_disk = discovery.scan_folders(each for each in folders if each.is_dir()).files
        fetched, missing = [], dict[KnownFile, DownloadError]()
        for file in self.scene.files:
            try:
                fetched.append(self._find(file, on_disk) or self._download(file))
            except DownloadError as error:
                missing[file] = error
        self._archive.unlink(missing_ok=True)
        if missing:
            for folder in made:
                with suppress(OSError):
                    folder.rmdir()
            raise self._error(missing)
        return fetched

    def _error(self, missing: Mapping[KnownFile, DownloadError]) -> CallError | RunError:
        def listed(words: Iterable[str]) -> str:
            return " and ".join(dict.fromkeys(words))

        reasons = listed(str(reason) for error in missing.values() for reason in error.args)
        it = "it" if len(missing) == 1 else "them"
        message = (
            f"{listed(file.name for file in missing)} cannot be fetched: {reasons}; get {it} by "
            f"hand ({listed(file.address for file in missing)}) and put {it} into "
            f"{self.folder}, under any name."
        )
        failed = any(file.downloads for file in missing)
        return RunError(message) if failed else CallError(message)

    def _find(self, file: KnownFile, on_disk: list[Path]) -> FetchedFile | None:
        """Find a file on disk by its content."""
        for path in on_disk:
            if evidence := discovery.identify_file(path, file, self.scene):
                return FetchedFile(file, path, f"on the disk already, known by {evidence}")
        return None

    def _download(self, file: KnownFile) -> FetchedFile:
        """Download a file, or the archive that contains it."""
        target = self.folder / file.name
        if not file.downloads:
            raise DownloadError("no address of the file itself is known")
        if target.exists():
            raise OutputError(
                f"{target} exists, but it is not {file.name} of {self.scene.title}: it is "
                "damaged or something else; move it away or choose another folder with -o."
            )
        if file.archive is None:
            check = partial(_fault, self.scene, file)
            address = self._receive(file, target, check, file.sha256)
        else:
            address = self._from_archive(file, file.archive, target)
        checked = "known by what it holds, for no checksum is known"
        if file.sha256 or file.git_blob:
            checked = "with the published checksum"
        return FetchedFile(file, target, f"downloaded from {address}, {checked}")

    def _from_archive(self, file: KnownFile, address: str, target: Path) -> str:
        """Extract a file from an archive, which is downloaded once for all its files."""
        if not self._archive.exists():
            self._receive(file, self._archive, _archive_fault)
        if not unpack(self._archive, file.name, target):
            raise DownloadError(f"{address} gives an archive without it")
        wrong = _fault(self.scene, file, target)
        if wrong is not None:
            target.unlink()
            raise DownloadError(f"{address} {wrong}")
        return address

    def _receive(
        self, file: KnownFile, target: Path, check: Check, sha256: str | None = None
    ) -> str:
        options: dict[str, Any] = {"sha256": sha256, "patience": self.patience}
        with self.watch(target.name) as progress:
            return download(
                file.downloads, target, check=check, progress=progress, **options
            )

    @property
    def _archive(self) -> Path:
        return self.folder / f"{self.scene.key}.zip"


def _fault(scene: KnownScene, file: KnownFile, path: Path) -> str | None:
    """Return what is wrong with a downloaded file, or None."""
    same = discovery.has_published_checksum(path, file)
    if same is False:
        return "sends a file with another checksum than was published"
    if same is None and discovery.identify_file(path, file, scene) is None:
        return "sends something else than the file"
    return None


def _archive_fault(path: Path) -> str | None:
    return None if zipfile.is_zipfile(path) else "sends something else than an archive"
