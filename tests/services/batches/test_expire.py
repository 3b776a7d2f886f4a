"""Retention: expired batches are deleted with their files, and idempotency keys after a day."""

from datetime import timedelta

import pytest
from sqlmodel import select

from imgsvc.bootstrap import Resources
from imgsvc.db.queries import deletions
from imgsvc.db.tables import IdempotencyKey
from imgsvc.errors import HttpStatusError, NotFound
from imgsvc.services.batches.read import read_batch
from imgsvc.settings.server import Settings
from support.batches import ManualClock, RecordingQueue, batch_of, deliveries_of, submit_batch
from support.deliveries import deliver
from support.origin_server import WebhookListener
from support.storage import NO_ROWS, put, rows_of, stored
from support.verbs import cancel, clean_up, end_round, ended_batch, expire, rendition_key, retry, sweep

RETENTION = 7 * 86_400
DAY = 86_400
URLS = ["http://shop.example/1.jpg"]


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"retention": RETENTION})


async def is_visible(resources: Resources, batch_id: str) -> bool:
    try:
        await read_batch(batch_id, api_key_id="key_local", sessions=resources.sessions)
    except NotFound:
        return False
    return True


async def keys(resources: Resources) -> list[str]:
    async with resources.sessions.read() as session:
        return sorted(await session.exec(select(IdempotencyKey.key)))


async def test_an_expired_batch_is_deleted_with_its_files(
    resources: Resources, queue: RecordingQueue, clock: ManualClock
) -> None:
    batch = await ended_batch(resources, None, webhook_url=None)
    await put(resources, rendition_key(batch.id, 0))
    assert batch.expires_at == clock() + timedelta(seconds=RETENTION)
    clock.forward(RETENTION - 1)
    await expire(resources)
    assert await is_visible(resources, batch.id)
    clock.forward(1)
    await expire(resources)
    assert not await is_visible(resources, batch.id)

    await sweep(resources, queue)
    assert queue.clean_ups == [batch.id]
    await clean_up(resources, batch.id)
    assert stored(resources) == set()
    clock.forward(resources.settings.tidy_after)
    await clean_up(resources, batch.id)
    assert await rows_of(resources, batch.id) == NO_ROWS


async def test_an_open_batch_does_not_expire_and_retention_starts_at_its_end(
    resources: Resources, clock: ManualClock
) -> None:
    batch = await submit_batch(resources, URLS)
    assert batch.expires_at == clock() + timedelta(seconds=RETENTION)
    clock.forward(2 * RETENTION)
    await expire(resources)
    assert await is_visible(resources, batch.id)
    await cancel(resources, batch.id)
    await expire(resources)
    assert (await batch_of(resources.sessions, batch.id)).expires_at == clock() + timedelta(seconds=RETENTION)


async def test_a_retry_restarts_the_retention(resources: Resources, clock: ManualClock) -> None:
    batch = await ended_batch(resources, HttpStatusError(404), webhook_url=None)
    clock.forward(RETENTION - 1)
    await retry(resources, batch.id)
    clock.forward(RETENTION + 1)
    await expire(resources)
    assert await is_visible(resources, batch.id)
    await end_round(resources, batch.id, [None], round_number=2)
    clock.forward(RETENTION - 1)
    await expire(resources)
    assert await is_visible(resources, batch.id)
    clock.forward(1)
    await expire(resources)
    assert not await is_visible(resources, batch.id)


async def test_a_batch_with_a_pending_webhook_is_kept_until_it_is_delivered(
    resources: Resources, listener: WebhookListener, queue: RecordingQueue, clock: ManualClock
) -> None:
    batch = await ended_batch(resources, None, webhook_url=listener.url("/hook"))
    [delivery] = await deliveries_of(resources.sessions, batch.id)
    clock.forward(RETENTION)
    await expire(resources)
    assert await is_visible(resources, batch.id)
    assert (await deliver(resources, delivery, queue=queue)).status == "delivered"
    await expire(resources)
    assert not await is_visible(resources, batch.id)


async def test_many_batches_expire_in_several_passes_oldest_first(resources: Resources, clock: ManualClock) -> None:
    batch_ids = []
    for _ in range(103):
        batch_ids.append((await submit_batch(resources, ["ftp://shop.example/1"], on_invalid="skip")).id)
        clock.forward(1)
    clock.forward(RETENTION)
    await expire(resources)
    assert [await is_visible(resources, batch_id) for batch_id in batch_ids] == [False] * 100 + [True] * 3
    await expire(resources)
    assert not await is_visible(resources, batch_ids[-1])


# -- idempotency keys -------------------------------------------------------------------------------------------------


async def test_idempotency_keys_are_deleted_after_a_day(resources: Resources, clock: ManualClock) -> None:
    await submit_batch(resources, URLS, idempotency_key="monday")
    clock.forward(DAY / 2)
    await submit_batch(resources, URLS, idempotency_key="noon")
    await expire(resources)
    assert await keys(resources) == ["monday", "noon"]
    clock.forward(DAY / 2)
    await expire(resources)
    assert await keys(resources) == ["noon"]
    clock.forward(DAY)
    await expire(resources)
    assert await keys(resources) == []


async def test_a_batch_retried_just_before_its_deletion_keeps_its_key(resources: Resources, clock: ManualClock) -> None:
    batch = await submit_batch(resources, URLS, idempotency_key="monday")
    await end_round(resources, batch.id, [HttpStatusError(404)])
    clock.forward(DAY / 2)
    await retry(resources, batch.id)  # after it was found to have expired, and before it is deleted
    async with resources.sessions.write() as session:
        assert await deletions.soft_delete(session, [batch.id], clock()) == 0
    assert await is_visible(resources, batch.id)
    assert await keys(resources) == ["monday"]
