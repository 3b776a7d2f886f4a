"""The verbs that end, repeat and remove batches, on the parts of a test; and batches that ended without a worker."""

from collections.abc import Sequence

from imgsvc.bootstrap import Resources
from imgsvc.db.queries.api_keys import LOCAL_KEY
from imgsvc.db.queries.leases import Claimed
from imgsvc.db.tables import ApiKey, Batch
from imgsvc.errors import AssetError
from imgsvc.services.batches.cancel import cancel_batch
from imgsvc.services.batches.delete import clean_up_batch, delete_batch
from imgsvc.services.batches.retry import retry_batch
from imgsvc.services.ports import Inventory, JobQueue
from imgsvc.services.processing.outcomes import Failed, Outcome, Succeeded
from imgsvc.services.sweep import expire_batches, wake_due_work
from support.batches import batch_of, submit_batch
from support.lanes import flush

OTHER_KEY = "key_other"
HOOK = "http://shop.example/hook"


async def cancel(
    parts: Resources, batch_id: str, *, queue: JobQueue | None = None, api_key_id: str = LOCAL_KEY
) -> None:
    await cancel_batch(
        batch_id,
        api_key_id=api_key_id,
        sessions=parts.sessions,
        queue=queue or parts.queue,
        retention=parts.retention,
        clock=parts.clock,
    )


async def retry(
    parts: Resources, batch_id: str, *codes: str, queue: JobQueue | None = None, api_key_id: str = LOCAL_KEY
) -> None:
    await retry_batch(
        batch_id,
        codes=codes,
        api_key_id=api_key_id,
        sessions=parts.sessions,
        queue=queue or parts.queue,
        retention=parts.retention,
        clock=parts.clock,
    )


async def delete(
    parts: Resources,
    batch_id: str,
    *,
    inventory: Inventory | None = None,
    queue: JobQueue | None = None,
    api_key_id: str = LOCAL_KEY,
    patience: float = 60,
) -> None:
    await delete_batch(
        batch_id,
        api_key_id=api_key_id,
        sessions=parts.sessions,
        inventory=inventory or parts.storage,
        queue=queue or parts.queue,
        clock=parts.clock,
        clean_up_after=parts.retention.clean_up_after,
        removal_timeout=patience,
    )


async def clean_up(parts: Resources, batch_id: str, *, inventory: Inventory | None = None) -> None:
    await clean_up_batch(
        batch_id,
        sessions=parts.sessions,
        inventory=inventory or parts.storage,
        clock=parts.clock,
        clean_up_after=parts.retention.clean_up_after,
    )


async def expire(parts: Resources) -> None:
    await expire_batches(sessions=parts.sessions, clock=parts.clock)


async def sweep(parts: Resources, queue: JobQueue) -> None:
    await wake_due_work(sessions=parts.sessions, queue=queue, clock=parts.clock)


async def add_key(parts: Resources) -> str:
    """The id of an API key beside the local one."""
    async with parts.sessions.write() as session:
        session.add(ApiKey(id=OTHER_KEY, name="another shop", webhook_secrets=[], created_at=parts.clock()))
    return OTHER_KEY


# -- batches ----------------------------------------------------------------------------------------------------------


def rendition_key(batch_id: str, position: int) -> str:
    return f"{batch_id}/{position}-shoe-0123abcd.jpg"


def succeeded(batch_id: str, asset: Claimed) -> Succeeded:
    """100 bytes that became 40."""
    key = rendition_key(batch_id, asset.position)
    rendition = {"name": "main", "key": key, "format": "jpeg", "width": 8, "height": 6, "bytes": 40}
    return Succeeded(
        asset,
        asset.attempts + 1,
        input_format="jpeg",
        width=8,
        height=6,
        input_bytes=100,
        renditions=(rendition | {"action": "compressed"},),
        etag=None,
        last_modified=None,
        final_url_hash="",
        reuse_hash="",
    )


def outcome(batch_id: str, asset: Claimed, error: AssetError | None) -> Outcome:
    """How the asset ends: with `error`, or well."""
    return Failed(asset, asset.attempts + 1, error) if error else succeeded(batch_id, asset)


async def end_round(
    parts: Resources, batch_id: str, errors: Sequence[AssetError | None], *, round_number: int = 1
) -> None:
    """Claim everything that is due, and let it end like this, in the order of positions (None: well)."""
    claimed = await flush(batch_id, parts, token="ends it", claim=len(errors), round_number=round_number)
    outcomes = [
        outcome(batch_id, asset, error)
        for asset, error in zip(sorted(claimed, key=lambda each: each.position), errors, strict=True)
    ]
    await flush(batch_id, parts, token="ends it", outcomes=outcomes, round_number=round_number)


async def ended_batch(parts: Resources, *errors: AssetError | None, webhook_url: str | None = HOOK) -> Batch:
    """A batch of an asset for each of `errors`, which has ended with them."""
    urls = [f"http://shop.example/{number}.jpg" for number in range(len(errors))]
    batch = await submit_batch(parts, urls, webhook_url=webhook_url)
    await end_round(parts, batch.id, errors)
    return await batch_of(parts.sessions, batch.id)
