"""What becomes of one asset: suspects are made in quarantine, and what is our own fault is borne with patience."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from imgsvc.db.queries.leases import Claimed
from imgsvc.db.queries.reuse import PreviousResult
from imgsvc.domain.imaging.spec import Spec
from imgsvc.domain.status import Suspicion
from imgsvc.errors import (
    AssetError,
    ConnectError,
    DecodeAbandoned,
    DecodeError,
    HttpStatusError,
    Overran,
    SandboxKilled,
    SandboxUnavailable,
    StorageError,
    Unchanged,
    WorkerCrash,
)  # fmt: skip
from imgsvc.services.ports import Fetched, MemoryBudget, Origin, Validators
from imgsvc.services.processing.fetch import Fetching
from imgsvc.services.processing.outcomes import Failed, Outcome, Postponed, Succeeded, columns
from imgsvc.services.processing.process_asset import AssetProcessor
from imgsvc.services.processing.retry_policy import RetryPolicy
from imgsvc.services.throttling.fair_semaphore import FairSemaphore
from imgsvc.services.throttling.host_limiter import HostLimiter
from support.batches import HandClock
from support.codec import NotedQuarantine, codec_pool
from support.lanes import plan
from support.origin_server import image_bytes


@dataclass
class OnePicture:
    """An origin that answers every address with the same image, but fails where `failing` says so, fetch by fetch."""

    failing: list[bool] = field(default_factory=list)
    unchanged: bool = False
    fetches: int = 0

    async def fetch(self, url: str, room: MemoryBudget, known: Validators | None = None) -> Fetched:
        self.fetches += 1
        if self.failing and self.failing.pop(0):
            raise ConnectError
        if self.unchanged:
            raise Unchanged
        return Fetched(image_bytes(), None, None, "")


@dataclass
class ObjectReader:
    """A storage that refuses what it is given until `refusals` are used up, or each key so often."""

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

    async def copy(self, source: str, key: str) -> bool:
        await self.put(key, b"", media_type="")
        return True

    async def locate(self, key: str) -> Path | str | None:
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
            quarantine: NotedQuarantine | None = None,
            **options: Any,
        ) -> AssetProcessor:
            pool = codec_pool(quarantine=quarantine)
            stack.push_async_callback(pool.aclose)
            fetching = Fetching(
                origin or OnePicture(), HostLimiter(maximum=8), FairSemaphore(8), memory or FairSemaphore(2**22)
            )
            defaults: dict[str, Any] = {
                "fetching": fetching, "storage": ObjectReader(), "codec": pool, "clock": HandClock(),
                "retries": RetryPolicy(base=timedelta(milliseconds=1), patience=timedelta(), own_patience=timedelta()),
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


async def made(processor: AssetProcessor, asset: Claimed) -> Outcome:
    return await processor.process(asset, plan("bat_1"))


# -- suspects ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("lost", "apart"), [(0, 0), (1, 1), (9, 1)])
async def test_an_asset_that_a_run_died_with_is_made_in_quarantine(
    make_processor: MakeProcessor, lost: int, apart: int
) -> None:
    quarantine = NotedQuarantine()
    outcome = await made(make_processor(quarantine=quarantine), claimed(lost=lost))
    assert isinstance(outcome, Succeeded)
    assert len(quarantine.images) == apart


@pytest.mark.parametrize("error", [WorkerCrash(), DecodeError()])
async def test_what_happens_to_a_suspect_in_quarantine_is_final(
    make_processor: MakeProcessor, error: AssetError
) -> None:
    processor = make_processor(quarantine=NotedQuarantine(error))
    outcome = await made(processor, claimed(lost=1))
    assert outcome == Failed(claimed(lost=1), 1, error)
    assert isinstance(await made(processor, claimed(position=1)), Succeeded)


async def test_a_suspect_waits_while_there_is_no_quarantine(make_processor: MakeProcessor) -> None:
    processor = make_processor(quarantine=NotedQuarantine(SandboxUnavailable()))
    outcome = await made(processor, claimed(lost=1))
    assert isinstance(outcome, Postponed)
    assert (outcome.asset.lost, outcome.attempts) == (1, 0)
    assert timedelta(seconds=1) < outcome.due_at - processor.clock() < timedelta(seconds=3)


async def test_where_there_never_is_a_quarantine_a_suspect_ends_as_a_fault_of_ours(
    make_processor: MakeProcessor,
) -> None:
    clock = HandClock()
    processor = make_processor(quarantine=NotedQuarantine(SandboxUnavailable()), clock=clock)
    outcome, took = await runs_of(processor, clock, claimed(lost=1))
    assert isinstance(outcome, Failed)
    assert outcome.error.code == "internal_error"
    assert timedelta(minutes=2) < took < timedelta(minutes=4)


@pytest.mark.parametrize(
    ("before", "left", "after"),
    [(None, DecodeAbandoned(), "abandoned"), (None, Overran(), "overran"), ("overran", DecodeAbandoned(), "overran")],
)
async def test_what_was_left_at_work_comes_back_at_once_as_a_suspect_and_no_death_is_counted(
    make_processor: MakeProcessor, before: str | None, left: DecodeAbandoned, after: str
) -> None:
    processor = make_processor(quarantine=NotedQuarantine(left))
    asset = claimed(lost=1, attempts=1, suspicion=before)
    row = columns(await made(processor, asset), processor.clock())
    assert (row["status"], row["attempts"], row["lost"], row["due_at"]) == ("pending", 1, 1, processor.clock())
    assert row["suspicion"] == after


async def test_an_image_that_is_handed_back_again_and_again_is_no_crash(make_processor: MakeProcessor) -> None:
    processor = make_processor(quarantine=NotedQuarantine(DecodeAbandoned()))
    asset = claimed(suspicion="abandoned")
    for _ in range(30):
        outcome = await made(processor, asset)
        assert isinstance(outcome, Postponed)
        asset = outcome.asset
    assert asset.lost == 0


@pytest.mark.parametrize("suspicion", list(Suspicion))
async def test_an_asset_of_which_a_thread_may_still_have_the_image_is_made_in_quarantine(
    make_processor: MakeProcessor, suspicion: str
) -> None:
    quarantine = NotedQuarantine()
    assert isinstance(await made(make_processor(quarantine=quarantine), claimed(suspicion=suspicion)), Succeeded)
    assert len(quarantine.images) == 1


# -- patience ---------------------------------------------------------------------------------------------------------

AT_ONCE = RetryPolicy(base=timedelta(), own_waits=(timedelta(),) * 5)


async def runs_of(
    processor: AssetProcessor, clock: HandClock, asset: Claimed | None = None
) -> tuple[Outcome, timedelta]:
    """How an asset ends that is taken again as soon as it is due, and how long that took."""
    began, asset = clock(), asset or claimed()
    while isinstance(outcome := await made(processor, asset), Postponed):
        clock.now = outcome.due_at
        asset = outcome.asset._replace(attempts=outcome.attempts)
    return outcome, clock() - began


async def test_a_storage_that_is_away_for_two_minutes_costs_no_image(make_processor: MakeProcessor) -> None:
    clock, reader = HandClock(), ObjectReader(refusals=5)
    outcome, took = await runs_of(make_processor(storage=reader, clock=clock), clock)
    assert isinstance(outcome, Succeeded)
    assert outcome.attempts == 1
    assert took >= timedelta(minutes=2)
    assert len(reader.keys) == 1


async def test_a_storage_that_stays_away_is_told(make_processor: MakeProcessor) -> None:
    clock, reader = HandClock(), ObjectReader(refusals=99)
    outcome, _ = await runs_of(make_processor(storage=reader, clock=clock), clock)
    assert isinstance(outcome, Failed)
    assert (outcome.attempts, outcome.error.code) == (1, "storage_error")
    assert len(reader.calls) == 6


async def test_a_put_that_failed_is_repeated_where_the_bytes_are(make_processor: MakeProcessor) -> None:
    origin, memory, held = OnePicture(), FairSemaphore(2**22), list[bool]()
    reader = ObjectReader(refusals=3, on_call=lambda: held.append(not memory.idle))
    processor = make_processor(origin=origin, storage=reader, memory=memory, retries=AT_ONCE)
    outcome = await made(processor, claimed(attempts=1))
    assert isinstance(outcome, Succeeded)
    assert (outcome.attempts, origin.fetches, len(reader.calls)) == (2, 1, 4)
    assert held == [True] * 4
    assert memory.idle


async def test_a_copy_of_what_was_made_before_is_repeated_without_asking_the_origin_again(
    make_processor: MakeProcessor,
) -> None:
    origin, reader = OnePicture(unchanged=True), ObjectReader(refusals=3)
    processor = make_processor(origin=origin, storage=reader, retries=AT_ONCE)
    old = {"name": "main", "key": "bat_0/0-shoe-0.jpg", "format": "jpeg", "width": 1, "height": 1, "bytes": 1}
    known = PreviousResult("hash", "jpeg", 1, 1, 1, [old], '"1"', None, "")
    outcome = await processor.process(claimed(), plan("bat_1"), known)
    assert isinstance(outcome, Succeeded)
    assert (origin.fetches, len(reader.calls)) == (1, 4)


async def test_renditions_do_not_share_the_tries_of_a_flaky_storage(make_processor: MakeProcessor) -> None:
    specs = [Spec(), *(Spec(name=f"r{number}", max_width=8 + number) for number in range(5))]
    several = replace(plan("bat_1"), specs=specs)
    reader = ObjectReader(refusals_of_a_key=2)
    outcome = await make_processor(storage=reader, retries=AT_ONCE).process(claimed(), several)
    assert isinstance(outcome, Succeeded)
    assert (len(reader.keys), outcome.asset.storage_failures) == (6, 2)


@pytest.mark.parametrize("patience", [timedelta(), timedelta(seconds=3)])
async def test_a_storage_that_fails_leaves_the_origin_its_attempts(
    make_processor: MakeProcessor, patience: timedelta
) -> None:
    """Two of them fail, and the third brings the image."""
    clock, reader = HandClock(), ObjectReader(refusals=4)
    origin = OnePicture(failing=[False, True, False, True, False, False, False])
    retries = RetryPolicy(base=timedelta(), own_waits=(timedelta(milliseconds=1),) * 5, own_patience=patience)
    processor = make_processor(origin=origin, storage=reader, clock=clock, retries=retries)
    outcome, _ = await runs_of(processor, clock)
    assert isinstance(outcome, Succeeded)


@pytest.mark.parametrize("trouble", [{"storage": 1}, {"quarantine": 1}, {"storage": 1, "quarantine": 1}])
async def test_an_origin_that_fails_three_times_ends_an_image_whatever_failed_in_between(
    make_processor: MakeProcessor, trouble: dict[str, int]
) -> None:
    clock, origin = HandClock(), OnePicture(failing=[True, False, True, False, True])
    quarantine = NotedQuarantine(SandboxUnavailable() if "quarantine" in trouble else None)
    processor = make_processor(origin=origin, storage=ObjectReader(refusals=99), quarantine=quarantine, clock=clock)
    outcome, _ = await runs_of(processor, clock, claimed(suspicion="abandoned"))
    assert isinstance(outcome, Failed)
    assert (outcome.error.code, outcome.attempts, origin.fetches) == ("connect_error", 3, 5)


async def test_storage_and_quarantine_have_tries_of_their_own(make_processor: MakeProcessor) -> None:
    clock = HandClock()
    asset = claimed(suspicion="abandoned", storage_failures=5)
    away = make_processor(
        quarantine=NotedQuarantine(SandboxUnavailable()), storage=ObjectReader(refusals=99), clock=clock
    )
    outcome = await made(away, asset)
    assert isinstance(outcome, Postponed)
    assert (outcome.asset.storage_failures, outcome.asset.quarantine_failures) == (5, 1)
    outcome = await made(make_processor(storage=ObjectReader(refusals=99), clock=clock), outcome.asset)
    assert isinstance(outcome, Failed)
    assert outcome.error.code == "storage_error"


async def test_a_process_killed_from_outside_is_tried_again_before_the_image_is_blamed(
    make_processor: MakeProcessor,
) -> None:
    quarantine, origin = NotedQuarantine(SandboxKilled()), OnePicture()
    processor = make_processor(quarantine=quarantine, origin=origin, retries=AT_ONCE)
    outcome = await made(processor, claimed(suspicion="abandoned"))
    assert isinstance(outcome, Failed)
    assert (outcome.error.code, outcome.attempts) == ("worker_crash", 1)
    assert (len(quarantine.images), origin.fetches) == (6, 1)


async def test_a_hand_back_while_storage_is_waited_for_loses_nothing_and_counts_no_attempt(
    make_processor: MakeProcessor,
) -> None:
    refused, memory = asyncio.Event(), FairSemaphore(2**22)
    reader = ObjectReader(refusals=1, on_call=refused.set)
    retries = RetryPolicy(own_waits=(timedelta(hours=1),) * 5, own_patience=timedelta(hours=2))
    processor = make_processor(storage=reader, memory=memory, retries=retries)
    making = asyncio.create_task(made(processor, claimed(attempts=1)))
    await refused.wait()
    await asyncio.sleep(0)
    making.cancel()
    outcome = await making
    assert isinstance(outcome, Postponed)
    assert (outcome.attempts, outcome.asset.lost, outcome.asset.suspicion) == (1, 0, None)
    assert (outcome.due_at, outcome.asset.storage_failures) == (processor.clock(), 1)  # the put that failed did
    assert memory.idle
    again = await made(processor, outcome.asset._replace(attempts=outcome.attempts))
    assert isinstance(again, Succeeded)
    assert again.attempts == 2


@pytest.mark.parametrize("attempts", [1, 2])
def test_an_origin_is_asked_three_times(attempts: int) -> None:
    policy = RetryPolicy()
    assert policy.wait(attempts, ConnectError()) is not None
    assert policy.wait(3, ConnectError()) is None


def test_an_origin_that_says_when_to_come_back_is_not_asked_before() -> None:
    wait = RetryPolicy().wait(1, HttpStatusError(503, retry_after=77.0))
    assert wait == timedelta(seconds=77)


@pytest.mark.parametrize("error", [ConnectError(), StorageError()])
def test_no_number_of_failures_is_too_large_to_wait_after(error: AssetError) -> None:
    policy = RetryPolicy(max_attempts=100_000, own_waits=(timedelta(seconds=60),) * 100_000)
    waits = [policy.wait(failures, error) for failures in range(1, 5_000)]
    assert all(wait and timedelta() < wait <= 1.5 * policy.longest for wait in waits)


def test_what_will_not_get_better_is_not_tried_again() -> None:
    assert RetryPolicy().wait(1, HttpStatusError(404)) is None
