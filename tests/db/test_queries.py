"""Leases: which assets a run may claim, and which claims it still holds."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import pytest

from imgsvc.db.engine import Sessions
from imgsvc.db.queries import assets, outcomes
from imgsvc.db.queries import leases as queries
from imgsvc.db.queries.leases import Claims
from imgsvc.services.processing.outcomes import Postponed, columns
from support.batches import asset_row, assets_of, batch_row, store

NOW = datetime(2026, 11, 2, 9, 30, tzinfo=UTC)
LEASE = timedelta(seconds=60)


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


@pytest.fixture(autouse=True)
async def batch(sessions: Sessions) -> None:
    await store(sessions, batch_row("bat_1", NOW), batch_row("bat_2", NOW))


async def claim(
    sessions: Sessions, *, token: str = "mine", now: datetime = NOW, limit: int = 100, batch_id: str = "bat_1"
) -> Claims:
    async with sessions.write() as session:
        return await queries.claim(
            session, batch_id, token=token, in_flight=(), now=now, until=now + LEASE, limits={0: limit} if limit else {}
        )


def positions(claims: Claims) -> list[int]:
    return [asset.position for asset in claims.assets]


async def write_outcomes(sessions: Sessions, claims: Claims, *, due_at: datetime) -> None:
    async with sessions.write() as session:
        rows = [columns(Postponed(asset, asset.attempts + 1, due_at), NOW) for asset in claims.assets]
        await outcomes.write_outcomes(session, "bat_1", "mine", rows)


# -- claim ------------------------------------------------------------------------------------------------------------


async def test_only_due_assets_are_claimed_longest_due_first(sessions: Sessions) -> None:
    due = [-1, 0, 1, -60, -1]
    await store(sessions, *[asset_row("bat_1", position, at(seconds)) for position, seconds in enumerate(due)])
    assert positions(await claim(sessions)) == [3, 0, 4, 1]


async def test_a_claim_keeps_to_its_limit_and_its_batch(sessions: Sessions) -> None:
    await store(sessions, *[asset_row("bat_1", position, NOW) for position in range(5)], asset_row("bat_2", 0, at(-99)))
    assert positions(await claim(sessions, limit=2)) == [0, 1]
    assert positions(await claim(sessions, limit=2)) == [2, 3]
    assert positions(await claim(sessions, limit=0)) == []


@pytest.mark.parametrize("status", ["succeeded", "failed", "cancelled"])
async def test_an_ended_asset_is_never_claimed(sessions: Sessions, status: str) -> None:
    await store(sessions, asset_row("bat_1", 0, at(-99), status=status))
    assert await claim(sessions) == Claims([], 0)


async def test_a_claim_writes_its_token_and_lease_to_the_row(sessions: Sessions) -> None:
    await store(sessions, asset_row("bat_1", 0, at(-5), attempts=2))
    [claimed], were_pending = await claim(sessions)
    [row] = await assets_of(sessions, "bat_1")
    assert (row.status, row.claim, row.due_at, row.lost) == ("processing", "mine", NOW + LEASE, 0)
    assert (claimed.attempts, claimed.lost, were_pending) == (2, 0, 1)
    assert (claimed.origin_url, claimed.slug) == (row.origin_url, "shoe")


async def test_a_leased_asset_is_not_claimed_before_its_lease_ends(sessions: Sessions) -> None:
    await store(sessions, asset_row("bat_1", 0, NOW))
    await claim(sessions)
    assert await claim(sessions, token="other", now=NOW + LEASE - timedelta(microseconds=1)) == Claims([], 0)


async def test_claiming_an_expired_lease_counts_as_lost_and_not_as_pending(sessions: Sessions) -> None:
    await store(sessions, asset_row("bat_1", 0, NOW), asset_row("bat_1", 1, at(61)))
    await claim(sessions)
    claims = await claim(sessions, token="other", now=at(61))
    assert [(asset.position, asset.lost) for asset in claims.assets] == [(0, 1), (1, 0)]
    assert claims.were_pending == 1
    assert [(row.claim, row.lost) for row in await assets_of(sessions, "bat_1")] == [("other", 1), ("other", 0)]


async def test_a_run_never_claims_its_own_expired_leases(sessions: Sessions) -> None:
    await store(sessions, asset_row("bat_1", 0, NOW), asset_row("bat_1", 1, at(61)))
    await claim(sessions)
    assert positions(await claim(sessions, now=at(61))) == [1]


async def test_a_run_may_claim_an_asset_that_it_handed_back(sessions: Sessions) -> None:
    await store(sessions, asset_row("bat_1", 0, NOW))
    await write_outcomes(sessions, await claim(sessions), due_at=at(5))
    assert positions(await claim(sessions, now=at(5))) == [0]


async def test_the_hosts_of_a_batch_are_read_in_pages_with_their_first_due_asset(sessions: Sessions) -> None:
    numbers_due = {0: [30, 5], 1: [-7, -9], 4: [0], 6: [1]}
    rows = [(number, due) for number, seconds in numbers_due.items() for due in seconds]
    await store(
        sessions,
        *[asset_row("bat_1", at_, at(due), host_number=number, origin_url=f"http://{number}.example/{due}")
          for at_, (number, due) in enumerate(rows)],
        asset_row("bat_1", 90, at(-99), host_number=2, status="failed"),
        asset_row("bat_2", 0, at(-99), host_number=5),
    )  # fmt: skip
    async with sessions.read() as session:
        found = [await queries.hosts(session, "bat_1", after=after, limit=2) for after in (-1, 1, 6)]
    assert [[(host.number, host.due_at, host.origin_url) for host in page] for page in found] == [
        [(0, at(5), "http://0.example/5"), (1, at(-9), "http://1.example/-9")],
        [(4, at(0), "http://4.example/0"), (6, at(1), "http://6.example/1")],
        [],
    ]


async def test_each_host_has_a_limit_of_its_own(sessions: Sessions) -> None:
    await store(
        sessions, *[asset_row("bat_1", position, at(-position), host_number=position % 3) for position in range(12)]
    )
    async with sessions.write() as session:
        claims = await queries.claim(
            session, "bat_1", token="mine", in_flight=[9], now=NOW, until=NOW + LEASE, limits={0: 2, 2: 1, 7: 5}
        )
    assert positions(claims) == [11, 6, 3]
    assert {asset.host_number for asset in claims.assets} == {0, 2}


# -- outcomes ---------------------------------------------------------------------------------------------------------


async def test_a_run_holds_its_claims_until_another_run_claims_them(sessions: Sessions) -> None:
    await store(sessions, *[asset_row("bat_1", position, NOW) for position in range(3)], asset_row("bat_2", 0, NOW))
    await claim(sessions, limit=2)
    assert await held(sessions, "mine", range(5)) == {0, 1}
    assert await held(sessions, "mine", [1]) == {1}
    assert await held(sessions, "other", range(5)) == set()
    await claim(sessions, token="other", now=at(60))
    assert await held(sessions, "mine", range(5)) == set()
    assert await held(sessions, "other", range(5)) == {0, 1, 2}


async def held(sessions: Sessions, token: str, among: Iterable[int]) -> set[int]:
    rows = await assets_of(sessions, "bat_1")
    return {row.position for row in rows if row.claim == token and row.position in among}


async def test_rows_with_outcomes_have_no_claim(sessions: Sessions) -> None:
    await store(sessions, *[asset_row("bat_1", position, NOW, error_code="http_503") for position in range(3)])
    claims = await claim(sessions, limit=2)
    await write_outcomes(sessions, claims, due_at=at(30))
    rows = await assets_of(sessions, "bat_1")
    written = [(row.status, row.claim, row.due_at, row.attempts, row.error_code) for row in rows]
    assert written == [("pending", None, at(30), 1, None)] * 2 + [("pending", None, NOW, 0, "http_503")]
    assert await held(sessions, "mine", range(3)) == set()


async def test_outcomes_are_written_only_to_assets_that_the_run_holds(sessions: Sessions) -> None:
    await store(
        sessions,
        asset_row("bat_1", 0, NOW, status="cancelled", claim="mine"),
        asset_row("bat_1", 1, NOW, status="processing", claim="other"),
        asset_row("bat_1", 2, NOW, status="processing", claim="mine"),
        asset_row("bat_2", 2, NOW, status="processing", claim="mine"),
    )
    async with sessions.write() as session:
        claimed = [queries.Claimed(position, "", "", 0, 0) for position in (3, 2, 1, 0)]
        rows = [columns(Postponed(asset, 7, at(5)), NOW) for asset in claimed]
        assert await outcomes.write_outcomes(session, "bat_1", "mine", rows) == {2}
        assert await outcomes.write_outcomes(session, "bat_1", "mine", []) == set()
    written = {(row.status, row.attempts) for row in await assets_of(sessions, "bat_1")}
    assert written == {("cancelled", 0), ("processing", 0), ("pending", 7)}
    assert (await assets_of(sessions, "bat_2"))[0].status == "processing"


async def test_any_number_of_assets_is_read_by_position(sessions: Sessions) -> None:
    await store(sessions, *[asset_row("bat_1", position, NOW) for position in range(1_203)])
    async with sessions.read() as session:
        found = await assets.at_positions(session, "bat_1", [*range(1, 1_202), 5, 99_999])
    assert sorted(found) == list(range(1, 1_202))
    assert found[700].origin_url == "http://shop.example/700.jpg"
