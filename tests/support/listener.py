"""A listener on this machine that notes every request, for tests that nothing is asked."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Listener", "listening"]

_SERVER = """
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        with open(sys.argv[1], "a") as notes:
            notes.write(f"{self.command} {self.path}\\n")
        self.send_response(404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_HEAD = do_PUT = do_POST = do_OPTIONS = do_GET

    def log_message(self, *_):
        pass

server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
"""


@dataclass(frozen=True)
class Listener:
    """A server of its own process: GDAL holds this one while it waits for an answer."""

    port: int
    """Its port on 127.0.0.1."""
    notes: Path
    """One line for each request."""

    @property
    def address(self) -> str:
        """The address of the server."""
        return f"http://127.0.0.1:{self.port}"

    def asked(self) -> list[str]:
        """Return the requests since the last call."""
        found = self.notes.read_text().splitlines() if self.notes.exists() else []
        self.notes.unlink(missing_ok=True)
        return found


@contextmanager
def listening(folder: Path) -> Iterator[Listener]:
    """Listen on a free port and note requests in a folder."""
    notes = folder / "requests.txt"
    command = [sys.executable, "-c", _SERVER, str(notes)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield Listener(int(process.stdout.readline()), notes)
        finally:
            process.kill()
