"""SQLite: how a connection is made ready, begins and is given up, and whether its file is still the one it opened."""

import sqlite3
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import stamina
from sqlalchemy import Connection, event
from sqlalchemy.ext.asyncio import AsyncEngine

from imgsvc.errors import DatabaseUnavailable
from imgsvc.process.private_files import protect_database

WRITES = "imgsvc_writes"
"""The execution option of connections that write."""

PRAGMAS = (
    "PRAGMA synchronous = NORMAL",  # a crash loses nothing; a power cut may lose the last commits, never consistency
    "PRAGMA foreign_keys = ON",
)


class OpenFile:
    """Which file an engine has open, to notice when it no longer lies at its path.

    SQLite goes on writing into a file that was replaced or removed, and all that is lost without a word. Nor may this
    process open what lies there instead: the -wal and -shm beside it are found by their names, and those of the file
    that is still open here would be taken for its own. So nothing is read or written until a restart, or until the very
    same file is back.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._opened: tuple[int, int] | None = None

    def note(self, *_: object) -> None:
        """A connection was made: the first says which file it is."""
        self._opened = self._opened or self._lies_there()

    def protect(self, *_: object) -> None:
        """Called before a connection is made."""
        protect_database(self._path)

    def check(self, *_: object) -> None:
        """Raises DatabaseUnavailable when another file lies there, or none."""
        if self._opened and self._lies_there() != self._opened:
            raise DatabaseUnavailable(
                f"The database file {self._path} was replaced or removed while it was open; restart imgsvc."
            )

    def _lies_there(self) -> tuple[int, int] | None:
        """Device and inode; the latter is not given to another file while this one is open."""
        with suppress(OSError):
            found = self._path.stat()
            return found.st_dev, found.st_ino
        return None


def prepare(engine: AsyncEngine, *, busy_timeout: float, file: OpenFile) -> None:
    """Let every connection of the engine begin as we want it to; `busy_timeout` is in seconds."""
    target = engine.sync_engine
    # Many rows in one INSERT: half the time of a statement for each, and the GIL is free while SQLite writes them.
    target.dialect.use_insertmanyvalues_wo_returning = True
    event.listen(target, "do_connect", file.check)
    event.listen(target, "do_connect", file.protect)
    event.listen(target, "connect", partial(_set_up, busy_timeout=busy_timeout))
    event.listen(target, "connect", file.note)
    event.listen(target, "checkout", file.check)
    event.listen(target, "begin", _begin)
    event.listen(target, "invalidate", _roll_back)


def _set_up(connection: Any, _record: object, *, busy_timeout: float) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves, see _begin
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {round(busy_timeout * 1000)}")
    _switch_to_wal(cursor)
    for pragma in PRAGMAS:
        cursor.execute(pragma)
    cursor.close()


def is_locked(error: BaseException | None) -> bool:
    return isinstance(error, sqlite3.OperationalError) and "locked" in str(error)


@stamina.retry(on=is_locked, attempts=20, wait_initial=0.01, wait_max=0.1, wait_jitter=0.05, timeout=2)
def _switch_to_wal(cursor: Any) -> None:
    """Readers never wait for the writer. Of several that open a new file at once, SQLite refuses some without waiting:
    93 of 1,200 in a trial.
    """
    cursor.execute("PRAGMA journal_mode = WAL")


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get(WRITES) else "BEGIN")


def _roll_back(connection: Any, _record: object, _error: object) -> None:
    """Give up the write lock of a connection that is thrown away because its statement was cancelled.

    The statement goes on in aiosqlite's thread, and SQLite keeps a closed connection alive while its cursor is: until
    Python's garbage collector came by, no process could write. The rollback is queued behind the statement and before
    the close; nobody waits for it.
    """
    with suppress(ValueError):  # the connection is closed already
        connection.driver_connection.rollback().send(None)
