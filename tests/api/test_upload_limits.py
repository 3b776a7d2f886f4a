"""Uploads that are too large, in bytes or in what they hold, and uploads that end too early."""

from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.types import Message

from api_calls import CSV, NOTHING, ONE_ROW, catalogue, problem, rows_stored, serving
from imgsvc.api.app import create_app
from imgsvc.config import Settings

MIB = 2**20


@pytest.fixture
def database_kind() -> str:
    return "sqlite"  # what is said over HTTP is the same on both


@pytest.mark.parametrize(
    ("limit", "setting"),
    [
        ({"max_rows": 1}, "IMGSVC_MAX_ROWS"),
        ({"max_assets": 1}, "IMGSVC_MAX_ASSETS"),
        ({"max_urls_per_row": 1}, "IMGSVC_MAX_URLS_PER_ROW"),
        ({"max_url_length": 20}, "IMGSVC_MAX_URL_LENGTH"),
    ],
)
async def test_a_limit_that_is_passed_is_named_with_its_setting(
    settings: Settings, limit: dict[str, int], setting: str
) -> None:
    rows = [("1", "Shoe", "https://s.example/a.jpg, https://s.example/b.jpg"), ("2", "Hat", "https://s.example/c.jpg")]
    async with serving(settings.model_copy(update=limit)) as (_, client):
        refused = await client.post("/v1/batches", content=catalogue(*rows), headers=CSV)
    assert setting in problem(refused, 422)["detail"]
    assert await rows_stored(settings) == NOTHING


async def _in_pieces(data: bytes) -> AsyncIterator[bytes]:
    """A body whose length nobody says beforehand."""
    for start in range(0, len(data), MIB):
        yield data[start : start + MIB]


@pytest.mark.parametrize("media_type", ["text/csv", "multipart/form-data; boundary=x"])
@pytest.mark.parametrize("chunked", [False, True], ids=["length said", "chunked"])
async def test_a_body_over_the_limit_is_413_and_names_the_setting(
    client: httpx.AsyncClient, settings: Settings, media_type: str, chunked: bool
) -> None:
    head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\n'
    data = (head if "multipart" in media_type else b"") + ONE_ROW.encode() + bytes(70 * MIB)
    refused = await client.post(
        "/v1/batches", content=_in_pieces(data) if chunked else data, headers={"Content-Type": media_type}
    )
    body = problem(refused, 413, "upload-too-large")
    assert "64 MiB" in body["detail"]
    assert "IMGSVC_MAX_UPLOAD_BYTES" in body["detail"]
    assert await rows_stored(settings) == NOTHING


async def test_a_body_that_says_a_length_over_the_limit_is_refused_before_it_is_read(settings: Settings) -> None:
    app = create_app(settings)
    sent: list[Message] = []

    async def receive() -> Message:
        raise AssertionError("read all the same")

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/batches",
        "query_string": b"",
        "headers": [(b"content-type", b"text/csv"), (b"content-length", str(settings.max_upload_bytes + 1).encode())],
    }
    await app(scope, receive, send)
    assert sent[0]["status"] == 413


async def test_a_client_that_hangs_up_in_the_middle_leaves_nothing_behind(settings: Settings) -> None:
    app = create_app(settings)
    messages: list[Message] = [
        {"type": "http.request", "body": ONE_ROW.encode(), "more_body": True},
        {"type": "http.disconnect"},
    ]
    sent: list[Message] = []

    async def receive() -> Message:
        return messages.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/v1/batches", "query_string": b"", "headers": [
        (b"content-type", b"text/csv"),
    ]}  # fmt: skip
    async with app.router.lifespan_context(app):
        await app(scope, receive, send)
    assert sent[0]["status"] == 400
    assert await rows_stored(settings) == NOTHING
