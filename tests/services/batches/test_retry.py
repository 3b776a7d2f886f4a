"""Retry: a new round for the failed assets, with its own end and delivery."""

import asyncio
from datetime import timedelta

import pytest
from sqlmodel import col, update

from imgsvc.bootstrap import Resources
from imgsvc.db.tables import Asset
from imgsvc.errors import BatchNotFinished, HttpStatusError, NotAnImage, NotFound, NothingToRetry, ReadTimeout
from imgsvc.services.batches.read import read_batch
from imgsvc.services.processing.outcomes import Failed
from imgsvc.services.processing.process_asset import AssetProcessor
from support.batches import ManualClock, RecordingQueue, assets_of, consistent_batch, deliveries_of, submit_batch
from support.lanes import LEASE, flush, work
from support.origin_server import OriginServer, image_bytes
from support.verbs import HOOK, OTHER_KEY, cancel, end_round, ended_batch, retry, succeeded, sweep

ENDS = (None, HttpStatusError(404), ReadTimeout(), HttpStatusError(404))


async def statuses(resources: Resources, batch_id: str) -> list[str]:
    return [asset.status for asset in await assets_of(resources.sessions, batch_id)]


async def test_a_retry_makes_only_failed_assets_pending(resources: Resources, queue: RecordingQueue) -> None:
    batch = await ended_batch(resources, *ENDS)
    [before, *_] = await assets_of(resources.sessions, batch.id)
    await retry(resources, batch.id, queue=queue)

    batch = await consistent_batch(resources.sessions, batch.id)
    assert (batch.status, batch.round) == ("pending", 2)
    assert (batch.succeeded, batch.failed, batch.errors) == (1, 0, {})
    assert (batch.input_bytes, batch.output_bytes) == (100, 40)
    first, *again = await assets_of(resources.sessions, batch.id)
    assert first == before
    for asset in again:
        assert (asset.status, asset.claim, asset.attempts, asset.due_at) == ("pending", None, 0, resources.clock())
        assert (asset.error_code, asset.error_detail, asset.http_status) == (None, None, None)
    assert queue.lanes == [batch.id]


@pytest.mark.parametrize(
    ("codes", "after", "errors"),
    [
        (["http_404"], ["succeeded", "pending", "failed", "pending"], {"read_timeout": 1}),
        (["read_timeout", "dns_error"], ["succeeded", "failed", "pending", "failed"], {"http_404": 2}),
    ],
)
async def test_only_assets_with_the_given_error_codes_are_retried(
    resources: Resources, codes: list[str], after: list[str], errors: dict[str, int]
) -> None:
    batch = await ended_batch(resources, *ENDS)
    await retry(resources, batch.id, *codes)
    assert await statuses(resources, batch.id) == after
    assert (await consistent_batch(resources.sessions, batch.id)).errors == errors


async def test_an_invalid_url_is_never_retried(resources: Resources) -> None:
    batch = await submit_batch(resources, ["ftp://shop.example/1", "http://shop.example/2.jpg"], on_invalid="skip")
    await end_round(resources, batch.id, [NotAnImage()])
    with pytest.raises(NothingToRetry):
        await retry(resources, batch.id, "invalid_url")
    await retry(resources, batch.id)
    assert await statuses(resources, batch.id) == ["failed", "pending"]
    assert (await consistent_batch(resources.sessions, batch.id)).errors == {"invalid_url": 1}
    await end_round(resources, batch.id, [None], round_number=2)
    with pytest.raises(NothingToRetry):
        await retry(resources, batch.id)


async def test_a_retry_keeps_the_suspicion_of_an_asset(resources: Resources) -> None:
    batch = await ended_batch(resources, NotAnImage())
    async with resources.sessions.write() as session:
        await session.exec(
            update(Asset)
            .where(col(Asset.batch_id) == batch.id)
            .values(lost=2, suspicion="overran", storage_failures=3, quarantine_failures=4)
        )
    await retry(resources, batch.id)
    [asset] = await assets_of(resources.sessions, batch.id)
    assert (asset.attempts, asset.lost, asset.storage_failures, asset.quarantine_failures) == (0, 1, 0, 0)
    assert asset.suspicion == "abandoned"  # still suspected, but not of the overrun in the previous round


# -- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ends", "codes"), [((None, None), []), (ENDS, ["dns_error"]), ((HttpStatusError(404),), ["http_403"])]
)
async def test_a_retry_without_matching_failures_is_refused(
    resources: Resources, ends: tuple[HttpStatusError | None, ...], codes: list[str]
) -> None:
    batch = await ended_batch(resources, *ends)
    with pytest.raises(NothingToRetry, match=codes[0] if codes else "completed"):
        await retry(resources, batch.id, *codes)
    after = await consistent_batch(resources.sessions, batch.id)
    assert (after.status, after.round, after.version) == (batch.status, 1, batch.version)


async def test_a_cancelled_batch_stays_cancelled(resources: Resources) -> None:
    batch = await submit_batch(resources, ["http://shop.example/1.jpg", "http://shop.example/2.jpg"])
    [asset] = await flush(batch.id, resources, token="lane", claim=1)
    await flush(batch.id, resources, token="lane", outcomes=[Failed(asset, 1, NotAnImage())])
    await cancel(resources, batch.id)
    with pytest.raises(NothingToRetry, match="cancelled"):
        await retry(resources, batch.id)
    assert await statuses(resources, batch.id) == ["failed", "cancelled"]


async def test_an_open_batch_cannot_be_retried(resources: Resources) -> None:
    batch = await submit_batch(resources, ["http://shop.example/1.jpg"])
    for status in ("pending", "processing"):
        with pytest.raises(BatchNotFinished, match=status):
            await retry(resources, batch.id)
        await flush(batch.id, resources, token="lane", claim=1)


