"""Tidying a batch that has ended: what dead runs stored and no row names goes, and nothing else."""

import asyncio
from collections.abc import Callable

import pytest

from imgsvc.bootstrap import Resources
from imgsvc.errors import HttpStatusError, NotAnImage, StorageError
from imgsvc.services.processing.process_asset import AssetProcessor
from support.batches import ManualClock, RecordingQueue, assets_of, batch_of, consistent_batch, submit_batch
from support.lanes import work
from support.origin_server import OriginServer, image_bytes
from support.storage import EventfulInventory, media, put, stored
from support.verbs import cancel, clean_up, end_round, ended_batch, rendition_key, retry, sweep

TIDY_AFTER = 3_600
Ends = tuple[HttpStatusError | NotAnImage | None, ...]


async def due_for_tidying(parts: Resources, clock: ManualClock, *ends: HttpStatusError | NotAnImage | None) -> str:
    """The id of a batch that ended like this an hour ago, its rendition stored."""
    batch = await ended_batch(parts, *ends)
    await put(parts, rendition_key(batch.id, 0))
    clock.forward(TIDY_AFTER)
    return batch.id


async def test_old_files_that_nobody_names_go_and_the_named_stay(
    parts: Resources, queue: RecordingQueue, clock: ManualClock
) -> None:
    batch_id = await due_for_tidying(parts, clock, None, NotAnImage())
    left = [
        f"{batch_id}/0-shoe-ffffffff.jpg",  # another rendition of an asset that has one
        f"{batch_id}/1-shoe-0123abcd.jpg",  # of an asset that has failed
        f"{rendition_key(batch_id, 0)}#1",  # half a rendition: its writer was killed
        f"{batch_id}/7-shoe-0123abcd.jpg",
        f"{batch_id}/notes.txt",
    ]
    await put(parts, rendition_key("bat_other", 0), age=2 * TIDY_AFTER)
    for key in left:
        (media(parts) / key).write_bytes(b"left behind")
    await sweep(parts, queue)
    assert queue.clean_ups == [batch_id]
    await clean_up(parts, batch_id)
    assert stored(parts) == {rendition_key(batch_id, 0), rendition_key("bat_other", 0)}
    assert (await consistent_batch(parts.sessions, batch_id)).tidy_at is None
    queue.clean_ups.clear()
    await sweep(parts, queue)
    assert queue.clean_ups == []


async def test_nothing_is_removed_before_its_time(parts: Resources, queue: RecordingQueue, clock: ManualClock) -> None:
    batch_id = await due_for_tidying(parts, clock, None, NotAnImage())
    await put(parts, rendition_key(batch_id, 1), age=TIDY_AFTER)
    clock.forward(-1)
    await sweep(parts, queue)
    await clean_up(parts, batch_id)
    assert queue.clean_ups == []
    assert rendition_key(batch_id, 1) in stored(parts)


@pytest.mark.parametrize(("age", "stays"), [(TIDY_AFTER / 2 + 5, False), (TIDY_AFTER / 2 - 5, True), (0, True)])
async def test_young_files_stay_for_they_may_be_a_new_rounds(
    parts: Resources, clock: ManualClock, age: float, stays: bool
) -> None:
    batch_id = await due_for_tidying(parts, clock, None, NotAnImage())
    await put(parts, rendition_key(batch_id, 1), age=age)
    await clean_up(parts, batch_id)
    assert (rendition_key(batch_id, 1) in stored(parts)) is stays


async def test_a_storage_that_is_away_is_tidied_when_it_is_back(
    parts: Resources, queue: RecordingQueue, clock: ManualClock
) -> None:
    batch_id = await due_for_tidying(parts, clock, None, NotAnImage())
    await put(parts, rendition_key(batch_id, 1), age=TIDY_AFTER)
    folder = media(parts).rename(parts.settings.data_dir / "unmounted")
    with pytest.raises(StorageError):
        await clean_up(parts, batch_id)
    folder.rename(media(parts))
    await sweep(parts, queue)
    assert queue.clean_ups == [batch_id]
    await clean_up(parts, batch_id)
    assert stored(parts) == {rendition_key(batch_id, 0)}


