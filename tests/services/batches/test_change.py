"""Changes of large batches: page by page, through crashes, and by several processes at once."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import cast

import pytest
from sqlmodel.ext.asyncio.session import AsyncSession

from imgsvc.bootstrap import Resources
from imgsvc.db.engine import Sessions
from imgsvc.db.tables import Batch
from imgsvc.errors import HttpStatusError
from imgsvc.services.batches.change import PAGE, apply_change
from imgsvc.services.processing.outcomes import Outcome
from support.batches import RecordingQueue, batch_of, consistent_batch, deliveries_of, submit_batch
from support.lanes import flush
from support.verbs import HOOK, cancel, outcome, retry, sweep

LARGE = 2 * PAGE + 7


class Killed(Exception):
    """The process ends here."""


class InterruptedSessions:
    """Sessions of a process to which `event` happens before its transaction number `writes` + 1."""

    def __init__(self, sessions: Sessions, event: Callable[[], Awaitable[None]], *, writes: int) -> None:
        self._sessions = sessions
        self._event = event
        self._left = writes
        self.read = sessions.read

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncSession]:
        if not self._left:
            await self._event()
        self._left -= 1
        async with self._sessions.write() as session:
            yield session


def interrupted(resources: Resources, event: Callable[[], Awaitable[None]], *, writes: int) -> Resources:
    sessions = InterruptedSessions(resources.sessions, event, writes=writes)
    return replace(resources, sessions=cast("Sessions", sessions))


async def death() -> None:
    raise Killed


def dying(resources: Resources, *, writes: int) -> Resources:
    return interrupted(resources, death, writes=writes)


async def large_batch(resources: Resources) -> Batch:
    return await submit_batch(
        resources, [f"http://shop.example/{number}.jpg" for number in range(LARGE)], webhook_url=HOOK
    )


async def failed_batch(resources: Resources) -> Batch:
    """Return a large batch of which 400 images failed, in its first and its last page, the rest succeeded."""
    batch = await large_batch(resources)
    claimed = await flush(batch.id, resources, token="lane", claim=LARGE)
    bad = {*range(200), *range(LARGE - 200, LARGE)}
    outcomes: list[Outcome] = [
        outcome(batch.id, asset, HttpStatusError(503 if asset.position % 2 else 404) if asset.position in bad else None)
        for asset in claimed
    ]
    await flush(batch.id, resources, token="lane", outcomes=outcomes)
    return await consistent_batch(resources.sessions, batch.id)


async def apply(resources: Resources, batch_id: str, *, queue: RecordingQueue | None = None) -> None:
    await apply_change(
        batch_id,
        sessions=resources.sessions,
        queue=queue or RecordingQueue(),
        retention=resources.retention,
        clock=resources.clock,
    )


@pytest.mark.parametrize("writes", [1, 2, 3])
async def test_a_cancellation_that_a_crash_interrupts_is_completed_by_the_sweep(
    resources: Resources, queue: RecordingQueue, writes: int
) -> None:
    batch = await large_batch(resources)
    [asset] = await flush(batch.id, resources, token="lane", claim=1)
    with pytest.raises(Killed):
        await cancel(dying(resources, writes=writes), batch.id)

    batch = await batch_of(resources.sessions, batch.id)
    assert (batch.status, batch.cancelled) == ("processing", (writes - 1) * PAGE)
    assert await flush(batch.id, resources, token="lane", outcomes=[outcome(batch.id, asset, None)]) == []
    assert await flush(batch.id, resources, token="other", claim=5) == []
    await sweep(resources, queue)
    assert queue.changes == [batch.id]

    await apply(resources, batch.id)
    batch = await consistent_batch(resources.sessions, batch.id)
    assert (batch.status, batch.cancelled, batch.change) == ("cancelled", LARGE, None)
    assert [delivery.event_type for delivery in await deliveries_of(resources.sessions, batch.id)] == [
        "batch.cancelled"
    ]


@pytest.mark.parametrize("writes", [1, 2, 3, 4])
async def test_a_retry_that_a_crash_interrupts_is_completed_before_a_lane_begins(
    resources: Resources, queue: RecordingQueue, writes: int
) -> None:
    batch = await failed_batch(resources)
    with pytest.raises(Killed):
        await retry(dying(resources, writes=writes), batch.id, "http_503")
    batch = await batch_of(resources.sessions, batch.id)
    assert (batch.status, batch.round, batch.failed) == ("pending", 2, [400, 300, 203, 200][writes - 1])
    assert await flush(batch.id, resources, token="lane", claim=9, round_number=2) == []

    await apply(resources, batch.id, queue=queue)
    batch = await consistent_batch(resources.sessions, batch.id)
    assert (batch.status, batch.failed, batch.errors, batch.change) == ("pending", 200, {"http_404": 200}, None)
    assert queue.lanes == [batch.id]
    assert len(await flush(batch.id, resources, token="lane", claim=LARGE, round_number=2)) == 200


async def test_a_change_that_many_processes_apply_at_once_ends_the_batch_once(resources: Resources) -> None:
    batch = await large_batch(resources)
    await flush(batch.id, resources, token="lane", claim=64)
    with pytest.raises(Killed):
        await cancel(dying(resources, writes=1), batch.id)
    await asyncio.gather(*(apply(resources, batch.id) for _ in range(4)))
    batch = await consistent_batch(resources.sessions, batch.id)
    assert (batch.status, batch.cancelled, batch.processing) == ("cancelled", LARGE, 0)
    assert len(await deliveries_of(resources.sessions, batch.id)) == 1


async def fail_again(resources: Resources, batch: Batch, *, round_number: int) -> None:
    """Claim the open images and let all of them fail."""
    claimed = await flush(batch.id, resources, token="other", claim=LARGE, round_number=round_number)
    outcomes: list[Outcome] = [outcome(batch.id, asset, HttpStatusError(404)) for asset in claimed]
    await flush(batch.id, resources, token="other", outcomes=outcomes, round_number=round_number)


@pytest.mark.parametrize("writes", range(3))
async def test_a_process_that_stood_still_changes_nothing_after_the_round(resources: Resources, writes: int) -> None:
    batch = await failed_batch(resources)
    with pytest.raises(Killed):
        await retry(dying(resources, writes=1), batch.id)

    async def others_end_the_round() -> None:
        await apply(resources, batch.id)
        await fail_again(resources, batch, round_number=2)

    await apply(interrupted(resources, others_end_the_round, writes=writes), batch.id)
    batch = await consistent_batch(resources.sessions, batch.id)
    assert (batch.status, batch.failed, batch.errors) == ("completed_with_errors", 400, {"http_404": 400})


async def test_a_process_that_stood_still_does_not_end_the_same_change_of_the_next_round(resources: Resources) -> None:
    batch = await failed_batch(resources)
    with pytest.raises(Killed):
        await retry(dying(resources, writes=1), batch.id)

    async def others_begin_another_round() -> None:
        await apply(resources, batch.id)
        await fail_again(resources, batch, round_number=2)
        with pytest.raises(Killed):
            await retry(dying(resources, writes=2), batch.id)

    await apply(interrupted(resources, others_begin_another_round, writes=3), batch.id)
    assert (await batch_of(resources.sessions, batch.id)).change == "retry"
    await apply(resources, batch.id)
    assert len(await flush(batch.id, resources, token="lane", claim=LARGE, round_number=3)) == 400


async def test_a_cancellation_replaces_a_retry_in_progress(resources: Resources) -> None:
    batch = await failed_batch(resources)
    with pytest.raises(Killed):
        await retry(dying(resources, writes=2), batch.id)
    await cancel(resources, batch.id)
    batch = await consistent_batch(resources.sessions, batch.id)
    assert (batch.status, batch.cancelled, batch.failed, batch.change) == ("cancelled", 200, 200, None)


async def test_a_request_leaves_the_rest_of_a_long_change_to_a_job(resources: Resources, queue: RecordingQueue) -> None:
    batch = await large_batch(resources)
    await cancel(resources, batch.id, queue=queue, time_limit=0)
    assert ((await batch_of(resources.sessions, batch.id)).change, queue.changes) == ("cancel", [batch.id])
    await apply(resources, batch.id)
    assert (await consistent_batch(resources.sessions, batch.id)).status == "cancelled"
