"""Jobs that workers take from a real Valkey: no other worker sees them, and those of a dead worker come back."""

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest
from arq.connections import ArqRedis

from imgsvc.adapters.redis.queue import CONTROL_QUEUE, WORK_QUEUE, ArqQueue
from imgsvc.adapters.redis.running_jobs import VISIBILITY, put_back, remove, renew, take, take_lanes
from imgsvc.adapters.redis.scripts import ADMITTED_AT_ONCE, running_key, turns_key

PLACES = 32
"""Lanes of one worker."""


async def lanes(
    redis: ArqRedis, at_most: int, *, weights: Mapping[str, float] | None = None, held: Mapping[str, int] | None = None
) -> list[str]:
    """Take lanes as a worker that holds these; return their batches."""
    held = held or {}
    free = PLACES - sum(held.values())
    taken = await take_lanes(redis, WORK_QUEUE, at_most=at_most, free=free, weights=weights or {}, held=held)
    return [job_id.split(":")[1] for job_id in taken.job_ids]


async def wake(queue: ArqQueue, **batches: int) -> None:
    """Wake this many batches of each key, one key after the other."""
    for key, count in batches.items():
        await queue.wake_lanes([(f"{key}-{number}", key) for number in range(count)])


async def let_time_pass(redis: ArqRedis, queue_name: str, seconds: float) -> None:
    """Make every running job this much older."""
    for job_id in await redis.zrange(running_key(queue_name), 0, -1):
        await redis.zincrby(running_key(queue_name), -1000 * seconds, job_id)


# -- taking and giving back -------------------------------------------------------------------------------------------


async def test_a_job_that_runs_is_not_seen_by_others(queue: ArqQueue, redis: ArqRedis) -> None:
    await queue.wake_delivery("evt_1", attempt=1)
    await queue.wake_delivery("evt_2", attempt=1)
    assert (await take(redis, CONTROL_QUEUE, at_most=1)).job_ids == ["evt_1:1"]
    await queue.wake_delivery("evt_1", attempt=1)
    assert (await take(redis, CONTROL_QUEUE, at_most=9)).job_ids == ["evt_2:1"]
    assert await take(redis, CONTROL_QUEUE, at_most=9) == ([], None)


async def test_the_jobs_of_a_dead_worker_come_back_after_half_a_minute(queue: ArqQueue, redis: ArqRedis) -> None:
    await queue.wake_clean_up("bat_1")
    await queue.wake_lane("bat_1", "key_1")
    seconds = VISIBILITY.total_seconds()
    for name, again in (("imgsvc:tidy", ["bat_1:tidy"]), (WORK_QUEUE, ["key_1:bat_1:0"])):
        assert (await take(redis, name, at_most=1)).job_ids == again
        await let_time_pass(redis, name, seconds - 5)
        assert (await take(redis, name, at_most=1)).job_ids == []
        await let_time_pass(redis, name, 5)
        assert (await take(redis, name, at_most=1)).job_ids == again
    assert seconds == 30


async def test_a_job_that_is_renewed_stays_with_its_worker(queue: ArqQueue, redis: ArqRedis) -> None:
    await queue.wake_clean_up("bat_1")
    [job_id] = (await take(redis, "imgsvc:tidy", at_most=1)).job_ids
    await let_time_pass(redis, "imgsvc:tidy", VISIBILITY.total_seconds())
    await queue.heartbeat("one", running={"imgsvc:tidy": [job_id], CONTROL_QUEUE: []})
    assert (await take(redis, "imgsvc:tidy", at_most=1)).job_ids == []


async def test_renewing_a_job_that_has_ended_does_not_bring_it_back(queue: ArqQueue, redis: ArqRedis) -> None:
    await renew(redis, CONTROL_QUEUE, ["evt_1:1"])
    assert await redis.exists(running_key(CONTROL_QUEUE)) == 0


async def test_nothing_is_left_of_a_job_that_has_ended(queue: ArqQueue, redis: ArqRedis) -> None:
    await queue.wake_lane("bat_1", "key_1")
    await lanes(redis, 1)
    await remove(redis, WORK_QUEUE, "key_1:bat_1:0", remember=None)
    assert await redis.keys() == [turns_key(WORK_QUEUE).encode()]


async def test_a_job_that_was_put_back_waits_for_its_time(queue: ArqQueue, redis: ArqRedis) -> None:
    for number in range(2):
        await queue.wake_delivery(f"evt_{number}", attempt=1)
    await take(redis, CONTROL_QUEUE, at_most=1)
    later = datetime.now(UTC) + timedelta(minutes=1)
    await put_back(redis, CONTROL_QUEUE, "evt_0:1", at_ms=int(later.timestamp() * 1000))
    job_ids, next_due = await take(redis, CONTROL_QUEUE, at_most=9)
    assert job_ids == ["evt_1:1"]
    assert next_due == pytest.approx(60, abs=30)
    await put_back(redis, CONTROL_QUEUE, "evt_1:1", at_ms=None)
    assert (await take(redis, CONTROL_QUEUE, at_most=9)).job_ids == ["evt_1:1"]


async def test_a_job_that_redis_lost_is_not_put_back(queue: ArqQueue, redis: ArqRedis) -> None:
    await queue.wake_lane("bat_1", "key_1")
    await lanes(redis, 1)
    await redis.flushall()
    await put_back(redis, WORK_QUEUE, "key_1:bat_1:0", at_ms=None)
    assert await redis.keys() == []


async def test_thousands_of_running_lanes_hide_no_new_one(queue: ArqQueue, redis: ArqRedis) -> None:
    await wake(queue, large=5_000)
    held = 0
    while held < 5_000:
        held += len(await lanes(redis, 500, held={}) if held % 7 else await lanes(redis, 24))
    await wake(queue, small=1)
    assert await queue.waiting() == 1
    assert await lanes(redis, 2) == ["small-0"]


