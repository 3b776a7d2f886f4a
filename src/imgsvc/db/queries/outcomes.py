"""Statements that write the outcomes of claimed assets."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from pydantic_core import to_json
from sqlalchemy import bindparam, update
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlmodel.ext.asyncio.session import AsyncSession

from imgsvc.db.dialects import is_postgres
from imgsvc.db.tables import Asset
from imgsvc.domain.status import AssetStatus

_TABLE = Asset.__table__  # type: ignore[attr-defined]  # SQLModel types tables as classes only

OUTCOME_COLUMNS = (
    "status",
    "due_at",
    "attempts",
    "lost",
    "suspicion",
    "storage_failures",
    "quarantine_failures",
    "input_format",
    "width",
    "height",
    "input_bytes",
    "renditions",
    "error_code",
    "error_detail",
    "http_status",
    "etag",
    "last_modified",
    "final_url_hash",
    "reuse_hash",
    "updated_at",
)


async def write_outcomes(session: AsyncSession, batch_id: str, token: str, rows: Sequence[dict[str, Any]]) -> set[int]:
    """Write the outcomes of the assets that the run `token` still holds, and return their positions.

    A run loses its assets if its process was frozen. A row has `position` and every `OUTCOME_COLUMNS`.
    """
    if not rows:
        return set()
    connection = await session.connection()
    write = _write_on_postgres if is_postgres(connection) else _write_on_sqlite
    return await write(connection, batch_id, token, rows)


def _sql_type(name: str) -> str:
    return str(_TABLE.c[name].type.compile(postgresql.dialect()))  # type: ignore[no-untyped-call]  # untyped there


# One statement for all rows, which are one parameter. They are locked in the order of their positions, as a change of
# the batch locks them (`assets`), so that two transactions never wait for each other. `held.batch_id`: see `leases`.
# The status is compared outside, because the index of open assets is not ordered by position.
_WRITE_ON_POSTGRES = sa.text(f"""
    WITH held AS MATERIALIZED (
        SELECT held.* FROM unnest(:positions) AS outcome (position) CROSS JOIN LATERAL (
            SELECT batch_id, position, status FROM asset
            WHERE batch_id = :batch_id AND position = outcome.position AND claim = :token
            FOR UPDATE
        ) AS held
    )
    UPDATE asset SET claim = NULL, {", ".join(f"{name} = outcome.{name}" for name in OUTCOME_COLUMNS)}
    FROM held JOIN json_to_recordset(CAST(:rows AS json)) AS outcome (
        {", ".join(f"{name} {_sql_type(name)}" for name in ("position", *OUTCOME_COLUMNS))}
    ) USING (position)
    WHERE asset.batch_id = held.batch_id AND asset.position = held.position AND held.status = 'processing'
    RETURNING asset.position
""").bindparams(  # noqa: S608  # names of ours
    *(bindparam(name, type_=sa.String) for name in ("batch_id", "token", "rows")),
    bindparam("positions", type_=postgresql.ARRAY(sa.Integer)),
)


async def _write_on_postgres(
    connection: AsyncConnection, batch_id: str, token: str, rows: Sequence[dict[str, Any]]
) -> set[int]:
    positions = sorted(row["position"] for row in rows)
    values = {"batch_id": batch_id, "token": token, "positions": positions, "rows": to_json(rows).decode()}
    return set((await connection.execute(_WRITE_ON_POSTGRES, values)).scalars())


_WRITE_ON_SQLITE = (
    update(_TABLE)
    .where(_TABLE.c.batch_id == bindparam("at_batch_id"), _TABLE.c.position == bindparam("at_position"))
    .values(claim=None, **{name: bindparam(name) for name in OUTCOME_COLUMNS})
)


async def _write_on_sqlite(
    connection: AsyncConnection, batch_id: str, token: str, rows: Sequence[dict[str, Any]]
) -> set[int]:
    """Write with one statement per row, which costs no round trip; the transaction has the write lock."""
    found = sa.select(_TABLE.c.position).where(
        _TABLE.c.batch_id == batch_id,
        _TABLE.c.claim == token,
        _TABLE.c.status == AssetStatus.PROCESSING,
        _TABLE.c.position.in_([row["position"] for row in rows]),
    )
    held = set((await connection.execute(found)).scalars())
    values = [
        {"at_batch_id": batch_id, "at_position": row["position"], **{name: row[name] for name in OUTCOME_COLUMNS}}
        for row in rows
        if row["position"] in held
    ]
    if values:
        await connection.execute(_WRITE_ON_SQLITE, values)
    return held
