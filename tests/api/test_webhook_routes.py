"""Deliveries of a batch, redelivery, and test events."""

import socket
from typing import Any

import httpx
import pytest
from standardwebhooks import Webhook

from imgsvc.domain.ids import new_id
from imgsvc.services.clock import utc_now
from imgsvc.settings.server import Settings
from support.api_calls import DrainQueues, catalogue, problem, serving, upload
from support.origin_server import OriginServer, WebhookListener, image_bytes
from support.stack import SECRET

UNKNOWN_ID = "evt_01m81syxdvn0cchm7jgbq1vyb2"


@pytest.fixture
def database_kind() -> str:
    return "sqlite"  # HTTP responses are the same on both


async def finished_batch(client: httpx.AsyncClient, url: str) -> str:
    """Create a finished batch with a pending delivery to `url`, and return its id."""
    bad = catalogue(("1", "Shoe", "htp://nowhere"))
    return str((await upload(client, bad, on_invalid="skip", webhook_url=url))["id"])


async def deliveries(client: httpx.AsyncClient, batch_id: str) -> list[dict[str, Any]]:
    answer = await client.get(f"/v1/batches/{batch_id}/deliveries")
    assert answer.status_code == 200, answer.text
    data: list[dict[str, Any]] = answer.json()["data"]
    return data


async def redeliver(client: httpx.AsyncClient, delivery_id: str) -> httpx.Response:
    return await client.post(f"/v1/deliveries/{delivery_id}/redeliver")


async def send_test(client: httpx.AsyncClient, url: str) -> dict[str, Any]:
    answer = await client.post("/v1/webhooks/test", json={"url": url})
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


# -- the log ----------------------------------------------------------------------------------------------------------


async def test_the_log_has_each_attempt_with_its_response(
    client: httpx.AsyncClient, drain_queues: DrainQueues, listener: WebhookListener
) -> None:
    listener.statuses, listener.body = [410], b"gone"
    batch_id = await finished_batch(client, listener.url("/hook"))
    [waiting] = await deliveries(client, batch_id)
    assert (waiting["status"], waiting["attempts"], waiting["log"]) == ("pending", 0, [])
    assert waiting["next_attempt_at"] == waiting["created_at"]

    await drain_queues()
    [delivery] = await deliveries(client, batch_id)
    assert (delivery["id"], delivery["batch_id"], delivery["round"]) == (waiting["id"], batch_id, 1)
    assert (delivery["event_type"], delivery["url"]) == ("batch.failed", listener.url("/hook"))
    assert (delivery["status"], delivery["attempts"], delivery["next_attempt_at"]) == ("exhausted", 1, None)
    [attempt] = delivery["log"]
    assert (attempt["number"], attempt["http_status"], attempt["error"], attempt["answer"]) == (1, 410, None, "gone")
    assert waiting["created_at"] <= attempt["at"]
    assert attempt["duration"] >= 0


async def test_every_round_has_one_delivery_newest_first(
    client: httpx.AsyncClient, drain_queues: DrainQueues, origin: OriginServer, listener: WebhookListener
) -> None:
    text = catalogue(("1", "Shoe", origin.url("/late.jpg")))
    batch = await upload(client, text, webhook_url=listener.url("/hook"))
    await drain_queues()
    await client.post(f"/v1/batches/{batch['id']}/retry")
    assert len(await deliveries(client, batch["id"])) == 1
    origin.serve("/late.jpg", image_bytes())
    await drain_queues()
    second, first = await deliveries(client, batch["id"])
    assert [(each["round"], each["event_type"], each["status"]) for each in (second, first)] == [
        (2, "batch.completed", "delivered"),
        (1, "batch.failed", "delivered"),
    ]
    assert [post.headers["webhook-id"] for post in listener.requests] == [first["id"], second["id"]]
    assert second["next_attempt_at"] is None


async def test_a_batch_without_a_webhook_has_no_deliveries_and_an_unknown_one_is_404(client: httpx.AsyncClient) -> None:
    batch = await upload(client, catalogue(("1", "Shoe", "htp://nowhere")), on_invalid="skip")
    assert await deliveries(client, batch["id"]) == []
    problem(await client.get(f"/v1/batches/{new_id('bat', utc_now())}/deliveries"), 404, "not-found")
    problem(await client.get("/v1/batches/bat_1/deliveries"), 404, "not-found")


# -- redelivery -------------------------------------------------------------------------------------------------------


