"""A SQLite and a Postgres database for each test."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import make_url

from imgsvc.db.engine import Sessions, open_sessions


@pytest.fixture(params=["sqlite", "postgres"])
def database_kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def database_path(sqlite_database: str) -> Path:
    """The SQLite file of the test's database."""
    return Path(make_url(sqlite_database).database or "")


@pytest.fixture
async def sessions(database: str) -> AsyncIterator[Sessions]:
    """Sessions on the test's database."""
    sessions = open_sessions(database)
    yield sessions
    await sessions.aclose()
