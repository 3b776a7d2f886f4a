"""Bodies within their limits and memory budgets, and the reuse of connections."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import pytest
from aiohttp import web

from imgsvc import errors
from imgsvc.adapters.http.body import FIRST_RESERVATION
from imgsvc.adapters.http.fetcher import Fetcher
from support.fetchers import FakeBudget
from support.origin_server import OriginServer, Server, image_bytes
from support.polling import LONG_TIMEOUTS
from support.stack import until

MakeFetcher = Callable[..., Fetcher]  # the fixture of conftest.py

MIB = 2**20
LITTLE = replace(LONG_TIMEOUTS, max_body_bytes=MIB)
QUICK = replace(LITTLE, read_timeout=0.3, total_timeout=1.0)


# -- bodies and budgets -----------------------------------------------------------------------------------------------


def grows_as_bytes_arrive(requested: list[int]) -> bool:
    """Return whether reservations grew up to 3 MiB: doubled each time, or by the bytes that arrived at once."""
    return (
        requested[0] == FIRST_RESERVATION
        and requested[-1] == 3 * MIB
        and requested == sorted(set(requested))
        and 2 < len(requested) < 8
    )


async def test_memory_is_reserved_as_bytes_arrive_up_to_the_declared_length(
    origin: OriginServer, make_fetcher: MakeFetcher
) -> None:
    budget = FakeBudget()
    await make_fetcher().fetch(origin.serve("/a", bytes(3 * MIB)), budget)
    assert grows_as_bytes_arrive(budget.requested)


async def test_without_a_length_the_reservation_doubles_while_the_body_grows(
    origin: OriginServer, make_fetcher: MakeFetcher
) -> None:
    budget = FakeBudget()
    fetched = await make_fetcher(limits=replace(LONG_TIMEOUTS, max_body_bytes=3 * MIB)).fetch(
        origin.url(f"/chunked/{3 * MIB}"), budget
    )
    assert len(fetched.body) == 3 * MIB
    assert grows_as_bytes_arrive(budget.requested)


async def test_a_declared_length_over_the_limit_is_refused_before_any_reservation(
    origin: OriginServer, make_fetcher: MakeFetcher
) -> None:
    budget = FakeBudget()
    with pytest.raises(errors.BodyTooLarge):
        await make_fetcher(limits=LITTLE).fetch(origin.serve("/a", bytes(MIB + 1)), budget)
    assert budget.requested == []


@pytest.mark.parametrize(("size", "too_large"), [(MIB, False), (MIB + 1, True)])
async def test_bytes_are_counted_when_no_length_is_declared(
    size: int, too_large: bool, origin: OriginServer, make_fetcher: MakeFetcher
) -> None:
    fetch = make_fetcher(limits=LITTLE).fetch(origin.url(f"/chunked/{size}"), FakeBudget())
    if too_large:
        with pytest.raises(errors.BodyTooLarge):
            await fetch
    else:
        assert len((await fetch).body) == size


@pytest.mark.parametrize(
    ("path", "most", "least", "highest"),
    [
        ("/a", 999, 1000, 1000),
        (f"/chunked/{3 * MIB}", 2 * MIB, 2 * MIB + 1, 4 * MIB),
        ("/chunked/9", 0, FIRST_RESERVATION, FIRST_RESERVATION),
    ],
)
async def test_a_body_that_exceeds_the_budget_is_given_up(
    path: str, most: int, least: int, highest: int, origin: OriginServer, make_fetcher: MakeFetcher
) -> None:
    origin.serve("/a", bytes(1000))
    with pytest.raises(errors.BudgetExhausted) as caught:
        await make_fetcher().fetch(origin.url(path), FakeBudget(most=most))
    assert least <= caught.value.size <= highest


async def test_a_body_is_cut_at_its_declared_length(origin: OriginServer, make_fetcher: MakeFetcher) -> None:
    budget = FakeBudget()
    try:
        body = (await make_fetcher().fetch(origin.url("/wrong-length/smaller"), budget)).body
    except errors.ConnectError:  # when the surplus comes in the same packet
        body = b""
    assert len(body) <= len(image_bytes()) - 10
    assert budget.requested in ([], [len(image_bytes()) - 10])


@pytest.mark.parametrize(("path", "start"), [("/empty", b""), ("/html", b"<!doctype html>")])
async def test_the_content_of_a_body_is_not_checked(
    path: str, start: bytes, origin: OriginServer, make_fetcher: MakeFetcher
) -> None:
    assert (await make_fetcher().fetch(origin.url(path), FakeBudget())).body.startswith(start)


# -- connections ------------------------------------------------------------------------------------------------------


async def test_sequential_fetches_share_one_connection(origin: OriginServer, make_fetcher: MakeFetcher) -> None:
    fetcher, url = make_fetcher(), origin.serve("/a.jpg", bytes(300_000))
    for _ in range(20):
        await fetcher.fetch(url, FakeBudget())
    assert (len(origin.requests), origin.connections) == (20, 1)


@dataclass
class BarrierServer(Server):
    """A server that responds only when `count` requests are waiting."""

    count: int = 128

    def __post_init__(self) -> None:
        self._all_waiting = asyncio.Barrier(self.count)

    def routes(self) -> Iterable[web.RouteDef]:
        return [web.get("/a.jpg", self._answer)]

    async def _answer(self, request: web.Request) -> web.Response:
        await self._all_waiting.wait()
        return web.Response(body=b"x", content_type="image/jpeg")


async def test_many_fetches_from_one_host_run_at_the_same_time(make_fetcher: MakeFetcher) -> None:
    fetcher = make_fetcher()
    async with BarrierServer() as origin:
        await asyncio.gather(*(fetcher.fetch(origin.url("/a.jpg"), FakeBudget()) for _ in range(origin.count)))
        assert origin.connections == origin.count


@pytest.mark.parametrize("path", ["/endless", "/stall", "/drip"])
async def test_a_connection_with_half_a_response_is_not_reused(
    path: str, origin: OriginServer, make_fetcher: MakeFetcher
) -> None:
    fetcher = make_fetcher(limits=QUICK)
    with pytest.raises(errors.FetchError):
        await fetcher.fetch(origin.url(path), FakeBudget())
    url = origin.serve("/a.jpg", image_bytes())

    async def whole() -> bytes | None:
        try:
            return (await fetcher.fetch(url, FakeBudget())).body
        except (errors.ReadTimeout, errors.TotalTimeout):  # the timeouts are short for a busy machine
            return None

    assert await until(whole) == image_bytes()
    cut_off, *later = (request.peer for request in origin.requests)
    assert cut_off not in later


async def test_a_cancelled_fetch_closes_its_connection(origin: OriginServer, make_fetcher: MakeFetcher) -> None:
    async def send_half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf")
        requested.set_result(None)
        closed.set_result(await reader.read())
        writer.close()

    requested, closed = asyncio.Future[None](), asyncio.Future[bytes]()
    fetcher = make_fetcher()
    async with await asyncio.start_server(send_half, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        fetch = asyncio.create_task(fetcher.fetch(f"http://127.0.0.1:{port}/", FakeBudget()))
        await requested
        fetch.cancel()
        async with asyncio.timeout(60):
            assert await closed == b""
    with pytest.raises(asyncio.CancelledError):
        await fetch
