"""Earlier results: the newest is found, those of deleted batches are not, and batches do not disturb one another."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from imgsvc.db.engine import Sessions
from imgsvc.db.queries import deletions, reuse
from imgsvc.db.queries.reuse import Result
from support.batches import asset_row, batch_row, store

NOW = datetime(2026, 11, 2, 9, 30, tzinfo=UTC)
HASHES = [f"{number:02x}" * 32 for number in range(40)]


async def succeed(sessions: Sessions, batch_id: str, hashes: Sequence[str | None]) -> None:
    """Store a finished batch with one asset for each hash, and note its results."""
    values = {
        "status": "succeeded", "input_format": "jpeg", "width": 1, "height": 1, "input_bytes": 1, "renditions": [],
        "etag": batch_id, "final_url_hash": "f" * 64,
    }  # fmt: skip
    assets = [asset_row(batch_id, at, NOW, reuse_hash=each, **values) for at, each in enumerate(hashes)]
    await store(sessions, batch_row(batch_id, NOW, status="completed"), *assets)
    async with sessions.write() as session:
        await reuse.note_results(session, batch_id, [Result(at, each) for at, each in enumerate(hashes)])


async def found(sessions: Sessions, hashes: list[str]) -> dict[str, str | None]:
    """Return the batch of each earlier result, which its entity tag names."""
    async with sessions.read() as session:
        return {each: result.etag for each, result in (await reuse.previous_results(session, hashes)).items()}


async def test_only_noted_results_are_found_by_their_hash(sessions: Sessions) -> None:
    await succeed(sessions, "bat_1", [HASHES[0], None, HASHES[1]])
    assert await found(sessions, HASHES[:3]) == {HASHES[0]: "bat_1", HASHES[1]: "bat_1"}
    assert await found(sessions, []) == {}


@pytest.mark.parametrize("order", [["bat_1", "bat_2"], ["bat_2", "bat_1"]])
async def test_the_result_of_the_newest_batch_is_found_whichever_ends_last(
    sessions: Sessions, order: list[str]
) -> None:
    for batch_id in order:
        await succeed(sessions, batch_id, HASHES[:2])
    assert await found(sessions, HASHES[:2]) == dict.fromkeys(HASHES[:2], "bat_2")


async def test_a_hash_with_the_same_first_half_is_another(sessions: Sessions) -> None:
    await succeed(sessions, "bat_1", [HASHES[1]])
    assert await found(sessions, [HASHES[1][:32] + HASHES[2][:32]]) == {}


async def test_results_of_a_deleted_batch_are_not_found(sessions: Sessions) -> None:
    await succeed(sessions, "bat_1", HASHES[:2])
    async with sessions.write() as session:
        await deletions.soft_delete(session, ["bat_1"], NOW)
    assert await found(sessions, HASHES[:2]) == {}


async def test_removing_a_batch_forgets_its_results_and_no_others(sessions: Sessions) -> None:
    await succeed(sessions, "bat_1", HASHES[:3])
    await succeed(sessions, "bat_2", HASHES[2:5])
    async with sessions.write() as session:
        assert await deletions.remove_assets(session, "bat_1") is not None
        assert await deletions.remove_assets(session, "bat_1") is None
    assert await found(sessions, HASHES[:6]) == dict.fromkeys(HASHES[2:5], "bat_2")
    await succeed(sessions, "bat_0", HASHES[:2])  # older, but nothing newer is left
    assert await found(sessions, HASHES[:2]) == dict.fromkeys(HASHES[:2], "bat_0")


async def test_batches_of_the_same_images_note_their_results_without_a_deadlock(sessions: Sessions) -> None:
    """Note the same hashes in opposite orders at once."""
    await succeed(sessions, "bat_1", HASHES)
    await succeed(sessions, "bat_2", HASHES)

    async def note(batch_id: str, results: list[Result]) -> None:
        for _ in range(10):
            async with sessions.write() as session:
                await reuse.note_results(session, batch_id, results)

    results = [Result(at, each) for at, each in enumerate(HASHES)]
    await asyncio.gather(note("bat_1", results), note("bat_2", results[::-1]))
    assert await found(sessions, HASHES) == dict.fromkeys(HASHES, "bat_2")
