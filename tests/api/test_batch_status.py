"""GET /v1/batches/{id}: counts, conditional requests, long polls, and missing components."""

import asyncio
from pathlib import Path
from time import monotonic
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from imgsvc.settings.server import Settings
from support.api_calls import CSV, ONE_ROW, DrainQueues, catalogue, problem, serving, upload, write
from support.origin_server import OriginServer, image_bytes

LONG = 30
"""Seconds that a request offers to wait although the response must be immediate."""
SOON = 10
"""Seconds within which it must arrive."""


async def until_a_request_waits(app: FastAPI) -> None:
    """Return once a request waits in the watcher."""
    async with asyncio.timeout(SOON):
        while not app.state.watcher.has_waiters:  # noqa: ASYNC110  # nothing announces it
            await asyncio.sleep(0.01)


@pytest.fixture
async def finished(client: httpx.AsyncClient, drain_queues: DrainQueues, origin: OriginServer) -> dict[str, Any]:
    """A finished batch of one image."""
    batch = await upload(client, catalogue(("1", "Shoe", origin.serve("/a.jpg", image_bytes(640, 480)))))
    await drain_queues()
    return batch


async def test_the_asset_counts_sum_to_the_total_while_the_batch_runs(
    client: httpx.AsyncClient, settings: Settings
) -> None:
    urls = ", ".join(f"https://shop.example/{number}.jpg" for number in range(6))
    batch = await upload(client, catalogue(("1", "Shoe", urls), ("2", "Hat", "https://shop.example/0.jpg")))
    await write(settings, "UPDATE batch SET status = 'processing', processing = 2, succeeded = 2, failed = 1")

    batch = (await client.get(f"/v1/batches/{batch['id']}")).json()
    assets = batch["counts"]["assets"]
    assert (batch["counts"]["products"], batch["counts"]["urls"]) == (2, 7)
    assert assets == {"total": 6, "pending": 1, "processing": 2, "succeeded": 2, "failed": 1, "cancelled": 0}
    assert batch["progress"] == 0.5


async def test_a_finished_batch_has_sizes_and_times(client: httpx.AsyncClient, finished: dict[str, Any]) -> None:
    batch = (await client.get(f"/v1/batches/{finished['id']}")).json()
    assert batch["status"] == "completed"
    assert batch["progress"] == 1
    assert batch["bytes"]["input"] == len(image_bytes(640, 480))
    assert 0 < batch["bytes"]["output"] < batch["bytes"]["input"]
    assert batch["bytes"]["saved_ratio"] == round(1 - batch["bytes"]["output"] / batch["bytes"]["input"], 3)
    assert batch["created_at"] <= batch["started_at"] <= batch["finished_at"]


async def test_retry_after_is_sent_only_while_the_batch_runs(
    client: httpx.AsyncClient, drain_queues: DrainQueues, origin: OriginServer
) -> None:
    batch = await upload(client, catalogue(("1", "Shoe", origin.serve("/a.jpg", image_bytes()))))
    assert (await client.get(f"/v1/batches/{batch['id']}")).headers["retry-after"] == "2"
    await drain_queues()
    assert "retry-after" not in (await client.get(f"/v1/batches/{batch['id']}")).headers


@pytest.mark.parametrize("spelling", ["{}", "W/{}", '"other", {}', "*"])
async def test_a_matching_etag_is_304_until_the_batch_changes(
    client: httpx.AsyncClient, settings: Settings, spelling: str
) -> None:
    batch = await upload(client, ONE_ROW)
    path = f"/v1/batches/{batch['id']}"
    etag = (await client.get(path)).headers["etag"]

    unchanged = await client.get(path, headers={"If-None-Match": spelling.format(etag)})
    assert (unchanged.status_code, unchanged.content) == (304, b"")
    assert unchanged.headers["etag"] == etag

    await write(settings, "UPDATE batch SET version = version + 1")
    changed = await client.get(path, headers={"If-None-Match": etag})
    assert changed.status_code == 200
    assert changed.headers["etag"] != etag


async def test_a_webhook_attempt_changes_the_etag(client: httpx.AsyncClient, settings: Settings) -> None:
    text = catalogue(("1", "Shoe", "htp://nowhere"))
    batch = await upload(client, text, on_invalid="skip", webhook_url="https://client.example/")
    path = f"/v1/batches/{batch['id']}"
    etag = (await client.get(path)).headers["etag"]
    await write(settings, "UPDATE delivery SET attempts = 1")
    changed = await client.get(path, headers={"If-None-Match": etag})
    assert changed.json()["webhook"]["attempts"] == 1


async def test_waiting_for_a_finished_batch_returns_at_once(
    client: httpx.AsyncClient, finished: dict[str, Any]
) -> None:
    path = f"/v1/batches/{finished['id']}?wait={LONG}"
    async with asyncio.timeout(SOON):
        answer = await client.get(path)
        again = await client.get(path, headers={"If-None-Match": answer.headers["etag"]})
    assert answer.json()["status"] == "completed"
    assert again.status_code == 304


