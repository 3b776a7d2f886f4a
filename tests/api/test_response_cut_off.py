"""The database fails during a streamed response: its status has been sent, so it can only be cut off."""

from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from structlog.testing import capture_logs

from imgsvc.api.problems import responses
from imgsvc.errors import DatabaseUnavailable, NotFound


def app_that_breaks(error: Exception) -> FastAPI:
    """Return an application whose report fails after its first line."""
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
async def test_the_response_is_cut_off_and_only_a_bug_is_logged_with_a_traceback(
    error: Exception, event: str, with_traceback: bool
) -> None:
    transport = httpx.ASGITransport(app_that_breaks(error))
    async with httpx.AsyncClient(transport=transport, base_url="http://imgsvc") as client:
        with capture_logs() as logs, pytest.raises((RuntimeError, ZeroDivisionError)):
            await client.get("/report")
    assert [(entry["event"], "exc_info" in entry) for entry in logs] == [(event, with_traceback)]
