"""Expressions that SQLite and Postgres write differently."""

from collections.abc import Collection

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.orm import Mapped


def is_postgres(connection: AsyncConnection) -> bool:
    return connection.dialect.name == "postgresql"


def any_of(
    connection: AsyncConnection, column: sa.ColumnElement[int] | Mapped[int], values: Collection[int]
) -> sa.ColumnElement[bool]:
    """Return the condition that `column` is one of `values`.

    On Postgres it is one array: a list of parameters would be another statement for every length, and each is prepared.
    """
    if not is_postgres(connection):
        return column.in_(values)
    return column == sa.any_(sa.bindparam(None, list(values), type_=ARRAY(sa.Integer)))
