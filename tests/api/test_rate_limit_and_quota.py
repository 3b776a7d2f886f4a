"""Rate limit and quota of an API key."""

import re

import httpx
import pytest

from imgsvc.bootstrap import Resources
from imgsvc.services.access.api_keys import create_key
from imgsvc.settings.server import Settings
from support.api_calls import CSV, ONE_ROW, catalogue, problem, serving, upload


@pytest.fixture
def database_kind() -> str:
    return "sqlite"  # HTTP responses are the same on both


async def post(client: httpx.AsyncClient, **headers: str) -> httpx.Response:
    return await client.post("/v1/batches", content=ONE_ROW, headers=CSV | headers)


async def test_an_upload_reports_the_remaining_uploads(client: httpx.AsyncClient) -> None:
    for remaining in (299, 298):
        answer = await post(client)
        assert answer.headers["ratelimit-policy"] == '"uploads";q=300;w=60'
        assert re.fullmatch(rf'"uploads";r={remaining};t=\d+', answer.headers["ratelimit"])


async def test_uploads_over_the_rate_limit_are_429(settings: Settings) -> None:
    async with serving(settings.model_copy(update={"uploads_per_minute": 2})) as (_, client):
        statuses = [(await post(client)).status_code for _ in range(3)]
        refused = await post(client)
    assert statuses == [202, 202, 429]
    assert "IMGSVC_UPLOADS_PER_MINUTE" in problem(refused, 429, "too-many")["detail"]
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert refused.headers["ratelimit"].startswith('"uploads";r=0;t=')


async def test_the_rate_limit_is_shared_by_processes_and_separate_per_key(
    settings: Settings, resources: Resources
) -> None:
    tokens = [(await create_key(name, sessions=resources.sessions, clock=resources.clock))[1] for name in "ab"]
    one, other = ({"Authorization": f"Bearer {token}"} for token in tokens)
    limited = settings.model_copy(update={"uploads_per_minute": 1})
    async with serving(limited) as (_, first), serving(limited) as (_, second):
        assert [(await post(client, **one)).status_code for client in (first, second)] == [202, 429]
        assert (await post(second, **other)).status_code == 202


async def test_without_redis_there_is_no_rate_limit(settings: Settings) -> None:
    away = settings.model_copy(update={"uploads_per_minute": 1, "redis_url": "redis://127.0.0.1:9/0"})
    async with serving(away) as (_, client):
        answers = [await post(client) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [202] * 3
    assert not any("ratelimit" in answer.headers for answer in answers)


@pytest.mark.parametrize(
    ("limit", "setting"),
    [({"max_open_batches": 2}, "IMGSVC_MAX_OPEN_BATCHES"), ({"max_open_images": 3}, "IMGSVC_MAX_OPEN_IMAGES")],
)
async def test_an_upload_over_the_quota_is_429_until_a_batch_ends(
    settings: Settings, limit: dict[str, int], setting: str
) -> None:
    rows = catalogue(("1", "Shoe", "https://s.example/a.jpg, https://s.example/b.jpg"))
    async with serving(settings.model_copy(update=limit)) as (_, client):
        first, _ = [await upload(client, rows) for _ in range(2)]
        refused = await post(client)
        assert setting in problem(refused, 429, "too-many")["detail"]
        assert int(refused.headers["retry-after"]) >= 1
        await client.post(f"/v1/batches/{first['id']}/cancel")
        assert (await post(client)).status_code == 202
