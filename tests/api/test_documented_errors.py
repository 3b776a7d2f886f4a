"""The error responses in the OpenAPI document: each is a problem, fits its operation, and really occurs."""

import re

import httpx
import pytest

from imgsvc.api.problems.responses import MEDIA_TYPE
from imgsvc.services.intake.quotas import POSTS_PER_MINUTE
from imgsvc.settings.server import Settings
from support.api_calls import CSV, ONE_ROW, catalogue, problem, serving, upload
from support.openapi_document import Document, document_of, names_in, operations

Answers = dict[tuple[str, str], list[httpx.Response]]


@pytest.fixture
def database_kind() -> str:
    return "sqlite"


@pytest.fixture
async def document(client: httpx.AsyncClient) -> Document:
    return await document_of(client)


async def test_every_documented_error_is_a_problem_with_an_example(document: Document) -> None:
    schema = {"$ref": "#/components/schemas/ProblemDetails"}
    refusals = [
        (path, status, response["content"])
        for _, path, operation in operations(document)
        for status, response in operation["responses"].items()
        if status >= "4" and (path, status) != ("/readyz", "503")  # the same schema as when it is ready
    ]
    assert len(refusals) > 10
    required = set(document["components"]["schemas"]["ProblemDetails"]["required"])
    for path, status, content in refusals:
        assert list(content) == [MEDIA_TYPE], (path, status)
        assert content[MEDIA_TYPE]["schema"] == schema, (path, status)
        assert content[MEDIA_TYPE]["example"]["status"] == int(status), (path, status)
        assert required <= set(content[MEDIA_TYPE]["example"]), (path, status)


async def test_an_example_of_an_error_fits_its_operation(document: Document) -> None:
    for _, path, operation in operations(document):
        names = names_in(document, operation) | {"Input Image Urls"}
        for status, response in operation["responses"].items():
            for content in response.get("content", {}).values():
                example = content.get("example", {})
                if "instance" in example:
                    assert re.fullmatch(re.sub(r"{\w+}", "[^/]+", path), example["instance"]), (path, status)
                    assert "{batch_id}" in path or "bat_" not in example["detail"], (path, status)
                    assert {error["column"] for error in example["errors"]} <= names, (path, status)
                    assert len(example["errors"]) == example["errors_total"], (path, status)


async def refusals_of_uploads_and_reads(client: httpx.AsyncClient, batch: str) -> Answers:
    return {
        ("post", "/v1/batches"): [
            await client.post("/v1/batches", headers={"Content-Type": "multipart/form-data"}),
            await client.post("/v1/batches", headers=CSV, content=bytes(70 * 2**20)),
            await client.post("/v1/batches", headers={"Content-Type": "application/pdf"}, content="%PDF"),
            await client.post("/v1/batches", json={}),
            await client.post("/v1/batches", headers=CSV, content="htp://nowhere"),
        ],
        ("get", "/v1/batches/{batch_id}"): [
            await client.get("/v1/batches/bat_none"),
            await client.get(f"/v1/batches/{batch}?wait=31"),
        ],
        ("get", "/v1/batches/{batch_id}/products"): [
            await client.get("/v1/batches/bat_none/products"),
            await client.get(f"/v1/batches/{batch}/products?limit=0"),
        ],
        ("get", "/v1/batches/{batch_id}/output.{extension}"): [
            await client.get("/v1/batches/bat_none/output.xlsx"),
            await client.get(f"/v1/batches/{batch}/output.xlsx"),
            await client.get(f"/v1/batches/{batch}/output.pdf"),
        ],
        ("get", "/v1/batches/{batch_id}/output.csv"): [
            await client.get("/v1/batches/bat_none/output.csv"),
            await client.get(f"/v1/batches/{batch}/output.csv"),
            await client.get(f"/v1/batches/{batch}/output.csv?partial=perhaps"),
        ],
        ("get", "/v1/batches/{batch_id}/failures.csv"): [
            await client.get("/v1/batches/bat_none/failures.csv"),
            await client.get(f"/v1/batches/{batch}/failures.csv"),
            await client.get(f"/v1/batches/{batch}/failures.csv?safe=perhaps"),
        ],
        ("get", "/v1/batches/{batch_id}/changes.csv"): [
            await client.get("/v1/batches/bat_none/changes.csv"),
            await client.get(f"/v1/batches/{batch}/changes.csv"),
            await client.get(f"/v1/batches/{batch}/changes.csv?safe=perhaps"),
        ],
        ("get", "/v1/batches/{batch_id}/checks.csv"): [
            await client.get("/v1/batches/bat_none/checks.csv"),
            await client.get(f"/v1/batches/{batch}/checks.csv"),
            await client.get(f"/v1/batches/{batch}/checks.csv?shop=ebay"),
        ],
        ("get", "/v1/batches/{batch_id}/archive.zip"): [
            await client.get("/v1/batches/bat_none/archive.zip"),
            await client.get(f"/v1/batches/{batch}/archive.zip"),
            await client.get(f"/v1/batches/{batch}/archive.zip?partial=perhaps"),
        ],
        ("get", "/v1/batches/{batch_id}/events"): [await client.get("/v1/batches/bat_none/events")],
        ("get", "/v1/batches"): [await client.get("/v1/batches?status=gone")],
        ("get", "/media/{key}"): [await client.get("/media/none")],
        ("get", "/metrics"): [await client.get("/metrics", headers={"X-Real-IP": "203.0.113.9"})],
        ("get", "/readyz"): [await client.get("/readyz?strict=perhaps")],
    }


