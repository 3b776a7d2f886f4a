"""The stream of a batch's events, as the HTML standard (§9.2) has them."""

from collections.abc import AsyncGenerator
from time import monotonic

from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event

from imgsvc.api.live.watcher import Watcher
from imgsvc.api.schemas.batches import progress_out
from imgsvc.db.queries.batches import BatchProgress
from imgsvc.domain.status import OPEN_BATCH
from imgsvc.errors import NotFound

RECONNECT_AFTER = 2_000
"""Milliseconds after which a client that lost the stream asks for it again."""
HEARTBEAT = 15.0
"""Seconds of silence that proxies live through: nginx hangs up after 60."""
LIFETIME = 300.0
"""Seconds after which a client has to ask again, and is asked again for its API key."""


async def event_stream(
    figures: BatchProgress, watcher: Watcher, *, known: bool, heartbeat: float = HEARTBEAT, lifetime: float = LIFETIME
) -> AsyncGenerator[bytes, None]:
    """From `figures` on, which are left out if they are `known`, to the end of the batch.

    It breaks off after `lifetime` seconds, when the batch is deleted, and when the process is asked to stop.
    """
    until = monotonic() + lifetime
    yield format_sse_event(retry=RECONNECT_AFTER)
    if not known:
        yield _event(figures)
    while figures.status in OPEN_BATCH and not watcher.is_closing and monotonic() < until:
        try:
            news = await watcher.wait(figures.id, known=figures.version, timeout=heartbeat)
        except NotFound:
            return  # whoever asks again is told
        if news:
            figures = news
            yield _event(figures)
        elif not watcher.is_closing:
            yield KEEPALIVE_COMMENT


def _event(figures: BatchProgress) -> bytes:
    return format_sse_event(
        event="progress" if figures.status in OPEN_BATCH else "end",
        id=str(figures.version),
        data_str=progress_out(figures).model_dump_json(),
    )
