"""The deep check of rows: each fault, made on purpose, is named; every kind of batch is found well."""

import pytest

from imgsvc.bootstrap import Resources
from imgsvc.db.queries.api_keys import LOCAL_KEY
from imgsvc.services.batches.cancel import cancel_batch
from imgsvc.services.batches.retry import retry_batch
from imgsvc.services.integrity.audit import MAX_EXAMPLES, MAX_SPAN_ASSETS
from imgsvc.services.integrity.rules import Category
from imgsvc.services.processing.process_asset import AssetProcessor
from imgsvc.services.webhooks.deliver import request_redelivery
from support.audits import HOUR, Shop, violations
from support.batches import ManualClock, RecordingQueue, batch_of, submit_batch
from support.databases import ONLY_SQLITE
from support.deliveries import announced, deliver
from support.lanes import flush, work
from support.origin_server import OriginServer, WebhookListener, image_bytes

pytestmark = pytest.mark.slow

# -- all is well ------------------------------------------------------------------------------------------------------


async def test_a_batch_that_ended_is_found_well_and_everything_was_looked_at(shop: Shop) -> None:
    done = await shop.audit()
    assert violations(done) == {}
    batch = await batch_of(shop.parts.sessions, shop.batch_id)
    assert (done.batches, done.products, done.assets, done.deliveries, done.attempts) == (1, 3, 3, 1, 1)
    assert (done.renditions, done.files, done.rendition_bytes) == (4, 4, batch.output_bytes)


async def test_every_kind_of_batch_is_found_well(
    shop: Shop, processor: AssetProcessor, origin: OriginServer, listener: WebhookListener, queue: RecordingQueue
) -> None:
    parts, hook = shop.parts, listener.url("/hook")
    good, gone, invalid = origin.serve("/a.jpg", image_bytes()), origin.url("/gone"), "ftp://shop.example/1"
    await submit_batch(parts, [good], webhook_url=hook)  # pending
    in_flight = await submit_batch(parts, [good, gone])
    await flush(in_flight.id, parts, token="somebody", claim=1)
    await shop.put(f"{in_flight.id}/0-product-1-0a1b2c3d.jpg")  # and about to be written down
    stopped = await submit_batch(parts, [good], webhook_url=hook)
    await cancel_batch(
        stopped.id, api_key_id=LOCAL_KEY, sessions=parts.sessions, queue=queue, retention=parts.retention,
        clock=shop.clock,
    )  # fmt: skip
    again = await submit_batch(parts, [gone, invalid, good, good], on_invalid="skip", webhook_url=hook)
    for _ in range(2):
        await work(again.id, parts, processor)
        await retry_batch(
            again.id, codes=(), api_key_id=LOCAL_KEY, sessions=parts.sessions, queue=queue, retention=parts.retention,
            clock=shop.clock,
        )  # fmt: skip
    again = await batch_of(parts.sessions, again.id)
    assert (again.status, again.round) == ("pending", 3)

    exhausted = await announced(parts, listener.url("/hook"))
    listener.statuses = [410, 200, 503]
    assert (await deliver(parts, exhausted, queue=queue)).status == "exhausted"
    anew = await announced(parts, listener.url("/hook"))
    assert (await deliver(parts, anew, queue=queue)).status == "delivered"
    await request_redelivery(anew.id, api_key_id=LOCAL_KEY, sessions=parts.sessions, queue=queue, clock=shop.clock)
    waiting = await announced(parts, listener.url("/hook"))
    assert (await deliver(parts, waiting, queue=queue)).status == "pending"
    deleted = await submit_batch(parts, [invalid], on_invalid="skip", idempotency_key="order 2")
    await shop.delete(deleted.id)

    done = await shop.audit()
    assert violations(done) == {}
    assert done.batches == 9


async def test_an_empty_service_is_well(parts: Resources, clock: ManualClock) -> None:
    assert violations(await Shop(parts, "", clock).audit(grace=0)) == {}


# -- faults of the rows -----------------------------------------------------------------------------------------------

