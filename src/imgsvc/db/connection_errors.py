"""Which errors mean that the database is away: what the drivers say, and never what the caller of a session raises."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DatabaseError, DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from imgsvc.errors import DatabaseUnavailable

# Classes of SQLSTATE (Postgres, appendix A): connection, login, no such database, rollback by deadlock, resources,
# operator's intervention, disk. Then two of the class "transaction state": read-only, as after a failover, and the
# time-out above.
_AWAY_CLASSES = frozenset({"08", "28", "3D", "40", "53", "57", "58"})
_AWAY_STATES = frozenset({"25006", "25P03"})


class Translation:
    """Turns the drivers' ways of saying "not there" into DatabaseUnavailable, and leaves the caller's errors alone."""

    _callers: BaseException | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _type: object, error: BaseException | None, _trace: object) -> None:
        if error is not self._callers and _is_away(error):
            raise DatabaseUnavailable(_words(error)) from error

    @contextmanager
    def callers(self) -> Iterator[None]:
        """Mark what the caller does. An OSError from here is its own: those of statements are named before."""
        try:
            yield
        except OSError as error:
            self._callers = error
            raise


def name_os_error(context: ExceptionContext) -> DatabaseUnavailable | None:
    """Name a time-out or a broken connection during a statement, which asyncpg raises and SQLAlchemy hands on as is."""
    error = context.original_exception
    return DatabaseUnavailable(_words(error)) if isinstance(error, OSError) else None


def _is_away(error: BaseException | None) -> bool:
    match error:
        case OperationalError() | PoolTimeoutError() | OSError():  # asyncio's TimeoutError is one too
            return True
        case DBAPIError():
            return error.connection_invalidated or _is_damaged(error) or _is_passing(error.orig)
    return _is_passing(error)  # while a connection is set up, SQLAlchemy lets asyncpg's own errors pass


def _is_damaged(error: DBAPIError) -> bool:
    """Whether SQLite says that the file is no database, or a broken one: the general type is used for nothing else."""
    return type(error) is DatabaseError


def _is_passing(error: Any) -> bool:
    """Whether Postgres says that it is starting, stopping, full or in a deadlock; SQLAlchemy has no type for these."""
    state = str(getattr(error, "sqlstate", None) or "")
    return state[:2] in _AWAY_CLASSES or state in _AWAY_STATES


def _words(error: BaseException | None) -> str:
    """What the driver said; a time-out says nothing."""
    cause = error.__cause__ if isinstance(error, DBAPIError) and error.__cause__ else error
    return str(cause) or "The database does not answer."
