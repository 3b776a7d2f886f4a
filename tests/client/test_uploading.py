"""Uploads: all kinds of files, rows, and retries that never create a second batch."""

import io
import json
import os
from email import message_from_bytes
from pathlib import Path
from typing import Any

import pytest

from imgsvc.api.openapi.examples import ACCEPTED, EXAMPLE_ID
from support.origin_server import Received
from support.scripted import BROKEN, Answer, Caller, Scripted

CSV = b"S. No.,Product Name,Input Image Urls\n1,Shoe,https://shop.example/a.jpg\n"
VALIDATION = {
    "object": "validation",
    "products": 120,
    "urls": 431,
    "assets": 402,
    "invalid_urls": 0,
    "hosts": [{"host": "cdn.shop.example", "assets": 400}],
    "hosts_total": 2,
    "encoding": "utf-8",
    "delimiter": ",",
    "format": "csv",
    "sheet": None,
    "preset": "basic",
    "columns": {"serial_number": None, "product_name": "Product Name", "image_urls": "a", "image_columns": ["a", "b"]},
    "warnings": [],
    "warnings_total": 0,
}


def form(request: Received) -> tuple[dict[str, bytes], str | None]:
    """Return the parts of a form by name, and the name of its file."""
    head = f"Content-Type: {request.headers['Content-Type']}\r\n\r\n".encode()
    parts: Any = message_from_bytes(head + request.body).get_payload()
    names = [part.get_param("name", header="Content-Disposition") for part in parts]
    [filename] = [part.get_filename() for part in parts if part.get_filename()]
    return dict(zip(names, [part.get_payload(decode=True) for part in parts], strict=True)), filename


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "catalog.csv"
    path.write_bytes(CSV)
    return path


async def test_a_file_is_uploaded_with_its_name(server: Scripted, call: Caller, path: Path) -> None:
    server.script(Answer(202, ACCEPTED))
    with path.open("rb") as file:
        for source in (path, str(path), file):
            assert (await call("submit", source)).id == EXAMPLE_ID
        assert not file.closed
    assert [form(request) for request in server.requests] == [({"file": CSV}, "catalog.csv")] * 3
    assert len({request.headers["Idempotency-Key"] for request in server.requests}) == 3


@pytest.mark.parametrize("source", [CSV, io.BytesIO(CSV)], ids=["bytes", "memory"])
async def test_data_without_a_name_gets_a_default_name(server: Scripted, call: Caller, source: Any) -> None:
    server.script(Answer(202, ACCEPTED))
    await call("submit", source)
    await call("submit", source, filename="mine.csv")
    assert [form(request) for request in server.requests] == [
        ({"file": CSV}, "upload.csv"),
        ({"file": CSV}, "mine.csv"),
    ]


async def test_fields_are_python_values(server: Scripted, call: Caller, path: Path) -> None:
    server.script(Answer(202, ACCEPTED))
    options = {"renditions": [{"name": "thumb", "max_width": 200}], "metadata": {"season": "größer"}, "refresh": True}
    options |= {"width": 200, "height": 200, "trim": True, "margin": 5}
    await call("submit", path, quality=70, fit="pad", max_width=None, **options)
    parts, _ = form(server.requests[0])
    fields = {name: value.decode() for name, value in parts.items() if name != "file"}
    assert (fields.pop("quality"), fields.pop("fit")) == ("70", "pad")
    assert {name: json.loads(value) for name, value in fields.items()} == options


