"""The dialect of a connection: SQLite and Postgres need other statements for the same thing here and there."""

from sqlalchemy.ext.asyncio import AsyncConnection


def is_postgres(connection: AsyncConnection) -> bool:
    return connection.dialect.name == "postgresql"