FAULTS = [
    ("UPDATE batch SET product_count = 4", Category.COUNTERS, "`product_count` is 4, its rows say 3"),
    ("UPDATE batch SET url_count = 4", Category.COUNTERS, "`url_count` is 4, its rows say 3"),
    ("UPDATE batch SET asset_count = 4", Category.COUNTERS, "`asset_count` is 4, its rows say 3"),
    ("UPDATE batch SET succeeded = 1, cancelled = 1", Category.COUNTERS, "`succeeded` is 1, its rows say 2"),
    ("UPDATE batch SET succeeded = 1, processing = 1", Category.COUNTERS, "`processing` is 1, its rows say 0"),
    ("UPDATE batch SET failed = 0", Category.COUNTERS, "`failed` is 0, its rows say 1"),
    ("UPDATE batch SET failed = 0, cancelled = 1", Category.COUNTERS, "`cancelled` is 1, its rows say 0"),
    ("UPDATE batch SET errors = '{}'", Category.COUNTERS, "`errors` is {}, its rows say {'http_404': 1}"),
    ("UPDATE batch SET input_bytes = 1", Category.COUNTERS, "`input_bytes` is 1, its rows say"),
    ("UPDATE batch SET output_bytes = 1", Category.COUNTERS, "`output_bytes` is 1, its rows say"),
    ("UPDATE batch SET status = 'processing'", Category.STATES, "processing with 0 open images"),
    ("UPDATE batch SET status = 'completed'", Category.STATES, "completed, its images make it completed_with_errors"),
    ("UPDATE batch SET finished_at = NULL", Category.STATES, "its end is not written down"),
    (
        "UPDATE batch SET status = 'pending', finished_at = NULL, tidy_at = '2090-01-01 00:00:00.000000'",
        Category.STATES,
        "as if it had ended",
    ),
    ("UPDATE asset SET status = 'pending' WHERE position = 0", Category.STATES, "with 1 open images"),
    (
        "UPDATE asset SET claim = 'x' WHERE position = 1",
        Category.STATES,
        "1 images claimed without processing, such as 1",
    ),
    (
        "UPDATE asset SET status = 'processing' WHERE position = 2",
        Category.STATES,
        "1 images processing without a claim",
    ),
    ("UPDATE asset SET error_code = NULL", Category.STATES, "1 images ended without an error code, such as 2"),
    ("UPDATE asset SET error_code = 'x'", Category.STATES, "2 images with an error code although they did not fail"),
    ("UPDATE asset SET renditions = '[]'", Category.STATES, "1 images with a rendition, or its facts, although"),
    ("UPDATE asset SET renditions = NULL", Category.STATES, "2 images succeeded without a rendition"),
    ("DELETE FROM asset WHERE position = 1", Category.STATES, "the positions of its 2 images go from 0 to 2"),
    (
        "UPDATE product SET slots = '[0, 7]' WHERE position = 0",
        Category.STATES,
        "1 images (7) named by a product and not",
    ),
    ("DELETE FROM product WHERE position = 1", Category.STATES, "1 images (1) in no product"),
    ("UPDATE batch SET deleted_at = finished_at", Category.STATES, "key 'order 1' leads to bat_"),
    ("UPDATE asset SET renditions = '[]'", Category.RENDITIONS, "2 images (0, 1) with other renditions"),
    ('UPDATE batch SET specs = \'[{"name": "main"}]\'', Category.RENDITIONS, "2 images (0, 1) with other renditions"),
    (
        "UPDATE asset SET renditions = (SELECT renditions FROM asset WHERE position = 1) WHERE position = 0",
        Category.RENDITIONS,
        "1 images (0) with other renditions",
    ),
    ("DELETE FROM delivery_attempt; DELETE FROM delivery", Category.WEBHOOKS, "no delivery for the end of round 1"),
    ("UPDATE batch SET round = 2", Category.WEBHOOKS, "no delivery for the end of round 2"),
    ("UPDATE delivery SET round = 2", Category.WEBHOOKS, "a delivery for round 2, which has no end"),
    ("UPDATE batch SET webhook_url = NULL", Category.WEBHOOKS, "a delivery for round 1, which has no end"),
    ("UPDATE delivery SET event_type = 'batch.failed'", Category.WEBHOOKS, "tells batch.failed of a batch that is"),
    ("UPDATE delivery SET attempts = 2", Category.WEBHOOKS, "counts 2 attempts, its log has 1: [1]"),
    ("UPDATE delivery_attempt SET number = 2", Category.WEBHOOKS, "counts 1 attempts, its log has 1: [2]"),
    (
        "UPDATE delivery_attempt SET http_status = 500",
        Category.WEBHOOKS,
        "is delivered, its last attempt ended with 500",
    ),
    ("UPDATE delivery SET status = 'exhausted'", Category.WEBHOOKS, "is exhausted, its last attempt ended with 200"),
    ("UPDATE delivery SET status = 'pending'", Category.WEBHOOKS, "is pending, its last attempt ended with 200"),
    (
        "DELETE FROM delivery_attempt; UPDATE delivery SET status = 'exhausted', attempts = 0",
        Category.WEBHOOKS,
        "is exhausted, its last attempt was never made",
    ),
    (
        "UPDATE asset SET status = 'pending' WHERE position = 2",
        Category.OVERDUE,
        "nobody works on images that are due since",
    ),
    ("UPDATE delivery SET status = 'pending', schedule_from = 1", Category.OVERDUE, "nobody posts evt_"),
    ("UPDATE batch SET expires_at = finished_at", Category.OVERDUE, "to be removed since"),
    ("UPDATE batch SET tidy_at = finished_at", Category.OVERDUE, "its storage to be tidied since"),
    (
        "UPDATE batch SET deleted_at = finished_at, tidy_at = finished_at",
        Category.OVERDUE,
        "deleted, its storage to be",
    ),
    ("UPDATE batch SET deleted_at = finished_at", Category.OVERDUE, "nobody will remove what is left of it"),
]


