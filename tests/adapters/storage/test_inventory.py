"""The inventory of every storage: what lies in it, page by page, and how it is removed."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import web
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends

from imgsvc.adapters.storage.object_store import ObjectStorage
from imgsvc.errors import StorageError
from imgsvc.services.ports import Stored
from support.stack import until

SHOE, BOOT, HAT = "bat_1/0-shoe-0a1b2c3d.jpg", "bat_1/1-boot-0a1b2c3d.png", "bat_11/0-hat-0a1b2c3d.jpg"


async def listed(storage: ObjectStorage, prefix: str = "") -> dict[str, Stored]:
    pages = [page async for page in storage.list(prefix)]
    assert all(1 <= len(page) <= 1_000 for page in pages)
    return {stored.key: stored for page in pages for stored in page}


async def fill(storage: ObjectStorage, *keys: str) -> None:
    for number, key in enumerate(keys, start=1):
        await storage.put(key, b"x" * number, media_type="image/jpeg")


async def test_what_was_put_is_listed_with_its_size_and_when(storage: ObjectStorage) -> None:
    assert await listed(storage) == {}
    await fill(storage, SHOE, BOOT, HAT)
    found = await listed(storage)
    assert {key: stored.size for key, stored in found.items()} == {SHOE: 1, BOOT: 2, HAT: 3}
    for stored in found.values():
        assert stored.modified.tzinfo is UTC or stored.modified.utcoffset() == timedelta()
        assert abs(stored.modified - datetime.now(UTC)) < timedelta(minutes=5)


@pytest.mark.parametrize("prefix", ["bat_1", "bat_1/"])
async def test_a_prefix_is_a_whole_folder_name(storage: ObjectStorage, prefix: str) -> None:
    await fill(storage, SHOE, BOOT, HAT)
    assert set(await listed(storage, prefix)) == {SHOE, BOOT}
    assert await listed(storage, "bat_2") == {}


MANY = {f"bat_{number % 7}/{number}-shoe-0a1b2c3d.jpg" for number in range(1_050)}


async def test_more_than_a_page_of_files_comes_in_pages(folder: ObjectStorage) -> None:
    await asyncio.gather(*(folder.put(key, b"x", media_type="image/jpeg") for key in MANY))
    await pages_and_removes(folder)


async def test_more_than_a_page_of_a_bucket_comes_in_pages(s3: ObjectStorage, bucket: str) -> None:
    for key in MANY:  # past HTTP, which takes moto five seconds
        s3_backends[DEFAULT_ACCOUNT_ID]["aws"].put_object(bucket.removeprefix("s3://"), key, b"x")
    await pages_and_removes(s3)


async def pages_and_removes(storage: ObjectStorage) -> None:
    pages = [[stored.key for stored in page] async for page in storage.list("")]
    assert [len(page) for page in pages] == [1_000, 50]
    assert {key for page in pages for key in page} == MANY
    async for page in storage.list(""):
        await storage.remove([stored.key for stored in page])
    assert await listed(storage) == {}


async def test_what_is_removed_is_gone_and_the_rest_stays(storage: ObjectStorage) -> None:
    await fill(storage, SHOE, BOOT, HAT)
    await storage.remove([SHOE, HAT])
    assert set(await listed(storage)) == {BOOT}


async def test_a_key_that_is_not_there_hinders_no_removal(storage: ObjectStorage) -> None:
    await fill(storage, SHOE, BOOT)
    await storage.remove(["bat_9/0-gone-0a1b2c3d.jpg", SHOE, "bat_1/7-gone-0a1b2c3d.jpg", BOOT])
    await storage.remove([SHOE, BOOT])
    await storage.remove([])
    assert await listed(storage) == {}


# -- on disk ----------------------------------------------------------------------------------------------------------


async def test_the_folder_of_a_batch_goes_with_its_last_file(folder: ObjectStorage, tmp_path: Path) -> None:
    await fill(folder, SHOE, BOOT)
    await folder.remove([SHOE])
    assert [path.name for path in (tmp_path / "with space").iterdir()] == ["bat_1"]
    await folder.remove([BOOT])
    assert list((tmp_path / "with space").iterdir()) == []


async def test_a_put_beside_the_removal_of_its_folder_is_not_lost(folder: ObjectStorage) -> None:
    async def put_and_remove(number: int) -> None:
        for turn in range(50):
            key = f"bat_1/{number}-{turn}.jpg"
            await folder.put(key, b"x", media_type="image/jpeg")
            assert await folder.locate(key)
            await folder.remove([key])

    await asyncio.gather(*map(put_and_remove, range(8)))
    assert await listed(folder) == {}


@pytest.mark.parametrize("key", ["../secret", "bat_1/../../secret", "/etc/hostname"])
async def test_a_key_that_leads_out_of_the_folder_touches_nothing(
    folder: ObjectStorage, tmp_path: Path, key: str
) -> None:
    (tmp_path / "secret").touch()
    with pytest.raises(StorageError):
        await folder.remove([key])
    with pytest.raises(StorageError):
        await listed(folder, key)
    assert (tmp_path / "secret").exists()


async def test_a_folder_that_was_taken_away_is_an_error_and_not_empty(folder: ObjectStorage, tmp_path: Path) -> None:
    (tmp_path / "with space").rmdir()
    with pytest.raises(StorageError):
        await listed(folder)


PUTS = """
import asyncio, itertools, sys
from imgsvc.adapters.storage.object_store import ObjectStorage

