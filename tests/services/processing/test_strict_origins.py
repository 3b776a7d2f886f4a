"""Origins that answer 429 above a rate: asked near their capacity, refusing little, and losing no image to it."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from time import monotonic

import pytest

from imgsvc.bootstrap import Resources
from imgsvc.errors import HttpStatusError
from imgsvc.services.ports import Fetched, MemoryBudget, Validators
from imgsvc.services.processing.process_asset import AssetProcessor
from imgsvc.services.throttling.host_limiter import HostLimiter
from imgsvc.services.throttling.host_rate import DECREASE, MIN_RATE, PLATEAU, CubicRate
from support.batches import assets_of, submitted
from support.databases import ONLY_SQLITE
from support.lanes import fetching_with, work
from support.origin_server import image_bytes


@dataclass
class StrictOrigin:
    """It answers so many requests a second and refuses the others; a fifth of a second's worth may come at once."""

    rate: float
    latency: float
    retry_after: float | None = None
    left: float = 0
    at: float = field(default_factory=monotonic)
    seen: Counter[str] = field(default_factory=Counter)

    async def fetch(self, url: str, room: MemoryBudget, known: Validators | None = None) -> Fetched:
        now = monotonic()
        self.left, self.at = min(self.rate / 5, self.left + (now - self.at) * self.rate), now
        allowed = self.left >= 1
        self.left -= allowed
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
    ids=["at once", "after 150 ms", "and asks for a rest"],
)
async def test_an_origin_that_refuses_above_a_rate_gives_every_image(
    resources: Resources, processor: AssetProcessor, latency: float, retry_after: float | None
) -> None:
    origin = StrictOrigin(rate=60, latency=latency, retry_after=retry_after)
    bench = fetching_with(processor, origin=origin, hosts=HostLimiter(maximum=64))
    batch = await submitted(resources, [f"http://127.0.0.1/{number}.jpg" for number in range(150)])
    while await work(batch.id, resources, bench):
        pass
    assert {asset.status for asset in await assets_of(resources.sessions, batch.id)} == {"succeeded"}
    assert origin.seen["sent"] == 150
    assert 0 < origin.seen["refused"] < 45


def test_after_a_refusal_the_rate_falls_comes_back_slowly_and_goes_beyond() -> None:
    rate = CubicRate(refused=100, since=50)
    assert rate.at(50) == pytest.approx(100 * DECREASE)
    assert rate.at(50 + PLATEAU) == pytest.approx(100)
    assert rate.at(50 + 2 * PLATEAU) == pytest.approx(100 * (2 - DECREASE))
    assert rate.at(50 + 6 * PLATEAU) > 1_000
    seconds = [50 + n / 10 for n in range(300)]
    assert sorted(seconds, key=rate.at) == seconds


def test_half_of_the_way_is_done_in_a_fifth_of_the_time_and_the_rest_spent_near_what_was_refused() -> None:
    rate = CubicRate(refused=100, since=0)
    assert rate.at(PLATEAU / 5) > 100 * (1 + DECREASE) / 2 - 1
    assert rate.at(PLATEAU / 2) > 96


def test_some_of_the_rate_always_remains() -> None:
    assert CubicRate(refused=0.01, since=0).at(0) == MIN_RATE
