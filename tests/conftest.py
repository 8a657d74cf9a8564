"""What every test may ask for."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import settings
from private_slurm import PrivateSlurm, missing_programs, private_slurm

# A busy machine must fail no test, and a change is judged by the same examples each time.
settings.register_profile("steady", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("steady")

# Started in the background, a shell's jobs ignore Ctrl-C, and so would every process that
# a test starts in order to interrupt it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """Folder of real benchmark scenes; tests that need it are skipped where it is not named."""
    named = os.environ.get("HYPERCOVER_DATA")
    if not named:
        pytest.skip("HYPERCOVER_DATA is not set: no real scenes to read")
    folder = Path(named)
    assert folder.is_dir(), f"HYPERCOVER_DATA names {folder}, which is no folder"
    return folder


@pytest.fixture(scope="session")
def slurm() -> Iterator[PrivateSlurm]:
    """A real Slurm of two virtual nodes; its tests are skipped where it is not installed."""
    missing = missing_programs()
    if missing:
        said = (
            f"NO JOB WAS SENT TO A REAL SLURM: {', '.join(missing)} not installed "
            "(on Debian: apt-get install slurm-wlm munge)"
        )
        assert "CI" not in os.environ, said
        pytest.skip(said)
    # A socket may have a path of a hundred letters.
    with TemporaryDirectory(prefix="slurm-") as home:
        Path(home).chmod(0o755)
        with private_slurm(Path(home)) as started:
            yield started


@pytest.fixture(scope="module")
def sketched() -> Iterator[None]:
    """Save every figure of this process empty, which takes half the time of a small run.

    For modules that look at no figure.  Where it lies in its file is still noted.
    """
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    def save_empty(
        _figure: object, target: Path, metadata: dict[str, str], **_: object
    ) -> None:
        notes = PngInfo()
        for key, value in metadata.items():
            notes.add_text(key, value)
        Image.new("RGB", (8, 8), "white").save(target, "png", pnginfo=notes)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("matplotlib.figure.Figure.savefig", save_empty)
        yield


@dataclass(frozen=True)
class Called:
    """What a call of the command came to."""

    code: int
    """Exit code."""
    out: str
    """What stands on stdout."""
    err: str
    """What stands on stderr, C libraries included."""

    @property
    def sentence(self) -> str:
        """The one sentence a refused call says, after checking that it is one."""
        assert self.code == 2, (self.code, self.out, self.err)
        assert self.out == ""
        assert self.err.startswith("hypercover: "), self.err
        assert self.err.endswith(".\n"), self.err
        assert self.err.count("\n") == 1, self.err
        return self.err.removeprefix("hypercover: ").rstrip("\n")


@pytest.fixture
def call(monkeypatch, capfd) -> Callable[..., Called]:
    """Call the command in this process, as ``hypercover`` would."""
    from hypercover.cli.main import main

    def called(*words: object) -> Called:
        monkeypatch.setattr(sys, "argv", ["hypercover", *map(str, words)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        code = ended.value.code
        out, err = capfd.readouterr()
        return Called(0 if code is None else int(code), out, err)

    return called
