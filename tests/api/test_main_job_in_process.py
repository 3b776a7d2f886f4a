"""The main job through the API and a burst worker, in one process."""

import csv
import io
from collections.abc import Awaitable, Callable

import httpx
from standardwebhooks import Webhook

from support.images import decoded
from support.origin_server import OriginServer, WebhookListener, image_bytes
from support.stack import SECRET

DrainQueues = Callable[[], Awaitable[None]]


async def test_a_csv_goes_in_and_comes_back_with_compressed_images_and_one_signed_webhook(
    client: httpx.AsyncClient, drain_queues: DrainQueues, origin: OriginServer, listener: WebhookListener
) -> None:
    origin.serve("/a.jpg", image_bytes(640, 480))
    origin.serve("/b.png", image_bytes(64, 48, "PNG"), content_type="image/png")
    a, b, gone = origin.url("/a.jpg"), origin.url("/b.png"), origin.url("/status/404")
    manifest = f'S. No.,Product Name,Input Image Urls\n1,Shoe,"{a},{gone},{b}"\n2,Hat,"{a}"\n'

    accepted = await client.post(
        "/v1/batches",
        files={"file": ("shop.csv", manifest)},
        data={"quality": "40", "webhook_url": listener.url("/hook")},
    )
    assert accepted.status_code == 202
    batch = accepted.json()
    assert accepted.headers["location"] == f"/v1/batches/{batch['id']}"
    await drain_queues()

    batch = (await client.get(accepted.headers["location"])).json()
    assert batch["status"] == "completed_with_errors"
    assert batch["counts"]["assets"] == {
        "total": 3, "pending": 0, "processing": 0, "succeeded": 2, "failed": 1, "cancelled": 0,
    }  # fmt: skip
    assert batch["errors_by_code"] == {"http_404": 1}
    assert batch["webhook"]["status"] == "delivered"

    report = await client.get(f"/v1/batches/{batch['id']}/output.csv")
    rows = list(csv.reader(io.StringIO(report.text)))
    assert rows[0] == ["S. No.", "Product Name", "Input Image Urls", "Output Image Urls"]
    first, empty, third = rows[1][3].split(",")
    assert empty == ""
    assert rows[2][3] == first
    image = await client.get(first)
    assert image.headers["content-type"] == "image/jpeg"
    assert decoded(image.content).size == (640, 480)
    assert len(image.content) < len(image_bytes(640, 480))
    assert (await client.get(third)).headers["content-type"] == "image/png"

    [post] = listener.requests
    event = Webhook(SECRET).verify(post.body, dict(post.headers))
    assert event["type"] == "batch.completed_with_errors"
    assert event["data"]["id"] == batch["id"]
    assert event["data"]["counts"] == batch["counts"]
