"""`output=replace`: the file comes back with the new URLs in place of the old ones, ready to be imported."""

import csv
import io
from typing import Any

import httpx
import pytest

from support.api_calls import CSV, DrainQueues, catalogue, problem, upload
from support.catalogue_exports import EXPORTS
from support.origin_server import OriginServer, image_bytes

HEADER = ("S. No.", "Product Name", "Input Image Urls")


@pytest.fixture
def database_kind() -> str:
    return "sqlite"  # tests/api/test_several_image_columns.py stores the same columns on each


@pytest.fixture
def images(origin: OriginServer) -> list[str]:
    """Return the URLs of the images that all exports show."""
    return [origin.serve(f"/{name}.jpg", image_bytes(16 + 8 * size, 24)) for size, name in enumerate("abcd")]


async def output(
    client: httpx.AsyncClient, batch: dict[str, Any], report: str = "output", **query: Any
) -> httpx.Response:
    return (await client.get(f"/v1/batches/{batch['id']}/{report}.csv", params=query)).raise_for_status()


async def new_urls(client: httpx.AsyncClient, batch: dict[str, Any]) -> dict[str, str]:
    """Return the new URL of each image, by the uploaded one."""
    products = (await client.get(f"/v1/batches/{batch['id']}/products")).json()["data"]
    return {asset["input_url"]: asset["output_url"] for product in products for asset in product["assets"]}


@pytest.mark.parametrize("name", EXPORTS)
async def test_an_export_goes_in_without_a_field_and_comes_back_importable(
    client: httpx.AsyncClient, drain_queues: DrainQueues, origin: OriginServer, images: list[str], name: str
) -> None:
    export = EXPORTS[name]
    data = export.data(origin.url(""))
    answer = await client.post("/v1/batches", content=data, headers=CSV, params={"output": "replace"})
    batch = answer.raise_for_status().json()
    assert batch["manifest"]["preset"] == export.preset
    assert batch["manifest"]["columns"]["image_columns"] == export.image_urls
    await drain_queues()
    new = await new_urls(client, batch)
    assert set(new) <= set(images)
    assert all(new.values())
    assert (await client.get(next(iter(new.values())))).status_code == 200

    expected = data.decode(export.encoding)
    for old in new:
        expected = expected.replace(old, new[old])
    assert (await output(client, batch)).content == expected.encode(export.encoding)


@pytest.mark.parametrize(
    ("encoding", "charset"), [("utf-8", "utf-8"), ("cp1252", "windows-1252"), ("utf-16", "utf-16")]
)
async def test_the_encoding_of_the_file_is_that_of_the_answer(
    client: httpx.AsyncClient, drain_queues: DrainQueues, encoding: str, charset: str
) -> None:
    data = catalogue(("1", "Größe", "htp://a"), header=HEADER).encode(encoding)
    fields = {"output": "replace", "on_invalid": "skip", "on_failed": "original"}
    batch = (await client.post("/v1/batches", content=data, headers=CSV, params=fields)).raise_for_status().json()
    await drain_queues()
    answer = await output(client, batch)
    assert answer.content == data
    assert answer.headers["content-type"] == f"text/csv; charset={charset}"
    assert (await output(client, batch, bom="true")).content.decode(encoding).removeprefix("\ufeff") == answer.text
    assert (
        (await output(client, batch, "failures")).content.decode("utf-8").splitlines()[1].startswith("1,Größe,htp://a,")
    )


@pytest.mark.parametrize("mode", ["append", "replace"])
@pytest.mark.parametrize(
    ("on_failed", "first", "second"),
    [
        ("empty", "NEW,", ""),
        ("original", "NEW,GONE", "GONE"),
        ("https://shop.example/none.png", "NEW,https://shop.example/none.png", "https://shop.example/none.png"),
    ],
)
async def test_a_failed_image_is_replaced_by_what_the_upload_says(
    client: httpx.AsyncClient,
    drain_queues: DrainQueues,
    origin: OriginServer,
    images: list[str],
    mode: str,
    on_failed: str,
    first: str,
    second: str,
) -> None:
    gone = origin.url("/status/404")
    rows = catalogue(("1", "Mug", f"{images[0]},{gone}"), ("2", "Cup", gone), header=HEADER)
    batch = await upload(client, rows, output=mode, on_failed=on_failed)
    await drain_queues()
    new = await new_urls(client, batch)
    assert new[gone] is None
    cells = [row[-1] for row in csv.reader(io.StringIO((await output(client, batch)).text, newline=""))]
    assert [cell.replace(new[images[0]], "NEW").replace(gone, "GONE") for cell in cells[1:]] == [first, second]


@pytest.mark.parametrize(
    "on_failed", ["nothing", "ftp://shop.example/x.png", "https://shop.example/a,b.png", "https://shop.example/ä.png"]
)
async def test_another_fallback_than_a_plain_url_is_refused(client: httpx.AsyncClient, on_failed: str) -> None:
    rows = catalogue(("1", "Mug", "https://shop.example/a.jpg"))
    refused = await client.post("/v1/batches", content=rows, headers=CSV, params={"on_failed": on_failed})
    [error] = problem(refused, 422, "invalid-upload")["errors"]
    assert (error["code"], error["column"]) == ("invalid_fallback", "on_failed")


async def test_an_unknown_output_is_refused(client: httpx.AsyncClient) -> None:
    rows = catalogue(("1", "Mug", "https://shop.example/a.jpg"))
    refused = await client.post("/v1/batches", content=rows, headers=CSV, params={"output": "both"})
    [error] = problem(refused, 422, "invalid-upload")["errors"]
    assert error["column"] == "output"


async def test_the_report_of_a_json_upload_has_the_new_urls_as_well(
    client: httpx.AsyncClient, drain_queues: DrainQueues, images: list[str]
) -> None:
    product = {"product_name": "Mug", "input_urls": [images[0], "not a URL", images[1]]}
    inseparable = {"product_name": "Cup", "input_urls": ['a, "b"', images[0]]}
    body = {"products": [product, inseparable], "output": "replace", "on_failed": "original", "on_invalid": "skip"}
    batch = (await client.post("/v1/batches", json=body)).raise_for_status().json()
    await drain_queues()
    new = await new_urls(client, batch)
    [header, row, last] = csv.reader(io.StringIO((await output(client, batch)).text, newline=""))
    assert header == list(HEADER)
    assert [entry.strip() for entry in row[2].split(",")] == [new[images[0]], "not a URL", new[images[1]]]
    assert last[2] == f'a, "b", {new[images[0]]}'


async def test_a_template_keeps_its_lines_when_columns_are_added(client: httpx.AsyncClient) -> None:
    export = EXPORTS["ebay"]
    data = export.data("htp://a")
    answer = await client.post("/v1/batches", content=data, headers=CSV, params={"on_invalid": "skip"})
    lines = (await output(client, answer.raise_for_status().json(), partial="true")).text.split("\r\n")
    sent = data.decode().split("\r\n")
    assert lines[:2] == sent[:2]
    assert [lines[2], lines[3]] == [f"{sent[2]},Output Image Urls", f'{sent[3]},","']