@ONLY_SQLITE
@pytest.mark.parametrize(("statements", "part", "words"), FAULTS, ids=[words for _, _, words in FAULTS])
async def test_a_fault_of_the_rows_is_named(shop: Shop, statements: str, part: Category, words: str) -> None:
    for statement in statements.split("; "):
        await shop.execute(statement)
    named = violations(await shop.audit()).get(part, [])
    assert any(words in fault for fault in named), named
    assert all(shop.batch_id in fault or "evt_" in fault for fault in named)


async def test_all_that_is_wrong_at_one_time_is_named_on_every_database(shop: Shop) -> None:
    await shop.execute("UPDATE batch SET errors = '{}', input_bytes = 1, expires_at = finished_at, round = 2")
    await shop.execute("UPDATE asset SET claim = 'x' WHERE position = 0")
    await shop.execute("UPDATE asset SET error_code = NULL")
    await shop.execute("UPDATE product SET slots = '[7]' WHERE position = 0")
    await shop.execute("UPDATE delivery_attempt SET http_status = 500")
    await shop.parts.storage.remove([(await shop.keys())[3]])
    await shop.put("notes.txt")
    faults = (await shop.audit()).faults
    assert {part: faults[part].total for part in faults} == {
        Category.COUNTERS: 2,
        Category.STATES: 4,
        Category.WEBHOOKS: 2,
        Category.OVERDUE: 1,
        Category.RENDITIONS: 1,
        Category.LEFTOVERS: 1,
    }
    assert any("1 images claimed without processing, such as 0" in fault for fault in faults[Category.STATES].examples)


async def test_a_pending_batch_whose_images_are_worked_on_is_named(shop: Shop, queue: RecordingQueue) -> None:
    batch = await submit_batch(shop.parts, ["http://127.0.0.1/1.jpg"], queue=queue)
    await flush(batch.id, shop.parts, token="somebody", claim=1)
    await shop.execute("UPDATE batch SET status = 'pending' WHERE status = 'processing'")
    assert violations(await shop.audit()) == {
        Category.STATES: [f"{batch.id}: pending, and yet images are being worked on"]
    }


async def test_a_batch_that_makes_progress_may_keep_an_image_waiting(shop: Shop, queue: RecordingQueue) -> None:
    batch = await submit_batch(shop.parts, ["http://127.0.0.1/1.jpg", "http://127.0.0.1/2.jpg"], queue=queue)
    shop.clock.forward(2 * HOUR)
    assert set(violations(await shop.audit())) == {Category.OVERDUE}
    await flush(batch.id, shop.parts, token="somebody", claim=1)
    assert violations(await shop.audit()) == {}


async def test_of_many_faults_a_few_are_shown_and_all_are_counted(shop: Shop) -> None:
    for _ in range(MAX_EXAMPLES + 2):
        await submit_batch(shop.parts, ["ftp://shop.example/1"], on_invalid="skip")
    await shop.execute("UPDATE batch SET url_count = 9")
    faults = (await shop.audit()).faults[Category.COUNTERS]
    assert (faults.total, len(faults.examples)) == (MAX_EXAMPLES + 3, MAX_EXAMPLES)


async def test_batches_are_compared_with_their_own_rows_however_many_are_read_together(
    shop: Shop,
) -> None:
    for count in (1, 6_000, 2, 6_000):
        await submit_batch(shop.parts, [f"ftp://shop.example/{n}" for n in range(count)], on_invalid="skip")
    done = await shop.audit()
    assert violations(done) == {}
    assert done.assets > MAX_SPAN_ASSETS
    assert (done.batches, done.assets, done.products) == (5, 12_006, 12_006)
