"""Workers share what they know of a host through the Redis that they have in common."""

import pytest

from imgsvc.bootstrap import Resources, open_asset_processor, open_resources
from imgsvc.errors import HttpStatusError
from imgsvc.services.throttling.flow import Flow
from imgsvc.services.throttling.host_visit import HostPaused
from support.databases import ONLY_SQLITE
from support.stack import until

HOST, FLOW = "shop.example:443", Flow("key", "batch")
pytestmark = ONLY_SQLITE


async def test_a_pause_that_one_worker_is_asked_for_holds_for_the_other(resources: Resources) -> None:
    async with (
        open_resources(resources.settings) as elsewhere,
        open_asset_processor(resources) as one,
        open_asset_processor(elsewhere) as other,
    ):
        with pytest.raises(HostPaused):
            async with one.fetching.hosts.slot(HOST, FLOW):
                raise HttpStatusError(503, retry_after=60)

        async def is_known_there() -> bool:
            await other.fetching.hosts.meet([HOST])
            return other.fetching.hosts.wait(HOST, FLOW) > 50

        await until(is_known_there)
