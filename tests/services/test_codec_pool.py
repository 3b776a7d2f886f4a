"""The codec threads: pixels in memory are bounded, and batches take turns."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from time import monotonic

import pytest

from imgsvc.domain.images import CodecLimits
from imgsvc.domain.specs import Format, Spec
from imgsvc.errors import NotAnImage, TooManyPixels
from imgsvc.services.codec import CodecPool
from pictures import decoded, photo_jpeg

LIMITS = CodecLimits(max_pixels=900_000)
SMALL, LARGE = photo_jpeg(64, 48), photo_jpeg(1_000, 600)
SPECS = [Spec()]
SLOW = [Spec(name=f"r{number}", format=Format.webp, quality=90) for number in range(3)]


@pytest.fixture
async def make_pool() -> AsyncIterator[Callable[..., CodecPool]]:
    async with AsyncExitStack() as stack:

        def make(*, threads: int = 1, limits: CodecLimits = LIMITS) -> CodecPool:
            pool = CodecPool(threads=threads, pixels=1, limits=limits)
            stack.push_async_callback(pool.aclose)
            return pool

        yield make


MakePool = Callable[..., CodecPool]


async def until(condition: Callable[[], bool]) -> None:
    deadline = monotonic() + 20
    while not condition():
        assert monotonic() < deadline, "it never came"
        await asyncio.sleep(0.001)


async def test_a_picture_comes_out_compressed(make_pool: MakePool) -> None:
    compressed = await make_pool().compress(LARGE, SPECS, key="batch")
    assert (compressed.input_format, compressed.width, compressed.height) == ("jpeg", 1_000, 600)
    assert decoded(compressed.renditions[0].data).size == (1_000, 600)
    assert len(compressed.renditions[0].data) < len(LARGE)


async def test_a_picture_above_its_share_waits_for_pixels_and_comes_out(make_pool: MakePool) -> None:
    pool = make_pool()
    holder = await pool._gate.acquire("other", 400_000)
    task = asyncio.create_task(pool.compress(LARGE, SPECS, key="batch"))
    await until(lambda: bool(pool._gate._queues))
    assert not task.done()
    holder.release()
    assert (await task).width == 1_000
    await until(lambda: pool._gate.idle)


async def test_pictures_that_together_exceed_the_pixels_come_out_one_after_the_other(make_pool: MakePool) -> None:
    pool = make_pool(threads=4)
    done = await asyncio.gather(*[pool.compress(LARGE, SPECS, key=f"batch {number % 3}") for number in range(12)])
    assert [picture.width for picture in done] == [1_000] * 12
    await until(lambda: pool._gate.idle)


async def test_the_largest_picture_allowed_always_fits(make_pool: MakePool) -> None:
    pool = make_pool(threads=4, limits=CodecLimits(max_pixels=600_000))
    others = [pool.compress(SMALL, SPECS, key="small") for _ in range(20)]
    assert (await asyncio.gather(pool.compress(LARGE, SPECS, key="large"), *others))[0].width == 1_000


async def test_a_picture_that_cannot_be_compressed_says_why_and_gives_its_pixels_back(make_pool: MakePool) -> None:
    pool = make_pool(limits=CodecLimits(max_pixels=599_999))
    with pytest.raises(NotAnImage):
        await pool.compress(b"<!doctype html>", SPECS, key="batch")
    with pytest.raises(TooManyPixels):
        await pool.compress(LARGE, SPECS, key="batch")
    await until(lambda: pool._gate.idle)


async def test_pixels_stay_taken_until_the_thread_ends_even_when_nobody_waits_any_more(make_pool: MakePool) -> None:
    pool = make_pool()
    task = asyncio.create_task(pool.compress(LARGE, SLOW, key="batch"))
    await until(lambda: pool._gate._used == 600_000)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert task.cancelled()
    assert pool._gate._used == 600_000
    await until(lambda: pool._gate.idle)


async def test_a_picture_that_was_not_begun_when_it_was_cancelled_is_never_begun(make_pool: MakePool) -> None:
    pool = make_pool()
    running = asyncio.create_task(pool.compress(SMALL, SLOW * 20, key="batch"))
    await asyncio.sleep(0)
    queued = asyncio.create_task(pool.compress(SMALL, SPECS, key="batch"))
    await until(lambda: pool._threads._work_queue.qsize() == 1)
    queued.cancel()
    await asyncio.gather(queued, return_exceptions=True)
    await until(lambda: pool._gate._used == LIMITS.max_pixels // 3)
    assert not running.done()
    await running


async def test_three_pictures_of_a_small_batch_do_not_wait_behind_a_large_one(make_pool: MakePool) -> None:
    pool = make_pool()
    finished: list[str] = []

    async def compress(key: str) -> None:
        await pool.compress(SMALL, SPECS, key=key)
        finished.append(key)

    await asyncio.gather(*[compress("large") for _ in range(60)], *[compress("small") for _ in range(3)])
    assert finished.index("small") < 6
    assert [place for place, key in enumerate(finished) if key == "small"][-1] < 12
