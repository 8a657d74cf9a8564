"""A stand-in for PBS in both dialects, where no daemon is installed.

It gives the answers that were recorded from OpenPBS 23.06 (without job history)
and Torque of 2018, in particular those that are easy to misread: what is deleted
and stays, what is accepted and vanishes, and what a slow server loses.  It runs
jobs, so that what follows from an answer is seen too.
"""

import json
import os
import re
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

COMMANDS = ("qsub", "qstat", "qdel", "qrls")
SLOTS = 2
_CLIENT = f"""#!{sys.executable} -IS
import json, os, socket, sys
line = socket.socket(socket.AF_UNIX)
line.connect(os.path.join(os.path.dirname(os.path.dirname(sys.argv[0])), "socket"))
line.sendall(json.dumps([os.path.basename(sys.argv[0]), *sys.argv[1:]]).encode() + b"\\n")
code, out, err = json.loads(line.makefile().read())
sys.stdout.write(out)
sys.stderr.write(err)
sys.exit(code)
"""
Answer = tuple[int, str, str]
"""Exit code, stdout and stderr of a command."""


@dataclass
class _Job:
    number: int
    script: Path
    options: dict[str, str]
    limit: float | None
    count: int
    array: bool
    held: bool
    after: list[int]
    states: dict[int, str] = field(default_factory=dict)
    running: dict[int, tuple[subprocess.Popen[bytes], float]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.number}[].head" if self.array else f"{self.number}.head"

    def of(self, element: int) -> str:
        return f"{self.number}[{element}].head" if self.array else self.name


