"""Statements that write the outcomes of claimed assets."""

from collections.abc import Collection, Sequence
from typing import Any

import sqlalchemy as sa
from pydantic_core import to_json
from sqlalchemy import bindparam, update
from sqlalchemy.dialects import postgresql
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from imgsvc.db.dialects import any_of, is_postgres
from imgsvc.db.tables import Asset
from imgsvc.domain.status import AssetStatus

_TABLE = Asset.__table__  # type: ignore[attr-defined]  # SQLModel types tables as classes only


async def still_claimed(session: AsyncSession, batch_id: str, token: str, positions: Collection[int]) -> set[int]:
    """Lock and return those of `positions` that the run `token` still holds; it loses them if its process was frozen.

    They are locked in order, as a change of the batch locks them: two transactions cannot wait for each other.
    """
    connection = await session.connection()
    statement = (
        select(Asset.position)
        .where(
            Asset.batch_id == batch_id,
            Asset.claim == token,
            Asset.status == AssetStatus.PROCESSING,
            any_of(connection, col(Asset.position), positions),
        )
        .order_by(col(Asset.position))
        .with_for_update()
    )
    return set(await session.exec(statement))


_OUTCOME_COLUMNS = (
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
_OUTCOME_ROW = ", ".join(
    f"{name} {_TABLE.c[name].type.compile(postgresql.dialect())}" for name in ("position", *_OUTCOME_COLUMNS)
)
_WRITE_OUTCOMES_ON_POSTGRES = sa.text(f"""
    UPDATE asset SET claim = NULL, {", ".join(f"{name} = outcome.{name}" for name in _OUTCOME_COLUMNS)}
    FROM json_to_recordset(CAST(:rows AS json)) AS outcome ({_OUTCOME_ROW})
    WHERE asset.batch_id = :batch_id AND asset.position = outcome.position
""")  # noqa: S608  # column names of ours
_WRITE_OUTCOME = (
    update(_TABLE)
    .where(_TABLE.c.batch_id == bindparam("at_batch_id"), _TABLE.c.position == bindparam("at_position"))
    .values(claim=None, **{name: bindparam(name) for name in _OUTCOME_COLUMNS})
)


async def write_outcomes(session: AsyncSession, batch_id: str, rows: Sequence[dict[str, Any]]) -> None:
    """Write the outcomes of claimed assets; a row has `position` and every `_OUTCOME_COLUMNS`.

    On Postgres this is one statement, which takes half the time of one per row.
    """
    connection = await session.connection()
    if is_postgres(connection):
        await connection.execute(_WRITE_OUTCOMES_ON_POSTGRES, {"batch_id": batch_id, "rows": to_json(rows).decode()})
        return
    values = [{"at_batch_id": batch_id, "at_position": row["position"], **row} for row in rows]
    await connection.execute(_WRITE_OUTCOME, values)
