"""One engine for each database URL, and the two kinds of session: readers and writers. No call waits for ever."""

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

from imgsvc.db import sqlite
from imgsvc.db.connection_errors import Translation, name_os_error
from imgsvc.errors import DatabaseUnavailable
from imgsvc.process.private_files import make_folder

# Postgres that says nothing (stopped, swapping, cut off) is given up within half a minute, whatever a call was at:
# 5 s for a free connection, then either 5 s for a new one or 20 s and 2 s for the end of one that was silent.
POOL_TIMEOUT = 5.0
CONNECT_TIMEOUT = 5.0
STATEMENT_TIMEOUT = 20.0
"""Seconds; the longest statement, which moves all 250,000 assets of a batch, took 6 to 7 s on 2 very busy cores."""
SESSION_SETTINGS = {
    "application_name": "imgsvc",
    # What a process that was frozen in a transaction has locked is free for others before their statements time out.
    "idle_in_transaction_session_timeout": "15000",
}


class Sessions:
    """Opens sessions; each is one transaction, committed at the end of the block, rolled back by an exception.

    On SQLite a writer begins IMMEDIATE, so that read-modify-write never works on a stale snapshot, and the writers of
    one process queue up in a lock of their own: fair, and without SQLite's busy-wait. On Postgres a reader begins
    REPEATABLE READ, without which each of its statements would see another state.
    """

    def __init__(self, engine: AsyncEngine, *, file: sqlite.OpenFile | None = None, patience: float = 0) -> None:
        self.engine = engine
        event.listen(engine.sync_engine, "handle_error", name_os_error)
        self._file = file
        self._patience = patience
        self._writer = asyncio.Lock()
        self._reading = engine if file else engine.execution_options(isolation_level="REPEATABLE READ")
        self._writing = engine.execution_options(**{sqlite.WRITES: True})

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncSession]:
        """A consistent view; nothing is written.

        Raises:
            DatabaseUnavailable: the database is away or locked.
        """
        with Translation() as own:
            async with self._reading.connect() as connection, _session(connection) as session:
                with own.callers():
                    yield session

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncSession]:
        """A transaction that may write, committed when the block ends well.

        Raises:
            DatabaseUnavailable: the database is away, or locked for longer than three to four busy time-outs.
        """
        with Translation() as own:
            give_up_at = monotonic() + self._patience
            async with self._turn(), self._writing.connect() as connection:
                await _begin(connection, give_up_at)
                async with _session(connection) as session:
                    with own.callers():
                        yield session
                    await session.flush()
                await connection.commit()
            if self._file:
                self._file.check()

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """One writer at a time on SQLite. The wait is bounded: behind a lock that another process holds, it adds up."""
        if not self._file:
            yield
            return
        try:
            async with asyncio.timeout(self._patience):
                await self._writer.acquire()
        except TimeoutError as error:
            raise DatabaseUnavailable(f"database is locked: no turn to write within {self._patience:g} s") from error
        try:
            yield
        finally:
            self._writer.release()

    async def aclose(self) -> None:
        await self.engine.dispose()


def open_sessions(
    url: str, *, busy_timeout: float = 5.0, statement_timeout: float | None = STATEMENT_TIMEOUT
) -> Sessions:
    """Sessions on the database at `url`; nothing is connected yet.

    The folder of a SQLite file is made if need be. `busy_timeout` is how many seconds SQLite waits for the write lock,
    `statement_timeout` how many Postgres may take for a statement (None: any time, for migrations).
    """
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        limits = {"timeout": CONNECT_TIMEOUT, "command_timeout": statement_timeout, "server_settings": SESSION_SETTINGS}
        pool = {"pool_size": 10, "max_overflow": 10, "pool_timeout": POOL_TIMEOUT, "pool_pre_ping": True}
        engine = create_async_engine(parsed, connect_args=limits, json_serializer=_json, **pool)
        return Sessions(engine)
    path = Path(parsed.database or "")
    make_folder(path.parent)
    engine = create_async_engine(parsed, pool_size=8, max_overflow=8, pool_timeout=POOL_TIMEOUT, json_serializer=_json)
    file = sqlite.OpenFile(path)
    sqlite.prepare(engine, busy_timeout=busy_timeout, file=file)
    return Sessions(engine, file=file, patience=3 * busy_timeout)


def _json(value: Any) -> str:
    """As json.dumps, in a fifth of the time: an upload has two texts to write for each of its rows."""
    return to_json(value).decode()


async def _begin(connection: AsyncConnection, give_up_at: float) -> None:
    """Begin, and again while SQLite says that its wait for the write lock was in vain; each wait is a busy time-out."""
    while True:
        try:
            await connection.begin()
        except OperationalError as error:
            if monotonic() >= give_up_at or not sqlite.is_locked(error.orig):
                raise
            await asyncio.sleep(0.05)
        else:
            return


def _session(connection: AsyncConnection) -> AsyncSession:
    # The connection's own transaction decides; the session only writes into it.
    return AsyncSession(bind=connection, expire_on_commit=False, autoflush=False)
