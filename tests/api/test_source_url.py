"""Uploads without a file: the service fetches the catalogue at `source_url`."""

import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from imgsvc.adapters.http.download import FileDownloader
from imgsvc.adapters.http.egress import catalogue_limits, egress_policy
from imgsvc.adapters.http.fetcher import Fetcher
from imgsvc.services.intake.fetch_catalogue import CatalogueFetcher
from imgsvc.settings.server import Settings
from support.api_calls import NOTHING, DrainQueues, catalogue, problem, rows_stored, serving, write
from support.origin_server import OriginServer, image_bytes
from support.workbooks import workbook

TEXT = catalogue(("1", "Shoe", "https://shop.example/a.jpg"), ("2", "Hat", "https://shop.example/b.jpg"))
OTHER = catalogue(("3", "Ribbon", "https://shop.example/c.jpg"))
TAGGED = {"ETag": '"1"'}


@pytest.fixture
def database_kind() -> str:
    return "sqlite"  # the rows that are read back are tested on both below services


def served(origin: OriginServer, text: str | bytes = TEXT, path: str = "/feeds/shop.csv", **options: Any) -> str:
    body = text if isinstance(text, bytes) else text.encode()
    return origin.serve(path, body, **{"content_type": "text/csv", **options})


async def post(client: httpx.AsyncClient, url: str, key: str = "", **fields: Any) -> httpx.Response:
    headers = {"Idempotency-Key": key} if key else {}
    return await client.post("/v1/batches", params={"source_url": url, **fields}, headers=headers)


async def submitted(client: httpx.AsyncClient, url: str, **fields: Any) -> dict[str, Any]:
    accepted = await post(client, url, **fields)
    assert accepted.status_code == 202, accepted.text
    batch: dict[str, Any] = accepted.json()
    return batch


async def names(client: httpx.AsyncClient, batch: dict[str, Any]) -> list[str]:
    page = (await client.get(f"/v1/batches/{batch['id']}/products")).json()["data"]
    return [product["product_name"] for product in page]


def conditions(origin: OriginServer, path: str = "/feeds/shop.csv") -> list[str | None]:
    return [request.headers.get("If-None-Match") for request in origin.requests if request.path == path]


async def refusal(client: httpx.AsyncClient, url: str, **fields: Any) -> tuple[str, str]:
    """Return the code and the sentence of the one problem with the address."""
    [error] = problem(await post(client, url, **fields), 422, "invalid-upload")["errors"]
    assert error["column"] == "source_url"
    return error["code"], error["detail"]


async def test_the_field_works_in_the_query_in_a_form_and_in_json(
    client: httpx.AsyncClient, origin: OriginServer
) -> None:
    url = served(origin)
    answers = [
        await post(client, url),
        await client.post("/v1/batches", params={"source_url": url}, headers={"Content-Type": "text/csv"}),
        await client.post("/v1/batches", files={"source_url": (None, url)}),
        await client.post("/v1/batches", data={"source_url": url}, files={"file": ("", b"")}),
        await client.post("/v1/batches", json={"source_url": url}),
    ]
    assert [answer.status_code for answer in answers] == [202] * 5, [answer.text for answer in answers]
    for answer in answers:
        manifest = answer.json()["manifest"]
        assert (manifest["source_url"], manifest["filename"]) == (url, "shop.csv")
        assert await names(client, answer.json()) == ["Shoe", "Hat"]


async def test_the_other_fields_mean_what_they_do_for_a_file(client: httpx.AsyncClient, origin: OriginServer) -> None:
    url = served(origin, "Handle;Title;Bilder\n1;Shoe;https://shop.example/a.jpg\n")
    columns = {"serial_number": "Handle", "product_name": "Title", "image_urls": "Bilder"}
    options = {"columns": columns, "renditions": [{"name": "thumb", "max_width": 50}], "quality": 60}
    accepted = await client.post("/v1/batches", json={"source_url": url, "filename": "spring.csv", **options})
    assert accepted.status_code == 202, accepted.text
    batch = accepted.json()
    assert batch["manifest"]["filename"] == "spring.csv"
    assert batch["manifest"]["columns"]["image_columns"] == ["Bilder"]
    assert [(spec["name"], spec["quality"]) for spec in batch["specs"]] == [("main", 60), ("thumb", 60)]