# -- a new round meanwhile --------------------------------------------------------------------------------------------


async def test_a_batch_that_runs_again_is_left_alone(
    parts: Resources, queue: RecordingQueue, clock: ManualClock
) -> None:
    batch_id = await due_for_tidying(parts, clock, None, HttpStatusError(404))
    await put(parts, rendition_key(batch_id, 1), age=TIDY_AFTER)
    await retry(parts, batch_id)
    await sweep(parts, queue)
    await clean_up(parts, batch_id)
    assert queue.clean_ups == []
    assert rendition_key(batch_id, 1) in stored(parts)


@pytest.mark.parametrize("moment", ["listing", "removing"])
@pytest.mark.parametrize("ends_too", [False, True])
async def test_a_round_that_begins_while_it_is_tidied_keeps_what_it_stores_and_is_tidied_itself(
    parts: Resources, clock: ManualClock, moment: str, ends_too: bool
) -> None:
    batch_id = await due_for_tidying(parts, clock, None, HttpStatusError(404))
    await put(parts, f"{batch_id}/1-left-0123abcd.jpg", age=TIDY_AFTER)

    async def retried() -> None:
        await retry(parts, batch_id)
        await put(parts, rendition_key(batch_id, 1))
        if ends_too:
            await end_round(parts, batch_id, [None], round_number=2)

    happens: dict[str, Callable[[], object]] = {moment: retried}
    await clean_up(parts, batch_id, inventory=EventfulInventory(parts, **happens))  # type: ignore[arg-type]
    assert stored(parts) == {rendition_key(batch_id, 0), rendition_key(batch_id, 1)}
    batch = await consistent_batch(parts.sessions, batch_id)
    assert batch.tidy_at == (clock() + parts.retention.clean_up_after if ends_too else None)
    assert batch.round == 2


async def test_what_an_earlier_round_left_is_never_what_a_later_one_stores(
    parts: Resources, processor: AssetProcessor, origin: OriginServer
) -> None:
    """Otherwise a tidying process that was frozen between looking and removing would take it away."""
    batch = await submit_batch(parts, [origin.serve("/a.jpg", image_bytes())])
    await work(batch.id, parts, processor)
    [left] = stored(parts)
    gone = origin.url("/b.jpg")
    batch = await submit_batch(parts, [gone])
    await work(batch.id, parts, processor)
    await retry(parts, batch.id)
    origin.serve("/b.jpg", image_bytes())
    await work(batch.id, parts, processor)
    [asset] = await assets_of(parts.sessions, batch.id)
    [rendition] = asset.renditions or []
    first, second = left.rpartition("-")[2], rendition["key"].rpartition("-")[2]
    assert first != second
    assert stored(parts) == {left, rendition["key"]}


# -- at the same time -------------------------------------------------------------------------------------------------


async def test_many_tidyings_at_once_do_what_one_does(parts: Resources, clock: ManualClock) -> None:
    batch_id = await due_for_tidying(parts, clock, None, NotAnImage())
    await put(parts, *(f"{batch_id}/1-left-{number:08x}.jpg" for number in range(50)), age=TIDY_AFTER)
    await asyncio.gather(*(clean_up(parts, batch_id) for _ in range(5)))
    assert stored(parts) == {rendition_key(batch_id, 0)}
    assert (await batch_of(parts.sessions, batch_id)).tidy_at is None


async def test_what_a_cancelled_lane_stored_at_the_last_moment_goes_too(parts: Resources, clock: ManualClock) -> None:
    batch = await submit_batch(parts, ["http://shop.example/1.jpg", "http://shop.example/2.jpg"])
    await cancel(parts, batch.id)
    await put(parts, rendition_key(batch.id, 1))
    clock.forward(TIDY_AFTER)
    await clean_up(parts, batch.id)
    assert stored(parts) == set()
    assert (await consistent_batch(parts.sessions, batch.id)).cancelled == 2
