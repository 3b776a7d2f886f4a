"""An upload is stored as a batch in one transaction, or not at all."""

from typing import Any

import pytest
from arq.constants import job_key_prefix
from sqlalchemy import event, func, text
from sqlalchemy.exc import IntegrityError
from sqlmodel import select

from imgsvc.adapters.redis.queue import WORK_QUEUE, open_redis
from imgsvc.bootstrap import Resources
from imgsvc.db.queries.api_keys import LOCAL_KEY
from imgsvc.db.tables import Asset, Batch, Delivery, Product
from imgsvc.domain.imaging.spec import Format, Spec
from imgsvc.errors import DatabaseUnavailable, InvalidManifest
from imgsvc.services.batches.read import list_products
from support.batches import RecordingQueue, assets_of, batch_of, consistent_batch, deliveries_of, submit_batch
from support.databases import ONLY_SQLITE

URLS = [f"http://shop.example/{number}.jpg" for number in range(3)]


async def stored_rows(resources: Resources) -> list[int]:
    """Return the numbers of batches, products, assets and deliveries."""
    async with resources.sessions.read() as session:
        return [
            (await session.exec(select(func.count()).select_from(table))).one()
            for table in (Batch, Product, Asset, Delivery)
        ]


def csv(*rows: str) -> bytes:
    return "\n".join(["S. No.,Product Name,Input Image Urls", *rows]).encode()


async def test_a_batch_is_stored_with_its_options_and_its_lanes_are_woken(
    resources: Resources, queue: RecordingQueue
) -> None:
    specs = (Spec(quality=40), Spec(name="thumb", max_width=100, format=Format.webp))
    fields = {"specs": specs, "filename": "shop.csv", "metadata": {"shop": "1"}, "webhook_url": "http://a.example/"}
    submitted = await submit_batch(resources, URLS, queue=queue, **fields)
    batch = await consistent_batch(resources.sessions, submitted.id)

    assert (batch.status, batch.round, batch.version, batch.api_key_id) == ("pending", 1, 1, "key_local")
    assert (batch.product_count, batch.url_count, batch.asset_count) == (3, 3, 3)
    assert [Spec.model_validate(spec) for spec in batch.specs] == list(specs)
    assert (batch.filename, batch.extra, batch.webhook_url) == ("shop.csv", {"shop": "1"}, "http://a.example/")
    assert batch.expires_at is None  # the default: batches do not expire
    assert {asset.status for asset in await assets_of(resources.sessions, batch.id)} == {"pending"}
    assert queue.lanes == [batch.id]
    assert queue.deliveries == []


async def test_the_first_lane_is_really_enqueued(resources: Resources) -> None:
    batch = await submit_batch(resources, URLS)
    redis = open_redis(resources.settings.redis_url, queue_name=WORK_QUEUE)
    lane = f"{LOCAL_KEY}:{batch.id}:0"
    assert await redis.zrange(WORK_QUEUE, 0, -1) == [lane.encode()]
    assert await redis.exists(job_key_prefix + lane) == 1
    await redis.aclose(close_connection_pool=True)


# -- URLs and assets --------------------------------------------------------------------------------------------------


async def test_a_url_in_several_rows_is_one_asset(resources: Resources) -> None:
    a, b, c = URLS
    data = csv(f'1,Left Shoe,"{a},{b},{a}"', f'2,Right Shoe,"{b},{c}"', "3,Nothing,", f"4,Again,{a}")
    batch = await submit_batch(resources, data)
    assert (batch.product_count, batch.url_count, batch.asset_count) == (4, 6, 3)
    assets = await assets_of(resources.sessions, batch.id)
    assert [asset.origin_url for asset in assets] == URLS
    assert [asset.slug for asset in assets] == ["left-shoe-1", "left-shoe-2", "right-shoe-2"]
    views = await list_products(batch.id, after=-1, limit=10, sessions=resources.sessions)
    assert [[asset.position for asset in view.assets] for view in views] == [[0, 1, 0], [1, 2], [], [0]]


async def test_one_bad_url_refuses_the_upload_and_stores_nothing(resources: Resources, queue: RecordingQueue) -> None:
    with pytest.raises(InvalidManifest):
        await submit_batch(resources, [*URLS, "ftp://shop.example/1.jpg"], queue=queue)
    assert await stored_rows(resources) == [0, 0, 0, 0]
    assert queue.lanes == []


