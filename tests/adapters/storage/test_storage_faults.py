"""A storage that fails in every way: an error in time, and never anything half."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from time import monotonic
from urllib.parse import urlsplit

import boto3
import pytest

from imgsvc.adapters.storage.object_store import ObjectStorage
from imgsvc.errors import StorageError
from support.fault_proxy import HANG, REFUSE, Answer, Cut, Fault, FaultProxy, http
from support.stack import until

pytestmark = pytest.mark.slow

KEY = "bat_0/7-shoe-0a1b2c3d.jpg"
BODY = bytes(range(256)) * 4_000
TIMEOUT = 1.0

Call = Callable[[ObjectStorage], Awaitable[object]]


async def listing(storage: ObjectStorage) -> dict[str, int]:
    return {stored.key: stored.size async for page in storage.list("") for stored in page}


CALLS: dict[str, Call] = {
    "put": lambda storage: storage.put(KEY, BODY, media_type="image/jpeg"),
    "check": lambda storage: storage.check(),
    "list": listing,
    "remove": lambda storage: storage.remove([KEY]),
}
every_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
LOCAL_CALLS: dict[str, Call] = {**CALLS, "locate": lambda storage: storage.locate(KEY)}

XML = b"<Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>"
FAULTS: dict[str, Fault] = {
    "500": Answer(http(500)),
    "503 SlowDown": Answer(http(503, XML)),
    "403": Answer(http(403)),
    "nonsense": Answer(b"\x00\xff this is no HTTP\r\n\r\n"),
    "half an answer": Answer(http(200, bytes(100))[:-50]),
    "cut on the way up": Cut(up=300),
    "cut on the way down": Cut(down=10),
    "hangs": HANG,
    "refuses": REFUSE,
}


async def refuses(storage: ObjectStorage, call: Call) -> None:
    """A StorageError, in time: the machine may be busy, but three minutes of retries it is not."""
    started = monotonic()
    with pytest.raises(StorageError):
        await call(storage)
    assert monotonic() - started < 20 * TIMEOUT


# -- S3 ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
async def proxy(s3_endpoint: str) -> AsyncIterator[FaultProxy]:
    server = urlsplit(s3_endpoint)
    assert server.hostname and server.port
    async with FaultProxy((server.hostname, server.port)) as proxy:
        yield proxy


@pytest.fixture
def faulty(s3: ObjectStorage, bucket: str, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> ObjectStorage:
    """The bucket of `s3`, through the proxy and with little patience."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
    return ObjectStorage(bucket, timeout=TIMEOUT)


@pytest.fixture
def patient(faulty: ObjectStorage, bucket: str) -> ObjectStorage:
    """The same with the patience of a worker."""
    return ObjectStorage(bucket)


async def works(storage: ObjectStorage) -> bool:
    """Whether a put succeeds; on a busy machine one may take longer than little patience lasts."""
    try:
        await storage.put(KEY, BODY, media_type="image/jpeg")
    except StorageError:
        return False
    return True


@every_call
@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
async def test_a_bucket_that_fails_for_long_is_an_error_in_time_and_works_when_it_is_back(
    s3: ObjectStorage, faulty: ObjectStorage, proxy: FaultProxy, call: Call, fault: Fault
) -> None:
    await proxy.misbehave(fault)
    await refuses(faulty, call)
    assert (await listing(s3)).get(KEY) in (None, len(BODY))
    await proxy.behave()

    async def stored() -> bool:
        """A removal that hung may come through behind the first put."""
        return await works(faulty) and (await listing(s3)).get(KEY) == len(BODY)

    await until(stored)


async def test_the_probe_of_a_check_that_broke_off_is_removed_by_the_next(
    patient: ObjectStorage, proxy: FaultProxy
) -> None:
    await proxy.misbehave(Cut(down=10))
    await refuses(patient, CALLS["check"])
    await proxy.behave()
    assert [key.startswith(".check-") for key in await listing(patient)] == [True]
    await patient.check()
    assert await listing(patient) == {}


@every_call
@pytest.mark.parametrize("fault", ["500", "503 SlowDown", "cut on the way up", "cut on the way down"])
async def test_a_bucket_that_fails_once_is_asked_again(
    patient: ObjectStorage, proxy: FaultProxy, call: Call, fault: str
) -> None:
    await patient.check()
    await proxy.misbehave(FAULTS[fault], times=1)
    await call(patient)
    assert proxy.faults == 1


async def test_a_bucket_that_fails_is_not_asked_again_and_again(patient: ObjectStorage, proxy: FaultProxy) -> None:
    await proxy.misbehave(FAULTS["500"])
    await refuses(patient, CALLS["put"])
    assert proxy.faults == 3


async def test_no_put_that_broke_off_leaves_a_part_of_it(
    s3: ObjectStorage, patient: ObjectStorage, proxy: FaultProxy, bucket: str, s3_endpoint: str
) -> None:
    """Of 20 MB, which obstore alone would send in parts that are kept."""
    body = bytes(20_000_000)
    await proxy.misbehave(Cut(up=15_000_000))
    await refuses(patient, lambda storage: storage.put(KEY, body, media_type="image/jpeg"))
    assert await listing(s3) == {}
    uploads = boto3.client("s3", region_name="us-east-1", endpoint_url=s3_endpoint).list_multipart_uploads
    assert "Uploads" not in uploads(Bucket=bucket.removeprefix("s3://"))


# -- on disk ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["put", "check", "list", "locate"])
async def test_a_folder_that_is_taken_away_is_an_error_until_it_is_back(
    folder: ObjectStorage, tmp_path: Path, call: str
) -> None:
    place = tmp_path / "with space"
    place.rename(tmp_path / "away")
    place.write_text("a file stands where the folder was")
    await refuses(folder, LOCAL_CALLS[call])
    place.unlink()
    (tmp_path / "away").rename(place)
    await CALLS["put"](folder)
    assert await listing(folder) == {KEY: len(BODY)}


FULL = """
import asyncio, resource, sys
from imgsvc.adapters.storage.object_store import ObjectStorage
from imgsvc.errors import StorageError

async def main():
    storage = ObjectStorage(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    try:
        await storage.put("bat_0/large.jpg", bytes(int(sys.argv[2])), media_type="image/jpeg")
    except StorageError as error:
        print(error.__cause__)
    await storage.put("bat_0/small.jpg", bytes(1000), media_type="image/jpeg")

asyncio.run(main())
"""


@pytest.mark.parametrize("size", [200_000, 20_000_000])
async def test_a_put_that_finds_no_room_leaves_nothing(folder: ObjectStorage, tmp_path: Path, size: int) -> None:
    """A process that may write no larger files stands for a disk that is full."""
    url = (tmp_path / "with space").as_uri()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", FULL, url, str(size)), stdout=asyncio.subprocess.PIPE
    )
    said, _ = await process.communicate()
    assert "File too large" in said.decode()
    assert await listing(folder) == {"bat_0/small.jpg": 1000}
