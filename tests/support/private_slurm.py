"""A real Slurm of two virtual nodes, private to the tests: all of it in one folder."""

import getpass
import os
import platform
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol")
NODES = ("n1", "n2")
_CONF = """
ClusterName=private
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={home}/run/munge.sock,cred_expire=5
CredType=cred/munge
StateSaveLocation={home}/state
SlurmdSpoolDir={home}/spool/%n
SlurmctldPidFile={home}/run/slurmctld.pid
SlurmdPidFile={home}/run/%n.pid
SlurmctldLogFile={home}/log/slurmctld.log
SlurmdLogFile={home}/log/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0,sched_min_interval=0
PriorityType=priority/basic
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
KillWait=2
MinJobAge=600
OverTimeLimit=0
ReturnToService=2
SlurmctldTimeout=10
SlurmdTimeout=10
InactiveLimit=0
GresTypes=gpu
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=2 RealMemory={memory} Gres=gpu:2
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=2 RealMemory={memory}
PartitionName=main Nodes=n1,n2 Default=YES MaxTime=1-0 PriorityTier=1 State=UP DefMemPerCPU=500
PartitionName=urgent Nodes=n1,n2 MaxTime=1-0 PriorityTier=10 PreemptMode=OFF State=UP DefMemPerCPU=500
"""


def missing_programs() -> list[str]:
    """Name what a private Slurm needs and this machine lacks."""
    return [name for name in PROGRAMS if program(name) is None]


def program(name: str) -> str | None:
    """Find a program, daemons included."""
    return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")


class PrivateSlurm:
    """Two virtual nodes ``n1`` (with two pretended GPUs) and ``n2`` on this machine.

    The partition ``urgent`` preempts and requeues what runs in ``main``.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self.environment = {"SLURM_CONF": str(home / "slurm.conf")}
        for name in ("run", "log", "state", "key", *(f"spool/{node}" for node in NODES)):
            (home / name).mkdir(parents=True)
        (home / "key").chmod(0o700)
        key = home / "key" / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        megabytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2**21 - 256
        facts = {
            "host": platform.node().partition(".")[0],
            "ports": _free_ports(3),
            "user": getpass.getuser(),
            "home": home,
            "memory": megabytes,
        }
        (home / "slurm.conf").write_text(_CONF.format(**facts))
        (home / "gres.conf").write_text("NodeName=n1 Name=gpu File=/dev/tty[1-2]\n")

    def start(self) -> None:
        """Start all daemons and wait until both nodes take jobs."""
        run = self.home / "run"
        munge = [
            "--key-file",
            self.home / "key" / "munge.key",
            "--socket",
            run / "munge.sock",
        ]
        munge += [
            "--pid-file",
            run / "munged.pid",
            "--log-file",
            self.home / "log/munged.log",
        ]
        self.call("munged", "--force", *munge, "--seed-file", self.home / "key" / "seed")
        self.call("slurmctld", "-f", self.home / "slurm.conf")
        for node in NODES:
            self.start_node(node)
        self.wait(self._is_idle, 30)

    def _is_idle(self) -> bool:
        lines = self.call("sinfo", "-h", "-N", "-p", "main", "-o", "%N %T").split("\n")
        return sorted(filter(None, lines)) == [f"{node} idle" for node in NODES]

    def start_node(self, node: str) -> None:
        """Start the daemon of a node."""
        self.call("slurmd", "-N", node, "-f", self.home / "slurm.conf")

    def kill_node(self, node: str) -> None:
        """Kill the daemon of a node, as a node that loses its network would be lost."""
        os.kill(self._pid(node), signal.SIGKILL)

    def stop(self) -> None:
        """Cancel what is left and stop what was started, by its process numbers."""
        with suppress(subprocess.CalledProcessError, AssertionError):
            self.call("scancel", "-u", getpass.getuser())
            self.wait(lambda: not self.call("squeue", "-h"), 20)
        for name in (*NODES, "slurmctld", "munged"):
            # Nothing is worth a tidy end, which takes ten seconds.
            with suppress(OSError, ValueError):
                os.kill(self._pid(name), signal.SIGKILL)

    def call(self, name: str, *words: object) -> str:
        """Call a program of this Slurm and return what it prints."""
        found = program(name)
        assert found is not None, name
        done = subprocess.run(
            [found, *map(str, words)],
            capture_output=True,
            text=True,
            env=os.environ | self.environment,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, (name, words, done.stdout, done.stderr)
        return done.stdout

    def states(self) -> dict[str, str]:
        """Return the state of every element, as in ``{"12_3": "RUNNING"}``."""
        lines = self.call("squeue", "-h", "-r", "-t", "all", "-o", "%F_%K %T").splitlines()
        return dict(line.split(" ") for line in lines)

    def restarts(self, job: str) -> int:
        """Return how often a job was sent back."""
        said = self.call("scontrol", "-o", "show", "job", job)
        return max(int(word[9:]) for word in said.split() if word.startswith("Restarts="))

    def wait(self, ready: Callable[[], object], seconds: float = 120.0) -> object:
        """Wait until something is so, and return what it is."""
        give_up = time.monotonic() + seconds
        while not (found := ready()):
            assert time.monotonic() < give_up, (self.states(), self._log_tail())
            time.sleep(0.1)
        return found

    def _pid(self, name: str) -> int:
        return int((self.home / "run" / f"{name}.pid").read_text())

    def _log_tail(self) -> str:
        return (self.home / "log" / "slurmctld.log").read_text()[-2000:]


def _free_ports(count: int) -> list[int]:
    """Return ports of this machine that nobody listens on."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


@contextmanager
def private_slurm(home: Path) -> Iterator[PrivateSlurm]:
    """Start a private Slurm and stop it when the block ends."""
    slurm = PrivateSlurm(home)
    try:
        slurm.start()
        yield slurm
    finally:
        slurm.stop()
