"""Stored files that several batches name: none is removed before the last of them, whatever happens meanwhile."""

import asyncio
import itertools
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from datetime import timedelta
from random import Random

import pytest

from imgsvc.bootstrap import Resources
from imgsvc.db.queries.leases import Claimed
from imgsvc.db.tables import Batch
from imgsvc.errors import NotFound
from imgsvc.services.batches.read import find_rendition
from imgsvc.services.batches.remove_files import LEASE, repeat_removals
from imgsvc.services.integrity.rules import Category
from imgsvc.services.ports import Stored
from imgsvc.services.processing import flush as flushing
from imgsvc.services.processing.outcomes import Succeeded
from support.audits import audit_of, violations
from support.batches import ManualClock, RecordingQueue, batch_of, submit_batch
from support.lanes import plan_of
from support.storage import media_folder, put, stored
from support.verbs import clean_up, delete, succeeded

URL = "http://shop.example/shoe.jpg"
TIDY_AFTER = 3_600


@pytest.fixture
def database_kind() -> str:
    return "sqlite"  # each step is a transaction of its own; the last test runs them at once, on Postgres


async def shared_key(resources: Resources) -> str:
    return f"{await media_folder(resources)}/shoe-1-aaaaaaaaaaaaaaaa.jpg"


async def name_file(resources: Resources, key: str) -> Batch:
    """Return a finished batch of one image, which is stored under `key`."""
    batch = await submit_batch(resources, [URL], queue=RecordingQueue())
    await run(writer(resources, batch.id, key))
    return await batch_of(resources.sessions, batch.id)


async def writer(resources: Resources, batch_id: str, key: str) -> AsyncGenerator[None, None]:
    """Process the only image of a batch, until it has succeeded; pause where another process may come between."""
    while (await batch_of(resources.sessions, batch_id)).status in ("pending", "processing"):
        now = flushing.Run(await plan_of(batch_id, resources), "token", timedelta(seconds=60))
        claimed = await flush(resources, now, claim=1)
        yield
        if claimed:
            await put(resources, key)
            yield
            await flush(resources, now, succeeded(batch_id, claimed[0], key=key, size=9))
        yield
        assert isinstance(resources.clock, ManualClock)
        resources.clock.forward(2)


async def flush(resources: Resources, now: flushing.Run, *outcomes: Succeeded, claim: int = 0) -> Sequence[Claimed]:
    flushed = await flushing.flush(
        now,
        outcomes,
        claim={0: claim} if claim else {},
        sessions=resources.sessions,
        retention=resources.retention,
        clock=resources.clock,
    )
    return flushed.claimed if flushed else []


class SteppedInventory:
    """The port Inventory; a removal pauses before and after the files go."""

    def __init__(self, resources: Resources) -> None:
        self._storage = resources.storage
        self._turn = asyncio.Semaphore(0)
        self._paused = asyncio.Semaphore(0)

    def list(self, prefix: str) -> AsyncIterator[Sequence[Stored]]:
        return self._storage.list(prefix)

    async def remove(self, keys: Sequence[str]) -> None:
        await self._pause()
        await self._storage.remove(keys)
        await self._pause()

    async def _pause(self) -> None:
        self._paused.release()
        await self._turn.acquire()

    async def steps(self, work: Callable[[], Awaitable[None]]) -> AsyncGenerator[None, None]:
        """Do `work`, pausing with it; closed early, its process dies there."""
        task = asyncio.ensure_future(work())
        try:
            while True:
                paused = asyncio.ensure_future(self._paused.acquire())
                await asyncio.wait([task, paused], return_when=asyncio.FIRST_COMPLETED)
                if not paused.done():
                    paused.cancel()
                    await task
                    return
                yield
                self._turn.release()
        finally:
            task.cancel()
            await asyncio.wait([task])


def deleter(resources: Resources, batch_id: str) -> AsyncGenerator[None, None]:
    """Delete the batch, or go on with its removal if it is deleted already."""
    inventory = SteppedInventory(resources)

    async def work() -> None:
        try:
            await delete(resources, batch_id, inventory=inventory)
        except NotFound:
            await clean_up(resources, batch_id, inventory=inventory)

    return inventory.steps(work)


async def run(actor: AsyncGenerator[None, None]) -> None:
    async for _ in actor:
        pass


async def repeat(resources: Resources, clock: ManualClock) -> None:
    """Sweep after the lease of a removal, as often as it may take."""
    clock.forward(LEASE.total_seconds() + 1)
    await repeat_removals(
        sessions=resources.sessions,
        inventory=resources.storage,
        clock=clock,
        forget_after=timedelta(seconds=TIDY_AFTER),
    )


async def assert_consistent(resources: Resources, clock: ManualClock, key: str, *batch_ids: str) -> None:
    """Check that the file is stored and found as long as one of these batches names it, and then gone."""
    assert stored(resources) == ({key} if batch_ids else set())
    if batch_ids:
        assert (await find_rendition(key, sessions=resources.sessions))["key"] == key
    else:
        with pytest.raises(NotFound):
            await find_rendition(key, sessions=resources.sessions)
    clock.forward(1)
    found = violations(await audit_of(resources, grace=0))
    found.pop(Category.OVERDUE, None)  # the clean-ups of batches, which the clock has passed
    assert found == {}


async def test_a_file_is_stored_once_and_goes_with_the_last_batch_that_names_it(
    resources: Resources, clock: ManualClock
) -> None:
    key = await shared_key(resources)
    first, second = await name_file(resources, key), await name_file(resources, key)
    await delete(resources, first.id)
    await assert_consistent(resources, clock, key, second.id)
    await delete(resources, second.id)
    await assert_consistent(resources, clock, key)


