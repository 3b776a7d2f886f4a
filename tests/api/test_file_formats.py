"""Uploads in other formats than CSV, end to end in one process."""

import gzip
import tempfile
from pathlib import Path
from typing import Any

import httpx
import pytest

from imgsvc.domain.manifest.formats.table import BY_NAME
from imgsvc.settings.server import Settings
from support.api_calls import NOTHING, problem, rows_stored
from support.workbooks import read_table, workbook, zipped

XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
HEADER = ["ID", "Name", "Price", "Images"]
ROWS: list[list[Any]] = [
    HEADER,
    [7, "Mug", 9.5, "https://shop.example/a.jpg"],
    ["00123", "Cup", 12, "https://shop.example/b.jpg"],
]
FEED = """<?xml version="1.0" encoding="UTF-8"?><rss xmlns:g="http://base.google.com/ns/1.0"><channel>
<item><g:id>7</g:id><title>Mug</title><g:image_link>https://shop.example/a.jpg</g:image_link></item>
</channel></rss>"""
LINES = '{"id": 7, "name": "Mug", "images": ["https://shop.example/a.jpg", "https://shop.example/b.jpg"]}\n'
CSV_TEXT = "ID,Name,Images\n7,Mug,https://shop.example/a.jpg\n"
TSV_TEXT = 'id\tname\timages\n7\t"Best" mug\thttps://shop.example/a.jpg\n'
FILES: dict[str, tuple[str, bytes, str]] = {
    "xlsx": ("shop.xlsx", workbook(ROWS), XLSX),
    "xml": ("shop.xml", FEED.encode(), "application/xml"),
    "jsonl": ("shop.jsonl", LINES.encode(), "application/x-ndjson"),
    "tsv": ("shop.tsv", TSV_TEXT.encode(), "text/tab-separated-values"),
    "gzip": ("shop.csv.gz", gzip.compress(CSV_TEXT.encode()), "application/gzip"),
    "zip": ("shop.zip", zipped(shop__csv=CSV_TEXT.encode(), readme__md=b"x"), "application/zip"),
    "zipped workbook": ("shop.zip", zipped(shop__xlsx=workbook(ROWS)), "application/octet-stream"),
}


@pytest.fixture
def database_kind() -> str:
    return "sqlite"


async def products_of(client: httpx.AsyncClient, accepted: httpx.Response) -> list[dict[str, Any]]:
    assert accepted.status_code == 202, accepted.text
    page = await client.get(f"{accepted.headers['location']}/products")
    data: list[dict[str, Any]] = page.json()["data"]
    return data


@pytest.mark.parametrize(("name", "data", "media_type"), FILES.values(), ids=FILES)
async def test_a_file_is_accepted_as_a_form_and_as_a_body(
    client: httpx.AsyncClient, name: str, data: bytes, media_type: str
) -> None:
    as_form = await client.post("/v1/batches", files={"file": (name, data)})
    as_body = await client.post("/v1/batches", content=data, headers={"Content-Type": media_type})
    first, *_ = products = await products_of(client, as_form)
    assert [product["product_name"] for product in await products_of(client, as_body)] == [
        product["product_name"] for product in products
    ]
    assert first["serial_number"] == "7"
    assert first["input_urls"][0] == "https://shop.example/a.jpg"


async def test_quotation_marks_of_a_feed_are_text(client: httpx.AsyncClient) -> None:
    accepted = await client.post("/v1/batches", files={"file": FILES["tsv"][:2]})
    [product] = await products_of(client, accepted)
    assert product["product_name"] == '"Best" mug'


async def test_a_workbook_is_only_validated_with_validate_only(client: httpx.AsyncClient, settings: Settings) -> None:
    checked = await client.post("/v1/batches?validate_only=true", files={"file": FILES["xlsx"][:2]})
    assert checked.status_code == 200
    assert (checked.json()["products"], checked.json()["urls"]) == (2, 2)
    assert await rows_stored(settings) == NOTHING


async def test_a_repeated_workbook_creates_one_batch(client: httpx.AsyncClient) -> None:
    key = {"Idempotency-Key": "tonight"}
    first = await client.post("/v1/batches", files={"file": FILES["xlsx"][:2]}, headers=key)
    again = await client.post("/v1/batches", files={"file": FILES["xlsx"][:2]}, headers=key)
    other = await client.post("/v1/batches?sheet=Products", files={"file": FILES["xlsx"][:2]}, headers=key)
    assert again.json()["id"] == first.json()["id"]
    assert again.headers["idempotent-replayed"] == "true"
    problem(other, 422, "idempotency-key-reused")


async def test_problems_name_sheet_row_and_column(client: httpx.AsyncClient) -> None:
    bad = workbook([[], HEADER, [1, "Mug", 2, "see website"]], sheet="Shoes", before=["Notes"])
    refused = await client.post("/v1/batches?sheet=Shoes", files={"file": ("a.xlsx", bad)})
    body = problem(refused, 422, "invalid-manifest")
    [error] = body["errors"]
    assert (error["code"], error["row"], error["column"]) == ("invalid_url", 3, "Images")
    assert "(sheet `Shoes`, row 3)" in body["detail"]


async def test_a_sheet_of_a_csv_is_refused(client: httpx.AsyncClient, settings: Settings) -> None:
    refused = await client.post("/v1/batches?sheet=Shoes", files={"file": ("a.csv", CSV_TEXT)})
    [error] = problem(refused, 422, "invalid-manifest")["errors"]
    assert (error["code"], error["column"]) == ("unknown_sheet", "sheet")
    assert await rows_stored(settings) == NOTHING


OUTPUTS = ("tsv", "xlsx", "ods", "jsonl", "xml")


