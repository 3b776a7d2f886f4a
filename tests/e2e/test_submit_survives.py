"""`imgsvc submit --wait` while the server is killed: it ends with the right CSV, and it is one batch."""

import asyncio
import csv
import signal
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from chaos.servers import signal_all
from support.catalogues import catalogue
from support.fault_proxy import REFUSE, Cut, FaultProxy
from support.origin_server import OriginServer, image_bytes
from support.stack import QUICK, Stack, running_stack, until

pytestmark = pytest.mark.slow

IMAGES = 6
ONE_BY_ONE = {**QUICK, "IMGSVC_MAX_FETCHES": "1"}


def place_of(stack: Stack) -> tuple[str, int]:
    return "127.0.0.1", urlsplit(str(stack.client.base_url)).port or 0


async def started(folder: Path, *words: str) -> asyncio.subprocess.Process:
    """The command, which writes what it says into the file `said`."""
    with (folder / "said").open("wb") as said:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "imgsvc", *words), cwd=folder, stdout=said, stderr=said
        )


def batches_in(folder: Path, *, where: str = "TRUE") -> int:
    with closing(sqlite3.connect(folder / "imgsvc.db")) as database:
        return int(database.execute(f"SELECT count(*) FROM batch WHERE {where}").fetchone()[0])


async def test_whatever_is_killed_meanwhile_it_is_one_batch_with_every_image(
    origin: OriginServer, tmp_path: Path
) -> None:
    """The API before its answer has arrived, then all of imgsvc while the batch runs."""
    may_come = asyncio.Event()
    urls = [origin.serve(f"/{number}.jpg", image_bytes(), turn=may_come.wait) for number in range(IMAGES)]
    async with running_stack(tmp_path, **ONE_BY_ONE) as first, FaultProxy(place_of(first)) as proxy:
        await proxy.misbehave(Cut(down=1), times=1)  # the answer is lost on its way
        words = ("submit", catalogue(tmp_path, *urls), "--wait", "--output", "out.csv", "--url", proxy.url)
        command = await started(tmp_path, *words)

        async def stored() -> bool:
            return batches_in(tmp_path) == 1

        async def accepted() -> bool:
            return "Accepted as bat_" in (tmp_path / "said").read_text(encoding="utf-8")

        await until(stored)
        assert not await accepted()
        first.children("api")[0].kill()
        await until(accepted)
        children = first.children()
        first.process.kill()
        signal_all(children, signal.SIGKILL)
        await proxy.misbehave(REFUSE)
        await first.process.wait()
        assert batches_in(tmp_path, where="finished_at IS NULL") == 1
        may_come.set()
        async with running_stack(tmp_path, **QUICK) as second:
            proxy.server = place_of(second)
            await proxy.behave()
            assert await asyncio.wait_for(command.wait(), 90) == 0
    assert batches_in(tmp_path) == 1
    said = (tmp_path / "said").read_text(encoding="utf-8")
    assert "Trying again" in said
    assert f"{IMAGES} of {IMAGES} images" in said
    rows = list(csv.DictReader((tmp_path / "out.csv").read_text(encoding="utf-8").splitlines()))
    assert [bool(row["Output Image Urls"]) for row in rows] == [True] * IMAGES
