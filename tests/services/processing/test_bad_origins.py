"""Origins that misbehave at the protocol level: each fetch ends in time with its own code, and none harms another."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from ipaddress import ip_network

import pytest

from imgsvc.adapters.http.connector import MAX_IDLE
from imgsvc.adapters.http.fetcher import EgressPolicy, Fetcher
from imgsvc.adapters.http.transport import MAX_RETRY_AFTER
from imgsvc.bootstrap import Resources
from imgsvc.errors import BlockedAddress, FetchError
from imgsvc.services.processing.process_asset import AssetProcessor
from imgsvc.services.throttling.host_limiter import HostLimiter
from imgsvc.settings.server import Settings
from support.bad_answers import MISBEHAVIOURS
from support.bad_origins import Act, Bad, BadOrigin, Connection, redirects, response, send_image, sends
from support.batches import ManualClock, assets_of, batch_of, consistent_batch, submit_batch
from support.fetchers import FakeBudget
from support.lanes import fetching_with, work
from support.origin_server import OriginServer, image_bytes
from support.polling import LONG_TIMEOUTS

pytestmark = pytest.mark.slow

LIMITS = replace(LONG_TIMEOUTS, max_body_bytes=200_000, max_redirects=3)
SHORT = {
    "connect_timeout": replace(LIMITS, connect_timeout=1.0),
    "read_timeout": replace(LIMITS, read_timeout=1.0),
    "total_timeout": replace(LIMITS, total_timeout=2.0),
}
"""For each timeout's error code, limits that shorten it alone, so that no other timeout comes first."""
ATTEMPTS = 2
MAX_RUNS = 300
"""Runs of a lane until the batch ends; the clock of the host limiter is real."""
TIMEOUT_CODES = ("connect_timeout", "read_timeout", "total_timeout")
WELL_BEHAVED = Bad("well-behaved", "nothing wrong so far", "", send_image)


@pytest.fixture
def bad() -> Bad:
    return WELL_BEHAVED


@pytest.fixture
async def fetcher(bad: Bad) -> AsyncIterator[Fetcher]:
    limits, egress = SHORT.get(bad.code, LIMITS), EgressPolicy([ip_network("127.0.0.1/32")])
    fetcher = Fetcher(
        limits=limits, egress=egress, user_agent="imgsvc-test", tls=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    )
    yield fetcher
    await fetcher.aclose()


async def fetch_error(fetcher: Fetcher, url: str, budget: FakeBudget) -> FetchError | None:
    try:
        fetched = await fetcher.fetch(url, budget)
    except FetchError as error:
        return error
    assert len(fetched.body) <= LIMITS.max_body_bytes
    return None


@pytest.mark.parametrize("bad", MISBEHAVIOURS, ids=lambda bad: bad.name)
async def test_a_misbehaving_origin_ends_the_fetch_in_time_with_its_code(bad: Bad, fetcher: Fetcher) -> None:
    async with BadOrigin(bad) as origin:
        budget = FakeBudget()
        error = await fetch_error(fetcher, origin.url, budget)
        if bad.decoder:
            assert error is None
        else:
            assert error is not None
            assert (error.code, error.retryable) == (bad.code, bad.retryable)
        assert max(budget.requested, default=0) <= LIMITS.max_body_bytes
        if not bad.whole:
            async with asyncio.timeout(60):
                await origin.all_gone()
        origin.fixed = True
        fetched = await fetcher.fetch(origin.url.replace("https:", "http:"), FakeBudget())
        assert fetched.body == image_bytes()


@pytest.mark.parametrize(("host", "called"), [("127.0.0.2", "127.0.0.2"), ("::1", "[::1]"), ("127.0.0.1", "0.0.0.0")])
async def test_a_redirect_to_a_refused_address_is_never_connected(host: str, called: str, fetcher: Fetcher) -> None:
    async with OriginServer(host=host) as refused:
        elsewhere = f"http://{called}:{refused.port}/".encode()
        async with BadOrigin(replace(WELL_BEHAVED, act=redirects(elsewhere))) as origin:
            with pytest.raises(BlockedAddress):
                await fetcher.fetch(origin.url, FakeBudget())
        assert refused.accepted == 0


# -- kept connections -------------------------------------------------------------------------------------------------


async def test_a_second_response_to_one_request_is_discarded(fetcher: Fetcher) -> None:
    async with BadOrigin(replace(WELL_BEHAVED, act=sends(response(image_bytes()) + response(b"poison")))) as origin:
        assert (await fetcher.fetch(origin.url, FakeBudget())).body == image_bytes()
        assert (await fetcher.fetch(origin.url, FakeBudget())).body == image_bytes()
        assert len(origin.connections) == 2


async def test_an_unrequested_response_between_requests_is_discarded(fetcher: Fetcher, origin: OriginServer) -> None:
    async with BadOrigin(WELL_BEHAVED) as pushing:
        assert (await fetcher.fetch(pushing.url, FakeBudget())).body == image_bytes()
        await pushing.connections[0].send(response(b"poison"))
        await fetcher.fetch(origin.serve("/a.jpg", image_bytes()), FakeBudget())  # now the client has seen the poison
        assert (await fetcher.fetch(pushing.url, FakeBudget())).body == image_bytes()
        assert len(pushing.connections) == 2


