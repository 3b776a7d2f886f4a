"""The statements that benchmarks/rows.py measures, and their plans."""

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from statistics import median
from time import perf_counter
from typing import Any

from sqlalchemy import event
from sqlmodel.ext.asyncio.session import AsyncSession

from imgsvc.db.engine import Sessions
from imgsvc.db.queries import assets, backlog, batches, deletions, integrity, leases, reuse

NOW = datetime(2026, 12, 1, tzinfo=UTC)
REPEATS = 15
Query = Callable[[AsyncSession], Awaitable[Any]]


@dataclass(frozen=True)
class Place:
    """The batches that statements are measured on: a finished one, and one with due assets."""

    finished: str
    unfinished: str
    total_assets: int


def hashes(first: int, total: int) -> list[str]:
    """Return 64 hashes that are spread over the rows from `first` to `total`."""
    step = max(1, (total - first) // 64)
    return [hashlib.sha256(b"%d" % number).hexdigest() for number in range(first, first + 64 * step, step)]


def statements(place: Place) -> dict[str, Query]:
    done, due = place.finished, place.unfinished
    lease: dict[str, Any] = {"now": NOW, "until": NOW + timedelta(seconds=60), "limits": {0: 64}}
    old, new = hashes(0, place.total_assets), [hashlib.sha256(b"new %d" % number).hexdigest() for number in range(64)]
    return {
        "claim 64 of a batch": lambda s: leases.claim(s, due, token="t", in_flight=range(64), **lease),
        "hosts of a batch": lambda s: leases.hosts(s, due, after=-1, limit=256),
        "status": lambda s: batches.get(s, done, api_key_id="key_local"),
        "progress of 100": lambda s: batches.progress(s, [done, due] * 50),
        "list, 100 newest": lambda s: batches.page(s, "key_local", statuses=(), before=None, limit=100),
        "list, 100 failed": lambda s: batches.page(s, "key_local", statuses=("failed",), before=None, limit=100),
        "products, 100 from the middle": lambda s: batches.products_page(s, done, after=1_200, limit=100),
        "assets of a page, 100": lambda s: assets.at_positions(s, done, range(1_200, 1_300)),
        "open work of a key": lambda s: batches.open_work(s, "key_local"),
        "sweep: open batches": batches.open_page,
        "sweep: expired": lambda s: deletions.expired(s, NOW),
        "sweep: clean-ups": lambda s: deletions.due_for_clean_up(s, NOW),
        "metrics: backlog": backlog.open_batches,
        "audit: totals of a batch": lambda s: integrity.asset_groups(s, integrity.Span(done, done)),
        "reuse: 64 found": lambda s: reuse.previous_results(s, old),
        "reuse: 64 new": lambda s: reuse.previous_results(s, new),
        "reuse: note 64 new": lambda s: reuse.note_results(s, due, map(reuse.Result, range(64), new)),
        "reuse: note 64 again": lambda s: reuse.note_results(s, f"{done}~", map(reuse.Result, range(64), old)),
        "delete 2,000 assets": lambda s: deletions.remove_assets(s, done),
        "delete 2,000 products": lambda s: deletions.remove_products(s, done),
        "delete the batch's row": lambda s: deletions.remove_batch(s, done),
    }


async def measure(sessions: Sessions, place: Place, *, show: str | None = None) -> dict[str, str]:
    """Return a cell for each statement: median milliseconds and 8 kB pages; print the plans that contain `show`."""
    found = {}
    for name, query in statements(place).items():
        times = [await milliseconds(sessions, query) for _ in range(REPEATS)]
        pages, nodes = await explain(sessions, query)
        found[name] = f"{median(times):.1f} ms, {pages:,}"
        if show is not None and show in name:
            print(f"{name}: {', '.join(nodes)}")
    return found


async def milliseconds(sessions: Sessions, query: Query) -> float:
    async with undone(sessions) as session:
        await session.connection()
        begin = perf_counter()
        await query(session)
        return (perf_counter() - begin) * 1000


async def explain(sessions: Sessions, query: Query) -> tuple[int, list[str]]:
    """Return the pages that the statements of `query` touch, and the nodes of their plans."""
    pages = 0
    nodes: list[str] = []
    with recorded(sessions) as sent:
        async with undone(sessions) as session:
            await query(session)
    async with undone(sessions) as session:
        connection = await session.connection()
        for statement, parameters in sent:
            one = parameters[0] if isinstance(parameters, list) else parameters
            rows = await connection.exec_driver_sql(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}", one)
            [plan] = rows.scalar_one()
            pages += plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"]
            nodes += walk(plan["Plan"])
    return pages, nodes


@asynccontextmanager
async def undone(sessions: Sessions) -> AsyncIterator[AsyncSession]:
    """Open a session that is rolled back, so that the next measurement finds the same rows."""
    async with sessions.write() as session:
        yield session
        await (await session.connection()).rollback()


def walk(plan: dict[str, Any]) -> Iterator[str]:
    """Yield each node: its index or table, [expected→actual rows x loops -rows removed by a filter]."""
    index = plan.get("Index Name") or plan.get("Relation Name") or ""
    removed = plan.get("Rows Removed by Filter", 0)
    yield f"{plan['Node Type']} {index} [{plan['Plan Rows']}→{plan['Actual Rows']:g}x{plan['Actual Loops']} -{removed}]"
    for child in plan.get("Plans", ()):
        yield from walk(child)


@contextmanager
def recorded(sessions: Sessions) -> Iterator[list[tuple[str, Any]]]:
    """Record the statements that are sent in this block, with their parameters."""
    sent: list[tuple[str, Any]] = []

    def record(_connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: bool) -> None:
        sent.append((statement, parameters))

    event.listen(sessions.engine.sync_engine, "before_cursor_execute", record)
    yield sent
    event.remove(sessions.engine.sync_engine, "before_cursor_execute", record)
