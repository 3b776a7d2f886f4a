"""The engine for a database URL, and its two kinds of session: readers and writers. Every wait is bounded."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic
from typing import Any

from pydantic_core import to_json
from sqlalchemy import event, make_url
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlmodel.ext.asyncio.session import AsyncSession

from imgsvc.db import postgres, sqlite
from imgsvc.db.connection_errors import Translation, translate_os_error
from imgsvc.db.sqlite_cursor import LOOKS_EVERY, is_locked
from imgsvc.errors import DatabaseUnavailable
from imgsvc.process.private_files import make_folder

# When Postgres does not answer (stopped, swapping, cut off), any call gives up within half a minute: 5 s for a free
# connection, then either 5 s for a new one, or 20 s for the statement and 2 s to close the silent connection.
POOL_TIMEOUT = 5.0
CONNECT_TIMEOUT = 5.0
STATEMENT_TIMEOUT = 20.0
"""Seconds; the longest statements change one page of a large batch and take well below one."""
CONNECTIONS = 5
"""Connections of a process to Postgres; the default of IMGSVC_DATABASE_CONNECTIONS (ADR 13)."""


class Sessions:
    """Sessions on one database; each is one transaction, committed at the end of the block, rolled back on an error.

    On SQLite a writer begins IMMEDIATE, so that a read-modify-write never uses a stale snapshot, and the writers of
    one process queue for a lock, which is fair and avoids SQLite's busy-wait. On Postgres a reader begins REPEATABLE
    READ; otherwise each of its statements would see a different state.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        *,
        file: sqlite.OpenFile | None = None,
        write_timeout: float = 0,
        pooler: postgres.Pooler | None = None,
    ) -> None:
        self.engine = engine
        event.listen(engine.sync_engine, "handle_error", translate_os_error)
        self._file = file
        self._pooler = pooler
        self.write_timeout = write_timeout
        self._write_lock = asyncio.Lock()
        self._read_engine = engine if file else engine.execution_options(isolation_level="REPEATABLE READ")
        self._write_engine = engine.execution_options(**{sqlite.WRITES: True})

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncSession]:
        """Open a read-only session on a consistent snapshot.

        Raises:
            DatabaseUnavailable: the database is unavailable or locked.
        """
        with Translation() as translation:
            async with self._read_engine.connect() as connection, _session(connection) as session:
                with translation.callers():
                    yield session

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncSession]:
        """Open a session that may write; it is committed when the block ends without an error.

        Raises:
            DatabaseUnavailable: the database is unavailable, or locked for longer than three to four busy timeouts.
        """
        with Translation() as translation:
            give_up_at = monotonic() + self.write_timeout
            async with self._only_writer(), self._write_engine.connect() as connection:
                await _begin(connection, give_up_at)
                if self._pooler:
                    await self._pooler.begin(connection)
                async with _session(connection) as session:
                    with translation.callers():
                        yield session
                    await session.flush()
                await connection.commit()
            if self._file:
                self._file.check()

    async def give_way(self) -> None:
        """Pause between the transactions of a long change, so that other processes find SQLite's lock free."""
        if self._file:
            await asyncio.sleep(5 * LOOKS_EVERY)  # several looks, because a busy process is late with some

    @asynccontextmanager
    async def _only_writer(self) -> AsyncIterator[None]:
        """Admit one writer at a time on SQLite. The wait is bounded: waits add up while another process has a lock."""
        if not self._file:
            yield
            return
        try:
            async with asyncio.timeout(self.write_timeout):
                await self._write_lock.acquire()
        except TimeoutError as error:
            raise DatabaseUnavailable(f"database is locked: waited {self.write_timeout:g} s to write") from error
        try:
            yield
        finally:
            self._write_lock.release()

    async def aclose(self) -> None:
        await self.engine.dispose()


def open_sessions(
    url: str,
    *,
    busy_timeout: float = 5.0,
    statement_timeout: float | None = STATEMENT_TIMEOUT,
    connections: int = CONNECTIONS,
) -> Sessions:
    """Return sessions on the database at `url`, without connecting yet; create the folder of a SQLite file.

    `busy_timeout`: seconds that SQLite waits for the write lock. `statement_timeout`: seconds that Postgres may take
    for a statement (None: no limit, for migrations). `connections`: how many this process opens to Postgres at most.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        limits = {"timeout": CONNECT_TIMEOUT, "command_timeout": statement_timeout}
        arguments = limits | {"server_settings": postgres.SERVER_SETTINGS}
        pool = {"pool_size": connections, "max_overflow": 0, "pool_timeout": POOL_TIMEOUT}
        engine = create_async_engine(parsed, connect_args=arguments, pool_use_lifo=True, json_serializer=_json, **pool)
        return Sessions(engine, pooler=postgres.prepare(engine))
    path = Path(parsed.database or "")
    make_folder(path.parent)
    engine = create_async_engine(parsed, pool_size=8, max_overflow=8, pool_timeout=POOL_TIMEOUT, json_serializer=_json)
    file = sqlite.OpenFile(path)
    sqlite.prepare(engine, busy_timeout=busy_timeout, file=file)
    return Sessions(engine, file=file, write_timeout=3 * busy_timeout)


def _json(value: Any) -> str:
    """Serialize like json.dumps, five times as fast: an upload has two JSON values per product row."""
    return to_json(value).decode()


async def _begin(connection: AsyncConnection, give_up_at: float) -> None:
    """Begin the transaction; retry when SQLite gave up waiting for the lock (after one busy timeout)."""
    while True:
        try:
            await connection.begin()
        except OperationalError as error:
            if monotonic() >= give_up_at or not is_locked(error.orig):
                raise
            await asyncio.sleep(0.05)
        else:
            return


def _session(connection: AsyncConnection) -> AsyncSession:
    # The connection's transaction is committed or rolled back; the session only takes part in it.
    return AsyncSession(bind=connection, expire_on_commit=False, autoflush=False)