async def test_a_batch_of_another_key_is_not_found(resources: Resources) -> None:
    batch = await ended_batch(resources, *ENDS)
    for batch_id, key in [(batch.id, OTHER_KEY), ("bat_none", "key_local")]:
        with pytest.raises(NotFound):
            await retry(resources, batch_id, api_key_id=key)
    assert (await consistent_batch(resources.sessions, batch.id)).round == 1


# -- the new round ----------------------------------------------------------------------------------------------------


async def test_each_round_is_announced_under_its_own_id(
    resources: Resources, queue: RecordingQueue, clock: ManualClock
) -> None:
    batch = await ended_batch(resources, *ENDS)
    [first] = await deliveries_of(resources.sessions, batch.id)
    clock.forward(60)
    await retry(resources, batch.id, queue=queue)
    _, delivery = await read_batch(batch.id, api_key_id="key_local", sessions=resources.sessions)
    assert delivery is None  # this round has not ended

    await end_round(resources, batch.id, [None, None, None], round_number=2)
    batch = await consistent_batch(resources.sessions, batch.id)
    assert (batch.status, batch.succeeded, batch.finished_at) == ("completed", 4, clock())
    deliveries = {delivery.round: delivery for delivery in await deliveries_of(resources.sessions, batch.id)}
    assert deliveries[1] == first
    assert {number: each.event_type for number, each in deliveries.items()} == {
        1: "batch.completed_with_errors",
        2: "batch.completed",
    }
    assert deliveries[2].id != first.id


async def test_the_end_dates_are_those_of_the_last_round(resources: Resources, clock: ManualClock) -> None:
    batch = await ended_batch(resources, *ENDS)
    clock.forward(60)
    await retry(resources, batch.id)
    batch = await consistent_batch(resources.sessions, batch.id)
    assert (batch.finished_at, batch.tidy_at, batch.expires_at) == (None, None, None)
    clock.forward(60)
    await end_round(resources, batch.id, [NotAnImage(), None, None], round_number=2)
    batch = await consistent_batch(resources.sessions, batch.id)
    assert (batch.status, batch.errors) == ("completed_with_errors", {"not_an_image": 1})
    assert (batch.finished_at, batch.tidy_at) == (clock(), clock() + resources.retention.clean_up_after)
    assert batch.created_at == clock() - timedelta(seconds=120)


async def test_a_lane_of_the_previous_round_writes_nothing_in_the_new_one(
    resources: Resources, clock: ManualClock
) -> None:
    batch = await submit_batch(resources, ["http://shop.example/1.jpg"], webhook_url=HOOK)
    [asset] = await flush(batch.id, resources, token="frozen", claim=1)
    clock.forward(LEASE)
    await end_round(resources, batch.id, [HttpStatusError(500)])
    await retry(resources, batch.id)
    before = await consistent_batch(resources.sessions, batch.id)

    late = [succeeded(batch.id, asset)]
    assert await flush(batch.id, resources, token="frozen", outcomes=late, claim=1, round_number=1) == []
    after = await consistent_batch(resources.sessions, batch.id)
    assert (after.status, after.succeeded, after.version) == ("pending", 0, before.version)
    assert await statuses(resources, batch.id) == ["pending"]


async def test_a_real_lane_finishes_the_new_round(
    resources: Resources, processor: AssetProcessor, origin: OriginServer
) -> None:
    good = origin.serve("/good.jpg", image_bytes())
    origin.serve("/late.jpg", b"", status=404)
    batch = await submit_batch(resources, [good, origin.url("/late.jpg")])
    await work(batch.id, resources, processor)
    assert (await consistent_batch(resources.sessions, batch.id)).status == "completed_with_errors"
    origin.serve("/late.jpg", image_bytes())
    await retry(resources, batch.id)
    await work(batch.id, resources, processor)
    assert (await consistent_batch(resources.sessions, batch.id)).status == "completed"
    assert (origin.hits("/good.jpg"), origin.hits("/late.jpg")) == (1, 2)


# -- concurrency ------------------------------------------------------------------------------------------------------


async def test_concurrent_retries_start_one_round(resources: Resources, queue: RecordingQueue) -> None:
    batch = await ended_batch(resources, *ENDS)
    racing = [retry(resources, batch.id, queue=queue) for _ in range(5)]
    results = await asyncio.gather(*racing, return_exceptions=True)
    assert sorted(str(type(result).__name__) for result in results) == [*["BatchNotFinished"] * 4, "NoneType"]
    assert (await consistent_batch(resources.sessions, batch.id)).round == 2
    assert queue.lanes == [batch.id]


async def test_retries_concurrent_with_sweeps_and_flushes_lose_nothing(
    resources: Resources, queue: RecordingQueue, clock: ManualClock
) -> None:
    batch = await ended_batch(resources, *ENDS)
    for number in range(2, 8):
        late = flush(batch.id, resources, token="old", claim=4, round_number=number - 1)
        begun = flush(batch.id, resources, token="new", claim=1, round_number=number)
        await asyncio.gather(
            sweep(resources, queue), retry(resources, batch.id, queue=queue), late, begun, sweep(resources, queue)
        )
        assert (await consistent_batch(resources.sessions, batch.id)).round == number
        clock.forward(LEASE)
        await end_round(resources, batch.id, ENDS[1:], round_number=number)
        assert (await consistent_batch(resources.sessions, batch.id)).status == "completed_with_errors"
    assert sorted(each.round for each in await deliveries_of(resources.sessions, batch.id)) == [*range(1, 8)]
    assert set(queue.lanes) == {batch.id}
