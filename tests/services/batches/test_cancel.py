"""Cancel: unfinished assets end at once and exactly once, even those being processed."""

import asyncio
from collections.abc import Awaitable, Sequence

import pytest

from imgsvc.bootstrap import Resources
from imgsvc.db.queries.leases import Claimed
from imgsvc.db.tables import Batch
from imgsvc.errors import BatchFinished, HttpStatusError, NotAnImage, NotFound
from imgsvc.services.processing.outcomes import Outcome, Postponed
from imgsvc.services.processing.process_asset import AssetProcessor
from support.batches import ManualClock, RecordingQueue, assets_of, consistent_batch, deliveries_of, submit_batch
from support.lanes import LEASE, flush, until, work
from support.origin_server import OriginServer, image_bytes
from support.verbs import HOOK, OTHER_KEY, cancel, ended_batch, outcome, succeeded, sweep

URLS = [f"http://shop.example/{number}.jpg" for number in range(6)]


async def half_done(resources: Resources) -> tuple[Batch, Sequence[Claimed]]:
    """Return a batch of six assets: one succeeded, one failed, two claimed by the run `lane`, two pending."""
    batch = await submit_batch(resources, URLS, webhook_url=HOOK)
    first, second, *claimed = await flush(batch.id, resources, token="lane", claim=4)
    outcomes = [outcome(batch.id, first, None), outcome(batch.id, second, NotAnImage())]
    await flush(batch.id, resources, token="lane", outcomes=outcomes)
    return batch, claimed


async def test_open_assets_are_cancelled_and_ended_ones_stay(resources: Resources) -> None:
    batch, _ = await half_done(resources)
    await cancel(resources, batch.id)

    batch = await consistent_batch(resources.sessions, batch.id)
    assert (batch.status, batch.finished_at) == ("cancelled", resources.clock())
    assert (batch.succeeded, batch.failed, batch.cancelled, batch.processing) == (1, 1, 4, 0)
    assert (batch.errors, batch.input_bytes, batch.output_bytes) == ({"not_an_image": 1}, 100, 40)
    assets = await assets_of(resources.sessions, batch.id)
    assert [asset.error_code for asset in assets] == [None, "not_an_image", *["cancelled"] * 4]
    assert {asset.claim for asset in assets} == {None}
    assert all(asset.error_detail for asset in assets[1:])


async def test_the_end_is_announced_once_as_cancelled(resources: Resources, queue: RecordingQueue) -> None:
    batch, _ = await half_done(resources)
    await cancel(resources, batch.id, queue=queue)
    [delivery] = await deliveries_of(resources.sessions, batch.id)
    assert (delivery.event_type, delivery.round, delivery.status) == ("batch.cancelled", 1, "pending")
    assert '"cancelled":4' in delivery.body
    assert queue.deliveries == [(delivery.id, 1, None)]


async def test_a_pending_batch_is_cancelled(resources: Resources, queue: RecordingQueue) -> None:
    batch = await submit_batch(resources, URLS)
    await cancel(resources, batch.id, queue=queue)
    batch = await consistent_batch(resources.sessions, batch.id)
    assert (batch.status, batch.cancelled, batch.started_at) == ("cancelled", 6, None)
    assert (await deliveries_of(resources.sessions, batch.id), queue.deliveries) == ([], [])


async def test_a_cancelled_batch_is_cleaned_up_later_and_never_woken(
    resources: Resources, queue: RecordingQueue, clock: ManualClock
) -> None:
    batch, _ = await half_done(resources)
    await cancel(resources, batch.id)
    assert (
        await consistent_batch(resources.sessions, batch.id)
    ).tidy_at == clock() + resources.retention.clean_up_after
    clock.forward(LEASE)
    await sweep(resources, queue)
    assert queue.lanes == []


@pytest.mark.parametrize("errors", [(None,), (None, NotAnImage()), (HttpStatusError(404),)])
async def test_a_finished_batch_cannot_be_cancelled(
    resources: Resources, errors: tuple[NotAnImage | HttpStatusError | None, ...]
) -> None:
    batch = await ended_batch(resources, *errors)
    with pytest.raises(BatchFinished, match=batch.status):
        await cancel(resources, batch.id)
    after = await consistent_batch(resources.sessions, batch.id)
    assert (after.status, after.version) == (batch.status, batch.version)


