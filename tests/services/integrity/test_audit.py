"""The audit of rows: every violation is reported, and no kind of sound batch is reported as one."""

import pytest

from imgsvc.bootstrap import Resources
from imgsvc.db.queries.api_keys import LOCAL_KEY
from imgsvc.services.integrity.audit import MAX_EXAMPLES, MAX_SPAN_ASSETS
from imgsvc.services.integrity.rules import Category
from imgsvc.services.processing.process_asset import AssetProcessor
from imgsvc.services.webhooks.deliver import request_redelivery
from support.audits import HOUR, AuditedService, violations
from support.batches import ManualClock, RecordingQueue, batch_of, submit_batch
from support.databases import ONLY_SQLITE
from support.deliveries import deliver, pending_delivery
from support.lanes import flush, work
from support.origin_server import OriginServer, WebhookListener, image_bytes
from support.verbs import cancel, retry

pytestmark = pytest.mark.slow

# -- no violations ----------------------------------------------------------------------------------------------------


async def test_a_finished_batch_has_no_violations_and_all_its_rows_are_examined(shop: AuditedService) -> None:
    audit = await shop.audit()
    assert violations(audit) == {}
    batch = await batch_of(shop.resources.sessions, shop.batch_id)
    assert (audit.batches, audit.products, audit.assets, audit.deliveries, audit.attempts) == (1, 3, 3, 1, 1)
    assert (audit.renditions, audit.files, audit.rendition_bytes) == (4, 4, batch.output_bytes)


async def test_batches_in_every_status_have_no_violations(
    shop: AuditedService,
    processor: AssetProcessor,
    origin: OriginServer,
    listener: WebhookListener,
    queue: RecordingQueue,
) -> None:
    resources, hook = shop.resources, listener.url("/hook")
    good, missing, invalid = origin.serve("/a.jpg", image_bytes()), origin.url("/gone"), "ftp://shop.example/1"
    await submit_batch(resources, [good], webhook_url=hook)  # pending
    in_flight = await submit_batch(resources, [good, missing])
    await flush(in_flight.id, resources, token="a lane", claim=1)
    await shop.put(f"{in_flight.id}/0-product-1-0a1b2c3d.jpg")  # its row is about to be written
    cancelled = await submit_batch(resources, [good], webhook_url=hook)
    await cancel(resources, cancelled.id, queue=queue)
    retried = await submit_batch(resources, [missing, invalid, good, good], on_invalid="skip", webhook_url=hook)
    for _ in range(2):
        await work(retried.id, resources, processor)
        await retry(resources, retried.id, queue=queue)
    retried = await batch_of(resources.sessions, retried.id)
    assert (retried.status, retried.round) == ("pending", 3)

    exhausted = await pending_delivery(resources, listener.url("/hook"))
    listener.statuses = [410, 200, 503]
    assert (await deliver(resources, exhausted, queue=queue)).status == "exhausted"
    redelivered = await pending_delivery(resources, listener.url("/hook"))
    assert (await deliver(resources, redelivered, queue=queue)).status == "delivered"
    await request_redelivery(
        redelivered.id, api_key_id=LOCAL_KEY, sessions=resources.sessions, queue=queue, clock=shop.clock
    )
    waiting = await pending_delivery(resources, listener.url("/hook"))
    assert (await deliver(resources, waiting, queue=queue)).status == "pending"
    deleted = await submit_batch(resources, [invalid], on_invalid="skip", idempotency_key="order 2")
    await shop.delete(deleted.id)

    audit = await shop.audit()
    assert violations(audit) == {}
    assert audit.batches == 9


async def test_an_empty_service_has_no_violations(resources: Resources, clock: ManualClock) -> None:
    assert violations(await AuditedService(resources, "", clock).audit(grace=0)) == {}


# -- violations -------------------------------------------------------------------------------------------------------

