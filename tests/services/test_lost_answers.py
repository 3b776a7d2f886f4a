"""The answer to a commit gets lost: what it did is found again, and nothing is done twice."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace

import pytest
from sqlalchemy import make_url

from batches_at_hand import assets_of, exact, submitted
from imgsvc.bootstrap import Resources
from imgsvc.db.engine import open_sessions
from imgsvc.errors import NotAnImage
from imgsvc.services.outcomes import Failed, Outcome
from lanes_at_hand import flush, until


@pytest.fixture
def database_kind() -> str:
    return "sqlite"  # whose lock makes the next try fail when the test wants it


@pytest.fixture
async def impatient(parts: Resources) -> AsyncIterator[Resources]:
    """On a database that is away as soon as somebody else writes."""
    sessions = open_sessions(parts.settings.database, busy_timeout=0.02)
    yield replace(parts, sessions=sessions)
    await sessions.aclose()


async def test_a_run_gets_what_it_claimed_without_knowing_and_settles_nothing_twice(impatient: Resources) -> None:
    batch = await submitted(impatient, [f"http://shop.example/{number}.jpg" for number in range(6)])
    [first, second] = await flush(batch.id, impatient, token="mine", claim=2)
    done: list[Outcome] = [Failed(first, 1, NotAnImage())]
    await flush(batch.id, impatient, token="mine", outcomes=done, claim=2)  # commits; the run never hears of it

    with closing(sqlite3.connect(make_url(impatient.settings.database).database or "", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        again = asyncio.create_task(
            flush(batch.id, impatient, token="mine", outcomes=done, claim=3, at_work=[second.position])
        )
        await until(lambda: impatient.sessions.engine.pool.checkedout() > 0)  # type: ignore[attr-defined]
        await until(lambda: impatient.sessions.engine.pool.checkedout() == 0)  # type: ignore[attr-defined]  # it gave up
        other.execute("ROLLBACK")
    claimed = await again

    assert [asset.position for asset in claimed] == [2, 3, 4]
    batch = await exact(impatient.sessions, batch.id)
    assert (batch.failed, batch.processing) == (1, 4)
    assert {asset.lost for asset in await assets_of(impatient.sessions, batch.id)} == {0}
