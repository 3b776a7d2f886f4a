"""The integrity rules: invariants of a batch and its rows, checked on one consistent snapshot."""

from collections.abc import Callable, Collection, Iterator
from enum import StrEnum

from imgsvc.db.queries.versions import COMPARE
from imgsvc.db.tables import Delivery
from imgsvc.domain.manifest.versions import CHANGED, NEW, UNCHANGED
from imgsvc.domain.status import OPEN_ASSET, AssetStatus, BatchStatus, DeliveryStatus, final_status
from imgsvc.domain.webhooks import is_delivered
from imgsvc.services.integrity.snapshot import BatchSnapshot


class Category(StrEnum):
    """The categories of violations, in the order in which they are reported."""

    COUNTERS = "Counters"
    STATES = "States"
    WEBHOOKS = "Webhooks"
    OVERDUE = "Overdue"
    RENDITIONS = "Renditions"
    LEFTOVERS = "Leftovers"


Rule = Callable[[BatchSnapshot], Iterator[str]]


def counters(snapshot: BatchSnapshot) -> Iterator[str]:
    failed = [group for group in snapshot.groups if group.status == AssetStatus.FAILED]
    succeeded = [group for group in snapshot.groups if group.status == AssetStatus.SUCCEEDED]
    counted = {
        "product_count": snapshot.totals.products,
        "url_count": snapshot.totals.urls,
        "asset_count": snapshot.count(*AssetStatus),
        "processing": snapshot.count(AssetStatus.PROCESSING),
        "succeeded": snapshot.count(AssetStatus.SUCCEEDED),
        "failed": snapshot.count(AssetStatus.FAILED),
        "cancelled": snapshot.count(AssetStatus.CANCELLED),
        "errors": {group.error_code: group.assets for group in failed},
        "input_bytes": sum(group.input_bytes or 0 for group in succeeded),
        "output_bytes": snapshot.totals.rendition_bytes,
    }
    for name, count in counted.items():
        if getattr(snapshot.batch, name) != count:
            yield f"`{name}` is {getattr(snapshot.batch, name)}, but the rows add up to {count}"


def states(snapshot: BatchSnapshot) -> Iterator[str]:
    batch, open_assets = snapshot.batch, snapshot.count(*OPEN_ASSET)
    if snapshot.is_open != (open_assets > 0 or batch.change == COMPARE):
        yield f"{batch.status} with {open_assets} open images"
    if snapshot.is_open != (batch.finished_at is None):
        yield f"{batch.status}, but `finished_at` is {batch.finished_at or 'not set'}"
    if snapshot.is_open and batch.tidy_at is not None:
        yield f"{batch.status}, but a clean-up is scheduled as if it had ended"
    if batch.status == BatchStatus.PENDING and snapshot.count(AssetStatus.PROCESSING):
        yield "pending, but some of its images are being processed"
    expected = final_status(
        succeeded=snapshot.count(AssetStatus.SUCCEEDED),
        failed=snapshot.count(AssetStatus.FAILED),
        cancelled=snapshot.count(AssetStatus.CANCELLED),
    )
    if not snapshot.is_open and not open_assets and batch.status != expected:
        yield f"{batch.status}, but according to its images it is {expected}"


def changes(snapshot: BatchSnapshot) -> Iterator[str]:
    """Check that each row of an ended batch is new, changed or unchanged, if the batch was compared."""
    batch = snapshot.batch
    if not snapshot.is_open and batch.changes:
        rows = sum(batch.changes.get(name, 0) for name in (NEW, CHANGED, UNCHANGED))
        if rows != batch.product_count:
            yield f"{rows} rows are new, changed or unchanged, but there are {batch.product_count}"


def positions(snapshot: BatchSnapshot) -> Iterator[str]:
    """Check that positions are 0, 1, 2 … and that every position is in a slot."""
    assets = snapshot.count(*AssetStatus)
    first = min((group.first_position for group in snapshot.groups), default=0)
    last = max((group.last_position for group in snapshot.groups), default=-1)
    if (first, last) != (0, assets - 1):
        yield f"the positions of its {assets} images go from {first} to {last}"
    nonexistent = {position for position in snapshot.totals.referenced if not 0 <= position < assets}
    if nonexistent:
        yield f"{_list(nonexistent)} in a product, but nonexistent"
    unreferenced = set(range(assets)) - snapshot.totals.referenced
    if unreferenced:
        yield f"{_list(unreferenced)} in no product"


def asset_columns(snapshot: BatchSnapshot) -> Iterator[str]:
    for contradiction in snapshot.contradictions:
        yield f"{contradiction.assets} images {contradiction.description}, such as {contradiction.position}"


def renditions(snapshot: BatchSnapshot) -> Iterator[str]:
    if snapshot.totals.mismatched:
        yield f"{_list(snapshot.totals.mismatched)} with renditions that the batch does not ask for"
    if snapshot.totals.unnoted:
        unnoted = sorted(snapshot.totals.unnoted)
        yield f"{len(unnoted)} of its files are not noted, such as {unnoted[0]}"


