"""GET /metrics: values, access, and unavailable components."""

import json

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

from imgsvc.adapters.redis.queue import HOSTS, STATS
from imgsvc.bootstrap import Resources
from imgsvc.services.throttling.busy_hosts import MAX_BUSY_HOSTS, BusyHost
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


HOST_GAUGES = ("imgsvc_host_limit", "imgsvc_host_in_flight", "imgsvc_host_paused_seconds", "imgsvc_host_away_seconds")


async def test_the_busiest_hosts_of_all_workers_are_shown(client: httpx.AsyncClient, resources: Resources) -> None:
    slow, away = "slow.example:443", "away.example:80"
    one = [BusyHost(slow, 8, 5.25, 0, 0.0, 0.0), BusyHost(away, 1, 0, 64, 0.0, 30.0)]
    two = [
        BusyHost(slow, 6, 4, 0, 2.5, 0.0),
        *(BusyHost(f"{number}.example:80", 8, 1, 0, 0, 0) for number in range(19)),
    ]
    await resources.queue.heartbeat("one:1", hosts=one)
    await resources.queue.heartbeat("two:1", hosts=two)
    metrics = await samples(client)
    assert [metrics[name, slow] for name in HOST_GAUGES] == [8, 9.25, 2.5, 0]
    assert [metrics[name, away] for name in HOST_GAUGES] == [1, 0, 0, 30]
    for name in HOST_GAUGES:
        assert sum(key[0] == name for key in metrics) == MAX_BUSY_HOSTS
    await resources.queue.unregister("two:1")
    assert (await samples(client))["imgsvc_host_in_flight", slow] == 5.25


GOOD_HOST = ["good.example:443", 8, 1, 0, 0, 0]
ROWS = {
    "the row of a newer version": [*GOOD_HOST, 1],
    "the row of an older version": GOOD_HOST[:-1],
    "no row": 1,
    "an object": {},
    "a number as host": [1, 8, 1, 0, 0, 0],
    "a URL as host": ["https://shop.example/?token=secret", 8, 1, 0, 0, 0],
    "a host of a million letters": ["a" * 1_000_000, 8, 1, 0, 0, 0],
    "half a letter": ["\ud800", 8, 1, 0, 0, 0],
    "a text as limit": ["a.example:80", "8", 1, 0, 0, 0],
    "no limit": ["a.example:80", None, 1, 0, 0, 0],
    "a negative number": ["a.example:80", 8, -1, 0, 0, 0],
    "no number": ["a.example:80", 8, float("nan"), 0, 0, 0],
    "an endless number": ["a.example:80", 8, 1, float("inf"), 0, 0],
    "a number of 400 digits": ["a.example:80", 8, 1, 0, 0, 10**400],
}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
async def test_a_host_that_cannot_be_understood_is_left_out(
    client: httpx.AsyncClient, resources: Resources, row: object
) -> None:
    await resources.queue.heartbeat("one:1")
    await resources.queue._redis.set(f"{HOSTS}one:1", json.dumps([row, GOOD_HOST]))
    metrics = await samples(client)
    assert [key for key in metrics if key[0] == "imgsvc_host_limit"] == [("imgsvc_host_limit", "good.example:443")]


@pytest.mark.parametrize("report", [b"", b"{}", b"7", b"\xff", b"[" * 100_000, b"null"])
async def test_a_report_of_hosts_that_cannot_be_understood_is_ignored(
    client: httpx.AsyncClient, resources: Resources, report: bytes
) -> None:
    await resources.queue.heartbeat("one:1", {"succeeded": 7})
    await resources.queue._redis.set(f"{HOSTS}one:1", report)
    metrics = await samples(client)
    assert metrics["imgsvc_images_total", "", "succeeded", "one:1"] == 7
    assert not [key for key in metrics if key[0] == "imgsvc_host_limit"]


async def test_a_report_of_thousands_of_hosts_is_cut(client: httpx.AsyncClient, resources: Resources) -> None:
    for worker in range(2):
        await resources.queue.heartbeat(f"{worker}:1")
        rows = [[f"{worker}-{number}.example:80", 8, 1, 0, 0, 0] for number in range(1_000)]
        await resources.queue._redis.set(f"{HOSTS}{worker}:1", json.dumps(rows))
    assert sum(key[0] == "imgsvc_host_limit" for key in await samples(client)) == MAX_BUSY_HOSTS


@pytest.mark.parametrize("stats", [{"succeeded": "7"}, {"succeeded": 10**400}, {"\ud800": 1}, []], ids=repr)
async def test_stats_that_cannot_be_understood_are_reported_as_a_fault_of_redis(
    client: httpx.AsyncClient, resources: Resources, stats: object
) -> None:
    await resources.queue.heartbeat("one:1")
    await resources.queue._redis.set(f"{STATS}one:1", json.dumps(stats))
    assert (await samples(client))["imgsvc_component_up", "redis"] == 0


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
