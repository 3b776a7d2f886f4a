"""Redis restarts with nothing, hangs, is full, is gone for a while: uploads are taken, and every batch completes."""

import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from time import monotonic

import pytest

from chaos.servers import Valkey
from support.origin_server import OriginServer, image_bytes
from support.stack import UNHURRIED, Stack, running_stack, until

pytestmark = pytest.mark.slow

IMAGES = 12


@pytest.fixture
async def valkey() -> AsyncIterator[Valkey]:
    """One that the test may torment."""
    with tempfile.TemporaryDirectory(prefix="vk-", dir="/tmp") as folder:
        async with Valkey(Path(folder)) as valkey:
            yield valkey


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
async def stack(tmp_path: Path, valkey: Valkey, log: Path) -> AsyncIterator[Stack]:
    async with running_stack(tmp_path, log=log, IMGSVC_REDIS_URL=valkey.url, **UNHURRIED) as stack:
        yield stack


async def upload(stack: Stack, origin: OriginServer, name: str) -> str:
    """A batch of images that take a moment, so that it can be caught in the middle."""
    lines = ["S. No.,Product Name,Input Image Urls"]
    for number in range(IMAGES):
        url = origin.serve(f"/{name}/{number}.jpg", image_bytes(40 + number, 30), delay=1)
        lines.append(f"{number},Product {number},{url}")
    return await stack.upload("\n".join(lines))


async def in_the_middle(stack: Stack, origin: OriginServer, name: str) -> str:
    """A batch some of whose images are being fetched."""
    batch_id = await upload(stack, origin, name)

    async def begun() -> bool:
        return origin.hits(f"/{name}/0.jpg") > 0

    await until(begun)
    return batch_id


async def assert_complete(stack: Stack, *batch_ids: str) -> None:
    for batch_id in batch_ids:
        batch = await stack.finished(batch_id)
        assert (batch["status"], batch["counts"]["assets"]["succeeded"]) == ("completed", IMAGES)


def noted(log: Path, event: str) -> Callable[[], Awaitable[bool]]:
    """Whether the stack's log tells of `event` from now on."""
    before = log.read_text().count(f'"{event}"')

    async def is_noted() -> bool:
        return log.read_text().count(f'"{event}"') > before

    return is_noted


async def is_ready(stack: Stack) -> bool:
    """Asked in a bad moment, the other parts may not have answered in time."""
    return (await stack.client.get("/readyz")).is_success


async def assert_useful_without_redis(stack: Stack, origin: OriginServer) -> str:
    """Takes a batch, and answers in the time that a person waits."""
    started = monotonic()
    batch_id = await upload(stack, origin, "meanwhile")
    assert (await stack.batch(batch_id))["status"] == "pending"
    await until(lambda: is_ready(stack))
    assert "away" in (await stack.client.get("/readyz?strict=true")).json()["redis"]
    assert monotonic() - started < 30
    return batch_id


async def test_redis_restarts_with_nothing(stack: Stack, origin: OriginServer, valkey: Valkey) -> None:
    batch_id = await in_the_middle(stack, origin, "first")
    await valkey.stop()
    await valkey.start()
    await assert_complete(stack, batch_id, await upload(stack, origin, "second"))


async def test_redis_is_gone_and_the_batch_under_way_completes_without_it(
    stack: Stack, origin: OriginServer, valkey: Valkey
) -> None:
    batch_id = await in_the_middle(stack, origin, "first")
    [worker] = stack.workers()
    await valkey.stop()
    meanwhile = await assert_useful_without_redis(stack, origin)
    await assert_complete(stack, batch_id)
    await valkey.start()
    await assert_complete(stack, meanwhile)
    assert [child.pid for child in stack.workers()] == [worker.pid]


async def test_redis_hangs_for_longer_than_anybody_waits(
    stack: Stack, origin: OriginServer, valkey: Valkey, log: Path
) -> None:
    batch_id = await in_the_middle(stack, origin, "first")
    [worker] = stack.workers()
    given_up = noted(log, "queue_connection_lost")
    valkey.freeze()
    meanwhile = await assert_useful_without_redis(stack, origin)
    await until(given_up)
    valkey.thaw()
    await assert_complete(stack, batch_id, meanwhile)
    assert [child.pid for child in stack.workers()] == [worker.pid]


async def test_redis_is_full(stack: Stack, origin: OriginServer, valkey: Valkey, log: Path) -> None:
    batch_id = await in_the_middle(stack, origin, "first")
    given_up = noted(log, "queue_connection_lost")
    await valkey.command("CONFIG", "SET", "maxmemory", "1")
    meanwhile = await upload(stack, origin, "meanwhile")
    assert (await stack.batch(meanwhile))["status"] == "pending"
    await until(given_up)
    await valkey.command("CONFIG", "SET", "maxmemory", "0")
    await assert_complete(stack, batch_id, meanwhile)


async def test_a_stop_while_redis_hangs_takes_no_longer_than_any_other(
    stack: Stack, origin: OriginServer, valkey: Valkey, log: Path
) -> None:
    await in_the_middle(stack, origin, "first")
    valkey.freeze()
    assert await stack.stop() == 0
    assert "process_killed" not in log.read_text()
