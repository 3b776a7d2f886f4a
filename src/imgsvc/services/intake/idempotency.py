"""Idempotency keys: a client that repeats an upload under the same key gets the same batch."""

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
    """A client's name for an upload; the `fingerprint` changes when the upload does."""

    api_key_id: str
    key: str
    fingerprint: str


async def find_replayed(
    upload_key: UploadKey, *, sessions: Sessions, clock: Clock
) -> tuple[Batch, Delivery | None] | None:
    """Return the batch created under this key in the last 24 hours, and the delivery that announced its end.

    Raises:
        IdempotencyKeyReused: the key was used for another upload.
    """
    async with sessions.read() as session:
        stored = await queries.find(session, upload_key.api_key_id, upload_key.key, since=clock() - queries.KEY_TTL)
        batch = await batches.get(session, stored.batch_id) if stored else None
        delivery = await deliveries.get_for_round(session, batch.id, round_number=batch.round) if batch else None
    if stored and stored.fingerprint != upload_key.fingerprint:
        raise IdempotencyKeyReused(
            "This Idempotency-Key was used for another file or other fields in the last 24 hours; use a new one."
        )
    return (batch, delivery) if batch else None


async def reserve(session: AsyncSession, upload_key: UploadKey, batch_id: str, now: datetime) -> bool:
    """Store the key for a batch that is about to be stored; return False when another upload was first."""
    row = IdempotencyKey(
        api_key_id=upload_key.api_key_id,
        key=upload_key.key,
        fingerprint=upload_key.fingerprint,
        batch_id=batch_id,
        created_at=now,
    )
    return await queries.reserve(session, row, since=now - queries.KEY_TTL)
