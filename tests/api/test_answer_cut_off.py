"""The database goes away while an answer is streamed: its status is out, so that it can only be cut off."""

from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from structlog.testing import capture_logs

from imgsvc.api.problems import responses
from imgsvc.errors import DatabaseUnavailable, NotFound


def app_that_breaks(error: Exception) -> FastAPI:
    """With a report that breaks after its first line."""
    app = FastAPI()
    responses.install(app)

    async def lines() -> AsyncIterator[bytes]:
        yield b"S. No.,Product Name\r\n"
        raise error

    @app.get("/report")
    async def report() -> StreamingResponse:
        return StreamingResponse(lines())

    return app


@pytest.mark.parametrize(
    ("error", "event", "with_traceback"),
    [
        (DatabaseUnavailable("away"), "response_cut_off", False),
        (NotFound("deleted meanwhile"), "response_cut_off", False),
        (ZeroDivisionError(), "unhandled_error", True),
    ],
)
async def test_it_is_cut_off_and_the_log_has_a_traceback_only_for_a_fault_of_ours(
    error: Exception, event: str, with_traceback: bool
) -> None:
    transport = httpx.ASGITransport(app_that_breaks(error))
    async with httpx.AsyncClient(transport=transport, base_url="http://imgsvc") as client:
        with capture_logs() as logs, pytest.raises((RuntimeError, ZeroDivisionError)):
            await client.get("/report")
    assert [(entry["event"], "exc_info" in entry) for entry in logs] == [(event, with_traceback)]
