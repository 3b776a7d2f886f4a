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
from imgsvc.db.queries.reuse import Known
from imgsvc.domain.imaging.spec import Spec
from imgsvc.domain.status import Suspicion
from imgsvc.errors import (
    AssetError,
    ConnectError,
    DecodeError,
    HttpStatusError,
    KilledInQuarantine,
    LeftAtWork,
    Overran,
    QuarantineUnavailable,
    StorageError,
    Unchanged,
    WorkerCrash,
)  # fmt: skip
from imgsvc.services.ports import Fetched, Origin, Room, Validators
from imgsvc.services.processing.fetch import Fetching
from imgsvc.services.processing.outcomes import Failed, Outcome, Postponed, Succeeded, columns
from imgsvc.services.processing.process_asset import Workshop
from imgsvc.services.processing.retry_policy import RetryPolicy
from imgsvc.services.throttling.fair_semaphore import FairGate
from imgsvc.services.throttling.host_limiter import HostPacer
from support.batches import HandClock
from support.codec import NotedQuarantine, codec_pool
from support.lanes import wish
from support.origin_server import picture


@dataclass
class OnePicture:
    """An origin that answers every address with the same picture, but fails where `failing` says so, fetch by fetch."""

    failing: list[bool] = field(default_factory=list)
    unchanged: bool = False
    fetches: int = 0

    async def fetch(self, url: str, room: Room, known: Validators | None = None) -> Fetched:
        self.fetches += 1
        if self.failing and self.failing.pop(0):
            raise ConnectError
        if self.unchanged:
            raise Unchanged
        return Fetched(picture(), None, None, "")


@dataclass
class Shelf:
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
async def make_workshop() -> AsyncIterator[Callable[..., Workshop]]:
    async with AsyncExitStack() as stack:

        def make(
            *,
            origin: Origin | None = None,
            memory: FairGate | None = None,
            quarantine: NotedQuarantine | None = None,
            **parts: Any,
        ) -> Workshop:
            pool = codec_pool(quarantine=quarantine)
            stack.push_async_callback(pool.aclose)
            fetching = Fetching(origin or OnePicture(), HostPacer(maximum=8), FairGate(8), memory or FairGate(2**22))
            defaults: dict[str, Any] = {
                "fetching": fetching, "storage": Shelf(), "codec": pool, "clock": HandClock(),
                "retries": RetryPolicy(base=timedelta(milliseconds=1), patience=timedelta(), own_patience=timedelta()),
            }  # fmt: skip
            return Workshop(**defaults | parts)

        yield make


MakeWorkshop = Callable[..., Workshop]


def claimed(**values: Any) -> Claimed:
    plain: dict[str, Any] = {
        "position": 0,
        "origin_url": "http://shop.example/1.jpg",
        "slug": "shoe",
        "attempts": 0,
        "lost": 0,
    }
    return Claimed(**plain | values)


async def made(workshop: Workshop, asset: Claimed) -> Outcome:
    return await workshop.make(asset, wish("bat_1"))


# -- suspects ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("lost", "apart"), [(0, 0), (1, 1), (9, 1)])
async def test_an_asset_that_a_run_died_with_is_made_in_quarantine(
    make_workshop: MakeWorkshop, lost: int, apart: int
) -> None:
    quarantine = NotedQuarantine()
    outcome = await made(make_workshop(quarantine=quarantine), claimed(lost=lost))
    assert isinstance(outcome, Succeeded)
    assert len(quarantine.pictures) == apart


@pytest.mark.parametrize("error", [WorkerCrash(), DecodeError()])
async def test_what_happens_to_a_suspect_in_quarantine_is_final(make_workshop: MakeWorkshop, error: AssetError) -> None:
    workshop = make_workshop(quarantine=NotedQuarantine(error))
    outcome = await made(workshop, claimed(lost=1))
    assert outcome == Failed(claimed(lost=1), 1, error)
    assert isinstance(await made(workshop, claimed(position=1)), Succeeded)


async def test_a_suspect_waits_while_there_is_no_quarantine(make_workshop: MakeWorkshop) -> None:
    workshop = make_workshop(quarantine=NotedQuarantine(QuarantineUnavailable()))
    outcome = await made(workshop, claimed(lost=1))
    assert isinstance(outcome, Postponed)
    assert (outcome.asset.lost, outcome.attempts) == (1, 0)
    assert timedelta(seconds=1) < outcome.due_at - workshop.clock() < timedelta(seconds=3)


async def test_where_there_never_is_a_quarantine_a_suspect_ends_as_a_fault_of_ours(make_workshop: MakeWorkshop) -> None:
    clock = HandClock()
    workshop = make_workshop(quarantine=NotedQuarantine(QuarantineUnavailable()), clock=clock)
    outcome, took = await runs_of(workshop, clock, claimed(lost=1))
    assert isinstance(outcome, Failed)
    assert outcome.error.code == "internal_error"
    assert timedelta(minutes=2) < took < timedelta(minutes=4)