COUNTERS, STATES, WEBHOOKS, OVERDUE, RENDITIONS, LEFTOVERS = Category
VIOLATIONS = [
    ("UPDATE batch SET product_count = 4", COUNTERS, "`product_count` is 4, but the rows add up to 3"),
    ("UPDATE batch SET url_count = 4", COUNTERS, "`url_count` is 4, but the rows add up to 3"),
    ("UPDATE batch SET asset_count = 4", COUNTERS, "`asset_count` is 4, but the rows add up to 3"),
    ("UPDATE batch SET succeeded = 1, cancelled = 1", COUNTERS, "`succeeded` is 1, but the rows add up to 2"),
    ("UPDATE batch SET succeeded = 1, processing = 1", COUNTERS, "`processing` is 1, but the rows add up to 0"),
    ("UPDATE batch SET failed = 0", COUNTERS, "`failed` is 0, but the rows add up to 1"),
    ("UPDATE batch SET failed = 0, cancelled = 1", COUNTERS, "`cancelled` is 1, but the rows add up to 0"),
    ("UPDATE batch SET errors = '{}'", COUNTERS, "`errors` is {}, but the rows add up to {'http_404': 1}"),
    ("UPDATE batch SET input_bytes = 1", COUNTERS, "`input_bytes` is 1, but the rows add up to"),
    ("UPDATE batch SET output_bytes = 1", COUNTERS, "`output_bytes` is 1, but the rows add up to"),
    ("UPDATE batch SET status = 'processing'", STATES, "processing with 0 open images"),
    ("UPDATE batch SET status = 'completed'", STATES, "but according to its images it is completed_with_errors"),
    ("UPDATE batch SET finished_at = NULL", STATES, "`finished_at` is not set"),
    (
        "UPDATE batch SET status = 'pending', finished_at = NULL, tidy_at = '2090-01-01 00:00:00.000000'",
        STATES,
        "as if it had ended",
    ),
    ("UPDATE asset SET status = 'pending' WHERE position = 0", STATES, "with 1 open images"),
    ("UPDATE asset SET claim = 'x' WHERE position = 1", STATES, "1 images claimed without processing, such as 1"),
    ("UPDATE asset SET status = 'processing' WHERE position = 2", STATES, "1 images processing without a claim"),
    ("UPDATE asset SET error_code = NULL", STATES, "1 images ended without an error code, such as 2"),
    ("UPDATE asset SET error_code = 'x'", STATES, "2 images with an error code although they did not fail"),
    ("UPDATE asset SET renditions = '[]'", STATES, "1 images with a rendition or image data although"),
    ("UPDATE asset SET renditions = NULL", STATES, "2 images succeeded without a rendition"),
    ("DELETE FROM asset WHERE position = 1", STATES, "the positions of its 2 images go from 0 to 2"),
    ("UPDATE product SET slots = '[0, 7]' WHERE position = 0", STATES, "1 images (7) in a product, but nonexistent"),
    ("DELETE FROM product WHERE position = 1", STATES, "1 images (1) in no product"),
    ("UPDATE batch SET deleted_at = finished_at", STATES, "key 'order 1' refers to bat_"),
    ("UPDATE asset SET renditions = '[]'", RENDITIONS, "2 images (0, 1) with renditions that the batch"),
    ('UPDATE batch SET specs = \'[{"name": "main"}]\'', RENDITIONS, "2 images (0, 1) with renditions that the batch"),
    (
        "UPDATE asset SET renditions = replace(renditions, '/', '0/') WHERE position = 0",
        RENDITIONS,
        "1 images (0) with renditions that the batch",
    ),
    ("DELETE FROM stored_file WHERE position = 1", RENDITIONS, "2 of its files are not noted, such as"),
    ("UPDATE stored_file SET position = 2", STATES, "names a stored file, but not by image 2"),
    ("DELETE FROM delivery_attempt; DELETE FROM delivery", WEBHOOKS, "no delivery for the end of round 1"),
    ("UPDATE batch SET round = 2", WEBHOOKS, "no delivery for the end of round 2"),
    ("UPDATE delivery SET round = 2", WEBHOOKS, "a delivery for round 2, which has not ended"),
    ("UPDATE batch SET webhook_url = NULL", WEBHOOKS, "a delivery for round 1, which has not ended"),
    ("UPDATE delivery SET event_type = 'batch.failed'", WEBHOOKS, "announces batch.failed, but the batch is"),
    ("UPDATE delivery SET attempts = 2", WEBHOOKS, "counts 2 attempts, its log has 1: [1]"),
    ("UPDATE delivery_attempt SET number = 2", WEBHOOKS, "counts 1 attempts, its log has 1: [2]"),
    ("UPDATE delivery_attempt SET http_status = 500", WEBHOOKS, "is delivered, but its last attempt ended with 500"),
    ("UPDATE delivery SET status = 'exhausted'", WEBHOOKS, "is exhausted, but its last attempt ended with 200"),
    ("UPDATE delivery SET status = 'pending'", WEBHOOKS, "is pending, but its last attempt ended with 200"),
    (
        "DELETE FROM delivery_attempt; UPDATE delivery SET status = 'exhausted', attempts = 0",
        WEBHOOKS,
        "is exhausted, but its last attempt was never made",
    ),
    ("UPDATE asset SET status = 'pending' WHERE position = 2", OVERDUE, "no worker processes its images, due since"),
    ("UPDATE delivery SET status = 'pending', schedule_from = 1", OVERDUE, "no worker posts evt_"),
    ("UPDATE batch SET expires_at = finished_at", OVERDUE, "UTC, but not deleted"),
    ("UPDATE batch SET tidy_at = finished_at", OVERDUE, "its clean-up has been due since"),
    ("UPDATE batch SET deleted_at = finished_at, tidy_at = finished_at", OVERDUE, "deleted, its clean-up has been due"),
    ("UPDATE batch SET deleted_at = finished_at", OVERDUE, "deleted, but no clean-up is scheduled"),
]


