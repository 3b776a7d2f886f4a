"""The requests and results of the calls, and the errors for refusals."""

import json
from typing import Any

import pytest

from imgsvc.api.openapi.examples import (
    ACCEPTED,
    BATCH,
    BATCH_LIST,
    CANCELLED,
    DELIVERIES,
    EXAMPLE_ID,
    PRODUCTS,
    RETRIED,
)
from imgsvc.client import (
    AuthenticationError,
    Client,
    ClientError,
    ConfigurationError,
    Conflict,
    ConnectionRefused,
    InvalidUpload,
    NotFound,
    RequestRefused,
    ServerUnavailable,
    TooManyRequests,
    UnexpectedResponse,
)
from support.scripted import Answer, Caller, Scripted
from support.stack import free_port

PATH = f"/v1/batches/{EXAMPLE_ID}"


# -- reading calls ---------------------------------------------------------------------------------------------------


async def test_a_batch_has_every_field_of_the_response(server: Scripted, call: Caller) -> None:
    server.script(Answer(200, BATCH))
    batch = await call("batch", EXAMPLE_ID)
    dumped = json.loads(batch.model_dump_json())
    assert {name: dumped[name] for name in BATCH if name not in {"object", "started_at", "finished_at"}} == {
        name: value for name, value in BATCH.items() if name not in {"object", "started_at", "finished_at"}
    }
    assert (batch.finished_at - batch.created_at).total_seconds() == 2.31


async def test_products_are_read_page_by_page(server: Scripted, call: Caller) -> None:
    server.script(Answer(200, PRODUCTS), Answer(200, PRODUCTS | {"has_more": False, "next": None}))
    products = await call("products", EXAMPLE_ID, status=["failed", "cancelled"])
    assert [product.product_name for product in products] == ["Mountain print"] * 2
    assert [product.model_dump(mode="json") for product in products] == PRODUCTS["data"] * 2
    assert [request.path.partition("?")[2] for request in server.requests] == [
        f"limit=500&after={after}&status=failed&status=cancelled" for after in (-1, 0)
    ]


async def test_batches_are_read_page_by_page(server: Scripted, call: Caller) -> None:
    server.script(Answer(200, BATCH_LIST), Answer(200, BATCH_LIST | {"has_more": False, "next": None}))
    assert [batch.id for batch in await call("batches", status="failed")] == [EXAMPLE_ID] * 2
    assert [request.path.partition("?")[2] for request in server.requests] == [
        "limit=100&status=failed",
        f"limit=100&status=failed&after={EXAMPLE_ID}",
    ]


async def test_deliveries_have_their_attempts(server: Scripted, call: Caller) -> None:
    server.script(Answer(200, DELIVERIES))
    [delivery] = await call("deliveries", EXAMPLE_ID)
    assert [attempt.http_status for attempt in delivery.log] == [500]


async def test_fields_of_a_newer_server_are_ignored(server: Scripted, call: Caller) -> None:
    server.script(Answer(200, BATCH | {"mood": "sunny", "status": "resting"}))
    assert (await call("batch", EXAMPLE_ID)).status == "resting"


# -- calls without retries ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "arguments", "answer", "sent"),
    [
        ("retry", (["http_404"],), Answer(202, RETRIED), ("POST", f"{PATH}/retry", b'{"codes":["http_404"]}')),
        ("cancel", (), Answer(202, CANCELLED), ("POST", f"{PATH}/cancel", b"")),
        ("delete", (), Answer(204), ("DELETE", PATH, b"")),
    ],
)
async def test_retry_cancel_and_delete_send_one_request(
    server: Scripted, call: Caller, name: str, arguments: tuple[Any, ...], answer: Answer, sent: tuple[str, str, bytes]
) -> None:
    server.script(answer)
    await call(name, EXAMPLE_ID, *arguments)
    [request] = server.requests
    assert (request.method, request.path, request.body) == sent


@pytest.mark.parametrize("name", ["retry", "cancel", "delete"])
async def test_calls_that_may_have_taken_effect_are_not_repeated(server: Scripted, call: Caller, name: str) -> None:
    server.script(Answer(503))
    with pytest.raises(ServerUnavailable):
        await call(name, EXAMPLE_ID)
    assert len(server.requests) == 1


# -- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Answer(200, {"id": 1}), UnexpectedResponse),
        (Answer(302, {}, {"Location": "/login"}), UnexpectedResponse),
        *((Answer(status, {}), InvalidUpload) for status in (400, 413, 415, 422)),
        *((Answer(status, {}), AuthenticationError) for status in (401, 403)),
        (Answer(404, {}), NotFound),
        (Answer(409, {}), Conflict),
        (Answer(429, {}), TooManyRequests),
        (Answer(500, {}), RequestRefused),
        *((Answer(status, "<h1>unavailable</h1>"), ServerUnavailable) for status in (502, 503, 504)),
    ],
    ids=lambda value: str(value.status) if isinstance(value, Answer) else "",
)
async def test_each_error_status_has_its_own_type(
    server: Scripted, call_once: Caller, answer: Answer, error: type[ClientError]
) -> None:
    server.script(answer)
    with pytest.raises(ClientError) as raised:
        await call_once("batch", EXAMPLE_ID)
    assert type(raised.value) is error
    assert len(server.requests) == 1


async def test_a_refused_request_carries_the_problem(server: Scripted, call: Caller) -> None:
    error = {"row": 3, "column": "Images", "code": "invalid_url", "value": "htp:", "detail": "No address."}
    server.script(
        Answer(422, {"detail": "Two are wrong.", "errors": [error], "errors_total": 2, "request_id": "req_1"})
    )
    with pytest.raises(InvalidUpload, match=r"^Two are wrong\.$") as raised:
        await call("submit", b"")
    problem = raised.value.problem
    assert (problem.errors[0].model_dump(), problem.errors_total, problem.request_id) == (error, 2, "req_1")


@pytest.mark.parametrize("body", ["{", "[]", '{"errors": null}', '{"errors": ["no"]}', '{"detail": {"a": 1}}'])
async def test_a_malformed_problem_is_still_a_refused_request(server: Scripted, call: Caller, body: str) -> None:
    server.script(Answer(422, body, {"Content-Type": "application/problem+json"}))
    with pytest.raises(RequestRefused, match="HTTP 422"):
        await call("batch", EXAMPLE_ID)


# -- unreachable servers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "key"),
    [
        ("http://127.0.0.1:abc", None),
        ("http://[::1:18821", None),
        ("http://127.0.0.1\n", None),
        ("http://127.0.0.1", "kéy\u4e2d"),
    ],
)
def test_an_unusable_url_or_api_key_is_a_configuration_error(url: str, key: str | None) -> None:
    with pytest.raises(ConfigurationError, match="Cannot connect to http://"):
        Client(url, api_key=key)


def test_a_url_without_a_scheme_is_not_retried() -> None:
    with (
        Client("localhost:8000") as client,
        pytest.raises(ConfigurationError, match="No imgsvc answers at localhost:8000"),
    ):
        client.batch(EXAMPLE_ID)


def test_a_closed_port_is_a_refused_connection() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with Client(url, retry_timeout=0) as client, pytest.raises(ConnectionRefused, match=f"No imgsvc answers at {url}"):
        client.batch(EXAMPLE_ID)


async def test_requests_to_this_machine_bypass_the_proxy(server: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    monkeypatch.delenv("NO_PROXY", raising=False)
    server.script(Answer(200, ACCEPTED))
    with Client(server.url("/"), retry_timeout=0) as client:
        assert (await Caller(client)("batch", EXAMPLE_ID)).id == EXAMPLE_ID
