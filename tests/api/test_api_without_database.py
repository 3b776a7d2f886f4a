"""The API while its database fails: 503 with Retry-After, nothing stored in part, and normal service afterwards."""

import asyncio
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import event

from imgsvc.settings.server import Settings
from support.api_calls import CSV, ONE_ROW, catalogue, problem, rows_stored, serving, upload
from support.databases import ONLY_SQLITE, Postgres

Fault = Callable[[], AbstractContextManager[None]]
FAULTS = [
    ("postgres", "stopped"),
    ("postgres", "crashed"),
    pytest.param("postgres", "silent", marks=pytest.mark.slow),  # times out after 20 s
    ("sqlite", "replaced"),
    ("sqlite", "removed"),
]
FINISHED = catalogue(("1", "Shoe", "htp://nowhere"))


@pytest.fixture
def fault(database_kind: str, fault_kind: str, request: pytest.FixtureRequest) -> Fault:
    """The fault of the database, as a context manager."""
    if database_kind == "sqlite":
        return partial(
            database_file_moved,
            Path(request.getfixturevalue("tmp_path")) / "imgsvc.db",
            replaced=fault_kind == "replaced",
        )
    server: Postgres = request.getfixturevalue("postgres")
    faults: dict[str, Fault] = {
        "stopped": server.stopped,
        "crashed": partial(server.stopped, signal.SIGQUIT),
        "silent": server.frozen,
    }
    return faults[fault_kind]


@contextmanager
def database_file_moved(file: Path, *, replaced: bool) -> Iterator[None]:
    aside = file.rename(file.with_name("aside.db"))
    if replaced:
        shutil.copy(aside, file)
    yield
    aside.replace(file)


async def ask_for_everything(client: httpx.AsyncClient, batch_id: str) -> list[httpx.Response]:
    """Send an upload and all reads of a batch."""
    reads = [client.get(f"/v1/batches/{batch_id}{part}") for part in ("", "/products", "/output.csv")]
    return await asyncio.gather(client.post("/v1/batches", content=ONE_ROW, headers=CSV), *reads)


@pytest.mark.parametrize(("database_kind", "fault_kind"), FAULTS)
async def test_without_its_database_every_call_is_503_until_it_is_back(
    settings: Settings, client: httpx.AsyncClient, fault: Fault, fault_kind: str
) -> None:
    async with serving(settings) as (_, other):
        batch_id = (await upload(other, FINISHED, on_invalid="skip"))["id"]
    if fault_kind != "silent":  # an open connection times out after 20 s, a new one after 5
        await ask_for_everything(client, batch_id)
    stored = await rows_stored(settings)
    with fault():
        for answer in await ask_for_everything(client, batch_id):
            problem(answer, 503, "database-unavailable")
            assert int(answer.headers["retry-after"]) > 0
        ready, alive = await client.get("/readyz"), await client.get("/healthz")
        assert (ready.status_code, alive.status_code) == (503, 200)
        assert ready.json()["storage"] == "ok"
    assert await rows_stored(settings) == stored
    assert [answer.status_code for answer in await ask_for_everything(client, batch_id)] == [202, 200, 200, 200]


@ONLY_SQLITE
async def test_on_a_full_disk_uploads_are_503_and_reads_continue(settings: Settings) -> None:
    max_pages = 1

    def limit_pages(connection: Any, *_: object) -> None:
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA max_page_count = {max_pages}")  # 1: the current number of pages
        cursor.close()

    many = catalogue(*[(str(number), "Shoe", f"https://shop.example/{number}.jpg") for number in range(500)])
    async with serving(settings) as (app, client):
        batch_id = (await upload(client, FINISHED, on_invalid="skip"))["id"]
        stored = await rows_stored(settings)
        event.listen(app.state.resources.sessions.engine.sync_engine, "checkout", limit_pages)
        refused = await client.post("/v1/batches", content=many, headers=CSV)
        problem(refused, 503, "database-unavailable")
        assert await rows_stored(settings) == stored
        assert (await client.get(f"/v1/batches/{batch_id}/output.csv")).status_code == 200
        max_pages = 2**30
        await upload(client, many)
