"""What must hold of a batch and of all that belongs to it: rules over one consistent look at its rows."""

from collections.abc import Callable, Collection, Iterator
from enum import StrEnum

from imgsvc.db.tables import Delivery
from imgsvc.domain.status import OPEN_ASSET, AssetStatus, BatchStatus, DeliveryStatus, final_status
from imgsvc.domain.webhooks import is_delivered
from imgsvc.services.integrity.snapshot import BatchSnapshot


class Category(StrEnum):
    """What can be wrong, in the order in which it is told."""

    COUNTERS = "Counters"
    STATES = "States"
    WEBHOOKS = "Webhooks"
    OVERDUE = "Overdue"
    RENDITIONS = "Renditions"
    LEFTOVERS = "Leftovers"


Rule = Callable[[BatchSnapshot], Iterator[str]]


def counters(seen: BatchSnapshot) -> Iterator[str]:
    failed = [group for group in seen.groups if group.status == AssetStatus.FAILED]
    succeeded = [group for group in seen.groups if group.status == AssetStatus.SUCCEEDED]
    counted = {
        "product_count": seen.totals.products,
        "url_count": seen.totals.urls,
        "asset_count": seen.count(*AssetStatus),
        "processing": seen.count(AssetStatus.PROCESSING),
        "succeeded": seen.count(AssetStatus.SUCCEEDED),
        "failed": seen.count(AssetStatus.FAILED),
        "cancelled": seen.count(AssetStatus.CANCELLED),
        "errors": {group.error_code: group.assets for group in failed},
        "input_bytes": sum(group.input_bytes or 0 for group in succeeded),
        "output_bytes": seen.totals.rendition_bytes,
    }
    for name, count in counted.items():
        if getattr(seen.batch, name) != count:
            yield f"`{name}` is {getattr(seen.batch, name)}, its rows say {count}"


def states(seen: BatchSnapshot) -> Iterator[str]:
    batch, open_assets = seen.batch, seen.count(*OPEN_ASSET)
    if seen.is_open != (open_assets > 0):
        yield f"{batch.status} with {open_assets} open images"
    if seen.is_open != (batch.finished_at is None):
        yield f"{batch.status}, its end is {batch.finished_at or 'not written down'}"
    if seen.is_open and batch.tidy_at is not None:
        yield f"{batch.status}, and to be tidied as if it had ended"
    if batch.status == BatchStatus.PENDING and seen.count(AssetStatus.PROCESSING):
        yield "pending, and yet images are being worked on"
    ended_as = final_status(
        succeeded=seen.count(AssetStatus.SUCCEEDED),
        failed=seen.count(AssetStatus.FAILED),
        cancelled=seen.count(AssetStatus.CANCELLED),
    )
    if not seen.is_open and not open_assets and batch.status != ended_as:
        yield f"{batch.status}, its images make it {ended_as}"


def places(seen: BatchSnapshot) -> Iterator[str]:
    """Positions are 0, 1, 2 … and each stands in a slot."""
    assets = seen.count(*AssetStatus)
    first = min((group.first_position for group in seen.groups), default=0)
    last = max((group.last_position for group in seen.groups), default=-1)
    if (first, last) != (0, assets - 1):
        yield f"the positions of its {assets} images go from {first} to {last}"
    astray = {position for position in seen.totals.shown if not 0 <= position < assets}
    if astray:
        yield f"{_some(astray)} named by a product and not there"
    unseen = set(range(assets)) - seen.totals.shown
    if unseen:
        yield f"{_some(unseen)} in no product"


def odd_assets(seen: BatchSnapshot) -> Iterator[str]:
    for oddity in seen.oddities:
        yield f"{oddity.assets} images {oddity.what}, such as {oddity.position}"


def renditions(seen: BatchSnapshot) -> Iterator[str]:
    if seen.totals.misfits:
        yield f"{_some(seen.totals.misfits)} with other renditions than the batch asks for"


