"""Clean-up of a finished batch: files that dead runs stored and no row refers to are removed, and nothing else."""

import asyncio
from collections.abc import Callable

import pytest

from imgsvc.bootstrap import Resources
from imgsvc.errors import HttpStatusError, NotAnImage, StorageError
from support.batches import ManualClock, RecordingQueue, batch_of, consistent_batch, submit_batch
from support.storage import EventfulInventory, media, put, stored
from support.verbs import cancel, clean_up, end_round, ended_batch, rendition_key, retry, sweep

TIDY_AFTER = 3_600
Ends = tuple[HttpStatusError | NotAnImage | None, ...]


async def due_for_clean_up(resources: Resources, clock: ManualClock, *ends: HttpStatusError | NotAnImage | None) -> str:
    """Return the id of a batch that ended with `ends` an hour ago, with its rendition stored."""
    batch = await ended_batch(resources, *ends)
    await put(resources, rendition_key(batch.id, 0))
    clock.forward(TIDY_AFTER)
    return batch.id


async def test_old_unreferenced_files_are_removed_and_referenced_ones_stay(
    resources: Resources, queue: RecordingQueue, clock: ManualClock
) -> None:
    batch_id = await due_for_clean_up(resources, clock, None, NotAnImage())
    leftovers = [
        f"{batch_id}/0-shoe-ffffffff.jpg",  # another rendition of an asset that has one
        f"{batch_id}/1-shoe-0123abcd.jpg",  # of a failed asset
        f"{rendition_key(batch_id, 0)}#1",  # an incomplete rendition: its writer was killed
        f"{batch_id}/7-shoe-0123abcd.jpg",
        f"{batch_id}/notes.txt",
    ]
    await put(resources, rendition_key("bat_other", 0), age=2 * TIDY_AFTER)
    for key in leftovers:
        (media(resources) / key).write_bytes(b"left behind")
    await sweep(resources, queue)
    assert queue.clean_ups == [batch_id]
    await clean_up(resources, batch_id)
    assert stored(resources) == {rendition_key(batch_id, 0), rendition_key("bat_other", 0)}
    assert (await consistent_batch(resources.sessions, batch_id)).tidy_at is None
    queue.clean_ups.clear()
    await sweep(resources, queue)
    assert queue.clean_ups == []


async def test_nothing_is_removed_before_its_time(
    resources: Resources, queue: RecordingQueue, clock: ManualClock
) -> None:
    batch_id = await due_for_clean_up(resources, clock, None, NotAnImage())
    await put(resources, rendition_key(batch_id, 1), age=TIDY_AFTER)
    clock.forward(-1)
    await sweep(resources, queue)
    await clean_up(resources, batch_id)
    assert queue.clean_ups == []
    assert rendition_key(batch_id, 1) in stored(resources)


@pytest.mark.parametrize(("age", "stays"), [(TIDY_AFTER / 2 + 5, False), (TIDY_AFTER / 2 - 5, True), (0, True)])
async def test_young_files_stay_because_a_new_round_may_own_them(
    resources: Resources, clock: ManualClock, age: float, stays: bool
) -> None:
    batch_id = await due_for_clean_up(resources, clock, None, NotAnImage())
    await put(resources, rendition_key(batch_id, 1), age=age)
    await clean_up(resources, batch_id)
    assert (rendition_key(batch_id, 1) in stored(resources)) is stays


async def test_a_clean_up_is_repeated_when_the_storage_is_back(
    resources: Resources, queue: RecordingQueue, clock: ManualClock
) -> None:
    batch_id = await due_for_clean_up(resources, clock, None, NotAnImage())
    await put(resources, rendition_key(batch_id, 1), age=TIDY_AFTER)
    folder = media(resources).rename(resources.settings.data_dir / "unmounted")
    with pytest.raises(StorageError):
        await clean_up(resources, batch_id)
    folder.rename(media(resources))
    await sweep(resources, queue)
    assert queue.clean_ups == [batch_id]
    await clean_up(resources, batch_id)
    assert stored(resources) == {rendition_key(batch_id, 0)}


# -- new rounds -------------------------------------------------------------------------------------------------------


async def test_a_batch_in_a_new_round_is_not_cleaned_up(
    resources: Resources, queue: RecordingQueue, clock: ManualClock
) -> None:
    batch_id = await due_for_clean_up(resources, clock, None, HttpStatusError(404))
    await put(resources, rendition_key(batch_id, 1), age=TIDY_AFTER)
    await retry(resources, batch_id)
    await sweep(resources, queue)
    await clean_up(resources, batch_id)
    assert queue.clean_ups == []
    assert rendition_key(batch_id, 1) in stored(resources)


@pytest.mark.parametrize("moment", ["listing", "removing"])
@pytest.mark.parametrize("round_ends", [False, True])
async def test_a_round_that_begins_during_a_clean_up_keeps_its_files(
    resources: Resources, clock: ManualClock, moment: str, round_ends: bool
) -> None:
    batch_id = await due_for_clean_up(resources, clock, None, HttpStatusError(404))
    await put(resources, f"{batch_id}/1-left-0123abcd.jpg", age=TIDY_AFTER)

    async def start_new_round() -> None:
        await retry(resources, batch_id)
        await put(resources, rendition_key(batch_id, 1))
        if round_ends:
            await end_round(resources, batch_id, [None], round_number=2)

    events: dict[str, Callable[[], object]] = {moment: start_new_round}
    await clean_up(resources, batch_id, inventory=EventfulInventory(resources, **events))  # type: ignore[arg-type]
    assert stored(resources) == {rendition_key(batch_id, 0), rendition_key(batch_id, 1)}
    batch = await consistent_batch(resources.sessions, batch_id)
    assert batch.tidy_at == (clock() + resources.retention.clean_up_after if round_ends else None)
    assert batch.round == 2


# -- concurrency ------------------------------------------------------------------------------------------------------


async def test_concurrent_clean_ups_have_the_effect_of_one(resources: Resources, clock: ManualClock) -> None:
    batch_id = await due_for_clean_up(resources, clock, None, NotAnImage())
    await put(resources, *(f"{batch_id}/1-left-{number:08x}.jpg" for number in range(50)), age=TIDY_AFTER)
    await asyncio.gather(*(clean_up(resources, batch_id) for _ in range(5)))
    assert stored(resources) == {rendition_key(batch_id, 0)}
    assert (await batch_of(resources.sessions, batch_id)).tidy_at is None


async def test_a_file_stored_after_the_cancellation_is_removed(resources: Resources, clock: ManualClock) -> None:
    batch = await submit_batch(resources, ["http://shop.example/1.jpg", "http://shop.example/2.jpg"])
    await cancel(resources, batch.id)
    await put(resources, rendition_key(batch.id, 1))
    clock.forward(TIDY_AFTER)
    await clean_up(resources, batch.id)
    assert stored(resources) == set()
    assert (await consistent_batch(resources.sessions, batch.id)).cancelled == 2
