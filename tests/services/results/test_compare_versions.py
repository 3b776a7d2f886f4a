"""Comparing a version with the one before, whatever else happens meanwhile: deletions, other workers, cancellations."""

import asyncio
from collections.abc import Sequence

import pytest
from sqlalchemy import text

from imgsvc.bootstrap import Resources
from imgsvc.db.queries.versions import COMPARE
from imgsvc.db.tables import Batch
from imgsvc.services.results.compare_versions import PAGE, compare_versions
from support.api_calls import catalogue
from support.audits import audit_of, violations
from support.batches import ManualClock, RecordingQueue, batch_of, submit_batch
from support.lanes import flush
from support.storage import media_folder, put
from support.verbs import HOOK, cancel, delete, succeeded, sweep

URL = "http://shop.example/shoe.jpg"


async def version(resources: Resources, numbers: Sequence[int], queue: RecordingQueue, **fields: str) -> str:
    """Upload a version with these products, end its only image, and return its id; it is to be compared."""
    assert isinstance(resources.clock, ManualClock)
    resources.clock.forward(1)  # ids of the same millisecond are in no order
    text = catalogue(*((f"SKU-{number}", "Shoe", URL) for number in numbers)).encode()
    batch = await submit_batch(resources, text, queue=queue, catalogue="shop", **fields)
    [asset] = await flush(batch.id, resources, token="lane", claim=1)
    key = f"{await media_folder(resources)}/shoe-1-aaaaaaaaaaaaaaaa.jpg"
    await put(resources, key)
    await flush(batch.id, resources, token="lane", outcomes=[succeeded(batch.id, asset, key=key, size=9)])
    return batch.id


async def compare(resources: Resources, batch_id: str, queue: RecordingQueue | None = None) -> Batch:
    await compare_versions(
        batch_id,
        sessions=resources.sessions,
        queue=queue or RecordingQueue(),
        retention=resources.retention,
        clock=resources.clock,
    )
    return await batch_of(resources.sessions, batch_id)


async def marks(resources: Resources, batch_id: str) -> tuple[dict[str | None, int], int]:
    """Return the number of products by their mark, and that of the gone rows."""
    async with resources.sessions.read() as session:
        connection = await session.connection()
        statement = text("SELECT change, count(*) FROM product WHERE batch_id = :id GROUP BY change")
        found = {row[0]: row[1] for row in await connection.execute(statement, {"id": batch_id})}
        gone = text("SELECT count(*) FROM gone_product WHERE batch_id = :id")
        return found, int(await connection.scalar(gone, {"id": batch_id}) or 0)


async def test_a_version_ends_when_it_has_been_compared(resources: Resources, queue: RecordingQueue) -> None:
    batch_id = await version(resources, range(2), queue, webhook_url=HOOK)
    waiting = await batch_of(resources.sessions, batch_id)
    assert (waiting.status, waiting.change, waiting.finished_at) == ("processing", COMPARE, None)
    assert violations(await audit_of(resources)) == {}
    await sweep(resources, queue)  # the wake-up call may have been lost
    assert queue.changes == [batch_id]
    ended = await compare(resources, batch_id, queue)
    assert (ended.status, ended.change) == ("completed", None)
    assert ended.changes == {"compared_with": None, "new": 2, "changed": 0, "unchanged": 0, "gone": 0}
    assert len(queue.deliveries) == 1
    again = await compare(resources, batch_id, queue)
    assert (again.version, len(queue.deliveries)) == (ended.version, 1)


async def test_several_workers_that_compare_at_once_agree(resources: Resources, queue: RecordingQueue) -> None:
    first = await version(resources, range(2 * PAGE + 300), queue)
    await compare(resources, first)
    second = await version(resources, range(PAGE, 3 * PAGE), queue)
    await asyncio.gather(*(compare(resources, second, queue) for _ in range(4)))
    batch = await batch_of(resources.sessions, second)
    counts = {"new": PAGE - 300, "changed": 0, "unchanged": PAGE + 300, "gone": PAGE}
    assert batch.changes == {"compared_with": first, **counts}
    assert await marks(resources, second) == ({"new": PAGE - 300, None: PAGE + 300}, PAGE)
    assert violations(await audit_of(resources)) == {}


@pytest.mark.parametrize("steps", range(0, 60, 6))
async def test_a_version_that_is_deleted_meanwhile_counts_completely_or_not_at_all(
    resources: Resources, queue: RecordingQueue, steps: int
) -> None:
    """The deletion begins after some `steps` of the event loop, so that it falls between other transactions."""
    first = await version(resources, range(300), queue)
    await compare(resources, first)
    second = await version(resources, range(100, 500), queue)
    comparing = asyncio.create_task(compare(resources, second))
    for _ in range(steps):
        await asyncio.sleep(0)
    await delete(resources, first)
    batch = await comparing
    if (batch.changes or {})["compared_with"] is None:
        assert batch.changes == {"compared_with": None, "new": 400, "changed": 0, "unchanged": 0, "gone": 0}
        assert (await marks(resources, second))[1] == 0
    else:
        assert batch.changes == {"compared_with": first, "new": 200, "changed": 0, "unchanged": 200, "gone": 100}
        assert await marks(resources, second) == ({"new": 200, None: 200}, 100)


async def test_a_version_cancelled_while_it_is_compared_ends_without_changes(
    resources: Resources, queue: RecordingQueue
) -> None:
    batch_id = await version(resources, range(3), queue)
    await cancel(resources, batch_id)
    batch = await batch_of(resources.sessions, batch_id)
    assert (batch.status, batch.changes, batch.change) == ("completed", None, None)
    assert (await compare(resources, batch_id)).version == batch.version


async def test_rows_that_are_gone_are_removed_with_the_batch(resources: Resources, queue: RecordingQueue) -> None:
    await compare(resources, await version(resources, range(3), queue))
    second = await version(resources, range(1), queue)
    await compare(resources, second)
    assert (await marks(resources, second))[1] == 2
    await delete(resources, second)
    assert await marks(resources, second) == ({}, 0)
