"""A database for each test."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from imgsvc.db.engine import Sessions, open_sessions


@pytest.fixture
def database_path(tmp_path: Path, migrated_database: Path) -> Path:
    """A SQLite file with the newest schema and nothing in it but the local key."""
    return Path(shutil.copy(migrated_database, tmp_path / "imgsvc.db"))


@pytest.fixture
async def sessions(database_path: Path) -> AsyncIterator[Sessions]:
    """On that file; gives up on a lock sooner than in production."""
    sessions = open_sessions(f"sqlite+aiosqlite:///{database_path}", busy_timeout=0.1)
    yield sessions
    await sessions.aclose()
