"""Changes since the version before of a catalogue: counts, changes.csv, and the column in the extended report."""

import csv
import io
import json
from typing import Any

import httpx
import pytest

from imgsvc.settings.server import Settings
from support.api_calls import DrainQueues, catalogue, problem, upload
from support.origin_server import OriginServer, WebhookListener, image_bytes

ROWS = 100


@pytest.fixture
def images(origin: OriginServer) -> list[str]:
    return [origin.serve(f"/{number}.jpg", image_bytes(16 + number, 16)) for number in range(ROWS)]


async def version(client: httpx.AsyncClient, drain_queues: DrainQueues, text: str, **fields: Any) -> dict[str, Any]:
    """Return the ended batch of the next version of the catalogue `shop`."""
    batch = await upload(client, text, **{"catalogue": "shop", **fields})
    await drain_queues()
    found: dict[str, Any] = (await client.get(f"/v1/batches/{batch['id']}")).json()
    return found


async def rows_of(client: httpx.AsyncClient, batch: dict[str, Any], name: str = "changes.csv") -> list[list[str]]:
    answer = await client.get(f"/v1/batches/{batch['id']}/{name}")
    assert answer.status_code == 200, answer.text
    return list(csv.reader(io.StringIO(answer.text)))


def changes(batch: dict[str, Any]) -> tuple[int, int, int, int]:
    found = batch["changes"]
    return (found["new"], found["changed"], found["unchanged"], found["gone"])


def rows(images: list[str]) -> list[tuple[str, str, str]]:
    return [(f"SKU-{number}", f"Shoe {number}", url) for number, url in enumerate(images)]


async def test_every_row_of_the_first_version_is_new(
    client: httpx.AsyncClient, drain_queues: DrainQueues, images: list[str]
) -> None:
    batch = await version(client, drain_queues, catalogue(*rows(images)))
    assert batch["catalogue"] == "shop"
    assert batch["changes"] == {"compared_with": None, "new": ROWS, "changed": 0, "unchanged": 0, "gone": 0}
    assert await rows_of(client, batch) == await rows_of(client, batch, "output.csv")


@pytest.mark.parametrize("output", ["append", "replace"])
async def test_changes_csv_has_exactly_the_rows_that_changed(
    client: httpx.AsyncClient, drain_queues: DrainQueues, origin: OriginServer, images: list[str], output: str
) -> None:
    before = rows(images)
    first = await version(client, drain_queues, catalogue(*before), output=output)
    origin.serve("/7.jpg", image_bytes(200, 16))  # another image at the same URL
    after = [row for row in before if row[0] != "SKU-50"]  # one product is gone,
    after[20] = ("SKU-20", "Better shoe", images[20])  # one is renamed,
    after[30], after[31] = after[31], after[30]  # two have changed places,
    after.append(("SKU-new", "Boot", images[0]))  # and one is new
    second = await version(client, drain_queues, catalogue(*after), output=output)
    assert second["changes"]["compared_with"] == first["id"]
    assert changes(second) == (1, 2, ROWS - 3, 1)
    header, *changed = await rows_of(client, second)
    assert [row[0] for row in changed] == ["SKU-7", "SKU-20", "SKU-new"]
    assert [header, *changed] == [
        row for row in await rows_of(client, second, "output.csv") if row[0] in ("S. No.", "SKU-7", "SKU-20", "SKU-new")
    ]


async def test_the_extended_reports_name_the_change_of_each_row_and_those_that_are_gone(
    client: httpx.AsyncClient, drain_queues: DrainQueues, images: list[str]
) -> None:
    await version(client, drain_queues, catalogue(*rows(images[:3])))
    later = [("SKU-0", "Shoe 0", images[0]), ("SKU-1", "Shoe 1", images[5]), ("SKU-9", "Cap", images[2])]
    batch = await version(client, drain_queues, catalogue(*later))
    extended = [(row[0], row[-1]) for row in await rows_of(client, batch, "output.csv?extended=true")]
    assert extended == [
        ("S. No.", "Change"),
        ("SKU-0", "unchanged"),
        ("SKU-1", "changed"),
        ("SKU-9", "new"),
        ("SKU-2", "gone"),
    ]
    only = [(row[0], row[-1]) for row in await rows_of(client, batch, "changes.csv?extended=true")]
    assert only == [extended[0], *extended[2:]]
    page = (await client.get(f"/v1/batches/{batch['id']}/products")).json()
    assert [product["change"] for product in page["data"]] == ["unchanged", "changed", "new"]


