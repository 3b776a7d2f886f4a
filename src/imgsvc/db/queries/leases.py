"""Statements on the leases of assets: find hosts with open assets, and claim assets of theirs."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import bindparam, case, literal_column, update
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from imgsvc.db.dialects import is_postgres
from imgsvc.db.tables import OPEN_ASSETS, Asset
from imgsvc.db.types import UtcDateTime
from imgsvc.domain.status import AssetStatus


class Claimed(NamedTuple):
    """An asset that a lane may process until its lease ends."""

    position: int
    origin_url: str
    slug: str
    attempts: int
    lost: int
    suspicion: str | None = None
    storage_failures: int = 0
    quarantine_failures: int = 0
    host_number: int = 0

    @property
    def is_suspect(self) -> bool:
        """True if the image must not be decoded in a thread, only in the sandbox."""
        return self.lost > 0 or self.suspicion is not None


class Claims(NamedTuple):
    """The assets that a claim got, and how many of them were pending (the others belonged to a dead worker)."""

    assets: list[Claimed]
    were_pending: int


class HostDue(NamedTuple):
    """A host of a batch, by its number, with the open asset of it that is due first."""

    number: int
    due_at: datetime
    origin_url: str


_TABLE = Asset.__table__  # type: ignore[attr-defined]  # SQLModel types tables as classes only
_CLAIMED_COLUMNS = tuple(col(getattr(Asset, name)) for name in Claimed._fields)

_OPEN = f"FROM asset WHERE batch_id = :batch_id AND {OPEN_ASSETS}"
# A walk along the index ix_asset_open_by_host: one step per host, however many assets it has. Each step is ORDER BY and
# LIMIT, not min(): see `plan_on_indexes`. `page.batch_id`, not the parameter, and MATERIALIZED: a plan from a time of
# small batches would read the whole batch to find the first asset of a host (6 s for 500,000 assets).
_HOSTS = (
    sa.text(f"""
        WITH RECURSIVE numbers (number) AS (
            SELECT (SELECT host_number {_OPEN} AND host_number > :after ORDER BY host_number LIMIT 1)
            UNION ALL
            SELECT (SELECT host_number {_OPEN} AND host_number > numbers.number ORDER BY host_number LIMIT 1)
            FROM numbers WHERE numbers.number IS NOT NULL
        ),
        page AS MATERIALIZED (
            SELECT number, :batch_id AS batch_id,
                (SELECT position {_OPEN} AND host_number = numbers.number ORDER BY due_at, position LIMIT 1) AS position
            FROM numbers WHERE number IS NOT NULL LIMIT :limit
        )
        SELECT page.number, asset.due_at, asset.origin_url
        FROM page JOIN asset ON asset.batch_id = page.batch_id AND asset.position = page.position
    """)  # noqa: S608  # a constant of ours
    .bindparams(bindparam("batch_id", type_=sa.String), bindparam("after", type_=sa.Integer))
    .columns(_TABLE.c.host_number, _TABLE.c.due_at, _TABLE.c.origin_url)
)


async def hosts(session: AsyncSession, batch_id: str, *, after: int, limit: int) -> list[HostDue]:
    """Return up to `limit` hosts of the batch that have open assets, in order, following the host number `after`."""
    connection = await session.connection()
    rows = await connection.execute(_HOSTS, {"batch_id": batch_id, "after": after, "limit": limit})
    return sorted(HostDue(*row) for row in rows)


async def claim(
    session: AsyncSession,
    batch_id: str,
    *,
    token: str,
    in_flight: Collection[int],
    now: datetime,
    until: datetime,
    limits: Mapping[int, int],
) -> Claims:
    """Claim due assets for the run `token`, longest due first: of each host, by its number, as many as `limits` says.

    A run whose own leases have expired (its process was frozen, the clock jumped) does not claim the assets that it
    still has `in_flight`, even if another run claimed them and handed them back: their outcome would count twice.
    """
    if not limits:
        return Claims([], 0)
    connection = await session.connection()
    values = {"batch_id": batch_id, "token": token, "in_flight": list(in_flight), "now": now, "until": until}
    claim_due = _claim_on_postgres if is_postgres(connection) else _claim_on_sqlite
    rows = sorted(await claim_due(connection, values, limits))
    return Claims([row.asset for row in rows], sum(row.was == AssetStatus.PENDING for row in rows))


class _Row(NamedTuple):
    """A claimed asset, with the time at which it was due and its former status."""

    was_due_at: datetime
    asset: Claimed
    was: str


# One statement, built once: SQLAlchemy takes longer to build it than Postgres to run it. It never waits, because it
# skips assets that another transaction has locked. MATERIALIZED: a plan that ran it twice would lock too many.
# `due.batch_id`, not the parameter: Postgres expects one asset in a batch newer than its statistics, and would read it.
_CLAIM_ON_POSTGRES = sa.text(f"""
    WITH due AS MATERIALIZED (
        SELECT due.* FROM unnest(:numbers, :limits) AS host (number, assets) CROSS JOIN LATERAL (
            SELECT batch_id, position, status, due_at FROM asset
            WHERE batch_id = :batch_id AND {OPEN_ASSETS} AND host_number = host.number AND due_at <= :now
                AND claim IS DISTINCT FROM :token AND position <> ALL (:in_flight)
            ORDER BY due_at, position LIMIT host.assets
            FOR UPDATE SKIP LOCKED
        ) AS due
    )
    UPDATE asset SET status = 'processing', claim = :token, due_at = :until, updated_at = :now,
        lost = asset.lost + CASE due.status WHEN 'processing' THEN 1 ELSE 0 END
    FROM due WHERE asset.batch_id = due.batch_id AND asset.position = due.position
    RETURNING due.due_at AS was_due_at, due.status AS was, {", ".join(f"asset.{name}" for name in Claimed._fields)}