class PBSDouble:
    """A PBS of one machine with two cores, by the dialect ``torque`` or ``pro``.

    Attributes
    ----------
    slow : seconds that ``qsub`` takes
    most : elements that an array may have
    minute : seconds that a minute of a time limit takes
    """

    slow = 0.0
    most = 10_000
    minute = 60.0
    stubborn = False
    """Whether qdel is taken and nothing is deleted."""

    def __init__(self, home: Path, dialect: str) -> None:
        self.home, self.dialect = home, dialect
        self.refused: Callable[[Path], bool] = lambda _script: False
        self.calls: list[list[str]] = []
        self.begun: list[str] = []
        self.jobs: dict[int, _Job] = {}
        self._last, self._lock = 0, threading.RLock()
        self._ended = threading.Event()
        (home / "bin").mkdir(parents=True)
        for name in COMMANDS:
            (home / "bin" / name).write_text(_CLIENT)
            (home / "bin" / name).chmod(0o755)

    @property
    def path(self) -> str:
        """The PATH of somebody who can send jobs."""
        return f"{self.home / 'bin'}{os.pathsep}{os.environ['PATH']}"

    def left(self) -> list[str]:
        """Name the jobs that wait or run."""
        with self._lock:
            return [job.name for job in self.jobs.values()]

    def wait(self, ready: Callable[[], object], seconds: float = 60.0) -> None:
        """Wait until something is so."""
        end = time.monotonic() + seconds
        while not ready():
            assert time.monotonic() < end, (self.left(), self.calls[-5:])
            time.sleep(0.05)

    def answer(self, words: list[str]) -> Answer:
        """Do what a command asks for."""
        self.calls.append(words)
        command, *rest = words
        if command == "qsub":
            time.sleep(self.slow)
        with self._lock:
            self._vanish()
            return getattr(self, f"_{command}")(rest)

    def _qsub(self, words: list[str]) -> Answer:
        script = Path(words[-1])
        options, limit, count, array = _read(script, self.dialect)
        if self.refused(script):
            return 1, "", "qsub: would exceed the limit of jobs of a user\n"
        if count > self.most:
            said = "Array job exceeds server or queue size limit"
            return 1, "", f"qsub: {said}\n"
        depend = next((word for word in words if word.startswith("depend=")), "")
        after = [int(number) for number in re.findall(r":(\d+)", depend)]
        if self.dialect == "torque" and not self.jobs.keys() >= set(after):
            return 1, "", "qsub: submit error (Invalid Job Dependency)\n"
        self._last += 1
        # A server keeps a copy: whoever sent the script may remove it at once.
        kept = self.home / f"script-{self._last}"
        kept.write_bytes(script.read_bytes())
        job = _Job(
            self._last,
            kept,
            options,
            limit,
            count,
            array,
            "-h" in words,
            after,
            dict.fromkeys(range(1, count + 1), "Q"),
        )
        # OpenPBS without a history takes what waits for a job that ended, and drops it.
        if self.jobs.keys() >= set(after):
            self.jobs[job.number] = job
        return 0, f"{job.name}\n", ""

    def _qrls(self, words: list[str]) -> Answer:
        return self._each(words, lambda job: setattr(job, "held", False), "qrls")

    def _qdel(self, words: list[str]) -> Answer:
        elements = words[:1] == ["-t"]
        return self._each(
            words[2 if elements else 0 :], lambda job: self._drop(job, elements), "qdel"
        )

    def _drop(self, job: _Job, elements: bool) -> None:
        if self.stubborn or (
            self.dialect == "torque" and not elements and self._waits(job)
        ):
            return  # said to be done, and not done
        for process, _ in job.running.values():
            with suppress(ProcessLookupError):
                os.killpg(process.pid, 15)
        self.jobs.pop(job.number, None)
        if self.dialect == "pro":
            # What waits for it goes too.
            for other in [one for one in self.jobs.values() if job.number in one.after]:
                self._drop(other, elements)

    def _each(self, names: list[str], do: Callable[[_Job], None], command: str) -> Answer:
        complaints = ""
        for name in names:
            job = self.jobs.get(int(re.match(r"\d+", name)[0]))
            if job is None:
                error = " Error" if self.dialect == "torque" else ""
                complaints += f"{command}: Unknown Job Id{error} {name}\n"
            else:
                do(job)
        return (153 if complaints else 0), "", complaints

    def _qstat(self, words: list[str]) -> Answer:
        names = [word for word in words if word[0].isdecimal()]
        if "-B" in words:
            limit = "max_job_array_size" if self.dialect == "torque" else "max_array_size"
            return 0, f"Server: head\n    {limit} = {self.most}\n", ""
        if "-Q" in words:
            return 0, "Queue: q1h\n    queue_type = Execution\n", ""
        if "-x" in words:
            return 1, "", "qstat: PBS is not configured to maintain job history\n"
        lines: list[str] = []
        full = "-f" in words

        def row(job: _Job) -> None:
            lines.extend(self._full(job) if full else self._rows(job))

        code, _, complaints = self._each(names, row, "qstat")
        head = (
            [] if full else ["Job id   Name   User   Time Use S Queue", "-- -- -- -- - --"]
        )
        return code, "\n".join([*head, *lines, ""]), complaints

    def _rows(self, job: _Job) -> Iterator[str]:
        name = job.options.get("-N", "none")
        if job.array and self.dialect == "pro":
            word = "H" if self._waits(job) else "B"
            yield f"{job.name}  {name}  student  0 {word} workq"
        for element, word in job.states.items():
            if word != "gone":
                shown = "H" if self._waits(job) and self.dialect == "torque" else word
                yield f"{job.of(element)}  {name}  student  0 {shown} workq"

    def _full(self, job: _Job) -> Iterator[str]:
        yield f"Job Id: {job.name}"
        yield f"    Job_Name = {job.options.get('-N', 'none')}"
        folder, name = job.options.get("-o", f"{self.home}/"), job.options.get("-N", "none")
        # Torque names the file already.
        own = f"{name}.o{job.number}" if self.dialect == "torque" else ""
        yield f"    Output_Path = head:{folder}{own}"
        if "select=1:ncpus=64" in job.options.get("-l", ""):
            yield "    comment = Can Never Run: Insufficient amount of resource: ncpus (R: 64 A: 2"
            yield "\t T: 2)"

    def _waits(self, job: _Job) -> bool:
        return job.held or bool(self.jobs.keys() & set(job.after))

    def _vanish(self) -> None:
        """Forget what ended, end what is over its time, and begin what can begin."""
        for job in list(self.jobs.values()):
            for element, (process, began) in list(job.running.items()):
                spent = (time.monotonic() - began) * 60 / self.minute
                over = job.limit is not None and spent > job.limit
                if process.poll() is None and over:
                    with self._spool(job, element).open("a") as spool:
                        spool.write(
                            f"=>> PBS: job killed: walltime {job.limit + 1:.0f} exceeded limit {job.limit:.0f}\n"
                        )
                    os.killpg(process.pid, 9)
                    process.wait()
                if process.poll() is not None:
                    del job.running[element]
                    job.states[element] = "gone"
                    self._deliver(job, element)
            if set(job.states.values()) == {"gone"}:
                self.jobs.pop(job.number, None)
        for job in self.jobs.values():
            for element, word in job.states.items():
                busy = sum(len(one.running) for one in self.jobs.values())
                never = "select=1:ncpus=64" in job.options.get("-l", "")
                if word == "Q" and not self._waits(job) and not never and busy < SLOTS:
                    self._begin(job, element)

    def _spool(self, job: _Job, element: int, what: str = "o") -> Path:
        return self.home / f"spool-{job.number}-{element}.{what}"

    def _begin(self, job: _Job, element: int) -> None:
        self.begun.append(job.of(element))
        name = "PBS_ARRAYID" if self.dialect == "torque" else "PBS_ARRAY_INDEX"
        own = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "PBS_JOBID": job.of(element),
        }
        kept = {
            key: os.environ[key]
            for key in ("PYTHONPATH", "OMP_NUM_THREADS")
            if key in os.environ
        }
        joined = "-j" in job.options
        with (
            self._spool(job, element).open("wb") as spool,
            self._spool(job, element, "e").open("wb") as errors,
        ):
            process = subprocess.Popen(
                ["/bin/bash", job.script],
                stdin=subprocess.DEVNULL,
                stdout=spool,
                stderr=subprocess.STDOUT if joined else errors,
                cwd=self.home,
                env=own | kept | ({name: str(element)} if job.array else {}),
                umask=0o077,
                start_new_session=True,
            )
        job.states[element], job.running[element] = "R", (process, time.monotonic())

    def _deliver(self, job: _Job, element: int) -> None:
        """Bring what an element printed to where its script says."""
        mask = int(job.options.get("-W", "umask=0077").removeprefix("umask="), 8)
        for what in "o" if "-j" in job.options else "oe":
            folder = Path(job.options.get(f"-{what}", f"{self.home}/"))
            name = f"{job.of(element)}.{'OU' if what == 'o' else 'ER'}"
            if self.dialect == "torque":
                name = f"{job.options.get('-N', 'none')}.{what}{job.number}"
                name += f"-{element}" if job.array else ""
            with suppress(OSError):
                (folder / name).write_bytes(self._spool(job, element, what).read_bytes())
                (folder / name).chmod(0o666 & ~mask)

    def run(self) -> None:
        """Serve until the test ends."""
        double = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                words = json.loads(self.rfile.readline())
                self.wfile.write(json.dumps(double.answer(words)).encode())

        class Server(socketserver.ThreadingUnixStreamServer):
            daemon_threads = True

        with Server(str(self.home / "socket"), Handler) as server:
            serving = threading.Thread(
                target=server.serve_forever, args=(0.05,), daemon=True
            )
            serving.start()
            while not self._ended.wait(0.05):
                with self._lock:
                    self._vanish()
            server.shutdown()

    def stop(self) -> None:
        """End what runs."""
        self._ended.set()
        with self._lock:
            for job in self.jobs.values():
                for process, _ in job.running.values():
                    with suppress(ProcessLookupError):
                        os.killpg(process.pid, 9)