async def test_a_poll_that_finds_nothing_is_one_command(queue: ArqQueue, redis: ArqRedis) -> None:
    await wake(queue, large=50)
    await lanes(redis, 24)
    await lanes(redis, 24, held={"large": 8})
    await lanes(redis, 24)
    await redis.config_resetstat()
    assert await lanes(redis, 2) == []
    calls = {name: stats["calls"] for name, stats in (await redis.info("commandstats")).items()}
    assert calls.pop("cmdstat_evalsha") == 1
    assert sum(calls.values()) < 10, calls  # within the script


# -- turns ------------------------------------------------------------------------------------------------------------


async def test_a_thousand_batches_of_one_key_delay_another_key_by_one_lane(queue: ArqQueue, redis: ArqRedis) -> None:
    for _ in range(2):
        await wake(queue, large=2 * ADMITTED_AT_ONCE)
        assert await lanes(redis, 2) == []  # one script gives a thousand lanes their turns
    await wake(queue, small=1)
    assert await queue.waiting() == 2 * ADMITTED_AT_ONCE + 1
    assert "small-0" in await lanes(redis, 3)


async def test_keys_take_turns_by_their_weights(queue: ArqQueue, redis: ArqRedis) -> None:
    await wake(queue, double=30, single=30, half=30)
    taken = await lanes(redis, 14, weights={"double": 2, "half": 0.5})
    assert Counter(batch.split("-")[0] for batch in taken) == {"double": 8, "single": 4, "half": 2}


async def test_a_lane_that_comes_back_waits_behind_those_that_had_no_turn(queue: ArqQueue, redis: ArqRedis) -> None:
    await wake(queue, key=3)
    [first] = await lanes(redis, 1)
    await put_back(redis, WORK_QUEUE, f"key:{first}:0", at_ms=None)
    rest = [(await lanes(redis, 1))[0] for _ in range(3)]
    assert rest[2] == first
    assert len({*rest}) == 3


async def test_a_key_that_waited_has_no_more_turns_than_one_that_is_new(queue: ArqQueue, redis: ArqRedis) -> None:
    await wake(queue, old=20)
    await lanes(redis, 10)
    await wake(queue, new=20)
    taken = await lanes(redis, 10)
    assert Counter(batch.split("-")[0] for batch in taken) == {"old": 5, "new": 5}


async def test_one_key_holds_at_most_three_quarters_of_the_places(queue: ArqQueue, redis: ArqRedis) -> None:
    await wake(queue, large=300)
    assert len(await lanes(redis, PLACES)) == 24
    assert await lanes(redis, 2, held={"large": 24}) == []
    await wake(queue, small=1)
    assert await lanes(redis, 2, held={"large": 24}) == ["small-0"]
    assert len(await lanes(redis, 2, held={"large": 23, "small": 1})) == 1


async def test_the_lanes_of_a_key_at_its_limit_hide_no_others(queue: ArqQueue, redis: ArqRedis) -> None:
    await wake(queue, large=150, small=130)
    taken = []
    while found := await lanes(redis, PLACES, held={"large": 24}):
        taken += found
    assert sorted(taken) == sorted(f"small-{number}" for number in range(130))


async def test_several_keys_at_their_limits_hide_no_other(queue: ArqQueue, redis: ArqRedis) -> None:
    held = dict.fromkeys("abcdefghi", 3) | {"j": 4}
    await wake(queue, **dict.fromkeys(held, 50), small=1)
    assert await lanes(redis, 1, held=held) == ["small-0"]


async def test_the_waiting_lanes_of_a_key_at_its_limit_cost_a_take_nothing(queue: ArqQueue, redis: ArqRedis) -> None:
    await wake(queue, large=5 * ADMITTED_AT_ONCE)
    for _ in range(6):
        assert await lanes(redis, 2, held={"large": 24}) == []
    await wake(queue, small=1)
    await redis.config_resetstat()
    assert await lanes(redis, 2, held={"large": 24}) == ["small-0"]
    calls = {name: stats["calls"] for name, stats in (await redis.info("commandstats")).items()}
    assert sum(calls.values()) < 30, calls


async def test_a_waiting_lane_that_was_removed_is_not_taken(queue: ArqQueue, redis: ArqRedis) -> None:
    await wake(queue, key=4)
    await lanes(redis, 1)
    for number in (1, 2):
        await remove(redis, WORK_QUEUE, f"key:key-{number}:0", remember=None)
    await queue.wake_lanes([("key-1", "key")])
    assert [await lanes(redis, 1) for _ in range(3)] == [["key-3"], ["key-1"], []]


async def test_lanes_whose_turns_were_lost_get_new_ones(queue: ArqQueue, redis: ArqRedis) -> None:
    await wake(queue, key=ADMITTED_AT_ONCE + 40)
    await lanes(redis, 1)
    await redis.delete(*await redis.keys(turns_key(WORK_QUEUE) + "*"))
    taken = [batch for _ in range(100) for batch in await lanes(redis, PLACES)]
    assert len({*taken}) == len(taken) == ADMITTED_AT_ONCE + 40


async def test_the_turns_are_forgotten_when_no_lane_waits(queue: ArqQueue, redis: ArqRedis) -> None:
    await wake(queue, many=20)
    await lanes(redis, 20)
    await wake(queue, other=1)
    await lanes(redis, 1)
    assert await redis.hkeys(turns_key(WORK_QUEUE)) == [b"other"]  # type: ignore[misc]  # it is awaitable
