"""Statements on SQLite: one call of the connection's thread each, and a lock that frequent writers share."""

import asyncio
import logging
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from threading import Event, Thread

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from imgsvc.db.engine import Sessions, open_sessions
from support.databases import ONLY_SQLITE, write_name

pytestmark = ONLY_SQLITE


@pytest.fixture
async def sessions(database: str) -> AsyncIterator[Sessions]:
    sessions = open_sessions(database)
    yield sessions
    await sessions.aclose()


async def test_a_statement_and_its_rows_are_one_call(sessions: Sessions, caplog: pytest.LogCaptureFixture) -> None:
    async with sessions.write() as session:
        connection = await session.connection()
        caplog.set_level(logging.DEBUG, logger="aiosqlite")
        rows = (await connection.execute(sa.text("VALUES (1, 'a'), (2, 'b')"))).all()
        await connection.execute(sa.text("CREATE TEMP TABLE t (n INTEGER PRIMARY KEY)"))
        added = await connection.execute(sa.text("INSERT INTO t VALUES (:n)"), [{"n": n} for n in range(5)])
        returned = await connection.execute(sa.text("UPDATE t SET n = n + 10 WHERE n > 2 RETURNING n"))
        calls = [record for record in caplog.records if record.getMessage().startswith("executing")]
    assert [tuple(row) for row in rows] == [(1, "a"), (2, "b")]
    assert added.rowcount == 5
    assert sorted(returned.scalars()) == [13, 14]
    assert len(calls) == 4


async def test_an_error_is_the_drivers_and_leaves_the_connection_usable(sessions: Sessions) -> None:
    async with sessions.write() as session:
        connection = await session.connection()
        await connection.execute(sa.text("CREATE TEMP TABLE t (n INTEGER PRIMARY KEY)"))
        with pytest.raises(IntegrityError) as refused:
            await connection.execute(sa.text("INSERT INTO t VALUES (:n)"), [{"n": 1}, {"n": 1}])
        assert isinstance(refused.value.orig, sqlite3.IntegrityError)
        assert (await connection.execute(sa.text("SELECT count(*) FROM t"))).scalar_one() == 1


class FrequentWriter:
    """A program that writes all the time, and lets the lock go for a moment only."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stopped = Event()
        self._begun = Event()
        self.transactions = 0
        self.thread = Thread(target=self._write)

    def _write(self) -> None:
        with closing(sqlite3.connect(self._path, isolation_level=None, timeout=60)) as connection:
            while not self._stopped.wait(0.006):
                connection.execute("BEGIN IMMEDIATE")
                self._begun.set()
                self._stopped.wait(0.15)
                connection.execute("COMMIT")
                self.transactions += 1

    def begins(self) -> None:
        """Wait until it has begun another transaction."""
        self._begun.clear()
        self._begun.wait()

    def stop(self) -> None:
        self._stopped.set()
        self.thread.join()


async def test_a_writer_gets_the_lock_next_to_a_program_that_writes_all_the_time(
    sessions: Sessions, database_path: Path
) -> None:
    other = FrequentWriter(database_path)
    other.thread.start()
    try:
        for number in range(4):
            await write_name(sessions, f"mine {number}")
            await asyncio.to_thread(other.begins)
    finally:
        other.stop()
    assert other.transactions <= 12