async def test_waiting_returns_when_the_batch_ends(
    settings: Settings, drain_queues: DrainQueues, origin: OriginServer
) -> None:
    async with serving(settings) as (app, client), asyncio.timeout(SOON + LONG), asyncio.TaskGroup() as group:
        batch = await upload(client, catalogue(("1", "Shoe", origin.serve("/a.jpg", image_bytes()))))
        waiting = group.create_task(client.get(f"/v1/batches/{batch['id']}?wait={LONG}"))
        await until_a_request_waits(app)
        await drain_queues()
        async with asyncio.timeout(SOON):
            assert (await waiting).json()["status"] == "completed"


async def test_waiting_with_an_etag_returns_at_the_first_change(settings: Settings) -> None:
    async with serving(settings) as (app, client), asyncio.TaskGroup() as group:
        batch = await upload(client, ONE_ROW)
        path = f"/v1/batches/{batch['id']}"
        headers = {"If-None-Match": (await client.get(path)).headers["etag"]}
        waiting = group.create_task(client.get(path, params={"wait": LONG}, headers=headers))
        await until_a_request_waits(app)
        await write(settings, "UPDATE batch SET version = version + 1, status = 'processing', processing = 1")
        async with asyncio.timeout(SOON):
            assert (await waiting).json()["counts"]["assets"]["processing"] == 1


async def test_waiting_with_an_outdated_etag_returns_at_once(client: httpx.AsyncClient) -> None:
    batch = await upload(client, ONE_ROW)
    async with asyncio.timeout(SOON):
        answer = await client.get(f"/v1/batches/{batch['id']}?wait={LONG}", headers={"If-None-Match": '"0"'})
    assert answer.status_code == 200


@pytest.mark.parametrize("with_etag", [True, False])
async def test_waiting_without_a_change_ends_after_the_requested_time(
    client: httpx.AsyncClient, with_etag: bool
) -> None:
    batch = await upload(client, ONE_ROW)
    path = f"/v1/batches/{batch['id']}"
    headers = {"If-None-Match": (await client.get(path)).headers["etag"]} if with_etag else {}
    started = monotonic()
    answer = await client.get(path, params={"wait": 0.4}, headers=headers)
    assert 0.4 <= monotonic() - started < SOON
    assert answer.status_code == (304 if with_etag else 200)


@pytest.mark.parametrize("wait", ["31", "-1", "soon", "nan", "inf"])
async def test_a_wait_out_of_bounds_is_422_and_names_the_parameter(client: httpx.AsyncClient, wait: str) -> None:
    batch = await upload(client, ONE_ROW)
    [error] = problem(await client.get(f"/v1/batches/{batch['id']}?wait={wait}"), 422, "invalid-request")["errors"]
    assert (error["column"], error["value"]) == ("wait", wait)


@pytest.mark.parametrize("batch_id", ["bat_00000000000000000000000000", "nonsense", "%00", "bat_%F0%9F%91%9F"])
@pytest.mark.parametrize("part", ["", "/products", "/output.csv"])
async def test_an_unknown_batch_is_404(client: httpx.AsyncClient, batch_id: str, part: str) -> None:
    problem(await client.get(f"/v1/batches/{batch_id}{part}"), 404, "not-found")


async def test_a_batch_that_is_deleted_or_of_another_key_is_404(client: httpx.AsyncClient, settings: Settings) -> None:
    other, deleted = await upload(client, ONE_ROW), await upload(client, ONE_ROW)
    key = "INSERT INTO api_key (id, name, webhook_secrets, created_at) VALUES ('key_2', 'b', '[]', '2026-11-02')"
    await write(settings, key)
    await write(settings, "UPDATE batch SET api_key_id = 'key_2' WHERE id = :id", id=other["id"])
    await write(settings, "UPDATE batch SET deleted_at = created_at WHERE id = :id", id=deleted["id"])
    for batch in (other, deleted):
        problem(await client.get(f"/v1/batches/{batch['id']}"), 404, "not-found")


async def test_without_its_database_the_api_returns_503_with_retry_after(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    away = settings.model_copy(update={"database_url": f"sqlite+aiosqlite:///{tmp_path / 'folder'}"})
    async with serving(away) as (_, client):
        for answer in (
            await client.get("/v1/batches/bat_00000000000000000000000000"),
            await client.post("/v1/batches", content=ONE_ROW, headers=CSV),
        ):
            problem(answer, 503, "database-unavailable")
            assert answer.headers["retry-after"] == "5"


async def test_without_redis_a_batch_is_accepted_and_can_be_followed(settings: Settings, tmp_path: Path) -> None:
    async with serving(settings.model_copy(update={"redis_url": f"unix://{tmp_path}/nothing"})) as (_, client):
        batch = await upload(client, ONE_ROW)
        assert (await client.get(f"/v1/batches/{batch['id']}")).json()["status"] == "pending"