@ONLY_SQLITE
@pytest.mark.parametrize(("statements", "category", "text"), VIOLATIONS, ids=[text for _, _, text in VIOLATIONS])
async def test_a_violation_in_the_rows_is_reported(
    shop: AuditedService, statements: str, category: Category, text: str
) -> None:
    for statement in statements.split("; "):
        await shop.execute(statement)
    reported = violations(await shop.audit()).get(category, [])
    assert any(text in line for line in reported), reported
    assert all(shop.batch_id in line or "evt_" in line for line in reported)


async def test_simultaneous_violations_are_all_reported_on_every_database(shop: AuditedService) -> None:
    await shop.execute("UPDATE batch SET errors = '{}', input_bytes = 1, expires_at = finished_at, round = 2")
    await shop.execute("UPDATE asset SET claim = 'x' WHERE position = 0")
    await shop.execute("UPDATE asset SET error_code = NULL")
    await shop.execute("UPDATE product SET slots = '[7]' WHERE position = 0")
    await shop.execute("UPDATE delivery_attempt SET http_status = 500")
    await shop.resources.storage.remove([(await shop.keys())[3]])
    await shop.put("notes.txt")
    found = (await shop.audit()).violations
    assert {category: found[category].total for category in found} == {
        COUNTERS: 2,
        STATES: 4,
        WEBHOOKS: 2,
        OVERDUE: 1,
        RENDITIONS: 1,
        LEFTOVERS: 1,
    }
    assert any("1 images claimed without processing, such as 0" in line for line in found[STATES].examples)


async def test_a_pending_batch_with_images_being_processed_is_reported(
    shop: AuditedService, queue: RecordingQueue
) -> None:
    batch = await submit_batch(shop.resources, ["http://127.0.0.1/1.jpg"], queue=queue)
    await flush(batch.id, shop.resources, token="a lane", claim=1)
    await shop.execute("UPDATE batch SET status = 'pending' WHERE status = 'processing'")
    assert violations(await shop.audit()) == {
        STATES: [f"{batch.id}: pending, but some of its images are being processed"]
    }


async def test_an_image_may_wait_while_its_batch_makes_progress(shop: AuditedService, queue: RecordingQueue) -> None:
    batch = await submit_batch(shop.resources, ["http://127.0.0.1/1.jpg", "http://127.0.0.1/2.jpg"], queue=queue)
    shop.clock.forward(2 * HOUR)
    assert set(violations(await shop.audit())) == {OVERDUE}
    await flush(batch.id, shop.resources, token="a lane", claim=1)
    assert violations(await shop.audit()) == {}


async def test_all_violations_are_counted_and_the_first_few_are_shown(shop: AuditedService) -> None:
    for _ in range(MAX_EXAMPLES + 2):
        await submit_batch(shop.resources, ["ftp://shop.example/1"], on_invalid="skip")
    await shop.execute("UPDATE batch SET url_count = 9")
    found = (await shop.audit()).violations[COUNTERS]
    assert (found.total, len(found.examples)) == (MAX_EXAMPLES + 3, MAX_EXAMPLES)


async def test_batches_read_together_are_each_compared_with_their_own_rows(shop: AuditedService) -> None:
    for count in (1, 6_000, 2, 6_000):
        await submit_batch(shop.resources, [f"ftp://shop.example/{n}" for n in range(count)], on_invalid="skip")
    audit = await shop.audit()
    assert violations(audit) == {}
    assert audit.assets > MAX_SPAN_ASSETS
    assert (audit.batches, audit.assets, audit.products) == (5, 12_006, 12_006)
