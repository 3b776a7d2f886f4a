"""`imgsvc check`: what it finds, and what it advises."""

import socket
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import pytest
from aiohttp import web
from pydantic import AnyHttpUrl

from imgsvc.adapters.redis.queue import CONTROL_QUEUE, ArqQueue, open_redis
from imgsvc.doctor.check import Finding, run_checks
from imgsvc.process.data_folder import Running, lock_folder
from imgsvc.settings.server import Settings
from support.command import imgsvc
from support.origin_server import Server
from support.stack import free_port, running_stack, until

PARTS = ["Settings", "Disk", "Database", "Redis", "Workers", "Storage", "API"]


class Api(Server):
    """Says that it is alive, as the API does."""

    def routes(self) -> Iterable[web.RouteDef]:
        async def alive(_request: web.Request) -> web.Response:
            return web.Response(body=b'{"status":"ok"}', content_type="application/json")

        return [web.get("/healthz", alive)]


@pytest.fixture
async def whole(settings: Settings) -> AsyncIterator[Settings]:
    """Settings whose every part is there."""
    queue = ArqQueue(open_redis(settings.redis_url, queue_name=CONTROL_QUEUE))
    await queue.heartbeat("worker-1")
    await queue.aclose()
    async with Api() as api:
        yield settings.model_copy(update={"port": api.port})


async def found(settings: Settings, **changes: object) -> dict[str, Finding]:
    return {finding.part: finding for finding in await run_checks(settings.model_copy(update=changes))}


async def unwell(settings: Settings, **changes: object) -> dict[str, Finding]:
    return {part: finding for part, finding in (await found(settings, **changes)).items() if not finding.ok}


async def test_when_all_is_well_every_part_says_so(whole: Settings) -> None:
    assert list(await found(whole)) == PARTS
    assert await unwell(whole) == {}


async def test_a_redis_that_is_away_takes_the_count_of_workers_along(whole: Settings) -> None:
    findings = await unwell(whole, redis_url=f"redis://user:hush@127.0.0.1:{free_port()}/0")
    assert set(findings) == {"Redis", "Workers"}
    assert "IMGSVC_REDIS_URL" in findings["Redis"].advice
    assert "hush" not in str(findings)


async def test_no_worker_is_told_how_to_start_one(whole: Settings) -> None:
    queue = ArqQueue(open_redis(whole.redis_url, queue_name=CONTROL_QUEUE))
    await queue.farewell("worker-1")
    await queue.aclose()
    findings = await unwell(whole)
    assert set(findings) == {"Workers"}
    assert "imgsvc worker" in findings["Workers"].advice


async def test_a_database_that_is_not_there_is_not_made_by_looking(whole: Settings, tmp_path: Path) -> None:
    findings = await unwell(whole, database_url=f"sqlite+aiosqlite:///{tmp_path}/none.db")
    assert set(findings) == {"Database"}
    assert "imgsvc db upgrade" in findings["Database"].advice
    assert not (tmp_path / "none.db").exists()


async def test_a_database_without_tables_is_told_apart_from_one_that_is_away(whole: Settings, tmp_path: Path) -> None:
    (tmp_path / "empty.db").touch()
    empty = (await unwell(whole, database_url=f"sqlite+aiosqlite:///{tmp_path}/empty.db"))["Database"]
    assert "is empty: run `imgsvc db upgrade`" in empty.says
    url = f"postgresql+asyncpg://user:hush@127.0.0.1:{free_port()}/imgsvc"
    away = (await unwell(whole, database_url=url))["Database"]
    assert "Is it running" in away.advice
    assert "hush" not in str(away)


async def test_a_file_that_is_no_database_is_said_in_words(whole: Settings, tmp_path: Path) -> None:
    (tmp_path / "other.db").write_text("a shopping list, and not a database at all " * 100)
    findings = await unwell(whole, database_url=f"sqlite+aiosqlite:///{tmp_path}/other.db")
    assert "not a database" in findings["Database"].says


