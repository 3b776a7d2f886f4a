"""POST /v1/batches with products as JSON, and uploads that are only validated."""

import csv
import json
from typing import Any

import httpx
import pytest

from imgsvc.settings.server import Settings
from support.api_calls import CSV, NOTHING, ONE_ROW, DrainQueues, catalogue, problem, rows_stored, serving, upload
from support.origin_server import OriginServer, image_bytes

SHOE = {"serial_number": "1", "product_name": "Shoe", "input_urls": ["https://shop.example/a.jpg"]}


def body_of(*products: Any, **members: Any) -> dict[str, Any]:
    return {"products": list(products), **members}


@pytest.fixture
def database_kind() -> str:
    return "sqlite"  # HTTP responses are the same on both


async def refused(client: httpx.AsyncClient, body: Any, kind: str) -> list[tuple[Any, Any, str]]:
    """POST an invalid upload, and return the row, column and code of each problem."""
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = await client.post("/v1/batches", content=text, headers={"Content-Type": "application/json"})
    return [(error["row"], error["column"], error["code"]) for error in problem(answer, 422, kind)["errors"]]


async def test_products_as_json_become_a_batch_and_a_csv(
    client: httpx.AsyncClient, drain_queues: DrainQueues, origin: OriginServer
) -> None:
    urls = [origin.serve("/a,b.jpg", image_bytes(200, 100)), origin.url("/none.jpg")]
    body = body_of(
        {"serial_number": "A-1", "product_name": 'Shoe, "red"', "input_urls": urls},
        {"product_name": "Hat", "input_urls": urls[:1]},
        {"serial_number": 7, "product_name": "Ribbon", "input_urls": []},
        filename="folder/autumn",
        quality=60,
        renditions=[{"name": "thumb", "max_width": 50}],
        metadata={"season": "autumn"},
    )
    accepted = await client.post("/v1/batches", json=body)
    assert accepted.status_code == 202, accepted.text
    batch = accepted.json()
    assert batch["counts"]["assets"]["total"] == 2
    assert batch["manifest"]["filename"] == "autumn"
    assert batch["metadata"] == {"season": "autumn"}
    assert [(spec["name"], spec["quality"]) for spec in batch["specs"]] == [("main", 60), ("thumb", 60)]
    assert [warning["code"] for warning in batch["manifest"]["warnings"]] == ["product_without_url"]
    await drain_queues()
    report = (await client.get(f"/v1/batches/{batch['id']}/output.csv")).text
    header, *rows = csv.reader(report.splitlines())
    assert header[-2:] == ["Output Image Urls", "Output Image Urls (thumb)"]
    assert [row[:3] for row in rows] == [
        ["A-1", 'Shoe, "red"', ", ".join(urls)],
        ["2", "Hat", urls[0]],
        ["7", "Ribbon", ""],
    ]
    assert [[bool(slot) for slot in row[3].split(",")] for row in rows] == [[True, False], [True], [False]]


async def test_every_invalid_product_is_listed(client: httpx.AsyncClient, settings: Settings) -> None:
    body = body_of(
        SHOE,
        {"product_name": 5, "input_urls": "https://shop.example/a.jpg"},
        {"product_name": "Hat", "input_urls": ["htp://shop.example/a.jpg", ""], "colour": "red"},
        {"product_name": "Hat", "input_urls": ["htp://shop.example/a.jpg", ""]},
        "a product",
        {"product_name": "a\0b", "input_urls": []},
    )
    assert await refused(client, body, "invalid-manifest") == [
        (2, "product_name", "string_type"),
        (2, "input_urls", "list_type"),
        (3, "colour", "extra_forbidden"),
        (4, "input_urls", "invalid_url"),
        (4, "input_urls", "invalid_url"),
        (5, None, "model_type"),
        (6, None, "nul_byte"),
    ]
    assert await rows_stored(settings) == NOTHING


@pytest.mark.parametrize(
    ("members", "column", "code"),
    [
        ({"quality": "70"}, "quality", "int_type"),
        ({"quality": 0}, "quality", "greater_than_equal"),
        ({"refresh": 1}, "refresh", "bool_type"),
        ({"columns": {}}, "columns", "extra_forbidden"),
        ({"renditions": '[{"name": "thumb"}]'}, "renditions", "list_type"),
        ({"renditions": [{"name": "a"}, {"name": "a"}]}, "renditions", "repeated_name"),
        ({"metadata": {"a": 1}}, "metadata.a", "string_type"),
        ({"webhook_url": "http://10.0.0.1/"}, "webhook_url", "blocked_address"),
        ({"products": None}, "products", "list_type"),
        ({str(number): number for number in range(40)}, None, "too_long"),
        ({"metadata": {"a": "b" * 70_000}}, None, "too_long"),
    ],
)
async def test_an_invalid_member_is_named(
    client: httpx.AsyncClient, members: dict[str, Any], column: str | None, code: str
) -> None:
    assert await refused(client, body_of(SHOE) | members, "invalid-upload") == [(None, column, code)]


