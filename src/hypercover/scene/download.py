"""Downloading a file: resumed where it broke off, checked before it gets its name."""

import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from hypercover.files import explained, make_folder

__all__ = ["LARGEST", "Fault", "download"]

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