async def test_a_storage_that_cannot_be_written_to_is_named(whole: Settings, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (f"{tmp_path}/file", f"{tmp_path}/file/media"):
        findings = await unwell(whole, storage_url=f"file://{folder}")
        assert set(findings) == {"Storage"}
        assert folder in findings["Storage"].says


async def test_another_program_on_the_port_is_not_taken_for_the_api(whole: Settings) -> None:
    async with Neighbour() as other:
        findings = await unwell(whole, port=other.port)
    assert set(findings) == {"API"}
    assert "no imgsvc" in findings["API"].says


async def test_a_public_url_that_leads_elsewhere_is_found_out(whole: Settings, tmp_path: Path) -> None:
    async with Neighbour() as other:
        public = AnyHttpUrl(other.url(""))
        assert "IMGSVC_PUBLIC_URL" in (await unwell(whole, public_url=public))["Links"].advice
        with lock_folder(tmp_path) as tell:  # also beside an `up` that is well itself
            tell(Running(1, whole.local_base))
            assert set(await unwell(whole, public_url=public)) == {"Links"}


async def test_the_api_of_an_up_that_is_stuck_is_looked_for_in_its_terminal(whole: Settings, tmp_path: Path) -> None:
    with lock_folder(tmp_path) as tell:
        tell(Running(4711, f"http://127.0.0.1:{free_port()}"))
        findings = await unwell(whole)
    assert set(findings) == {"API"}
    assert "process 4711" in findings["API"].advice


async def test_a_part_that_never_answers_does_not_hold_up_the_rest(whole: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql+asyncpg://user@127.0.0.1:{silent.getsockname()[1]}/imgsvc"

        async def the_rest_is_well() -> bool:
            """In a bad moment others may be too slow as well."""
            findings = await run_checks(whole.model_copy(update={"database_url": url}), patience=0.3)
            told = {finding.part: finding.says for finding in findings if not finding.ok}
            assert told["Database"] == "No answer within 0.3 s."
            return set(told) == {"Database"}

        await until(the_rest_is_well)


async def test_a_disk_that_is_nearly_full_is_told_before_it_is(whole: Settings) -> None:
    findings = [finding for finding in await run_checks(whole, least_free=2**60) if not finding.ok]
    assert [finding.part for finding in findings] == ["Disk"]
    assert "Make room" in findings[0].advice


async def test_looking_makes_nothing(settings: Settings, tmp_path: Path) -> None:
    findings = await found(settings, data_dir=tmp_path / "new" / "data")
    assert not (tmp_path / "new").exists()
    assert "made at the first start" in findings["Storage"].says


async def test_no_password_is_shown(whole: Settings) -> None:
    """Neither one before the @ nor one in the query."""
    port = free_port()
    for url in (f"redis://:hush@127.0.0.1:{port}", f"redis://127.0.0.1:{port}/0?password=hush"):
        assert "hush" not in str(await run_checks(whole.model_copy(update={"redis_url": url})))


class Neighbour(Server):
    """Another program's web page."""

    def routes(self) -> Iterable[web.RouteDef]:
        async def page(_request: web.Request) -> web.Response:
            return web.Response(text="<h1>It works!</h1>", content_type="text/html")

        return [web.get("/{any:.*}", page)]


async def test_a_name_that_is_no_setting_is_found(whole: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMGSVC_MAX_ROW", "7")
    monkeypatch.setenv("IMGSVC_URL", "http://127.0.0.1")  # the client's
    findings = await unwell(whole)
    assert set(findings) == {"Settings"}
    assert "IMGSVC_MAX_ROW: no such setting" in findings["Settings"].says


async def test_a_mistaken_name_in_env_file_is_found_too(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("IMGSVC_QUALITY=70\nOTHER=1\n")
    done = await imgsvc("check", cwd=tmp_path, IMGSVC_PORT=str(free_port()), IMGSVC_REDIS_URL="unix:///nowhere")
    assert done.code == 1
    assert "IMGSVC_QUALITY: no such setting" in " ".join(done.out.split())


@pytest.mark.slow
async def test_beside_a_running_up_the_command_finds_all_well(tmp_path: Path) -> None:
    async with running_stack(tmp_path) as stack:
        done = await imgsvc("check", "--data-dir", ".", cwd=tmp_path)
        assert (done.code, done.err) == (0, "")
        assert f"process {stack.process.pid}" in " ".join(done.out.split())
        assert [line.split()[:2] for line in done.out.splitlines() if line.startswith(("ok", "no"))] == [
            ["ok", part] for part in PARTS
        ]


async def test_without_anything_the_command_says_what_to_do_and_ends_with_1(tmp_path: Path) -> None:
    done = await imgsvc("check", cwd=tmp_path, IMGSVC_REDIS_URL="unix:///nowhere", IMGSVC_PORT=str(free_port()))
    assert done.code == 1
    assert "imgsvc up" in done.out
    assert "Traceback" not in done.out + done.err