@pytest.mark.parametrize("body", [b"[]", b'"text"', b"7", b"null"])
async def test_json_other_than_an_object_is_refused(client: httpx.AsyncClient, body: bytes) -> None:
    assert await refused(client, body, "invalid-upload") == [(None, None, "dict_type")]


@pytest.mark.parametrize("body", [b"", b"{", b'{"products": [}', b"\xff", b"[" * 100_000, b'{"a": "\\ud800"}'])
async def test_malformed_json_is_400(client: httpx.AsyncClient, body: bytes) -> None:
    answer = await client.post("/v1/batches", content=body, headers={"Content-Type": "application/json"})
    problem(answer, 400, "malformed-request")


async def test_an_empty_list_is_refused(client: httpx.AsyncClient) -> None:
    assert await refused(client, body_of(), "invalid-manifest") == [(None, None, "no_rows")]


async def test_limits_apply_to_json_uploads(settings: Settings) -> None:
    async with serving(settings.model_copy(update={"max_rows": 1})) as (_, client):
        assert await refused(client, body_of(SHOE, SHOE), "limit-exceeded") == [(None, None, "limit_exceeded")]
    async with serving(settings.model_copy(update={"max_urls_per_row": 1})) as (_, client):
        many = body_of({"product_name": "Shoe", "input_urls": [f"https://shop.example/{n}.jpg" for n in range(2)]})
        assert await refused(client, many, "limit-exceeded") == [(1, None, "limit_exceeded")]


async def test_more_than_8_mib_of_json_is_refused_with_a_hint_to_send_a_csv(client: httpx.AsyncClient) -> None:
    answer = await client.post(
        "/v1/batches", content=bytes(2**23 + 1), headers={"Content-Type": "application/json; charset=utf-8"}
    )
    assert "a CSV, which may have up to 64 MiB" in problem(answer, 413, "upload-too-large")["detail"]


