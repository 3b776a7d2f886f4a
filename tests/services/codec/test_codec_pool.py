"""The codec pool bounds the pixels in memory and is fair between batches."""

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, suppress
from typing import Any

import pytest

from imgsvc.domain.imaging.compress import CodecLimits
from imgsvc.domain.imaging.spec import Format, Spec
from imgsvc.errors import CpuTimeExceeded, DecodeAbandoned, NotAnImage, TooManyPixels
from imgsvc.services.codec.pool import CodecPool
from support.codec import HoldingWatchdog, RecordingSandbox, codec_pool
from support.images import animation, decoded, encoded, photo_jpeg, scene
from support.lanes import until
from support.semaphores import flow

LIMITS = CodecLimits(max_pixels=900_000)
SMALL, LARGE = photo_jpeg(64, 48), photo_jpeg(1_000, 600)
SPECS = [Spec()]


@pytest.fixture
async def make_pool() -> AsyncIterator[Callable[..., CodecPool]]:
    async with AsyncExitStack() as stack:

        def make(*, limits: CodecLimits = LIMITS, **options: Any) -> CodecPool:
            pool = codec_pool(limits=limits, **options)
            stack.push_async_callback(pool.aclose)
            return pool

        yield make


MakePool = Callable[..., CodecPool]


async def test_an_image_is_compressed(make_pool: MakePool) -> None:
    compressed = await make_pool().compress(LARGE, SPECS, flow=flow("batch"))
    assert (compressed.input_format, compressed.width, compressed.height) == ("jpeg", 1_000, 600)
    assert decoded(compressed.renditions[0].data).size == (1_000, 600)
    assert len(compressed.renditions[0].data) < len(LARGE)


async def test_an_image_above_its_share_waits_for_pixels_and_is_compressed(make_pool: MakePool) -> None:
    pool = make_pool()
    holder = await pool.pixels.acquire(flow("other"), 400_000)
    task = asyncio.create_task(pool.compress(LARGE, SPECS, flow=flow("batch")))
    await until(lambda: pool.pixels.waiting() > 0)
    assert not task.done()
    holder.release()
    assert (await task).width == 1_000
    await until(lambda: pool.pixels.idle)


async def test_images_that_together_exceed_the_pixels_are_all_compressed(make_pool: MakePool) -> None:
    pool = make_pool(threads=4)
    done = await asyncio.gather(
        *[pool.compress(LARGE, SPECS, flow=flow(f"batch {number % 3}")) for number in range(12)]
    )
    assert [image.width for image in done] == [1_000] * 12
    await until(lambda: pool.pixels.idle)


async def test_the_largest_image_allowed_always_fits(make_pool: MakePool) -> None:
    pool = make_pool(threads=4, limits=CodecLimits(max_pixels=600_000))
    others = [pool.compress(SMALL, SPECS, flow=flow("small")) for _ in range(20)]
    assert (await asyncio.gather(pool.compress(LARGE, SPECS, flow=flow("large")), *others))[0].width == 1_000


async def test_an_image_that_cannot_be_compressed_raises_and_releases_its_pixels(make_pool: MakePool) -> None:
    pool = make_pool(limits=CodecLimits(max_pixels=599_999))
    with pytest.raises(NotAnImage):
        await pool.compress(b"<!doctype html>", SPECS, flow=flow("batch"))
    with pytest.raises(TooManyPixels):
        await pool.compress(LARGE, SPECS, flow=flow("batch"))
    await until(lambda: pool.pixels.idle)


async def test_pixels_stay_reserved_until_the_thread_ends_even_after_a_cancellation(make_pool: MakePool) -> None:
    watchdog = HoldingWatchdog(free=1)  # it starts with its share, and again with the pixels that it asked for
    pool = make_pool(watchdog=watchdog)
    task = asyncio.create_task(pool.compress(photo_jpeg(800, 750), SPECS, flow=flow("batch")))
    await until(lambda: watchdog.held == 1)
    assert pool.pixels.used == 600_000
    task.cancel()
    with pytest.raises(DecodeAbandoned):
        await task
    assert pool.pixels.used == 600_000
    watchdog.release()
    await until(lambda: pool.pixels.idle)


