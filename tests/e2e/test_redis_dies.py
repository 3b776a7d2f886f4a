"""Redis restarts empty, hangs, is full or is down for a while: uploads are accepted, and every batch completes."""

import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from time import monotonic

import pytest

from chaos.servers import Valkey
from support.origin_server import OriginServer, image_bytes
from support.stack import QUICK_WITH_LONG_LEASES, Stack, running_stack, until

pytestmark = pytest.mark.slow

IMAGES = 12


@pytest.fixture
async def valkey() -> AsyncIterator[Valkey]:
    """A Valkey that the test may stop and freeze."""
    with tempfile.TemporaryDirectory(prefix="vk-", dir="/tmp") as folder:
        async with Valkey(Path(folder)) as valkey:
            yield valkey


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
async def stack(tmp_path: Path, valkey: Valkey, log: Path) -> AsyncIterator[Stack]:
    async with running_stack(tmp_path, log=log, IMGSVC_REDIS_URL=valkey.url, **QUICK_WITH_LONG_LEASES) as stack:
        yield stack


async def upload(stack: Stack, origin: OriginServer, name: str) -> str:
    """Upload a batch of slow images, so that it is in progress for a while."""
    lines = ["S. No.,Product Name,Input Image Urls"]
    for number in range(IMAGES):
        url = origin.serve(f"/{name}/{number}.jpg", image_bytes(40 + number, 30), delay=1)
        lines.append(f"{number},Product {number},{url}")
    return await stack.upload("\n".join(lines))


async def start_batch(stack: Stack, origin: OriginServer, name: str) -> str:
    """Upload a batch and wait until some of its images are being fetched."""
    batch_id = await upload(stack, origin, name)

    async def is_started() -> bool:
        return origin.hits(f"/{name}/0.jpg") > 0

    await until(is_started)
    return batch_id


async def assert_complete(stack: Stack, *batch_ids: str) -> None:
    for batch_id in batch_ids:
        batch = await stack.finished(batch_id)
        assert (batch["status"], batch["counts"]["assets"]["succeeded"]) == ("completed", IMAGES)


def is_logged_again(log: Path, event: str) -> Callable[[], Awaitable[bool]]:
    """Return a probe that is true once the stack has logged `event` again."""
    before = log.read_text().count(f'"{event}"')

    async def probe() -> bool:
        return log.read_text().count(f'"{event}"') > before

    return probe


async def is_ready(stack: Stack) -> bool:
    """Return whether the stack is ready; on a busy machine another part may time out for a moment."""
    return (await stack.client.get("/readyz")).is_success


async def assert_usable_without_redis(stack: Stack, origin: OriginServer) -> str:
    """Assert that the stack accepts a batch and responds quickly enough for a person; return the batch's id."""
    started = monotonic()
    batch_id = await upload(stack, origin, "during-outage")
    assert (await stack.batch(batch_id))["status"] == "pending"
    await until(lambda: is_ready(stack))
    assert "unavailable" in (await stack.client.get("/readyz?strict=true")).json()["redis"]
    assert monotonic() - started < 30
    return batch_id


async def test_batches_complete_after_redis_restarts_empty(stack: Stack, origin: OriginServer, valkey: Valkey) -> None:
    batch_id = await start_batch(stack, origin, "first")
    await valkey.stop()
    await valkey.start()
    await assert_complete(stack, batch_id, await upload(stack, origin, "second"))


async def test_a_running_batch_completes_while_redis_is_down(
    stack: Stack, origin: OriginServer, valkey: Valkey
) -> None:
    batch_id = await start_batch(stack, origin, "first")
    [worker] = stack.workers()
    await valkey.stop()
    during_outage = await assert_usable_without_redis(stack, origin)
    await assert_complete(stack, batch_id)
    await valkey.start()
    await assert_complete(stack, during_outage)
    assert [child.pid for child in stack.workers()] == [worker.pid]


async def test_batches_complete_after_redis_hangs_past_every_timeout(
    stack: Stack, origin: OriginServer, valkey: Valkey, log: Path
) -> None:
    batch_id = await start_batch(stack, origin, "first")
    [worker] = stack.workers()
    connection_lost = is_logged_again(log, "queue_connection_lost")
    valkey.freeze()
    during_outage = await assert_usable_without_redis(stack, origin)
    await until(connection_lost)
    valkey.thaw()
    await assert_complete(stack, batch_id, during_outage)
    assert [child.pid for child in stack.workers()] == [worker.pid]


async def test_batches_complete_after_redis_was_full(
    stack: Stack, origin: OriginServer, valkey: Valkey, log: Path
) -> None:
    batch_id = await start_batch(stack, origin, "first")
    connection_lost = is_logged_again(log, "queue_connection_lost")
    await valkey.command("CONFIG", "SET", "maxmemory", "1")
    during_outage = await upload(stack, origin, "during-outage")
    assert (await stack.batch(during_outage))["status"] == "pending"
    await until(connection_lost)
    await valkey.command("CONFIG", "SET", "maxmemory", "0")
    await assert_complete(stack, batch_id, during_outage)


async def test_a_stop_while_redis_hangs_is_as_fast_as_any_other(
    stack: Stack, origin: OriginServer, valkey: Valkey, log: Path
) -> None:
    await start_batch(stack, origin, "first")
    valkey.freeze()
    assert await stack.stop() == 0
    assert "process_killed" not in log.read_text()