async def test_cancelling_twice_is_refused_and_announces_nothing_more(resources: Resources) -> None:
    batch, _ = await half_done(resources)
    await cancel(resources, batch.id)
    with pytest.raises(BatchFinished):
        await cancel(resources, batch.id)
    assert len(await deliveries_of(resources.sessions, batch.id)) == 1


async def test_a_batch_of_another_key_is_not_found(resources: Resources) -> None:
    batch = await submit_batch(resources, URLS)
    for batch_id, key in [(batch.id, OTHER_KEY), ("bat_none", "key_local")]:
        with pytest.raises(NotFound):
            await cancel(resources, batch_id, api_key_id=key)
    assert (await consistent_batch(resources.sessions, batch.id)).status == "pending"


# -- running lanes ----------------------------------------------------------------------------------------------------


async def test_a_late_run_writes_no_outcome_and_claims_nothing(resources: Resources, clock: ManualClock) -> None:
    batch, [first, second] = await half_done(resources)
    await cancel(resources, batch.id)
    before = await consistent_batch(resources.sessions, batch.id)
    late: list[Outcome] = [succeeded(batch.id, first), Postponed(second, 1, clock())]
    assert await flush(batch.id, resources, token="lane", outcomes=late, claim=9) == []
    clock.forward(LEASE)
    assert await flush(batch.id, resources, token="other", claim=9) == []
    after = await consistent_batch(resources.sessions, batch.id)
    assert (after.cancelled, after.version) == (4, before.version)


async def test_running_lanes_stop_their_fetches_and_release_what_they_hold(
    resources: Resources, processor: AssetProcessor, origin: OriginServer, queue: RecordingQueue
) -> None:
    slow = [
        origin.serve(f"/slow/{number}.jpg", image_bytes(), delay=600) for number in range(4)
    ]  # half of the host's room
    quick = [origin.serve(f"/{number}.jpg", image_bytes(), delay=0.05) for number in range(60)]
    batch = await submit_batch(resources, [*slow, *quick], webhook_url=HOOK)
    lanes = [
        asyncio.create_task(work(batch.id, resources, processor, queue=queue, assets=6, idle_flush_interval=0.2))
        for _ in range(2)
    ]
    await until(lambda: len(origin.requests) > 20)
    await cancel(resources, batch.id, queue=queue)

    assert await asyncio.wait_for(asyncio.gather(*lanes), 20) == [False, False]
    assert processor.fetching.memory.idle
    assert processor.fetching.fetches.idle
    batch = await consistent_batch(resources.sessions, batch.id)
    assert (batch.status, batch.processing) == ("cancelled", 0)
    assert batch.cancelled >= len(slow)
    [delivery] = await deliveries_of(resources.sessions, batch.id)
    assert [call[0] for call in queue.deliveries] == [delivery.id]


async def test_a_cancel_that_races_flushes_ends_the_batch_once(resources: Resources, queue: RecordingQueue) -> None:
    for order in [*range(5)] * 3:
        batch = await submit_batch(resources, URLS[:4], webhook_url=HOOK)
        outcomes = {}
        for lane in ("a", "b", "c", "d"):
            [asset] = await flush(batch.id, resources, token=lane, claim=1)
            outcomes[lane] = [succeeded(batch.id, asset)]
        racing: list[Awaitable[object]] = [
            flush(batch.id, resources, token=lane, outcomes=done, claim=1) for lane, done in outcomes.items()
        ]
        racing.insert(order, cancel(resources, batch.id, queue=queue))
        results = await asyncio.gather(*racing, return_exceptions=True)

        batch = await consistent_batch(resources.sessions, batch.id)
        assert batch.succeeded + batch.cancelled == 4
        refused = [type(result) for result in results if isinstance(result, BaseException)]
        assert (batch.status, refused) in [("cancelled", []), ("completed", [BatchFinished])]
        [delivery] = await deliveries_of(resources.sessions, batch.id)
        assert delivery.event_type == f"batch.{batch.status}"
