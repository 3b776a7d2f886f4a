"""Batches for tests: created through the verbs or row by row, and read back from the database."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlmodel import col, select
from sqlmodel.sql.expression import SelectOfScalar

from imgsvc.bootstrap import Resources, manifest_limits
from imgsvc.db.engine import Sessions
from imgsvc.db.queries import batches as batch_queries
from imgsvc.db.queries import deliveries as delivery_queries
from imgsvc.db.queries.api_keys import LOCAL_KEY
from imgsvc.db.tables import Asset, Batch, Delivery, DeliveryAttempt
from imgsvc.domain.imaging.spec import Spec
from imgsvc.errors import QueueUnavailable
from imgsvc.services.intake.submit import submit
from imgsvc.services.intake.upload import Upload
from imgsvc.services.job_queue import JobQueue


@dataclass
class ManualClock:
    """A clock that the test advances; it starts at the real time, which signatures are checked against."""

    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __call__(self) -> datetime:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@dataclass
class RecordingQueue:
    """A JobQueue that records its calls; `is_unavailable` makes them fail, `waiting` returns `waiting_lanes`."""

    lanes: list[str] = field(default_factory=list)
    """The batches whose first lane was woken."""
    other_lanes: list[tuple[str, int]] = field(default_factory=list)
    scheduled_lanes: list[tuple[str, int, datetime]] = field(default_factory=list)
    deliveries: list[tuple[str, int, datetime | None]] = field(default_factory=list)
    clean_ups: list[str] = field(default_factory=list)
    changes: list[str] = field(default_factory=list)
    waiting_lanes: int = 0
    is_unavailable: bool = False

    async def wake_lane(self, batch_id: str, api_key_id: str, *, lane: int = 0, at: datetime | None = None) -> None:
        self._refuse()
        if at:
            self.scheduled_lanes.append((batch_id, lane, at))
        elif lane:
            self.other_lanes.append((batch_id, lane))
        else:
            self.lanes.append(batch_id)

    async def wake_lanes(self, batches: Sequence[tuple[str, str]]) -> None:
        self._refuse()
        self.lanes += [batch_id for batch_id, _ in batches]

    async def wake_delivery(self, delivery_id: str, *, attempt: int, at: datetime | None = None) -> None:
        self._refuse()
        self.deliveries.append((delivery_id, attempt, at))

    async def wake_clean_up(self, batch_id: str) -> None:
        self._refuse()
        self.clean_ups.append(batch_id)

    async def wake_change(self, batch_id: str) -> None:
        self._refuse()
        self.changes.append(batch_id)

    async def waiting(self) -> int:
        self._refuse()
        return self.waiting_lanes

    def _refuse(self) -> None:
        if self.is_unavailable:
            raise QueueUnavailable("the queue of the test")


def manifest(urls: Iterable[str]) -> bytes:
    """Return a CSV with one product for each URL."""
    rows = [f'{number},Product {number},"{url}"' for number, url in enumerate(urls, start=1)]
    return "\r\n".join(["S. No.,Product Name,Input Image Urls", *rows]).encode()


async def submit_batch(
    resources: Resources, upload: Iterable[str] | bytes, *, queue: JobQueue | None = None, **fields: Any
) -> Batch:
    """Submit this CSV, or these URLs with one product each; `fields` are those of `Upload`."""
    accepted = await submit(
        Upload(upload if isinstance(upload, bytes) else manifest(upload), **fields),
        api_key_id=LOCAL_KEY,
        sessions=resources.sessions,
        queue=queue or resources.queue,
        retention=resources.retention,
        clock=resources.clock,
        limits=manifest_limits(resources.settings),
    )
    return accepted.batch


# -- row by row -------------------------------------------------------------------------------------------------------


def batch_row(batch_id: str, now: datetime, **values: Any) -> Batch:
    defaults: dict[str, Any] = {
        "id": batch_id, "api_key_id": LOCAL_KEY, "status": "pending", "specs": [Spec().model_dump(mode="json")],
        "manifest_sha256": "", "header": [], "url_column": 0, "encoding": "utf-8", "delimiter": ",", "warnings": [],
        "product_count": 0, "url_count": 0, "asset_count": 10, "created_at": now,
    }  # fmt: skip
    return Batch(**defaults | values)


def asset_row(batch_id: str, position: int, due_at: datetime, **values: Any) -> Asset:
    defaults: dict[str, Any] = {
        "batch_id": batch_id, "position": position, "origin_url": f"http://shop.example/{position}.jpg",
        "slug": "shoe", "status": "pending", "due_at": due_at, "updated_at": due_at,
    }  # fmt: skip
    return Asset(**defaults | values)


def delivery_row(delivery_id: str, batch_id: str, due_at: datetime, **values: Any) -> Delivery:
    defaults: dict[str, Any] = {
        "id": delivery_id, "batch_id": batch_id, "round": 1, "event_type": "batch.completed", "body": "{}",
        "url": "http://shop.example/hook", "status": "pending", "due_at": due_at, "created_at": due_at,
    }  # fmt: skip
    return Delivery(**defaults | values)


async def store(sessions: Sessions, *rows: Batch | Asset | Delivery) -> None:
    """Insert the rows in this order."""
    async with sessions.write() as session:
        for row in rows:
            session.add(row)
            if not isinstance(row, Asset):
                await session.flush()


# -- afterwards -------------------------------------------------------------------------------------------------------


async def snapshot(sessions: Sessions, batch_id: str) -> tuple[Batch, list[Asset]]:
    """Return a batch and its assets by position, from one transaction."""
    async with sessions.read() as session:
        batch = await batch_queries.get(session, batch_id)
        assert batch is not None
        return batch, list(await session.exec(_assets(batch_id)))


async def batch_of(sessions: Sessions, batch_id: str) -> Batch:
    return (await snapshot(sessions, batch_id))[0]


async def assets_of(sessions: Sessions, batch_id: str) -> list[Asset]:
    """Return the assets by position, including those of a deleted batch."""
    async with sessions.read() as session:
        return list(await session.exec(_assets(batch_id)))


def _assets(batch_id: str) -> SelectOfScalar[Asset]:
    return select(Asset).where(Asset.batch_id == batch_id).order_by(col(Asset.position))


async def deliveries_of(sessions: Sessions, batch_id: str) -> list[Delivery]:
    async with sessions.read() as session:
        return list(await session.exec(select(Delivery).where(Delivery.batch_id == batch_id)))


async def attempts_of(sessions: Sessions, delivery_id: str) -> list[DeliveryAttempt]:
    async with sessions.read() as session:
        return list(await delivery_queries.attempts(session, delivery_id))


async def consistent_batch(sessions: Sessions, batch_id: str) -> Batch:
    """Check that the batch's counters match its rows, and return the batch."""
    batch, assets = await snapshot(sessions, batch_id)
    counted = {status: sum(asset.status == status for asset in assets) for status in ("processing", "succeeded")}
    failed = [asset for asset in assets if asset.status == "failed"]
    assert (batch.asset_count, batch.cancelled) == (len(assets), sum(asset.status == "cancelled" for asset in assets))
    assert {"processing": batch.processing, "succeeded": batch.succeeded} == counted
    assert batch.failed == len(failed)
    codes = [asset.error_code for asset in failed]
    assert batch.errors == {code: codes.count(code) for code in codes}
    done = [asset for asset in assets if asset.status == "succeeded"]
    assert batch.input_bytes == sum(asset.input_bytes or 0 for asset in done)
    assert batch.output_bytes == sum(entry["bytes"] for asset in done for entry in asset.renditions or ())
    return batch
