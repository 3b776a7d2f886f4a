"""One asset at a time: suspects are compressed in the sandbox, and outages of our own services are waited out."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest

from imgsvc.db.queries.leases import Claimed
from imgsvc.db.queries.reuse import PreviousResult
from imgsvc.domain.imaging.spec import Spec
from imgsvc.domain.status import Suspicion
from imgsvc.errors import (
    AssetError,
    ConnectError,
    CpuTimeExceeded,
    DecodeAbandoned,
    DecodeError,
    HttpStatusError,
    NotModified,
    SandboxKilled,
    SandboxUnavailable,
    StorageError,
    WorkerCrash,
)  # fmt: skip
from imgsvc.services.ports import Fetched, Hops, MemoryBudget, OpenObject, Origin, Part, Validators
from imgsvc.services.processing.fetch import Fetching
from imgsvc.services.processing.outcomes import Failed, Outcome, Postponed, Succeeded, columns
from imgsvc.services.processing.process_asset import AssetProcessor
from imgsvc.services.processing.retry_policy import RetryPolicy
from imgsvc.services.throttling.fair_semaphore import FairSemaphore
from imgsvc.services.throttling.host_limiter import HostLimiter
from support.batches import ManualClock
from support.codec import RecordingSandbox, codec_pool
from support.lanes import FOLDER, plan
from support.origin_server import image_bytes

KEY = f"{FOLDER}/shoe-1-aaaaaaaaaaaaaaaa.jpg"


@dataclass
class OneImageOrigin:
    """An origin with the same image at every URL; `failing` says for each fetch whether it fails."""

    failing: list[bool] = field(default_factory=list)
    unchanged: bool = False
    fetches: int = 0

    async def fetch(
        self, url: str, budget: MemoryBudget, validators: Validators | None = None, hops: Hops | None = None
    ) -> Fetched:
        self.fetches += 1
        if self.failing and self.failing.pop(0):
            raise HttpStatusError(500)
        if self.unchanged:
            raise NotModified
        return Fetched(image_bytes(), None, None, "")


@dataclass
class FlakyStorage:
    """A storage that refuses the first `refusals` objects, or each key `refusals_of_a_key` times."""

    refusals: int = 0
    refusals_of_a_key: int = 0
    keys: list[str] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    on_call: Callable[[], object] = lambda: None

    async def put(self, key: str, data: bytes, *, media_type: str) -> None:
        self.calls.append(key)
        self.on_call()
        if self.refusals:
            self.refusals -= 1
            raise StorageError
        if self.calls.count(key) <= self.refusals_of_a_key:
            raise StorageError
        self.keys.append(key)

    async def exists(self, key: str) -> bool:
        await self.put(key, b"", media_type="")
        return True

    async def open(self, key: str, part: Part | None = None) -> OpenObject:
        raise NotImplementedError

    async def check(self) -> None:
        raise NotImplementedError


@pytest.fixture
async def make_processor() -> AsyncIterator[Callable[..., AssetProcessor]]:
    async with AsyncExitStack() as stack:

        def make(
            *,
            origin: Origin | None = None,
            memory: FairSemaphore | None = None,
            sandbox: RecordingSandbox | None = None,
            **options: Any,
        ) -> AssetProcessor:
            pool = codec_pool(sandbox=sandbox)
            stack.push_async_callback(pool.aclose)
            fetching = Fetching(
                origin or OneImageOrigin(), HostLimiter(maximum=8), FairSemaphore(8), memory or FairSemaphore(2**22)
            )
            defaults: dict[str, Any] = {
                "fetching": fetching, "storage": FlakyStorage(), "codec": pool, "clock": ManualClock(),
                "retries": RetryPolicy(base=timedelta(milliseconds=1), max_own_wait=timedelta()),
            }  # fmt: skip
            return AssetProcessor(**defaults | options)

        yield make


MakeProcessor = Callable[..., AssetProcessor]


def claimed(**values: Any) -> Claimed:
    plain: dict[str, Any] = {
        "position": 0,
        "origin_url": "http://shop.example/1.jpg",
        "slug": "shoe",
        "attempts": 0,
        "lost": 0,
    }
    return Claimed(**plain | values)


async def process(processor: AssetProcessor, asset: Claimed) -> Outcome:
    return await processor.process(asset, plan("bat_1"))


# -- suspects ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("crashes", "in_sandbox"), [(0, 0), (1, 1), (9, 1)])
async def test_an_asset_that_crashed_a_run_is_compressed_in_the_sandbox(
    make_processor: MakeProcessor, crashes: int, in_sandbox: int
) -> None:
    sandbox = RecordingSandbox()
    outcome = await process(make_processor(sandbox=sandbox), claimed(lost=crashes))
    assert isinstance(outcome, Succeeded)
    assert len(sandbox.images) == in_sandbox


@pytest.mark.parametrize("error", [WorkerCrash(), DecodeError()])
async def test_an_error_of_a_suspect_in_the_sandbox_is_final(make_processor: MakeProcessor, error: AssetError) -> None:
    processor = make_processor(sandbox=RecordingSandbox(error))
    outcome = await process(processor, claimed(lost=1))
    assert outcome == Failed(claimed(lost=1), 1, error)
    assert isinstance(await process(processor, claimed(position=1)), Succeeded)


async def test_a_suspect_waits_while_the_sandbox_is_unavailable(make_processor: MakeProcessor) -> None:
    processor = make_processor(sandbox=RecordingSandbox(SandboxUnavailable()))
    outcome = await process(processor, claimed(lost=1))
    assert isinstance(outcome, Postponed)
    assert (outcome.asset.lost, outcome.attempts) == (1, 0)
    assert timedelta(seconds=1) < outcome.due_at - processor.clock() < timedelta(seconds=3)


async def test_a_suspect_fails_with_an_internal_error_if_no_sandbox_ever_starts(
    make_processor: MakeProcessor,
) -> None:
    clock = ManualClock()
    processor = make_processor(sandbox=RecordingSandbox(SandboxUnavailable()), clock=clock)
    outcome, took = await process_until_done(processor, clock, claimed(lost=1))
    assert isinstance(outcome, Failed)
    assert outcome.error.code == "internal_error"
    assert timedelta(minutes=2) < took < timedelta(minutes=4)


@pytest.mark.parametrize(
    ("before", "error", "after"),
    [
        (None, DecodeAbandoned(), "abandoned"),
        (None, CpuTimeExceeded(), "overran"),
        ("overran", DecodeAbandoned(), "overran"),
    ],
)
async def test_an_abandoned_image_is_due_at_once_as_a_suspect_and_counts_no_crash(
    make_processor: MakeProcessor, before: str | None, error: DecodeAbandoned, after: str
) -> None:
    processor = make_processor(sandbox=RecordingSandbox(error))
    asset = claimed(lost=1, attempts=1, suspicion=before)
    row = columns(await process(processor, asset), processor.clock())
    assert (row["status"], row["attempts"], row["lost"], row["due_at"]) == ("pending", 1, 1, processor.clock())
    assert row["suspicion"] == after


async def test_an_image_that_is_handed_back_again_and_again_counts_no_crash(make_processor: MakeProcessor) -> None:
    processor = make_processor(sandbox=RecordingSandbox(DecodeAbandoned()))
    asset = claimed(suspicion="abandoned")
    for _ in range(30):
        outcome = await process(processor, asset)
        assert isinstance(outcome, Postponed)
        asset = outcome.asset
    assert asset.lost == 0


@pytest.mark.parametrize("suspicion", list(Suspicion))
async def test_an_abandoned_image_is_compressed_in_the_sandbox(make_processor: MakeProcessor, suspicion: str) -> None:
    sandbox = RecordingSandbox()
    assert isinstance(await process(make_processor(sandbox=sandbox), claimed(suspicion=suspicion)), Succeeded)
    assert len(sandbox.images) == 1


# -- outages ----------------------------------------------------------------------------------------------------------

NO_WAITS = RetryPolicy(base=timedelta(), own_waits=(timedelta(),) * 5)


async def process_until_done(
    processor: AssetProcessor, clock: ManualClock, asset: Claimed | None = None
) -> tuple[Outcome, timedelta]:
    """Process an asset again whenever it is due; return its final outcome and the time that it took."""
    began, asset = clock(), asset or claimed()
    while isinstance(outcome := await process(processor, asset), Postponed):
        clock.now = outcome.due_at
        asset = outcome.asset._replace(attempts=outcome.attempts)
    return outcome, clock() - began


async def test_a_storage_outage_of_two_minutes_costs_no_image(make_processor: MakeProcessor) -> None:
    clock, storage = ManualClock(), FlakyStorage(refusals=5)
    outcome, took = await process_until_done(make_processor(storage=storage, clock=clock), clock)
    assert isinstance(outcome, Succeeded)
    assert outcome.attempts == 1
    assert took >= timedelta(minutes=2)
    assert len(storage.keys) == 1


async def test_a_storage_that_stays_unavailable_fails_the_asset(make_processor: MakeProcessor) -> None:
    clock, storage = ManualClock(), FlakyStorage(refusals=99)
    outcome, _ = await process_until_done(make_processor(storage=storage, clock=clock), clock)
    assert isinstance(outcome, Failed)
    assert (outcome.attempts, outcome.error.code) == (1, "storage_error")
    assert len(storage.calls) == 6


async def test_a_failed_put_is_repeated_in_the_same_run(make_processor: MakeProcessor) -> None:
    origin, memory, held = OneImageOrigin(), FairSemaphore(2**22), list[bool]()
    storage = FlakyStorage(refusals=3, on_call=lambda: held.append(not memory.idle))
    processor = make_processor(origin=origin, storage=storage, memory=memory, retries=NO_WAITS)
    outcome = await process(processor, claimed(attempts=1))
    assert isinstance(outcome, Succeeded)
    assert (outcome.attempts, origin.fetches, len(storage.calls)) == (2, 1, 4)
    assert held == [True] * 4
    assert memory.idle


async def test_a_failed_check_for_reuse_is_repeated_without_another_fetch(
    make_processor: MakeProcessor,
) -> None:
    origin, storage = OneImageOrigin(unchanged=True), FlakyStorage(refusals=3)
    processor = make_processor(origin=origin, storage=storage, retries=NO_WAITS)
    old = {"name": "main", "key": KEY, "format": "jpeg", "width": 1, "height": 1, "bytes": 1}
    previous = PreviousResult("hash", "jpeg", 1, 1, 1, [old], '"1"', None, "")
    outcome = await processor.process(claimed(), plan("bat_1"), previous)
    assert isinstance(outcome, Succeeded)
    assert (origin.fetches, len(storage.calls)) == (1, 4)


async def test_each_rendition_has_its_own_attempts_at_a_flaky_storage(make_processor: MakeProcessor) -> None:
    specs = [Spec(), *(Spec(name=f"r{number}", max_width=8 + number) for number in range(5))]
    several = replace(plan("bat_1"), specs=specs)
    storage = FlakyStorage(refusals_of_a_key=2)
    outcome = await make_processor(storage=storage, retries=NO_WAITS).process(claimed(), several)
    assert isinstance(outcome, Succeeded)
    assert (len(storage.keys), outcome.asset.storage_failures) == (6, 2)


@pytest.mark.parametrize("max_wait", [timedelta(), timedelta(seconds=3)])
async def test_failures_of_the_storage_do_not_use_up_the_attempts_at_the_origin(
    make_processor: MakeProcessor, max_wait: timedelta
) -> None:
    """Two attempts fail, and the third fetches the image."""
    clock, storage = ManualClock(), FlakyStorage(refusals=4)
    origin = OneImageOrigin(failing=[False, True, False, True, False, False, False])
    retries = RetryPolicy(base=timedelta(), own_waits=(timedelta(milliseconds=1),) * 5, max_own_wait=max_wait)
    processor = make_processor(origin=origin, storage=storage, clock=clock, retries=retries)
    outcome, _ = await process_until_done(processor, clock)
    assert isinstance(outcome, Succeeded)


@pytest.mark.parametrize("outage", [{"storage": 1}, {"quarantine": 1}, {"storage": 1, "quarantine": 1}])
async def test_three_failures_of_the_origin_fail_the_asset_whatever_failed_between(
    make_processor: MakeProcessor, outage: dict[str, int]
) -> None:
    clock, origin = ManualClock(), OneImageOrigin(failing=[True, False, True, False, True])
    sandbox = RecordingSandbox(SandboxUnavailable() if "quarantine" in outage else None)
    processor = make_processor(origin=origin, storage=FlakyStorage(refusals=99), sandbox=sandbox, clock=clock)
    outcome, _ = await process_until_done(processor, clock, claimed(suspicion="abandoned"))
    assert isinstance(outcome, Failed)
    assert (outcome.error.code, outcome.attempts, origin.fetches) == ("http_500", 3, 5)


async def test_storage_and_sandbox_have_attempts_of_their_own(make_processor: MakeProcessor) -> None:
    clock = ManualClock()
    asset = claimed(suspicion="abandoned", storage_failures=5)
    away = make_processor(
        sandbox=RecordingSandbox(SandboxUnavailable()), storage=FlakyStorage(refusals=99), clock=clock
    )
    outcome = await process(away, asset)
    assert isinstance(outcome, Postponed)
    assert (outcome.asset.storage_failures, outcome.asset.quarantine_failures) == (5, 1)
    outcome = await process(make_processor(storage=FlakyStorage(refusals=99), clock=clock), outcome.asset)
    assert isinstance(outcome, Failed)
    assert outcome.error.code == "storage_error"


async def test_a_killed_sandbox_is_tried_again_before_the_asset_fails(
    make_processor: MakeProcessor,
) -> None:
    sandbox, origin = RecordingSandbox(SandboxKilled()), OneImageOrigin()
    processor = make_processor(sandbox=sandbox, origin=origin, retries=NO_WAITS)
    outcome = await process(processor, claimed(suspicion="abandoned"))
    assert isinstance(outcome, Failed)
    assert (outcome.error.code, outcome.attempts) == ("worker_crash", 1)
    assert (len(sandbox.images), origin.fetches) == (6, 1)


async def test_a_hand_back_during_a_storage_outage_counts_no_attempt(
    make_processor: MakeProcessor,
) -> None:
    refused, memory = asyncio.Event(), FairSemaphore(2**22)
    storage = FlakyStorage(refusals=1, on_call=refused.set)
    retries = RetryPolicy(own_waits=(timedelta(hours=1),) * 5, max_own_wait=timedelta(hours=2))
    processor = make_processor(storage=storage, memory=memory, retries=retries)
    processing = asyncio.create_task(process(processor, claimed(attempts=1)))
    await refused.wait()
    await asyncio.sleep(0)
    processing.cancel()
    outcome = await processing
    assert isinstance(outcome, Postponed)
    assert (outcome.attempts, outcome.asset.lost, outcome.asset.suspicion) == (1, 0, None)
    assert (outcome.due_at, outcome.asset.storage_failures) == (processor.clock(), 1)  # the failed put counts
    assert memory.idle
    again = await process(processor, outcome.asset._replace(attempts=outcome.attempts))
    assert isinstance(again, Succeeded)
    assert again.attempts == 2


@pytest.mark.parametrize("attempts", [1, 2])
def test_an_origin_gets_three_attempts(attempts: int) -> None:
    policy = RetryPolicy()
    assert policy.wait(attempts, ConnectError()) is not None
    assert policy.wait(3, ConnectError()) is None


def test_a_wait_is_never_shorter_than_retry_after() -> None:
    wait = RetryPolicy().wait(1, HttpStatusError(503, retry_after=77.0))
    assert wait == timedelta(seconds=77)


@pytest.mark.parametrize("error", [ConnectError(), StorageError()])
def test_the_wait_is_bounded_for_any_number_of_failures(error: AssetError) -> None:
    policy = RetryPolicy(max_attempts=100_000, own_waits=(timedelta(seconds=60),) * 100_000)
    waits = [policy.wait(failures, error) for failures in range(1, 5_000)]
    assert all(wait and timedelta() < wait <= 1.5 * policy.longest for wait in waits)


def test_a_permanent_error_is_not_tried_again() -> None:
    assert RetryPolicy().wait(1, HttpStatusError(404)) is None
