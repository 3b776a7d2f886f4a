"""Events: how a batch goes, pushed."""

from typing import Annotated

from fastapi import APIRouter, Header, Response
from fastapi.sse import EventSourceResponse

from imgsvc.api.dependencies import BatchId, Caller, Open, Watch
from imgsvc.api.live.event_stream import event_stream
from imgsvc.api.openapi.text_examples import EVENTS
from imgsvc.api.problems.documented import documented
from imgsvc.domain.status import OPEN_BATCH
from imgsvc.services.batches.read import read_progress

router = APIRouter(prefix="/v1/batches", tags=["Batches"])

UNBUFFERED = {"Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no"}
"""What keeps caches, compressing proxies and nginx from holding events back."""

_EVENT = {
    "type": "object",
    "description": "One event of the stream.",
    "properties": {
        "event": {"type": "string", "enum": ["progress", "end"]},
        "id": {"type": "string", "description": "The batch's version; it grows."},
        "data": {"type": "string", "contentMediaType": "application/json"},
        "retry": {
            "type": "integer",
            "description": "Milliseconds after which to ask again when the stream breaks off.",
        },
    },
}


@router.get(
    "/{batch_id}/events",
    summary="Watch a batch",
    operation_id="stream_events",
    responses={
        200: {
            "description": "A stream of `progress` events, then one `end`",
            "content": {"text/event-stream": {"schema": _EVENT, "example": EVENTS}},
        },
        204: {"description": "The batch has ended, and `Last-Event-ID` is that of its end: there is nothing more"},
        **documented(404, 503),
    },
    response_class=Response,
)
async def stream_events(
    caller: Caller,
    batch_id: BatchId,
    resources: Open,
    watcher: Watch,
    last_event_id: Annotated[str | None, Header(description="The `id` of the last event you have seen.")] = None,
) -> Response:
    """A `progress` event now and after each change, an `end` event when the batch has ended; then the stream closes.

    Each is a snapshot: its `id` grows, and what was in between is left out. When the stream ends without `end` (after
    five minutes, or because the service was restarted), ask again with `Last-Event-ID`; an `EventSource` does so by
    itself, and stops asking when the batch has ended. (A browser's own sends no API key; `fetch` can.)
    """
    figures = await read_progress(batch_id, api_key_id=caller, sessions=resources.sessions)
    known = last_event_id == str(figures.version)
    if known and figures.status not in OPEN_BATCH:
        return Response(status_code=204)
    return EventSourceResponse(event_stream(figures, watcher, known=known), headers=UNBUFFERED)