async def test_rows_are_sent_as_json(server: Scripted, call: Caller) -> None:
    server.script(Answer(202, ACCEPTED))
    rows = [
        {"serial_number": 7, "product_name": "Shoe", "input_urls": ("https://a", "https://b")},
        {"product_name": "Boot", "input_urls": "https://c"},
        ("9", "Sock", iter(["https://d"])),
    ]
    await call("submit", iter(rows), quality=70, metadata={"a": "b"}, webhook_url=None)
    [request] = server.requests
    assert request.headers["Content-Type"] == "application/json"
    assert json.loads(request.body) == {
        "products": [
            {"serial_number": "7", "product_name": "Shoe", "input_urls": ["https://a", "https://b"]},
            {"serial_number": None, "product_name": "Boot", "input_urls": ["https://c"]},
            {"serial_number": "9", "product_name": "Sock", "input_urls": ["https://d"]},
        ],
        "quality": 70,
        "metadata": {"a": "b"},
    }


async def test_validate_returns_the_validation(server: Scripted, call: Caller, path: Path) -> None:
    server.script(Answer(200, VALIDATION))
    validation = await call("validate", path, quality=70)
    assert validation.model_dump() == {name: value for name, value in VALIDATION.items() if name != "object"}
    assert form(server.requests[0])[0] == {"file": CSV, "quality": b"70", "validate_only": b"true"}


# -- retries ----------------------------------------------------------------------------------------------------------


UNCERTAIN = (Answer(BROKEN, "{"), Answer(429, {}, {"Retry-After": "0"}), Answer(502), Answer(202, ACCEPTED))


async def test_an_upload_without_a_response_is_repeated_with_the_same_key(
    server: Scripted, call: Caller, path: Path
) -> None:
    server.script(*UNCERTAIN)
    path.write_bytes(CSV * 10_000)
    assert (await call("submit", path)).id == EXAMPLE_ID
    assert [form(request)[0]["file"] for request in server.requests] == [CSV * 10_000] * 4
    assert len({request.headers["Idempotency-Key"] for request in server.requests}) == 1


async def test_rows_and_pipes_are_repeated_whole_too(server: Scripted, call: Caller) -> None:
    server.script(*UNCERTAIN, *UNCERTAIN)
    await call("submit", iter([("1", "Shoe", ["https://a"])]))
    assert len({request.body for request in server.requests}) == 1

    ends = os.pipe()
    with os.fdopen(ends[0], "rb") as reading, os.fdopen(ends[1], "wb") as writing:
        writing.write(CSV)
        writing.close()
        await call("submit", reading)
    assert [form(request) for request in server.requests[4:]] == [({"file": CSV}, "upload.csv")] * 4


async def test_a_given_idempotency_key_is_used(server: Scripted, call: Caller, path: Path) -> None:
    server.script(Answer(202, ACCEPTED))
    await call("submit", path, idempotency_key="mine")
    assert server.requests[0].headers["Idempotency-Key"] == "mine"


async def test_a_missing_file_is_an_error_before_anything_is_sent(server: Scripted, call: Caller) -> None:
    with pytest.raises(FileNotFoundError):
        await call("submit", "nothing.csv")
    assert server.requests == []


async def test_a_source_url_is_sent_in_a_form_without_a_file(server: Scripted, call: Caller) -> None:
    server.script(Answer(202, ACCEPTED))
    await call("submit", source_url="https://shop.example/feed.xml", quality=60, columns={"product_name": "Title"})
    [request] = server.requests
    head = f"Content-Type: {request.headers['Content-Type']}\r\n\r\n".encode()
    parts: Any = message_from_bytes(head + request.body).get_payload()
    sent = {part.get_param("name", header="Content-Disposition"): part.get_payload() for part in parts}
    assert sent == {
        "source_url": "https://shop.example/feed.xml", "quality": "60", "columns": '{"product_name": "Title"}',
    }  # fmt: skip
    assert not any(part.get_filename() for part in parts)


async def test_a_call_has_a_source_or_a_source_url(server: Scripted, call: Caller, path: Path) -> None:
    for arguments, fields in (((), {}), ((path,), {"source_url": "https://shop.example/feed.xml"})):
        with pytest.raises(TypeError, match="source_url"):
            await call("submit", *arguments, **fields)
    assert server.requests == []
