"""POST /v1/batches: accepted forms and fields, and the resulting batch."""

import json

import httpx
import pytest

from imgsvc.settings.server import Settings
from support.api_calls import CSV, NOTHING, ONE_ROW, catalogue, problem, rows_stored, upload


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """The settings without allowed networks, as by default."""
    return settings.model_copy(update={"allowed_networks": ()})


async def test_a_form_with_a_file_becomes_a_pending_batch_with_its_fields(client: httpx.AsyncClient) -> None:
    fields = {"quality": "40", "format": "webp", "max_width": "800", "metadata": '{"order": "7"}'}
    accepted = await client.post("/v1/batches", files={"file": ("shop.csv", ONE_ROW)}, data=fields)

    assert accepted.status_code == 202
    batch = accepted.json()
    assert accepted.headers["location"] == f"/v1/batches/{batch['id']}"
    assert batch["status"] == "pending"
    assert batch["object"] == "batch"
    assert batch["counts"]["products"] == batch["counts"]["urls"] == batch["counts"]["assets"]["total"] == 1
    assert batch["manifest"]["filename"] == "shop.csv"
    assert batch["metadata"] == {"order": "7"}
    [spec] = batch["specs"]
    assert (spec["name"], spec["quality"], spec["format"], spec["max_width"]) == ("main", 40, "webp", 800)


async def test_the_location_is_the_url_of_the_batch(client: httpx.AsyncClient) -> None:
    accepted = await client.post("/v1/batches", content=ONE_ROW, headers=CSV)
    followed = await client.get(accepted.headers["location"])
    assert followed.json() == accepted.json()


@pytest.mark.parametrize("media_type", ["text/csv", "text/csv; charset=utf-8", "TEXT/CSV", "text/plain"])
async def test_a_bare_csv_takes_its_fields_from_the_query(client: httpx.AsyncClient, media_type: str) -> None:
    accepted = await client.post(
        "/v1/batches", content=ONE_ROW, headers={"Content-Type": media_type}, params={"quality": 30}
    )
    assert accepted.status_code == 202
    assert accepted.json()["specs"][0]["quality"] == 30
    assert accepted.json()["manifest"]["filename"] is None


async def test_fields_in_the_query_are_combined_with_those_of_a_form(client: httpx.AsyncClient) -> None:
    accepted = await client.post("/v1/batches?quality=30", files={"file": ("a.csv", ONE_ROW)}, data={"format": "webp"})
    [spec] = accepted.json()["specs"]
    assert (spec["quality"], spec["format"]) == (30, "webp")


async def test_a_repeated_field_is_refused(client: httpx.AsyncClient) -> None:
    refused = await client.post("/v1/batches?quality=30", files={"file": ("a.csv", ONE_ROW)}, data={"quality": "40"})
    [error] = problem(refused, 422, "invalid-upload")["errors"]
    assert (error["code"], error["column"]) == ("repeated", "quality")


async def test_empty_form_fields_count_as_omitted(client: httpx.AsyncClient) -> None:
    empty = dict.fromkeys(("quality", "format", "max_width", "columns", "webhook_url", "metadata", "on_invalid"), "")
    accepted = await client.post("/v1/batches", files={"file": ("a.csv", ONE_ROW)}, data=empty)
    assert accepted.status_code == 202
    assert accepted.json()["specs"][0]["quality"] == 50
    assert accepted.json()["webhook"] is None


async def test_columns_map_a_catalogue_with_other_headers(client: httpx.AsyncClient) -> None:
    text = catalogue(("red-shoe", "Shoe", "https://shop.example/a.jpg"), header=("Griff", "Titel", "Bild"))
    columns = {"serial_number": None, "product_name": "Titel", "image_urls": "Bild"}
    batch = await upload(client, text, columns=json.dumps(columns))
    page = (await client.get(f"/v1/batches/{batch['id']}/products")).json()
    assert [(each["serial_number"], each["product_name"]) for each in page["data"]] == [("1", "Shoe")]