async def test_skipped_urls_count_as_failed_from_the_start(resources: Resources, queue: RecordingQueue) -> None:
    urls = ["ftp://shop.example/1.jpg", URLS[0], "http:///no-host.jpg"]
    batch = await submit_batch(resources, urls, queue=queue, on_invalid="skip")
    batch = await consistent_batch(resources.sessions, batch.id)
    assert (batch.status, batch.failed, batch.errors) == ("pending", 2, {"invalid_url": 2})
    assets = await assets_of(resources.sessions, batch.id)
    assert [asset.status for asset in assets] == ["failed", "pending", "failed"]
    assert [bool(asset.error_detail) for asset in assets] == [True, False, True]
    assert queue.lanes == [batch.id]


async def test_a_batch_of_invalid_urls_is_finished_when_it_is_stored(
    resources: Resources, queue: RecordingQueue
) -> None:
    fields = {"on_invalid": "skip", "webhook_url": "http://a.example/hook"}
    submitted = await submit_batch(resources, ["ftp://a.example/1", "ftp://a.example/2"], queue=queue, **fields)
    batch = await consistent_batch(resources.sessions, submitted.id)
    for each in (submitted, batch):
        assert (each.status, each.failed, each.finished_at) == ("failed", 2, resources.clock())
    [delivery] = await deliveries_of(resources.sessions, batch.id)
    assert (delivery.event_type, delivery.status, delivery.url) == ("batch.failed", "pending", "http://a.example/hook")
    assert '"failed":2' in delivery.body
    assert queue.deliveries == [(delivery.id, 1, None)]
    assert queue.lanes == []


async def test_a_finished_batch_without_a_webhook_wakes_no_job(resources: Resources, queue: RecordingQueue) -> None:
    await submit_batch(resources, ["ftp://a.example/1"], queue=queue, on_invalid="skip")
    assert (queue.lanes, queue.deliveries) == ([], [])
    assert await stored_rows(resources) == [1, 1, 1, 0]


# -- failures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("urls", [URLS, ["ftp://a.example/1"]])
async def test_a_batch_is_accepted_while_the_queue_is_unavailable(
    resources: Resources, queue: RecordingQueue, urls: list[str]
) -> None:
    queue.is_unavailable = True
    batch = await submit_batch(resources, urls, queue=queue, on_invalid="skip", webhook_url="http://a.example/hook")
    assert await batch_of(resources.sessions, batch.id)


@ONLY_SQLITE
async def test_a_disk_that_fills_up_during_the_upload_leaves_nothing(
    resources: Resources, queue: RecordingQueue
) -> None:
    def limit_size(connection: Any, _record: object) -> None:
        connection.execute("PRAGMA max_page_count = 120").close()

    event.listen(resources.sessions.engine.sync_engine, "connect", limit_size)
    with pytest.raises(DatabaseUnavailable, match="full"):
        await submit_batch(resources, [f"http://shop.example/{number}" for number in range(5_000)], queue=queue)
    assert await stored_rows(resources) == [0, 0, 0, 0]
    assert queue.lanes == []
    await submit_batch(resources, URLS, queue=queue)
    assert await stored_rows(resources) == [1, 3, 3, 0]


async def test_an_error_at_the_last_asset_leaves_nothing(resources: Resources, queue: RecordingQueue) -> None:
    urls = [f"http://shop.example/{number}" for number in range(2_500)]
    await submit_batch(resources, urls[-1:])
    async with resources.sessions.write() as session:
        await (await session.connection()).execute(text("CREATE UNIQUE INDEX once ON asset (origin_url)"))
    with pytest.raises(IntegrityError):
        await submit_batch(resources, urls, queue=queue)
    assert await stored_rows(resources) == [1, 1, 1, 0]
    assert queue.lanes == []


# -- size -------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
async def test_20_000_rows_are_stored_in_order(resources: Resources, queue: RecordingQueue) -> None:
    urls = [f"http://shop.example/{number}.jpg" for number in range(20_000)]
    batch = await submit_batch(resources, urls, queue=queue)
    assert await stored_rows(resources) == [1, 20_000, 20_000, 0]
    assets = await assets_of(resources.sessions, batch.id)
    assert [asset.origin_url for asset in assets] == urls
    assert assets[12_345].slug == "product-12346-1"
    assert (batch.asset_count, batch.url_count) == (20_000, 20_000)
