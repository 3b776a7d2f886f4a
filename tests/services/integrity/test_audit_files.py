"""The deep check of files: what is missing, cut or left over is named, and nothing that changes meanwhile."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass

import pytest

from imgsvc.services.integrity.rules import Category
from imgsvc.services.ports import Inventory, Stored
from imgsvc.services.processing.process_asset import AssetProcessor
from support.audits import HOUR, Shop, violations
from support.batches import RecordingQueue, submit_batch
from support.lanes import work
from support.origin_server import OriginServer, image_bytes

pytestmark = pytest.mark.slow

# -- faults of the storage --------------------------------------------------------------------------------------------


async def test_a_rendition_that_is_not_there_is_named(shop: Shop) -> None:
    key = (await shop.keys())[1]
    await shop.parts.storage.remove([key])
    assert violations(await shop.audit()) == {Category.RENDITIONS: [f"{key} is not in the storage"]}


async def test_a_rendition_of_another_size_is_named(shop: Shop) -> None:
    key = (await shop.keys())[0]
    await shop.put(key, b"cut")
    [fault] = violations(await shop.audit())[Category.RENDITIONS]
    assert fault.startswith(f"{key} has 3 bytes instead of ")


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
async def test_a_file_that_no_image_names_is_left_over_once_it_is_old(shop: Shop, name: str) -> None:
    key = name.format(batch=shop.batch_id)
    path = shop.parts.settings.data_dir / "media" / key
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"left")
    assert violations(await shop.audit(grace=4 * HOUR)) == {}
    [fault] = violations(await shop.audit())[Category.LEFTOVERS]
    assert fault.startswith(f"{key} (4 bytes, ")


async def test_what_is_still_to_be_tidied_is_no_leftover_yet(shop: Shop, queue: RecordingQueue) -> None:
    """Of a batch that runs, has just ended, or was just deleted, however old the file is."""
    for batch_id in [(await submit_batch(shop.parts, ["http://127.0.0.1/1.jpg"], queue=queue)).id, shop.batch_id]:
        await shop.put(f"{batch_id}/0-shoe-00000000.jpg")
    await shop.execute(f"UPDATE batch SET tidy_at = '2090-01-01 00:00:00.000000' WHERE id = '{shop.batch_id}'")
    assert violations(await shop.audit()) == {}
    await shop.execute(f"UPDATE batch SET tidy_at = NULL WHERE id = '{shop.batch_id}'")
    assert set(violations(await shop.audit())) == {Category.LEFTOVERS}


async def test_what_a_deletion_should_have_removed_long_ago_is_left_over(shop: Shop) -> None:
    await shop.execute("DELETE FROM idempotency_key")
    await shop.execute("UPDATE batch SET deleted_at = finished_at, tidy_at = finished_at")
    faults = violations(await shop.audit())
    assert set(faults) == {Category.OVERDUE, Category.LEFTOVERS}
    assert len(faults[Category.LEFTOVERS]) == 4


# -- what changes meanwhile -------------------------------------------------------------------------------------------


@dataclass
class Meanwhile:
    """The port Inventory; something happens once, just before `folder` is listed or just after."""

    inner: Inventory
    happens: Callable[[], Awaitable[object]]
    before: bool
    folder: str = ""
    is_over: bool = False

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
        if prefix == self.folder and not self.is_over:
            self.is_over = True
            await self.happens()


@pytest.fixture(params=[True, False], ids=["before the listing", "after the listing"])
def before(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


async def test_a_batch_that_is_deleted_meanwhile_misses_nothing(shop: Shop, before: bool) -> None:
    inventory = Meanwhile(shop.parts.storage, shop.delete, before)
    assert violations(await shop.audit(inventory=inventory)) == {}
    assert await shop.keys() == []


async def test_a_batch_that_is_deleted_during_the_closer_look_misses_nothing(shop: Shop, before: bool) -> None:
    await shop.parts.storage.remove([(await shop.keys())[0]])  # or there were no reason for one
    inventory = Meanwhile(shop.parts.storage, shop.delete, before, folder=f"{shop.batch_id}/")
    assert violations(await shop.audit(inventory=inventory)) == {}
    assert inventory.is_over


async def test_a_batch_whose_last_row_goes_meanwhile_leaves_nothing(shop: Shop, before: bool) -> None:
    async def all_of_it() -> None:
        await shop.delete()
        shop.clock.forward(2 * HOUR)
        await shop.clean_up()

    inventory = Meanwhile(shop.parts.storage, all_of_it, before)
    assert violations(await shop.audit(inventory=inventory)) == {}
    assert (await shop.audit()).batches == 0


async def test_what_is_tidied_away_meanwhile_is_no_leftover(shop: Shop, before: bool) -> None:
    await shop.put(f"{shop.batch_id}/0-shoe-00000000.jpg")
    await shop.execute("UPDATE batch SET tidy_at = '2090-01-01 00:00:00.000000'")

    async def cleaned_up() -> None:
        await shop.parts.storage.remove([f"{shop.batch_id}/0-shoe-00000000.jpg"])
        await shop.execute("UPDATE batch SET tidy_at = NULL")

    assert violations(await shop.audit(inventory=Meanwhile(shop.parts.storage, cleaned_up, before))) == {}


async def test_what_is_stored_meanwhile_is_no_leftover(
    shop: Shop, processor: AssetProcessor, origin: OriginServer, before: bool
) -> None:
    """Neither of a batch that was there before, nor of one that came since; with no time to spare."""
    url = origin.serve("/late.jpg", image_bytes(32, 32))
    earlier = await submit_batch(shop.parts, [url])

    async def worked_off() -> None:
        await work(earlier.id, shop.parts, processor)
        await work((await submit_batch(shop.parts, [url])).id, shop.parts, processor)

    done = await shop.audit(grace=0, inventory=Meanwhile(shop.parts.storage, worked_off, before))
    assert {part: faults for part, faults in violations(done).items() if part != Category.OVERDUE} == {}
