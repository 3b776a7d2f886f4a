"""The stage of a run: the servers that faults are caused on, and `imgsvc up` on top of them."""

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from chaos.owners import Owner, create_owners
from chaos.paced import PacedOrigin, paced_origins
from chaos.receiver import WebhookReceiver
from chaos.servers import BUCKET, S3_LOGIN, Valkey, object_store
from chaos.service import Service
from support.databases import Postgres
from support.fault_proxy import FaultProxy
from support.origin_server import OriginServer
from support.stack import QUICK, until

Database = Literal["sqlite", "postgres"]
# Lanes that hold few assets and flush often: batches take longer, and faults hit them while they run.
SMALL_STEPS = {"IMGSVC_LANE_ASSETS": "6", "IMGSVC_FLUSH_ASSETS": "3"}


@dataclass(frozen=True, slots=True)
class Stage:
    """Everything that a fault may affect. `proxies` to the servers outside: `origin`, `webhook`, `storage`."""

    database: Database
    database_url: str
    folder: Path
    valkey: Valkey
    shop: OriginServer
    paced: Mapping[str, PacedOrigin]
    receiver: WebhookReceiver
    proxies: Mapping[str, FaultProxy]
    postgres: Postgres | None
    service: Service
    owners: Sequence[Owner]

    @property
    def media(self) -> Path:
        """The folder of the images in local storage."""
        return self.folder / "media"


@asynccontextmanager
async def set_up(database: Database, *, clean_up_after: float) -> AsyncIterator[Stage]:
    """Run everything inside the block; the folder remains until `clear`.

    With SQLite, images are stored as files; with Postgres, in S3. `clean_up_after` (seconds) must be more than twice
    as long as any process is frozen, so that files it stores when it wakes up are found.
    """
    folder = Path(tempfile.mkdtemp(prefix=f"chaos-{database}-", dir="/tmp"))  # a short path, as sockets need
    async with AsyncExitStack() as stack:
        valkey = await stack.enter_async_context(Valkey(folder))
        shop, receiver = (
            await stack.enter_async_context(OriginServer()),
            await stack.enter_async_context(WebhookReceiver()),
        )
        paced = await stack.enter_async_context(paced_origins())
        servers, postgres, url = (
            {"origin": shop.port, "webhook": receiver.port},
            None,
            f"sqlite+aiosqlite:///{folder}/imgsvc.db",
        )
        if database == "postgres":
            servers["storage"] = await stack.enter_async_context(object_store())
            data = stack.enter_context(tempfile.TemporaryDirectory(prefix="chaos-pg-", dir="/tmp"))
            postgres = await asyncio.to_thread(Postgres, Path(data))  # not in `folder`, which only imgsvc uses
            stack.enter_context(postgres)
            url = postgres.url("postgres")
        proxies = {
            name: await stack.enter_async_context(FaultProxy(("127.0.0.1", port))) for name, port in servers.items()
        }
        service = Service(folder, _settings(url, valkey, proxies.get("storage"), clean_up_after))
        stack.push_async_callback(service.stop)
        service.start()
        try:
            await until(service.ready, within=60)
        except AssertionError as error:
            raise RuntimeError(f"imgsvc did not come up; its log is {folder / 'up.log'}") from error
        owners = await create_owners(url)
        receiver.secrets |= {owner.name: owner.secret for owner in owners}
        yield Stage(database, url, folder, valkey, shop, paced, receiver, proxies, postgres, service, owners)


def _settings(database_url: str, valkey: Valkey, storage: FaultProxy | None, clean_up_after: float) -> dict[str, str]:
    """Return the environment of `imgsvc`, without any IMGSVC_ variable of the caller's."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("IMGSVC_")}
    chosen = {
        "IMGSVC_ALLOWED_NETWORKS": "127.0.0.0/8",
        "IMGSVC_DATABASE_URL": database_url,
        "IMGSVC_REDIS_URL": valkey.url,
        "IMGSVC_TIDY_AFTER": str(clean_up_after),
        "IMGSVC_WEBHOOK_SCHEDULE": ",".join(["0", *["2"] * 40]),
        "IMGSVC_WEBHOOK_TIMEOUT": "2",
    }
    if storage:
        chosen |= {"IMGSVC_STORAGE_URL": f"s3://{BUCKET}", "AWS_ENDPOINT_URL": storage.url, "AWS_ALLOW_HTTP": "true"}
        chosen |= S3_LOGIN
    return {**clean, **QUICK, **SMALL_STEPS, **chosen}


def clear(stage: Stage) -> None:
    shutil.rmtree(stage.folder)
