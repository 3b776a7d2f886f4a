"""`imgsvc submit --wait` while the server is killed: it ends with the correct CSV and with one batch."""

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


def address_of(stack: Stack) -> tuple[str, int]:
    return "127.0.0.1", urlsplit(str(stack.client.base_url)).port or 0


async def start_command(folder: Path, *words: str) -> asyncio.subprocess.Process:
    """Start a command that writes its output to the file `output.txt`."""
    with (folder / "output.txt").open("wb") as output:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "imgsvc", *words), cwd=folder, stdout=output, stderr=output
        )


def batches_in(folder: Path, *, where: str = "TRUE") -> int:
    with closing(sqlite3.connect(folder / "imgsvc.db")) as database:
        return int(database.execute(f"SELECT count(*) FROM batch WHERE {where}").fetchone()[0])


async def test_killing_the_server_during_submit_still_yields_one_complete_batch(
    origin: OriginServer, tmp_path: Path
) -> None:
    """First the API is killed before its response arrives, then all of imgsvc while the batch runs."""
    may_send = asyncio.Event()
    urls = [origin.serve(f"/{number}.jpg", image_bytes(), wait=may_send.wait) for number in range(IMAGES)]
    async with running_stack(tmp_path, **ONE_BY_ONE) as first, FaultProxy(address_of(first)) as proxy:
        await proxy.misbehave(Cut(down=1), times=1)  # the response is lost
        words = ("submit", catalogue(tmp_path, *urls), "--wait", "--output", "out.csv", "--url", proxy.url)
        command = await start_command(tmp_path, *words)

        async def is_stored() -> bool:
            return batches_in(tmp_path) == 1

        async def is_accepted() -> bool:
            return "Accepted as bat_" in (tmp_path / "output.txt").read_text(encoding="utf-8")

        await until(is_stored)
        assert not await is_accepted()
        first.children("api")[0].kill()
        await until(is_accepted)
        children = first.children()
        first.process.kill()
        signal_all(children, signal.SIGKILL)
        await proxy.misbehave(REFUSE)
        await first.process.wait()
        assert batches_in(tmp_path, where="finished_at IS NULL") == 1
        may_send.set()
        async with running_stack(tmp_path, **QUICK) as second:
            proxy.server = address_of(second)
            await proxy.behave()
            assert await asyncio.wait_for(command.wait(), 90) == 0
    assert batches_in(tmp_path) == 1
    output = (tmp_path / "output.txt").read_text(encoding="utf-8")
    assert "Trying again" in output
    assert f"{IMAGES} of {IMAGES} images" in output
    rows = list(csv.DictReader((tmp_path / "out.csv").read_text(encoding="utf-8").splitlines()))
    assert [bool(row["Output Image Urls"]) for row in rows] == [True] * IMAGES
