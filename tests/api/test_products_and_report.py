"""The pages of a batch's products, and its reports."""

import csv
import io
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from imgsvc.settings.server import Settings
from support.api_calls import DrainQueues, catalogue, problem, upload, write
from support.origin_server import OriginServer, image_bytes

COLUMNS = '{"serial_number": "Handle", "product_name": "Title", "image_urls": "Image Src"}'


def table(text: str, delimiter: str = ",") -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))


async def pages(client: httpx.AsyncClient, batch_id: str, limit: int, **query: Any) -> AsyncIterator[dict[str, Any]]:
    """Yield every page, following `next` as a client would."""
    after: int | None = -1
    while after is not None:
        params = {"limit": limit, "after": after, **query}
        page = (await client.get(f"/v1/batches/{batch_id}/products", params=params)).json()
        yield page
        assert page["has_more"] == (page["next"] is not None)
        after = page["next"]


async def report(client: httpx.AsyncClient, batch: dict[str, Any], **query: Any) -> httpx.Response:
    return await client.get(f"/v1/batches/{batch['id']}/output.csv", params=query)


@pytest.mark.parametrize(("products", "limit", "lengths"), [(7, 3, [3, 3, 1]), (6, 3, [3, 3]), (1, 100, [1])])
async def test_the_pages_contain_every_product_once_and_in_order(
    client: httpx.AsyncClient, products: int, limit: int, lengths: list[int]
) -> None:
    rows = [(f"S{number}", f"Product {number}", "https://shop.example/a.jpg") for number in range(products)]
    batch = await upload(client, catalogue(*rows))
    seen = [page["data"] async for page in pages(client, batch["id"], limit)]
    assert [len(page) for page in seen] == lengths
    each = [product for page in seen for product in page]
    assert [(product["serial_number"], product["product_name"]) for product in each] == [row[:2] for row in rows]
    assert [product["position"] for product in each] == list(range(products))


async def test_a_page_after_the_last_product_is_empty(client: httpx.AsyncClient) -> None:
    batch = await upload(client, catalogue(("1", "Shoe", "https://shop.example/a.jpg")))
    page = (await client.get(f"/v1/batches/{batch['id']}/products?after=2147483647")).json()
    assert page == {"data": [], "has_more": False, "next": None}


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "after=-2", "after=99999999999999999999", "after=x"])
async def test_a_page_out_of_bounds_is_422(client: httpx.AsyncClient, query: str) -> None:
    batch = await upload(client, catalogue(("1", "Shoe", "https://shop.example/a.jpg")))
    [error] = problem(await client.get(f"/v1/batches/{batch['id']}/products?{query}"), 422)["errors"]
    assert error["column"] == query.partition("=")[0]


async def test_a_product_has_the_result_of_each_of_its_urls(
    client: httpx.AsyncClient, drain_queues: DrainQueues, origin: OriginServer
) -> None:
    good, gone = origin.serve("/a.jpg", image_bytes(640, 480)), origin.url("/status/404")
    batch = await upload(client, catalogue(("1", "Shoe", f"{good}, {gone}, {good}"), ("2", "Hat", "")))
    [[shoe, hat]] = [page["data"] async for page in pages(client, batch["id"], 100)]
    assert shoe["output_urls"] == [None, None, None]
    assert shoe["assets"][0]["status"] == "pending"

    await drain_queues()
    [[shoe, hat]] = [page["data"] async for page in pages(client, batch["id"], 100)]
    assert shoe["input_urls"] == [good, gone, good]
    first, missing, third = shoe["output_urls"]
    assert (first is not None, missing, third) == (True, None, first)
    compressed, failed, _ = shoe["assets"]
    assert (compressed["status"], compressed["action"], compressed["error"]) == ("succeeded", "compressed", None)
    assert (compressed["width"], compressed["height"]) == (640, 480)
    assert compressed["output_bytes"] == len((await client.get(first)).content) < compressed["input_bytes"]
    assert (failed["status"], failed["output_bytes"]) == ("failed", None)
    assert (failed["error"]["code"], failed["error"]["http_status"]) == ("http_404", 404)
    assert hat["input_urls"] == hat["output_urls"] == hat["assets"] == []


