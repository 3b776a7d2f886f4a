"""PgBouncer in front of the tests' Postgres, in transaction mode: Debian's package, as operators use it."""

import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from socket import AF_UNIX, socket
from time import monotonic, sleep
from typing import Self

import pytest
from sqlalchemy import make_url

from support.databases import AS_USER

PROGRAM = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
NEEDS_PGBOUNCER = pytest.mark.skipif(PROGRAM is None, reason="pgbouncer is not installed (apt install pgbouncer)")
PORT = 6432
CONFIGURATION = """
[databases]
* = host={server} user=postgres
[pgbouncer]
listen_addr =
listen_port = {port}
unix_socket_dir = {folder}
auth_type = any
pool_mode = transaction
default_pool_size = {connections}
"""


class PgBouncer:
    """A PgBouncer with `connections` to each database of the server in `server`, on a unix socket in `folder`."""

    def __init__(self, folder: Path, server: Path, *, connections: int) -> None:
        self.folder = folder
        self._user = "nobody" if os.geteuid() == 0 else ""
        if self._user:
            os.chown(folder, pwd.getpwnam(self._user).pw_uid, -1)
        text = CONFIGURATION.format(server=server, port=PORT, folder=folder, connections=connections)
        (folder / "pgbouncer.ini").write_text(text)
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, database: str) -> str:
        """Return the URL of the database that has the URL `database` on the server."""
        return f"postgresql+asyncpg://postgres@/{make_url(database).database}?host={self.folder}&port={PORT}"

    def start(self) -> None:
        """Start it, and return when it accepts connections."""
        as_user = (sys.executable, "-P", "-c", AS_USER, self._user, str(os.getpid()))
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*as_user, str(PROGRAM), self.folder / "pgbouncer.ini"],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = monotonic() + 60
        while not self._accepts():
            assert self._process.poll() is None and monotonic() < deadline, (self.folder / "log").read_text()
            sleep(0.01)

    def _accepts(self) -> bool:
        with suppress(OSError), socket(AF_UNIX) as probe:
            probe.connect(str(self.folder / f".s.PGSQL.{PORT}"))
            return True
        return False

    def kill(self) -> None:
        """Kill it; its clients' connections are reset, their transactions rolled back."""
        if self._process:
            self._process.kill()
            self._process.wait(60)

    @contextmanager
    def killed(self) -> Iterator[None]:
        self.kill()
        try:
            yield
        finally:
            self.start()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