async def main():
    storage = ObjectStorage(sys.argv[1])
    for number in itertools.count():
        await storage.put(f"bat_1/{number}.jpg", b"x" * 30_000_000, media_type="image/jpeg")
        await storage.remove([f"bat_1/{number}.jpg"])

asyncio.run(main())
"""


async def test_what_a_killed_put_left_behind_is_listed_and_can_be_removed(
    folder: ObjectStorage, tmp_path: Path
) -> None:
    url = (tmp_path / "with space").as_uri()
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", PUTS, url)
    await until(lambda: stands_in_a_put(tmp_path / "with space" / "bat_1", process))
    process.kill()
    await process.wait()
    [left] = (await listed(folder)).values()
    key, mark, number = left.key.rpartition("#")
    assert (mark, number) == ("#", "1")
    assert await folder.locate(key) is None
    await folder.put(key, b"whole", media_type="image/jpeg")
    assert set(await listed(folder)) == {left.key, key}
    await folder.remove([left.key])
    assert set(await listed(folder)) == {key}


async def stands_in_a_put(path: Path, process: asyncio.subprocess.Process) -> bool:
    """Stops the process, which may still be at a rename, and lets it go on again unless a file is half written."""
    assert process.returncode is None
    process.send_signal(signal.SIGSTOP)
    await asyncio.to_thread(os.waitid, os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
    if path.is_dir() and any("#" in file.name for file in path.iterdir()):
        return True
    process.send_signal(signal.SIGCONT)
    return False


# -- Google's, which refuses a key that is not there ------------------------------------------------------------------


@asynccontextmanager
async def google(keys: set[str]) -> AsyncIterator[str]:
    """The part of Google Cloud Storage that removes; the base of its URLs."""

    async def delete(request: web.Request) -> web.Response:
        if (key := request.match_info["key"]) not in keys:
            raise web.HTTPNotFound
        keys.remove(key)
        return web.Response(status=204)

    app = web.Application()
    app.add_routes([web.delete("/images/{key:.*}", delete)])
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def test_a_store_that_refuses_what_is_not_there_still_removes_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = {SHOE, BOOT, HAT}
    async with google(keys) as url:
        nobody = '"client_email": "", "private_key": "", "private_key_id": ""'
        account = f'{{"gcs_base_url": "{url}", "disable_oauth": true, {nobody}}}'
        monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT_KEY", account)
        await ObjectStorage("gs://images").remove([SHOE, "bat_1/gone.jpg", *[f"bat_3/{n}" for n in range(80)], HAT])
    assert keys == {BOOT}