async def test_the_report_is_the_upload_with_one_more_column(
    client: httpx.AsyncClient, drain_queues: DrainQueues, origin: OriginServer
) -> None:
    a, b = origin.serve("/a.jpg", image_bytes()), origin.serve("/b.jpg", image_bytes(32, 24))
    gone = origin.url("/status/410")
    header = ("S. No.", "Colour; size", "Product Name", "Input Image Urls", "Note")
    rows = [
        ("2.", 'red "42"', "Shoe", f"{a},{gone},{a}", "multi\nline"),
        ("", "", "Größe", "", "=1+1"),
        ("1", "blue", "Hat", b, ""),
    ]
    batch = await upload(client, catalogue(*rows, header=header, delimiter=";"))
    await drain_queues()
    answer = await report(client, batch)

    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.text.endswith("\r\n")
    lines = table(answer.content.decode(), ";")
    assert lines[0] == [*header, "Output Image Urls"]
    assert [line[2] for line in lines[1:]] == ["Shoe", "Größe", "Hat"]
    assert [line[1::2] for line in lines[1:]] == [
        ['red "42"', f"{a},{gone},{a}", lines[1][5]], ["", "", ""], ["blue", b, lines[3][5]],
    ]  # fmt: skip
    assert [line[4] for line in lines[1:]] == ["multi\nline", "=1+1", ""]
    first, failed, repeated = lines[1][5].split(",")
    assert failed == ""
    assert first == repeated
    assert len({first, lines[3][5]}) == 2
    assert {(await client.get(url)).status_code for url in (first, lines[3][5])} == {200}


async def test_the_report_is_409_until_the_batch_has_ended_unless_it_is_partial(client: httpx.AsyncClient) -> None:
    batch = await upload(client, catalogue(("1", "Shoe", "https://s.example/a.jpg, https://s.example/b.jpg")))
    body = problem(await report(client, batch), 409, "batch-not-finished")
    assert batch["id"] in body["detail"]
    assert "partial=true" in body["detail"]
    partial = await report(client, batch, partial="true")
    assert table(partial.text)[1][3] == ","


async def test_the_report_of_a_batch_without_valid_urls_has_empty_slots(client: httpx.AsyncClient) -> None:
    batch = await upload(client, catalogue(("1", "Shoe", "htp://a, htp://b")), on_invalid="skip")
    assert table((await report(client, batch)).text)[1][3] == ","


@pytest.mark.parametrize(
    ("sent", "saved_as"),
    [
        ("shop.csv", "UTF-8''shop-output.csv"),
        ("SHOP.CSV", "UTF-8''SHOP-output.csv"),
        ('a"b\r\nX: y.csv', "UTF-8''a%22bX%3A%20y-output.csv"),
        ("Größe 42.csv", "UTF-8''Gr%C3%B6%C3%9Fe%2042-output.csv"),
    ],
)
async def test_the_report_is_saved_under_the_name_of_the_upload(
    client: httpx.AsyncClient, sent: str, saved_as: str
) -> None:
    file = {"file": (sent, catalogue(("1", "Shoe", "https://shop.example/a.jpg")))}
    batch = (await client.post("/v1/batches", files=file)).json()
    disposition = (await report(client, batch, partial="true")).headers["content-disposition"]
    assert disposition == f'attachment; filename="{batch["id"]}-output.csv"; filename*={saved_as}'


async def test_a_report_of_several_thousand_products_is_complete_and_in_order(
    client: httpx.AsyncClient, settings: Settings
) -> None:
    rows = [(str(number), f"Product {number}", f"https://shop.example/{number % 7}.jpg") for number in range(2_345)]
    batch = await upload(client, catalogue(*rows))
    await write(settings, "UPDATE batch SET status = 'failed', failed = 7")
    assert [tuple(line[:3]) for line in table((await report(client, batch)).text)[1:]] == rows


async def test_a_shopify_catalogue_is_read_through_columns_and_keeps_one_row_per_image(
    client: httpx.AsyncClient, drain_queues: DrainQueues, origin: OriginServer
) -> None:
    header = ("Handle", "Title", "Body (HTML)", "Vendor", "Image Src", "Image Position", "Variant SKU")
    a, b = origin.serve("/a.jpg", image_bytes()), origin.serve("/b.jpg", image_bytes(32, 24))
    rows = [
        ("red-shoe", "Red Shoe", "<p>Soft, warm</p>", "Acme", a, "1", "R-1"),
        ("red-shoe", "", "", "", b, "2", ""),
        ("red-shoe", "", "", "", "", "", "R-2"),
    ]
    batch = await upload(client, catalogue(*rows, header=header), columns=COLUMNS)
    await drain_queues()
    lines = table((await report(client, batch)).text)
    assert lines[0] == [*header, "Output Image Urls"]
    assert [tuple(line[:7]) for line in lines[1:]] == rows
    assert [bool(line[7]) for line in lines[1:]] == [True, True, False]


# -- options of reports -----------------------------------------------------------------------------------------------


async def test_an_extended_report_has_the_status_error_and_sizes_of_each_url(
    client: httpx.AsyncClient, drain_queues: DrainQueues, origin: OriginServer
) -> None:
    good, gone = origin.serve("/a.jpg", image_bytes(640, 480)), origin.url("/status/404")
    batch = await upload(client, catalogue(("1", "Shoe", f"{good}, {gone}"), ("2", "Hat", "")))
    await drain_queues()
    lines = table((await report(client, batch, extended="true")).text)
    assert lines[0][3:] == ["Output Image Urls", "Status", "Error", "Input Bytes", "Output Bytes"]
    written = len((await client.get(lines[1][3].split(",")[0])).content)
    assert lines[1][4:] == ["succeeded,failed", ",http_404", f"{len(image_bytes(640, 480))},", f"{written},"]
    assert lines[2][3:] == [""] * 5