""").bindparams(  # noqa: S608  # names of ours
    *(bindparam(name, type_=postgresql.ARRAY(sa.Integer)) for name in ("numbers", "limits", "in_flight")),
    *(bindparam(name, type_=sa.String) for name in ("batch_id", "token")),
    *(bindparam(name, type_=UtcDateTime) for name in ("now", "until")),
)


async def _claim_on_postgres(
    connection: AsyncConnection, values: dict[str, Any], limits: Mapping[int, int]
) -> list[_Row]:
    hosts = {"numbers": list(limits), "limits": list(limits.values())}
    rows = await connection.execute(_CLAIM_ON_POSTGRES, values | hosts)
    return [_Row(was_due_at, Claimed(*asset), was) for was_due_at, was, *asset in rows]


async def _claim_on_sqlite(
    connection: AsyncConnection, values: dict[str, Any], limits: Mapping[int, int]
) -> list[_Row]:
    """Claim with one query per host and one update; the transaction has the write lock."""
    due = sa.select(col(Asset.due_at), col(Asset.status), *_CLAIMED_COLUMNS).where(
        col(Asset.batch_id) == values["batch_id"],
        literal_column(OPEN_ASSETS),
        col(Asset.due_at) <= values["now"],
        col(Asset.claim).is_distinct_from(values["token"]),
        col(Asset.position).not_in(values["in_flight"]),
    )
    rows: list[_Row] = []
    for number, assets in limits.items():
        of_host = due.where(col(Asset.host_number) == number).order_by(col(Asset.due_at), col(Asset.position))
        for was_due_at, was, *asset in await connection.execute(of_host.limit(assets)):
            claimed = Claimed(*asset)
            lost = claimed.lost + (was == AssetStatus.PROCESSING)
            rows.append(_Row(was_due_at, claimed._replace(lost=lost), was))
    lease_expired = col(Asset.status) == AssetStatus.PROCESSING
    if rows:
        await connection.execute(
            update(Asset)
            .where(col(Asset.batch_id) == values["batch_id"])
            .where(col(Asset.position).in_([row.asset.position for row in rows]))
            .values(
                status=AssetStatus.PROCESSING,
                claim=values["token"],
                due_at=values["until"],
                lost=Asset.lost + case((lease_expired, 1), else_=0),
                updated_at=values["now"],
            )
        )
    return rows


async def unacknowledged_claims(
    session: AsyncSession, batch_id: str, token: str, acknowledged: Collection[int]
) -> list[Claimed]:
    """Return the assets that the run `token` claimed in a commit whose response was lost."""
    connection = await session.connection()
    statement = sa.select(*_CLAIMED_COLUMNS).where(
        col(Asset.batch_id) == batch_id,
        literal_column(OPEN_ASSETS),
        col(Asset.claim) == token,
        col(Asset.position).not_in(acknowledged),
    )
    return [Claimed(*row) for row in await connection.execute(statement)]
