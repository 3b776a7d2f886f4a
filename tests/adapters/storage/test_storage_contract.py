"""The contract of every storage: a folder on the local disk, and S3 as served by moto on loopback."""

from datetime import UTC, datetime, timedelta

import pytest

from imgsvc.adapters.storage.open_storage import StorageBackend
from imgsvc.errors import ObjectNotFound
from imgsvc.services.ports import Part, Stored
from support.storage import load

KEY = "bat_0/7-shoe-0a1b2c3d.jpg"
BODY = b"\xff\xd8 not really an image"
SHOE, BOOT, HAT = "bat_1/0-shoe-0a1b2c3d.jpg", "bat_1/1-boot-0a1b2c3d.png", "bat_11/0-hat-0a1b2c3d.jpg"


async def listed(storage: StorageBackend, prefix: str = "") -> dict[str, Stored]:
    pages = [page async for page in storage.list(prefix)]
    assert all(1 <= len(page) <= 1_000 for page in pages)
    return {stored.key: stored for page in pages for stored in page}


async def fill(storage: StorageBackend, *keys: str) -> None:
    """Store files of 1, 2, 3… bytes."""
    for number, key in enumerate(keys, start=1):
        await storage.put(key, b"x" * number, media_type="image/jpeg")


def is_recent(moment: datetime) -> bool:
    return moment.utcoffset() == timedelta() and abs(moment - datetime.now(UTC)) < timedelta(minutes=5)


# -- put, open ------- ------------------------------------------------------------------------------------------------


async def test_a_stored_file_can_be_read(storage: StorageBackend) -> None:
    await storage.put(KEY, BODY, media_type="image/jpeg")
    assert await load(storage, KEY) == BODY


async def test_a_stored_file_can_be_read_in_chunks(storage: StorageBackend) -> None:
    body = bytes(range(256)) * 4_096 * 3
    await storage.put(KEY, body, media_type="image/jpeg")
    chunks = [chunk async for chunk in (await storage.open(KEY)).chunks]
    assert len(chunks) > 1
    assert b"".join(chunks) == body


async def test_a_missing_key_cannot_be_read(storage: StorageBackend) -> None:
    with pytest.raises(ObjectNotFound):
        await storage.open(KEY)
    assert not await storage.exists(KEY)


async def test_a_part_of_a_stored_file_can_be_read(storage: StorageBackend) -> None:
    await storage.put(KEY, BODY, media_type="image/jpeg")
    assert await storage.exists(KEY)
    assert (await storage.open(KEY, Part(3, 7))).size == len(BODY)
    assert await load(storage, KEY, Part(3, 7)) == BODY[3:7]


async def test_storing_the_same_again_changes_nothing(storage: StorageBackend) -> None:
    await storage.put(KEY, BODY, media_type="image/jpeg")
    await storage.put(KEY, BODY, media_type="image/jpeg")
    assert await load(storage, KEY) == BODY


async def test_a_working_storage_passes_its_check_and_keeps_nothing_of_it(storage: StorageBackend) -> None:
    await storage.check()
    assert await listed(storage) == {}


# -- list, remove -----------------------------------------------------------------------------------------------------


async def test_a_listing_has_the_size_and_time_of_every_file(storage: StorageBackend) -> None:
    assert await listed(storage) == {}
    await fill(storage, SHOE, BOOT, HAT)
    found = await listed(storage)
    assert {key: stored.size for key, stored in found.items()} == {SHOE: 1, BOOT: 2, HAT: 3}
    assert all(is_recent(stored.modified) for stored in found.values())


@pytest.mark.parametrize("prefix", ["bat_1", "bat_1/"])
async def test_a_prefix_is_a_whole_folder_name(storage: StorageBackend, prefix: str) -> None:
    await fill(storage, SHOE, BOOT, HAT)
    assert set(await listed(storage, prefix)) == {SHOE, BOOT}
    assert await listed(storage, "bat_2") == {}


async def test_many_files_are_listed_and_removed_in_pages(storage: StorageBackend, stored_keys: set[str]) -> None:
    pages = [[stored.key for stored in page] async for page in storage.list("")]
    assert [len(page) for page in pages] == [1_000, 50]
    assert {key for page in pages for key in page} == stored_keys
    async for page in storage.list(""):
        await storage.remove([stored.key for stored in page])
    assert await listed(storage) == {}


async def test_only_the_given_keys_are_removed(storage: StorageBackend) -> None:
    await fill(storage, SHOE, BOOT, HAT)
    await storage.remove([SHOE, HAT])
    assert set(await listed(storage)) == {BOOT}


async def test_a_missing_key_does_not_prevent_a_removal(storage: StorageBackend) -> None:
    await fill(storage, SHOE, BOOT)
    await storage.remove(["bat_9/0-gone-0a1b2c3d.jpg", SHOE, "bat_1/7-gone-0a1b2c3d.jpg", BOOT])
    await storage.remove([SHOE, BOOT])
    await storage.remove([])
    assert await listed(storage) == {}
