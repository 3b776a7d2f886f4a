"""checks.csv: remarks on the images of a batch, end to end in one process."""

import csv
import io
from typing import Any

import httpx
import pytest

from imgsvc.bootstrap import Resources
from imgsvc.domain.shop_rules import AMAZON, RULES
from imgsvc.services.access.api_keys import link_secret
from imgsvc.services.results.checks import HEADER
from support.api_calls import DrainQueues, catalogue, problem, upload
from support.origin_server import OriginServer, image_bytes

LARGE = image_bytes(1_200, 1_000)
SHOPIFY = ("Handle", "Title", "Image Src", "Variant Image")


async def report(client: httpx.AsyncClient, batch: dict[str, Any], **query: Any) -> list[dict[str, str]]:
    answer = await client.get(batch["links"]["checks_csv"], params=query)
    assert answer.status_code == 200, answer.text
    reader = csv.DictReader(io.StringIO(answer.text, newline=""), delimiter=batch["manifest"]["delimiter"])
    rows = list(reader)
    assert tuple(reader.fieldnames or ()) == HEADER
    return rows


def brief(rows: list[dict[str, str]]) -> list[tuple[str, str]]:
    return [(row["Serial Number"], row["Check"]) for row in rows]


async def test_each_product_has_a_row_for_each_remark_on_its_images(
    client: httpx.AsyncClient, drain_queues: DrainQueues, origin: OriginServer
) -> None:
    small, large = origin.serve("/s.jpg", image_bytes(640, 480)), origin.serve("/l.jpg", LARGE)
    gone = origin.url("/status/404")
    rows = [("7", "Mug", f"{large}, {small}, {gone}, {small}"), ("8", "Cup", ""), ("9", "Hat; black", small)]
    batch = await upload(client, catalogue(*rows, delimiter=";"))
    await drain_queues()

    found = await report(client, batch)
    checks = ["google_min_size", "amazon_min_size", "meta_min_size", "same_image"]
    assert brief(found) == [(serial, check) for serial in ("7", "9") for check in checks]
    [products] = [(await client.get(batch["links"]["products"])).json()["data"]]
    assert {(row["Product Name"], row["Input Image Url"], row["Output Image Url"]) for row in found} == {
        ("Mug", small, products[0]["output_urls"][1]),
        ("Hat; black", small, products[2]["output_urls"][0]),
    }
    assert "this JPEG has 640 × 480 pixels" in found[1]["Detail"]
    assert (found[1]["Source"], found[1]["Source Date"]) == (AMAZON.source, AMAZON.read.isoformat())
    for row in (found[3], found[7]):
        assert (row["Detail"], row["Source"]) == ("2 products have the same image, the first is 7.", "")


async def test_the_same_bytes_at_two_addresses_are_the_same_image(
    client: httpx.AsyncClient, drain_queues: DrainQueues, origin: OriginServer
) -> None:
    one, other = origin.serve("/1.jpg", LARGE), origin.serve("/2.jpg", LARGE)
    different = origin.serve("/3.jpg", image_bytes(1_100, 1_000))
    batch = await upload(client, catalogue(("1", "Mug", one), ("2", "Cup", f"{different}, {other}")))
    await drain_queues()
    found = await report(client, batch)
    assert brief(found) == [("1", "same_image"), ("2", "same_image")]
    assert [row["Input Image Url"] for row in found] == [one, other]
    assert len({row["Output Image Url"] for row in found}) == 2


async def test_in_an_export_of_shopify_the_rows_of_a_handle_are_one_product(
    client: httpx.AsyncClient, drain_queues: DrainQueues, origin: OriginServer
) -> None:
    shirt, none = origin.serve("/shirt.jpg", LARGE), origin.serve("/none.jpg", image_bytes(1_100, 1_000))
    rows = [("shirt", "Shirt", shirt, shirt), ("shirt", "", "", shirt), ("shirt", "", shirt, shirt)]
    without = ["Blue mug", "Green cup", "Black hat", "Lamp", "Oak table"]
    rows += [row for name in without for row in ((name.lower(), name, none, ""), (name.lower(), "", "", none))]
    batch = await upload(client, catalogue(*rows, header=SHOPIFY))
    assert batch["manifest"]["preset"] == "shopify"
    await drain_queues()
    found = await report(client, batch)
    assert brief(found) == [(name.lower(), "placeholder") for name in without]
    assert found[0]["Detail"] == "5 products have this image only, the first is blue mug: it may be a placeholder."


async def test_rows_that_continue_a_product_are_named_after_it(
    client: httpx.AsyncClient, drain_queues: DrainQueues, origin: OriginServer
) -> None:
    small = origin.serve("/s.jpg", image_bytes(1_100, 480))
    batch = await upload(client, catalogue(("1", "Mug", ""), ("", "", small), ("", "Cup", small)))
    await drain_queues()
    found = await report(client, batch, shop="meta")
    assert [(row["Serial Number"], row["Product Name"], row["Check"]) for row in found] == [
        ("1", "Mug", "meta_min_size"), ("1", "Mug", "same_image"),
        ("", "Cup", "meta_min_size"), ("", "Cup", "same_image"),
    ]  # fmt: skip


