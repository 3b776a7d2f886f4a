"""Uploads with too many bytes, rows or URLs, and uploads that end too early."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.types import Message

from imgsvc.api.app import create_app
from imgsvc.api.uploads.receive import UploadBudget
from imgsvc.settings.server import Settings
from support.api_calls import CSV, NOTHING, ONE_ROW, catalogue, problem, rows_stored, serving

MIB = 2**20


@pytest.fixture
def database_kind() -> str:
    return "sqlite"  # HTTP responses are the same on both


@pytest.mark.parametrize(
    ("limit", "setting"),
    [
        ({"max_rows": 1}, "IMGSVC_MAX_ROWS"),
        ({"max_assets": 1}, "IMGSVC_MAX_ASSETS"),
        ({"max_urls_per_row": 1}, "IMGSVC_MAX_URLS_PER_ROW"),
        ({"max_url_length": 20}, "IMGSVC_MAX_URL_LENGTH"),
    ],
)
async def test_an_exceeded_limit_is_named_with_its_setting(
    settings: Settings, limit: dict[str, int], setting: str
) -> None:
    rows = [("1", "Shoe", "https://s.example/a.jpg, https://s.example/b.jpg"), ("2", "Hat", "https://s.example/c.jpg")]
    async with serving(settings.model_copy(update=limit)) as (_, client):
        refused = await client.post("/v1/batches", content=catalogue(*rows), headers=CSV)
    assert setting in problem(refused, 422)["detail"]
    assert await rows_stored(settings) == NOTHING


async def _in_pieces(data: bytes) -> AsyncIterator[bytes]:
    """Yield a body without a Content-Length."""
    for start in range(0, len(data), MIB):
        yield data[start : start + MIB]


@pytest.mark.parametrize("media_type", ["text/csv", "multipart/form-data; boundary=x"])
@pytest.mark.parametrize("chunked", [False, True], ids=["with length", "chunked"])
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


async def test_a_content_length_over_the_limit_is_refused_before_the_body_is_read(settings: Settings) -> None:
    app = create_app(settings)
    sent: list[Message] = []

    async def receive() -> Message:
        raise AssertionError("the body is read")

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


async def test_an_interrupted_upload_leaves_nothing_behind(settings: Settings) -> None:
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


@pytest.mark.parametrize("media_type", ["text/csv", "multipart/form-data; boundary=x"])
async def test_an_upload_without_disk_space_is_503_with_retry_after(
    client: httpx.AsyncClient, settings: Settings, media_type: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/nonexistent")
    head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\n'
    rows = (f"{number},Shoe,https://s.example/{number}.jpg\n" for number in range(40_000))
    data = (head if "multipart" in media_type else b"") + ONE_ROW.encode() + "".join(rows).encode() + b"\r\n--x--\r\n"
    refused = await client.post("/v1/batches", content=data, headers={"Content-Type": media_type})
    problem(refused, 503, "storage-error")
    assert refused.headers["retry-after"]
    assert "/nonexistent" not in refused.text
    assert await rows_stored(settings) == NOTHING


async def test_uploads_share_the_memory_budget_and_small_ones_never_wait_for_large_ones() -> None:
    budget = UploadBudget(10 * MIB)
    first = await budget.reserve("key_a", 8 * MIB)
    waiting = [
        asyncio.create_task(budget.reserve("key_a", 8 * MIB)),
        asyncio.create_task(budget.reserve("key_b", 20 * MIB)),
    ]
    for _ in range(3):
        await asyncio.sleep(0)
    assert not any(task.done() for task in waiting)
    (await budget.reserve("key_a", MIB)).release()
    first.release()
    for task in waiting:
        (await asyncio.wait_for(task, 5)).release()


async def test_the_body_of_other_requests_is_limited_to_64_kib(client: httpx.AsyncClient) -> None:
    """FastAPI reads and parses JSON before the caller is authenticated."""
    for path in ("/v1/webhooks/test", "/v1/batches/bat_01m81syxdvn0cchm7jgbq1vyb2/retry"):
        for content in (b"[" * 70_000, _in_pieces(b"[" * 70_000)):
            answer = await client.post(path, content=content, headers={"Content-Type": "application/json"})
            assert "65,536 bytes" in problem(answer, 413, "upload-too-large")["detail"]


async def test_the_first_hundred_of_thousands_of_wrong_fields_are_listed(client: httpx.AsyncClient) -> None:
    body = problem(await client.post("/v1/webhooks/test", json={str(number): 0 for number in range(5_000)}), 422)
    assert (len(body["errors"]), body["errors_total"]) == (100, 5_001)


async def test_concurrent_uploads_do_not_exceed_the_quota(settings: Settings) -> None:
    async with serving(settings.model_copy(update={"max_open_batches": 2})) as (_, client):
        answers = await asyncio.gather(*(client.post("/v1/batches", content=ONE_ROW, headers=CSV) for _ in range(8)))
    assert sorted(answer.status_code for answer in answers) == [202] * 2 + [429] * 6
    assert (await rows_stored(settings))["batch"] == 2
