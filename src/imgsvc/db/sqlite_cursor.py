"""SQLite statements in one call of their connection's thread each, and the wait for SQLite's lock.

SQLAlchemy's own cursor for aiosqlite makes up to four calls: it opens the cursor, executes, fetches and closes. Each
waits for the event loop, and a transaction that writes holds the only lock meanwhile (measured: docs/performance.md).

The names overridden or read here are private to SQLAlchemy (`_cursor_cls`, `_connection`, `_rows`, `_handle_exception`,
`_async_soft_close`) and to aiosqlite (`_execute`, `_conn`).
"""

import sqlite3
from collections import deque
from collections.abc import Callable
from time import monotonic, sleep
from typing import Any, NamedTuple

from sqlalchemy.dialects.sqlite.aiosqlite import AsyncAdapt_aiosqlite_connection, AsyncAdapt_aiosqlite_cursor
from sqlalchemy.engine import Dialect
from sqlalchemy.util.concurrency import await_

LOOKS_EVERY = 0.003
"""Seconds between two looks for the lock. SQLite's own busy handler waits longer each time, up to 100 ms: next to a
process that writes often, it finds the lock taken again for seconds."""

_Method = Callable[[sqlite3.Cursor, str, Any], object]


class Result(NamedTuple):
    """The state of a cursor after a statement, by the names of PEP 249."""

    description: Any
    rows: list[Any]
    rowcount: int
    lastrowid: int | None


_NOTHING = Result(None, [], -1, None)


def is_locked(error: BaseException | None) -> bool:
    """Return whether SQLite could not get the lock that a statement needs."""
    return isinstance(error, sqlite3.OperationalError) and "locked" in str(error)


class OneCallCursor(AsyncAdapt_aiosqlite_cursor):
    """A cursor that is open only while its statement runs; its rows are kept."""

    __slots__ = ("_result",)
    arraysize = 1

    def __init__(self, adapt_connection: "OneCallConnection") -> None:
        self._adapt_connection = adapt_connection
        self._connection = adapt_connection._connection  # noqa: SLF001  # see the docstring of this module
        self._keep(_NOTHING)

    def _keep(self, result: Result) -> None:
        self._result = result
        self._rows = deque(result.rows)

    @property
    def description(self) -> Any:
        return self._result.description

    @property
    def rowcount(self) -> int:
        return self._result.rowcount

    @property
    def lastrowid(self) -> Any:
        return self._result.lastrowid

    def execute(self, operation: Any, parameters: Any = None) -> None:
        self._execute(sqlite3.Cursor.execute, operation, () if parameters is None else parameters)

    def executemany(self, operation: Any, seq_of_parameters: Any) -> None:
        self._execute(sqlite3.Cursor.executemany, operation, seq_of_parameters)

    def _execute(self, method: _Method, operation: str, parameters: Any) -> None:
        connection: Any = self._adapt_connection
        try:
            self._keep(await_(connection.run(method, operation, parameters)))
        except (sqlite3.Error, ValueError) as error:  # ValueError: the connection is closed
            connection._handle_exception(error)  # noqa: SLF001  # as SQLAlchemy's own cursor does

    async def _async_soft_close(self) -> None:
        """Do nothing: it is closed already."""

    def close(self) -> None:
        self._rows.clear()


class OneCallConnection(AsyncAdapt_aiosqlite_connection):
    """A connection with such cursors. A statement waits up to `busy_timeout` seconds for the lock."""

    __slots__ = ("busy_timeout",)
    _cursor_cls = OneCallCursor  # type: ignore[assignment]  # SQLAlchemy names its own class

    def __init__(self, dbapi: Any, connection: Any, *, busy_timeout: float) -> None:
        super().__init__(dbapi, connection)
        self.busy_timeout = busy_timeout

    async def run(self, method: _Method, operation: str, parameters: Any) -> Result:
        """Execute a statement and fetch its rows, in the connection's thread."""
        connection: Any = self._connection
        return await connection._execute(self._run, connection, method, operation, parameters)  # type: ignore[no-any-return]  # noqa: SLF001

    def _run(self, connection: Any, method: _Method, operation: str, parameters: Any) -> Result:
        give_up_at = monotonic() + self.busy_timeout
        while True:
            cursor = connection._conn.cursor()  # noqa: SLF001  # aiosqlite has no public one
            try:
                method(cursor, operation, parameters)
                rows = cursor.fetchall() if cursor.description else []
                return Result(cursor.description, rows, cursor.rowcount, cursor.lastrowid)
            except sqlite3.OperationalError as error:
                if not is_locked(error) or monotonic() >= give_up_at:
                    raise
            finally:
                cursor.close()
            sleep(LOOKS_EVERY)


def connect(
    dialect: Dialect, _record: object, arguments: Any, parameters: Any, *, busy_timeout: float
) -> OneCallConnection:
    """Connect in place of the dialect (the event `do_connect`)."""
    original: Any = dialect.connect(*arguments, **parameters)
    return OneCallConnection(original.dbapi, original.driver_connection, busy_timeout=busy_timeout)
