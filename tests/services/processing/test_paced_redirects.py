"""Redirects to another host wait for that host, and its refusals count there."""

import pytest

from imgsvc.bootstrap import Resources
from imgsvc.errors import HttpStatusError
from imgsvc.services.processing.process_asset import AssetProcessor
from imgsvc.services.throttling.flow import Flow
from imgsvc.services.throttling.host_visit import HostPaused
from support.databases import ONLY_SQLITE
from support.origin_server import OriginServer, image_bytes

FLOW = Flow("key", "batch")
pytestmark = ONLY_SQLITE


async def test_a_refusal_by_the_target_of_a_redirect_pauses_the_target(
    resources: Resources, processor: AssetProcessor, origin: OriginServer
) -> None:
    hosts = processor.fetching.hosts
    async with OriginServer() as target:
        url = target.serve("/busy.jpg", b"", status=503, headers={"Retry-After": "60"})
        first = origin.serve("/a.jpg", b"", status=302, headers={"Location": url})
        with pytest.raises(HostPaused):
            await processor.fetching.fetch(first, FLOW, None)
        assert hosts.hosts[f"127.0.0.1:{target.port}"].paused_until
        assert not hosts.hosts[f"127.0.0.1:{origin.port}"].paused_until
        assert hosts.hosts[f"127.0.0.1:{origin.port}"].availability.streak == 1
        assert hosts.reserve(f"127.0.0.1:{origin.port}", FLOW, 5) == []
        with pytest.raises(HostPaused):
            await processor.fetching.fetch(first, FLOW, None)
        assert len(target.requests) == 1


async def test_a_redirect_within_a_host_takes_one_slot(
    resources: Resources, processor: AssetProcessor, origin: OriginServer
) -> None:
    first = origin.serve("/a.jpg", b"", status=302, headers={"Location": "/b.jpg"})
    origin.serve("/b.jpg", image_bytes())
    host = f"127.0.0.1:{origin.port}"
    hosts = processor.fetching.hosts
    hosts.wait(host, FLOW)
    hosts.hosts[host].set_share(0.001)
    fetched, reservation = await processor.fetching.fetch(first, FLOW, None)
    assert fetched is not None
    reservation.release()
    assert processor.fetching.hosts.hosts[host].booked == 0


async def test_an_own_failure_at_the_target_is_not_the_first_hosts(
    resources: Resources, processor: AssetProcessor, origin: OriginServer
) -> None:
    async with OriginServer() as target:
        first = origin.serve("/a.jpg", b"", status=302, headers={"Location": target.url("/status/404")})
        with pytest.raises(HttpStatusError):
            await processor.fetching.fetch(first, FLOW, None)
        for server in (origin, target):
            assert processor.fetching.hosts.hosts[f"127.0.0.1:{server.port}"].availability.error is None
