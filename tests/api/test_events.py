"""GET …/events: snapshots with increasing ids, one end event, and no repeats after a reconnect."""

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
from support.api_calls import ONE_ROW, DrainQueues, catalogue, problem, upload, write
from support.batches import submit_batch
from support.origin_server import OriginServer, image_bytes
from support.served import served

NOWHERE = catalogue(("1", "Shoe", "htp://nowhere"))


class Event(NamedTuple):
    name: str
    id: int
    data: dict[str, Any]


async def events_of(answer: httpx.Response) -> AsyncIterator[Event]:
    """Yield the events of a stream as they arrive."""
    fields: dict[str, str] = {}
    async for line in answer.aiter_lines():
        name, colon, value = line.partition(": ")
        if colon and name:
            fields[name] = value
        elif not line and "data" in fields:
            yield Event(fields["event"], int(fields["id"]), json.loads(fields["data"]))
            fields = {}


async def progress_of_new_batch(resources: Resources) -> BatchProgress:
    """Submit a batch that no worker processes, and return its progress."""
    batch = await submit_batch(resources, ["https://shop.example/a.jpg"])
    return await read_progress(batch.id, api_key_id=batch.api_key_id, sessions=resources.sessions)


@pytest.fixture
def database_kind() -> str:
    return "sqlite"  # the watcher's SELECT is tested on both elsewhere


@pytest.fixture
async def client(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """A client over a socket, so that it receives a stream before it is complete."""
    async with served(settings) as client:
        yield client


async def test_a_stream_has_snapshots_with_growing_ids_and_one_end(
    client: httpx.AsyncClient, drain_queues: DrainQueues, origin: OriginServer
) -> None:
    rows = [(str(row), "Shoe", origin.serve(f"/{row}.jpg", image_bytes(60 + row, 40))) for row in range(40)]
    batch = await upload(client, catalogue(*rows))
    async with client.stream("GET", f"/v1/batches/{batch['id']}/events") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "no-cache, no-transform"
        assert answer.headers["x-accel-buffering"] == "no"
        stream = events_of(answer)
        first = await anext(stream)
        await drain_queues()
        events = [first, *[event async for event in stream]]
    assert [event.name for event in events] == ["progress"] * (len(events) - 1) + ["end"]
    assert [event.id for event in events] == sorted({event.id for event in events})
    shares = [event.data["progress"] for event in events]
    assert shares == sorted(shares)
    assert (first.data["status"], first.data["progress"]) == ("pending", 0)
    current = (await client.get(f"/v1/batches/{batch['id']}")).json()
    fields = ("id", "status", "counts", "progress", "bytes", "errors_by_code")
    assert events[-1].data == {"object": "progress", **{name: current[name] for name in fields}}


@pytest.mark.slow
async def test_two_hundred_listeners_see_the_same_batch_grow_and_end(
    client: httpx.AsyncClient, drain_queues: DrainQueues, origin: OriginServer
) -> None:
    rows = [(str(row), "Shoe", origin.serve(f"/{row}.jpg", image_bytes(60 + row, 40))) for row in range(40)]
    path = f"/v1/batches/{(await upload(client, catalogue(*rows)))['id']}/events"
    opening, listening = asyncio.Semaphore(16), asyncio.Semaphore(0)

    async def listen() -> list[Event]:
        async with AsyncExitStack() as stack:
            async with opening:  # 200 at the same time would time out while they wait for the database
                stream = events_of(await stack.enter_async_context(client.stream("GET", path)))
                first = await anext(stream)
            listening.release()
            return [first, *[event async for event in stream]]

    async with asyncio.TaskGroup() as group:
        listeners = [group.create_task(listen()) for _ in range(200)]
        for _ in listeners:
            await listening.acquire()
        await drain_queues()
    for events in (listener.result() for listener in listeners):
        assert [event.name for event in events] == ["progress"] * (len(events) - 1) + ["end"]
        assert [event.id for event in events] == sorted({event.id for event in events})
        assert events[-1].data["counts"]["assets"]["succeeded"] == 40


async def test_a_client_that_connects_after_the_end_gets_the_end_once(client: httpx.AsyncClient) -> None:
    batch = await upload(client, NOWHERE, on_invalid="skip")
    path = f"/v1/batches/{batch['id']}/events"
    async with client.stream("GET", path) as answer:
        [end] = [event async for event in events_of(answer)]
    assert (end.name, end.data["status"]) == ("end", "failed")
    again = await client.get(path, headers={"Last-Event-ID": str(end.id)})
    assert (again.status_code, again.content) == (204, b"")


@pytest.mark.parametrize("last", ["1", "0", "99", "x", ""])
async def test_the_last_received_event_is_not_sent_again(
    client: httpx.AsyncClient, settings: Settings, last: str
) -> None:
    batch = await upload(client, ONE_ROW)
    async with client.stream("GET", f"/v1/batches/{batch['id']}/events", headers={"Last-Event-ID": last}) as answer:
        lines = answer.aiter_lines()
        assert [await anext(lines), await anext(lines)] == ["retry: 2000", ""]
        await write(settings, "UPDATE batch SET version = 2, status = 'processing', processing = 1")
        async with asyncio.timeout(10):
            while not (line := await anext(lines)).startswith("id: "):
                pass
    assert line == ("id: 2" if last == "1" else "id: 1")


async def test_the_events_of_an_unknown_batch_are_404(client: httpx.AsyncClient) -> None:
    problem(await client.get("/v1/batches/bat_01m81syxdvn0cchm7jgbq1vyb2/events"), 404, "not-found")


async def test_a_stream_ends_without_an_end_when_the_process_is_asked_to_stop(resources: Resources) -> None:
    watcher, progress = Watcher(resources.sessions), await progress_of_new_batch(resources)
    stream = event_stream(progress, watcher, skip_first=True)
    assert await anext(stream) == b"retry: 2000\n\n"
    rest = asyncio.create_task(anext(stream, None))
    async with asyncio.timeout(20):
        await asyncio.sleep(0)
        await watcher.close()
        assert await rest is None


async def test_a_client_that_disconnects_is_no_longer_a_waiter(resources: Resources) -> None:
    watcher, progress = Watcher(resources.sessions), await progress_of_new_batch(resources)
    stream = event_stream(progress, watcher, skip_first=True)
    assert await anext(stream) == b"retry: 2000\n\n"
    waiting = asyncio.ensure_future(anext(stream))
    async with asyncio.timeout(20):
        while not watcher.has_waiters:  # noqa: ASYNC110  # nothing announces it
            await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert not watcher.has_waiters


async def test_an_idle_stream_has_heartbeats_and_ends_after_its_lifetime(resources: Resources) -> None:
    watcher, progress = Watcher(resources.sessions), await progress_of_new_batch(resources)
    async with asyncio.timeout(20):
        async with aclosing(event_stream(progress, watcher, skip_first=True, heartbeat=0.05, lifetime=60)) as stream:
            assert [await anext(stream), await anext(stream)] == [b"retry: 2000\n\n", KEEPALIVE_COMMENT]
        short = [
            piece async for piece in event_stream(progress, watcher, skip_first=True, heartbeat=0.05, lifetime=0.3)
        ]
    assert short[0] == b"retry: 2000\n\n"
    assert set(short[1:]) <= {KEEPALIVE_COMMENT}
