"""Following a batch to its end, by polling and by events."""

import json
from typing import Any

import pytest

from imgsvc.api.openapi.examples import ACCEPTED, BATCH, EXAMPLE_ID
from imgsvc.client import ConnectionLost, ServerUnavailable, StillRunning, UnexpectedResponse
from imgsvc.client.events import EventReader
from support.scripted import BROKEN, Answer, Caller, Scripted

STREAM = {"Content-Type": "text/event-stream; charset=utf-8"}


def event(name: str, version: int, batch: dict[str, Any]) -> str:
    shown = {key: batch[key] for key in ("id", "status", "counts", "progress", "bytes", "errors_by_code")}
    return f"event: {name}\nid: {version}\ndata: {json.dumps(shown | {'object': 'progress'})}\n\n"


async def test_follow_yields_each_change_until_the_end(server: Scripted, call: Caller) -> None:
    server.script(Answer(200, ACCEPTED, {"ETag": '"1"'}), Answer(304), Answer(200, BATCH, {"ETag": '"2"'}))
    batches = await call("follow", EXAMPLE_ID)
    assert [batch.status for batch in batches] == ["pending", "completed_with_errors"]
    first, *others = server.requests
    assert "If-None-Match" not in first.headers
    assert [request.headers["If-None-Match"] for request in others] == ['"1"', '"1"']
    assert all("wait=" in request.path for request in others)


async def test_wait_reports_progress_and_returns_the_end(server: Scripted, call: Caller) -> None:
    server.script(Answer(200, ACCEPTED), Answer(200, BATCH))
    seen: list[str] = []
    batch = await call("wait", EXAMPLE_ID, progress=lambda batch: seen.append(batch.status))
    assert batch.has_ended
    assert seen == ["pending", "completed_with_errors"]


async def test_wait_ends_with_its_timeout(server: Scripted, call: Caller) -> None:
    server.script(Answer(200, ACCEPTED))
    with pytest.raises(StillRunning, match=EXAMPLE_ID):
        await call("wait", EXAMPLE_ID, timeout=2)
    assert len(server.requests) > 1


async def test_follow_survives_error_statuses_and_broken_connections(server: Scripted, call: Caller) -> None:
    server.script(Answer(503), Answer(429), Answer(BROKEN, "{"), Answer(200, BATCH))
    assert [batch.has_ended for batch in await call("follow", EXAMPLE_ID)] == [True]
    assert len(server.requests) == 4


async def test_a_server_without_etags_is_polled_with_a_wait(server: Scripted, call: Caller) -> None:
    server.script(Answer(200, ACCEPTED), Answer(200, ACCEPTED), Answer(200, BATCH))
    assert len(await call("follow", EXAMPLE_ID)) == 3
    assert all("wait=" in request.path for request in server.requests[1:])


# -- events -----------------------------------------------------------------------------------------------------------


async def test_events_are_yielded_until_the_end(server: Scripted, call: Caller) -> None:
    stream = f"retry: 2000\n\n{event('progress', 1, ACCEPTED)}: ping\n\nevent: mood\ndata: sunny\n\n"
    server.script(Answer(200, stream + event("end", 2, BATCH) + event("progress", 3, ACCEPTED), STREAM))
    snapshots = await call("events", EXAMPLE_ID)
    assert [(each.status, each.has_ended) for each in snapshots] == [
        ("pending", False),
        ("completed_with_errors", True),
    ]
    assert snapshots[1].errors_by_code == {"http_404": 1}
    [request] = server.requests
    assert request.path == f"/v1/batches/{EXAMPLE_ID}/events"


async def test_a_stream_that_ends_or_breaks_is_resumed(server: Scripted, call: Caller) -> None:
    half = event("progress", 2, BATCH)[:-20]
    server.script(
        Answer(200, "retry: 10\n\n" + event("progress", 1, ACCEPTED), STREAM),  # the server shuts down
        Answer(BROKEN, event("progress", 2, ACCEPTED) + half, STREAM),  # it is killed
        Answer(503),
        Answer(200, event("end", 3, BATCH), STREAM),
    )
    assert [each.status for each in await call("events", EXAMPLE_ID)] == ["pending", "pending", "completed_with_errors"]
    last_ids = [request.headers.get("Last-Event-ID") for request in server.requests]
    assert last_ids == [None, "1", "2", "2"]


def test_an_incomplete_event_changes_nothing() -> None:
    """If the id of an incomplete end were accepted, the server would never send that end again."""
    whole = b'event: end\ndata: {"status": "completed"}\nid: 7\n\n'  # in the server's order
    for cut in range(len(whole)):
        reader = EventReader(id="6")
        assert list(reader.feed(whole[:cut])) == []
        assert reader.id == "6"
        [event] = reader.feed(whole[cut:])
        assert (event.name, event.id, reader.id) == ("end", "7", "7")


async def test_an_end_already_reported_brings_no_event(server: Scripted, call: Caller) -> None:
    server.script(Answer(200, "retry: 10\n\n" + event("progress", 1, BATCH), STREAM), Answer(204))
    assert len(await call("events", EXAMPLE_ID)) == 1
    assert len(server.requests) == 2


async def test_an_html_page_is_not_accepted_as_events(server: Scripted, call: Caller) -> None:
    server.script(Answer(200, "<h1>It works!</h1>", {"Content-Type": "text/html"}))
    with pytest.raises(UnexpectedResponse):
        await call("events", EXAMPLE_ID)


async def test_events_of_an_unavailable_server_end_with_the_retry_timeout(server: Scripted, call_once: Caller) -> None:
    server.script(Answer(BROKEN, "retry: 10\n\n", STREAM), Answer(502))
    with pytest.raises((ConnectionLost, ServerUnavailable)):
        await call_once("events", EXAMPLE_ID)
