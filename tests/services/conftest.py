"""Fixtures for the tests of services: resources on a clock that tests set, and what a worker processes assets with."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest

from imgsvc.bootstrap import Resources, open_asset_processor
from imgsvc.services.processing.process_asset import AssetProcessor
from imgsvc.services.processing.retry_policy import RetryPolicy
from imgsvc.services.throttling.host_limiter import HostLimiter
from imgsvc.settings.server import Settings
from support.audits import AuditedService, open_audited_service
from support.batches import ManualClock, RecordingQueue
from support.lanes import fetching_with
from support.origin_server import OriginServer, WebhookListener
from support.polling import LONG_TIMEOUT_SETTINGS


@pytest.fixture(params=["sqlite", "postgres"])
def database_kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update=LONG_TIMEOUT_SETTINGS)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def queue() -> RecordingQueue:
    return RecordingQueue()


@pytest.fixture
def resources(resources: Resources, clock: ManualClock) -> Resources:
    """The resources, on a clock that tests set."""
    return replace(resources, clock=clock)


@pytest.fixture
async def processor(resources: Resources) -> AsyncIterator[AssetProcessor]:
    """The asset processor of a worker, with short waits between attempts, and hosts limited on the tests' clock."""
    hosts = HostLimiter(maximum=64, clock=lambda: resources.clock().timestamp())
    async with open_asset_processor(resources) as processor:
        yield fetching_with(replace(processor, retries=RetryPolicy(base=timedelta(milliseconds=5))), hosts=hosts)


@pytest.fixture
async def shop(
    resources: Resources, processor: AssetProcessor, origin: OriginServer, listener: WebhookListener, clock: ManualClock
) -> AuditedService:
    return await open_audited_service(resources, processor, origin, listener, clock)