async def test_a_report_for_a_spreadsheet_begins_with_a_byte_order_mark(client: httpx.AsyncClient) -> None:
    batch = await upload(client, catalogue(("1", "Größe", "htp://a")), on_invalid="skip")
    for name in ("output", "failures"):
        marked = await client.get(f"/v1/batches/{batch['id']}/{name}.csv?bom=true")
        plain = await client.get(f"/v1/batches/{batch['id']}/{name}.csv")
        assert marked.content == b"\xef\xbb\xbf" + plain.content


async def test_failures_can_be_corrected_and_uploaded_again(
    client: httpx.AsyncClient, drain_queues: DrainQueues, origin: OriginServer
) -> None:
    good, gone = origin.serve("/a.jpg", image_bytes()), origin.url("/status/410")
    header = ("S. No.", "Input Image Urls", "Product Name", "Note")
    rows = [("1", f"{good}, {gone}, htp://a", "Shoe", "=1+1"), ("2", good, "Hat", ""), ("3", gone, "Bag", "red; blue")]
    batch = await upload(client, catalogue(*rows, header=header, delimiter=";"), on_invalid="skip")
    problem(await client.get(batch["links"]["failures_csv"]), 409, "batch-not-finished")
    await drain_queues()
    answer = await client.get(batch["links"]["failures_csv"])
    assert f'filename="{batch["id"]}-failures.csv"' in answer.headers["content-disposition"]
    lines = table(answer.text, ";")
    assert lines[0] == [*header, "Error"]
    assert [line[:4] for line in lines[1:]] == [
        ["1", f"{gone}, htp://a", "Shoe", "=1+1"], ["3", gone, "Bag", "red; blue"],
    ]  # fmt: skip
    assert lines[2][4] == "http_410: The server has removed it (HTTP 410)."
    assert "'=1+1" in (await client.get(batch["links"]["failures_csv"] + "?safe=true")).text

    corrected = answer.text.replace(", htp://a", "").replace("/status/410", "/a.jpg")
    again = await upload(client, corrected)
    await drain_queues()
    after = (await client.get(f"/v1/batches/{again['id']}")).json()
    assert (after["status"], after["counts"]["products"]) == ("completed", 2)
    assert table((await client.get(after["links"]["failures_csv"])).text, ";") == [[*header, "Error"]]


async def test_products_can_be_filtered_by_the_status_of_their_images(
    client: httpx.AsyncClient, settings: Settings
) -> None:
    rows = [(str(number), f"Product {number}", f"https://shop.example/{number}.jpg") for number in range(2_345)]
    batch = await upload(client, catalogue(*rows))
    await write(settings, "UPDATE asset SET status = 'failed' WHERE position IN (3, 1002, 1003, 2344)")
    path = f"/v1/batches/{batch['id']}/products"
    failed = [page async for page in pages(client, batch["id"], 2, status="failed")]
    seen = [product["position"] for page in failed for product in page["data"]]
    assert seen == [3, 1002, 1003, 2344]
    assert len(failed) == 3, "the last page is empty: the one before could not know that no more products follow"
    both = await client.get(f"{path}?status=failed&status=pending&limit=1000")
    assert len(both.json()["data"]) == 1_000
    problem(await client.get(f"{path}?status=done"), 422, "invalid-request")


async def test_a_large_batch_is_filtered_in_parts(client: httpx.AsyncClient, settings: Settings) -> None:
    rows = [(str(number), "Shoe", "https://shop.example/a.jpg") for number in range(12_000)]
    batch = await upload(client, catalogue(*rows))
    page = (await client.get(f"/v1/batches/{batch['id']}/products?status=failed")).json()
    assert page == {"data": [], "has_more": True, "next": 9_999}
    page = (await client.get(f"/v1/batches/{batch['id']}/products?status=failed&after=9999")).json()
    assert page == {"data": [], "has_more": False, "next": None}


async def test_a_page_ends_before_it_has_too_many_images(client: httpx.AsyncClient, settings: Settings) -> None:
    urls = ", ".join(f"https://shop.example/{number}.jpg" for number in range(100))
    batch = await upload(client, catalogue(*((str(number), "Shoe", urls) for number in range(120))))
    lengths = [len(page["data"]) async for page in pages(client, batch["id"], 1_000)]
    assert lengths == [50, 50, 20]
    await write(settings, "UPDATE batch SET status = 'failed', failed = 100")
    assert len(table((await report(client, batch)).text)) == 121
