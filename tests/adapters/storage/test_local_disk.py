"""The local disk, beyond the contract of every storage: its folders, its temporary files, and its failures."""

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest

from imgsvc.adapters.storage.open_storage import StorageBackend
from imgsvc.errors import StorageError
from support.stack import until

SHOE, BOOT = "bat_1/0-shoe-0a1b2c3d.jpg", "bat_1/1-boot-0a1b2c3d.png"


async def put(storage: StorageBackend, *keys: str) -> None:
    for key in keys:
        await storage.put(key, b"x", media_type="image/jpeg")


async def listed(storage: StorageBackend, prefix: str = "") -> dict[str, int]:
    """The size of each file."""
    return {stored.key: stored.size async for page in storage.list(prefix) for stored in page}


async def test_a_put_fails_where_its_folder_cannot_be_created(local_disk: StorageBackend, folder: Path) -> None:
    (folder / "bat_1").write_text("a file where the folder should be")
    with pytest.raises(StorageError):
        await put(local_disk, SHOE)


async def test_a_put_leaves_no_temporary_file_behind(local_disk: StorageBackend, folder: Path) -> None:
    await put(local_disk, SHOE)
    assert [path.name for path in (folder / "bat_1").iterdir()] == [Path(SHOE).name]


async def test_the_folder_of_a_batch_is_removed_with_its_last_file(local_disk: StorageBackend, folder: Path) -> None:
    await put(local_disk, SHOE, BOOT)
    await local_disk.remove([SHOE])
    assert [path.name for path in folder.iterdir()] == ["bat_1"]
    await local_disk.remove([BOOT])
    assert list(folder.iterdir()) == []


async def test_a_put_during_the_removal_of_its_folder_is_not_lost(local_disk: StorageBackend) -> None:
    """A put may fail, which callers retry: obstore's creation of a folder can collide with its removal."""

    async def put_despite_removals(key: str) -> None:
        stored = False
        while not stored:
            with suppress(StorageError):
                await put(local_disk, key)
                stored = True

    async def put_and_remove(number: int) -> None:
        for repetition in range(50):
            key = f"bat_1/{number}-{repetition}.jpg"
            await put_despite_removals(key)
            assert await local_disk.exists(key)
            await local_disk.remove([key])

    await asyncio.gather(*map(put_and_remove, range(8)))
    assert await listed(local_disk) == {}


@pytest.mark.parametrize("key", ["../secret", "bat_1/../../secret", "/etc/hostname"])
async def test_a_key_that_leads_out_of_the_folder_touches_nothing(
    local_disk: StorageBackend, tmp_path: Path, key: str
) -> None:
    (tmp_path / "secret").touch()
    with pytest.raises(StorageError):
        await local_disk.remove([key])
    with pytest.raises(StorageError):
        await listed(local_disk, key)
    assert (tmp_path / "secret").exists()


async def test_many_keys_are_looked_up_together_and_answered_each(local_disk: StorageBackend, folder: Path) -> None:
    keys = [f"bat_1/{number}.jpg" for number in range(200)]
    for key in keys[::2]:
        await put(local_disk, key)
    asked = [asyncio.ensure_future(local_disk.exists(key)) for key in keys]
    bad = [asyncio.ensure_future(local_disk.exists(key)) for key in ("../secret", f"bat_1/{'a' * 300}.jpg")]
    await asyncio.sleep(0)
    asked.pop(3).cancel()
    assert await asyncio.gather(*asked) == [number % 2 == 0 for number in range(200) if number != 3]
    for outcome in await asyncio.gather(*bad, return_exceptions=True):
        assert isinstance(outcome, StorageError)
    shutil.rmtree(folder)
    outcomes = await asyncio.gather(*map(local_disk.exists, keys), return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {StorageError}


async def test_a_missing_storage_folder_is_an_error_and_not_empty(local_disk: StorageBackend, folder: Path) -> None:
    folder.rmdir()
    with pytest.raises(StorageError):
        await listed(local_disk)


PUTS = """
import asyncio, itertools, sys
from imgsvc.adapters.storage.open_storage import open_storage

async def main():
    storage = open_storage(sys.argv[1])
    for number in itertools.count():
        await storage.put(f"bat_1/{number}.jpg", b"x" * 30_000_000, media_type="image/jpeg")
        await storage.remove([f"bat_1/{number}.jpg"])

asyncio.run(main())
"""


async def test_the_file_of_a_killed_put_is_listed_and_can_be_removed(local_disk: StorageBackend, folder: Path) -> None:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", PUTS, folder.as_uri())
    await until(lambda: is_stopped_during_a_put(folder / "bat_1", process))
    process.kill()
    await process.wait()
    [left] = await listed(local_disk)
    key, mark, number = left.rpartition("#")
    assert (mark, number) == ("#", "1")
    assert not await local_disk.exists(key)
    await put(local_disk, key)
    assert set(await listed(local_disk)) == {left, key}
    await local_disk.remove([left])
    assert set(await listed(local_disk)) == {key}


async def is_stopped_during_a_put(path: Path, process: asyncio.subprocess.Process) -> bool:
    """Stop the process, which may still rename a file, and let it continue unless there is a half-written file."""
    assert process.returncode is None
    process.send_signal(signal.SIGSTOP)
    await asyncio.to_thread(os.waitid, os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
    if path.is_dir() and any("#" in file.name for file in path.iterdir()):
        return True
    process.send_signal(signal.SIGCONT)
    return False


# -- failures ---------------------------------------------------------------------------------------------------------

Call = Callable[[StorageBackend], Awaitable[object]]
CALLS: dict[str, Call] = {
    "put": lambda storage: put(storage, SHOE),
    "check": lambda storage: storage.check(),
    "list": listed,
    "exists": lambda storage: storage.exists(SHOE),
}


@pytest.mark.slow
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_a_missing_folder_is_an_error_until_it_is_back(
    local_disk: StorageBackend, folder: Path, tmp_path: Path, call: Call
) -> None:
    folder.rename(tmp_path / "away")
    folder.write_text("a file where the folder was")
    async with asyncio.timeout(20):
        with pytest.raises(StorageError):
            await call(local_disk)
    folder.unlink()
    (tmp_path / "away").rename(folder)
    await put(local_disk, SHOE)
    assert await listed(local_disk) == {SHOE: 1}


FULL = """
import asyncio, resource, sys
from imgsvc.adapters.storage.open_storage import open_storage
from imgsvc.errors import StorageError

async def main():
    storage = open_storage(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    try:
        await storage.put("bat_0/large.jpg", bytes(int(sys.argv[2])), media_type="image/jpeg")
    except StorageError as error:
        print(error.__cause__)
    await storage.put("bat_0/small.jpg", bytes(1000), media_type="image/jpeg")

asyncio.run(main())
"""


@pytest.mark.slow
@pytest.mark.parametrize("size", [200_000, 20_000_000])
async def test_a_put_on_a_full_disk_leaves_nothing_behind(local_disk: StorageBackend, folder: Path, size: int) -> None:
    """A limit on the size of files simulates the full disk."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", FULL, folder.as_uri(), str(size)), stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    assert "File too large" in output.decode()
    assert await listed(local_disk) == {"bat_0/small.jpg": 1000}
