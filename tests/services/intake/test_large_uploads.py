"""Uploads that take several transactions: hidden until they are complete, and removed if that never happens."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from sqlmodel import col, func, select

from imgsvc.bootstrap import Resources, manifest_limits
from imgsvc.db.engine import open_sessions
from imgsvc.db.queries.api_keys import LOCAL_KEY
from imgsvc.db.tables import Asset, Batch, Product
from imgsvc.errors import DatabaseUnavailable
from imgsvc.services.batches.read import list_batches
from imgsvc.services.intake.store import HIDDEN_FOR, ROWS_AT_ONCE
from imgsvc.services.intake.submit import Submitted, submit
from imgsvc.services.intake.upload import Upload
from imgsvc.services.integrity.audit import run_audit
from support.audits import violations
from support.batches import ManualClock, RecordingQueue, manifest
from support.databases import ONLY_SQLITE, write_name
from support.verbs import clean_up

UPLOAD = manifest(f"http://shop.example/{number}.jpg" for number in range(ROWS_AT_ONCE // 2 + 10))
"""One product and one asset for each URL: a little more than one transaction stores."""


async def upload(resources: Resources, queue: RecordingQueue, idempotency_key: str | None = None) -> Submitted:
    return await submit(
        Upload(UPLOAD, idempotency_key=idempotency_key),
        api_key_id=LOCAL_KEY,
        sessions=resources.sessions,
        queue=queue,
        retention=resources.retention,
        clock=resources.clock,
        limits=manifest_limits(resources.settings),
    )


async def rows(resources: Resources) -> list[int]:
    """Return the numbers of batches, hidden ones, products and assets."""
    async with resources.sessions.read() as session:
        counts = [
            (await session.exec(select(func.count()).select_from(each))).one() for each in (Batch, Product, Asset)
        ]
        hidden = (await session.exec(select(func.count()).where(col(Batch.deleted_at).is_not(None)))).one()
    return [counts[0], hidden, *counts[1:]]


@asynccontextmanager
async def being_stored(resources: Resources, queue: RecordingQueue) -> AsyncIterator["asyncio.Task[Submitted]"]:
    """Begin a large upload, and enter the block when part of it is stored."""
    task = asyncio.create_task(upload(resources, queue))
    async with asyncio.timeout(60):
        while not (await rows(resources))[2]:
            assert not task.done(), "the upload was stored in one transaction"
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait({task})


async def visible(resources: Resources) -> list[str]:
    return [batch.id for batch, _ in await list_batches(LOCAL_KEY, limit=10, sessions=resources.sessions)]


async def test_a_large_upload_is_complete_and_consistent(resources: Resources, queue: RecordingQueue) -> None:
    submitted = await upload(resources, queue)
    size = ROWS_AT_ONCE // 2 + 10
    assert await rows(resources) == [1, 0, size, size]
    assert (submitted.batch.asset_count, submitted.batch.deleted_at, submitted.batch.tidy_at) == (size, None, None)
    assert queue.lanes == [submitted.batch.id]
    audit = await run_audit(
        sessions=resources.sessions, inventory=resources.storage, clock=resources.clock, grace=HIDDEN_FOR
    )
    assert violations(audit) == {}


async def test_it_is_hidden_while_it_is_stored(resources: Resources, queue: RecordingQueue) -> None:
    async with being_stored(resources, queue) as storing:
        assert await visible(resources) == []
        assert queue.lanes == []
        submitted = await storing
    assert await visible(resources) == [submitted.batch.id]


@ONLY_SQLITE
async def test_another_process_can_write_while_it_is_stored(resources: Resources, queue: RecordingQueue) -> None:
    other = open_sessions(resources.settings.database_url)
    async with being_stored(resources, queue):
        await write_name(other, "written meanwhile")
        assert await visible(resources) == []
    await other.aclose()


async def test_an_upload_whose_process_dies_is_removed(
    resources: Resources, queue: RecordingQueue, clock: ManualClock
) -> None:
    async with being_stored(resources, queue) as storing:
        storing.cancel()
    async with resources.sessions.read() as session:
        [batch_id] = (await session.exec(select(Batch.id))).all()
    await clean_up(resources, batch_id)
    assert (await rows(resources))[:2] == [1, 1]  # not yet: it may still be being stored

    clock.forward(HIDDEN_FOR.total_seconds() + 1)
    await clean_up(resources, batch_id)
    assert await rows(resources) == [0, 0, 0, 0]
    assert await visible(resources) == []


async def test_an_upload_that_takes_as_long_as_it_may_is_not_shown(
    resources: Resources, queue: RecordingQueue, clock: ManualClock
) -> None:
    async with being_stored(resources, queue) as storing:
        clock.forward(HIDDEN_FOR.total_seconds())
        with pytest.raises(DatabaseUnavailable, match="almost"):
            await storing
    assert await visible(resources) == []


async def test_concurrent_repeats_of_a_large_upload_show_one_batch(
    resources: Resources, queue: RecordingQueue, clock: ManualClock
) -> None:
    results = await asyncio.gather(*(upload(resources, queue, idempotency_key="monday") for _ in range(2)))
    assert sorted(result.replayed for result in results) == [False, True]
    assert {result.batch.id for result in results} == set(await visible(resources))
    assert queue.lanes == await visible(resources)
    async with resources.sessions.read() as session:
        [hidden] = (await session.exec(select(Batch.id).where(col(Batch.deleted_at).is_not(None)))).all()
    await clean_up(resources, hidden)
    size = ROWS_AT_ONCE // 2 + 10
    assert await rows(resources) == [2, 1, size, size]