async def test_a_redelivery_sends_the_same_event_again(
    client: httpx.AsyncClient, drain_queues: DrainQueues, listener: WebhookListener
) -> None:
    listener.statuses = [410]
    batch_id = await finished_batch(client, listener.url("/hook"))
    await drain_queues()
    [delivery] = await deliveries(client, batch_id)
    assert delivery["status"] == "exhausted"
    answer = await redeliver(client, delivery["id"])
    assert answer.status_code == 202
    assert answer.json() == (await deliveries(client, batch_id))[0]
    assert (answer.json()["status"], len(answer.json()["log"])) == ("pending", 1)

    await drain_queues()
    [delivery] = await deliveries(client, batch_id)
    assert (delivery["status"], [entry["http_status"] for entry in delivery["log"]]) == ("delivered", [410, 200])
    first, second = listener.requests
    assert first.headers["webhook-id"] == second.headers["webhook-id"] == delivery["id"]
    for post in (first, second):
        Webhook(SECRET).verify(post.body, dict(post.headers))


@pytest.mark.parametrize("delivery_id", [UNKNOWN_ID, "evt_1", "%00", "bat_01m81syxdvn0cchm7jgbq1vyb2"])
async def test_an_unknown_delivery_is_404(client: httpx.AsyncClient, delivery_id: str) -> None:
    problem(await redeliver(client, delivery_id), 404, "not-found")


# -- test events ------------------------------------------------------------------------------------------------------


async def test_a_test_event_is_signed_like_a_real_one(client: httpx.AsyncClient, listener: WebhookListener) -> None:
    listener.statuses, listener.body = [204], b""
    result = await send_test(client, listener.url("/hook?shop=1"))
    [post] = listener.requests
    event = Webhook(SECRET).verify(post.body, dict(post.headers))
    assert (event["type"], event["data"], post.path) == ("webhook.test", {}, "/hook?shop=1")
    assert result["id"] == post.headers["webhook-id"]
    assert (result["delivered"], result["http_status"], result["error"], result["answer"]) == (True, 204, None, "")


@pytest.mark.parametrize("status", [301, 400, 410, 500])
async def test_any_other_response_is_reported_and_redirects_are_not_followed(
    client: httpx.AsyncClient, listener: WebhookListener, status: int
) -> None:
    listener.statuses, listener.headers = [status], {"Location": listener.url("/elsewhere")}
    result = await send_test(client, listener.url("/hook"))
    assert (result["delivered"], result["http_status"], result["error"]) == (False, status, None)
    assert result["answer"] == "thank you"
    assert len(listener.requests) == 1


async def test_a_slow_or_unreachable_endpoint_is_reported(settings: Settings, origin: OriginServer) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        unreachable = f"http://127.0.0.1:{closed.getsockname()[1]}/"
        for url, error, seconds in [
            (origin.url("/slow-headers"), "total_timeout", 0.2),
            (unreachable, "connect_error", 60),
        ]:
            async with serving(settings.model_copy(update={"webhook_timeout": seconds})) as (_, client):
                result = await send_test(client, url)
                assert (result["delivered"], result["http_status"], result["error"]) == (False, None, error)
                assert result["answer"] is None


async def test_a_test_stores_nothing(
    client: httpx.AsyncClient, drain_queues: DrainQueues, listener: WebhookListener
) -> None:
    result = await send_test(client, listener.url("/hook"))
    await drain_queues()
    assert len(listener.requests) == 1
    problem(await redeliver(client, result["id"]), 404, "not-found")


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("http://10.0.0.1/hook", "blocked_address"),
        ("http://169.254.169.254/latest/meta-data", "blocked_address"),
        ("http://[::ffff:10.0.0.1]/", "blocked_address"),
        ("ftp://client.example/", "invalid_url"),
        ("client.example/hook", "invalid_url"),
        ("https://a:b@client.example/", "invalid_url"),
        ("", "invalid_url"),
        ("http://client.example/" + "a" * 2_048, "string_too_long"),
    ],
)
async def test_a_blocked_or_invalid_webhook_url_is_refused(client: httpx.AsyncClient, url: str, code: str) -> None:
    [error] = problem(await client.post("/v1/webhooks/test", json={"url": url}), 422)["errors"]
    assert (error["column"], error["code"]) == ("url", code)


@pytest.mark.parametrize("body", [b'{"url": "http://x/\\ud800"}', b'{"\\ud800": 1}'])
async def test_lone_surrogates_are_quoted_as_question_marks(client: httpx.AsyncClient, body: bytes) -> None:
    answer = await client.post("/v1/webhooks/test", content=body, headers={"Content-Type": "application/json"})
    assert "?" in str(problem(answer, 422)["errors"])


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'{"url": 7}', b'{"url": "http://127.0.0.1/", "method": "GET"}'])
async def test_a_body_without_url_or_with_other_fields_is_refused(client: httpx.AsyncClient, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    problem(await client.post("/v1/webhooks/test", content=body, headers=headers), 422)