async def test_an_image_cancelled_before_it_starts_is_never_started(make_pool: MakePool) -> None:
    watchdog = HoldingWatchdog()
    pool = make_pool(watchdog=watchdog)
    running = asyncio.create_task(pool.compress(SMALL, SPECS, flow=flow("batch")))
    await until(lambda: watchdog.held == 1)
    queued = asyncio.create_task(pool.compress(SMALL, SPECS, flow=flow("batch")))
    await until(lambda: len(watchdog.watches) == 2)
    queued.cancel()
    await asyncio.gather(queued, return_exceptions=True)
    assert queued.cancelled()
    await until(lambda: pool.pixels.used == LIMITS.max_pixels // 3)
    assert not running.done()
    watchdog.release()
    await running
    assert watchdog.held == 1


async def test_three_images_of_a_small_batch_do_not_wait_behind_a_large_one(make_pool: MakePool) -> None:
    pool = make_pool()
    finished: list[str] = []

    async def compress(key: str) -> None:
        await pool.compress(SMALL, SPECS, flow=flow(key))
        finished.append(key)

    await asyncio.gather(*[compress("large") for _ in range(60)], *[compress("small") for _ in range(3)])
    assert finished.index("small") < 6
    assert [place for place, key in enumerate(finished) if key == "small"][-1] < 12


# -- sandbox ----------------------------------------------------------------------------------------------------------


async def test_only_suspects_are_sent_to_the_sandbox(make_pool: MakePool) -> None:
    sandbox = RecordingSandbox()
    pool = make_pool(sandbox=sandbox)
    compressed = await asyncio.gather(
        pool.compress(LARGE, SPECS, flow=flow("batch"), suspect=True), pool.compress(SMALL, SPECS, flow=flow("batch"))
    )
    assert [image.width for image in compressed] == [1_000, 64]
    assert set(sandbox.images) == {LARGE}
    await until(lambda: pool.pixels.idle)


async def test_an_image_whose_decoder_holds_the_gil_is_decoded_in_the_sandbox(make_pool: MakePool) -> None:
    sandbox = RecordingSandbox()
    image = encoded(scene(64, 48), "JPEG2000")
    assert (await make_pool(sandbox=sandbox).compress(image, SPECS, flow=flow("batch"))).input_format == "jpeg2000"
    assert sandbox.images == [image]


async def test_an_image_that_exceeds_all_pixels_is_compressed_in_the_sandbox(
    make_pool: MakePool,
) -> None:
    sandbox = RecordingSandbox()
    pool = make_pool(sandbox=sandbox)
    [small], [large] = [
        (await pool.compress(image, [Spec(format=Format.avif)], flow=flow("batch"))).renditions
        for image in (SMALL, LARGE)
    ]
    assert (small.format, large.format, large.width) == ("avif", "avif", 1_000)
    assert sandbox.images == [LARGE]
    assert sandbox.pixels == [4 * 600_000]
    await until(lambda: pool.pixels.idle)


async def test_small_images_never_wait_for_one_that_takes_all_pixels(make_pool: MakePool) -> None:
    sandbox = RecordingSandbox(gate=asyncio.Event())
    pool = make_pool(sandbox=sandbox)
    large = [Spec(format=Format.avif)]
    larges = [asyncio.create_task(pool.compress(LARGE, large, flow=flow("large"))) for _ in range(3)]
    await until(lambda: sandbox.inside == 1)
    smalls = [pool.compress(SMALL, SPECS, flow=flow("small")) for _ in range(20)]
    assert [image.width for image in await asyncio.gather(*smalls)] == [64] * 20
    assert sandbox.inside == 1, "only one of that weight at a time"
    assert sandbox.gate is not None
    sandbox.gate.set()
    await asyncio.gather(*larges)
    await until(lambda: pool.pixels.idle and pool.sandbox.pixels.idle)


async def test_an_image_that_may_take_seconds_occupies_no_thread(make_pool: MakePool) -> None:
    sandbox = RecordingSandbox(gate=asyncio.Event())
    pool = make_pool(sandbox=sandbox)
    film = animation("GIF", count=200, size=(300, 250))
    films = [asyncio.create_task(pool.compress(film, [Spec(format=Format.webp)], flow=flow("films"))) for _ in range(2)]
    await until(lambda: sandbox.inside == 1)
    short = animation("GIF", count=3, size=(300, 250))
    assert (await pool.compress(short, SPECS, flow=flow("small"))).input_format == "gif"
    assert (await pool.compress(SMALL, SPECS, flow=flow("small"))).width == 64
    assert (sandbox.images, sandbox.inside) == ([film], 1)
    for each in films:
        each.cancel()
    await asyncio.gather(*films, return_exceptions=True)


async def test_an_image_with_many_renditions_counts_as_slow(make_pool: MakePool) -> None:
    sandbox = RecordingSandbox()
    specs = [Spec(name=f"r{number}", format=Format.webp) for number in range(30)]
    image = photo_jpeg(800, 700)
    await make_pool(sandbox=sandbox, limits=CodecLimits(max_pixels=5_000_000)).compress(
        image, specs, flow=flow("batch")
    )
    assert sandbox.images == [image]


async def test_only_one_heavy_suspect_is_in_the_sandbox_at_a_time(make_pool: MakePool) -> None:
    sandbox = RecordingSandbox()
    pool = make_pool(threads=4, sandbox=sandbox)
    alone = await pool.sandbox.heavy_slot.acquire(flow("other"))
    avif = [Spec(format=Format.avif)]
    suspects = [asyncio.create_task(pool.compress(LARGE, avif, flow=flow("bad"), suspect=True)) for _ in range(3)]
    await until(lambda: pool.sandbox.heavy_slot.waiting(flow("bad")) == 3)
    alone.release()
    assert {image.width for image in await asyncio.gather(*suspects)} == {1_000}
    assert sandbox.pixels == [150_000] * 3 + [4 * 600_000] * 3
    assert pool.sandbox.pixels.idle


async def test_a_suspect_starts_with_its_share_of_pixels_and_waits_for_more(make_pool: MakePool) -> None:
    sandbox = RecordingSandbox()
    pool = make_pool(sandbox=sandbox)
    holder = await pool.sandbox.pixels.acquire(flow("other"), 400_000)
    task = asyncio.create_task(pool.compress(LARGE, SPECS, flow=flow("batch"), suspect=True))
    await until(lambda: pool.sandbox.pixels.waiting() > 0)
    assert (sandbox.pixels, task.done()) == ([300_000], False)
    holder.release()
    await task
    assert sandbox.pixels == [300_000, 600_000]
    assert pool.sandbox.pixels.idle


async def test_any_number_of_suspects_leaves_pixels_to_the_threads(make_pool: MakePool) -> None:
    sandbox = RecordingSandbox(gate=asyncio.Event())
    pool = make_pool(threads=2, sandbox=sandbox)
    suspects = [asyncio.create_task(pool.compress(SMALL, SPECS, flow=flow("bad"), suspect=True)) for _ in range(9)]
    await until(lambda: sandbox.inside == 2)
    for _ in range(9):
        await pool.compress(SMALL, SPECS, flow=flow("good"))
    assert sandbox.inside == 2
    assert sandbox.gate is not None
    sandbox.gate.set()
    await asyncio.gather(*suspects)
    assert pool.pixels.idle


# -- images that take too long ----------------------------------------------------------------------------------------


async def test_an_image_that_takes_too_long_is_abandoned_and_the_overrun_reported(make_pool: MakePool) -> None:
    watchdog, calls = HoldingWatchdog(10), []
    pool = make_pool(threads=2, watchdog=watchdog, on_overrun=lambda: calls.append("overrun"))
    stuck = asyncio.create_task(pool.compress(SMALL, SPECS, flow=flow("batch")))
    await until(lambda: watchdog.held == 1)
    while not calls:
        watchdog.tick(2.0)
    with pytest.raises(DecodeAbandoned):
        await stuck
    assert pool.overran
    watchdog.free = 1
    assert (await pool.compress(SMALL, SPECS, flow=flow("batch"))).width == 64  # the other thread still works
    watchdog.release()
    await until(lambda: pool.pixels.idle)
    assert calls == ["overrun"]


async def test_the_time_that_an_image_waits_for_a_thread_does_not_count(
    make_pool: MakePool,
) -> None:
    watchdog, calls = HoldingWatchdog(10), []
    pool = make_pool(watchdog=watchdog, on_overrun=lambda: calls.append("overrun"))
    first = asyncio.create_task(pool.compress(SMALL, SPECS, flow=flow("batch")))
    await until(lambda: watchdog.held == 1)
    second = asyncio.create_task(pool.compress(SMALL, SPECS, flow=flow("batch")))
    await until(lambda: len(watchdog.watches) == 2)
    for _ in range(15):  # of the 40 seconds that an image may wait for the CPU
        watchdog.tick(2.0)
    watchdog.release()
    await first
    await until(lambda: watchdog.held == 2)
    for _ in range(15):
        watchdog.tick(2.0)
    watchdog.release()
    assert (await second).width == 64
    assert calls == []
    assert not watchdog.watches


async def overrun(pool: CodecPool, watchdog: HoldingWatchdog, key: str) -> None:
    """Let an image of the batch `key` take a thread too long."""
    stuck = asyncio.create_task(pool.compress(SMALL, SPECS, flow=flow(key)))
    await until(lambda: watchdog.held == 1)
    while not pool.overran:
        watchdog.tick(2.0)
    with pytest.raises(CpuTimeExceeded):
        await stuck


async def test_after_an_overrun_the_other_images_of_that_batch_are_suspects(make_pool: MakePool) -> None:
    watchdog, sandbox = HoldingWatchdog(10), RecordingSandbox()
    pool = make_pool(threads=2, watchdog=watchdog, sandbox=sandbox)
    await overrun(pool, watchdog, "bad")
    watchdog.free = 9
    other = photo_jpeg(60, 40)
    await asyncio.gather(pool.compress(SMALL, SPECS, flow=flow("good")), pool.compress(other, SPECS, flow=flow("bad")))
    assert sandbox.images == [other]
    watchdog.release()


async def test_an_image_that_waited_for_pixels_when_its_batch_overran_is_a_suspect(make_pool: MakePool) -> None:
    watchdog, sandbox = HoldingWatchdog(10), RecordingSandbox()
    pool = make_pool(threads=2, watchdog=watchdog, sandbox=sandbox)
    holder = await pool.pixels.acquire(flow("other"), LIMITS.max_pixels - LIMITS.max_pixels // 4)
    waiting = photo_jpeg(60, 40)
    stuck = asyncio.create_task(pool.compress(SMALL, SPECS, flow=flow("bad")))
    late = asyncio.create_task(pool.compress(waiting, SPECS, flow=flow("bad")))
    await until(lambda: watchdog.held == 1 and pool.pixels.waiting() > 0)
    while not pool.overran:
        watchdog.tick(2.0)
    await asyncio.gather(stuck, return_exceptions=True)
    holder.release()
    assert (await late).width == 60
    assert (sandbox.images, watchdog.held) == ([waiting], 1)
    watchdog.release()


async def test_a_batch_that_overran_in_another_worker_is_in_quarantine_until_lifted(make_pool: MakePool) -> None:
    sandbox = RecordingSandbox()
    pool = make_pool(sandbox=sandbox)
    pool.quarantine(flow("batch").batch_id, quarantined=True)
    await pool.compress(SMALL, SPECS, flow=flow("batch"))
    await pool.compress(LARGE, SPECS, flow=flow("other"))
    assert sandbox.images == [SMALL]
    pool.quarantine(flow("batch").batch_id, quarantined=False)
    await pool.compress(SMALL, SPECS, flow=flow("batch"))
    assert sandbox.images == [SMALL]


# -- memory -----------------------------------------------------------------------------------------------------------


class Body(bytes):
    """A body that counts how many bodies have been freed."""

    freed = 0

    def __del__(self) -> None:
        Body.freed += 1


@pytest.fixture
def uncollected() -> Iterator[None]:
    """No collection of reference cycles, as in a worker for minutes."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize(
    ("image", "spec"),
    [
        pytest.param(b"<!doctype html>", Spec(), id="no image"),
        pytest.param(photo_jpeg(800, 700), Spec(), id="more pixels"),
        pytest.param(photo_jpeg(800, 700), Spec(format=Format.avif), id="elsewhere"),
        pytest.param(SMALL, Spec(), id="done"),
    ],
)
async def test_nothing_keeps_an_image_in_memory_after_its_compression(
    make_pool: MakePool, uncollected: None, image: bytes, spec: Spec
) -> None:
    sandbox = RecordingSandbox()
    pool, before = make_pool(sandbox=sandbox), Body.freed
    with suppress(NotAnImage):
        await pool.compress(Body(image), [spec], flow=flow("batch"))
    sandbox.images.clear()
    await until(lambda: pool.pixels.idle and Body.freed > before)
