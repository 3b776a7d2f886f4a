"""Origins of a simulation: what they allow, how long they take, and what they answer to the rest."""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from math import ceil

from imgsvc.errors import AssetError, HttpStatusError, ReadTimeout
from imgsvc.services.ports import Fetched, Hops, MemoryBudget, Validators
from support.origin_server import image_bytes

READ_TIMEOUT = 15.0
ROUND_TRIP = 0.002
"""Seconds until a refusal arrives."""
Refusal = Callable[[], AssetError]


@dataclass
class ModelOrigin:
    """An origin that answers after `latency` seconds; the others are kinds of it. Counts in `seen`."""

    latency: float = 0.15
    seen: Counter[str] = field(default_factory=Counter)
    in_flight: int = 0
    most_in_flight: int = 0
    peak_at: float = 0
    """When most were in flight, for the first time."""
    asked_at: list[float] = field(default_factory=list)

    async def fetch(
        self, url: str, budget: MemoryBudget, validators: Validators | None = None, hops: Hops | None = None
    ) -> Fetched:
        assert hops is not None
        async with hops.request(url) as note_answer:
            self.in_flight += 1
            if self.in_flight > self.most_in_flight:
                self.most_in_flight, self.peak_at = self.in_flight, self.now
            self.asked_at.append(self.now)
            try:
                async with asyncio.timeout(READ_TIMEOUT):
                    await self.respond(url)
            except TimeoutError as exc:
                self.seen["timed out"] += 1
                raise ReadTimeout from exc
            except AssetError:
                self.seen["refused"] += 1
                raise
            finally:
                self.in_flight -= 1
            note_answer()
            await self.transfer(url)
        self.seen["sent"] += 1
        return Fetched(image_bytes(), None, None, "")

    @property
    def now(self) -> float:
        return asyncio.get_running_loop().time()

    async def respond(self, url: str) -> None:
        """Wait for the headers; raise what the origin refuses with."""
        await asyncio.sleep(self.latency)

    async def transfer(self, url: str) -> None:
        """Wait for the body."""


@dataclass
class QueuedOrigin(ModelOrigin):
    """Works on `places` requests at once, in order, and lets the others wait; it does not see that a client is gone."""

    places: int = 2

    def __post_init__(self) -> None:
        self._free_at = [0.0] * self.places

    async def respond(self, url: str) -> None:
        self._free_at.sort()
        done_at = self._free_at[0] = max(self._free_at[0], self.now) + self.latency
        await asyncio.sleep(done_at - self.now)


@dataclass
class CappedOrigin(ModelOrigin):
    """Works on `places` requests at once and refuses the others at once."""

    places: int = 8
    refusal: Refusal = ReadTimeout
    busy: int = 0

    async def respond(self, url: str) -> None:
        if self.busy >= self.places:
            await asyncio.sleep(ROUND_TRIP)
            raise self.refusal()
        self.busy += 1
        try:
            await asyncio.sleep(self.latency)
        finally:
            self.busy -= 1


@dataclass
class AwayOrigin(ModelOrigin):
    """Refuses everything for `seconds`, from a second after the first request on."""

    seconds: float = 15.0
    refusal: Refusal = ReadTimeout
    after: float = 1.0

    async def respond(self, url: str) -> None:
        if self.after <= self.now - self.asked_at[0] < self.after + self.seconds:
            await asyncio.sleep(ROUND_TRIP)
            raise self.refusal()
        await asyncio.sleep(self.latency)


@dataclass
class RatedOrigin(ModelOrigin):
    """Allows `rate` requests per second, in bursts of up to `burst`, and refuses the others."""

    rate: float = 50.0
    burst: float = 10.0
    refusal: Refusal = ReadTimeout
    _allowance: float = 0.0
    _at: float = 0.0

    async def respond(self, url: str) -> None:
        self._allowance = min(self.burst, self._allowance + (self.now - self._at) * self.rate)
        self._at = self.now
        is_allowed = self._allowance >= 1
        self._allowance -= is_allowed
        await asyncio.sleep(self.latency)
        if not is_allowed:
            raise self.refusal()


@dataclass
class CountingOrigin(ModelOrigin):
    """Allows 60 requests in each minute of its clock, and answers the others with a 429."""

    retry_after: bool = False
    _counts: Counter[int] = field(default_factory=Counter)

    async def respond(self, url: str) -> None:
        minute = int(self.now // 60)
        self._counts[minute] += 1
        is_allowed = self._counts[minute] <= 60
        rest = (minute + 1) * 60 - self.now
        await asyncio.sleep(self.latency)
        if not is_allowed:
            raise HttpStatusError(429, retry_after=ceil(rest) if self.retry_after else None)
