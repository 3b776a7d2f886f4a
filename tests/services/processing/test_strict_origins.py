"""Origins that respond with 429 above a rate: fetches stay near it, few are refused, and no image is lost."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from time import monotonic

import pytest

from imgsvc.bootstrap import Resources
from imgsvc.errors import HttpStatusError
from imgsvc.services.ports import Fetched, Hops, MemoryBudget, Validators
from imgsvc.services.processing.process_asset import AssetProcessor
from imgsvc.services.throttling.host_limiter import HostLimiter
from support.batches import ManualClock, assets_of, batch_of, submit_batch
from support.databases import ONLY_SQLITE
from support.lanes import fetching_with, work
from support.origin_server import image_bytes


@dataclass
class StrictOrigin:
    """An origin that allows `rate` requests per second, in bursts of up to a fifth of that, and refuses the others."""

    rate: float
    latency: float
    retry_after: float | None = None
    allowance: float = 0
    at: float = field(default_factory=monotonic)
    seen: Counter[str] = field(default_factory=Counter)

    async def fetch(
        self, url: str, budget: MemoryBudget, validators: Validators | None = None, hops: Hops | None = None
    ) -> Fetched:
        now = monotonic()
        self.allowance, self.at = min(self.rate / 5, self.allowance + (now - self.at) * self.rate), now
        allowed = self.allowance >= 1
        self.allowance -= allowed
        self.seen["sent" if allowed else "refused"] += 1
        await asyncio.sleep(self.latency)
        if not allowed:
            raise HttpStatusError(429, retry_after=self.retry_after)
        return Fetched(image_bytes(), etag=None, last_modified=None, final_url_hash="")


@pytest.mark.slow
@ONLY_SQLITE
@pytest.mark.parametrize(
    ("latency", "retry_after"),
    [(0.0, None), (0.15, None), (0.15, 0.5)],
    ids=["no latency", "150 ms latency", "with Retry-After"],
)
async def test_every_image_is_fetched_from_an_origin_that_limits_its_rate(
    resources: Resources, processor: AssetProcessor, clock: ManualClock, latency: float, retry_after: float | None
) -> None:
    origin = StrictOrigin(rate=60, latency=latency, retry_after=retry_after)
    strict = fetching_with(processor, origin=origin, hosts=HostLimiter(maximum=64))
    batch = await submit_batch(resources, [f"http://127.0.0.1/{number}.jpg" for number in range(150)])
    while not (await batch_of(resources.sessions, batch.id)).finished_at:
        await work(batch.id, resources, strict)
        clock.forward(0.1)
    assert {asset.status for asset in await assets_of(resources.sessions, batch.id)} == {"succeeded"}
    assert origin.seen["sent"] == 150
    assert 0 < origin.seen["refused"] < 45
