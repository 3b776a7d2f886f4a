"""What becomes of one asset: suspects are made in quarantine, and what is our own fault is borne with patience."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from batches_at_hand import HandClock
from codecs_at_hand import NotedQuarantine, codec_pool
from imgsvc.db.queries.claims import Claimed
from imgsvc.errors import (
    AssetError,
    ConnectError,
    DecodeError,
    HttpStatusError,
    LeftAtWork,
    QuarantineUnavailable,
    StorageError,
    WorkerCrash,
)  # fmt: skip
from imgsvc.services.assets import Workshop
from imgsvc.services.backoff import RetryPolicy
from imgsvc.services.fairness import FairGate
from imgsvc.services.outcomes import Failed, Outcome, Postponed, Succeeded, columns
from imgsvc.services.pacing import HostPacer
from imgsvc.services.ports import Fetched, Room, Validators
from lanes_at_hand import wish
from origin_server import picture


class OnePicture:
    """An origin that answers every address with the same picture."""

    async def fetch(self, url: str, room: Room, known: Validators | None = None) -> Fetched:
        return Fetched(picture(), None, None, "")


@dataclass
class Shelf:
    """A storage that refuses what it is given until `refusals` are used up."""

    refusals: int = 0
    keys: list[str] = field(default_factory=list)

    async def put(self, key: str, data: bytes, *, media_type: str) -> None:
        if self.refusals:
            self.refusals -= 1
            raise StorageError
        self.keys.append(key)

    async def copy(self, source: str, key: str) -> bool:
        raise NotImplementedError

    async def locate(self, key: str) -> Path | str | None:
        raise NotImplementedError

    async def check(self) -> None:
        raise NotImplementedError


@pytest.fixture
async def make_workshop() -> AsyncIterator[Callable[..., Workshop]]:
    async with AsyncExitStack() as stack:

        def make(*, quarantine: NotedQuarantine | None = None, **parts: Any) -> Workshop:
            pool = codec_pool(quarantine=quarantine)
            stack.push_async_callback(pool.aclose)
            defaults: dict[str, Any] = {
                "origin": OnePicture(), "storage": Shelf(), "codec": pool, "clock": HandClock(),
                "hosts": HostPacer(maximum=8), "fetches": FairGate(8), "memory": FairGate(2**22),
                "retries": RetryPolicy(patience=timedelta()),
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
    assert (outcome.asset.lost, outcome.attempts) == (1, 1)
    assert timedelta(seconds=1) < outcome.due_at - workshop.clock() < timedelta(seconds=3)


async def test_where_there_never_is_a_quarantine_a_suspect_ends_as_a_fault_of_ours(make_workshop: MakeWorkshop) -> None:
    clock = HandClock()
    workshop = make_workshop(quarantine=NotedQuarantine(QuarantineUnavailable()), clock=clock)
    outcome, took = await runs_of(workshop, clock, claimed(lost=1))
    assert isinstance(outcome, Failed)
    assert outcome.error.code == "internal_error"
    assert timedelta(minutes=2) < took < timedelta(minutes=4)


async def test_what_was_left_at_work_comes_back_at_once_as_more_of_a_suspect(make_workshop: MakeWorkshop) -> None:
    workshop = make_workshop(quarantine=NotedQuarantine(LeftAtWork()))
    outcome = await made(workshop, claimed(lost=1, attempts=1))
    row = columns(outcome, workshop.clock())
    assert (row["status"], row["attempts"], row["lost"], row["due_at"]) == ("pending", 1, 2, workshop.clock())


# -- patience ---------------------------------------------------------------------------------------------------------


async def runs_of(workshop: Workshop, clock: HandClock, asset: Claimed | None = None) -> tuple[Outcome, timedelta]:
    """How an asset ends that is taken again as soon as it is due, and how long that took."""
    began, asset = clock(), asset or claimed()
    while isinstance(outcome := await made(workshop, asset), Postponed):
        clock.now = outcome.due_at
        asset = asset._replace(attempts=outcome.attempts)
    return outcome, clock() - began


async def test_a_storage_that_is_away_for_two_minutes_costs_no_image(make_workshop: MakeWorkshop) -> None:
    clock, shelf = HandClock(), Shelf(refusals=5)
    outcome, took = await runs_of(make_workshop(storage=shelf, clock=clock), clock)
    assert isinstance(outcome, Succeeded)
    assert outcome.attempts == 6
    assert took >= timedelta(minutes=2)
    assert len(shelf.keys) == 1


async def test_a_storage_that_stays_away_is_told(make_workshop: MakeWorkshop) -> None:
    clock = HandClock()
    outcome, _ = await runs_of(make_workshop(storage=Shelf(refusals=99), clock=clock), clock)
    assert isinstance(outcome, Failed)
    assert (outcome.attempts, outcome.error.code) == (6, "storage_error")


@pytest.mark.parametrize("attempts", [1, 2])
def test_an_origin_is_asked_three_times(attempts: int) -> None:
    policy = RetryPolicy()
    assert policy.wait(attempts, ConnectError()) is not None
    assert policy.wait(3, ConnectError()) is None


def test_an_origin_that_says_when_to_come_back_is_not_asked_before() -> None:
    wait = RetryPolicy().wait(1, HttpStatusError(503, retry_after=77.0))
    assert wait == timedelta(seconds=77)


def test_what_will_not_get_better_is_not_tried_again() -> None:
    assert RetryPolicy().wait(1, HttpStatusError(404)) is None
