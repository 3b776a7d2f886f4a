"""A receiver that hangs does not delay the others, on a real queue with a real worker."""

import asyncio
from functools import partial

import pytest

from imgsvc.adapters.redis.queue import CONTROL_QUEUE
from imgsvc.bootstrap import Resources, lane_policy
from imgsvc.services.processing.process_asset import AssetProcessor
from imgsvc.settings.server import Settings
from imgsvc.worker.arq_worker import QUEUES, build_worker, keep_running
from imgsvc.worker.jobs import WorkerContext
from support.deliveries import pending_delivery
from support.lanes import until
from support.origin_server import OriginServer, WebhookListener

pytestmark = pytest.mark.slow


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Settings with a webhook timeout longer than the test."""
    return settings.model_copy(update={"webhook_timeout": 600})


async def test_an_event_is_delivered_while_more_than_a_workers_jobs_hang(
    resources: Resources, processor: AssetProcessor, origin: OriginServer, listener: WebhookListener
) -> None:
    hanging = "/slow-headers"
    for _ in range(QUEUES[CONTROL_QUEUE] + 10):
        await pending_delivery(resources, origin.url(hanging))
    await pending_delivery(resources, listener.url("/hook"))
    stopping = asyncio.Event()
    build = partial(
        build_worker, CONTROL_QUEUE, WorkerContext(resources, processor, lane_policy(resources.settings), stopping)
    )
    running = asyncio.create_task(keep_running(build, stopping=stopping, drain=0.5))
    await until(lambda: origin.hits(hanging) == 2)
    await listener.wait_for(1, timeout=60)
    assert origin.hits(hanging) == 2
    stopping.set()
    await running
