"""The stage of a run: every part as something that can be tormented, and `imgsvc up` on top of them."""

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from chaos.mailbox import Mailbox
from chaos.parts import BUCKET, S3_LOGIN, Valkey, object_store
from chaos.service import Service
from support.databases import Postgres
from support.fault_proxy import FaultProxy
from support.origin_server import OriginServer
from support.stack import QUICK, SECRET, until

Database = Literal["sqlite", "postgres"]
# Lanes that carry little and write often: a batch takes its time, and a fault meets it in the middle.
SMALL_STEPS = {"IMGSVC_LANE_ASSETS": "6", "IMGSVC_FLUSH_ASSETS": "3"}


@dataclass(frozen=True, slots=True)
class Stage:
    """All that a fault may touch. `ways` lead to the servers outside, by what is there: origin, webhook, storage."""

    database: Database
    database_url: str
    folder: Path
    valkey: Valkey
    shop: OriginServer
    mailbox: Mailbox
    ways: Mapping[str, FaultProxy]
    postgres: Postgres | None
    service: Service

    @property
    def media(self) -> Path:
        """Where images are files."""
        return self.folder / "media"


@asynccontextmanager
async def set_up(database: Database, *, clean_up_after: float) -> AsyncIterator[Stage]:
    """Everything runs inside the block; the folder stays, for `clear`.

    With SQLite images are files, with Postgres they are in an S3. `clean_up_after` (seconds) must be more than twice
    as long as any process is frozen: files that it stores when it wakes up are to be found.
    """
    folder = Path(tempfile.mkdtemp(prefix=f"chaos-{database}-", dir="/tmp"))  # short: there are sockets in it
    async with AsyncExitStack() as stack:
        valkey = await stack.enter_async_context(Valkey(folder))
        shop, mailbox = await stack.enter_async_context(OriginServer()), await stack.enter_async_context(Mailbox())
        servers, postgres, url = (
            {"origin": shop.port, "webhook": mailbox.port},
            None,
            f"sqlite+aiosqlite:///{folder}/imgsvc.db",
        )
        if database == "postgres":
            servers["storage"] = await stack.enter_async_context(object_store())
            place = stack.enter_context(tempfile.TemporaryDirectory(prefix="chaos-pg-", dir="/tmp"))
            postgres = await asyncio.to_thread(Postgres, Path(place))  # not in `folder`, which is imgsvc's alone
            stack.enter_context(postgres)
            url = postgres.url("postgres")
        ways = {
            name: await stack.enter_async_context(FaultProxy(("127.0.0.1", port))) for name, port in servers.items()
        }
        service = Service(folder, _settings(url, valkey, ways.get("storage"), clean_up_after))
        stack.push_async_callback(service.stop)
        service.start()
        try:
            await until(service.ready, within=60)
        except AssertionError as error:
            raise RuntimeError(f"imgsvc did not come up; its log is {folder / 'up.log'}") from error
        yield Stage(database, url, folder, valkey, shop, mailbox, ways, postgres, service)


def _settings(database_url: str, valkey: Valkey, storage: FaultProxy | None, clean_up_after: float) -> dict[str, str]:
    """The environment of `imgsvc`: no setting of whoever runs this reaches it."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("IMGSVC_")}
    chosen = {
        "IMGSVC_ALLOWED_NETWORKS": "127.0.0.0/8",
        "IMGSVC_DATABASE_URL": database_url,
        "IMGSVC_REDIS_URL": valkey.url,
        "IMGSVC_TIDY_AFTER": str(clean_up_after),
        "IMGSVC_WEBHOOK_SCHEDULE": ",".join(["0", *["2"] * 40]),
        "IMGSVC_WEBHOOK_SECRET": SECRET,
        "IMGSVC_WEBHOOK_TIMEOUT": "2",
    }
    if storage:
        chosen |= {"IMGSVC_STORAGE_URL": f"s3://{BUCKET}", "AWS_ENDPOINT_URL": storage.url, "AWS_ALLOW_HTTP": "true"}
        chosen |= S3_LOGIN
    return {**clean, **QUICK, **SMALL_STEPS, **chosen}


def clear(stage: Stage) -> None:
    shutil.rmtree(stage.folder)
