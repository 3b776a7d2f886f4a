"""The audit of files: missing, truncated and leftover files are reported, but not those that change meanwhile."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass

import pytest

from imgsvc.services.integrity.rules import Category
from imgsvc.services.ports import Inventory, Stored
from imgsvc.services.processing.process_asset import AssetProcessor
from support.audits import HOUR, AuditedService, violations
from support.batches import RecordingQueue, submit_batch
from support.lanes import work
from support.origin_server import OriginServer, image_bytes

pytestmark = pytest.mark.slow

# -- violations in the storage ----------------------------------------------------------------------------------------


async def test_a_missing_rendition_is_reported(shop: AuditedService) -> None:
    key = (await shop.keys())[1]
    await shop.resources.storage.remove([key])
    assert violations(await shop.audit()) == {Category.RENDITIONS: [f"{key} is not in the storage"]}


async def test_a_rendition_of_another_size_is_reported(shop: AuditedService) -> None:
    key = (await shop.keys())[0]
    await shop.put(key, b"cut")
    [line] = violations(await shop.audit())[Category.RENDITIONS]
    assert line.startswith(f"{key} has 3 bytes instead of ")


@pytest.mark.parametrize(
    "name",
    [
        "{batch}/0-shoe-00000000.jpg",
        "{batch}/0-shoe-00000000.jpg#1",
        "{batch}/9-shoe-00000000.jpg",
        "bat_00000000000000000000000000/0-shoe-00000000.jpg",
        "notes.txt",
    ],
)
async def test_an_old_unreferenced_file_is_a_leftover(shop: AuditedService, name: str) -> None:
    key = name.format(batch=shop.batch_id)
    path = shop.resources.settings.data_dir / "media" / key
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"left")
    assert violations(await shop.audit(grace=4 * HOUR)) == {}
    [line] = violations(await shop.audit())[Category.LEFTOVERS]
    assert line.startswith(f"{key} (4 bytes, ")


async def test_a_file_awaiting_its_clean_up_is_not_a_leftover(shop: AuditedService, queue: RecordingQueue) -> None:
    """Check old files of a batch that is open, and of one that has just ended or was just deleted."""
    for batch_id in [(await submit_batch(shop.resources, ["http://127.0.0.1/1.jpg"], queue=queue)).id, shop.batch_id]:
        await shop.put(f"{batch_id}/0-shoe-00000000.jpg")
    await shop.execute(f"UPDATE batch SET tidy_at = '2090-01-01 00:00:00.000000' WHERE id = '{shop.batch_id}'")
    assert violations(await shop.audit()) == {}
    await shop.execute(f"UPDATE batch SET tidy_at = NULL WHERE id = '{shop.batch_id}'")
    assert set(violations(await shop.audit())) == {Category.LEFTOVERS}


async def test_files_of_a_long_deleted_batch_are_leftovers(shop: AuditedService) -> None:
    await shop.execute("DELETE FROM idempotency_key")
    await shop.execute("UPDATE batch SET deleted_at = finished_at, tidy_at = finished_at")
    found = violations(await shop.audit())
    assert set(found) == {Category.OVERDUE, Category.LEFTOVERS}
    assert len(found[Category.LEFTOVERS]) == 4


# -- concurrent changes -----------------------------------------------------------------------------------------------


@dataclass
class ChangingInventory:
    """An Inventory that runs `event` once, just before `folder` is listed or just after."""

    inner: Inventory
    event: Callable[[], Awaitable[object]]
    before: bool
    folder: str = ""
    is_done: bool = False

    async def list(self, prefix: str) -> AsyncIterator[Sequence[Stored]]:
        if self.before:
            await self._once(prefix)
        pages = [page async for page in self.inner.list(prefix)]
        await self._once(prefix)
        for page in pages:
            yield page

    async def remove(self, keys: Sequence[str]) -> None:
        await self.inner.remove(keys)

    async def _once(self, prefix: str) -> None:
        if prefix == self.folder and not self.is_done:
            self.is_done = True
            await self.event()


@pytest.fixture(params=[True, False], ids=["before the listing", "after the listing"])
def before(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


async def test_a_batch_deleted_during_the_audit_has_no_missing_files(shop: AuditedService, before: bool) -> None:
    inventory = ChangingInventory(shop.resources.storage, shop.delete, before)
    assert violations(await shop.audit(inventory=inventory)) == {}
    assert await shop.keys() == []


async def test_a_batch_deleted_during_the_second_check_has_no_missing_files(shop: AuditedService, before: bool) -> None:
    [key, *_] = await shop.keys()
    await shop.resources.storage.remove([key])  # the reason for a second check
    folder = key.partition("/")[0] + "/"
    inventory = ChangingInventory(shop.resources.storage, shop.delete, before, folder=folder)
    assert violations(await shop.audit(inventory=inventory)) == {}
    assert inventory.is_done


async def test_a_batch_removed_during_the_audit_has_no_leftovers(shop: AuditedService, before: bool) -> None:
    async def remove_all() -> None:
        await shop.delete()
        shop.clock.forward(2 * HOUR)
        await shop.clean_up()

    inventory = ChangingInventory(shop.resources.storage, remove_all, before)
    assert violations(await shop.audit(inventory=inventory)) == {}
    assert (await shop.audit()).batches == 0


async def test_a_file_removed_during_the_audit_is_not_a_leftover(shop: AuditedService, before: bool) -> None:
    await shop.put(f"{shop.batch_id}/0-shoe-00000000.jpg")
    await shop.execute("UPDATE batch SET tidy_at = '2090-01-01 00:00:00.000000'")

    async def clean_up() -> None:
        await shop.resources.storage.remove([f"{shop.batch_id}/0-shoe-00000000.jpg"])
        await shop.execute("UPDATE batch SET tidy_at = NULL")

    assert violations(await shop.audit(inventory=ChangingInventory(shop.resources.storage, clean_up, before))) == {}


async def test_a_file_stored_during_the_audit_is_not_a_leftover(
    shop: AuditedService, processor: AssetProcessor, origin: OriginServer, before: bool
) -> None:
    """Check files of an earlier batch and of a new one, without any grace period."""
    url = origin.serve("/late.jpg", image_bytes(32, 32))
    earlier = await submit_batch(shop.resources, [url])

    async def process_batches() -> None:
        await work(earlier.id, shop.resources, processor)
        await work((await submit_batch(shop.resources, [url])).id, shop.resources, processor)

    audit = await shop.audit(grace=0, inventory=ChangingInventory(shop.resources.storage, process_batches, before))
    found = violations(audit).items()
    assert {category: lines for category, lines in found if category != Category.OVERDUE} == {}
