"""One contract for every storage: a local folder, and S3 as moto serves it on loopback."""

from pathlib import Path

import httpx
import pytest

from imgsvc.adapters.storage.object_store import ObjectStorage
from imgsvc.errors import ObjectNotFound, StorageError

KEY = "bat_0/7-shoe-0a1b2c3d.jpg"
BODY = b"\xff\xd8 not really an image"


async def read(place: Path | str | None) -> bytes:
    if isinstance(place, Path):
        return place.read_bytes()
    assert place is not None
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.get(place)
    assert answer.is_success
    assert answer.headers["content-type"] == "image/jpeg"
    return answer.content


async def test_what_is_put_can_be_located_and_read(storage: ObjectStorage) -> None:
    await storage.put(KEY, BODY, media_type="image/jpeg")
    assert await read(await storage.locate(KEY)) == BODY


async def test_what_is_put_can_be_read_in_pieces(storage: ObjectStorage) -> None:
    body = bytes(range(256)) * 4_096 * 3
    await storage.put(KEY, body, media_type="image/jpeg")
    pieces = [piece async for piece in storage.read(KEY)]
    assert len(pieces) > 1
    assert b"".join(pieces) == body


async def test_what_was_never_put_cannot_be_read(storage: ObjectStorage) -> None:
    with pytest.raises(ObjectNotFound):
        await anext(storage.read(KEY))


async def test_putting_the_same_again_changes_nothing(storage: ObjectStorage) -> None:
    await storage.put(KEY, BODY, media_type="image/jpeg")
    await storage.put(KEY, BODY, media_type="image/jpeg")
    assert await read(await storage.locate(KEY)) == BODY


async def test_a_storage_that_works_passes_its_check_and_keeps_nothing_of_it(
    storage: ObjectStorage, tmp_path: Path
) -> None:
    await storage.check()
    assert not [path for path in (tmp_path / "with space").rglob("*") if path.is_file()]


async def test_a_key_that_was_never_put_is_nowhere(folder: ObjectStorage) -> None:
    assert await folder.locate(KEY) is None


async def test_a_folder_that_takes_nothing_fails_its_check_and_every_put(tmp_path: Path) -> None:
    storage = ObjectStorage(tmp_path.as_uri())
    (tmp_path / "bat_0").write_text("a file stands where the folder should be")
    with pytest.raises(StorageError):
        await storage.put(KEY, BODY, media_type="image/jpeg")


async def test_a_put_leaves_no_temporary_file_behind(folder: ObjectStorage, tmp_path: Path) -> None:
    await folder.put(KEY, BODY, media_type="image/jpeg")
    assert [path.name for path in (tmp_path / "with space" / "bat_0").iterdir()] == [Path(KEY).name]


@pytest.mark.parametrize("url", ["memory:///", "ftp://somewhere/else", "nonsense"])
def test_a_url_of_no_storage_is_refused_by_name(url: str) -> None:
    with pytest.raises(StorageError, match=url):
        ObjectStorage(url)
