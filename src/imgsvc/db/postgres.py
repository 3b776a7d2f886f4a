"""Postgres: set up connections, and notice a pooler such as PgBouncer between this process and the server."""

from typing import Any

from asyncpg.exceptions import InterfaceError, PostgresError
from sqlalchemy import Dialect, event
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.util import await_only

# The locks of a process that was frozen in a transaction are released before the statements of others time out.
IDLE_TIMEOUT = "idle_in_transaction_session_timeout"
IDLE_TIMEOUT_MS = 15_000
SERVER_SETTINGS = {"application_name": "imgsvc"}
"""Start-up parameters: PgBouncer refuses most others."""

UNNAMED_STATEMENTS = {
    "statement_cache_size": 0,
    "prepared_statement_cache_size": 0,
    "prepared_statement_name_func": str,  # str() is "": the statement without a name, which the next one replaces
}


class Pooler:
    """A pooler in transaction mode, once a connection has shown that there is one.

    Each transaction may then use another connection of the server: statements that were prepared before are missing
    there, and a session's settings would apply to other clients. So each statement is prepared again, without a name,
    which costs a round trip, and writers set the idle timeout in their transactions. Direct connections do neither.
    """

    def __init__(self) -> None:
        self.detected = False

    async def begin(self, connection: AsyncConnection) -> None:
        """Set the idle timeout for the transaction of `connection`, unless the session has it."""
        if self.detected:
            await connection.exec_driver_sql(f"SET LOCAL {IDLE_TIMEOUT} = {IDLE_TIMEOUT_MS}")

    def connect(self, dialect: Dialect, _record: object, arguments: Any, parameters: dict[str, Any]) -> Any:
        """Open a connection; open it again when it is the first that shows a pooler."""
        if not self.detected:
            connection = dialect.connect(*arguments, **parameters)
            driver_connection: Any = connection.driver_connection
            if await_only(_set_up_direct(driver_connection)):
                return connection
            driver_connection.terminate()
            self.detected = True
        return dialect.connect(*arguments, **parameters | UNNAMED_STATEMENTS)


async def _set_up_direct(connection: Any) -> bool:
    """Set the session's idle timeout and return True if the other side is the server; do nothing if it is a pooler.

    A pooler hands out process ids of its own. Sent as a simple query, which works on both.
    """
    timeout = f"set_config('{IDLE_TIMEOUT}', '{IDLE_TIMEOUT_MS}', false)"
    try:
        done = await connection.execute(f"SELECT {timeout} WHERE pg_backend_pid() = {connection.get_server_pid()}")
    except BaseException:
        connection.terminate()
        raise
    return bool(done == "SELECT 1")


def _test(connection: Any, _record: object, _proxy: object) -> None:
    """Test a connection before it is used: after a restart of the server, those in the pool are replaced.

    One simple query. SQLAlchemy's own test is a transaction of three or four round trips, because it also works
    with prepared statements through a pooler.

    Raises:
        InvalidatePoolError: the connection is broken; the pool opens a new one.
    """
    try:
        await_only(connection.driver_connection.execute("SELECT"))
    except TimeoutError:
        raise
    except (OSError, InterfaceError, PostgresError) as error:
        raise InvalidatePoolError from error


async def allowed_connections(engine: AsyncEngine) -> int | None:
    """Return how many connections the server has for ordinary users, or None if a pooler shares them out."""
    setting = "coalesce(current_setting('{}', true)::int, 0)"
    reserved = [setting.format(name) for name in ("superuser_reserved_connections", "reserved_connections")]
    statement = f"SELECT {' - '.join([setting.format('max_connections'), *reserved])}, pg_backend_pid()"
    async with engine.connect() as connection:
        driver_connection: Any = (await connection.get_raw_connection()).driver_connection
        row: Any = (await connection.exec_driver_sql(statement)).one()
        return int(row[0]) if row[1] == driver_connection.get_server_pid() else None


def prepare(engine: AsyncEngine) -> Pooler:
    """Configure every connection of the engine; return what it knows of a pooler."""
    pooler = Pooler()
    event.listen(engine.sync_engine, "do_connect", pooler.connect)
    event.listen(engine.sync_engine, "checkout", _test)
    return pooler
