"""Delete: a batch becomes invisible at once, and its files and rows are removed despite failures."""

import asyncio
import shutil

import pytest

from imgsvc.bootstrap import Resources
from imgsvc.errors import BatchNotFinished, NotAnImage, NotFound, StorageError
from imgsvc.services.batches.read import PAGE, find_rendition, list_products, read_batch
from imgsvc.services.results.report import ReportOptions, output_csv
from imgsvc.services.webhooks.deliver import list_deliveries, request_redelivery
from support.batches import (
    ManualClock,
    RecordingQueue,
    batch_of,
    consistent_batch,
    deliveries_of,
    manifest,
    submit_batch,
)
from support.deliveries import EventfulEndpoint, attempt, deliver
from support.origin_server import WebhookListener
from support.storage import NO_ROWS, EventfulInventory, media, put, rows_of, stored
from support.verbs import OTHER_KEY, cancel, clean_up, delete, end_round, ended_batch, rendition_key, retry, sweep

TIDY_AFTER = 3_600


async def assert_invisible(resources: Resources, batch_id: str) -> None:
    with pytest.raises(NotFound):
        await read_batch(batch_id, api_key_id="key_local", sessions=resources.sessions)
    with pytest.raises(NotFound):
        await list_products(batch_id, after=-1, limit=10, sessions=resources.sessions)
    with pytest.raises(NotFound):
        await list_deliveries(batch_id, api_key_id="key_local", sessions=resources.sessions)
    with pytest.raises(NotFound):
        await find_rendition(rendition_key(batch_id, 0), sessions=resources.sessions)


async def test_deleting_a_batch_removes_its_files_and_rows(
    resources: Resources, listener: WebhookListener, queue: RecordingQueue
) -> None:
    batch = await ended_batch(resources, None, NotAnImage(), webhook_url=listener.url("/hook"))
    kept = await ended_batch(resources, None)
    await put(resources, rendition_key(batch.id, 0), f"{batch.id}/1-leftover-0123abcd.jpg", rendition_key(kept.id, 0))
    [delivery] = await deliveries_of(resources.sessions, batch.id)
    await deliver(resources, delivery, queue=queue)
    assert (await rows_of(resources, batch.id))["attempt"] == 1
    await delete(resources, batch.id, queue=queue)

    await assert_invisible(resources, batch.id)
    assert stored(resources) == {rendition_key(kept.id, 0)}
    assert not (media(resources) / batch.id).exists()
    assert await rows_of(resources, batch.id) == NO_ROWS | {"batch": 1}  # kept for the last clean-up
    assert queue.clean_ups == []
    assert (await consistent_batch(resources.sessions, kept.id)).succeeded == 1


async def test_the_last_clean_up_removes_late_files_and_the_batch_itself(
    resources: Resources, queue: RecordingQueue, clock: ManualClock
) -> None:
    batch = await ended_batch(resources, None)
    await delete(resources, batch.id)
    await put(resources, rendition_key(batch.id, 0))  # by a worker that was frozen while it stored the image
    clock.forward(TIDY_AFTER - 1)
    await sweep(resources, queue)
    await clean_up(resources, batch.id)
    assert (queue.clean_ups, len(stored(resources))) == ([], 1)
    clock.forward(1)
    await sweep(resources, queue)
    assert queue.clean_ups == [batch.id]
    await clean_up(resources, batch.id)
    assert stored(resources) == set()
    assert await rows_of(resources, batch.id) == NO_ROWS
    await clean_up(resources, batch.id)  # a job that runs twice


async def test_a_finished_batch_is_deleted_once_by_its_owner(resources: Resources) -> None:
    running, finished = await submit_batch(resources, ["http://shop.example/1.jpg"]), await ended_batch(resources, None)
    with pytest.raises(BatchNotFinished, match="cancel"):
        await delete(resources, running.id)
    with pytest.raises(NotFound):
        await delete(resources, finished.id, api_key_id=OTHER_KEY)
    assert (await batch_of(resources.sessions, finished.id)).deleted_at is None
    await cancel(resources, running.id)
    for batch in (running, finished):
        await delete(resources, batch.id)
        for verb in (delete, retry, cancel):
            with pytest.raises(NotFound):
                await verb(resources, batch.id)


# -- the storage ------------------------------------------------------------------------------------------------------


async def test_a_job_removes_the_files_when_the_storage_is_unavailable(
    resources: Resources, queue: RecordingQueue
) -> None:
    batch = await ended_batch(resources, None)
    await put(resources, rendition_key(batch.id, 0))
    media(resources).rename(resources.settings.data_dir / "unmounted")
    media(resources).write_text("a file where the folder should be")
    await delete(resources, batch.id, queue=queue)
    assert queue.clean_ups == [batch.id]
    await assert_invisible(resources, batch.id)
    with pytest.raises(StorageError):  # raised in the job, which is repeated
        await clean_up(resources, batch.id)
    await sweep(resources, queue)
    assert queue.clean_ups == [batch.id] * 2

    media(resources).unlink()
    (resources.settings.data_dir / "unmounted").rename(media(resources))
    await clean_up(resources, batch.id)
    assert stored(resources) == set()
    assert await rows_of(resources, batch.id) == NO_ROWS | {"batch": 1}