def deliveries(snapshot: BatchSnapshot) -> Iterator[str]:
    """Check that each ended round has exactly one delivery if the batch has a webhook, and none otherwise."""
    batch = snapshot.batch
    ended_rounds = set(range(1, batch.round + (not snapshot.is_open))) if batch.webhook_url else set()
    announced = {log.delivery.round for log in snapshot.deliveries}
    yield from (f"no delivery for the end of round {number}" for number in sorted(ended_rounds - announced))
    yield from (f"a delivery for round {number}, which has not ended" for number in sorted(announced - ended_rounds))
    for delivery, _ in snapshot.deliveries:
        is_current = delivery.round == batch.round and not snapshot.is_open
        if is_current and delivery.event_type != f"batch.{batch.status}":
            yield f"{delivery.id} announces {delivery.event_type}, but the batch is {batch.status}"


def attempts(snapshot: BatchSnapshot) -> Iterator[str]:
    for delivery, log in snapshot.deliveries:
        numbers = [attempt.number for attempt in log]
        if numbers != list(range(1, delivery.attempts + 1)):
            yield f"{delivery.id} counts {delivery.attempts} attempts, its log has {len(numbers)}: {numbers[-5:]}"
        elif not _follows_from(delivery, log[-1].http_status if log else None):
            last = f"ended with {log[-1].http_status or log[-1].error}" if log else "was never made"
            yield f"{delivery.id} is {delivery.status}, but its last attempt {last}"


def _follows_from(delivery: Delivery, last: int | None) -> bool:
    """Return whether the delivery's status follows from its last HTTP status, which a redelivery makes irrelevant."""
    is_success = last is not None and is_delivered(last)
    if delivery.status == DeliveryStatus.PENDING:
        return delivery.attempts == delivery.schedule_from or not is_success
    return delivery.attempts > 0 and is_success == (delivery.status == DeliveryStatus.DELIVERED)


def stalled_images(snapshot: BatchSnapshot) -> Iterator[str]:
    """Report overdue images of a batch that makes no progress; an image may wait long for others of its batch."""
    waiting = [group for group in snapshot.groups if group.status in OPEN_ASSET and group.first_due < snapshot.until]
    if waiting and max(group.last_change for group in snapshot.groups) < snapshot.until:
        since = min(group.first_due for group in waiting)
        yield f"{snapshot.batch.status}: no worker processes its images, due since {since:%Y-%m-%d %H:%M:%S} UTC"


def stalled_comparison(snapshot: BatchSnapshot) -> Iterator[str]:
    last_change = max((group.last_change for group in snapshot.groups), default=snapshot.until)
    if snapshot.is_open and snapshot.batch.change == COMPARE and last_change < snapshot.until:
        yield f"no worker compares it with the version before, due since {last_change:%Y-%m-%d %H:%M:%S} UTC"


def stalled_deliveries(snapshot: BatchSnapshot) -> Iterator[str]:
    for delivery, _ in snapshot.deliveries:
        if delivery.status == DeliveryStatus.PENDING and delivery.due_at < snapshot.until:
            yield f"no worker posts {delivery.id}, due since {delivery.due_at:%Y-%m-%d %H:%M:%S} UTC"


def overdue_expiry(snapshot: BatchSnapshot) -> Iterator[str]:
    """Report a batch past its expiry; one with a pending delivery is kept until that has ended."""
    expires_at = snapshot.batch.expires_at
    is_kept = snapshot.is_open or any(log.delivery.status == DeliveryStatus.PENDING for log in snapshot.deliveries)
    if expires_at and expires_at < snapshot.until and not is_kept:
        yield f"expired at {expires_at:%Y-%m-%d %H:%M:%S} UTC, but not deleted"


def overdue_clean_up(snapshot: BatchSnapshot) -> Iterator[str]:
    batch = snapshot.batch
    if batch.deleted_at and not batch.tidy_at:
        yield "deleted, but no clean-up is scheduled"
    elif batch.tidy_at and batch.tidy_at < snapshot.until:
        status = "deleted" if batch.deleted_at else batch.status
        yield f"{status}, its clean-up has been due since {batch.tidy_at:%Y-%m-%d %H:%M:%S} UTC"


RULES: tuple[tuple[Category, Rule], ...] = (
    (Category.COUNTERS, counters),
    (Category.STATES, states),
    (Category.STATES, changes),
    (Category.STATES, positions),
    (Category.STATES, asset_columns),
    (Category.RENDITIONS, renditions),
    (Category.WEBHOOKS, deliveries),
    (Category.WEBHOOKS, attempts),
    (Category.OVERDUE, stalled_images),
    (Category.OVERDUE, stalled_comparison),
    (Category.OVERDUE, stalled_deliveries),
    (Category.OVERDUE, overdue_expiry),
    (Category.OVERDUE, overdue_clean_up),
)
DELETED_BATCH_RULES: tuple[tuple[Category, Rule], ...] = ((Category.OVERDUE, overdue_clean_up),)
"""The rows of a batch that is being removed need not be consistent."""


def _list(asset_positions: Collection[int]) -> str:
    first, more = sorted(asset_positions)[:5], " …" if len(asset_positions) > 5 else ""
    return f"{len(asset_positions)} images ({', '.join(map(str, first))}{more})"