async def test_the_rendition_that_a_shop_imports_is_compared_with_its_original(
    client: httpx.AsyncClient, drain_queues: DrainQueues, origin: OriginServer
) -> None:
    small = origin.serve("/s.jpg", image_bytes(320, 240))
    options = {"fit": "contain", "width": 1_200, "renditions": '[{"name": "thumb", "max_width": 10}]'}
    batch = await upload(client, catalogue(("1", "Mug", small)), **options)
    await drain_queues()
    assert brief(await report(client, batch, shop="google")) == [("1", "google_small_original")]
    batch = await upload(client, catalogue(("1", "Mug", origin.serve("/l.jpg", LARGE))), max_width=600)
    await drain_queues()
    [row] = await report(client, batch, shop="amazon")
    assert row["Detail"].endswith("but its original keeps the rule.")


@pytest.mark.parametrize(
    ("query", "shops"),
    [
        ("", {"google", "amazon", "meta"}),
        ("?shop=google", {"google"}),
        ("?shop=google,%20amazon", {"google", "amazon"}),
        ("?shop=amazon&shop=meta,shopify", {"amazon", "meta"}),
        ("?shop=shopify", set()),
    ],
)
async def test_the_rules_can_be_those_of_some_shops(
    client: httpx.AsyncClient, drain_queues: DrainQueues, origin: OriginServer, query: str, shops: set[str]
) -> None:
    small = origin.serve("/s.jpg", image_bytes(640, 480))
    batch = await upload(client, catalogue(("1", "Mug", small), ("2", "Cup", small)))
    await drain_queues()
    text = (await client.get(batch["links"]["checks_csv"] + query)).text
    found = {row["Check"] for row in csv.DictReader(io.StringIO(text, newline=""))}
    assert found == {"same_image", *(f"{shop}_min_size" for shop in shops)}


@pytest.mark.parametrize("query", ["shop=ebay", "shop=google,ebay", "shop=", "shop=google,", "shop=Google"])
async def test_a_shop_without_rules_is_refused_with_the_names_that_exist(client: httpx.AsyncClient, query: str) -> None:
    batch = await upload(client, catalogue(("1", "Mug", "htp://a")), on_invalid="skip")
    body = problem(await client.get(f"{batch['links']['checks_csv']}?{query}"), 422, "invalid-request")
    assert all(repr(rule.shop.code) in body["detail"] for rule in RULES), body["detail"]


async def test_the_checks_are_409_until_the_batch_has_ended_unless_they_are_partial(
    client: httpx.AsyncClient, drain_queues: DrainQueues, origin: OriginServer
) -> None:
    small = origin.serve("/s.jpg", image_bytes(640, 480))
    batch = await upload(client, catalogue(("1", "Mug", small)))
    problem(await client.get(batch["links"]["checks_csv"]), 409, "batch-not-finished")
    assert await report(client, batch, partial="true") == []
    await drain_queues()
    assert len(await report(client, batch, partial="true")) == 3


async def test_the_checks_have_the_options_of_other_reports(
    client: httpx.AsyncClient, drain_queues: DrainQueues, origin: OriginServer
) -> None:
    small = origin.serve("/s.jpg", image_bytes(640, 480))
    batch = await upload(client, catalogue(("1", "=Mug", small)))
    await drain_queues()
    plain, marked, safe = [
        await client.get(batch["links"]["checks_csv"] + query) for query in ("", "?bom=true", "?safe=true")
    ]
    assert marked.content == b"\xef\xbb\xbf" + plain.content
    assert plain.headers["content-type"] == "text/csv; charset=utf-8"
    assert f'filename="{batch["id"]}-checks.csv"' in plain.headers["content-disposition"]
    assert ",=Mug," in plain.text
    assert ",'=Mug," in safe.text


async def test_a_signed_link_opens_the_checks_and_no_other_report(
    client: httpx.AsyncClient, resources: Resources
) -> None:
    batch = await upload(client, catalogue(("1", "Mug", "htp://a")), on_invalid="skip")
    async with resources.sessions.write() as session:
        secret = await link_secret(session, batch["id"])
    link = resources.links.signed_report(batch["id"], "checks.csv", secret=secret, now=resources.clock())
    assert (await client.get(link)).text.startswith("Serial Number,")
    problem(await client.get(link.replace("checks.csv", "failures.csv")), 401, "unauthorized")


async def test_a_catalogue_of_several_thousand_rows_is_checked_as_a_whole(
    client: httpx.AsyncClient, drain_queues: DrainQueues, origin: OriginServer
) -> None:
    """Repeats are found over pages, both of images and of products."""
    url = origin.serve("/l.jpg", LARGE)
    rows = [(str(number), f"Product {number}", "" if number % 1_000 else url) for number in range(3_001)]
    batch = await upload(client, catalogue(*rows))
    await drain_queues()
    assert brief(await report(client, batch)) == [(str(number), "same_image") for number in range(0, 3_001, 1_000)]
