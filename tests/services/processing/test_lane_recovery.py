"""Runs that crash, freeze, stop or are cancelled: nothing is lost and nothing is counted twice."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest
from sqlalchemy import event
from sqlmodel import col, update

from imgsvc.bootstrap import Resources
from imgsvc.db.queries import batches as batch_queries
from imgsvc.db.queries import counters
from imgsvc.db.queries.counters import CounterDeltas
from imgsvc.db.tables import Asset, Batch
from imgsvc.domain.status import BatchStatus
from imgsvc.errors import NotAnImage
from imgsvc.services.processing.outcomes import Failed, Outcome, Postponed
from imgsvc.services.processing.process_asset import AssetProcessor
from imgsvc.services.processing.retry_policy import RetryPolicy
from support.batches import ManualClock, assets_of, batch_of, consistent_batch, deliveries_of, submit_batch
from support.codec import HoldingWatchdog, RecordingSandbox, codec_pool
from support.lanes import LEASE, HeldOrigin, fetching_with, flush, plan, until, work
from support.origin_server import OriginServer, image_bytes
from support.storage import media
from support.verbs import succeeded

pytestmark = pytest.mark.slow


async def slow_batch(resources: Resources, origin: OriginServer, *, count: int = 3) -> Batch:
    """Return a batch whose origin does not respond until `serve` is called again."""
    return await submit_batch(resources, [origin.serve(f"/{n}.jpg", image_bytes(), delay=600) for n in range(count)])


# -- crashed runs -----------------------------------------------------------------------------------------------------


async def test_the_assets_of_a_crashed_run_are_claimed_again_when_their_lease_ends(
    resources: Resources, processor: AssetProcessor, origin: OriginServer, clock: ManualClock
) -> None:
    batch = await submit_batch(resources, [origin.serve(f"/{n}.jpg", image_bytes()) for n in range(3)])
    await flush(batch.id, resources, token="crashed", claim=2)
    await work(batch.id, resources, processor)
    assert [asset.status for asset in await assets_of(resources.sessions, batch.id)] == [
        "processing", "processing", "succeeded",
    ]  # fmt: skip
    await consistent_batch(resources.sessions, batch.id)

    clock.forward(LEASE)
    await work(batch.id, resources, processor)
    assert (await consistent_batch(resources.sessions, batch.id)).status == "completed"
    assert [asset.lost for asset in await assets_of(resources.sessions, batch.id)] == [1, 1, 0]


@pytest.mark.parametrize(("crashes", "status", "code"), [(9, "succeeded", None), (10, "failed", "worker_crash")])
async def test_an_asset_that_crashed_ten_runs_is_given_up_without_another_fetch(
    resources: Resources,
    processor: AssetProcessor,
    origin: OriginServer,
    clock: ManualClock,
    crashes: int,
    status: str,
    code: str,
) -> None:
    batch = await submit_batch(resources, [origin.serve("/bomb.jpg", image_bytes())])
    for number in range(crashes):
        await flush(batch.id, resources, token=f"crashed {number}", claim=1)
        clock.forward(LEASE)
    await work(batch.id, resources, processor)
    [asset] = await assets_of(resources.sessions, batch.id)
    assert (asset.status, asset.error_code, asset.lost) == (status, code, crashes)
    assert origin.hits("/bomb.jpg") == (0 if code else 1)
    await consistent_batch(resources.sessions, batch.id)


async def test_an_image_that_is_stuck_in_a_thread_is_handed_back_as_a_suspect(
    resources: Resources, processor: AssetProcessor, origin: OriginServer
) -> None:
    batch = await submit_batch(resources, [origin.serve("/slow.jpg", image_bytes())])
    stopping = asyncio.Event()
    watchdog = HoldingWatchdog(10)
    pool = codec_pool(watchdog=watchdog, on_overrun=stopping.set)
    lane = asyncio.create_task(work(batch.id, resources, replace(processor, codec=pool), stopping=stopping))
    await until(lambda: watchdog.held == 1)
    while not stopping.is_set():
        watchdog.tick(2.0)
    assert await lane is True
    [asset] = await assets_of(resources.sessions, batch.id)
    assert (asset.status, asset.claim, asset.attempts, asset.lost) == ("pending", None, 0, 0)
    assert asset.suspicion == "overran"
    assert asset.due_at == resources.clock()  # without waiting for the end of its lease
    assert (await batch_of(resources.sessions, batch.id)).overran_round == 1
    watchdog.release()
    await pool.aclose()


async def test_a_thread_finishes_an_image_for_the_next_lane_when_its_own_lane_ends(
    resources: Resources, processor: AssetProcessor, origin: OriginServer
) -> None:
    batch = await submit_batch(resources, [origin.serve("/slow.jpg", image_bytes())])
    watchdog, sandbox = HoldingWatchdog(), RecordingSandbox()
    pool = codec_pool(threads=2, watchdog=watchdog, sandbox=sandbox)
    slow = replace(processor, codec=pool)

    def compressing(fetches: int) -> bool:
        """Return True when the last fetch has ended, so that its body is the only one in memory."""
        fetched = origin.hits("/slow.jpg") == fetches and slow.fetching.memory.used == len(image_bytes())
        return watchdog.held == 1 and fetched

    for number in range(1, 13):
        ending = asyncio.create_task(work(batch.id, resources, slow))
        await until(partial(compressing, number))
        ending.cancel()
        await asyncio.gather(ending, return_exceptions=True)
        [asset] = await assets_of(resources.sessions, batch.id)
        assert (asset.status, asset.claim, asset.attempts, asset.lost) == ("pending", None, 0, 0)
        assert asset.suspicion == "abandoned"
    watchdog.release()
    await work(batch.id, resources, slow)
    assert (await consistent_batch(resources.sessions, batch.id)).status == "completed"
    assert (watchdog.held, sandbox.images) == (1, [])
    await pool.aclose()


@pytest.mark.parametrize(("round_number", "in_sandbox"), [(1, 4), (2, 1)])
async def test_after_an_overrun_all_images_of_that_round_are_suspects_in_every_worker(
    resources: Resources, processor: AssetProcessor, origin: OriginServer, round_number: int, in_sandbox: int
) -> None:
    batch = await submit_batch(resources, [origin.serve(f"/{n}.jpg", image_bytes()) for n in range(4)])
    [slow] = await flush(batch.id, resources, token="elsewhere", claim=1)
    await flush(
        batch.id,
        resources,
        token="elsewhere",
        outcomes=[Postponed(slow._replace(suspicion="overran"), 0, resources.clock())],
    )
    async with resources.sessions.write() as session:
        await session.exec(update(Batch).where(col(Batch.id) == batch.id).values(round=round_number))
    sandbox = RecordingSandbox()
    pool = codec_pool(sandbox=sandbox)
    await work(batch.id, resources, replace(processor, codec=pool))
    assert (await consistent_batch(resources.sessions, batch.id)).status == "completed"
    assert len(sandbox.images) == in_sandbox
    await pool.aclose()


# -- frozen runs ------------------------------------------------------------------------------------------------------


async def test_a_frozen_run_whose_assets_were_claimed_by_another_moves_nothing(
    resources: Resources, processor: AssetProcessor, clock: ManualClock
) -> None:
    batch = await submit_batch(resources, ["http://shop.example/1.jpg", "http://shop.example/2.jpg"])
    first, second = await flush(batch.id, resources, token="frozen", claim=2)
    clock.forward(LEASE)
    await flush(batch.id, resources, token="other", claim=1)

    awake: list[Outcome] = [Failed(first, 1, NotAnImage()), Postponed(second, 0, clock())]
    await flush(batch.id, resources, token="frozen", outcomes=awake)
    rows = await assets_of(resources.sessions, batch.id)
    assert [(row.status, row.claim) for row in rows] == [("processing", "other"), ("pending", None)]
    assert (await consistent_batch(resources.sessions, batch.id)).failed == 0

    await flush(batch.id, resources, token="other", outcomes=[Failed(first, 1, NotAnImage())])
    await flush(batch.id, resources, token="frozen", outcomes=awake)
    assert (await consistent_batch(resources.sessions, batch.id)).errors == {"not_an_image": 1}


async def test_a_late_flush_does_not_change_a_batch_that_has_ended(
    resources: Resources, processor: AssetProcessor, clock: ManualClock
) -> None:
    batch = await submit_batch(resources, ["http://shop.example/1.jpg"], webhook_url="http://shop.example/hook")
    [asset] = await flush(batch.id, resources, token="frozen", claim=1)
    ending = [Failed(asset, 1, NotAnImage())]
    await flush(batch.id, resources, token="frozen", outcomes=ending)
    ended = await consistent_batch(resources.sessions, batch.id)
    clock.forward(LEASE)
    assert await flush(batch.id, resources, token="frozen", outcomes=ending, claim=1) == []
    assert (await consistent_batch(resources.sessions, batch.id)).version == ended.version
    assert len(await deliveries_of(resources.sessions, batch.id)) == 1


async def test_a_lane_that_outlives_its_own_leases_does_not_claim_from_itself(
    resources: Resources, processor: AssetProcessor, origin: OriginServer, clock: ManualClock
) -> None:
    urls = [origin.serve(f"/{n}.jpg", image_bytes(), delay=1.0 if n == 0 else 0.1) for n in range(5)]
    batch = await submit_batch(resources, urls)
    lane = asyncio.create_task(work(batch.id, resources, processor, assets=2, flush_assets=1))
    await until(lambda: len(origin.requests) == 2)
    clock.forward(LEASE + 1)
    await lane
    assert [origin.hits(f"/{n}.jpg") for n in range(5)] == [1] * 5
    assert (await consistent_batch(resources.sessions, batch.id)).status == "completed"
    assert {asset.lost for asset in await assets_of(resources.sessions, batch.id)} == {0}


# -- stopping ---------------------------------------------------------------------------------------------------------


async def handed_back(resources: Resources, batch_id: str) -> bool:
    rows = await assets_of(resources.sessions, batch_id)
    await consistent_batch(resources.sessions, batch_id)
    return {(row.status, row.claim, row.attempts, row.lost, row.due_at) for row in rows} == {
        ("pending", None, 0, 0, resources.clock())
    }


async def test_a_stopping_process_hands_back_and_counts_no_attempt(
    resources: Resources, processor: AssetProcessor, origin: OriginServer
) -> None:
    batch, stopping = await slow_batch(resources, origin), asyncio.Event()
    lane = asyncio.create_task(work(batch.id, resources, processor, stopping=stopping, drain=0.05))
    await until(lambda: len(origin.requests) == 3)
    stopping.set()
    assert await lane is True  # more is due, for another lane
    assert await handed_back(resources, batch.id)
    assert processor.fetching.memory.idle
    assert processor.fetching.fetches.idle


async def test_a_stopping_process_finishes_what_is_in_flight_and_claims_nothing(
    resources: Resources, processor: AssetProcessor, origin: OriginServer
) -> None:
    batch = await submit_batch(resources, [origin.serve(f"/{n}.jpg", image_bytes(), delay=1) for n in range(4)])
    stopping = asyncio.Event()
    lane = asyncio.create_task(work(batch.id, resources, processor, stopping=stopping, assets=2, drain=10))
    await until(lambda: len(origin.requests) == 2)
    stopping.set()
    assert await lane is True
    assert len(origin.requests) == 2
    assert (await consistent_batch(resources.sessions, batch.id)).succeeded == 2


async def test_a_lane_whose_task_is_cancelled_hands_back(
    resources: Resources, processor: AssetProcessor, origin: OriginServer
) -> None:
    batch = await slow_batch(resources, origin)
    lane = asyncio.create_task(work(batch.id, resources, processor))
    await until(lambda: len(origin.requests) == 3)
    lane.cancel()
    await asyncio.gather(lane, return_exceptions=True)
    assert lane.cancelled()
    assert await handed_back(resources, batch.id)


async def test_an_old_lane_hands_back_what_is_still_in_flight(
    resources: Resources, processor: AssetProcessor, origin: OriginServer
) -> None:
    batch = await slow_batch(resources, origin)
    origin.serve("/1.jpg", image_bytes())
    while batch.succeeded == 0:  # on a machine that stalls, this one may be handed back as well
        assert await work(batch.id, resources, processor, lifetime=0.1, hand_back_after=0.3) is True
        batch = await consistent_batch(resources.sessions, batch.id)
    assert (batch.status, batch.processing) == ("processing", 0)


async def test_a_lane_that_is_cancelled_while_it_hands_back_completes_the_hand_back(
    resources: Resources, processor: AssetProcessor, origin: OriginServer
) -> None:
    """This happens when a job times out just before the process ends."""
    batch = await slow_batch(resources, origin)
    lane = asyncio.create_task(work(batch.id, resources, processor))
    await until(lambda: len(origin.requests) == 3)
    while not lane.done():
        lane.cancel()
        await asyncio.sleep(0)
    assert await handed_back(resources, batch.id)
    assert not in_flight()


async def test_a_lane_that_is_cancelled_during_its_claim_hands_the_assets_back(
    resources: Resources, processor: AssetProcessor
) -> None:
    """The lane never learns what it claimed, yet no lease has to end and no crash is counted."""
    batch = await submit_batch(resources, [f"http://shop.example/{number}.jpg" for number in range(3)])
    lane = asyncio.create_task(work(batch.id, resources, fetching_with(processor, origin=HeldOrigin())))
    commits: list[str] = []

    def cancel(_: object) -> None:
        if not commits:
            lane.cancel()
        commits.append("commit")

    event.listen(resources.sessions.engine.sync_engine, "commit", cancel)
    await asyncio.gather(lane, return_exceptions=True)
    assert lane.cancelled()
    assert len(commits) == 3  # the claim, the look for what it was, and the flush that hands it back
    rows = await assets_of(resources.sessions, batch.id)
    assert {(row.status, row.claim, row.lost) for row in rows} == {("pending", None, 0)}
    await consistent_batch(resources.sessions, batch.id)
    assert not in_flight()


# -- the storage fails ------------------------------------------------------------------------------------------------


async def test_an_unavailable_storage_costs_an_image_time_but_no_attempt(
    resources: Resources, processor: AssetProcessor, origin: OriginServer, clock: ManualClock
) -> None:
    batch = await submit_batch(resources, [origin.serve("/1.jpg", image_bytes())])
    hour = timedelta(hours=1)
    patient = replace(processor, retries=RetryPolicy(own_waits=(timedelta(), timedelta(), hour, hour, hour)))
    media(resources).rename(media(resources).with_name("away"))
    media(resources).write_text("a file where the folder was", encoding="utf-8")
    await work(batch.id, resources, patient)
    [asset] = await assets_of(resources.sessions, batch.id)
    assert (asset.status, asset.claim, asset.attempts, asset.storage_failures) == ("pending", None, 0, 3)
    assert hour / 2 < asset.due_at - clock() < 2 * hour
    assert origin.hits("/1.jpg") == 1

    media(resources).unlink()
    clock.forward(2 * hour.total_seconds())
    await work(batch.id, resources, patient)
    [asset] = await assets_of(resources.sessions, batch.id)
    assert (asset.status, asset.attempts, asset.storage_failures) == ("succeeded", 1, 3)


# -- the batch ends ---------------------------------------------------------------------------------------------------


def in_flight() -> list[asyncio.Task[object]]:
    """Return the tasks that are still processing an asset."""
    name = AssetProcessor.process.__qualname__
    return [task for task in asyncio.all_tasks() if getattr(task.get_coro(), "__qualname__", "") == name]


async def test_a_lane_ends_and_writes_nothing_when_its_batch_is_cancelled(
    resources: Resources, processor: AssetProcessor
) -> None:
    origin = HeldOrigin()
    batch = await submit_batch(resources, [f"http://shop.example/{number}.jpg" for number in range(3)])
    lane = asyncio.create_task(work(batch.id, resources, fetching_with(processor, origin=origin)))
    await until(lambda: len(origin.waiting) == 3)
    assert len(in_flight()) == 3
    async with resources.sessions.write() as session:
        assert await counters.add(session, batch.id, CounterDeltas(processing=-3, cancelled=3), round_number=1)
        await batch_queries.move(session, batch.id, BatchStatus.CANCELLED)
        await session.exec(update(Asset).values(status="cancelled", claim=None))
    version = (await batch_of(resources.sessions, batch.id)).version

    origin.waiting[0].set()
    assert await lane is False
    assert not in_flight()
    batch = await consistent_batch(resources.sessions, batch.id)
    assert (batch.status, batch.cancelled, batch.version) == ("cancelled", 3, version)
    assert processor.fetching.memory.idle


async def test_a_lane_ends_and_writes_nothing_when_its_batch_is_deleted(
    resources: Resources, processor: AssetProcessor
) -> None:
    origin = HeldOrigin()
    batch = await submit_batch(resources, [f"http://shop.example/{number}.jpg" for number in range(3)])
    lane = asyncio.create_task(work(batch.id, resources, fetching_with(processor, origin=origin)))
    await until(lambda: len(origin.waiting) == 3)
    async with resources.sessions.write() as session:
        await session.exec(update(Batch).where(col(Batch.id) == batch.id).values(deleted_at=resources.clock()))
    origin.waiting[0].set()
    assert await lane is False
    assert not in_flight()
    assert {asset.status for asset in await assets_of(resources.sessions, batch.id)} == {"processing"}
    assert processor.fetching.memory.idle


async def test_attempts_that_failed_before_a_hand_back_still_count(
    resources: Resources, processor: AssetProcessor
) -> None:
    batch = await submit_batch(resources, ["http://shop.example/1.jpg"])
    [asset] = await flush(batch.id, resources, token="mine", claim=1)
    held = HeldOrigin()
    failed_before = asset._replace(attempts=2)
    processing = asyncio.create_task(fetching_with(processor, origin=held).process(failed_before, plan(batch.id)))
    await until(lambda: len(held.waiting) == 1)
    processing.cancel()
    outcome = await processing
    assert isinstance(outcome, Postponed)
    assert outcome.attempts == 2  # all but the attempt in flight


async def test_a_run_never_claims_an_asset_that_it_has_in_flight(
    resources: Resources, origin: OriginServer, clock: ManualClock
) -> None:
    batch = await submit_batch(resources, [origin.url("/1.jpg"), origin.url("/2.jpg")])
    [old] = await flush(batch.id, resources, token="mine", claim=1)
    clock.forward(LEASE)
    taken = await flush(batch.id, resources, token="another", claim=2)
    handed_back_again = [Postponed(asset, 0, clock()) for asset in taken if asset.position == old.position]
    await flush(batch.id, resources, token="another", outcomes=handed_back_again)
    assert await flush(batch.id, resources, token="mine", claim=2, in_flight=[old.position]) == []
    await flush(batch.id, resources, token="mine", outcomes=[succeeded(batch.id, old)])
    assert (await consistent_batch(resources.sessions, batch.id)).status == "processing"
