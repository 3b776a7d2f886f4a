"""`imgsvc submit --wait` while the server is killed: it ends with the right CSV, and it is one batch."""

import asyncio
import csv
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

from catalogues import catalogue
from command import Done, imgsvc
from fault_proxy import REFUSE, Cut, FaultProxy
from origin_server import OriginServer, picture
from stack import QUICK, Stack, running_stack, until

IMAGES = 6


def images(origin: OriginServer) -> list[str]:
    """Slow enough that something can happen meanwhile."""
    return [origin.serve(f"/{number}.jpg", picture(), delay=1.0) for number in range(IMAGES)]


def place_of(stack: Stack) -> tuple[str, int]:
    return "127.0.0.1", urlsplit(str(stack.client.base_url)).port or 0


def submitting(folder: Path, url: str, urls: list[str]) -> asyncio.Task[Done]:
    words = ("submit", catalogue(folder, *urls), "--wait", "--output", "out.csv", "--url", url)
    return asyncio.create_task(imgsvc(*words, cwd=folder, within=90))


def outputs(folder: Path) -> list[str]:
    rows = csv.DictReader((folder / "out.csv").read_text(encoding="utf-8").splitlines())
    return [row["Output Image Urls"] for row in rows]


def batches_in(folder: Path) -> int:
    with closing(sqlite3.connect(folder / "imgsvc.db")) as database:
        return int(database.execute("SELECT count(*) FROM batch").fetchone()[0])


async def test_the_api_is_killed_before_its_answer_arrived_and_once_more_while_the_batch_runs(
    stack: Stack, origin: OriginServer, tmp_path: Path
) -> None:
    async with FaultProxy(place_of(stack)) as proxy:
        await proxy.misbehave(Cut(down=1), times=1)  # the answer is lost on its way
        command = submitting(tmp_path, proxy.url, images(origin))

        async def stored() -> bool:
            return batches_in(tmp_path) == 1

        await until(stored)
        stack.children("api")[0].kill()

        async def fetching() -> bool:
            return len(origin.requests) > 1

        await until(fetching)
        for api in stack.children("api"):  # none while the supervisor starts another
            api.kill()
        done = await command
    assert (done.code, batches_in(tmp_path)) == (0, 1)
    assert "Trying again" in done.err
    assert f"{IMAGES} of {IMAGES} images" in done.out
    assert all(outputs(tmp_path))
    assert len(outputs(tmp_path)) == IMAGES


async def test_everything_is_killed_and_started_again_while_the_batch_runs(
    origin: OriginServer, tmp_path: Path
) -> None:
    async with running_stack(tmp_path, **QUICK) as first, FaultProxy(place_of(first)) as proxy:
        command = submitting(tmp_path, proxy.url, images(origin))

        async def fetching() -> bool:
            return bool(origin.requests)

        await until(fetching)
        first.process.kill()
        await proxy.misbehave(REFUSE)
        await first.process.wait()
        async with running_stack(tmp_path, **QUICK) as second:
            proxy.server = place_of(second)
            await proxy.behave()
            done = await command
    assert (done.code, batches_in(tmp_path)) == (0, 1)
    assert f"{IMAGES} of {IMAGES} images" in done.out
    assert all(outputs(tmp_path))
    assert len(outputs(tmp_path)) == IMAGES
