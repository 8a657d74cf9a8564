"""Spoils files in ways that repeat, and reads each in a child with limits of its own.

``python tests/fuzz/mutants.py --seconds 600`` looks for as long as it is told and keeps
what it finds; ``--only geotiff --first 120 --count 1`` shows one mutant again.
"""

import argparse
import faulthandler
import os
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from seeds import SEEDS, Seed

from hypercover.errors import HypercoverError

__all__ = ["Finding", "findings", "hunt", "mutate"]

PROCESSOR_SECONDS = 20
"""Seconds of the processor, which do not depend on what else the machine does."""
LONGEST_WAIT = 300.0
"""Seconds by the clock, for what sleeps instead of working."""
MEMORY = 2**31
"""Bytes that reading may take."""
REFUSED, RAISED, NO_MEMORY = 3, 4, 5
_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")
_NUMBERS = (
    b"0",
    b"-1",
    b"1",
    b"2",
    b"255",
    b"65535",
    b"65536",
    b"2147483648",
    b"1e300",
    b"-1e-300",
    b"99999999999999999999",
    b"NaN",
    b"Infinity",
    b"1e",
    b"",
    b"0x10",
    b"3.7",
)
_WORD = re.compile(rb"[A-Za-z_]{3,}")
_WORDS = (
    b"null",
    b"true",
    b"[]",
    b"{}",
    b'""',
    b"\xff\xfe",
    b"\x1b[2J",
    b"../../etc/passwd",
    b"!!set {a}",
    b"!!python/object:os.system",
    b"&a [*a]",
    b"\0",
    b"=1+1",
    b"a" * 5000,
)
_WHOLE = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


@dataclass(frozen=True)
class Finding:
    """A mutant that was neither read nor refused in a sentence."""

    seed: str
    number: int
    what: str
    """crash, hang, memory or traceback."""
    said: str
    """The traceback, or the signal."""


def mutate(data: bytes, chance: random.Random) -> bytes:
    """Spoil bytes in one to four ways; equal chances give equal mutants."""
    for _ in range(chance.choice((1, 1, 2, 4))):
        data = chance.choice(_WAYS)(data, chance)
    return data


def _flip(data: bytes, chance: random.Random) -> bytes:
    spoilt = bytearray(data)
    for _ in range(chance.choice((1, 1, 4, 16))):
        if spoilt:
            spoilt[_place(spoilt, chance)] ^= 1 << chance.randrange(8)
    return bytes(spoilt)


def _place(data: bytes | bytearray, chance: random.Random) -> int:
    """Choose a byte, of the beginning and the end more often: there the headers are."""
    ends = min(len(data), 512)
    return chance.choice(
        (
            chance.randrange(len(data)),
            chance.randrange(ends),
            len(data) - 1 - chance.randrange(ends),
        )
    )


def _whole_number(data: bytes, chance: random.Random) -> bytes:
    size = chance.choice((1, 2, 4, 8))
    if len(data) <= size:
        return data
    at, order = (
        min(_place(data, chance), len(data) - size),
        chance.choice(("little", "big")),
    )
    value = chance.choice(_WHOLE) & ((1 << 8 * size) - 1)
    return data[:at] + value.to_bytes(size, order) + data[at + size :]


def _cut(data: bytes, chance: random.Random) -> bytes:
    return data[: chance.randrange(len(data) + 1)]


def _remove(data: bytes, chance: random.Random) -> bytes:
    if not data:
        return data
    at = _place(data, chance)
    return data[:at] + data[at + chance.choice((1, 4, 64, 1024)) :]


def _repeat(data: bytes, chance: random.Random) -> bytes:
    if not data:
        return data
    at = _place(data, chance)
    part = data[at : at + chance.choice((1, 8, 256))]
    return data[:at] + part * chance.choice((2, 3, 200)) + data[at:]


def _other_number(data: bytes, chance: random.Random) -> bytes:
    return _replaced(_NUMBER, _NUMBERS, data, chance)


def _other_word(data: bytes, chance: random.Random) -> bytes:
    return _replaced(_WORD, _WORDS, data, chance)


def _replaced(
    what: re.Pattern[bytes], by: tuple[bytes, ...], data: bytes, chance: random.Random
) -> bytes:
    found = [match.span() for match in what.finditer(data)]
    if not found:
        return _flip(data, chance)
    start, stop = chance.choice(found)
    return data[:start] + chance.choice(by) + data[stop:]


def _tiff_entry(data: bytes, chance: random.Random) -> bytes:
    """Change the type, the count or the value of an entry in a directory of a TIFF file."""
    if data[:4] != b"II*\0" or len(data) < 16:
        return _other_number(data, chance)
    first = int.from_bytes(data[4:8], "little")
    entries = int.from_bytes(data[first : first + 2], "little")
    at = first + 2 + 12 * chance.randrange(max(1, min(entries, 64)))
    field = chance.choice((2, 4, 8, 8, 8))
    value = chance.choice((*_WHOLE, 3, 4, 5, 6, 7, 8, 12, 16, 32, 64, 128, 32773, 50000))
    size = 2 if field == 2 or chance.random() < 0.3 else 4
    value = chance.randrange(1, 14) if field == 2 else value & ((1 << 8 * size) - 1)
    return data[: at + field] + value.to_bytes(size, "little") + data[at + field + size :]


