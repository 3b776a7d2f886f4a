"""One engine for each database URL, and the two kinds of session: readers and writers."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import Any

import stamina
from sqlalchemy import Connection, event, make_url
from sqlalchemy.exc import DatabaseError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlmodel.ext.asyncio.session import AsyncSession

from imgsvc.errors import DatabaseUnavailable

_AWAY = (OperationalError, InterfaceError, PoolTimeoutError, OSError)
# Classes of SQLSTATE (Postgres, appendix A): connection, rollback by deadlock, resources, operator's intervention.
_PASSING = frozenset({"08", "40", "53", "57"})
_WRITES = "imgsvc_writes"

SQLITE_PRAGMAS = (
    "PRAGMA synchronous = NORMAL",  # a crash loses nothing; a power cut may lose the last commits, never consistency
    "PRAGMA foreign_keys = ON",
)


class Sessions:
    """Opens sessions; each is one transaction, committed at the end of the block, rolled back by an exception.

    On SQLite a writer begins IMMEDIATE, so that read-modify-write never works on a stale snapshot, and the writers of
    one process queue up in a lock of their own: fair, and without SQLite's busy-wait.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine
        self._sqlite = engine.dialect.name == "sqlite"
        self._turn: asyncio.Lock | nullcontext[None] = asyncio.Lock() if self._sqlite else nullcontext()
        self._writing = engine.execution_options(**{_WRITES: True})

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncSession]:
        """A consistent view; nothing is written.

        Raises:
            DatabaseUnavailable: the database is away or locked.
        """
        with _translated():
            async with self.engine.connect() as connection, _session(connection) as session:
                yield session

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncSession]:
        """A transaction that may write, committed when the block ends well.

        Raises:
            DatabaseUnavailable: the database is away, or locked for longer than three busy time-outs.
        """
        with _translated():
            async with self._turn, self._writing.connect() as connection:
                await _begin(connection)
                async with _session(connection) as session:
                    yield session
                    await session.flush()
                await connection.commit()

    async def aclose(self) -> None:
        await self.engine.dispose()


def open_sessions(url: str, *, busy_timeout: float = 5.0) -> Sessions:
    """Sessions on the database at `url`; nothing is connected yet.

    The folder of a SQLite file is made if need be; `busy_timeout` is how many seconds SQLite waits for the write lock.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return Sessions(create_async_engine(parsed, pool_size=10, max_overflow=10, pool_pre_ping=True))
    if parsed.database and parsed.database != ":memory:":
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_async_engine(parsed, pool_size=8, max_overflow=8)
    event.listen(engine.sync_engine, "connect", partial(_prepare_sqlite, busy_timeout=busy_timeout))
    event.listen(engine.sync_engine, "begin", _begin_sqlite)
    event.listen(engine.sync_engine, "invalidate", _roll_back_sqlite)
    return Sessions(engine)


def _prepare_sqlite(connection: Any, _record: object, *, busy_timeout: float) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves, see _begin_sqlite
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {round(busy_timeout * 1000)}")
    _switch_to_wal(cursor)
    for pragma in SQLITE_PRAGMAS:
        cursor.execute(pragma)
    cursor.close()


def _is_locked(error: Exception) -> bool:
    return isinstance(error, sqlite3.OperationalError) and "locked" in str(error)


@stamina.retry(on=_is_locked, attempts=20, wait_initial=0.01, wait_max=0.1, wait_jitter=0.05, timeout=2)
def _switch_to_wal(cursor: Any) -> None:
    """Readers never wait for the writer. Of several that open a new file at once, SQLite refuses some without waiting:
    93 of 1,200 in a trial.
    """
    cursor.execute("PRAGMA journal_mode = WAL")


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get(_WRITES) else "BEGIN")


def _roll_back_sqlite(connection: Any, _record: object, _error: object) -> None:
    """Give up the write lock of a connection that is thrown away because its statement was cancelled.

    The statement goes on in aiosqlite's thread, and SQLite keeps a closed connection alive while its cursor is: until
    Python's garbage collector came by, no process could write. The rollback is queued behind the statement and before
    the close; nobody waits for it.
    """
    with suppress(ValueError):  # the connection is closed already
        connection.driver_connection.rollback().send(None)


@stamina.retry(on=OperationalError, attempts=3, wait_initial=0.05, timeout=30)
async def _begin(connection: AsyncConnection) -> None:
    await connection.begin()


def _session(connection: AsyncConnection) -> AsyncSession:
    # The connection's own transaction decides; the session only writes into it.
    return AsyncSession(bind=connection, expire_on_commit=False, autoflush=False)


class _translated:  # noqa: N801  # used like contextlib's own
    """Turns the drivers' ways of saying "not there" into DatabaseUnavailable."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, _type: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, _AWAY) or (isinstance(error, DBAPIError) and (_is_passing(error) or _is_damaged(error))):
            raise DatabaseUnavailable(str(error.__cause__ or error)) from error


def _is_damaged(error: DBAPIError) -> bool:
    """Whether SQLite says that the file is no database, or a broken one: the general type is used for nothing else."""
    return type(error) is DatabaseError


def _is_passing(error: DBAPIError) -> bool:
    """Whether Postgres says that it is starting, stopping, full or in a deadlock; asyncpg has no type for these."""
    state = str(getattr(error.orig, "sqlstate", None) or "")
    return error.connection_invalidated or state[:2] in _PASSING