async def test_a_hanging_storage_does_not_delay_the_answer_for_long(
    resources: Resources, queue: RecordingQueue
) -> None:
    batch = await ended_batch(resources, None)
    await put(resources, rendition_key(batch.id, 0))
    hanging = EventfulInventory(resources, listing=asyncio.Event().wait)
    await asyncio.wait_for(delete(resources, batch.id, queue=queue, inventory=hanging, removal_timeout=0.1), 20)
    assert queue.clean_ups == [batch.id]
    await assert_invisible(resources, batch.id)
    await clean_up(resources, batch.id)
    assert stored(resources) == set()


async def test_an_interrupted_removal_is_completed_by_the_next_run(resources: Resources) -> None:
    batch = await ended_batch(resources, None)
    await put(resources, rendition_key(batch.id, 0))
    with pytest.raises(KeyboardInterrupt):
        await delete(resources, batch.id, inventory=EventfulInventory(resources, removing=crash))
    await assert_invisible(resources, batch.id)
    await clean_up(resources, batch.id)
    assert await rows_of(resources, batch.id) == NO_ROWS | {"batch": 1}
    assert stored(resources) == set()


async def crash() -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("late", [False, True])
async def test_concurrent_removals_do_not_interfere(resources: Resources, clock: ManualClock, late: bool) -> None:
    repeated = manifest(f"http://shop.example/{number % 7}.jpg" for number in range(20_000))
    batch = await submit_batch(resources, repeated)
    await end_round(resources, batch.id, [None] * 7)
    await put(resources, *(rendition_key(batch.id, position) for position in range(7)))
    if late:  # the storage was unavailable until the last clean-up was due
        folder = media(resources).rename(resources.settings.data_dir / "unmounted")
        await delete(resources, batch.id)
        folder.rename(media(resources))
    else:
        await asyncio.gather(delete(resources, batch.id), *(clean_up(resources, batch.id) for _ in range(3)))
        assert await rows_of(resources, batch.id) == NO_ROWS | {"batch": 1}
    clock.forward(TIDY_AFTER)
    await asyncio.gather(*(clean_up(resources, batch.id) for _ in range(4)))
    assert await rows_of(resources, batch.id) == NO_ROWS
    assert stored(resources) == set()


# -- concurrent readers and deliveries --------------------------------------------------------------------------------


async def test_a_report_of_a_batch_deleted_meanwhile_breaks_off(resources: Resources) -> None:
    batch = await submit_batch(resources, manifest(f"http://shop.example/{number % 7}.jpg" for number in range(2_345)))
    await end_round(resources, batch.id, [None] * 7)
    batch = await batch_of(resources.sessions, batch.id)
    report = output_csv(batch, ReportOptions(), sessions=resources.sessions, links=resources.links)
    read = [await anext(report)]
    await delete(resources, batch.id)
    with pytest.raises(NotFound, match="deleted"):
        read += [page async for page in report]
    assert "".join(read).count("\r\n") == 1 + PAGE


async def test_a_pending_webhook_of_a_deleted_batch_is_not_posted(
    resources: Resources, listener: WebhookListener, queue: RecordingQueue
) -> None:
    batch = await ended_batch(resources, None, webhook_url=listener.url("/hook"))
    [delivery] = await deliveries_of(resources.sessions, batch.id)
    shutil.rmtree(media(resources))  # so that the delivery's row remains
    await delete(resources, batch.id, queue=queue)
    assert (await rows_of(resources, batch.id))["delivery"] == 1
    await deliver(resources, delivery, queue=queue)
    await sweep(resources, queue)
    assert (listener.requests, queue.deliveries) == ([], [])
    with pytest.raises(NotFound):
        await request_redelivery(
            delivery.id, api_key_id="key_local", sessions=resources.sessions, queue=queue, clock=resources.clock
        )


@pytest.mark.parametrize("storage_away", [False, True])
async def test_an_attempt_in_progress_is_the_last_one(
    resources: Resources, listener: WebhookListener, queue: RecordingQueue, storage_away: bool
) -> None:
    listener.statuses = [500]
    batch = await ended_batch(resources, None, webhook_url=listener.url("/hook"))
    [delivery] = await deliveries_of(resources.sessions, batch.id)
    if storage_away:
        shutil.rmtree(media(resources))
    endpoint = EventfulEndpoint(resources, lambda: delete(resources, batch.id, queue=queue))
    await attempt(resources, delivery.id, queue=queue, endpoint=endpoint)
    assert len(listener.requests) == 1
    await sweep(resources, queue)
    assert queue.deliveries == []
