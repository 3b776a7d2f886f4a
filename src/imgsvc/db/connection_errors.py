"""Translates drivers' errors that mean the database is unavailable, and leaves the caller's own errors alone."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DatabaseError, DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from imgsvc.errors import DatabaseUnavailable

# Classes of SQLSTATE (Postgres, appendix A): connection, login, no such database, rollback by deadlock, resources,
# operator's intervention, disk. Then two of the class "transaction state": read-only, as after a failover, and the
# timeout of an idle transaction (postgres.IDLE_TIMEOUT).
_UNAVAILABLE_CLASSES = frozenset({"08", "28", "3D", "40", "53", "57", "58"})
_UNAVAILABLE_STATES = frozenset({"25006", "25P03"})


class Translation:
    """A context manager that turns drivers' connection errors into DatabaseUnavailable.

    Errors raised inside `callers()` pass unchanged.
    """

    _callers: BaseException | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _type: object, error: BaseException | None, _trace: object) -> None:
        if error is not self._callers and _is_unavailable(error):
            raise DatabaseUnavailable(_message(error)) from error

    @contextmanager
    def callers(self) -> Iterator[None]:
        """Mark the caller's block. An OSError from it is the caller's: `translate_os_error` translates the driver's."""
        try:
            yield
        except OSError as error:
            self._callers = error
            raise


def translate_os_error(context: ExceptionContext) -> DatabaseUnavailable | None:
    """Translate a timeout or broken connection during a statement; SQLAlchemy does not wrap asyncpg's OSError."""
    error = context.original_exception
    return DatabaseUnavailable(_message(error)) if isinstance(error, OSError) else None


def _is_unavailable(error: BaseException | None) -> bool:
    match error:
        case OperationalError() | PoolTimeoutError() | OSError():  # asyncio's TimeoutError is an OSError
            return True
        case DBAPIError():
            return error.connection_invalidated or _is_damaged(error) or _is_temporary(error.orig)
    return _is_temporary(error)  # SQLAlchemy does not wrap the errors that asyncpg raises while it connects


def _is_damaged(error: DBAPIError) -> bool:
    """Return whether SQLite reports a damaged file or one that is not a database: it raises the base class then."""
    return type(error) is DatabaseError


def _is_temporary(error: Any) -> bool:
    """Return whether Postgres reports that it is starting, stopping, full or in a deadlock, by its SQLSTATE."""
    state = str(getattr(error, "sqlstate", None) or "")
    return state[:2] in _UNAVAILABLE_CLASSES or state in _UNAVAILABLE_STATES


def _message(error: BaseException | None) -> str:
    """Return the driver's message, or a general one: timeouts have no text."""
    cause = error.__cause__ if isinstance(error, DBAPIError) and error.__cause__ else error
    return str(cause) or "The database does not answer."