@pytest.mark.parametrize(
    ("before", "left", "after"),
    [(None, LeftAtWork(), "abandoned"), (None, Overran(), "overran"), ("overran", LeftAtWork(), "overran")],
)
async def test_what_was_left_at_work_comes_back_at_once_as_a_suspect_and_no_death_is_counted(
    make_workshop: MakeWorkshop, before: str | None, left: LeftAtWork, after: str
) -> None:
    workshop = make_workshop(quarantine=NotedQuarantine(left))
    asset = claimed(lost=1, attempts=1, suspicion=before)
    row = columns(await made(workshop, asset), workshop.clock())
    assert (row["status"], row["attempts"], row["lost"], row["due_at"]) == ("pending", 1, 1, workshop.clock())
    assert row["suspicion"] == after


async def test_an_image_that_is_handed_back_again_and_again_is_no_crash(make_workshop: MakeWorkshop) -> None:
    workshop = make_workshop(quarantine=NotedQuarantine(LeftAtWork()))
    asset = claimed(suspicion="abandoned")
    for _ in range(30):
        outcome = await made(workshop, asset)
        assert isinstance(outcome, Postponed)
        asset = outcome.asset
    assert asset.lost == 0


@pytest.mark.parametrize("suspicion", list(Suspicion))
async def test_an_asset_of_which_a_thread_may_still_have_the_image_is_made_in_quarantine(
    make_workshop: MakeWorkshop, suspicion: str
) -> None:
    quarantine = NotedQuarantine()
    assert isinstance(await made(make_workshop(quarantine=quarantine), claimed(suspicion=suspicion)), Succeeded)
    assert len(quarantine.pictures) == 1


# -- patience ---------------------------------------------------------------------------------------------------------

AT_ONCE = RetryPolicy(base=timedelta(), ours=(timedelta(),) * 5)


async def runs_of(workshop: Workshop, clock: HandClock, asset: Claimed | None = None) -> tuple[Outcome, timedelta]:
    """How an asset ends that is taken again as soon as it is due, and how long that took."""
    began, asset = clock(), asset or claimed()
    while isinstance(outcome := await made(workshop, asset), Postponed):
        clock.now = outcome.due_at
        asset = outcome.asset._replace(attempts=outcome.attempts)
    return outcome, clock() - began


async def test_a_storage_that_is_away_for_two_minutes_costs_no_image(make_workshop: MakeWorkshop) -> None:
    clock, shelf = HandClock(), Shelf(refusals=5)
    outcome, took = await runs_of(make_workshop(storage=shelf, clock=clock), clock)
    assert isinstance(outcome, Succeeded)
    assert outcome.attempts == 1
    assert took >= timedelta(minutes=2)
    assert len(shelf.keys) == 1


async def test_a_storage_that_stays_away_is_told(make_workshop: MakeWorkshop) -> None:
    clock, shelf = HandClock(), Shelf(refusals=99)
    outcome, _ = await runs_of(make_workshop(storage=shelf, clock=clock), clock)
    assert isinstance(outcome, Failed)
    assert (outcome.attempts, outcome.error.code) == (1, "storage_error")
    assert len(shelf.calls) == 6


async def test_a_put_that_failed_is_repeated_where_the_bytes_are(make_workshop: MakeWorkshop) -> None:
    origin, memory, held = OnePicture(), FairGate(2**22), list[bool]()
    shelf = Shelf(refusals=3, on_call=lambda: held.append(not memory.idle))
    workshop = make_workshop(origin=origin, storage=shelf, memory=memory, retries=AT_ONCE)
    outcome = await made(workshop, claimed(attempts=1))
    assert isinstance(outcome, Succeeded)
    assert (outcome.attempts, origin.fetches, len(shelf.calls)) == (2, 1, 4)
    assert held == [True] * 4
    assert memory.idle


async def test_a_copy_of_what_was_made_before_is_repeated_without_asking_the_origin_again(
    make_workshop: MakeWorkshop,
) -> None:
    origin, shelf = OnePicture(unchanged=True), Shelf(refusals=3)
    workshop = make_workshop(origin=origin, storage=shelf, retries=AT_ONCE)
    old = {"name": "main", "key": "bat_0/0-shoe-0.jpg", "format": "jpeg", "width": 1, "height": 1, "bytes": 1}
    known = Known("hash", "jpeg", 1, 1, 1, [old], '"1"', None, "")
    outcome = await workshop.make(claimed(), wish("bat_1"), known)
    assert isinstance(outcome, Succeeded)
    assert (origin.fetches, len(shelf.calls)) == (1, 4)


