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

from imgsvc.db.dialects import any_of, is_postgres
from imgsvc.db.tables import OPEN_ASSETS, Asset
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

# A walk along the index ix_asset_open: one step per host, however many assets it has.
_HOSTS = (
    sa.text(f"""
        WITH RECURSIVE numbers (number) AS (
            SELECT min(host_number) FROM asset
            WHERE batch_id = :batch_id AND {OPEN_ASSETS} AND host_number > :after
            UNION ALL
            SELECT (
                SELECT min(host_number) FROM asset
                WHERE batch_id = :batch_id AND {OPEN_ASSETS} AND host_number > numbers.number
            ) FROM numbers WHERE numbers.number IS NOT NULL
        ),
        page AS (SELECT number FROM numbers WHERE number IS NOT NULL LIMIT :limit)
        SELECT page.number, asset.due_at, asset.origin_url
        FROM page JOIN asset ON asset.batch_id = :batch_id AND asset.position = (
            SELECT position FROM asset AS first
            WHERE first.batch_id = :batch_id AND first.{OPEN_ASSETS} AND first.host_number = page.number
            ORDER BY first.due_at, first.position LIMIT 1
        )
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
    claimable = (
        sa.select(col(Asset.due_at), col(Asset.position), col(Asset.status))
        .where(
            *_is_due(batch_id, now),
            col(Asset.claim).is_distinct_from(token),
            sa.not_(any_of(connection, col(Asset.position), in_flight)),
        )
        .order_by(col(Asset.due_at), col(Asset.position))
    )
    locked = sorted(await _lock(connection, claimable, limits))
    if not locked:
        return Claims([], 0)
    lease_expired = col(Asset.status) == AssetStatus.PROCESSING
    rows = await connection.execute(
        update(Asset)
        .where(col(Asset.batch_id) == batch_id, any_of(connection, col(Asset.position), [at for _, at, _ in locked]))
        .values(
            status=AssetStatus.PROCESSING,
            claim=token,
            due_at=until,
            lost=Asset.lost + case((lease_expired, 1), else_=0),
            updated_at=now,
        )
        .returning(*_CLAIMED_COLUMNS)
    )
    claimed = {row.position: Claimed(*row) for row in rows}
    were_pending = sum(status == AssetStatus.PENDING for _, _, status in locked)
    return Claims([claimed[position] for _, position, _ in locked], were_pending)


async def _lock(
    connection: AsyncConnection, claimable: sa.Select[datetime, int, str], limits: Mapping[int, int]
) -> list[tuple[datetime, int, str]]:
    """Lock the first claimable assets of each host; those that another transaction has locked are skipped."""
    if not is_postgres(connection):  # the transaction has the write lock; a query costs no round trip
        of_hosts = [claimable.where(col(Asset.host_number) == number).limit(n) for number, n in limits.items()]
        return [(row[0], row[1], row[2]) for of_host in of_hosts for row in await connection.execute(of_host)]
    integers = postgresql.ARRAY(sa.Integer)
    wanted = (
        sa.func.unnest(
            bindparam("numbers", list(limits), type_=integers), bindparam("assets", [*limits.values()], type_=integers)
        )
        .table_valued(sa.column("number", sa.Integer), sa.column("assets", sa.Integer), name="wanted")
        .render_derived()
    )
    of_host = (
        claimable.where(col(Asset.host_number) == wanted.c.number)
        .limit(wanted.c.assets)
        .with_for_update(skip_locked=True)
        .lateral("of_host")
    )
    rows = await connection.execute(sa.select(of_host).select_from(wanted.join(of_host, sa.true())))
    return [(row[0], row[1], row[2]) for row in rows]


def _is_due(batch_id: str, now: datetime) -> tuple[sa.ColumnElement[bool], ...]:
    return (col(Asset.batch_id) == batch_id, literal_column(OPEN_ASSETS), col(Asset.due_at) <= now)


async def unacknowledged_claims(
    session: AsyncSession, batch_id: str, token: str, acknowledged: Collection[int]
) -> list[Claimed]:
    """Return the assets that the run `token` claimed in a commit whose response was lost."""
    connection = await session.connection()
    statement = sa.select(*_CLAIMED_COLUMNS).where(
        col(Asset.batch_id) == batch_id,
        literal_column(OPEN_ASSETS),
        col(Asset.claim) == token,
        sa.not_(any_of(connection, col(Asset.position), acknowledged)),
    )
    return [Claimed(*row) for row in await connection.execute(statement)]
