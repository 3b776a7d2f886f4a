"""One contract for every storage: a local folder, and S3 as moto serves it on loopback."""

from collections.abc import Iterator
from pathlib import Path

import boto3
import httpx
import pytest
from moto.server import ThreadedMotoServer

from imgsvc.adapters.storage import ObjectStorage
from imgsvc.errors import StorageError

KEY = "bat_0/7-shoe-0a1b2c3d.jpg"
BODY = b"\xff\xd8 not really a picture"


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> ObjectStorage:
    environment = {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": s3_endpoint,
        "AWS_ALLOW_HTTP": "true",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    boto3.client("s3", region_name="us-east-1", endpoint_url=s3_endpoint).create_bucket(Bucket="pictures")
    return ObjectStorage("s3://pictures")


@pytest.fixture
def folder(tmp_path: Path) -> ObjectStorage:
    return ObjectStorage((tmp_path / "with space").as_uri())


@pytest.fixture(params=["folder", "s3"])
def storage(request: pytest.FixtureRequest) -> ObjectStorage:
    chosen: ObjectStorage = request.getfixturevalue(request.param)
    return chosen


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


async def test_an_s3_that_is_away_is_a_storage_error(monkeypatch: pytest.MonkeyPatch, s3: ObjectStorage) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    away = ObjectStorage("s3://pictures", timeout=1)
    with pytest.raises(StorageError):
        await away.put(KEY, BODY, media_type="image/jpeg")


@pytest.mark.parametrize("url", ["memory:///", "ftp://somewhere/else", "nonsense"])
def test_a_url_of_no_storage_is_refused_by_name(url: str) -> None:
    with pytest.raises(StorageError, match=url):
        ObjectStorage(url)
