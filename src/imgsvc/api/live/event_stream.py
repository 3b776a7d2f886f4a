"""The stream of a batch's events (server-sent events, HTML standard §9.2)."""

from collections.abc import AsyncGenerator
from time import monotonic

from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event

from imgsvc.api.live.watcher import Watcher
from imgsvc.api.schemas.batches import progress_out
from imgsvc.db.queries.batches import BatchProgress
from imgsvc.domain.status import OPEN_BATCH
from imgsvc.errors import NotFound

RECONNECT_AFTER = 2_000
"""Milliseconds after which a client reconnects when it has lost the stream."""
HEARTBEAT = 15.0
"""Seconds of silence before a comment is sent, so that proxies keep the connection: nginx closes it after 60."""
LIFETIME = 300.0
"""Seconds after which a client has to reconnect, so that its API key is checked again."""


async def event_stream(
    progress: BatchProgress,
    watcher: Watcher,
    *,
    skip_first: bool,
    heartbeat: float = HEARTBEAT,
    lifetime: float = LIFETIME,
) -> AsyncGenerator[bytes, None]:
    """Yield the events from `progress` to the end of the batch; `skip_first` omits the event for `progress` itself.

    The stream ends early after `lifetime` seconds, when the batch is deleted, and when the process is asked to stop.
    """
    deadline = monotonic() + lifetime
    yield format_sse_event(retry=RECONNECT_AFTER)
    if not skip_first:
        yield _event(progress)
    while progress.status in OPEN_BATCH and not watcher.is_closing and monotonic() < deadline:
        try:
            update = await watcher.wait(progress.id, newer_than=progress.version, timeout=heartbeat)
        except NotFound:
            return  # a client that reconnects gets 404
        if update:
            progress = update
            yield _event(progress)
        elif not watcher.is_closing:
            yield KEEPALIVE_COMMENT


def _event(progress: BatchProgress) -> bytes:
    return format_sse_event(
        event="progress" if progress.status in OPEN_BATCH else "end",
        id=str(progress.version),
        data_str=progress_out(progress).model_dump_json(),
    )