async def test_the_batch_contains_its_webhook(client: httpx.AsyncClient) -> None:
    batch = await upload(client, ONE_ROW, webhook_url="https://client.example/hook")
    assert batch["webhook"] == {"url": "https://client.example/hook", "status": "pending", "attempts": 0}


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("shop.csv", "shop.csv"),
        ("../../etc/passwd", "passwd"),
        ("/home/me/Sommer 2026.csv", "Sommer 2026.csv"),
        (r"C:\Users\me\shop.csv", "shop.csv"),
        ("Größen.csv", "Größen.csv"),
        ("folder/", None),
    ],
)
async def test_the_name_of_the_file_is_kept_without_its_folders(
    client: httpx.AsyncClient, sent: str, kept: str | None
) -> None:
    accepted = await client.post("/v1/batches", files={"file": (sent, ONE_ROW)})
    assert accepted.json()["manifest"]["filename"] == kept


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/meta-data",
        "http://2130706433/",
        "http://0x7f.1/",
        "http://0177.0.0.1/",
        "http://127.1/",
        "http://10.0.0.1:8080/hook",
        "http://192.168.1.1./",
        "http://[::1]/",
        "http://[::ffff:10.0.0.1]/",
        "http://[64:ff9b::7f00:1]/",
        "http://[fd00::1]/",
        "http://\u2460\u2461\u2466.0.0.1/",
        "http://127\u30020\u30020\u30021/",
    ],
)
async def test_a_webhook_to_a_private_address_is_refused_in_any_spelling(
    client: httpx.AsyncClient, settings: Settings, url: str
) -> None:
    refused = await client.post("/v1/batches", content=ONE_ROW, headers=CSV, params={"webhook_url": url})
    [error] = problem(refused, 422, "invalid-upload")["errors"]
    assert (error["column"], error["code"], error["value"]) == ("webhook_url", "blocked_address", url)
    assert (await rows_stored(settings))["batch"] == 0


@pytest.mark.parametrize("url", ["ftp://client.example/", "client.example/hook", "https://", "https://a:b@c.example/"])
async def test_an_invalid_webhook_url_is_refused(client: httpx.AsyncClient, url: str) -> None:
    refused = await client.post("/v1/batches", content=ONE_ROW, headers=CSV, params={"webhook_url": url})
    [error] = problem(refused, 422, "invalid-upload")["errors"]
    assert (error["column"], error["code"]) == ("webhook_url", "invalid_url")


async def test_all_wrong_fields_are_listed_at_once(client: httpx.AsyncClient) -> None:
    wrong = {
        "quality": "0",
        "format": "bmp",
        "max_width": "wide",
        "background": "#nothex",
        "on_invalid": "ignore",
        "columns": '{"product_name": ',
        "metadata": '{"a": 1}',
        "webhook_url": "http://10.0.0.1/",
        "colour": "red",
    }
    refused = await client.post("/v1/batches", files={"file": ("a.csv", ONE_ROW)}, data=wrong)
    body = problem(refused, 422, "invalid-upload")
    assert {error["column"] for error in body["errors"]} == {*wrong, "metadata.a"} - {"metadata"}
    assert body["errors_total"] == len(wrong)


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("quality", "0", "greater_than_equal"),
        ("quality", "96", "less_than_equal"),
        ("quality", "fifty", "int_parsing"),
        ("format", "bmp", "enum"),
        ("columns", "[", "json_invalid"),
        ("columns", '{"product_name": "a", "image_urls": "b"}', "missing"),
        ("colour", "red", "extra_forbidden"),
    ],
)
async def test_a_wrong_field_is_refused_with_its_name_and_value(
    client: httpx.AsyncClient, settings: Settings, field: str, value: str, code: str
) -> None:
    refused = await client.post("/v1/batches", files={"file": ("a.csv", ONE_ROW)}, data={field: value})
    [error] = problem(refused, 422, "invalid-upload")["errors"]
    assert error["column"].partition(".")[0] == field
    assert error["code"] == code
    assert error["value"] == (None if code == "missing" else value)
    assert await rows_stored(settings) == NOTHING


async def test_with_on_invalid_skip_only_the_bad_url_counts_as_failed(client: httpx.AsyncClient) -> None:
    text = catalogue(("1", "Shoe", "htp://shop.example/a.jpg, https://shop.example/b.jpg"))
    batch = await upload(client, text, on_invalid="skip")
    assert batch["status"] == "pending"
    assert batch["counts"]["assets"]["failed"] == 1
    assert batch["counts"]["assets"]["pending"] == 1
    assert batch["errors_by_code"] == {"invalid_url": 1}


async def test_a_catalogue_with_only_bad_urls_is_finished_when_it_is_stored(client: httpx.AsyncClient) -> None:
    batch = await upload(client, catalogue(("1", "Shoe", "htp://shop.example/a.jpg")), on_invalid="skip")
    assert batch["status"] == "failed"
    assert batch["finished_at"] is not None
