"""GET /metrics: values, access, and unavailable components."""

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

from imgsvc.bootstrap import Resources
from imgsvc.settings.server import Settings
from support.api_calls import ONE_ROW, catalogue, problem, serving, upload

Samples = dict[tuple[str, ...], float]


async def samples(client: httpx.AsyncClient, **headers: str) -> Samples:
    """Return each sample by its name and the values of its labels, in the order of their names."""
    answer = await client.get("/metrics", headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


async def test_open_images_are_counted_over_all_batches(client: httpx.AsyncClient) -> None:
    nothing = await samples(client)
    assert (nothing["imgsvc_open_assets", "pending"], nothing["imgsvc_oldest_open_batch_seconds",]) == (0, 0)
    for rows in (1, 2):
        await upload(client, catalogue(*((str(row), "Shoe", f"https://s.example/{row}.jpg") for row in range(rows))))
    metrics = await samples(client)
    assert metrics["imgsvc_open_batches", "pending"] == 2
    assert (metrics["imgsvc_open_assets", "pending"], metrics["imgsvc_open_assets", "processing"]) == (3, 0)
    assert metrics["imgsvc_oldest_open_batch_seconds",] > 0
    assert metrics["imgsvc_waiting_lanes",] > 0
    assert (metrics["imgsvc_component_up", "database"], metrics["imgsvc_component_up", "redis"]) == (1, 1)


async def test_undelivered_webhooks_are_counted(client: httpx.AsyncClient) -> None:
    text = catalogue(("1", "Shoe", "htp://nowhere"))
    await upload(client, text, on_invalid="skip", webhook_url="https://client.example/")
    metrics = await samples(client)
    assert metrics["imgsvc_open_deliveries",] == 1
    assert metrics["imgsvc_delivery_overdue_seconds",] >= 0


async def test_processed_images_are_counted_by_worker_outcome_and_code(
    client: httpx.AsyncClient, resources: Resources
) -> None:
    await resources.queue.heartbeat("one:1", {"succeeded": 7, "failed:http_404": 2, "input_bytes": 900})
    await resources.queue.heartbeat("two:1")
    metrics = await samples(client)
    assert metrics["imgsvc_workers",] == 2
    assert metrics["imgsvc_images_total", "", "succeeded", "one:1"] == 7
    assert metrics["imgsvc_images_total", "http_404", "failed", "one:1"] == 2
    assert metrics["imgsvc_image_bytes_total", "input", "one:1"] == 900
    await resources.queue.unregister("one:1")
    assert ("imgsvc_images_total", "", "succeeded", "one:1") not in await samples(client)


async def test_requests_are_counted_by_operation_and_status(client: httpx.AsyncClient) -> None:
    await upload(client, ONE_ROW)
    await client.get("/v1/batches/bat_none")
    await client.get("/nowhere")
    metrics = await samples(client)
    name = "imgsvc_http_request_duration_seconds_count"
    assert metrics[name, "create_batch", "202"] == 1
    assert metrics[name, "get_batch", "404"] == 1
    assert metrics[name, "none", "404"] == 1


async def test_an_unavailable_component_is_reported_and_the_other_metrics_stay(settings: Settings) -> None:
    away = settings.model_copy(update={"redis_url": "unix:///nowhere"})
    async with serving(away) as (_, client):
        metrics = await samples(client)
    assert (metrics["imgsvc_component_up", "database"], metrics["imgsvc_component_up", "redis"]) == (1, 0)
    assert metrics["imgsvc_open_assets", "pending"] == 0
    assert ("imgsvc_workers",) not in metrics


async def test_the_metrics_token_is_required_if_it_is_set(settings: Settings) -> None:
    with_token = settings.model_copy(update={"metrics_token": SecretStr("prometheus")})
    async with serving(with_token) as (_, client):
        for header in ({}, {"Authorization": "Bearer no"}, {"Authorization": "Basic cHJvbWV0aGV1cw=="}):
            problem(await client.get("/metrics", headers=header), 401, "unauthorized")
        await samples(client, Authorization="Bearer prometheus")


@pytest.mark.parametrize("peer", ["203.0.113.9", "10.0.0.7"])
async def test_without_a_token_metrics_are_available_on_this_machine_only(settings: Settings, peer: str) -> None:
    suspicious = (
        {"X-Forwarded-For": "127.0.0.1"},
        {"Via": "1.1 edge"},
        {"Host": "evil.example"},
        {"Origin": "http://evil.example"},
    )
    async with serving(settings) as (app, client):
        for header in suspicious:
            problem(await client.get("/metrics", headers=header), 401, "unauthorized")
        transport = httpx.ASGITransport(app, client=(peer, 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as remote:
            problem(await remote.get("/metrics"), 401, "unauthorized")