async def finished_batch(client: httpx.AsyncClient, **files: tuple[str, bytes]) -> dict[str, Any]:
    """Upload a file whose only URL is invalid, so that its batch ends at once."""
    accepted = await client.post("/v1/batches?on_invalid=skip", files=files)
    assert accepted.status_code == 202, accepted.text
    batch: dict[str, Any] = accepted.json()
    return batch


@pytest.mark.parametrize("extension", OUTPUTS)
async def test_every_batch_has_its_output_in_every_format(client: httpx.AsyncClient, extension: str) -> None:
    rows = [HEADER, ["00123", "=1+1", "9.5", "htp://nowhere"]]
    batch = await finished_batch(client, file=("Schuhe äöü.xlsx", workbook(rows)))
    path = f"/v1/batches/{batch['id']}/output.{extension}"
    answer = await client.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-disposition"].endswith(f"Schuhe%20%C3%A4%C3%B6%C3%BC-output.{extension}")
    assert answer.headers["content-type"].startswith(BY_NAME[extension].media_types[0])
    if extension == "tsv":
        assert answer.text.splitlines()[1] == "00123\t=1+1\t9.5\thtp://nowhere\t"
    else:
        assert read_table(answer.content).rows[1][:4] == rows[1]


@pytest.mark.parametrize(
    ("kind", "extension"),
    [(kind, kind) for kind in ("xlsx", "xml", "jsonl", "tsv")] + [("gzip", "csv"), ("zipped workbook", "xlsx")],
)
async def test_the_link_output_is_in_the_format_of_the_upload(
    client: httpx.AsyncClient, kind: str, extension: str
) -> None:
    name, data, _ = FILES[kind]
    batch = (await client.post("/v1/batches", files={"file": (name, data)})).json()
    assert batch["links"]["output"] == batch["links"]["self"] + f"/output.{extension}"
    assert batch["manifest"]["format"] == extension
    assert batch["manifest"]["sheet"] == ("Products" if extension == "xlsx" else None)
    answer = await client.get(f"{batch['links']['output']}?partial=true")
    assert f"shop-output.{extension}" in answer.headers["content-disposition"]


async def test_numbers_of_an_uploaded_workbook_are_numbers_again(client: httpx.AsyncClient) -> None:
    batch = (await client.post("/v1/batches", files={"file": FILES["xlsx"][:2]})).json()
    answer = await client.get(f"{batch['links']['output']}?partial=true&extended=true")
    read = read_table(answer.content)
    assert read.rows[0] == [*HEADER, "Output Image Urls", "Status", "Error", "Input Bytes", "Output Bytes"]
    assert read.converted.file_format.numbers == (0, 2)


async def test_outputs_leave_no_temporary_file(
    client: httpx.AsyncClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    batch = (await client.post("/v1/batches", files={"file": FILES["xlsx"][:2]})).json()
    await client.get(f"{batch['links']['output']}?partial=true")
    refused = await client.post("/v1/batches?sheet=x", files={"file": FILES["xlsx"][:2]})
    assert refused.status_code == 422
    assert list(folder.iterdir()) == []


async def test_an_unknown_format_is_refused_with_those_that_exist(client: httpx.AsyncClient) -> None:
    batch = await finished_batch(client, file=("a.csv", b"ID,Name,Images\n1,Mug,htp://nowhere\n"))
    refused = await client.get(f"/v1/batches/{batch['id']}/output.pdf")
    assert "'xlsx'" in problem(refused, 422)["errors"][0]["detail"]


REPLACED = "https://shop.example/none.jpg"


@pytest.mark.parametrize(
    ("kind", "old", "new"),
    [
        ("xml", "<g:image_link>htp://nowhere</g:image_link>", f"<g:image_link>{REPLACED}</g:image_link>"),
        ("jsonl", '["htp://nowhere", "htp://nowhere/2"]', f'["{REPLACED}", "{REPLACED}"]'),
        ("tsv", "\thtp://nowhere", f"\t{REPLACED}"),
    ],
)
async def test_only_the_urls_of_a_feed_are_replaced(client: httpx.AsyncClient, kind: str, old: str, new: str) -> None:
    name, data, _ = FILES[kind]
    text = data.decode().replace("https://shop.example/b.jpg", "htp://nowhere/2")
    text = text.replace("https://shop.example/a.jpg", "htp://nowhere")
    assert old in text
    batch = await replaced_batch(client, name, text.encode())
    came_back = (await client.get(batch["links"]["output"])).text
    assert "".join(came_back.split()).removeprefix(DECLARATION) == "".join(text.replace(old, new).split()).removeprefix(
        DECLARATION
    )


async def test_only_the_urls_of_a_workbook_are_replaced(client: httpx.AsyncClient) -> None:
    rows: list[list[Any]] = [["ID", "Name", "Images", "Price"], ["00123", "=1+1", "htp://nowhere", 9.5]]
    batch = await replaced_batch(client, "shop.xlsx", workbook(rows))
    answer = await client.get(batch["links"]["output"])
    read = read_table(answer.content)
    assert read.rows == [rows[0], ["00123", "=1+1", REPLACED, "9.5"]]
    assert read.converted.file_format.numbers == (3,)


DECLARATION = '<?xmlversion="1.0"encoding="UTF-8"?>'


async def replaced_batch(client: httpx.AsyncClient, name: str, data: bytes) -> dict[str, Any]:
    """Upload a file whose URLs are all invalid, to be replaced by the fallback image: its batch ends at once."""
    query = {"output": "replace", "on_failed": REPLACED, "on_invalid": "skip"}
    accepted = await client.post("/v1/batches", files={"file": (name, data)}, params=query)
    assert accepted.status_code == 202, accepted.text
    batch: dict[str, Any] = accepted.json()
    return batch