async def test_an_upload_has_a_file_or_a_url_of_one(client: httpx.AsyncClient, origin: OriginServer) -> None:
    url = served(origin)
    both = [
        await client.post(
            "/v1/batches", params={"source_url": url}, content=TEXT, headers={"Content-Type": "text/csv"}
        ),
        await client.post("/v1/batches", data={"source_url": url}, files={"file": ("a.csv", TEXT)}),
        await client.post("/v1/batches", json={"source_url": url, "products": []}),
    ]
    for answer in both:
        [error] = problem(answer, 422, "invalid-upload")["errors"]
        assert (error["column"], error["code"]) == ("source_url", "two_sources")
    neither = await client.post("/v1/batches", data={"quality": "50"}, files={"x": (None, "")})
    assert problem(neither, 422, "invalid-upload")["errors"][0]["code"] == "missing"
    assert origin.requests == []


async def test_the_images_of_a_fetched_catalogue_are_compressed(
    client: httpx.AsyncClient, drain_queues: DrainQueues, origin: OriginServer
) -> None:
    image = origin.serve("/a.jpg", image_bytes(200, 100))
    batch = await submitted(client, served(origin, catalogue(("1", "Shoe", image))))
    await drain_queues()
    assert (await client.get(f"/v1/batches/{batch['id']}")).json()["status"] == "completed"


@pytest.mark.parametrize(
    ("path", "body", "kind"),
    [
        ("/shop.csv.gz", gzip.compress(TEXT.encode()), "csv"),
        ("/export", workbook([["ID", "Name", "Images"], [1, "Shoe", "https://shop.example/a.jpg"]]), "xlsx"),
        ("/shop.tsv", TEXT.replace(",", "\t").encode(), "tsv"),
        ("/feed.php", b'{"id": 7, "name": "Shoe", "images": ["https://shop.example/a.jpg"]}\n', "jsonl"),
    ],
)
async def test_the_bytes_decide_the_format(
    client: httpx.AsyncClient, origin: OriginServer, path: str, body: bytes, kind: str
) -> None:
    batch = await submitted(client, served(origin, body, path, content_type="application/octet-stream"))
    assert batch["manifest"]["format"] == kind
    assert (await names(client, batch))[0] == "Shoe"


async def test_the_name_is_that_in_the_header_or_in_the_address(
    client: httpx.AsyncClient, origin: OriginServer
) -> None:
    headers = {"Content-Disposition": "attachment; filename*=UTF-8''..%2Fetc%2Fh%C3%BCte.csv"}
    named = await submitted(client, served(origin, path="/export.php?id=1", headers=headers))
    assert named["manifest"]["filename"] == "hüte.csv"
    decoded = await submitted(client, served(origin, path="/h%C3%BCte%2Fs.csv?a=b/c"))
    assert decoded["manifest"]["filename"] == "s.csv"
    assert (await submitted(client, served(origin, path="/")))["manifest"]["filename"] is None


async def test_an_unchanged_catalogue_is_not_sent_again_and_gives_a_new_batch(
    client: httpx.AsyncClient, origin: OriginServer
) -> None:
    url = served(origin, headers=TAGGED)
    first, second = await submitted(client, url), await submitted(client, url)
    assert conditions(origin) == [None, '"1"']
    assert first["id"] != second["id"]
    assert first["manifest"] == second["manifest"]
    assert first["counts"] == second["counts"]
    assert await names(client, second) == ["Shoe", "Hat"]
    await submitted(client, url)  # the second batch has the validators as well
    assert (await client.delete(f"/v1/batches/{first['id']}")).status_code in (204, 409)
    assert conditions(origin)[2] == '"1"'


async def test_a_changed_catalogue_is_fetched_whole(client: httpx.AsyncClient, origin: OriginServer) -> None:
    url = served(origin, headers=TAGGED)
    await submitted(client, url)
    served(origin, OTHER, headers={"ETag": '"2"'})
    assert await names(client, await submitted(client, url)) == ["Ribbon"]


@pytest.mark.parametrize(
    "fields",
    [{"refresh": True}, {"on_invalid": "skip"}, {"output": "replace"}, {"sheet": "x"}, {"catalogue": "another"}],
    ids=lambda fields: next(iter(fields)),
)
async def test_a_file_that_would_be_read_differently_is_fetched_whole(
    client: httpx.AsyncClient, origin: OriginServer, fields: dict[str, Any]
) -> None:
    url = served(origin, headers=TAGGED)
    await submitted(client, url)
    await post(client, url, **fields)
    assert conditions(origin) == [None, None]


async def test_options_that_do_not_concern_the_file_need_no_other_fetch(
    client: httpx.AsyncClient, origin: OriginServer
) -> None:
    url = served(origin, headers=TAGGED)
    await submitted(client, url)
    batch = await submitted(client, url, names="{sku}", quality=70, on_failed="original")
    assert conditions(origin) == [None, '"1"']
    assert batch["specs"][0]["quality"] == 70


