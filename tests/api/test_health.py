"""/healthz and /readyz: liveness, and the state of each component."""

import asyncio
import shutil
from pathlib import Path
from typing import Any

import httpx
import pytest

from imgsvc.api.live.shared_check import SharedCheck
from imgsvc.api.routes.health import UNAVAILABLE
from imgsvc.bootstrap import Resources
from imgsvc.settings.server import Settings
from support.api_calls import problem, serving, write


async def readiness(settings: Settings, *, strict: bool = False, **changes: Any) -> tuple[int, dict[str, Any]]:
    """Return the status and body of /readyz with some settings changed."""
    async with serving(settings.model_copy(update=changes)) as (_, client):
        answer = await client.get("/readyz", params={"strict": strict})
        body: dict[str, Any] = answer.json()
        return answer.status_code, body


@pytest.fixture
def no_redis(tmp_path: Path) -> str:
    return f"unix://{tmp_path}/nothing"


async def test_it_is_ready_when_every_component_works(client: httpx.AsyncClient) -> None:
    answer = await client.get("/readyz")
    assert answer.status_code == 200
    assert answer.json() == {"status": "ready", "database": "ok", "storage": "ok", "redis": "ok", "workers": 0}


async def test_a_worker_with_a_heartbeat_is_counted(client: httpx.AsyncClient, resources: Resources) -> None:
    await resources.queue.heartbeat("somewhere:1")
    assert (await client.get("/readyz?strict=true")).json()["workers"] == 1
    await resources.queue.unregister("somewhere:1")
    assert (await client.get("/readyz")).json()["workers"] == 0


async def test_strict_requires_a_worker(client: httpx.AsyncClient, resources: Resources) -> None:
    assert (await client.get("/readyz?strict=true")).status_code == 503
    await resources.queue.heartbeat("somewhere:1")
    assert (await client.get("/readyz?strict=true")).status_code == 200


async def test_without_redis_it_is_ready_and_reports_redis_as_unavailable(settings: Settings, no_redis: str) -> None:
    status, body = await readiness(settings, redis_url=no_redis)
    assert (status, body["status"]) == (200, "ready")
    assert body["redis"] == UNAVAILABLE


async def test_strict_requires_redis(settings: Settings, no_redis: str) -> None:
    status, body = await readiness(settings, strict=True, redis_url=no_redis)
    assert (status, body["status"]) == (503, "not_ready")


async def test_it_is_not_ready_when_the_storage_cannot_be_written(settings: Settings) -> None:
    async with serving(settings) as (_, client):
        shutil.rmtree(settings.data_dir / "media")
        (settings.data_dir / "media").touch()
        answer = await client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["status"] == "not_ready"
    assert answer.json()["storage"] != "ok"
    assert answer.json()["database"] == "ok"


async def test_it_is_not_ready_without_its_database(settings: Settings) -> None:
    (settings.data_dir / "folder").mkdir()
    status, body = await readiness(settings, database_url=f"sqlite+aiosqlite:///{settings.data_dir / 'folder'}")
    assert (status, body["storage"]) == (503, "ok")
    assert body["database"] == UNAVAILABLE, "and no path"


async def test_it_is_not_ready_without_a_schema_and_says_how_to_create_it(settings: Settings) -> None:
    await write(settings, "DELETE FROM alembic_version")
    status, body = await readiness(settings)
    assert status == 503
    assert "imgsvc db upgrade" in body["database"]


async def test_the_process_is_alive_without_database_and_redis(settings: Settings, no_redis: str) -> None:
    nowhere = f"sqlite+aiosqlite:///{settings.data_dir}"
    async with serving(settings.model_copy(update={"redis_url": no_redis, "database_url": nowhere})) as (_, client):
        answer = await client.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


async def test_an_invalid_boolean_is_422(client: httpx.AsyncClient) -> None:
    problem(await client.get("/readyz?strict=perhaps"), 422)


async def test_a_check_leaves_nothing_in_the_storage(client: httpx.AsyncClient, settings: Settings) -> None:
    await client.get("/readyz")
    assert list((settings.data_dir / "media").iterdir()) == []


async def test_repeated_requests_cause_no_further_write(client: httpx.AsyncClient, settings: Settings) -> None:
    """Creating and removing a file would change the modification time of its folder."""
    media = settings.data_dir / "media"
    await asyncio.gather(*(client.get("/readyz") for _ in range(20)))
    written = media.stat().st_mtime_ns
    answers = await asyncio.gather(*(client.get("/readyz") for _ in range(20)))
    assert [answer.json()["storage"] for answer in answers] == ["ok"] * 20
    assert media.stat().st_mtime_ns == written


async def test_concurrent_callers_share_one_check_even_if_the_first_is_cancelled() -> None:
    runs, go_on = 0, asyncio.Event()

    async def check() -> str:
        nonlocal runs
        runs += 1
        await go_on.wait()
        return f"run {runs}"

    shared = SharedCheck[str](max_age=lambda _: 0)
    first, *others = (asyncio.create_task(shared.result(check)) for _ in range(20))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    go_on.set()
    assert await asyncio.gather(*others) == ["run 1"] * 19
    assert await shared.result(check) == "run 2", "the result is not kept"


async def test_a_result_is_kept_for_its_maximum_age() -> None:
    results = iter(["away", "ok", "gone"])

    async def check() -> str:
        return next(results)

    shared = SharedCheck[str](max_age=lambda result: 3600 if result == "ok" else 0)
    assert [await shared.result(check) for _ in range(4)] == ["away", "ok", "ok", "ok"]


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_health_checks_accept_head(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.head(path)).status_code == 200
