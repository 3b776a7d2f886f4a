"""The contract of every storage: a folder on the local disk, and S3 as served by moto on loopback."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from imgsvc.adapters.storage.open_storage import StorageBackend
from imgsvc.errors import ObjectNotFound
from imgsvc.services.ports import Stored

KEY = "bat_0/7-shoe-0a1b2c3d.jpg"
COPY = "bat_4/0-boot-0a1b2c3d.jpg"
BODY = b"\xff\xd8 not really an image"
SHOE, BOOT, HAT = "bat_1/0-shoe-0a1b2c3d.jpg", "bat_1/1-boot-0a1b2c3d.png", "bat_11/0-hat-0a1b2c3d.jpg"


async def load(location: Path | str | None) -> bytes:
    """Return the bytes at a path or a link, as an API client would get them."""
    if isinstance(location, Path):
        return location.read_bytes()
    assert location is not None
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.get(location)
    assert answer.is_success
    assert answer.headers["content-type"] == "image/jpeg"
    return answer.content


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


# -- put, locate, read ------------------------------------------------------------------------------------------------


async def test_a_stored_file_can_be_located_and_read(storage: StorageBackend) -> None:
    await storage.put(KEY, BODY, media_type="image/jpeg")
    assert await load(await storage.locate(KEY)) == BODY


async def test_a_stored_file_can_be_read_in_chunks(storage: StorageBackend) -> None:
    body = bytes(range(256)) * 4_096 * 3
    await storage.put(KEY, body, media_type="image/jpeg")
    chunks = [chunk async for chunk in storage.read(KEY)]
    assert len(chunks) > 1
    assert b"".join(chunks) == body


async def test_a_missing_key_cannot_be_read(storage: StorageBackend) -> None:
    with pytest.raises(ObjectNotFound):
        await anext(storage.read(KEY))


async def test_storing_the_same_again_changes_nothing(storage: StorageBackend) -> None:
    await storage.put(KEY, BODY, media_type="image/jpeg")
    await storage.put(KEY, BODY, media_type="image/jpeg")
    assert await load(await storage.locate(KEY)) == BODY


async def test_a_working_storage_passes_its_check_and_keeps_nothing_of_it(storage: StorageBackend) -> None:
    await storage.check()
    assert await listed(storage) == {}


# -- copy -------------------------------------------------------------------------------------------------------------


async def test_a_copy_is_stored_now_and_stays_when_its_source_is_removed(storage: StorageBackend) -> None:
    await storage.put(KEY, BODY, media_type="image/jpeg")
    assert await storage.copy(KEY, COPY)
    await storage.remove([KEY])
    assert await load(await storage.locate(COPY)) == BODY
    [(key, stored)] = (await listed(storage)).items()
    assert (key, stored.size) == (COPY, len(BODY))
    assert is_recent(stored.modified)


async def test_a_copy_can_be_repeated(storage: StorageBackend) -> None:
    await storage.put(KEY, BODY, media_type="image/jpeg")
    assert await storage.copy(KEY, COPY)
    assert await storage.copy(KEY, COPY)
    assert set(await listed(storage)) == {KEY, COPY}


async def test_a_missing_source_is_not_copied(storage: StorageBackend) -> None:
    assert not await storage.copy(KEY, COPY)
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
