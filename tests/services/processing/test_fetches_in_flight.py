"""As many fetches are in flight at one time as `IMGSVC_MAX_FETCHES` says, and no more."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import pytest
from aiohttp import web

from imgsvc.bootstrap import Resources
from imgsvc.services.processing.fetch import CONDITIONAL_RESERVATION, MAX_FIRST_RESERVATION, first_reservation
from imgsvc.services.processing.lane import LanePolicy
from imgsvc.services.processing.process_asset import AssetProcessor
from imgsvc.services.throttling.fair_semaphore import FairSemaphore
from imgsvc.services.throttling.host_limiter import HostLimiter
from imgsvc.services.throttling.host_rate import INITIAL_LIMIT
from imgsvc.settings.server import Settings
from support.batches import exact, submitted
from support.lanes import fetching_with, work
from support.origin_server import OriginServer, Server, image_bytes

DEFAULTS = Settings()
LANES = 4


@pytest.fixture
def database_kind() -> str:
    return "sqlite"  # the database has no part in this


@dataclass
class SlowOrigin(Server):
    """Answers when all the fetches that are allowed at one time have come; until then perhaps a part of its body."""

    all_there: asyncio.Barrier = field(default_factory=lambda: asyncio.Barrier(1))
    sends_a_part: bool = False

    def routes(self) -> Iterable[web.RouteDef]:
        return [web.get("/{number}.jpg", self._answer)]

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        if self.sends_a_part:
            await response.prepare(request)
            await response.write(image_bytes()[:100])
        await self.all_there.wait()
        if self.sends_a_part:
            await response.write(image_bytes()[100:])
        else:
            await response.prepare(request)
            await response.write(image_bytes())
        return response


@pytest.fixture(params=[False, True], ids=["before the headers", "in the body"])
async def slow_origins(request: pytest.FixtureRequest) -> AsyncIterator[list[SlowOrigin]]:
    """As many as it takes: of a host that is not known yet only a few fetches are made at one time."""
    barrier = asyncio.Barrier(DEFAULTS.max_fetches)
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(SlowOrigin(all_there=barrier, sends_a_part=request.param))
            for _ in range(DEFAULTS.max_fetches // INITIAL_LIMIT)
        ]


async def test_as_many_slow_origins_as_the_setting_says_are_fetched_from_at_one_time(
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
    urls = [origin.url(f"/{number}.jpg") for origin in slow_origins for number in range(INITIAL_LIMIT)]
    batch = await submitted(resources, urls)
    async with asyncio.timeout(50):  # with one fetch fewer in flight nobody would be answered
        await asyncio.gather(*(work(batch.id, resources, processor) for _ in range(LANES)))
    assert (await exact(resources.sessions, batch.id)).succeeded == DEFAULTS.max_fetches
    assert sum(len(origin.requests) for origin in slow_origins) == DEFAULTS.max_fetches
    assert processor.fetching.memory.idle


async def test_a_host_of_larger_bodies_gets_their_room_at_first(
    resources: Resources, processor: AssetProcessor, origin: OriginServer
) -> None:
    """Otherwise each of them would be fetched again, once it outgrew its share of a memory that is full."""
    memory, hosts = FairSemaphore(8 * 2**20), HostLimiter(maximum=64)
    bench = fetching_with(processor, memory=memory, fetches=FairSemaphore(64), hosts=hosts)
    large = image_bytes(600, 400, "BMP")
    urls = [origin.serve(f"/{number}.bmp", large) for number in range(40)]
    for expected in (0, len(large)):
        assert hosts.body_size(f"127.0.0.1:{origin.port}") == expected
        batch = await submitted(resources, urls[:1] if expected == 0 else urls)
        while await work(batch.id, resources, bench):
            pass
    assert (await exact(resources.sessions, batch.id)).succeeded == len(urls)
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
def test_a_fetch_reserves_its_share_or_what_its_host_usually_sends(
    share: int, body_size: int, conditional: bool, reserved: int
) -> None:
    assert first_reservation(share, body_size, conditional=conditional) == reserved
