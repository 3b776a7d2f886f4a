"""A whole batch through PgBouncer in transaction mode: several lanes flush over two shared connections."""

import asyncio

import pytest

from imgsvc.bootstrap import Resources
from imgsvc.errors import DatabaseUnavailable
from imgsvc.services.processing.process_asset import AssetProcessor
from support.batches import assets_of, consistent_batch, submit_batch
from support.databases import read_name
from support.lanes import until, work
from support.origin_server import OriginServer, image_bytes
from support.poolers import NEEDS_PGBOUNCER, PgBouncer

pytestmark = NEEDS_PGBOUNCER
COUNT = 48
LANES = 4


@pytest.fixture
def database_kind() -> str:
    return "pgbouncer"


async def start(
    resources: Resources, processor: AssetProcessor, origin: OriginServer
) -> tuple[str, asyncio.Task[None]]:
    """Upload a batch and start lanes that flush often."""
    batch = await submit_batch(resources, [origin.serve(f"/{n}.jpg", image_bytes(), delay=0.05) for n in range(COUNT)])

    async def lanes() -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(LANES):
                group.create_task(work(batch.id, resources, processor, assets=4, flush_assets=2))

    return batch.id, asyncio.create_task(lanes())


async def assert_all_done_once(resources: Resources, batch_id: str, origin: OriginServer) -> None:
    batch = await consistent_batch(resources.sessions, batch_id)
    assert (batch.status, batch.succeeded) == ("completed", COUNT)
    assert {origin.hits(f"/{number}.jpg") for number in range(COUNT)} == {1}
    assert {asset.lost for asset in await assets_of(resources.sessions, batch_id)} == {0}


async def test_lanes_that_flush_at_once_complete_a_batch(
    resources: Resources, processor: AssetProcessor, origin: OriginServer
) -> None:
    batch_id, lanes = await start(resources, processor, origin)
    await lanes
    await assert_all_done_once(resources, batch_id, origin)


@pytest.mark.slow
async def test_lanes_wait_while_pgbouncer_is_killed_in_the_middle_of_a_batch(
    resources: Resources, processor: AssetProcessor, origin: OriginServer, pgbouncer: PgBouncer
) -> None:
    batch_id, lanes = await start(resources, processor, origin)
    await until(lambda: len(origin.requests) >= COUNT // 2)
    assert not lanes.done()
    with pgbouncer.killed(), pytest.raises(DatabaseUnavailable):
        await read_name(resources.sessions)
    await lanes
    await assert_all_done_once(resources, batch_id, origin)
