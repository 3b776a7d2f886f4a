"""The main use case on the whole stack: real photographs in, the CSV out, one verified webhook."""

import csv
import io
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from standardwebhooks import Webhook

from imgsvc.domain.hosts import host_of
from support.images import alpha_png, decoded, palette_png, photo_jpeg
from support.origin_server import OriginServer, WebhookListener
from support.paths import CORPORA
from support.stack import SECRET, Stack, running_stack, until

pytestmark = pytest.mark.slow

PHOTOS = CORPORA / "photos"
IMAGES = 200
PRODUCTS = 60


def photographs() -> list[tuple[str, bytes]]:
    """Return real photographs if the corpus is next to the checkout, otherwise generated ones."""
    if PHOTOS.is_dir():
        return [(path.name, path.read_bytes()) for path in sorted(PHOTOS.iterdir())]
    generated = [(f"{seed}.jpg", photo_jpeg(900, 600, seed=seed)) for seed in range(20)]
    return [*generated, ("alpha.png", alpha_png()), ("palette.png", palette_png())]


def bad_urls(origin: OriginServer) -> dict[str, str]:
    """Return five URLs that cannot succeed, with the error code of each."""
    return {
        origin.url("/status/404"): "http_404",
        origin.url("/html"): "not_an_image",
        origin.url("/empty"): "not_an_image",
        origin.url("/disconnect"): "connect_error",
        "http://169.254.169.254/latest/meta-data": "blocked_address",
    }


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[Stack]:
    """A stack with default timeouts: nothing dies here, and on a busy machine a short lease could expire."""
    async with running_stack(tmp_path, "--workers", "2") as running:
        yield running


@pytest.mark.timeout(400)  # 25 s on two idle cores
async def test_200_images_end_in_their_slots_and_one_webhook_is_sent(
    stack: Stack, origin: OriginServer, listener: WebhookListener
) -> None:
    photos = photographs()
    bodies: dict[str, bytes] = {}
    for number in range(IMAGES):
        name, data = photos[number % len(photos)]
        bodies[origin.serve(f"/{number}/{name}", data)] = data
    urls, bad = list(bodies), bad_urls(origin)
    slots = [urls[number::PRODUCTS] for number in range(PRODUCTS)]
    for product, url in enumerate(bad):
        slots[product].insert(1, url)
    slots[-1] = [*slots[-1], urls[0], urls[0]]  # repeated, within a row and across rows
    manifest = io.StringIO()
    writer = csv.writer(manifest)
    writer.writerow(["S. No.", "Product Name", "Input Image Urls"])
    writer.writerows([f"{number}.", f"Product {number}", ",".join(row)] for number, row in enumerate(slots))

    batch_id = await stack.upload(manifest.getvalue(), webhook_url=listener.url("/hook"))

    async def host_is_in_metrics() -> bool:
        return f'imgsvc_host_limit{{host="{host_of(origin.url("/"))}"}}' in (await stack.client.get("/metrics")).text

    await until(host_is_in_metrics)  # only while it is in use
    batch = await stack.finished(batch_id, within=300)

    assert batch["status"] == "completed_with_errors"
    assert batch["counts"]["urls"] == sum(map(len, slots)) == IMAGES + len(bad) + 2
    assert batch["counts"]["assets"] == {
        "total": IMAGES + len(bad), "pending": 0, "processing": 0,
        "succeeded": IMAGES, "failed": len(bad), "cancelled": 0,
    }  # fmt: skip
    assert sum(batch["errors_by_code"].values()) == len(bad)

    report = await stack.client.get(f"/v1/batches/{batch_id}/output.csv")
    rows = list(csv.DictReader(io.StringIO(report.text)))
    assert [row["S. No."] for row in rows] == [f"{number}." for number in range(PRODUCTS)]
    output_of: dict[str, str] = {}
    for row, inputs in zip(rows, slots, strict=True):
        outputs = row["Output Image Urls"].split(",")
        assert [not output for output in outputs] == [url in bad for url in inputs]
        for url, output in zip(inputs, outputs, strict=True):
            assert output_of.setdefault(url, output) == output
    await _assert_each_slot_shows_its_own_image(stack, output_of, bodies)

    page = (await stack.client.get(f"/v1/batches/{batch_id}/products", params={"limit": 1000})).json()
    errors = {a["input_url"]: a["error"]["code"] for p in page["data"] for a in p["assets"] if a["error"]}
    assert errors == bad

    [post, *_] = await listener.wait_for(1, timeout=60)
    event = Webhook(SECRET).verify(post.body, dict(post.headers))
    assert event["type"] == "batch.completed_with_errors"
    assert event["data"]["counts"] == batch["counts"]
    assert len({request.headers["webhook-id"] for request in listener.requests}) == 1
    assert len(json.dumps(event)) < 20_000

    async def images_are_in_metrics() -> bool:
        metrics = (await stack.client.get("/metrics")).text
        done = re.findall(r'^imgsvc_images_total{.*outcome="succeeded".*} (.*)$', metrics, re.MULTILINE)
        return sum(map(float, done)) == IMAGES

    await until(images_are_in_metrics)  # with the workers' next heartbeat


async def _assert_each_slot_shows_its_own_image(
    stack: Stack, output_of: dict[str, str], bodies: dict[str, bytes]
) -> None:
    """Assert that every rendition has the dimensions of its image, upright, and is not larger in bytes."""
    for url, body in bodies.items():
        rendition = (await stack.client.get(output_of[url])).content
        assert sorted(decoded(rendition).size) == sorted(decoded(body).size), url
        assert len(rendition) <= len(body), url
