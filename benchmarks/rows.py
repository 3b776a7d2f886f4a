"""Growth of the tables: plans and times of every frequent statement, with up to 5 million assets on Postgres.

    PYTHONPATH=tests python benchmarks/rows.py [--batches 20 200 2000] [--folder DIR] [--show claim]

The script starts a Postgres with its usual durability in a new folder of DIR, fills it with batches of 2,500 assets and
products each, and calls the functions of `imgsvc.db.queries`: first without statistics, as after a first upload, then
after VACUUM ANALYZE. `--show` prints the plans of the statements whose names contain the word.
"""

import argparse
import asyncio
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
from sqlalchemy import make_url, text

from imgsvc.db import migrations
from imgsvc.db.engine import Sessions, open_sessions
from imgsvc.domain.ids import new_id
from rows_statements import Place, measure
from support.databases import Postgres

ASSETS = 2_500
"""Assets and products of a batch."""
OPEN_EVERY = 40
"""One batch in this many is open, with a tenth of its assets pending."""
# Statistics are collected when the script says so.
SERVER = ("autovacuum=off", "shared_buffers=1GB", "max_wal_size=4GB", "wal_compression=off", "track_io_timing=off")
FIRST = datetime(2026, 8, 1, tzinfo=UTC)

BATCH = """
INSERT INTO batch (id, api_key_id, status, round, version, specs, manifest_sha256, header, url_column, encoding,
  delimiter, warnings, warnings_total, metadata, product_count, url_count, asset_count, processing, succeeded, failed,
  cancelled, errors, input_bytes, output_bytes, created_at, started_at, finished_at, tidy_at)
SELECT $1::text, 'key_local', CASE WHEN $2::int > 0 THEN 'processing' ELSE 'completed' END, 1, $3::int,
  '[{"name": "main"}]', repeat('a', 64),
  '["S. No.", "Product Name", "Input Image Urls"]', 2, 'utf-8', ',', '[]', 0, '{}', $3::int, $3::int,
  $3::int, 0, $3::int - $2::int, 0, 0, '{}', 1000000, 500000, $4::timestamptz, $4::timestamptz,
  CASE WHEN $2::int = 0 THEN $4::timestamptz END, NULL
"""
PRODUCTS = """
INSERT INTO product (batch_id, position, serial_number, product_name, cells, slots)
SELECT $1::text, i, i::text, 'Product ' || i,
  json_build_array(i::text, 'Product ' || i, 'https://images.shop.example/' || i),
  json_build_array(i) FROM generate_series(0, $2::int - 1) i
"""
ROWS = """
INSERT INTO asset (batch_id, position, origin_url, slug, status, due_at, attempts, input_format, width, height,
  input_bytes, renditions, etag, final_url_hash, reuse_hash, updated_at)
SELECT $1::text, i, 'https://images.shop.example/catalogue/' || ($4::int + i) || '/front-view.jpg?v=3', 'product-' || i,
  CASE WHEN done THEN 'succeeded' ELSE 'pending' END, $5::timestamptz, 1, CASE WHEN done THEN 'jpeg' END,
  CASE WHEN done THEN 1200 END, CASE WHEN done THEN 900 END, CASE WHEN done THEN 240000 END,
  CASE WHEN done THEN json_build_array(json_build_object('name', 'main', 'key',
    $1::text || '/' || i || '-product-' || i || '-0f0f0f0f.jpg', 'format', 'jpeg', 'width', 1200, 'height', 900,
    'bytes', 120000)) END,
  CASE WHEN done THEN '"' || md5(i::text) || '"' END,
  CASE WHEN done THEN encode(sha256(convert_to('u' || ($4::int + i), 'utf8')), 'hex') END,
  CASE WHEN done THEN encode(sha256(convert_to(($4::int + i)::text, 'utf8')), 'hex') END, $5::timestamptz
FROM (SELECT i, i >= $3::int AS done FROM generate_series(0, $2::int - 1) i) numbers
"""
REUSABLE = """
INSERT INTO reusable SELECT substr(decode(reuse_hash, 'hex'), 1, 16), batch_id, position FROM asset
WHERE batch_id = $1 AND reuse_hash IS NOT NULL
"""


@asynccontextmanager
async def database(url: str) -> AsyncIterator[tuple[Sessions, asyncpg.Connection]]:
    """Create the newest schema, and yield sessions and a connection."""
    sessions = open_sessions(url, statement_timeout=None)
    await migrations.upgrade(sessions)
    parsed = make_url(url)
    connection = await asyncpg.connect(user="postgres", host=parsed.query["host"], database=parsed.database)
    try:
        yield sessions, connection
    finally:
        await connection.close()
        await sessions.aclose()


async def fill(connection: asyncpg.Connection, numbers: range) -> list[str]:
    """Insert one batch for each of `numbers`, with its products and assets; return the ids of the open ones."""
    is_open = []
    for number in numbers:
        created = FIRST + timedelta(minutes=number)
        batch_id = new_id("bat", created)
        left = ASSETS // 10 if number % OPEN_EVERY == 0 else 0
        async with connection.transaction():
            await connection.execute(BATCH, batch_id, left, ASSETS, created)
            await connection.execute(PRODUCTS, batch_id, ASSETS)
            await connection.execute(ROWS, batch_id, ASSETS, left, number * ASSETS, created)
            await connection.execute(REUSABLE, batch_id)
        is_open += [batch_id] * bool(left)
    return is_open


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, nargs="+", default=[20, 200, 2_000])
    parser.add_argument("--folder", type=Path, default=Path("/var/tmp"))
    parser.add_argument("--show")
    arguments = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="rows-", dir=arguments.folder) as name,
        Postgres(Path(name), settings=SERVER) as server,
        server.database("template1") as url,
    ):
        asyncio.run(run(url, sorted(arguments.batches), show=arguments.show))


async def run(url: str, totals: Sequence[int], *, show: str | None) -> None:
    columns: dict[str, dict[str, str]] = {}
    async with database(url) as (sessions, connection):
        done, is_open = 0, [""]
        for batches in totals:
            is_open += await fill(connection, range(done, batches))
            done = batches
            newest = await connection.fetchval("SELECT max(id) FROM batch WHERE status = 'completed'")
            place = Place(newest, is_open[-1], batches * ASSETS)
            columns[f"{batches * ASSETS:,} assets"] = await measure(sessions, place, show=show)
            await connection.execute("VACUUM ANALYZE")
            columns[f"{batches * ASSETS:,}, analysed"] = await measure(sessions, place, show=show)
        await sizes(sessions)
    print_table(columns)


def print_table(columns: dict[str, dict[str, str]]) -> None:
    print("|".join(["", "statement", *columns, ""]), "|---" * (len(columns) + 1) + "|", sep="\n")
    for statement in next(iter(columns.values())):
        print("|".join(["", statement, *(cells[statement] for cells in columns.values()), ""]))


async def sizes(sessions: Sessions) -> None:
    statement = text(
        "SELECT relname, pg_relation_size(oid) / 1048576 FROM pg_class"
        " WHERE relkind IN ('r', 'i') AND pg_relation_size(oid) > 10 * 1048576 ORDER BY 2 DESC"
    )
    async with sessions.read() as session:
        for name, size in await (await session.connection()).execute(statement):
            print(f"{name}: {size:,} MiB")


if __name__ == "__main__":
    main()