def _read(script: Path, dialect: str) -> tuple[dict[str, str], float | None, int, bool]:
    """Read the directives of a script: options, time limit, elements, whether an array."""
    options: dict[str, str] = {}
    for line in script.read_text().splitlines()[1:]:
        if line and not line.startswith("#"):
            break
        if not line.startswith("#PBS "):
            continue
        _, option, value = line.split(" ", 2)
        options[option] = f"{options[option]},{value}" if option in options else value
    clock = re.search(r"walltime=(\d+):(\d+):(\d+)", options.get("-l", ""))
    limit = None
    if clock is not None:
        hours, minutes, seconds = map(int, clock.groups())
        limit = float(3600 * hours + 60 * minutes + seconds)
    ranges = options.get("-t" if dialect == "torque" else "-J")
    count = int(ranges.partition("-")[2]) if ranges else 1
    return options, limit, count, ranges is not None


@contextmanager
def pbs_double(home: Path, dialect: str) -> Iterator[PBSDouble]:
    """Start a stand-in and end it, and what it runs, with the block."""
    double = PBSDouble(home, dialect)
    serving = threading.Thread(target=double.run, daemon=True)
    serving.start()
    while not (home / "socket").exists():
        time.sleep(0.01)
    try:
        yield double
    finally:
        double.stop()
        serving.join(10)