async def test_rows_of_one_product_are_compared_as_a_set(
    client: httpx.AsyncClient, drain_queues: DrainQueues, images: list[str]
) -> None:
    """One row per image, as in the exports of Shopify: an image in front leaves the other rows as they are."""
    await version(client, drain_queues, catalogue(("mug", "Mug", images[0]), ("mug", "", images[1])))
    later = catalogue(("mug", "Mug", images[2]), ("mug", "Mug", images[0]), ("mug", "", images[1]))
    batch = await version(client, drain_queues, later)
    assert changes(batch) == (1, 0, 2, 0)
    assert [row[2] for row in await rows_of(client, batch)] == ["Input Image Urls", images[2]]


async def test_columns_in_another_order_and_a_new_empty_column_change_nothing(
    client: httpx.AsyncClient, drain_queues: DrainQueues, images: list[str]
) -> None:
    await version(client, drain_queues, f"ID,Name,Images,Price\n1,Shoe,{images[0]},5\n2,Boot,{images[1]},6\n")
    text = f"Price,ID,Note,Name,Images\n5,1,,Shoe,{images[0]}\n7,2,,Boot,{images[1]}\n"
    batch = await version(client, drain_queues, text)
    assert changes(batch) == (0, 1, 1, 0)
    assert [row[1] for row in await rows_of(client, batch)] == ["ID", "2"]


async def test_numbered_rows_are_compared_by_the_name_of_the_product(
    client: httpx.AsyncClient, drain_queues: DrainQueues, images: list[str]
) -> None:
    columns = json.dumps({"serial_number": None, "product_name": "Name", "image_urls": "Images"})
    await version(client, drain_queues, f"Name,Images\nShoe,{images[0]}\nBoot,{images[1]}\n", columns=columns)
    text = f"Name,Images\nCap,{images[2]}\nShoe,{images[0]}\nBoot,{images[3]}\n"
    batch = await version(client, drain_queues, text, columns=columns)
    assert changes(batch) == (1, 1, 1, 0)


async def test_an_image_that_fails_changes_its_row_and_so_does_its_return(
    client: httpx.AsyncClient, drain_queues: DrainQueues, origin: OriginServer, images: list[str]
) -> None:
    text = catalogue(*rows(images[:3]))
    await version(client, drain_queues, text)
    origin.serve("/1.jpg", b"", status=404)
    assert changes(await version(client, drain_queues, text)) == (0, 1, 2, 0)
    assert changes(await version(client, drain_queues, text)) == (0, 0, 3, 0)
    origin.serve("/1.jpg", image_bytes(17, 16))
    assert changes(await version(client, drain_queues, text)) == (0, 1, 2, 0)


async def test_versions_without_an_image_cancelled_or_deleted_ones_are_skipped(
    client: httpx.AsyncClient, drain_queues: DrainQueues, origin: OriginServer, images: list[str]
) -> None:
    text = catalogue(*rows(images[:2]))
    first = await version(client, drain_queues, text)
    deleted = await version(client, drain_queues, text)
    await client.delete(f"/v1/batches/{deleted['id']}")
    cancelled = await upload(client, text, catalogue="shop")
    await client.post(f"/v1/batches/{cancelled['id']}/cancel")
    await drain_queues()
    gone = origin.serve("/gone.jpg", b"", status=404)
    await version(client, drain_queues, catalogue(("SKU-0", "Shoe 0", gone)))
    await version(client, drain_queues, text, catalogue="another")
    last = await version(client, drain_queues, text)
    assert last["changes"] == {"compared_with": first["id"], "new": 0, "changed": 0, "unchanged": 2, "gone": 0}
    answer = await client.get(f"/v1/batches/{cancelled['id']}/changes.csv")
    assert problem(answer, 409)["type"] == "urn:imgsvc:problem:not-compared"