async def test_renditions_do_not_share_the_tries_of_a_flaky_storage(make_workshop: MakeWorkshop) -> None:
    specs = [Spec(), *(Spec(name=f"r{number}", max_width=8 + number) for number in range(5))]
    plan = replace(wish("bat_1"), specs=specs)
    shelf = Shelf(refusals_of_a_key=2)
    outcome = await make_workshop(storage=shelf, retries=AT_ONCE).make(claimed(), plan)
    assert isinstance(outcome, Succeeded)
    assert (len(shelf.keys), outcome.asset.storage_failures) == (6, 2)


@pytest.mark.parametrize("patience", [timedelta(), timedelta(seconds=3)])
async def test_a_storage_that_fails_leaves_the_origin_its_attempts(
    make_workshop: MakeWorkshop, patience: timedelta
) -> None:
    """Two of them fail, and the third brings the image."""
    clock, shelf = HandClock(), Shelf(refusals=4)
    origin = OnePicture(failing=[False, True, False, True, False, False, False])
    retries = RetryPolicy(base=timedelta(), ours=(timedelta(milliseconds=1),) * 5, own_patience=patience)
    workshop = make_workshop(origin=origin, storage=shelf, clock=clock, retries=retries)
    outcome, _ = await runs_of(workshop, clock)
    assert isinstance(outcome, Succeeded)


@pytest.mark.parametrize("trouble", [{"storage": 1}, {"quarantine": 1}, {"storage": 1, "quarantine": 1}])
async def test_an_origin_that_fails_three_times_ends_an_image_whatever_failed_in_between(
    make_workshop: MakeWorkshop, trouble: dict[str, int]
) -> None:
    clock, origin = HandClock(), OnePicture(failing=[True, False, True, False, True])
    quarantine = NotedQuarantine(QuarantineUnavailable() if "quarantine" in trouble else None)
    workshop = make_workshop(origin=origin, storage=Shelf(refusals=99), quarantine=quarantine, clock=clock)
    outcome, _ = await runs_of(workshop, clock, claimed(suspicion="abandoned"))
    assert isinstance(outcome, Failed)
    assert (outcome.error.code, outcome.attempts, origin.fetches) == ("connect_error", 3, 5)


async def test_storage_and_quarantine_have_tries_of_their_own(make_workshop: MakeWorkshop) -> None:
    clock = HandClock()
    asset = claimed(suspicion="abandoned", storage_failures=5)
    away = make_workshop(quarantine=NotedQuarantine(QuarantineUnavailable()), storage=Shelf(refusals=99), clock=clock)
    outcome = await made(away, asset)
    assert isinstance(outcome, Postponed)
    assert (outcome.asset.storage_failures, outcome.asset.quarantine_failures) == (5, 1)
    outcome = await made(make_workshop(storage=Shelf(refusals=99), clock=clock), outcome.asset)
    assert isinstance(outcome, Failed)
    assert outcome.error.code == "storage_error"


async def test_a_process_killed_from_outside_is_tried_again_before_the_image_is_blamed(
    make_workshop: MakeWorkshop,
) -> None:
    quarantine, origin = NotedQuarantine(KilledInQuarantine()), OnePicture()
    workshop = make_workshop(quarantine=quarantine, origin=origin, retries=AT_ONCE)
    outcome = await made(workshop, claimed(suspicion="abandoned"))
    assert isinstance(outcome, Failed)
    assert (outcome.error.code, outcome.attempts) == ("worker_crash", 1)
    assert (len(quarantine.pictures), origin.fetches) == (6, 1)


async def test_a_hand_back_while_storage_is_waited_for_loses_nothing_and_counts_no_attempt(
    make_workshop: MakeWorkshop,
) -> None:
    refused, memory = asyncio.Event(), FairGate(2**22)
    shelf = Shelf(refusals=1, on_call=refused.set)
    retries = RetryPolicy(ours=(timedelta(hours=1),) * 5, own_patience=timedelta(hours=2))
    workshop = make_workshop(storage=shelf, memory=memory, retries=retries)
    making = asyncio.create_task(made(workshop, claimed(attempts=1)))
    await refused.wait()
    await asyncio.sleep(0)
    making.cancel()
    outcome = await making
    assert isinstance(outcome, Postponed)
    assert (outcome.attempts, outcome.asset.lost, outcome.asset.suspicion) == (1, 0, None)
    assert (outcome.due_at, outcome.asset.storage_failures) == (workshop.clock(), 1)  # the put that failed did
    assert memory.idle
    again = await made(workshop, outcome.asset._replace(attempts=outcome.attempts))
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
    policy = RetryPolicy(max_attempts=100_000, ours=(timedelta(seconds=60),) * 100_000)
    waits = [policy.wait(failures, error) for failures in range(1, 5_000)]
    assert all(wait and timedelta() < wait <= 1.5 * policy.longest for wait in waits)


def test_what_will_not_get_better_is_not_tried_again() -> None:
    assert RetryPolicy().wait(1, HttpStatusError(404)) is None
