"""The database and the data folder are readable by their owner only: new or existing, whatever the umask."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text

from imgsvc.adapters.storage.open_storage import open_storage
from imgsvc.bootstrap import check_storage, open_database, open_resources
from imgsvc.db import migrations
from imgsvc.db.engine import Sessions, open_sessions
from imgsvc.process.data_folder import lock_folder
from imgsvc.process.private_files import make_private
from imgsvc.settings.server import Settings


@pytest.fixture(autouse=True, params=[0o000, 0o022], ids=["umask 000", "umask 022"])
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    previous = os.umask(request.param)
    yield
    os.umask(previous)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


async def modes_after_write(sessions: Sessions) -> dict[str, int]:
    """Write to a database and return the mode of each of its files before it is closed."""
    async with sessions.write() as session:
        await (await session.connection()).execute(text("CREATE TABLE IF NOT EXISTS one (n INTEGER)"))
        await (await session.connection()).execute(text("INSERT INTO one VALUES (1)"))
    folder = Path(sessions.engine.url.database or "").parent
    return {path.name: mode(path) for path in folder.iterdir()}


FILES = {"imgsvc.db": 0o600, "imgsvc.db-wal": 0o600, "imgsvc.db-shm": 0o600}


async def test_a_new_database_is_private_to_its_owner(tmp_path: Path) -> None:
    sessions = open_sessions(f"sqlite+aiosqlite:///{tmp_path}/new/imgsvc.db")
    assert await modes_after_write(sessions) == FILES
    assert mode(tmp_path / "new") == 0o700
    await sessions.aclose()


async def test_an_existing_database_becomes_private_to_its_owner(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "imgsvc.db", isolation_level=None)) as existing:
        existing.execute("PRAGMA journal_mode = WAL")
        existing.execute("CREATE TABLE one (n INTEGER)")
        for path in tmp_path.iterdir():
            path.chmod(0o666)
        sessions = open_sessions(f"sqlite+aiosqlite:///{tmp_path}/imgsvc.db")
        assert await modes_after_write(sessions) == FILES
        await sessions.aclose()


@pytest.mark.parametrize("before", [None, 0o755, 0o777, 0o700])
async def test_every_process_makes_the_data_folder_private_to_its_owner(tmp_path: Path, before: int | None) -> None:
    async def api(settings: Settings) -> None:
        async with open_resources(settings) as resources:
            await migrations.upgrade(resources.sessions)

    async def upgrade(settings: Settings) -> None:
        sessions = open_database(settings)
        await migrations.upgrade(sessions)
        await sessions.aclose()

    async def worker(settings: Settings) -> None:
        check_storage(settings)

    async def up(settings: Settings) -> None:
        with lock_folder(settings.data_dir):
            pass

    for start in (api, upgrade, worker, up):
        folder = tmp_path / start.__name__
        if before is not None:
            folder.mkdir()
            folder.chmod(before)
        await start(Settings(data_dir=folder))
        assert mode(folder) == 0o700, start


async def test_a_data_folder_that_stores_nothing_keeps_its_mode(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    storage = (tmp_path / "images").as_uri()
    database = f"sqlite+aiosqlite:///{tmp_path}/elsewhere/imgsvc.db"
    async with open_resources(Settings(data_dir=tmp_path, database_url=database, storage_url=storage)):
        assert mode(tmp_path) == 0o755


def test_a_folder_shared_by_all_users_keeps_its_mode(tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)  # as /tmp is
    make_private(tmp_path)
    assert mode(tmp_path) == 0o1777


def test_an_existing_storage_folder_keeps_its_mode_and_a_new_one_is_private(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o750)
    for name in ("shared", "new/media"):
        open_storage((tmp_path / name).as_uri())
    assert (mode(tmp_path / "shared"), mode(tmp_path / "new" / "media")) == (0o750, 0o700)
