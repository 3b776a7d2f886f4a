"""The verbs that cancel, retry and delete batches, on a test's resources; and batches that end without a worker."""

from collections.abc import Sequence

from imgsvc.bootstrap import Resources
from imgsvc.db.engine import Sessions
from imgsvc.db.queries.api_keys import LOCAL_KEY
from imgsvc.db.queries.leases import Claimed
from imgsvc.db.tables import ApiKey, Batch
from imgsvc.errors import AssetError
from imgsvc.services.batches.cancel import begin_cancel
from imgsvc.services.batches.change import change_for_request
from imgsvc.services.batches.delete import clean_up_batch, delete_batch
from imgsvc.services.batches.retry import begin_retry
from imgsvc.services.clock import Clock
from imgsvc.services.job_queue import JobQueue
from imgsvc.services.ports import Inventory
from imgsvc.services.processing.outcomes import Failed, Outcome, Succeeded
from imgsvc.services.sweep import LaneSweep, expire_batches, wake_changes, wake_clean_ups, wake_deliveries
from support.batches import batch_of, submit_batch
from support.lanes import flush

OTHER_KEY = "key_other"
HOOK = "http://shop.example/hook"


async def cancel(
    resources: Resources,
    batch_id: str,
    *,
    queue: JobQueue | None = None,
    api_key_id: str = LOCAL_KEY,
    time_limit: float = 60,
) -> None:
    await begin_cancel(batch_id, api_key_id=api_key_id, sessions=resources.sessions)
    await _change(resources, batch_id, queue, time_limit)


async def retry(
    resources: Resources, batch_id: str, *codes: str, queue: JobQueue | None = None, api_key_id: str = LOCAL_KEY
) -> None:
    await begin_retry(
        batch_id,
        codes=codes,
        api_key_id=api_key_id,
        sessions=resources.sessions,
        retention=resources.retention,
        clock=resources.clock,
    )
    await _change(resources, batch_id, queue, 60)


async def _change(resources: Resources, batch_id: str, queue: JobQueue | None, time_limit: float) -> None:
    await change_for_request(
        batch_id,
        sessions=resources.sessions,
        queue=queue or resources.queue,
        retention=resources.retention,
        clock=resources.clock,
        time_limit=time_limit,
    )


async def delete(
    resources: Resources,
    batch_id: str,
    *,
    inventory: Inventory | None = None,
    queue: JobQueue | None = None,
    api_key_id: str = LOCAL_KEY,
    removal_timeout: float = 60,
) -> None:
    await delete_batch(
        batch_id,
        api_key_id=api_key_id,
        sessions=resources.sessions,
        inventory=inventory or resources.storage,
        queue=queue or resources.queue,
        clock=resources.clock,
        clean_up_after=resources.retention.clean_up_after,
        removal_timeout=removal_timeout,
    )


async def clean_up(resources: Resources, batch_id: str, *, inventory: Inventory | None = None) -> None:
    await clean_up_batch(
        batch_id,
        sessions=resources.sessions,
        inventory=inventory or resources.storage,
        clock=resources.clock,
        clean_up_after=resources.retention.clean_up_after,
    )


async def expire(resources: Resources) -> None:
    await expire_batches(sessions=resources.sessions, clock=resources.clock)


async def sweep(resources: Resources, queue: JobQueue | None = None) -> None:
    await wake_due_work(sessions=resources.sessions, queue=queue or resources.queue, clock=resources.clock)


async def wake_due_work(*, sessions: Sessions, queue: JobQueue, clock: Clock) -> None:
    """Run the sweeps that repeat wake-up calls."""
    await LaneSweep().run(sessions=sessions, queue=queue)
    await wake_deliveries(sessions=sessions, queue=queue, clock=clock)
    await wake_changes(sessions=sessions, queue=queue)
    await wake_clean_ups(sessions=sessions, queue=queue, clock=clock)


async def add_key(resources: Resources) -> str:
    """Add a second API key, and return its id."""
    async with resources.sessions.write() as session:
        session.add(ApiKey(id=OTHER_KEY, name="another shop", webhook_secrets=[], created_at=resources.clock()))
    return OTHER_KEY


# -- batches ----------------------------------------------------------------------------------------------------------


def rendition_key(batch_id: str, position: int) -> str:
    return f"{batch_id}/{position}-shoe-0123abcd.jpg"


def succeeded(batch_id: str, asset: Claimed, *, key: str = "", size: int = 40) -> Succeeded:
    """Return the outcome of an asset of 100 bytes that was compressed to `size`."""
    key = key or rendition_key(batch_id, asset.position)
    rendition = {"name": "main", "key": key, "format": "jpeg", "width": 8, "height": 6, "bytes": size}
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
    """Return the outcome of an asset: failed with `error`, or succeeded."""
    return Failed(asset, asset.attempts + 1, error) if error else succeeded(batch_id, asset)


async def end_round(
    resources: Resources, batch_id: str, errors: Sequence[AssetError | None], *, round_number: int = 1
) -> None:
    """Claim all due assets and end them with `errors`, by position (None: succeeded)."""
    claimed = await flush(batch_id, resources, token="last lane", claim=len(errors), round_number=round_number)
    outcomes = [
        outcome(batch_id, asset, error)
        for asset, error in zip(sorted(claimed, key=lambda each: each.position), errors, strict=True)
    ]
    await flush(batch_id, resources, token="last lane", outcomes=outcomes, round_number=round_number)


async def ended_batch(resources: Resources, *errors: AssetError | None, webhook_url: str | None = HOOK) -> Batch:
    """Create a batch whose assets have ended with `errors` (None: succeeded)."""
    urls = [f"http://shop.example/{number}.jpg" for number in range(len(errors))]
    batch = await submit_batch(resources, urls, webhook_url=webhook_url)
    await end_round(resources, batch.id, errors)
    return await batch_of(resources.sessions, batch.id)