_WAYS: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    _flip,
    _flip,
    _whole_number,
    _whole_number,
    _cut,
    _remove,
    _repeat,
    _other_number,
    _other_number,
    _other_word,
    _tiff_entry,
    _tiff_entry,
)


def findings(
    name: str, seed: Seed, numbers: range, work: Path, kept: Path | None = None
) -> Iterator[Finding | None]:
    """Read mutants of a seed one after the other; None where one was as it should be."""
    home = work / name
    home.mkdir(parents=True)
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
        files = seed.make(home)
        # What is sound is read; and what that imports, the children need not.
        sound = shutil.copytree(home, work / f"{name}-sound")
        before = Path.cwd()
        os.chdir(sound)
        try:
            seed.read(sound)
        finally:
            os.chdir(before)
    for number in numbers:
        chance = random.Random(f"{name} {number}")
        folder = work / f"{name}-{number}"
        shutil.copytree(home, folder)
        spoilt = folder / chance.choice(files).relative_to(home)
        spoilt.write_bytes(mutate(spoilt.read_bytes(), chance))
        found = _read_apart(name, number, seed, folder)
        if found is not None and kept is not None:
            shutil.copytree(folder, kept / folder.name, dirs_exist_ok=True)
            (kept / f"{folder.name}.txt").write_text(f"{found.what}\n{found.said}")
        shutil.rmtree(folder)
        yield found


def _read_apart(name: str, number: int, seed: Seed, folder: Path) -> Finding | None:
    """Read a mutant in a child that may take so much time and memory."""
    said = folder / ".said"
    child = os.fork()
    if child == 0:
        _be_the_child(seed, folder, said)
    ends = time.monotonic() + LONGEST_WAIT
    pause = 0.001
    while True:
        ended, status, usage = os.wait4(child, os.WNOHANG)
        if ended:
            break
        if time.monotonic() > ends:
            os.kill(child, signal.SIGKILL)
        time.sleep(pause)
        pause = min(0.05, pause * 1.5)
    code = os.waitstatus_to_exitcode(status)
    text = said.read_text(errors="replace") if said.exists() else ""
    if code in (-signal.SIGXCPU, -signal.SIGKILL):
        return Finding(name, number, "hang", f"{usage.ru_utime:.0f} s of the processor")
    if code < 0 or code not in (0, REFUSED, RAISED, NO_MEMORY):
        return Finding(name, number, "crash", f"exit {code}\n{text}")
    if code == NO_MEMORY:
        return Finding(name, number, "memory", text)
    return Finding(name, number, "traceback", text) if code == RAISED else None


def _be_the_child(seed: Seed, folder: Path, said: Path) -> None:
    """Read, and end with a code; nothing of the tests runs after that."""
    code = 0
    try:
        with said.open("w") as answer:
            for stream in (1, 2):
                os.dup2(answer.fileno(), stream)
            # Where a crash was, is written there too.
            faulthandler.enable(answer)
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            limit = pages * resource.getpagesize() + MEMORY
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
            resource.setrlimit(resource.RLIMIT_CPU, (PROCESSOR_SECONDS,) * 2)
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            os.chdir(folder)
            seed.read(folder)
    except HypercoverError:
        code = REFUSED
    except MemoryError:
        code = NO_MEMORY
        said.write_text(traceback.format_exc())
    except BaseException:
        code = RAISED
        said.write_text(traceback.format_exc())
    finally:
        os._exit(code)


def hunt(
    names: list[str], first: int, count: int, seconds: float, kept: Path
) -> tuple[Counter[str], list[Finding]]:
    """Read mutants of all seeds by turns until the count or the time is used up."""
    looked: Counter[str] = Counter()
    found: list[Finding] = []
    ends = time.monotonic() + seconds
    with tempfile.TemporaryDirectory() as work:
        turns = {
            name: findings(name, SEEDS[name], range(first, first + count), Path(work), kept)
            for name in names
        }
        while turns and time.monotonic() < ends:
            for name in list(turns):
                try:
                    one = next(turns[name])
                except StopIteration:
                    del turns[name]
                    continue
                looked[name] += 1
                if one is not None:
                    found.append(one)
                    last = one.said.strip().splitlines()[-1:] or [""]
                    print(
                        f"{one.seed} {one.number}: {one.what}: {last[0][:150]}", flush=True
                    )
    return looked, found


def main() -> int:
    """Look for as long as is asked; exit 1 where something was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--first", type=int, default=0, help="number of the first mutant")
    parser.add_argument("--count", type=int, default=10**9, help="mutants of each seed")
    parser.add_argument("--only", action="append", choices=sorted(SEEDS))
    parser.add_argument("--keep", type=Path, default=Path("fuzz-findings"))
    asked = parser.parse_args()
    names = asked.only or sorted(SEEDS)
    looked, found = hunt(names, asked.first, asked.count, asked.seconds, asked.keep)
    for name in names:
        own = Counter(one.what for one in found if one.seed == name)
        print(f"{name:16} {looked[name]:7,} mutants  {dict(own) or 'nothing found'}")
    print(f"{sum(looked.values()):,} mutants, {len(found)} findings")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