async def test_a_template_is_checked_against_an_unchanged_catalogue_too(
    client: httpx.AsyncClient, origin: OriginServer
) -> None:
    url = served(origin, headers=TAGGED)
    await submitted(client, url)
    answer = await post(client, url, names="{colour}")
    assert "Product Name" in problem(answer, 422)["detail"]


async def test_a_catalogue_of_a_deleted_batch_is_fetched_whole(
    client: httpx.AsyncClient, settings: Settings, origin: OriginServer
) -> None:
    url = served(origin, headers=TAGGED)
    first = await submitted(client, url)
    await write(settings, "UPDATE batch SET deleted_at = created_at WHERE id = :id", id=first["id"])
    await submitted(client, url)
    assert conditions(origin) == [None, None]


async def test_a_batch_that_is_deleted_during_the_fetch_is_not_read(
    client: httpx.AsyncClient, settings: Settings, origin: OriginServer
) -> None:
    url = served(origin, headers=TAGGED)
    first = await submitted(client, url)

    async def delete() -> None:
        await write(settings, "UPDATE batch SET deleted_at = created_at WHERE id = :id", id=first["id"])
        await write(settings, "DELETE FROM asset WHERE batch_id = :id", id=first["id"])

    served(origin, headers=TAGGED, wait=delete)
    batch = await submitted(client, url)
    assert conditions(origin) == [None, '"1"', None]
    assert batch["counts"]["assets"]["total"] == 2


async def test_validators_of_one_key_are_not_used_for_another(
    client: httpx.AsyncClient, settings: Settings, origin: OriginServer
) -> None:
    url = served(origin, headers=TAGGED)
    first = await submitted(client, url)
    await write(
        settings,
        "INSERT INTO api_key (id, name, webhook_secrets, created_at, removals) "
        "SELECT 'key_other', 'other', webhook_secrets, created_at, 0 FROM api_key LIMIT 1",
    )
    await write(settings, "UPDATE batch SET api_key_id = 'key_other' WHERE id = :id", id=first["id"])
    await submitted(client, url)
    assert conditions(origin) == [None, None]


async def test_a_redirect_that_moved_gets_no_validators(client: httpx.AsyncClient, origin: OriginServer) -> None:
    served(origin, path="/v1.csv", headers=TAGGED)
    served(origin, OTHER, path="/v2.csv", headers=TAGGED)
    url = origin.serve("/latest", b"", status=302, headers={"Location": "/v1.csv"})
    await submitted(client, url)
    assert await names(client, await submitted(client, url)) == ["Shoe", "Hat"]
    assert conditions(origin, "/v1.csv") == [None, '"1"']
    origin.serve("/latest", b"", status=302, headers={"Location": "/v2.csv"})
    assert await names(client, await submitted(client, url)) == ["Ribbon"]
    assert conditions(origin, "/v2.csv") == [None]


async def test_a_repeat_with_its_key_returns_the_batch_without_a_fetch(
    client: httpx.AsyncClient, origin: OriginServer
) -> None:
    url = served(origin)
    first = await post(client, url, key="tonight")
    served(origin, OTHER)
    again = await post(client, url, key="tonight")
    assert again.json()["id"] == first.json()["id"]
    assert again.headers["idempotent-replayed"] == "true"
    assert origin.hits("/feeds/shop.csv") == 1
    for other in (await post(client, url + "?a", key="tonight"), await post(client, url, key="tonight", quality=70)):
        problem(other, 422, "idempotency-key-reused")
    assert len(origin.requests) == 1


async def test_it_is_only_checked_with_validate_only(
    client: httpx.AsyncClient, settings: Settings, origin: OriginServer
) -> None:
    checked = await post(client, served(origin), validate_only=True)
    assert (checked.status_code, checked.json()["products"]) == (200, 2)
    assert await rows_stored(settings) == NOTHING


async def test_a_problem_in_the_file_names_its_row(client: httpx.AsyncClient, origin: OriginServer) -> None:
    url = served(origin, catalogue(("1", "Shoe", "htp:/shop.example/a.jpg")))
    [error] = problem(await post(client, url), 422, "invalid-manifest")["errors"]
    assert (error["row"], error["code"]) == (2, "invalid_url")


async def test_a_login_page_is_refused_in_words(client: httpx.AsyncClient, origin: OriginServer) -> None:
    answer = await post(client, origin.url("/html"))
    assert problem(answer, 422, "invalid-manifest")["errors"][0]["code"] == "not_a_csv"


