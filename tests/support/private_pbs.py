"""A real OpenPBS of one machine, private to the tests, where one is installed.

``pbs_server`` is looked for on the PATH and in ``/opt/*/sbin``.  Its own scripts make
and start everything in a private folder, named by ``PBS_CONF_FILE``.  OpenPBS runs
jobs of ordinary users alone and listens on no loopback address, so that the tests
need root, a user to run as, and a host name with another address; what is missing
is said.
"""

import os
import pwd
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_CONF = """\
PBS_EXEC={root}
PBS_HOME={home}/spool
PBS_SERVER={host}
PBS_SERVER_HOST_NAME={host}
PBS_LEAF_NAME={host}
PBS_MOM_NODE_NAME={host}
PBS_START_SERVER=1
PBS_START_SCHED=1
PBS_START_COMM=1
PBS_START_MOM=1
"""
HOST = os.environ.get("HYPERCOVER_PBS_HOST", socket.gethostname())
"""Name of this machine with an address that is not 127.0.0.1."""
USER = os.environ.get("HYPERCOVER_PBS_USER", "")
"""Who sends jobs; this user must be able to read the tests and run their Python."""


def installed() -> Path | None:
    """Return where OpenPBS is installed, if it is."""
    servers = [shutil.which("pbs_server"), *sorted(Path("/opt").glob("*/sbin/pbs_server"))]
    roots = [Path(server).resolve().parent.parent for server in servers if server]
    found = [root for root in roots if (root / "libexec" / "pbs_habitat").exists()]
    return found[0] if found else None


def missing() -> str:
    """Say what a private OpenPBS lacks here; nothing where it can be started."""
    if installed() is None:
        return "no OpenPBS is installed"
    if os.getuid() != 0:
        return "only root can start its daemons"
    try:
        pwd.getpwnam(USER)
        address = socket.gethostbyname(HOST)
    except (KeyError, OSError):
        return "HYPERCOVER_PBS_USER names no user, or HYPERCOVER_PBS_HOST no machine"
    if address.startswith("127."):
        return f"{HOST} is {address}, on which OpenPBS does not listen"
    return ""


class PrivatePBS:
    """One machine with the cores of this one, and a queue ``workq``, without job history."""

    def __init__(self, home: Path) -> None:
        root = installed()
        assert root is not None
        self.home, self.root = home, root
        (home / "pbs.conf").write_text(_CONF.format(root=root, home=home, host=HOST))
        self.environment = {
            "PBS_CONF_FILE": str(home / "pbs.conf"),
            "PATH": f"{root / 'bin'}{os.pathsep}{os.environ['PATH']}",
        }

    def start(self) -> None:
        """Start all daemons and wait until the machine takes jobs."""
        libexec = self.root / "libexec"
        version = self.call(self.root / "bin" / "qstat", "--version").split()[-1]
        places = [version, self.root, self.home / "spool", "", "sameconf"]
        self.call(libexec / "pbs_postinstall", "server", *places)
        # On a busy machine its database may not be ready when it is asked first.
        said = self.call(libexec / "pbs_init.d", "start", check=False)
        if "starting up" in said:
            time.sleep(5.0)
            self.call(libexec / "pbs_init.d", "start")
        for wish in ("flatuid = True", "job_history_enable = False"):
            self.call(self.root / "bin" / "qmgr", "-c", f"set server {wish}")
        self.wait(lambda: "state = free" in self.call(self.root / "bin/pbsnodes", "-a"))

    def stop(self) -> None:
        """Stop what was started."""
        self.call(self.root / "libexec" / "pbs_init.d", "stop", check=False)

    def call(self, *words: object, user: str | None = None, check: bool = True) -> str:
        """Call a program of this PBS, as a user if one is named, and return what it says."""
        person = None if user is None else pwd.getpwnam(user)
        own = (
            {} if person is None else {"HOME": person.pw_dir, "LOGNAME": user, "USER": user}
        )
        # Daemons that it starts keep a pipe open, so that a file takes the output.
        said = self.home / "said"
        with said.open("wb") as file:
            done = subprocess.run(
                list(map(str, words)),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=os.environ | self.environment | own,
                cwd="/",
                user=user,
                group=None if person is None else person.pw_gid,
                extra_groups=None if person is None else [],
                timeout=120,
                check=False,
            )
        text = said.read_text(errors="replace")
        assert done.returncode == 0 or not check, (words, text)
        return text

    def wait(self, ready: Callable[[], object], seconds: float = 60.0) -> None:
        """Wait until something is so."""
        end = time.monotonic() + seconds
        while not ready():
            assert time.monotonic() < end, self.call(self.root / "bin" / "qstat", "-t")
            time.sleep(0.5)


@contextmanager
def private_pbs(home: Path) -> Iterator[PrivatePBS]:
    """Start a private OpenPBS and stop it when the block ends."""
    pbs = PrivatePBS(home)
    try:
        pbs.start()
        yield pbs
    finally:
        pbs.stop()
