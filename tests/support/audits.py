"""A service with data, and the integrity audit of it."""

from dataclasses import dataclass
from datetime import timedelta

from imgsvc.bootstrap import Resources
from imgsvc.db.queries.api_keys import LOCAL_KEY
from imgsvc.domain.imaging.spec import Spec
from imgsvc.services.batches.delete import clean_up_batch, delete_batch
from imgsvc.services.integrity.audit import Audit, run_audit
from imgsvc.services.integrity.rules import Category
from imgsvc.services.ports import Inventory
from imgsvc.services.processing.process_asset import AssetProcessor
from support.api_calls import write
from support.batches import ManualClock, RecordingQueue, deliveries_of, submit_batch
from support.deliveries import deliver
from support.lanes import work
from support.origin_server import OriginServer, WebhookListener, image_bytes

HOUR = 3_600
SPECS = (Spec(), Spec(name="thumb", max_width=20))


async def audit_of(resources: Resources, *, grace: float = HOUR, inventory: Inventory | None = None) -> Audit:
    return await run_audit(
        sessions=resources.sessions,
        inventory=inventory or resources.storage,
        clock=resources.clock,
        grace=timedelta(seconds=grace),
    )


@dataclass
class AuditedService:
    """A service with one batch: two images with two renditions each, one failed; ended, announced and cleaned up."""

    resources: Resources
    batch_id: str
    clock: ManualClock

    async def audit(self, *, grace: float = HOUR, inventory: Inventory | None = None) -> Audit:
        return await audit_of(self.resources, grace=grace, inventory=inventory)

    async def execute(self, statement: str) -> None:
        await write(self.resources.settings, statement)

    async def keys(self) -> list[str]:
        pages = [page async for page in self.resources.storage.list("")]
        return sorted(stored.key for page in pages for stored in page)

    async def put(self, key: str, data: bytes = b"data") -> None:
        await self.resources.storage.put(key, data, media_type="image/jpeg")

    async def clean_up(self, batch_id: str = "") -> None:
        await clean_up_batch(
            batch_id or self.batch_id,
            sessions=self.resources.sessions,
            inventory=self.resources.storage,
            clock=self.clock,
            clean_up_after=self.resources.retention.clean_up_after,
        )

    async def delete(self, batch_id: str = "") -> None:
        await delete_batch(
            batch_id or self.batch_id,
            api_key_id=LOCAL_KEY,
            sessions=self.resources.sessions,
            inventory=self.resources.storage,
            queue=RecordingQueue(),
            clock=self.clock,
            clean_up_after=self.resources.retention.clean_up_after,
        )


async def open_audited_service(
    resources: Resources, processor: AssetProcessor, origin: OriginServer, listener: WebhookListener, clock: ManualClock
) -> AuditedService:
    urls = [
        origin.serve("/shoe.jpg", image_bytes(64, 40)),
        origin.serve("/hat.jpg", image_bytes(48, 48)),
        origin.url("/gone"),
    ]
    hook = listener.url("/hook")
    batch = await submit_batch(resources, urls, specs=SPECS, webhook_url=hook, idempotency_key="order 1")
    await work(batch.id, resources, processor)
    [delivery] = await deliveries_of(resources.sessions, batch.id)
    await deliver(resources, delivery, queue=RecordingQueue())
    clock.forward(HOUR + 1)
    shop = AuditedService(resources, batch.id, clock)
    await shop.clean_up()
    clock.forward(HOUR)
    return shop


def violations(audit: Audit) -> dict[Category, list[str]]:
    """Return the examples of each category that has violations."""
    return {category: found.examples for category, found in audit.violations.items() if found.total}
