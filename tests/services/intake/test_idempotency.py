"""Idempotency keys: a repeated upload makes one batch, even concurrently."""

import asyncio
from typing import Any

import pytest
from sqlmodel import func, select

from imgsvc.bootstrap import Resources, manifest_limits
from imgsvc.db.queries.api_keys import LOCAL_KEY
from imgsvc.db.tables import Asset, Batch, IdempotencyKey
from imgsvc.domain.imaging.spec import Spec
from imgsvc.domain.manifest.read_csv import Columns
from imgsvc.errors import IdempotencyKeyReused, InvalidManifest
from imgsvc.services.intake.idempotency import UploadKey, reserve
from imgsvc.services.intake.submit import Submitted, submit
from imgsvc.services.intake.upload import Upload
from support.batches import ManualClock, RecordingQueue, manifest
from support.verbs import HOOK, add_key, delete, end_round

DAY = 24 * 3_600
URLS = [f"http://shop.example/{number}.jpg" for number in range(3)]


async def upload(
    resources: Resources,
    *,
    urls: list[str] | None = None,
    api_key_id: str = LOCAL_KEY,
    queue: Any = None,
    **fields: Any,
) -> Submitted:
    return await submit(
        Upload(manifest(urls or URLS), **{"idempotency_key": "monday", **fields}),
        api_key_id=api_key_id,
        sessions=resources.sessions,
        queue=queue or resources.queue,
        retention=resources.retention,
        clock=resources.clock,
        limits=manifest_limits(resources.settings),
    )


async def rows(resources: Resources) -> list[int]:
    """Return the numbers of batches, assets and keys."""
    async with resources.sessions.read() as session:
        return [
            (await session.exec(select(func.count()).select_from(table))).one()
            for table in (Batch, Asset, IdempotencyKey)
        ]


async def test_the_same_upload_is_the_same_batch_and_wakes_its_lanes_once(
    resources: Resources, queue: RecordingQueue
) -> None:
    first = await upload(resources, queue=queue, filename="shop.csv")
    again = await upload(resources, queue=queue, filename="shop (1).csv")
    assert (first.replayed, again.replayed) == (False, True)
    assert again.batch.id == first.batch.id
    assert await rows(resources) == [1, 3, 1]
    assert queue.lanes == [first.batch.id]


async def test_a_repeat_gives_the_batch_as_it_is_now(resources: Resources) -> None:
    first = await upload(resources, webhook_url=HOOK)
    await end_round(resources, first.batch.id, [None, None, None])
    again = await upload(resources, webhook_url=HOOK)
    assert (again.batch.id, again.batch.status, again.batch.succeeded) == (first.batch.id, "completed", 3)
    assert again.delivery is not None
    assert again.delivery.batch_id == first.batch.id


@pytest.mark.parametrize(
    "other",
    [
        {"urls": [*URLS, "http://shop.example/4.jpg"]},
        {"specs": (Spec(quality=51),)},
        {"specs": (Spec(), Spec(name="thumb", max_width=100))},
        {"webhook_url": HOOK},
        {"on_invalid": "skip"},
        {"metadata": {"order": "7"}},
        {"columns": Columns(serial_number=None, product_name="Product Name", image_urls="Input Image Urls")},
    ],
)
async def test_another_upload_under_the_same_key_is_refused_and_not_stored(
    resources: Resources, other: dict[str, Any]
) -> None:
    await upload(resources)
    with pytest.raises(IdempotencyKeyReused, match="24 hours"):
        await upload(resources, **other)
    assert await rows(resources) == [1, 3, 1]
    assert not (await upload(resources, idempotency_key="tuesday", **other)).replayed


async def test_a_refused_upload_leaves_the_key_free(resources: Resources) -> None:
    with pytest.raises(InvalidManifest):
        await upload(resources, urls=["ftp://shop.example/1"])
    assert await rows(resources) == [0, 0, 0]
    assert not (await upload(resources)).replayed
    assert await rows(resources) == [1, 3, 1]


async def test_idempotency_keys_of_different_api_keys_are_independent(resources: Resources) -> None:
    other = await add_key(resources)
    ours, theirs = await upload(resources), await upload(resources, api_key_id=other, urls=URLS[:1])
    assert (theirs.replayed, theirs.batch.api_key_id) == (False, other)
    assert (await upload(resources)).batch.id == ours.batch.id
    assert (await upload(resources, api_key_id=other, urls=URLS[:1])).batch.id == theirs.batch.id


async def test_a_key_is_valid_for_24_hours(resources: Resources, clock: ManualClock) -> None:
    first = await upload(resources)
    clock.forward(DAY - 1)
    assert (await upload(resources)).batch.id == first.batch.id
    clock.forward(1)
    second = await upload(resources, urls=URLS[:2])  # another upload may take it now
    assert (second.replayed, second.batch.id != first.batch.id) == (False, True)
    clock.forward(DAY - 1)
    assert (await upload(resources, urls=URLS[:2])).batch.id == second.batch.id
    assert await rows(resources) == [2, 5, 1]


async def test_deleting_a_batch_frees_its_key(resources: Resources) -> None:
    first = await upload(resources)
    await end_round(resources, first.batch.id, [None, None, None])
    await delete(resources, first.batch.id)
    second = await upload(resources, urls=URLS[:1])
    assert (second.replayed, second.batch.id != first.batch.id) == (False, True)


# -- concurrency ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("outdated", [False, True])
async def test_concurrent_repeats_make_one_batch(
    resources: Resources, queue: RecordingQueue, clock: ManualClock, outdated: bool
) -> None:
    if outdated:
        await upload(resources)
        clock.forward(DAY)
    results = await asyncio.gather(*(upload(resources, queue=queue) for _ in range(12)))
    assert len({result.batch.id for result in results}) == 1
    assert sorted(result.replayed for result in results) == [False] + [True] * 11
    assert queue.lanes == [results[0].batch.id]
    assert await rows(resources) == [1 + outdated, 3 + 3 * outdated, 1]


async def test_concurrent_different_uploads_under_one_key_make_one_batch(resources: Resources) -> None:
    for number in range(5):
        racing = [upload(resources, urls=URLS[:count], idempotency_key=f"day {number}") for count in (1, 2, 3)]
        results = await asyncio.gather(*racing, return_exceptions=True)
        assert sorted(type(result).__name__ for result in results) == [*["IdempotencyKeyReused"] * 2, "Submitted"]
    assert (await rows(resources))[0] == 5


async def test_a_repeat_waits_for_the_first_request_and_takes_over_when_it_fails(
    resources: Resources, queue: RecordingQueue
) -> None:
    reserved, fail = asyncio.Event(), asyncio.Event()

    async def first_request() -> None:
        async with resources.sessions.write() as session:
            key = UploadKey(LOCAL_KEY, "monday", "fingerprint of another upload")
            assert await reserve(session, key, "bat_none", resources.clock())
            reserved.set()
            await fail.wait()
            raise ConnectionResetError

    failing = asyncio.create_task(first_request())
    await reserved.wait()
    repeat = asyncio.create_task(upload(resources, queue=queue))
    assert not (await asyncio.wait({repeat}, timeout=0.2))[0]  # it waits
    fail.set()
    await asyncio.gather(failing, return_exceptions=True)
    assert not (await repeat).replayed
    assert await rows(resources) == [1, 3, 1]
