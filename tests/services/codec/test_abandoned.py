"""Compression of an image continues when its run is cancelled, and the next run of that image joins it."""

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
from support.codec import HoldingWatchdog, RecordingSandbox, codec_pool
from support.images import photo_jpeg
from support.lanes import until
from support.semaphores import flow

SMALL, OTHER = photo_jpeg(64, 48), photo_jpeg(66, 48)
SPECS = [Spec()]


@pytest.fixture
def sandbox() -> RecordingSandbox:
    """A sandbox in which images wait until its gate opens."""
    return RecordingSandbox(gate=asyncio.Event())


@pytest.fixture
async def pool(sandbox: RecordingSandbox) -> AsyncIterator[CodecPool]:
    pool = codec_pool(sandbox=sandbox)
    yield pool
    await pool.aclose()


def open_gate(sandbox: RecordingSandbox) -> None:
    assert sandbox.gate
    sandbox.gate.set()


async def abandon(work: "asyncio.Task[Compressed]") -> None:
    """Cancel work that has started."""
    work.cancel()
    with pytest.raises(DecodeAbandoned):
        await work


def suspect(pool: CodecPool, data: bytes = SMALL, specs: list[Spec] = SPECS) -> "asyncio.Task[Compressed]":
    return asyncio.create_task(pool.compress(data, specs, flow=flow("batch"), suspect=True))


async def test_all_later_calls_join_an_image_abandoned_in_the_sandbox(
    pool: CodecPool, sandbox: RecordingSandbox
) -> None:
    work = suspect(pool)
    await until(lambda: sandbox.inside == 1)
    await abandon(work)
    for _ in range(20):
        joined = suspect(pool)
        await asyncio.sleep(0)
        joined.cancel()
        await asyncio.gather(joined, return_exceptions=True)
    both = asyncio.gather(suspect(pool), suspect(pool))
    open_gate(sandbox)
    assert [compressed.width for compressed in await both] == [64, 64]
    assert sandbox.images == [SMALL]
    assert pool.pixels.idle


async def test_a_result_that_arrives_after_the_cancellation_is_kept_for_the_next_run(
    pool: CodecPool, sandbox: RecordingSandbox
) -> None:
    work = suspect(pool)
    await until(lambda: sandbox.inside == 1)
    await abandon(work)
    open_gate(sandbox)
    await until(lambda: sandbox.inside == 0 and not pool.sandbox.pending)
    assert (await suspect(pool)).width == 64
    assert sandbox.images == [SMALL]


@pytest.mark.parametrize(("verdict", "asked"), [(WorkerCrash(), 1), (DecodeError(), 1), (SandboxKilled(), 2)])
async def test_an_error_is_kept_only_if_the_image_is_its_cause(
    pool: CodecPool, sandbox: RecordingSandbox, verdict: Exception, asked: int
) -> None:
    sandbox.error = verdict
    work = suspect(pool)
    await until(lambda: sandbox.inside == 1)
    await abandon(work)
    open_gate(sandbox)
    await until(lambda: not pool.sandbox.pending)
    with pytest.raises(type(verdict)):
        await suspect(pool)
    assert len(sandbox.images) == asked


@pytest.mark.parametrize("error", [SandboxUnavailable(), DecodeAbandoned(), CpuTimeExceeded()])
async def test_an_image_that_could_not_be_finished_is_started_again(error: Exception) -> None:
    abandoned = AbandonedDecodes()
    answer: asyncio.Future[Compressed] = asyncio.get_running_loop().create_future()
    abandoned.keep(SMALL, SPECS, answer)
    answer.set_exception(error)
    await until(lambda: abandoned.find(SMALL, SPECS) is None)


async def test_another_image_and_another_spec_are_not_mixed_up(pool: CodecPool, sandbox: RecordingSandbox) -> None:
    work = suspect(pool)
    await until(lambda: sandbox.inside == 1)
    await abandon(work)
    open_gate(sandbox)
    others = [suspect(pool, OTHER), suspect(pool, SMALL, [Spec(quality=20)])]
    assert [compressed.width for compressed in await asyncio.gather(*others)] == [66, 64]
    assert sandbox.images == [SMALL, OTHER, SMALL]


async def test_an_image_cancelled_while_it_waits_for_the_sandbox_leaves_nothing(
    pool: CodecPool, sandbox: RecordingSandbox
) -> None:
    first = suspect(pool)
    await until(lambda: sandbox.inside == 1)
    waiting = suspect(pool, OTHER)
    await until(lambda: pool.sandbox.slots.waiting() == 1)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await until(lambda: pool.sandbox.pending == 1)
    open_gate(sandbox)
    await first
    assert sandbox.images == [SMALL]


async def test_an_image_abandoned_after_its_header_was_read_is_started_again() -> None:
    """The thread's demand for more pixels is not a result for the call that joined it."""
    watchdog = HoldingWatchdog()
    pool = codec_pool(watchdog=watchdog)
    large = photo_jpeg(1_000, 600)
    work = asyncio.create_task(pool.compress(large, SPECS, flow=flow("batch")))
    await until(lambda: watchdog.held == 1)
    await abandon(work)
    joined = suspect(pool, large)
    await asyncio.sleep(0)
    watchdog.release()
    assert (await joined).width == 1_000
    await pool.aclose()


async def test_closing_the_pool_ends_abandoned_images(sandbox: RecordingSandbox) -> None:
    pool = codec_pool(sandbox=sandbox)
    work = suspect(pool)
    await until(lambda: sandbox.inside == 1)
    await abandon(work)
    await pool.aclose()
    assert sandbox.inside == 0
    assert pool.pixels.idle


async def test_the_bytes_of_kept_results_are_bounded() -> None:
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
