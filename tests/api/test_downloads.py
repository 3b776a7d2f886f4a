"""Reports over real HTTP: errors before the first byte are problems, and clients may disconnect at any time."""

import asyncio
import os
import signal
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import psutil
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from imgsvc.db.engine import open_sessions
from imgsvc.services.results.report_file import SLOTS
from imgsvc.settings.server import Settings
from support.api_calls import catalogue, problem, upload
from support.served import served
from support.stack import command_of, until
from support.workbooks import read_table

WRITTEN = ("output.xlsx", "output.ods")
"""Reports that are written to a file first."""
REPORTS = (*WRITTEN, "output.csv", "failures.csv", "output.tsv", "output.jsonl", "output.xml")


@pytest.fixture
def database_kind() -> str:
    return "postgres"  # which can lock a table against readers


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of temporary files, which has none."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


async def finished_batch(client: httpx.AsyncClient, *, rows: int = 3) -> str:
    """Upload rows with invalid URLs and names that do not compress; return the path of the batch, which has ended."""
    lines = [(str(number), os.urandom(200).hex(), "htp://nowhere") for number in range(rows)]
    return f"/v1/batches/{(await upload(client, catalogue(*lines), on_invalid='skip'))['id']}"


@asynccontextmanager
async def locked(settings: Settings, table: str) -> AsyncIterator[AsyncConnection]:
    """Lock a table against readers, and yield the connection that has locked it."""
    sessions = open_sessions(settings.database)
    async with sessions.write() as session:
        connection = await session.connection()
        await connection.execute(text(f"LOCK TABLE {table}"))
        yield connection
    await sessions.aclose()


async def waiting(connection: AsyncConnection) -> int | None:
    """Return the process of Postgres that waits for a lock."""
    found = await connection.scalar(text("SELECT pid FROM pg_locks WHERE NOT granted"))
    return found and int(found)


async def writers() -> list[int]:
    """Return the processes that write reports."""
    children = psutil.Process().children()
    return [child.pid for child in children if "imgsvc.adapters.sandbox.table_child" in command_of(child)]


@pytest.mark.parametrize("report", REPORTS)
async def test_a_report_of_a_batch_that_is_being_deleted_is_404(settings: Settings, report: str) -> None:
    async with served(settings) as client:
        batch = await finished_batch(client)
        async with locked(settings, "delivery") as connection:
            asking = asyncio.create_task(client.get(f"{batch}/{report}"))
            await until(lambda: waiting(connection))  # it has read the row of the batch
            await connection.execute(text("UPDATE batch SET deleted_at = now()"))
        problem(await asking, 404, "not-found")


@pytest.mark.parametrize("report", REPORTS)
async def test_a_report_is_503_when_the_database_fails_before_its_first_page(settings: Settings, report: str) -> None:
    async with served(settings) as client:
        batch = await finished_batch(client)
        async with locked(settings, "product") as connection:
            asking = asyncio.create_task(client.get(f"{batch}/{report}"))
            process = await until(lambda: waiting(connection))
            await connection.execute(text("SELECT pg_terminate_backend(:process)"), {"process": process})
            problem(await asking, 503, "database-unavailable")


@pytest.mark.parametrize("report", WRITTEN)
async def test_a_report_is_503_when_there_is_no_disk_for_it(settings: Settings, temporary: Path, report: str) -> None:
    async with served(settings) as client:
        batch = await finished_batch(client)
        temporary.rmdir()
        problem(await client.get(f"{batch}/{report}"), 503, "storage-error")


@pytest.mark.parametrize("report", WRITTEN)
async def test_a_report_is_503_when_its_process_is_killed(settings: Settings, temporary: Path, report: str) -> None:
    async with served(settings) as client:
        batch = await finished_batch(client)
        async with locked(settings, "product") as connection:
            asking = asyncio.create_task(client.get(f"{batch}/{report}"))
            await until(lambda: waiting(connection))
            [writer] = await writers()
            os.kill(writer, signal.SIGKILL)
        problem(await asking, 503, "quarantine-unavailable")
        assert list(temporary.iterdir()) == []
        assert len(read_table((await client.get(f"{batch}/{report}")).content).rows) == 4


@pytest.mark.parametrize("report", WRITTEN)
async def test_nothing_is_left_of_reports_whose_clients_disconnect_while_they_are_written(
    settings: Settings, temporary: Path, report: str
) -> None:
    async def nothing_is_left() -> bool:
        return not (list(temporary.iterdir()) or await writers())

    async with served(settings) as client:
        batch = await finished_batch(client)
        for _ in range(SLOTS + 1):
            async with locked(settings, "product") as connection:
                asking = asyncio.create_task(client.get(f"{batch}/{report}"))
                await until(lambda: waiting(connection))
                assert await writers()
                asking.cancel()
                await until(nothing_is_left)
        assert len(read_table((await client.get(f"{batch}/{report}")).content).rows) == 4


@pytest.mark.parametrize("report", WRITTEN)
async def test_the_file_is_removed_when_a_client_disconnects_while_it_is_sent(
    settings: Settings, temporary: Path, report: str
) -> None:
    async def is_removed() -> bool:
        return not list(temporary.iterdir())

    async with served(settings) as client:
        batch = await finished_batch(client, rows=4_000)
        async with client.stream("GET", f"{batch}/{report}") as response:
            assert response.status_code == 200
            await anext(response.aiter_raw())
            assert len(list(temporary.iterdir())) == 1
        await until(is_removed)
        assert len(read_table((await client.get(f"{batch}/{report}")).content).rows) == 4_001
