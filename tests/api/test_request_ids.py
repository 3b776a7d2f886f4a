"""X-Request-ID: on every response, including unexpected errors."""

import asyncio
from dataclasses import replace

import httpx
import pytest
import structlog

from imgsvc.settings.server import Settings
from support.api_calls import problem, serving


@pytest.fixture
def database_kind() -> str:
    return "sqlite"  # HTTP responses are the same on both


class BrokenStorage:
    """A storage whose check fails unexpectedly."""

    async def check(self) -> None:
        raise ZeroDivisionError("secret detail")


@pytest.mark.parametrize("given", ["abc", "01HV-7.x/y+z=", "a" * 128])
async def test_the_id_of_the_request_is_returned(client: httpx.AsyncClient, given: str) -> None:
    answer = await client.get("/healthz", headers={"X-Request-ID": given})
    assert answer.headers["x-request-id"] == given


@pytest.mark.parametrize("given", ["", "a b", "x" * 129, "<script>", 'a"b'])
async def test_a_harmful_id_is_replaced(client: httpx.AsyncClient, given: str) -> None:
    answer = await client.get("/healthz", headers={"X-Request-ID": given})
    assert answer.headers["x-request-id"].startswith("req_")


async def test_a_request_without_an_id_gets_a_new_one(client: httpx.AsyncClient) -> None:
    first, second = [(await client.get("/healthz")).headers["x-request-id"] for _ in range(2)]
    assert first != second


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nothing", 404), ("PUT", "/v1/batches", 405)])
async def test_an_error_response_has_the_id_in_header_and_body(
    client: httpx.AsyncClient, method: str, path: str, status: int
) -> None:
    answer = await client.request(method, path, headers={"X-Request-ID": "mine"})
    assert problem(answer, status)["request_id"] == "mine"


async def test_a_bug_is_a_500_with_the_logged_request_id_and_without_details(
    settings: Settings,
) -> None:
    async with serving(settings) as (app, client):
        app.state.resources = replace(app.state.resources, storage=BrokenStorage())
        with structlog.testing.capture_logs() as logged:
            answer = await client.get("/readyz", headers={"X-Request-ID": "mine"})

    body = problem(answer, 500, "internal-error")
    assert body["request_id"] == answer.headers["x-request-id"] == "mine"
    assert "secret" not in answer.text
    [event] = [event for event in logged if event["event"] == "unhandled_error"]
    assert event["request_id"] == "mine"
    assert isinstance(event["exc_info"], ZeroDivisionError)


async def test_a_500_leaves_no_task_running(settings: Settings) -> None:
    """The other checks of /readyz end first: during a shutdown they would run on a closed event loop."""
    async with serving(settings) as (app, client):
        app.state.resources = replace(app.state.resources, storage=BrokenStorage())
        before = asyncio.all_tasks()
        await client.get("/readyz")
        assert asyncio.all_tasks() <= before