async def test_a_deleted_batch_hides_its_files_at_once_but_not_those_of_others(
    resources: Resources, clock: ManualClock
) -> None:
    key = await shared_key(resources)
    first, second = await name_file(resources, key), await name_file(resources, key)
    step = deleter(resources, second.id)
    await run(step)
    assert (await find_rendition(key, sessions=resources.sessions))["key"] == key
    step = deleter(resources, first.id)
    await anext(step)  # before the file is removed
    assert stored(resources) == {key}
    with pytest.raises(NotFound):
        await find_rendition(key, sessions=resources.sessions)
    await run(step)


ORDERS = sorted({"".join(order) for order in itertools.permutations("AAADDD")})
"""Every order of three steps of a writer and three of a deleter."""


@pytest.mark.parametrize("dies", [False, True], ids=["", "the deleter dies"])
@pytest.mark.parametrize("order", ORDERS)
async def test_an_image_that_is_stored_during_the_removal_of_the_same_bytes(
    resources: Resources, clock: ManualClock, order: str, dies: bool
) -> None:
    """A batch stores the bytes that the deleted batch was the last to name: every order of their steps."""
    key = await shared_key(resources)
    old = await name_file(resources, key)
    new = await submit_batch(resources, [URL], queue=RecordingQueue())
    cut = next((at for at in range(1, 7) if dies and order[:at].count("D") == 2), 6)
    actors = {"A": writer(resources, new.id, key), "D": deleter(resources, old.id)}
    for name in order[:cut]:
        await anext(actors[name], None)
    if dies:
        await actors["D"].aclose()
        del actors["D"]
        await repeat(resources, clock)
    for name in order[cut:]:
        if name in actors:
            await anext(actors[name], None)
    for actor in actors.values():
        await run(actor)
    await delete_again(resources, old.id, clock)
    await assert_consistent(resources, clock, key, new.id)
    await delete(resources, new.id)
    await assert_consistent(resources, clock, key)


async def delete_again(resources: Resources, batch_id: str, clock: ManualClock) -> None:
    """Clean up a deleted batch to its end."""
    await clean_up(resources, batch_id)
    clock.forward(TIDY_AFTER)
    await clean_up(resources, batch_id)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(40))
async def test_two_batches_that_store_what_two_others_were_the_last_to_name(
    resources: Resources, clock: ManualClock, seed: int
) -> None:
    rng, key = Random(seed), await shared_key(resources)
    old = [await name_file(resources, key) for _ in range(2)]
    new = [await submit_batch(resources, [URL], queue=RecordingQueue()) for _ in range(2)]
    actors = {
        **{f"A{n}": writer(resources, batch.id, key) for n, batch in enumerate(new)},
        **{f"D{n}": deleter(resources, batch.id) for n, batch in enumerate(old)},
    }
    for _ in range(30):
        name = rng.choice(sorted(actors))
        if name[0] == "D" and rng.random() < 0.2:
            await actors.pop(name).aclose()  # it dies
            actors[name] = deleter(resources, old[int(name[1])].id)
        elif rng.random() < 0.1:
            await repeat(resources, clock)
        else:
            await anext(actors[name], None)
    for actor in actors.values():
        await run(actor)
    for batch in old:
        await delete_again(resources, batch.id, clock)
    await repeat(resources, clock)
    await assert_consistent(resources, clock, key, *(batch.id for batch in new))
    for batch in new:
        await delete(resources, batch.id)
    await assert_consistent(resources, clock, key)


# -- what dead runs leave ---------------------------------------------------------------------------------------------


async def with_a_dead_run(resources: Resources, clock: ManualClock, key: str) -> Batch:
    """Return a finished batch whose image another run claimed first, and never wrote."""
    batch = await submit_batch(resources, [URL], queue=RecordingQueue())
    assert await flush(
        resources, flushing.Run(await plan_of(batch.id, resources), "dead", timedelta(seconds=60)), claim=1
    )
    clock.forward(61)
    await run(writer(resources, batch.id, key))
    return await batch_of(resources.sessions, batch.id)


@pytest.mark.parametrize(("age", "stays"), [(0, True), (TIDY_AFTER, False)], ids=["young", "old"])
async def test_a_file_that_a_dead_run_left_is_removed_when_it_is_old(
    resources: Resources, clock: ManualClock, age: float, stays: bool
) -> None:
    """It may be that of a run that has not written its outcome yet; the next clean-up looks again."""
    key = await shared_key(resources)
    left = key.replace("shoe-1", "boot-1")
    batch = await with_a_dead_run(resources, clock, key)
    clock.forward(TIDY_AFTER)
    await put(resources, left, age=age)
    await clean_up(resources, batch.id)
    assert stored(resources) == ({key, left} if stays else {key})
    assert ((await batch_of(resources.sessions, batch.id)).tidy_at is not None) == stays


async def test_no_folder_is_listed_after_a_batch_without_dead_runs(resources: Resources, clock: ManualClock) -> None:
    """It may have millions of files."""
    key = await shared_key(resources)
    left = key.replace("shoe-1", "boot-1")
    batch = await name_file(resources, key)
    clock.forward(TIDY_AFTER)
    await put(resources, left, age=TIDY_AFTER)
    await clean_up(resources, batch.id)
    assert stored(resources) == {key, left}


async def test_a_file_stored_after_the_deletion_of_a_batch_is_removed(resources: Resources, clock: ManualClock) -> None:
    key = await shared_key(resources)
    batch = await name_file(resources, key)
    await delete(resources, batch.id)
    await put(resources, key)  # by a run that was frozen
    clock.forward(TIDY_AFTER)
    await clean_up(resources, batch.id)
    assert stored(resources) == set()
