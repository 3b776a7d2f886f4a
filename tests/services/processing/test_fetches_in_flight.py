"""The number of fetches in flight reaches `IMGSVC_MAX_FETCHES`, and never exceeds it."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import pytest
from aiohttp import web

from imgsvc.bootstrap import Resources
from imgsvc.services.processing.fetch import CONDITIONAL_RESERVATION, MAX_FIRST_RESERVATION, first_reservation
from imgsvc.services.processing.lane_policy import LanePolicy
from imgsvc.services.processing.process_asset import AssetProcessor
from imgsvc.services.throttling.concurrency_limit import INITIAL_LIMIT
from imgsvc.services.throttling.fair_semaphore import FairSemaphore
from imgsvc.services.throttling.host_limiter import HostLimiter
from imgsvc.settings.server import Settings
from support.batches import consistent_batch, submit_batch
from support.lanes import fetching_with, work
from support.origin_server import OriginServer, Server, image_bytes

DEFAULTS = Settings()
LANES = 4
OF_ONE_BATCH = DEFAULTS.max_fetches * 3 // 4
"""The fetches that one batch can have in flight; the others are left to batches and API keys that may come."""


@pytest.fixture
def database_kind() -> str:
    return "sqlite"  # the database has no part in this


@dataclass
class SlowOrigin(Server):
    """An origin that responds once as many fetches as allowed have arrived; part of the body may come before."""

    all_arrived: asyncio.Barrier = field(default_factory=lambda: asyncio.Barrier(1))
    sends_part: bool = False

    def routes(self) -> Iterable[web.RouteDef]:
        return [web.get("/{number}.jpg", self._respond)]

    async def _respond(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        if self.sends_part:
            await response.prepare(request)
            await response.write(image_bytes()[:100])
        await self.all_arrived.wait()
        if self.sends_part:
            await response.write(image_bytes()[100:])
        else:
            await response.prepare(request)
            await response.write(image_bytes())
        return response


@pytest.fixture(params=[False, True], ids=["before the headers", "in the body"])
async def slow_origins(request: pytest.FixtureRequest) -> AsyncIterator[list[SlowOrigin]]:
    """Enough slow origins for all fetches: an unknown host gets only a few concurrent ones."""
    barrier = asyncio.Barrier(OF_ONE_BATCH)
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(SlowOrigin(all_arrived=barrier, sends_part=request.param))
            for _ in range(OF_ONE_BATCH // INITIAL_LIMIT)
        ]


async def test_the_setting_limits_the_concurrent_fetches_from_slow_origins(
    resources: Resources, processor: AssetProcessor, slow_origins: list[SlowOrigin]
) -> None:
    assert (
        (processor.fetching.fetches.capacity, processor.fetching.memory.capacity)
        == (256, 128 * 2**20)
        == (
            DEFAULTS.max_fetches,
            DEFAULTS.fetch_buffer_bytes,
        )
    )
    assert LANES * LanePolicy().assets == DEFAULTS.max_fetches
    assert processor.fetching.fetches.single_batch_share == OF_ONE_BATCH
    urls = [origin.url(f"/{number}.jpg") for origin in slow_origins for number in range(INITIAL_LIMIT)]
    batch = await submit_batch(resources, urls)
    async with asyncio.timeout(50):  # with one fetch fewer in flight, no fetch would get a response
        await asyncio.gather(*(work(batch.id, resources, processor) for _ in range(LANES)))
    assert (await consistent_batch(resources.sessions, batch.id)).succeeded == OF_ONE_BATCH
    assert sum(len(origin.requests) for origin in slow_origins) == OF_ONE_BATCH
    assert processor.fetching.memory.idle


async def test_the_first_reservation_follows_the_usual_body_size_of_the_host(
    resources: Resources, processor: AssetProcessor, origin: OriginServer
) -> None:
    """Otherwise each would be fetched again when it outgrew its share of a full memory."""
    memory, hosts = FairSemaphore(8 * 2**20), HostLimiter(maximum=64)
    small = fetching_with(processor, memory=memory, fetches=FairSemaphore(64), hosts=hosts)
    large = image_bytes(600, 400, "BMP")
    urls = [origin.serve(f"/{number}.bmp", large) for number in range(40)]
    for expected in (0, len(large)):
        assert hosts.body_size(f"127.0.0.1:{origin.port}") == expected
        batch = await submit_batch(resources, urls[:1] if expected == 0 else urls)
        while await work(batch.id, resources, small):
            pass
    assert (await consistent_batch(resources.sessions, batch.id)).succeeded == len(urls)
    assert len(origin.requests) == 1 + len(urls)


@pytest.mark.parametrize(
    ("share", "body_size", "conditional", "reserved"),
    [
        (512 * 1024, 0, False, 512 * 1024),
        (512 * 1024, 700_000, False, 700_000),
        (512 * 1024, 40_000, False, 512 * 1024),
        (512 * 1024, 2**25, False, MAX_FIRST_RESERVATION),
        (2**25, 0, False, MAX_FIRST_RESERVATION),
        (512 * 1024, 700_000, True, CONDITIONAL_RESERVATION),
        (1_000, 0, True, 1_000),
        (0, 0, False, 1),
    ],
)
def test_a_fetch_reserves_its_share_or_the_usual_body_size_of_its_host(
    share: int, body_size: int, conditional: bool, reserved: int
) -> None:
    assert first_reservation(share, body_size, conditional=conditional) == reserved
