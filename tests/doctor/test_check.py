"""`imgsvc check`: its findings and its advice."""

import socket
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import pytest
from aiohttp import web
from pydantic import AnyHttpUrl

from imgsvc.adapters.redis.queue import CONTROL_QUEUE, ArqQueue, open_redis
from imgsvc.doctor.check import run_checks
from imgsvc.doctor.finding import Finding
from imgsvc.process.data_folder import RunningStack, lock_folder
from imgsvc.settings.server import Settings
from support.command import imgsvc
from support.origin_server import Server
from support.poolers import NEEDS_PGBOUNCER
from support.stack import free_port, running_stack, until

PARTS = ["Settings", "Disk", "Database", "Redis", "Workers", "Storage", "API"]


class Api(Server):
    """A server that answers `/healthz` as the API does."""

    def routes(self) -> Iterable[web.RouteDef]:
        async def alive(_request: web.Request) -> web.Response:
            return web.Response(body=b'{"status":"ok"}', content_type="application/json")

        return [web.get("/healthz", alive)]


@pytest.fixture
async def healthy(settings: Settings) -> AsyncIterator[Settings]:
    """Settings of an installation in which every part works."""
    queue = ArqQueue(open_redis(settings.redis_url, queue_name=CONTROL_QUEUE))
    await queue.heartbeat("worker-1")
    await queue.aclose()
    async with Api() as api:
        yield settings.model_copy(update={"port": api.port})


async def found(settings: Settings, **changes: object) -> dict[str, Finding]:
    return {finding.part: finding for finding in await run_checks(settings.model_copy(update=changes))}


async def failed_checks(settings: Settings, **changes: object) -> dict[str, Finding]:
    return {part: finding for part, finding in (await found(settings, **changes)).items() if not finding.ok}


async def test_a_healthy_installation_passes_every_check(healthy: Settings) -> None:
    assert list(await found(healthy)) == PARTS
    assert await failed_checks(healthy) == {}


async def test_without_redis_the_number_of_workers_is_unknown(healthy: Settings) -> None:
    findings = await failed_checks(healthy, redis_url=f"redis://user:hush@127.0.0.1:{free_port()}/0")
    assert set(findings) == {"Redis", "Workers"}
    assert "IMGSVC_REDIS_URL" in findings["Redis"].advice
    assert "hush" not in str(findings)


async def test_without_a_worker_the_advice_is_to_start_one(healthy: Settings) -> None:
    queue = ArqQueue(open_redis(healthy.redis_url, queue_name=CONTROL_QUEUE))
    await queue.unregister("worker-1")
    await queue.aclose()
    findings = await failed_checks(healthy)
    assert set(findings) == {"Workers"}
    assert "imgsvc worker" in findings["Workers"].advice


async def test_a_missing_database_is_reported_and_not_created(healthy: Settings, tmp_path: Path) -> None:
    findings = await failed_checks(healthy, database_url=f"sqlite+aiosqlite:///{tmp_path}/none.db")
    assert set(findings) == {"Database"}
    assert "imgsvc db upgrade" in findings["Database"].advice
    assert not (tmp_path / "none.db").exists()


async def test_too_few_connections_for_all_processes_are_reported(healthy: Settings, postgres_database: str) -> None:
    """Check with the default of Postgres: 100 connections, three of them reserved; an API and one worker run."""
    assert await failed_checks(healthy, database_url=postgres_database, database_connections=48) == {}
    findings = await failed_checks(healthy, database_url=postgres_database, database_connections=49)
    assert set(findings) == {"Database"}
    assert "97 connections; 2 processes open up to 49 each" in findings["Database"].message
    assert "IMGSVC_DATABASE_CONNECTIONS" in findings["Database"].advice


@NEEDS_PGBOUNCER
async def test_pgbouncer_shares_connections_out_to_any_number(healthy: Settings, pgbouncer_database: str) -> None:
    assert await failed_checks(healthy, database_url=pgbouncer_database, database_connections=500) == {}


async def test_an_empty_database_is_distinguished_from_one_that_is_down(healthy: Settings, tmp_path: Path) -> None:
    (tmp_path / "empty.db").touch()
    empty = (await failed_checks(healthy, database_url=f"sqlite+aiosqlite:///{tmp_path}/empty.db"))["Database"]
    assert "is empty: run `imgsvc db upgrade`" in empty.message
    url = f"postgresql+asyncpg://user:hush@127.0.0.1:{free_port()}/imgsvc"
    away = (await failed_checks(healthy, database_url=url))["Database"]
    assert "Is it running" in away.advice
    assert "hush" not in str(away)


async def test_a_file_that_is_not_a_database_is_reported_with_a_message(healthy: Settings, tmp_path: Path) -> None:
    (tmp_path / "other.db").write_text("a shopping list, and not a database at all " * 100)
    findings = await failed_checks(healthy, database_url=f"sqlite+aiosqlite:///{tmp_path}/other.db")
    assert "not a database" in findings["Database"].message