async def test_an_unrequested_response_that_is_still_unread_is_discarded(fetcher: Fetcher) -> None:
    async with BadOrigin(WELL_BEHAVED) as pushing:
        assert (await fetcher.fetch(pushing.url, FakeBudget())).body == image_bytes()
        await pushing.connections[0].send(response(b"poison"))
        assert (await fetcher.fetch(pushing.url, FakeBudget())).body == image_bytes()
        assert len(pushing.connections) == 2


async def test_unrequested_data_ends_a_kept_connection(fetcher: Fetcher) -> None:
    async with BadOrigin(WELL_BEHAVED) as pushing:
        assert (await fetcher.fetch(pushing.url, FakeBudget())).body == image_bytes()
        await pushing.connections[0].send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" * 1_000)
        async with asyncio.timeout(60):
            await pushing.all_gone()


async def test_few_connections_are_kept_however_many_servers_there_are(fetcher: Fetcher) -> None:
    async with AsyncExitStack() as stack:
        origins = [await stack.enter_async_context(BadOrigin(WELL_BEHAVED)) for _ in range(MAX_IDLE + 20)]
        for origin in origins:
            assert (await fetcher.fetch(origin.url, FakeBudget())).body == image_bytes()
        async with asyncio.timeout(60):
            for origin in origins[MAX_IDLE:]:
                await origin.all_gone()


async def hangs_up_on_the_second(connection: Connection) -> None:
    await (connection.hang_up() if next(connection.hops) == 1 else send_image(connection))


async def resets_on_the_second(connection: Connection) -> None:
    await (connection.reset() if next(connection.hops) == 1 else send_image(connection))


@pytest.mark.parametrize("act", [hangs_up_on_the_second, resets_on_the_second], ids=["FIN", "RST"])
async def test_a_kept_connection_that_ends_at_the_next_request_costs_no_fetch(act: Act, fetcher: Fetcher) -> None:
    async with BadOrigin(replace(WELL_BEHAVED, act=act)) as origin:
        for _ in range(3):
            assert (await fetcher.fetch(origin.url, FakeBudget())).body == image_bytes()
        assert len(origin.connections) == 2


@pytest.mark.parametrize("leave", [Connection.hang_up, Connection.reset], ids=["FIN", "RST"])
async def test_a_kept_connection_that_ended_just_before_costs_no_fetch(
    leave: Callable[[Connection], Awaitable[None]], fetcher: Fetcher
) -> None:
    async with BadOrigin(WELL_BEHAVED) as origin:
        await fetcher.fetch(origin.url, FakeBudget())
        await leave(origin.connections[0])
        assert (await fetcher.fetch(origin.url, FakeBudget())).body == image_bytes()
        assert len(origin.connections) == 2


# -- all of them in one batch -----------------------------------------------------------------------------------------


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Settings with short timeouts, under which one address of loopback is allowed."""
    return settings.model_copy(
        update={
            "allowed_networks": (ip_network("127.0.0.1/32"),),
            "connect_timeout": 3.0,
            "read_timeout": 2.0,
            "total_timeout": 4.0,
            "max_image_bytes": LIMITS.max_body_bytes,
            "max_redirects": LIMITS.max_redirects,
            "max_attempts": ATTEMPTS,
        }
    )


@pytest.fixture
def database_kind() -> str:
    return "sqlite"  # the database has no part in this


@pytest.mark.slow
async def test_a_batch_with_all_bad_origins_ends_and_compresses_every_good_image(
    resources: Resources, processor: AssetProcessor, origin: OriginServer, clock: ManualClock
) -> None:
    good = [origin.serve(f"/{number}.jpg", image_bytes(64, 40 + number % 7)) for number in range(60)]
    processor = replace(processor, retries=replace(processor.retries, max_attempts=ATTEMPTS))
    async with AsyncExitStack() as stack:
        bad = {
            server.url: server.bad
            for server in [await stack.enter_async_context(BadOrigin(bad)) for bad in MISBEHAVIOURS]
        }
        mixed = sorted([*good, *bad], key=lambda url: url[-8:])
        batch = await submit_batch(resources, mixed)
        hurried = fetching_with(processor, hosts=HostLimiter(maximum=64, patience=1))
        for _ in range(MAX_RUNS):
            while await work(batch.id, resources, hurried):
                pass
            if (await batch_of(resources.sessions, batch.id)).finished_at:
                break
            clock.forward(MAX_RETRY_AFTER + 1)  # an origin that asked for years is tried again after an hour
        endings = {
            asset.origin_url: (asset.status, asset.error_code, asset.attempts)
            for asset in await assets_of(resources.sessions, batch.id)
        }
    for url in good:
        assert endings.pop(url)[:2] == ("succeeded", None)
    for url, each in bad.items():  # on a busy machine a fetch may time out first
        status, code, attempts = endings.pop(url)
        assert (status, code) in {("failed", code) for code in (each.code, *TIMEOUT_CODES)}, each
        assert attempts <= ATTEMPTS
    assert not endings
    assert (await consistent_batch(resources.sessions, batch.id)).status == "completed_with_errors"
    assert processor.fetching.memory.idle
    assert processor.fetching.fetches.idle
