"""SQLite: set up, begin and roll back connections, and check that the file at the path is still the one opened."""

from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import stamina
from sqlalchemy import Connection, event
from sqlalchemy.ext.asyncio import AsyncEngine

from imgsvc.db import sqlite_cursor
from imgsvc.db.sqlite_cursor import is_locked
from imgsvc.errors import DatabaseUnavailable
from imgsvc.process.private_files import protect_database

WRITES = "imgsvc_writes"
"""The execution option of connections that write."""

PRAGMAS = (
    "PRAGMA synchronous = NORMAL",  # a crash loses nothing; a power cut may lose the last commits, never consistency
    "PRAGMA foreign_keys = ON",
)


class OpenFile:
    """The identity of the file that an engine has open, to notice when another file, or none, is at its path.

    SQLite continues to write to a file that was replaced or removed, and those writes are silently lost. This process
    must not open the new file either: SQLite finds the -wal and -shm files by name and would mix up those of both
    files. So nothing is read or written until a restart, or until the original file is back.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._opened: tuple[int, int] | None = None

    def note(self, *_: object) -> None:
        """Record the file's identity on the first connection."""
        self._opened = self._opened or self._identity()

    def protect(self, *_: object) -> None:
        """Restrict the file's permissions before a connection is made."""
        protect_database(self._path)

    def check(self, *_: object) -> None:
        """Raise DatabaseUnavailable if another file, or none, is at the path."""
        if self._opened and self._identity() != self._opened:
            raise DatabaseUnavailable(
                f"The database file {self._path} was replaced or removed while it was open; restart imgsvc."
            )

    def _identity(self) -> tuple[int, int] | None:
        """Return device and inode of the file at the path; an inode is not reused while the file is open."""
        with suppress(OSError):
            found = self._path.stat()
            return found.st_dev, found.st_ino
        return None


def prepare(engine: AsyncEngine, *, busy_timeout: float, file: OpenFile) -> None:
    """Configure every connection of the engine; `busy_timeout` is in seconds."""
    target = engine.sync_engine
    # Many rows per INSERT take half the time of one statement per row, and the GIL is free while SQLite writes them.
    target.dialect.use_insertmanyvalues_wo_returning = True
    event.listen(target, "do_connect", file.check)
    event.listen(target, "do_connect", file.protect)
    event.listen(target, "do_connect", partial(sqlite_cursor.connect, busy_timeout=busy_timeout))
    event.listen(target, "connect", _set_up)
    event.listen(target, "connect", file.note)
    event.listen(target, "checkout", file.check)
    event.listen(target, "begin", _begin)
    event.listen(target, "invalidate", _roll_back)


def _set_up(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # _begin sends BEGIN
    cursor = connection.cursor()
    cursor.execute("PRAGMA busy_timeout = 0")  # sqlite_cursor waits
    _switch_to_wal(cursor)
    for pragma in PRAGMAS:
        cursor.execute(pragma)
    cursor.close()


@stamina.retry(on=is_locked, attempts=20, wait_initial=0.01, wait_max=0.1, wait_jitter=0.05, timeout=2)
def _switch_to_wal(cursor: Any) -> None:
    """Switch to WAL, in which readers never wait for the writer.

    Retried: when several connections open a new file at once, SQLite refuses some without waiting (93 of 1,200 in a
    trial).
    """
    cursor.execute("PRAGMA journal_mode = WAL")


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get(WRITES) else "BEGIN")


def _roll_back(connection: Any, _record: object, _error: object) -> None:
    """Release the write lock of a connection that is discarded because its statement was cancelled.

    The statement continues in aiosqlite's thread, and SQLite keeps a closed connection alive until its cursor is freed:
    without this, no process could write until Python's garbage collector ran. The rollback is queued after the
    statement and before the close, and is not awaited.
    """
    with suppress(ValueError):  # the connection is closed already
        connection.driver_connection.rollback().send(None)
