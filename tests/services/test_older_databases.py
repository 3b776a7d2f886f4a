"""Databases that earlier versions filled: after the upgrade batches go on, and earlier workers can still write."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import sqlalchemy as sa
from sqlalchemy import MetaData

from imgsvc.bootstrap import Resources
from imgsvc.db import migrations
from imgsvc.db.engine import Sessions, open_sessions
from imgsvc.services.access.links import Links
from imgsvc.services.integrity.audit import run_audit
from imgsvc.services.processing.process_asset import AssetProcessor
from imgsvc.services.results.report import ReportOptions, output_csv
from support.audits import AuditedService, violations
from support.batches import ManualClock, assets_of, batch_of, consistent_batch, submit_batch
from support.databases import Postgres
from support.lanes import flush, work
from support.older_schemas import REVISIONS, build_schema, copy_rows, insert, move_to_batch_folders
from support.origin_server import OriginServer, image_bytes

EARLIER = REVISIONS[:-1]
FIRST_WITH_REUSE = "0005"  # before it, validators may have been those of a redirect's target
TAGGED = {"ETag": '"v1"'}


class Older(NamedTuple):
    """A database that an earlier version filled, upgraded since, and the batches that are in it."""

    resources: Resources
    tables: MetaData
    revision: str
    finished: str
    unfinished: str
    reusable: str
    """URL of an image of a finished batch, whose server has sent a validator."""
    report: str


@pytest.fixture(params=[*(pytest.param(each, marks=pytest.mark.slow) for each in EARLIER[:-1]), EARLIER[-1]])
def revision(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["sqlite", "postgres"])
def older_kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def database_kind() -> str:
    """The database from which the rows are copied."""
    return "sqlite"


@pytest.fixture
def empty(older_kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of an empty database."""
    if older_kind == "sqlite":
        yield f"sqlite+aiosqlite:///{tmp_path}/older.db"
        return
    postgres: Postgres = request.getfixturevalue("postgres")
    with postgres.database("template1") as url:
        yield url


@pytest.fixture
async def target(empty: str) -> AsyncIterator[Sessions]:
    sessions = open_sessions(empty)
    yield sessions
    await sessions.aclose()


@pytest.fixture
async def older(
    shop: AuditedService, processor: AssetProcessor, origin: OriginServer, target: Sessions, revision: str
) -> Older:
    """A finished batch with failures, one with a reusable image, and one in the middle, of which a worker has died."""
    source = shop.resources
    reusable = origin.serve("/tagged.jpg", image_bytes(), headers=TAGGED)
    await work((await submit_batch(source, [reusable])).id, source, processor)
    unfinished = await submit_batch(source, [origin.serve(f"/{number}.jpg", image_bytes()) for number in range(3)])
    await flush(unfinished.id, source, token="a dead lane", claim=2)
    await move_to_batch_folders(source)
    report = await report_of(source, shop.batch_id)

    tables = await build_schema(target, revision)
    await copy_rows(source.sessions, target, tables)
    await migrations.upgrade(target)
    resources = replace(source, sessions=target)
    return Older(resources, tables, revision, shop.batch_id, unfinished.id, reusable, report)


async def report_of(resources: Resources, batch_id: str) -> str:
    batch = await batch_of(resources.sessions, batch_id)
    links = Links("http://127.0.0.1:8000")
    return "".join(
        [part async for part in output_csv(batch, ReportOptions(), sessions=resources.sessions, links=links)]
    )


async def assert_consistent(older: Older) -> None:
    resources, clock = older.resources, older.resources.clock
    assert isinstance(clock, ManualClock)
    await AuditedService(resources, older.finished, clock).clean_up()  # scheduled by 0002, if the batch is older
    audit = await run_audit(
        sessions=resources.sessions, inventory=resources.storage, clock=resources.clock, grace=timedelta(hours=1)
    )
    assert violations(audit) == {}


async def test_a_finished_batch_has_the_same_report_and_no_violations(older: Older) -> None:
    assert await report_of(older.resources, older.finished) == older.report
    await assert_consistent(older)


async def test_an_unfinished_batch_is_completed(older: Older, processor: AssetProcessor, clock: ManualClock) -> None:
    clock.forward(120)  # the dead worker's leases have expired
    await work(older.unfinished, older.resources, processor)
    batch = await consistent_batch(older.resources.sessions, older.unfinished)
    assert (batch.status, batch.succeeded) == ("completed", 3)
    assert sorted(asset.lost for asset in await assets_of(older.resources.sessions, batch.id)) == [0, 1, 1]
    await assert_consistent(older)


async def test_an_earlier_result_is_reused(older: Older, processor: AssetProcessor, origin: OriginServer) -> None:
    batch = await submit_batch(older.resources, [older.reusable])
    await work(batch.id, older.resources, processor)
    [asset] = await assets_of(older.resources.sessions, batch.id)
    [rendition] = asset.renditions or []
    has_results = older.revision >= FIRST_WITH_REUSE
    assert rendition["action"] == ("reused" if has_results else "compressed")
    assert origin.requests[-1].headers.get("If-None-Match") == (TAGGED["ETag"] if has_results else None)


# -- processes of the earlier version, which run until they are restarted ---------------------------------------------


async def rows(connection: Any, table: sa.Table, batch_id: str) -> list[dict[str, Any]]:
    key = table.c.id if table.name == "batch" else table.c.batch_id
    return [dict(row) for row in (await connection.execute(table.select().where(key == batch_id))).mappings()]


async def test_an_earlier_version_uploads_claims_writes_and_deletes(older: Older, processor: AssetProcessor) -> None:
    batch, product, asset = (older.tables.tables[name] for name in ("batch", "product", "asset"))
    new = "bat_0000000000000000000000new0"
    async with older.resources.sessions.write() as session:
        connection = await session.connection()
        for table in (batch, product, asset):
            for row in await rows(connection, table, older.unfinished):
                await connection.execute(insert(table, row | {"id" if table is batch else "batch_id": new}))
        claimed = asset.update().where(asset.c.batch_id == new, asset.c.position == 2)
        await connection.execute(claimed.values(status="processing", claim="earlier"))
        [done] = [row for row in await rows(connection, asset, older.finished) if row["position"] == 0]
        outcome = {name: value for name, value in done.items() if name not in ("batch_id", "position", "origin_url")}
        written = claimed.values({name: sa.null() if value is None else value for name, value in outcome.items()})
        assert (await connection.execute(written)).rowcount == 1
        counters = {"succeeded": 1, "processing": 2, "version": batch.c.version + 1}
        await connection.execute(batch.update().where(batch.c.id == new).values(counters))
    await work(new, older.resources, processor)
    async with older.resources.sessions.write() as session:
        connection = await session.connection()
        for table in (asset, product):
            assert (await connection.execute(table.delete().where(table.c.batch_id == new))).rowcount == 3
        assert (await connection.execute(batch.delete().where(batch.c.id == new))).rowcount == 1