async def test_with_json_the_query_has_one_parameter(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/batches?quality=70", json=body_of(SHOE))
    [found] = problem(answer, 422, "invalid-upload")["errors"]
    assert (found["column"], found["code"]) == ("quality", "extra_forbidden")


async def test_an_idempotency_key_ignores_the_formatting_of_json(client: httpx.AsyncClient) -> None:
    reordered = dict(reversed(SHOE.items()))
    answers = [
        await client.post("/v1/batches", json=body, headers={"Idempotency-Key": "monday"})
        for body in (
            body_of(SHOE),
            {"quality": 50, **body_of(reordered)},
            body_of(SHOE, quality=60),
            body_of(SHOE, SHOE),
        )
    ]
    assert answers[0].json()["id"] == answers[1].json()["id"]
    for answer in answers[2:]:
        problem(answer, 422, "idempotency-key-reused")


async def test_json_may_begin_with_a_byte_order_mark(client: httpx.AsyncClient) -> None:
    body = b"\xef\xbb\xbf" + json.dumps(body_of(SHOE)).encode()
    answer = await client.post("/v1/batches", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 202


async def test_the_filename_of_a_json_upload_is_not_decoded(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/batches", json=body_of(SHOE, filename="50%25 off"))
    assert answer.json()["manifest"]["filename"] == "50%25 off"


async def test_one_wrong_value_is_one_problem_and_a_response_never_echoes_a_large_value(
    client: httpx.AsyncClient,
) -> None:
    assert await refused(client, body_of(SHOE | {"serial_number": 1.5}), "invalid-manifest") == [
        (1, "serial_number", "text_or_integer")
    ]
    answer = await client.post("/v1/batches", json=body_of(SHOE | {"x" * 2**20: 1}, **{"y" * 60_000: 1}))
    assert len(problem(answer, 422)["detail"]) < 1_000
    answer = await client.post("/v1/batches", json=body_of(SHOE | {"x" * 2**20: 1}))
    assert len(answer.content) < 3_000


async def test_failures_of_a_json_upload_keep_their_urls(
    client: httpx.AsyncClient, drain_queues: DrainQueues, origin: OriginServer
) -> None:
    ambiguous = origin.url("/a,") + origin.url("/b.jpg")  # one URL, which a cell of a CSV would split into two
    batch = (await client.post("/v1/batches", json=body_of(SHOE | {"input_urls": [ambiguous]}))).json()
    await drain_queues()
    failures = (await client.get(f"/v1/batches/{batch['id']}/failures.csv")).text
    again = await client.post("/v1/batches?validate_only=true", content=failures, headers=CSV)
    assert again.json()["urls"] == batch["counts"]["urls"] == 1


# -- uploads that are only validated ----------------------------------------------------------------------------------

ROWS = catalogue(
    ("1", "Shoe", "https://a.example/1.jpg, https://a.example/2.jpg"),
    ("1", "Hat", "https://b.example/1.jpg, https://a.example/1.jpg, htp://nowhere"),
)


async def test_validation_returns_a_summary_and_stores_nothing(client: httpx.AsyncClient, settings: Settings) -> None:
    answers = [
        await client.post("/v1/batches?validate_only=true&on_invalid=skip", content=ROWS, headers=CSV),
        await client.post(
            "/v1/batches", files={"file": ("a.csv", ROWS)}, data={"validate_only": "true", "on_invalid": "skip"}
        ),
    ]
    for answer in answers:
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "application/json"
        assert "ratelimit" in answer.headers
        body = answer.json()
        [warning] = body.pop("warnings")
        assert (warning["row"], warning["code"]) == (3, "repeated_serial_number")
        assert body == {
            "object": "validation",
            "products": 2,
            "urls": 5,
            "assets": 4,
            "invalid_urls": 1,
            "hosts": [{"host": "a.example", "assets": 2}, {"host": "b.example", "assets": 1}],
            "hosts_total": 2,
            "format": "csv",
            "sheet": None,
            "encoding": "utf-8",
            "delimiter": ",",
            "preset": "basic",
            "columns": {
                "serial_number": "S. No.", "product_name": "Product Name", "image_urls": "Input Image Urls",
                "image_columns": ["Input Image Urls"],
            },
            "warnings_total": 1,
        }  # fmt: skip
    assert await rows_stored(settings) == NOTHING


@pytest.mark.parametrize("query", ["", "?validate_only=true"])
async def test_json_can_be_validated_by_a_member_or_the_query(
    client: httpx.AsyncClient, settings: Settings, query: str
) -> None:
    answer = await client.post(
        f"/v1/batches{query}", json=body_of(SHOE) if query else body_of(SHOE, validate_only=True)
    )
    assert (answer.status_code, answer.json()["object"]) == (200, "validation")
    assert await rows_stored(settings) == NOTHING


@pytest.mark.parametrize("value", ["True", "1"])
async def test_the_query_accepts_the_booleans_of_a_form(
    client: httpx.AsyncClient, settings: Settings, value: str
) -> None:
    answer = await client.post(f"/v1/batches?validate_only={value}", json=body_of(SHOE))
    assert answer.status_code == 200
    assert await rows_stored(settings) == NOTHING


@pytest.mark.parametrize(
    ("query", "members", "code"),
    [
        ("validate_only=true&validate_only=false", {}, "repeated"),
        ("validate_only=false", {"validate_only": True}, "repeated"),
        ("validate_only=perhaps", {}, "bool_type"),
    ],
)
async def test_a_repeated_or_invalid_validate_only_stores_nothing(
    client: httpx.AsyncClient, settings: Settings, query: str, members: dict[str, Any], code: str
) -> None:
    answer = await client.post(f"/v1/batches?{query}", json=body_of(SHOE, **members))
    assert [error["code"] for error in problem(answer, 422, "invalid-upload")["errors"]] == [code]
    assert await rows_stored(settings) == NOTHING


async def test_validation_is_allowed_when_the_quota_is_used_up(settings: Settings) -> None:
    async with serving(settings.model_copy(update={"max_open_batches": 1})) as (_, client):
        await upload(client, ONE_ROW)
        problem(await client.post("/v1/batches", json=body_of(SHOE)), 429, "too-many")
        assert (await client.post("/v1/batches", json=body_of(SHOE, validate_only=True))).status_code == 200


async def test_validation_reports_the_same_problems_as_an_upload(client: httpx.AsyncClient) -> None:
    checked = await client.post("/v1/batches?validate_only=true", content=ROWS, headers=CSV)
    uploaded = await client.post("/v1/batches", content=ROWS, headers=CSV)
    assert problem(checked, 422)["errors"] == problem(uploaded, 422)["errors"]


async def test_numbered_products_have_no_serial_column(client: httpx.AsyncClient) -> None:
    columns = '{"serial_number": null, "product_name": "Product Name", "image_urls": "Input Image Urls"}'
    query = {"validate_only": "true", "columns": columns}
    answer = await client.post("/v1/batches", content=ONE_ROW, headers=CSV, params=query)
    assert answer.json()["columns"]["serial_number"] is None


async def test_validation_does_not_use_up_the_idempotency_key(client: httpx.AsyncClient) -> None:
    named = {**CSV, "Idempotency-Key": "monday"}
    checked = await client.post("/v1/batches?validate_only=true", content=ONE_ROW, headers=named)
    accepted = await client.post("/v1/batches", content=ONE_ROW, headers=named)
    assert (checked.status_code, accepted.status_code) == (200, 202)


async def test_hosts_are_counted_in_lower_case_and_without_ports(client: httpx.AsyncClient) -> None:
    text = catalogue(("1", "Shoe", "https://A.example:8443/1.jpg, http://a.EXAMPLE/2.jpg, https://[::1]/3.jpg"))
    answer = await client.post("/v1/batches?validate_only=true", content=text, headers=CSV)
    assert answer.json()["hosts"] == [{"host": "a.example", "assets": 2}, {"host": "::1", "assets": 1}]
    await upload(client, text)
