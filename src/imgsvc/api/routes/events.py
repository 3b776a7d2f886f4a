"""Server-sent events: the progress of a batch, pushed to the client."""

from typing import Annotated

from fastapi import APIRouter, Header, Response
from fastapi.sse import EventSourceResponse

from imgsvc.api.dependencies import BatchId, Caller, ResourcesDep, WatcherDep
from imgsvc.api.live.event_stream import event_stream
from imgsvc.api.openapi.text_examples import EVENTS
from imgsvc.api.problems.documented import documented
from imgsvc.domain.status import OPEN_BATCH
from imgsvc.services.batches.read import read_progress

router = APIRouter(prefix="/v1/batches", tags=["Batches"])

UNBUFFERED = {"Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no"}
"""Headers that keep caches, compressing proxies and nginx from buffering events."""

_EVENT = {
    "type": "object",
    "description": "One event of the stream.",
    "properties": {
        "event": {"type": "string", "enum": ["progress", "end"]},
        "id": {"type": "string", "description": "The version of the batch; it increases."},
        "data": {"type": "string", "contentMediaType": "application/json"},
        "retry": {
            "type": "integer",
            "description": "Milliseconds to wait before reconnecting when the stream is interrupted.",
        },
    },
}


@router.get(
    "/{batch_id}/events",
    summary="Stream batch events",
    operation_id="stream_events",
    responses={
        200: {
            "description": "A stream of `progress` events, then one `end`",
            "content": {"text/event-stream": {"schema": _EVENT, "example": EVENTS}},
        },
        204: {"description": "The batch has ended, and `Last-Event-ID` is its last event: no more events follow"},
        **documented(404, 503),
    },
    response_class=Response,
)
async def stream_events(
    caller: Caller,
    batch_id: BatchId,
    resources: ResourcesDep,
    watcher: WatcherDep,
    last_event_id: Annotated[str | None, Header(description="The `id` of the last event that you received.")] = None,
) -> Response:
    """Send a `progress` event now and after each change, and an `end` event when the batch has ended; then close.

    Each event is a snapshot with an increasing `id`; intermediate states are skipped. If the stream closes without an
    `end` event (after five minutes, or because the service restarted), reconnect with `Last-Event-ID`. `EventSource`
    reconnects by itself, and stops when the batch has ended. (The `EventSource` of browsers cannot send an API key;
    `fetch` can.)
    """
    progress = await read_progress(batch_id, api_key_id=caller, sessions=resources.sessions)
    has_seen = last_event_id == str(progress.version)
    if has_seen and progress.status not in OPEN_BATCH:
        return Response(status_code=204)
    return EventSourceResponse(event_stream(progress, watcher, skip_first=has_seen), headers=UNBUFFERED)