async def refusals_of_changes_and_webhooks(client: httpx.AsyncClient, batch: str, ended: str) -> Answers:
    not_utf8 = {"Content-Type": "application/json"}, b"\xff"
    return {
        ("post", "/v1/batches/{batch_id}/cancel"): [
            await client.post("/v1/batches/bat_none/cancel"),
            await client.post(f"/v1/batches/{ended}/cancel"),
        ],
        ("post", "/v1/batches/{batch_id}/retry"): [
            await client.post(f"/v1/batches/{ended}/retry", headers=not_utf8[0], content=not_utf8[1]),
            await client.post("/v1/batches/bat_none/retry"),
            await client.post(f"/v1/batches/{ended}/retry"),
            await client.post(f"/v1/batches/{ended}/retry", json={"codes": "http_404"}),
        ],
        ("delete", "/v1/batches/{batch_id}"): [
            await client.delete("/v1/batches/bat_none"),
            await client.delete(f"/v1/batches/{batch}"),
        ],
        ("get", "/v1/batches/{batch_id}/deliveries"): [await client.get("/v1/batches/bat_none/deliveries")],
        ("post", "/v1/deliveries/{delivery_id}/redeliver"): [await client.post("/v1/deliveries/evt_none/redeliver")],
        ("post", "/v1/webhooks/test"): [
            await client.post("/v1/webhooks/test", headers=not_utf8[0], content=not_utf8[1]),
            await client.post("/v1/webhooks/test", json={"url": "http://10.0.0.1/"}),
        ],
    }


async def test_exactly_the_documented_problems_occur(
    client: httpx.AsyncClient, settings: Settings, document: Document
) -> None:
    batch = (await upload(client, ONE_ROW))["id"]
    ended = (await upload(client, catalogue(("1", "Shoe", "htp://nowhere")), on_invalid="skip"))["id"]
    refusals = await refusals_of_uploads_and_reads(client, batch)
    refusals |= await refusals_of_changes_and_webhooks(client, batch, ended)
    public, rate_limited = (settings.model_copy(update=one) for one in ({"host": "::"}, {"uploads_per_minute": 1}))
    async with serving(public) as (_, public_client), serving(rate_limited) as (_, limited_client):
        for method, path, operation in operations(document):
            if "403" in operation["responses"]:
                target = path.format(batch_id=batch, delivery_id="evt_none", extension="xlsx")
                refusals[method, path].append(await public_client.request(method, target))
                refusals[method, path].append(await client.request(method, target, headers={"Origin": "null"}))
        refusals["post", "/v1/batches"] += [await limited_client.post("/v1/batches") for _ in range(2)]
    one_batch = settings.model_copy(update={"max_open_batches": 1})
    async with serving(one_batch) as (_, full_client):
        refusals["post", "/v1/batches/{batch_id}/retry"].append(await full_client.post(f"/v1/batches/{ended}/retry"))
    for path in (f"/v1/batches/{ended}/retry", "/v1/webhooks/test"):
        large = await client.post(path, headers={"Content-Type": "application/json"}, content=bytes(70_000))
        refusals["post", path.replace(ended, "{batch_id}")].append(large)
    redelivery = "/v1/deliveries/evt_01m81sz00wq6j8v5n2m3k4r7xt/redeliver"
    refusals["post", "/v1/deliveries/{delivery_id}/redeliver"] += [
        await client.post(redelivery) for _ in range(POSTS_PER_MINUTE + 1)
    ]
    refusals["post", "/v1/webhooks/test"].append(
        await client.post("/v1/webhooks/test", json={"url": "http://127.0.0.1:9/"})
    )
    for method, path, operation in operations(document):
        responses = refusals.get((method, path), [])
        for answer in responses:
            problem(answer, answer.status_code)
        statuses = {str(answer.status_code) for answer in responses}
        assert statuses == {status for status in operation["responses"] if "400" <= status < "500"}, path