@pytest.mark.parametrize(
    ("path", "code", "words"),
    [
        ("/status/401", "http_401", "asks for a login"),
        ("/nothing", "http_404", "There is no file at this address"),
        ("/retry-after/429/60", "http_429", "Try again later"),
        ("/status/503", "http_503", "Try again later"),
        ("/status/418", "http_418", "HTTP 418"),
        ("/loop", "too_many_redirects", "last address"),
        ("/redirect-to?url=http://metadata.google.internal/", "blocked_address", "reachable from the internet"),
        ("/redirect-to?url=http://169.254.169.254/latest/", "blocked_address", "reachable from the internet"),
        ("/redirect-to?url=http://10.0.0.1/", "blocked_address", "reachable from the internet"),
        ("/redirect-to?url=file:///etc/passwd", "invalid_url", "not a valid web address"),
        ("/disconnect", "connect_error", "interrupted"),
        ("/wrong-length/larger", "connect_error", "interrupted"),
        ("/garbage", "connect_error", "interrupted"),
        ("/endless", "body_too_large", "IMGSVC_MAX_UPLOAD_BYTES"),
    ],
)
async def test_a_failed_fetch_is_one_problem_in_words(
    client: httpx.AsyncClient, settings: Settings, origin: OriginServer, path: str, code: str, words: str
) -> None:
    found, sentence = await refusal(client, origin.url(path))
    assert found == code
    assert words in sentence
    assert "image" not in sentence
    assert await rows_stored(settings) == NOTHING


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("ftp://shop.example/a.csv", "invalid_url"),
        ("https://user:secret@shop.example/a.csv", "invalid_url"),
        ("http://10.0.0.1/a.csv", "blocked_address"),
        ("http://169.254.169.254/", "blocked_address"),
        ("http://metadata.google.internal/a.csv", "blocked_address"),
        ("http://nothing.invalid/a.csv", "dns_error"),
    ],
)
async def test_an_address_that_may_not_be_called_is_refused(client: httpx.AsyncClient, url: str, code: str) -> None:
    found, sentence = await refusal(client, url)
    assert found == code
    assert "127.0.0" not in sentence


async def test_the_ports_of_the_service_stay_closed(client: httpx.AsyncClient, settings: Settings) -> None:
    assert settings.allowed_networks
    assert (await refusal(client, f"http://127.0.0.1:{settings.port}/v1/batches"))[0] == "blocked_address"
    assert (await refusal(client, f"http://localhost:{settings.port}/"))[0] == "blocked_address"


@asynccontextmanager
async def impatient(settings: Settings, **limits: float) -> AsyncIterator[tuple[FastAPI, httpx.AsyncClient]]:
    """Yield the application with other limits of the fetch."""
    fetcher = Fetcher(
        limits=replace(catalogue_limits(settings), **limits),  # type: ignore[arg-type]
        egress=egress_policy(settings),
        user_agent="test",
    )
    try:
        async with serving(settings) as (app, client):
            app.state.catalogue_fetcher = CatalogueFetcher(FileDownloader(fetcher))
            yield app, client
    finally:
        await fetcher.aclose()


@pytest.mark.parametrize(
    ("limit", "path", "code"),
    [
        ("read_timeout", "/slow-headers", "read_timeout"),
        ("read_timeout", "/stall", "read_timeout"),
        ("total_timeout", "/drip", "total_timeout"),
    ],
)
async def test_a_slow_server_is_given_up(
    settings: Settings, origin: OriginServer, limit: str, path: str, code: str
) -> None:
    async with impatient(settings, **{limit: 0.3}) as (_, client):
        assert (await refusal(client, origin.url(path)))[0] == code


async def test_a_file_of_the_largest_size_is_accepted_and_one_byte_more_is_not(
    settings: Settings, origin: OriginServer
) -> None:
    url = served(origin)
    async with serving(settings.model_copy(update={"max_upload_bytes": 1_024})) as (_, client):
        row = TEXT.splitlines()[1] + "\n"
        text = TEXT + row * 10
        text += "3," + "x" * (1_024 - len(text) - 3) + "\n"
        served(origin, text)
        assert (await post(client, url)).status_code == 202
        served(origin, text + "\n")
        assert (await refusal(client, url))[0] == "body_too_large"


@pytest.mark.parametrize("body", [{"source_url": 7}, {"source_url": []}, {"source_url": "https://a.example/", "x": 1}])
async def test_json_with_other_types_is_refused(client: httpx.AsyncClient, body: dict[str, Any]) -> None:
    problem(await client.post("/v1/batches", json=body), 422, "invalid-upload")