def announcements(seen: BatchSnapshot) -> Iterator[str]:
    """Each round that has ended has one delivery, if the batch has a webhook; there is none without."""
    rounds = range(1, seen.batch.round + (not seen.is_open)) if seen.batch.webhook_url else range(0)
    written = {logged.delivery.round for logged in seen.deliveries}
    yield from (f"no delivery for the end of round {number}" for number in sorted(set(rounds) - written))
    yield from (f"a delivery for round {number}, which has no end" for number in sorted(written - set(rounds)))
    for logged in seen.deliveries:
        delivery = logged.delivery
        tells_the_end = delivery.round == seen.batch.round and not seen.is_open
        if tells_the_end and delivery.event_type != f"batch.{seen.batch.status}":
            yield f"{delivery.id} tells {delivery.event_type} of a batch that is {seen.batch.status}"


def attempts(seen: BatchSnapshot) -> Iterator[str]:
    for delivery, log in seen.deliveries:
        numbers = [attempt.number for attempt in log]
        if numbers != list(range(1, delivery.attempts + 1)):
            yield f"{delivery.id} counts {delivery.attempts} attempts, its log has {len(numbers)}: {numbers[-5:]}"
        elif not _stands_right(delivery, log[-1].http_status if log else None):
            last = f"ended with {log[-1].http_status or log[-1].error}" if log else "was never made"
            yield f"{delivery.id} is {delivery.status}, its last attempt {last}"


def _stands_right(delivery: Delivery, last: int | None) -> bool:
    """Whether its status follows from the last answer; one that is posted anew has had any."""
    is_answered = last is not None and is_delivered(last)
    if delivery.status == DeliveryStatus.PENDING:
        return delivery.attempts == delivery.schedule_from or not is_answered
    return delivery.attempts > 0 and is_answered == (delivery.status == DeliveryStatus.DELIVERED)


def standstill(seen: BatchSnapshot) -> Iterator[str]:
    """An image may wait long behind others of its batch, but then these make progress."""
    waiting = [group for group in seen.groups if group.status in OPEN_ASSET and group.first_due < seen.until]
    if waiting and max(group.last_change for group in seen.groups) < seen.until:
        since = min(group.first_due for group in waiting)
        yield f"{seen.batch.status}: nobody works on images that are due since {since:%Y-%m-%d %H:%M:%S} UTC"


def unsent(seen: BatchSnapshot) -> Iterator[str]:
    for delivery, _ in seen.deliveries:
        if delivery.status == DeliveryStatus.PENDING and delivery.due_at < seen.until:
            yield f"nobody posts {delivery.id}, due since {delivery.due_at:%Y-%m-%d %H:%M:%S} UTC"


def unexpired(seen: BatchSnapshot) -> Iterator[str]:
    """A batch whose webhook still waits is kept until then."""
    expires_at = seen.batch.expires_at
    is_kept = seen.is_open or any(logged.delivery.status == DeliveryStatus.PENDING for logged in seen.deliveries)
    if expires_at and expires_at < seen.until and not is_kept:
        yield f"to be removed since {expires_at:%Y-%m-%d %H:%M:%S} UTC"


def not_cleaned_up(seen: BatchSnapshot) -> Iterator[str]:
    batch = seen.batch
    if batch.deleted_at and not batch.tidy_at:
        yield "deleted, and nobody will remove what is left of it"
    elif batch.tidy_at and batch.tidy_at < seen.until:
        was = "deleted" if batch.deleted_at else batch.status
        yield f"{was}, its storage to be tidied since {batch.tidy_at:%Y-%m-%d %H:%M:%S} UTC"


RULES: tuple[tuple[Category, Rule], ...] = (
    (Category.COUNTERS, counters),
    (Category.STATES, states),
    (Category.STATES, places),
    (Category.STATES, odd_assets),
    (Category.RENDITIONS, renditions),
    (Category.WEBHOOKS, announcements),
    (Category.WEBHOOKS, attempts),
    (Category.OVERDUE, standstill),
    (Category.OVERDUE, unsent),
    (Category.OVERDUE, unexpired),
    (Category.OVERDUE, not_cleaned_up),
)
OF_A_DELETED_BATCH: tuple[tuple[Category, Rule], ...] = ((Category.OVERDUE, not_cleaned_up),)
"""The rows of one that is being removed need not fit any more."""


def _some(positions: Collection[int]) -> str:
    return f"{len(positions)} images ({', '.join(map(str, sorted(positions)[:5]))}{' …' if len(positions) > 5 else ''})"
