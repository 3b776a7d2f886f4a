"""Idempotency keys: a client that does not know whether its upload arrived repeats it, and gets the same batch."""

from dataclasses import dataclass
from datetime import datetime

from sqlmodel.ext.asyncio.session import AsyncSession

from imgsvc.db.engine import Sessions
from imgsvc.db.queries import batches, deliveries
from imgsvc.db.queries import idempotency as queries
from imgsvc.db.tables import Batch, Delivery, IdempotencyKey
from imgsvc.errors import IdempotencyKeyReused
from imgsvc.services.clock import Clock


@dataclass(frozen=True, slots=True)
class UploadKey:
    """What a client calls an upload; `fingerprint` tells whether it is still the same one."""

    api_key_id: str
    key: str
    fingerprint: str


async def find_replayed(name: UploadKey, *, sessions: Sessions, clock: Clock) -> tuple[Batch, Delivery | None] | None:
    """The batch that was made under this name in the last 24 hours, and the delivery that announced its end.

    Raises:
        IdempotencyKeyReused: of another upload.
    """
    async with sessions.read() as session:
        known = await queries.find(session, name.api_key_id, name.key, since=clock() - queries.KEY_TTL)
        batch = await batches.get(session, known.batch_id) if known else None
        delivery = await deliveries.get_for_round(session, batch.id, round_number=batch.round) if batch else None
    if known and known.fingerprint != name.fingerprint:
        raise IdempotencyKeyReused(
            "This Idempotency-Key was used for another file or other fields in the last 24 hours; take a new one."
        )
    return (batch, delivery) if batch else None


async def reserve(session: AsyncSession, name: UploadKey, batch_id: str, now: datetime) -> bool:
    """Write the name down for a batch that is about to be stored; False when another was first."""
    row = IdempotencyKey(
        api_key_id=name.api_key_id, key=name.key, fingerprint=name.fingerprint, batch_id=batch_id, created_at=now
    )
    return await queries.reserve(session, row, since=now - queries.KEY_TTL)
