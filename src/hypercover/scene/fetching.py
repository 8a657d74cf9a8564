"""Getting the files of a known scene: from the disk if they are there, else from the web."""

import zipfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from hypercover.errors import CallError, OutputError, RunError
from hypercover.files import missing_folders
from hypercover.scene.catalog import KnownFile, KnownScene
from hypercover.scene.contents import known_by, same_bytes
from hypercover.scene.download import Fault, download
from hypercover.scene.folders import look_through
from hypercover.scene.unpacking import unpack

__all__ = ["Fetched", "fetch_scene"]

Progress = Callable[[int, int], None]
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
        One of :func:`~hypercover.scene.catalog.known_scenes`.
    folder : path
        Where to put what is downloaded, and where to look first.
    look_in : iterable of path
        Other folders to look through.
    watch : callable
        Gives, for a title, a context whose value is called with the bytes done
        and the bytes in all.
    patience, pause : float
        See :func:`~hypercover.scene.download.download`.

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