async def test_a_storage_that_is_not_writable_is_named(healthy: Settings, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (f"{tmp_path}/file", f"{tmp_path}/file/media"):
        findings = await failed_checks(healthy, storage_url=f"file://{folder}")
        assert set(findings) == {"Storage"}
        assert folder in findings["Storage"].message


async def test_another_program_on_the_port_is_not_mistaken_for_the_api(healthy: Settings) -> None:
    async with OtherProgram() as other:
        findings = await failed_checks(healthy, port=other.port)
    assert set(findings) == {"API"}
    assert "not imgsvc" in findings["API"].message


async def test_a_public_url_that_leads_to_another_program_is_reported(healthy: Settings, tmp_path: Path) -> None:
    async with OtherProgram() as other:
        public = AnyHttpUrl(other.url(""))
        assert "IMGSVC_PUBLIC_URL" in (await failed_checks(healthy, public_url=public))["Links"].advice
        with lock_folder(tmp_path) as publish:  # the same while an `up` works
            publish(RunningStack(1, healthy.local_base))
            assert set(await failed_checks(healthy, public_url=public)) == {"Links"}


async def test_an_unresponsive_api_of_a_running_up_points_to_its_process(healthy: Settings, tmp_path: Path) -> None:
    with lock_folder(tmp_path) as publish:
        publish(RunningStack(4711, f"http://127.0.0.1:{free_port()}"))
        findings = await failed_checks(healthy)
    assert set(findings) == {"API"}
    assert "process 4711" in findings["API"].advice


async def test_a_part_that_never_responds_does_not_delay_the_others(healthy: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql+asyncpg://user@127.0.0.1:{silent.getsockname()[1]}/imgsvc"

        async def only_the_database_fails() -> bool:
            """On a busy machine other parts may time out as well."""
            findings = await run_checks(healthy.model_copy(update={"database_url": url}), within=0.3)
            failed = {finding.part: finding.message for finding in findings if not finding.ok}
            assert failed["Database"] == "No response within 0.3 s."
            return set(failed) == {"Database"}

        await until(only_the_database_fails)


async def test_a_nearly_full_disk_is_reported(healthy: Settings) -> None:
    findings = [finding for finding in await run_checks(healthy, min_free=2**60) if not finding.ok]
    assert [finding.part for finding in findings] == ["Disk"]
    assert "Free some space" in findings[0].advice


async def test_checking_creates_no_files(settings: Settings, tmp_path: Path) -> None:
    findings = await found(settings, data_dir=tmp_path / "new" / "data")
    assert not (tmp_path / "new").exists()
    assert "the first start creates it" in findings["Storage"].message


async def test_no_password_is_shown(healthy: Settings) -> None:
    """Neither one before the @ nor one in the query is shown."""
    port = free_port()
    for url in (f"redis://:hush@127.0.0.1:{port}", f"redis://127.0.0.1:{port}/0?password=hush"):
        assert "hush" not in str(await run_checks(healthy.model_copy(update={"redis_url": url})))


class OtherProgram(Server):
    """A web page of another program."""

    def routes(self) -> Iterable[web.RouteDef]:
        async def page(_request: web.Request) -> web.Response:
            return web.Response(text="<h1>It works!</h1>", content_type="text/html")

        return [web.get("/{any:.*}", page)]


async def test_an_unknown_setting_in_the_environment_is_reported(
    healthy: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMGSVC_MAX_ROW", "7")
    monkeypatch.setenv("IMGSVC_URL", "http://127.0.0.1")  # the client's
    findings = await failed_checks(healthy)
    assert set(findings) == {"Settings"}
    assert "IMGSVC_MAX_ROW: no such setting" in findings["Settings"].message


async def test_an_unknown_setting_in_the_env_file_is_reported(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("IMGSVC_QUALITY=70\nOTHER=1\n")
    done = await imgsvc("check", cwd=tmp_path, IMGSVC_PORT=str(free_port()), IMGSVC_REDIS_URL="unix:///nowhere")
    assert done.code == 1
    assert "IMGSVC_QUALITY: no such setting" in " ".join(done.out.split())


@pytest.mark.slow
async def test_the_command_passes_while_an_up_is_running(tmp_path: Path) -> None:
    async with running_stack(tmp_path) as stack:
        done = await imgsvc("check", "--data-dir", ".", cwd=tmp_path)
        assert (done.code, done.err) == (0, "")
        assert f"process {stack.process.pid}" in " ".join(done.out.split())
        assert [line.split()[:2] for line in done.out.splitlines() if line.startswith(("ok", "no"))] == [
            ["ok", part] for part in PARTS
        ]


async def test_without_an_installation_the_command_gives_advice_and_exits_with_1(tmp_path: Path) -> None:
    done = await imgsvc("check", cwd=tmp_path, IMGSVC_REDIS_URL="unix:///nowhere", IMGSVC_PORT=str(free_port()))
    assert done.code == 1
    assert "imgsvc up" in done.out
    assert "Traceback" not in done.out + done.err
