"""GET …/events: snapshots whose ids grow, one end, and nothing twice for whoever comes back."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing
from typing import Any, NamedTuple

import httpx
import pytest
from fastapi.sse import KEEPALIVE_COMMENT

from imgsvc.api.live.event_stream import event_stream
from imgsvc.api.live.watcher import Watcher
from imgsvc.bootstrap import Resources
from imgsvc.db.queries.batches import BatchProgress
from imgsvc.services.batches.read import read_progress
from imgsvc.settings.server import Settings
from support.api_calls import ONE_ROW, WorkOff, catalogue, problem, upload, write
from support.batches import submit_batch
from support.origin_server import OriginServer, image_bytes
from support.served import served

NOWHERE = catalogue(("1", "Shoe", "htp://nowhere"))


class Event(NamedTuple):
    name: str
    id: int
    data: dict[str, Any]


async def told(answer: httpx.Response) -> AsyncIterator[Event]:
    """The events of a stream as they arrive."""
    fields: dict[str, str] = {}
    async for line in answer.aiter_lines():
        name, colon, value = line.partition(": ")
        if colon and name:
            fields[name] = value
        elif not line and "data" in fields:
            yield Event(fields["event"], int(fields["id"]), json.loads(fields["data"]))
            fields = {}


async def figures_of(parts: Resources) -> BatchProgress:
    """Of a batch that nobody works on."""
    batch = await submit_batch(parts, ["https://shop.example/a.jpg"])
    return await read_progress(batch.id, api_key_id=batch.api_key_id, sessions=parts.sessions)


@pytest.fixture
def database_kind() -> str:
    return "sqlite"  # the watcher's statement has tests of its own on both


@pytest.fixture
async def client(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """On a socket: a stream is of use while it is not complete."""
    async with served(settings) as client:
        yield client


async def test_a_stream_has_snapshots_with_growing_ids_and_one_end(
    client: httpx.AsyncClient, work_off: WorkOff, origin: OriginServer
) -> None:
    rows = [(str(row), "Shoe", origin.serve(f"/{row}.jpg", image_bytes(60 + row, 40))) for row in range(40)]
    batch = await upload(client, catalogue(*rows))
    async with client.stream("GET", f"/v1/batches/{batch['id']}/events") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "no-cache, no-transform"
        assert answer.headers["x-accel-buffering"] == "no"
        stream = told(answer)
        first = await anext(stream)
        await work_off()
        seen = [first, *[event async for event in stream]]
    assert [event.name for event in seen] == ["progress"] * (len(seen) - 1) + ["end"]
    assert [event.id for event in seen] == sorted({event.id for event in seen})
    shares = [event.data["progress"] for event in seen]
    assert shares == sorted(shares)
    assert (first.data["status"], first.data["progress"]) == ("pending", 0)
    shown = (await client.get(f"/v1/batches/{batch['id']}")).json()
    figures = ("id", "status", "counts", "progress", "bytes", "errors_by_code")
    assert seen[-1].data == {"object": "progress", **{name: shown[name] for name in figures}}


@pytest.mark.slow
async def test_two_hundred_listeners_see_the_same_batch_grow_and_end(
    client: httpx.AsyncClient, work_off: WorkOff, origin: OriginServer
) -> None:
    rows = [(str(row), "Shoe", origin.serve(f"/{row}.jpg", image_bytes(60 + row, 40))) for row in range(40)]
    path = f"/v1/batches/{(await upload(client, catalogue(*rows)))['id']}/events"
    opening, listening = asyncio.Semaphore(16), asyncio.Semaphore(0)

    async def listen() -> list[Event]:
        async with AsyncExitStack() as stack:
            async with opening:  # 200 at one moment wait longer for the database than it makes anybody wait
                stream = told(await stack.enter_async_context(client.stream("GET", path)))
                first = await anext(stream)
            listening.release()
            return [first, *[event async for event in stream]]

    async with asyncio.TaskGroup() as group:
        listeners = [group.create_task(listen()) for _ in range(200)]
        for _ in listeners:
            await listening.acquire()
        await work_off()
    for seen in (listener.result() for listener in listeners):
        assert [event.name for event in seen] == ["progress"] * (len(seen) - 1) + ["end"]
        assert [event.id for event in seen] == sorted({event.id for event in seen})
        assert seen[-1].data["counts"]["assets"]["succeeded"] == 40


async def test_whoever_comes_after_the_end_gets_it_once(client: httpx.AsyncClient) -> None:
    batch = await upload(client, NOWHERE, on_invalid="skip")
    path = f"/v1/batches/{batch['id']}/events"
    async with client.stream("GET", path) as answer:
        [end] = [event async for event in told(answer)]
    assert (end.name, end.data["status"]) == ("end", "failed")
    again = await client.get(path, headers={"Last-Event-ID": str(end.id)})
    assert (again.status_code, again.content) == (204, b"")


@pytest.mark.parametrize("last", ["1", "0", "99", "x", ""])
async def test_what_is_known_is_not_told_again(client: httpx.AsyncClient, settings: Settings, last: str) -> None:
    batch = await upload(client, ONE_ROW)
    async with client.stream("GET", f"/v1/batches/{batch['id']}/events", headers={"Last-Event-ID": last}) as answer:
        lines = answer.aiter_lines()
        assert [await anext(lines), await anext(lines)] == ["retry: 2000", ""]
        await write(settings, "UPDATE batch SET version = 2, status = 'processing', processing = 1")
        async with asyncio.timeout(10):
            while not (line := await anext(lines)).startswith("id: "):
                pass
    assert line == ("id: 2" if last == "1" else "id: 1")


async def test_a_batch_that_is_none_has_no_events(client: httpx.AsyncClient) -> None:
    problem(await client.get("/v1/batches/bat_01m81syxdvn0cchm7jgbq1vyb2/events"), 404, "not-found")


async def test_a_stream_ends_without_an_end_when_the_process_is_asked_to_stop(resources: Resources) -> None:
    watcher, figures = Watcher(resources.sessions), await figures_of(resources)
    stream = event_stream(figures, watcher, skip_first=True)
    assert await anext(stream) == b"retry: 2000\n\n"
    rest = asyncio.create_task(anext(stream, None))
    async with asyncio.timeout(20):
        await asyncio.sleep(0)
        await watcher.close()
        assert await rest is None


async def test_whoever_goes_away_is_not_watched_for_any_more(resources: Resources) -> None:
    watcher, figures = Watcher(resources.sessions), await figures_of(resources)
    stream = event_stream(figures, watcher, skip_first=True)
    assert await anext(stream) == b"retry: 2000\n\n"
    waiting = asyncio.ensure_future(anext(stream))
    async with asyncio.timeout(20):
        while not watcher.has_waiters:  # noqa: ASYNC110  # nothing announces it
            await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert not watcher.has_waiters


async def test_while_nothing_happens_there_are_heartbeats_and_after_a_while_it_ends(resources: Resources) -> None:
    watcher, figures = Watcher(resources.sessions), await figures_of(resources)
    async with asyncio.timeout(20):
        async with aclosing(event_stream(figures, watcher, skip_first=True, heartbeat=0.05, lifetime=60)) as stream:
            assert [await anext(stream), await anext(stream)] == [b"retry: 2000\n\n", KEEPALIVE_COMMENT]
        short = [piece async for piece in event_stream(figures, watcher, skip_first=True, heartbeat=0.05, lifetime=0.3)]
    assert short[0] == b"retry: 2000\n\n"
    assert set(short[1:]) <= {KEEPALIVE_COMMENT}
