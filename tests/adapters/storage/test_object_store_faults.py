"""An object store that fails in every way: an error in time, and never half an object."""

from collections.abc import AsyncIterator, Awaitable, Callable
from time import monotonic
from urllib.parse import urlsplit

import boto3
import pytest

from imgsvc.adapters.storage.open_storage import StorageBackend, open_storage
from imgsvc.errors import StorageError
from support.fault_proxy import HANG, REFUSE, Answer, Cut, Fault, FaultProxy, http
from support.stack import until

pytestmark = pytest.mark.slow

KEY = "bat_0/7-shoe-0a1b2c3d.jpg"
BODY = bytes(range(256)) * 4_000
TIMEOUT = 1.0

Call = Callable[[StorageBackend], Awaitable[object]]


async def listed(storage: StorageBackend) -> dict[str, int]:
    """The size of each object."""
    return {stored.key: stored.size async for page in storage.list("") for stored in page}


CALLS: dict[str, Call] = {
    "put": lambda storage: storage.put(KEY, BODY, media_type="image/jpeg"),
    "check": lambda storage: storage.check(),
    "list": listed,
    "remove": lambda storage: storage.remove([KEY]),
}
every_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)

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


async def fails(storage: StorageBackend, call: Call) -> None:
    """Assert a StorageError in time, on a busy machine too, but not after three minutes of retries."""
    started = monotonic()
    with pytest.raises(StorageError):
        await call(storage)
    assert monotonic() - started < 20 * TIMEOUT


@pytest.fixture
async def proxy(s3_endpoint: str) -> AsyncIterator[FaultProxy]:
    server = urlsplit(s3_endpoint)
    assert server.hostname and server.port
    async with FaultProxy((server.hostname, server.port)) as proxy:
        yield proxy


@pytest.fixture
def impatient(s3: StorageBackend, bucket: str, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> StorageBackend:
    """The bucket of `s3` through the proxy, with a short timeout."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
    return open_storage(bucket, timeout=TIMEOUT)


@pytest.fixture
def patient(impatient: StorageBackend, bucket: str) -> StorageBackend:
    """The same with the timeout of a worker."""
    return open_storage(bucket)


async def works(storage: StorageBackend) -> bool:
    """Return whether a put succeeds; on a busy machine one may take longer than the short timeout."""
    try:
        await storage.put(KEY, BODY, media_type="image/jpeg")
    except StorageError:
        return False
    return True


@every_call
@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
async def test_a_lasting_fault_is_an_error_in_time_and_the_bucket_works_afterwards(
    s3: StorageBackend, impatient: StorageBackend, proxy: FaultProxy, call: Call, fault: Fault
) -> None:
    await proxy.misbehave(fault)
    await fails(impatient, call)
    assert (await listed(s3)).get(KEY) in (None, len(BODY))
    await proxy.behave()

    async def stored() -> bool:
        """A removal that was held up may take effect after the first put."""
        return await works(impatient) and (await listed(s3)).get(KEY) == len(BODY)

    await until(stored)


async def test_the_next_check_removes_the_probe_of_an_interrupted_one(
    patient: StorageBackend, proxy: FaultProxy
) -> None:
    await proxy.misbehave(Cut(down=10))
    await fails(patient, CALLS["check"])
    await proxy.behave()
    assert [key.startswith(".check-") for key in await listed(patient)] == [True]
    await patient.check()
    assert await listed(patient) == {}


@every_call
@pytest.mark.parametrize("fault", ["500", "503 SlowDown", "cut on the way up", "cut on the way down"])
async def test_a_request_that_fails_once_is_retried(
    patient: StorageBackend, proxy: FaultProxy, call: Call, fault: str
) -> None:
    await patient.check()
    await proxy.misbehave(FAULTS[fault], times=1)
    await call(patient)
    assert proxy.faults == 1


async def test_a_request_is_retried_twice_at_most(patient: StorageBackend, proxy: FaultProxy) -> None:
    await proxy.misbehave(FAULTS["500"])
    await fails(patient, CALLS["put"])
    assert proxy.faults == 3


async def test_an_interrupted_put_leaves_no_part_behind(
    s3: StorageBackend, patient: StorageBackend, proxy: FaultProxy, bucket: str, s3_endpoint: str
) -> None:
    """Tests with 20 MB, which obstore would send by default in parts that the bucket keeps."""
    body = bytes(20_000_000)
    await proxy.misbehave(Cut(up=15_000_000))
    await fails(patient, lambda storage: storage.put(KEY, body, media_type="image/jpeg"))
    assert await listed(s3) == {}
    uploads = boto3.client("s3", region_name="us-east-1", endpoint_url=s3_endpoint).list_multipart_uploads
    assert "Uploads" not in uploads(Bucket=bucket.removeprefix("s3://"))
