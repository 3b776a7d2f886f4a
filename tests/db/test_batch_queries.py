"""Statements on batches and deliveries: only allowed moves are made, and each attempt is recorded once."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from imgsvc.db.engine import Sessions
from imgsvc.db.queries import batches, counters, deliveries
from imgsvc.db.queries.api_keys import LOCAL_KEY
from imgsvc.db.queries.counters import CounterDeltas, Counters
from imgsvc.db.tables import Delivery, DeliveryAttempt
from imgsvc.domain.status import BATCH_MOVES, BatchStatus, DeliveryStatus
from support.batches import asset_row, attempts_of, batch_of, batch_row, deliveries_of, delivery_row, store

NOW = datetime(2026, 11, 2, 9, 30, tzinfo=UTC)
LATER = NOW + timedelta(minutes=5)


async def move(sessions: Sessions, batch_id: str, target: BatchStatus, **values: Any) -> bool:
    async with sessions.write() as session:
        return await batches.move(session, batch_id, target, **values)


@pytest.mark.parametrize("source", BatchStatus)
@pytest.mark.parametrize("target", BatchStatus)
async def test_a_batch_makes_only_the_moves_that_the_table_allows(
    sessions: Sessions, source: BatchStatus, target: BatchStatus
) -> None:
    await store(sessions, batch_row("bat_1", NOW, status=source), batch_row("bat_2", NOW, status=source))
    allowed = source in BATCH_MOVES[target]
    assert await move(sessions, "bat_1", target, finished_at=LATER) is allowed
    batch = await batch_of(sessions, "bat_1")
    assert (batch.status, batch.version) == ((target, 2) if allowed else (source, 1))
    assert batch.finished_at == (LATER if allowed else None)
    assert (await batch_of(sessions, "bat_2")).status == source


async def test_a_repeated_move_changes_nothing(sessions: Sessions) -> None:
    await store(sessions, batch_row("bat_1", NOW))
    assert await move(sessions, "bat_1", BatchStatus.PROCESSING, started_at=NOW)
    assert not await move(sessions, "bat_1", BatchStatus.PROCESSING, started_at=LATER)
    assert (await batch_of(sessions, "bat_1")).started_at == NOW


async def add(sessions: Sessions, deltas: CounterDeltas, **conditions: Any) -> Counters | None:
    async with sessions.write() as session:
        return await counters.add(session, "bat_1", deltas, **{"round_number": 1, **conditions})


async def test_deltas_are_added_to_the_counters_with_a_new_version(sessions: Sessions) -> None:
    await store(sessions, batch_row("bat_1", NOW, failed=2, processing=8, errors={"http_404": 2}))
    deltas = CounterDeltas(processing=-8, succeeded=7, failed=1, input_bytes=2**40, output_bytes=2**39)
    deltas.errors.update(http_404=-1, read_timeout=2)
    added = await add(sessions, deltas)
    assert added and added.open == 0
    batch = await batch_of(sessions, "bat_1")
    assert (batch.version, batch.processing, batch.succeeded, batch.failed) == (2, 0, 7, 3)
    assert (batch.input_bytes, batch.output_bytes) == (2**40, 2**39)
    assert batch.errors == added.errors == {"http_404": 1, "read_timeout": 2}


async def test_an_error_that_no_asset_has_any_more_is_not_counted(sessions: Sessions) -> None:
    await store(sessions, batch_row("bat_1", NOW, failed=2, errors={"http_404": 2}))
    await add(sessions, CounterDeltas(failed=-2, errors=Counter(http_404=-2)))
    assert (await batch_of(sessions, "bat_1")).errors == {}


async def test_a_batch_is_processing_since_its_first_claim_of_a_round(sessions: Sessions) -> None:
    await store(sessions, batch_row("bat_1", NOW))
    for claimed_at in (NOW, LATER):
        assert await add(sessions, CounterDeltas(processing=1), claimed_at=claimed_at)
    batch = await batch_of(sessions, "bat_1")
    assert (batch.status, batch.started_at, batch.processing) == ("processing", NOW, 2)


@pytest.mark.parametrize(
    ("row", "conditions", "is_added"),
    [
        ({}, {}, True),
        ({"status": "processing"}, {}, True),
        ({"status": "cancelled"}, {}, False),
        ({"round": 2}, {}, False),
        ({"change": "cancel"}, {}, False),
        ({"change": "cancel"}, {"change": "cancel"}, True),
        ({"change": "cancel"}, {"change": "retry"}, False),
        ({}, {"change": "cancel"}, False),
    ],
)
async def test_only_an_open_round_counts_and_only_its_change_while_it_has_one(
    sessions: Sessions, row: dict[str, Any], conditions: dict[str, Any], is_added: bool
) -> None:
    await store(sessions, batch_row("bat_1", NOW, **row))
    assert (await add(sessions, CounterDeltas(succeeded=1), **conditions) is not None) is is_added
    assert (await batch_of(sessions, "bat_1")).succeeded == is_added


async def test_counters_can_never_exceed_the_assets(sessions: Sessions) -> None:
    await store(sessions, batch_row("bat_1", NOW))
    with pytest.raises(Exception, match="ck_batch_counts"):
        await add(sessions, CounterDeltas(succeeded=10, processing=1))


async def test_queries_do_not_find_a_deleted_batch(sessions: Sessions) -> None:
    await store(sessions, batch_row("bat_1", NOW, deleted_at=NOW), asset_row("bat_1", 0, NOW))
    async with sessions.write() as session:
        assert await batches.get(session, "bat_1") is None
        assert await counters.lock(session, "bat_1") is None
        assert await counters.current(session, "bat_1", round_number=1) is None
        assert await counters.add(session, "bat_1", CounterDeltas(failed=1), round_number=1) is None
        assert await batches.progress(session, ["bat_1"]) == {}
        assert await batches.open_page(session) == []


async def test_only_the_owning_key_finds_a_batch(sessions: Sessions) -> None:
    await store(sessions, batch_row("bat_1", NOW))
    async with sessions.read() as session:
        assert await batches.get(session, "bat_1", api_key_id="key_local")
        assert await batches.get(session, "bat_1", api_key_id="key_other") is None


async def test_open_batches_are_found_oldest_first_in_pages(sessions: Sessions) -> None:
    rows: dict[str, dict[str, Any]] = {
        "bat_3": {},
        "bat_1": {"status": "processing"},
        "bat_2": {"status": "completed"},
        "bat_4": {"change": "cancel"},
        "bat_5": {"deleted_at": NOW},
        "bat_6": {},
    }
    await store(sessions, *[batch_row(batch_id, NOW, **values) for batch_id, values in rows.items()])
    async with sessions.read() as session:
        assert await batches.open_page(session, limit=2) == [("bat_1", LOCAL_KEY), ("bat_3", LOCAL_KEY)]
        assert await batches.open_page(session, after="bat_3", limit=2) == [("bat_6", LOCAL_KEY)]


async def test_progress_is_reported_for_every_existing_batch(sessions: Sessions) -> None:
    await store(sessions, batch_row("bat_1", NOW), batch_row("bat_2", NOW, version=7, status="failed"))
    async with sessions.read() as session:
        progress = await batches.progress(session, ["bat_1", "bat_2", "bat_none"])
    reported = {batch_id: (row.id, row.version, row.status) for batch_id, row in progress.items()}
    assert reported == {"bat_1": ("bat_1", 1, "pending"), "bat_2": ("bat_2", 7, "failed")}


# -- deliveries -------------------------------------------------------------------------------------------------------


@pytest.fixture
async def delivery(sessions: Sessions) -> Delivery:
    await store(sessions, batch_row("bat_1", NOW), delivery_row("evt_1", "bat_1", NOW))
    [stored] = await deliveries_of(sessions, "bat_1")
    return stored


async def lease(sessions: Sessions, *, now: datetime = NOW) -> bool:
    async with sessions.write() as session:
        return await deliveries.lease(session, "evt_1", now=now, until=now + timedelta(minutes=1))


async def record(sessions: Sessions, number: int, target: DeliveryStatus, due_at: datetime = LATER) -> bool:
    attempt = DeliveryAttempt(delivery_id="evt_1", number=number, at=NOW, duration=0.1, http_status=500)
    async with sessions.write() as session:
        return await deliveries.record(session, attempt, target, due_at=due_at)


async def test_one_run_at_a_time_leases_a_delivery(sessions: Sessions, delivery: Delivery) -> None:
    assert not await lease(sessions, now=NOW - timedelta(seconds=1))
    assert await lease(sessions)
    assert not await lease(sessions, now=NOW + timedelta(seconds=59))
    assert await lease(sessions, now=NOW + timedelta(seconds=60))


@pytest.mark.parametrize("ended", [DeliveryStatus.DELIVERED, DeliveryStatus.EXHAUSTED])
async def test_an_ended_delivery_is_neither_leased_nor_recorded_nor_due(
    sessions: Sessions, delivery: Delivery, ended: DeliveryStatus
) -> None:
    assert await record(sessions, 1, ended, NOW)
    assert not await lease(sessions, now=LATER)
    assert not await record(sessions, 2, DeliveryStatus.DELIVERED)
    async with sessions.read() as session:
        assert list(await deliveries.due(session, LATER)) == []
    assert len(await attempts_of(sessions, "evt_1")) == 1


async def test_an_attempt_is_recorded_once_and_none_is_skipped(sessions: Sessions, delivery: Delivery) -> None:
    assert not await record(sessions, 2, DeliveryStatus.PENDING)
    assert await record(sessions, 1, DeliveryStatus.PENDING)
    assert not await record(sessions, 1, DeliveryStatus.DELIVERED)
    assert await record(sessions, 2, DeliveryStatus.DELIVERED)
    [stored] = await deliveries_of(sessions, "bat_1")
    assert (stored.status, stored.attempts) == ("delivered", 2)
    assert [attempt.number for attempt in await attempts_of(sessions, "evt_1")] == [1, 2]


async def test_due_deliveries_are_returned_longest_due_first_with_their_attempts(sessions: Sessions) -> None:
    await store(sessions, *[batch_row(f"bat_{number}", NOW) for number in range(3)])
    for number, seconds in enumerate([-5, -50, 5]):
        due_at = NOW + timedelta(seconds=seconds)
        await store(sessions, delivery_row(f"evt_{number}", f"bat_{number}", due_at, attempts=number))
    async with sessions.read() as session:
        assert list(await deliveries.due(session, NOW)) == [("evt_1", 1), ("evt_0", 0)]
        assert list(await deliveries.due(session, NOW, limit=1)) == [("evt_1", 1)]


async def test_deliveries_waiting_for_one_host_do_not_hide_others(sessions: Sessions) -> None:
    await store(sessions, *[batch_row(f"bat_{number}", NOW) for number in range(6)])
    for number in range(5):
        url, due_at = f"http://down.example/hook?order={number}", NOW - timedelta(seconds=100 - number)
        await store(sessions, delivery_row(f"evt_{number}", f"bat_{number}", due_at, url=url, host="down.example"))
    await store(sessions, delivery_row("evt_up", "bat_5", NOW, url="http://up.example/", host="up.example"))
    async with sessions.read() as session:
        due = await deliveries.due(session, NOW, limit=3, per_host=2)
    assert [delivery_id for delivery_id, _ in due] == ["evt_0", "evt_1", "evt_up"]


async def test_a_round_of_a_batch_is_announced_once(sessions: Sessions, delivery: Delivery) -> None:
    with pytest.raises(Exception, match=r"uq_delivery_batch_id_round|UNIQUE"):
        await store(sessions, delivery_row("evt_2", "bat_1", NOW))
    await store(sessions, delivery_row("evt_2", "bat_1", NOW, round=2))
    async with sessions.read() as session:
        second = await deliveries.get_for_round(session, "bat_1", round_number=2)
        assert second is not None
        assert second.id == "evt_2"