async def test_what_changed_is_kept_when_the_version_before_is_deleted(
    client: httpx.AsyncClient, drain_queues: DrainQueues, images: list[str]
) -> None:
    first = await version(client, drain_queues, catalogue(*rows(images[:3])))
    second = await version(client, drain_queues, catalogue(*rows(images[1:3]), ("x", "Cap", images[0])))
    wanted = await rows_of(client, second, "changes.csv?extended=true")
    assert (await client.delete(f"/v1/batches/{first['id']}")).status_code == 204
    assert await rows_of(client, second, "changes.csv?extended=true") == wanted
    assert (await client.delete(f"/v1/batches/{second['id']}")).status_code == 204


async def test_a_retry_compares_again(
    client: httpx.AsyncClient, drain_queues: DrainQueues, origin: OriginServer, images: list[str]
) -> None:
    text = catalogue(*rows(images[:3]))
    await version(client, drain_queues, text)
    origin.serve("/1.jpg", b"", status=404)
    batch = await version(client, drain_queues, text)
    assert changes(batch) == (0, 1, 2, 0)
    origin.serve("/1.jpg", image_bytes(17, 16))
    pending = (await client.post(f"/v1/batches/{batch['id']}/retry")).json()
    assert pending["changes"] is None
    await drain_queues()
    again = (await client.get(f"/v1/batches/{batch['id']}")).json()
    assert changes(again) == (0, 0, 3, 0)
    assert len(await rows_of(client, again)) == 1


async def test_the_event_says_what_changed(
    client: httpx.AsyncClient, drain_queues: DrainQueues, listener: WebhookListener, images: list[str]
) -> None:
    text = catalogue(*rows(images[:2]))
    await version(client, drain_queues, text)
    batch = await version(client, drain_queues, text, webhook_url=listener.url("/hook"))
    plain = await upload(client, text, webhook_url=listener.url("/hook"))
    await drain_queues()
    events = [json.loads(post.body)["data"] for post in listener.requests]
    by_id = {event["id"]: event for event in events}
    event = by_id[batch["id"]]
    assert (event["catalogue"], event["changes"]) == ("shop", batch["changes"])
    assert (await client.get(event["changes_csv_url"])).status_code == 200
    assert by_id[plain["id"]].keys().isdisjoint({"catalogue", "changes", "changes_csv_url"})


async def test_a_batch_without_a_catalogue_has_no_changes(
    client: httpx.AsyncClient, drain_queues: DrainQueues, images: list[str]
) -> None:
    batch = await upload(client, catalogue(*rows(images[:1])))
    await drain_queues()
    batch = (await client.get(f"/v1/batches/{batch['id']}")).json()
    assert (batch["catalogue"], batch["changes"], batch["links"]["changes_csv"]) == (None, None, None)
    answer = await client.get(f"/v1/batches/{batch['id']}/changes.csv")
    assert "catalogue" in problem(answer, 409)["detail"]


async def test_batches_are_listed_by_catalogue(
    client: httpx.AsyncClient, drain_queues: DrainQueues, images: list[str]
) -> None:
    for name in ("shop", "other", "shop"):
        await upload(client, catalogue(*rows(images[:1])), catalogue=name)
    listed = (await client.get("/v1/batches", params={"catalogue": "shop"})).json()["data"]
    assert [batch["catalogue"] for batch in listed] == ["shop", "shop"]


@pytest.mark.parametrize("name", ["a\0b", "x" * 256, "a\nb"])
async def test_a_name_that_cannot_be_stored_is_refused(client: httpx.AsyncClient, name: str) -> None:
    files = {"file": ("a.csv", catalogue(("1", "Shoe", "https://shop.example/a.jpg")))}
    answer = await client.post("/v1/batches", files=files, data={"catalogue": name})
    assert problem(answer, 422)["errors"][0]["column"] == "catalogue"
    assert problem(await client.get("/v1/batches", params={"catalogue": name}), 422)


async def test_a_version_without_a_valid_url_is_compared_as_well(
    client: httpx.AsyncClient, drain_queues: DrainQueues, images: list[str], settings: Settings
) -> None:
    await version(client, drain_queues, catalogue(*rows(images[:1])))
    batch = await version(client, drain_queues, catalogue(("SKU-0", "Shoe 0", "htp://x")), on_invalid="skip")
    assert (batch["status"], changes(batch)) == ("failed", (0, 1, 0, 0))
