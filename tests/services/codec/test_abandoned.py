"""Work on an image goes on when its run has to go, and the next run of that image joins it."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from imgsvc.domain.imaging.compress import Compressed, Rendition
from imgsvc.domain.imaging.spec import Spec
from imgsvc.errors import (
    CpuTimeExceeded,
    DecodeAbandoned,
    DecodeError,
    SandboxKilled,
    SandboxUnavailable,
    WorkerCrash,
)  # fmt: skip
from imgsvc.services.codec.abandoned import MAX_KEPT_BYTES, AbandonedDecodes
from imgsvc.services.codec.pool import CodecPool
from support.codec import Holding, NotedQuarantine, codec_pool
from support.images import photo_jpeg
from support.lanes import until

SMALL, OTHER = photo_jpeg(64, 48), photo_jpeg(66, 48)
SPECS = [Spec()]


@pytest.fixture
def quarantine() -> NotedQuarantine:
    """Images wait in it until it is opened."""
    return NotedQuarantine(closed=asyncio.Event())


@pytest.fixture
async def pool(quarantine: NotedQuarantine) -> AsyncIterator[CodecPool]:
    pool = codec_pool(quarantine=quarantine)
    yield pool
    await pool.aclose()


def opened(quarantine: NotedQuarantine) -> None:
    assert quarantine.closed
    quarantine.closed.set()


async def left(work: "asyncio.Task[Compressed]") -> None:
    """Cancel work that has begun."""
    work.cancel()
    with pytest.raises(DecodeAbandoned):
        await work


def suspect(pool: CodecPool, data: bytes = SMALL, specs: list[Spec] = SPECS) -> "asyncio.Task[Compressed]":
    return asyncio.create_task(pool.compress(data, specs, key="batch", suspect=True))


async def test_what_was_left_in_quarantine_is_joined_as_often_as_it_is_asked_for(
    pool: CodecPool, quarantine: NotedQuarantine
) -> None:
    work = suspect(pool)
    await until(lambda: quarantine.inside == 1)
    await left(work)
    for _ in range(20):
        joined = suspect(pool)
        await asyncio.sleep(0)
        joined.cancel()
        await asyncio.gather(joined, return_exceptions=True)
    both = asyncio.gather(suspect(pool), suspect(pool))
    opened(quarantine)
    assert [made.width for made in await both] == [64, 64]
    assert quarantine.images == [SMALL]
    assert pool.pixels.idle


async def test_what_ended_when_nobody_waited_is_there_for_the_next_run(
    pool: CodecPool, quarantine: NotedQuarantine
) -> None:
    work = suspect(pool)
    await until(lambda: quarantine.inside == 1)
    await left(work)
    opened(quarantine)
    await until(lambda: quarantine.inside == 0 and not pool.sandbox.pending)
    assert (await suspect(pool)).width == 64
    assert quarantine.images == [SMALL]


@pytest.mark.parametrize(("verdict", "asked"), [(WorkerCrash(), 1), (DecodeError(), 1), (SandboxKilled(), 2)])
async def test_a_verdict_is_kept_and_what_says_nothing_about_the_image_is_not(
    pool: CodecPool, quarantine: NotedQuarantine, verdict: Exception, asked: int
) -> None:
    quarantine.error = verdict
    work = suspect(pool)
    await until(lambda: quarantine.inside == 1)
    await left(work)
    opened(quarantine)
    await until(lambda: not pool.sandbox.pending)
    with pytest.raises(type(verdict)):
        await suspect(pool)
    assert len(quarantine.images) == asked


@pytest.mark.parametrize("error", [SandboxUnavailable(), DecodeAbandoned(), CpuTimeExceeded()])
async def test_the_same_image_is_begun_again_when_it_could_not_be_finished(error: Exception) -> None:
    abandoned = AbandonedDecodes()
    answer: asyncio.Future[Compressed] = asyncio.get_running_loop().create_future()
    abandoned.keep(SMALL, SPECS, answer)
    answer.set_exception(error)
    await until(lambda: abandoned.find(SMALL, SPECS) is None)


async def test_another_image_and_another_spec_are_not_mixed_up(pool: CodecPool, quarantine: NotedQuarantine) -> None:
    work = suspect(pool)
    await until(lambda: quarantine.inside == 1)
    await left(work)
    opened(quarantine)
    others = [suspect(pool, OTHER), suspect(pool, SMALL, [Spec(quality=20)])]
    assert [made.width for made in await asyncio.gather(*others)] == [66, 64]
    assert quarantine.images == [SMALL, OTHER, SMALL]


async def test_what_waits_for_its_turn_has_not_begun_and_leaves_nothing(
    pool: CodecPool, quarantine: NotedQuarantine
) -> None:
    first = suspect(pool)
    await until(lambda: quarantine.inside == 1)
    waiting = suspect(pool, OTHER)
    await until(lambda: pool.sandbox.slots.waiting() == 1)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await until(lambda: pool.sandbox.pending == 1)
    opened(quarantine)
    await first
    assert quarantine.images == [SMALL]


async def test_an_image_that_had_shown_only_its_header_in_a_thread_is_begun_again() -> None:
    """What its thread was told, that it needs more pixels, is no answer to whoever joined it."""
    holding = Holding()
    pool = codec_pool(watchdog=holding)
    large = photo_jpeg(1_000, 600)
    work = asyncio.create_task(pool.compress(large, SPECS, key="batch"))
    await until(lambda: holding.held == 1)
    await left(work)
    joined = suspect(pool, large)
    await asyncio.sleep(0)
    holding.let()
    assert (await joined).width == 1_000
    await pool.aclose()


async def test_closing_ends_what_nobody_waits_for(quarantine: NotedQuarantine) -> None:
    pool = codec_pool(quarantine=quarantine)
    work = suspect(pool)
    await until(lambda: quarantine.inside == 1)
    await left(work)
    await pool.aclose()
    assert quarantine.inside == 0
    assert pool.pixels.idle


async def test_only_so_many_bytes_are_kept() -> None:
    abandoned = AbandonedDecodes()
    loop = asyncio.get_running_loop()
    images = [bytes([number]) * 10 for number in range(5)]
    for image in images:
        answer: asyncio.Future[Compressed] = loop.create_future()
        abandoned.keep(image, SPECS, answer)
        rendition = Rendition(bytes(MAX_KEPT_BYTES // 3 + 1), "jpeg", 1, 1, "compressed")
        answer.set_result(Compressed("jpeg", 1, 1, (rendition,)))
        await asyncio.sleep(0)
    assert [abandoned.find(image, SPECS) is not None for image in images] == [False, False, False, True, True]
