"""The board on which workers share what they know of hosts: the one in Redis, and the one of the simulations."""

import json
from dataclasses import replace

import pytest
from arq.connections import ArqRedis

from imgsvc.adapters.redis.host_board import HOST, USE_LIFETIME, RedisHostBoard
from imgsvc.errors import QueueUnavailable
from imgsvc.services.throttling.host_estimate import HostEstimate, HostUse
from imgsvc.services.throttling.host_sharing import HostBoard
from imgsvc.services.throttling.shared_host import Entry, Report
from support.memory_board import MemoryBoard

ESTIMATE = HostEstimate(
    8.0,
    0.1,
    doubling=True,
    ceiling=None,
    refused_at=None,
    rate=None,
    rate_since=0.0,
    rate_plateau=4.0,
    rate_refused_at=None,
    paused_until=1 / 3,
    away_since=None,
)
USE = HostUse(wanted=64.0, in_flight=8.0, answers=2 / 3, held=8.0)


@pytest.fixture(params=["redis", "memory"])
def board(request: pytest.FixtureRequest, redis: ArqRedis) -> HostBoard:
    return MemoryBoard() if request.param == "memory" else RedisHostBoard(redis, timeout=2)


async def exchange(board: HostBoard, report: Report, worker: str = "one") -> Entry:
    _, entries = await board.exchange(worker, {"shop.example:443": report})
    return entries["shop.example:443"]


async def test_a_report_is_read_back_exactly(board: HostBoard) -> None:
    assert await exchange(board, Report(0, None, USE)) == Entry(0, None, {"one": USE})
    assert await exchange(board, Report(0, ESTIMATE, USE)) == Entry(1, ESTIMATE, {"one": USE})
    assert await exchange(board, Report(1, None, None), "two") == Entry(1, ESTIMATE, {"one": USE})


async def test_an_estimate_replaces_the_version_it_is_based_on_and_no_later_one(board: HostBoard) -> None:
    first, second, third = (replace(ESTIMATE, limit=limit) for limit in (8.0, 16.0, 32.0))
    assert (await exchange(board, Report(0, first, USE))).version == 1
    assert await exchange(board, Report(1, second, USE)) == Entry(2, second, {"one": USE})
    assert (await exchange(board, Report(1, third, USE))).estimate == second


async def test_an_estimate_after_a_later_refusal_replaces_any(board: HostBoard) -> None:
    await exchange(board, Report(0, replace(ESTIMATE, refused_at=100.25), USE))
    late, early = (replace(ESTIMATE, limit=4.0, refused_at=refused_at) for refused_at in (100.5, 100.0))
    assert (await exchange(board, Report(0, early, USE), "two")).version == 1
    assert await exchange(board, Report(0, late, USE), "three") == Entry(
        2, late, dict.fromkeys(("one", "two", "three"), USE)
    )


async def test_versions_go_on_after_the_board_has_lost_everything(board: HostBoard) -> None:
    assert (await exchange(board, Report(7, ESTIMATE, USE))).estimate == ESTIMATE
    assert (await exchange(board, Report(0, replace(ESTIMATE, limit=1.0), USE))).estimate == ESTIMATE


async def test_a_worker_without_fetches_is_no_longer_listed(board: HostBoard) -> None:
    for worker in ("one", "two"):
        await exchange(board, Report(0, None, USE), worker)
    assert (await exchange(board, Report(0, None, None), "one")).uses == {"two": USE}


async def test_each_host_has_an_entry_of_its_own(board: HostBoard) -> None:
    reports = {
        f"{name}.example": Report(0, replace(ESTIMATE, limit=limit), USE) for name, limit in (("a", 1.0), ("b", 2.0))
    }
    _, entries = await board.exchange("one", reports)
    assert {host: entry.estimate for host, entry in entries.items()} == {
        host: report.estimate for host, report in reports.items()
    }


# -- Redis alone ------------------------------------------------------------------------------------------------------


async def test_the_time_is_that_of_redis(redis: ArqRedis) -> None:
    before = await redis.time()
    time, _ = await RedisHostBoard(redis, timeout=2).exchange("one", {})
    after = await redis.time()
    assert before[0] + before[1] / 1e6 <= time <= after[0] + after[1] / 1e6 + 1e-6


async def test_a_worker_that_reports_no_longer_is_forgotten(redis: ArqRedis) -> None:
    board = RedisHostBoard(redis, timeout=2)
    await exchange(board, Report(0, None, USE))
    key, long_ago = HOST + "shop.example:443", (await redis.time())[0] - USE_LIFETIME - 1
    await redis.execute_command("HSET", key, "use one", f"{long_ago:.6f} [64, 8, 0, 8]")  # type: ignore[no-untyped-call]
    assert (await exchange(board, Report(0, None, USE), "two")).uses == {"two": USE}
    assert await redis.execute_command("HEXISTS", key, "use one") == 0  # type: ignore[no-untyped-call]


async def test_a_host_is_forgotten_a_minute_after_the_last_report(redis: ArqRedis) -> None:
    await exchange(RedisHostBoard(redis, timeout=2), Report(0, ESTIMATE, USE))
    assert 50_000 < await redis.pttl(HOST + "shop.example:443") <= 60_000


@pytest.mark.parametrize("value", ["", "null", "[]", "{", '{"limit": "many"}', "\ufffd"])
async def test_what_cannot_be_read_is_ignored(value: str, redis: ArqRedis) -> None:
    key, now = HOST + "shop.example:443", (await redis.time())[0]
    fields = ("version", 3, "refused_at", 0, "estimate", value, "use other", f"{now} {value}")
    await redis.execute_command("HSET", key, *fields)  # type: ignore[no-untyped-call]
    assert await exchange(RedisHostBoard(redis, timeout=2), Report(0, None, USE)) == Entry(3, None, {"one": USE})


@pytest.mark.parametrize(
    ("name", "value"), [("limit", 0), ("limit", "NaN"), ("rate", -1), ("rate_plateau", 0), ("paused_until", "Infinity")]
)
async def test_an_impossible_estimate_is_ignored(name: str, value: object, redis: ArqRedis) -> None:
    board, key = RedisHostBoard(redis, timeout=2), HOST + "shop.example:443"
    await exchange(board, Report(0, replace(ESTIMATE, rate=1.0), USE))
    fields = json.loads(await redis.execute_command("HGET", key, "estimate")) | {name: value}  # type: ignore[no-untyped-call]
    await redis.execute_command("HSET", key, "estimate", json.dumps(fields).replace(f'"{value}"', str(value)))  # type: ignore[no-untyped-call]
    assert (await exchange(board, Report(1, None, USE))).estimate is None


async def test_a_version_that_is_no_number_is_an_unavailable_board(redis: ArqRedis) -> None:
    await redis.execute_command("HSET", HOST + "shop.example:443", "version", "x")  # type: ignore[no-untyped-call]
    with pytest.raises(QueueUnavailable):
        await exchange(RedisHostBoard(redis, timeout=2), Report(0, None, USE))


async def test_a_key_of_another_type_is_an_unavailable_board(redis: ArqRedis) -> None:
    await redis.set(HOST + "shop.example:443", "text")
    with pytest.raises(QueueUnavailable):
        await exchange(RedisHostBoard(redis, timeout=2), Report(0, None, USE))
