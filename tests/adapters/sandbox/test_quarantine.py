"""Quarantine with real processes: they are killed, stopped and starved, and what is to blame is blamed."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest

from imgsvc.adapters.sandbox.framing import frame
from imgsvc.adapters.sandbox.pool import SandboxPool
from imgsvc.domain.imaging.compress import CodecLimits, Compressed, ReservationTooSmall, compress
from imgsvc.domain.imaging.spec import Format, Spec
from imgsvc.errors import (
    CodecError,
    DecodeAbandoned,
    DecodeError,
    NotAnImage,
    SandboxKilled,
    SandboxUnavailable,
    TooManyPixels,
    UnsupportedFormat,
    WorkerCrash,
)  # fmt: skip
from imgsvc.services.codec.watchdog import MAX_TICK_SHARE, PROGRESS, STALL_TIMEOUT, Watchdog
from support.images import huge_png, photo_jpeg, truncated
from support.stack import status_of, until

pytestmark = pytest.mark.slow

LIMITS = CodecLimits(max_pixels=5_000_000)
MEMORY = 2**30
PHOTO = photo_jpeg(320, 240)
SPECS = [Spec(), Spec(name="thumb", format=Format.webp, max_width=100)]
LARGE = photo_jpeg(2_000, 1_500)
SLOW = [Spec(name=f"r{number}", format=Format.avif) for number in range(60)]
"""A minute of the processor for `LARGE`, half a second for each."""


@pytest.fixture
async def watchdog() -> AsyncIterator[Watchdog]:
    async with Watchdog(60) as watchdog:
        yield watchdog


@pytest.fixture
async def make_quarantine(watchdog: Watchdog) -> AsyncIterator[Callable[..., SandboxPool]]:
    async with AsyncExitStack() as stack:

        def make(**options: Any) -> SandboxPool:
            terms: dict[str, Any] = {"limits": LIMITS, "memory": MEMORY, "watchdog": watchdog, "linger": 60.0}
            quarantine = SandboxPool(**terms | options)
            stack.push_async_callback(quarantine.aclose)
            return quarantine

        yield make


MakeQuarantine = Callable[..., SandboxPool]


async def made(quarantine: SandboxPool, data: bytes = PHOTO, specs: list[Spec] = SPECS) -> Compressed:
    return await quarantine.compress(data, specs, max_pixels_now=5 * LIMITS.max_pixels)


async def in_flight(quarantine: SandboxPool) -> "tuple[asyncio.Task[Compressed], psutil.Process]":
    """An image that takes a minute, and the process that has begun with it."""
    await made(quarantine)
    [pid] = quarantine.pids
    process = psutil.Process(pid)
    before = process.cpu_times().user
    task = asyncio.create_task(made(quarantine, LARGE, SLOW))

    async def busy() -> bool:
        return bool(process.cpu_times().user > before + 0.2)

    await until(busy)
    return task, process


# -- as anywhere else -------------------------------------------------------------------------------------------------


async def test_a_image_comes_out_as_from_a_thread(make_quarantine: MakeQuarantine) -> None:
    assert await made(make_quarantine()) == compress(PHOTO, SPECS, LIMITS)


async def test_an_original_that_is_smallest_comes_back_as_it_was(make_quarantine: MakeQuarantine) -> None:
    small = photo_jpeg(64, 48, quality=10)
    [rendition] = (await made(make_quarantine(), small, [Spec(quality=95)])).renditions
    assert (rendition.action, rendition.data) == ("kept_original", small)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"<!doctype html>", NotAnImage),
        (b"%PDF-1.7", UnsupportedFormat),
        (huge_png(), TooManyPixels),
        (truncated(PHOTO), DecodeError),
    ],
)
async def test_a_image_that_cannot_be_compressed_says_why_as_in_a_thread(
    make_quarantine: MakeQuarantine, data: bytes, error: type[CodecError]
) -> None:
    quarantine = make_quarantine()
    with pytest.raises(error) as here:
        compress(data, SPECS, LIMITS)
    with pytest.raises(error) as there:
        await made(quarantine, data)
    assert there.value.detail == here.value.detail
    assert len(quarantine.pids) == 1  # nothing happened to it


async def test_a_image_that_needs_more_pixels_than_it_may_have_now_says_how_many(
    make_quarantine: MakeQuarantine,
) -> None:
    with pytest.raises(ReservationTooSmall) as more:
        await make_quarantine().compress(PHOTO, SPECS, max_pixels_now=1_000)
    assert more.value.pixels == 320 * 240 + 100 * 75  # a WebP of 100 px is made as well


# -- processes --------------------------------------------------------------------------------------------------------


async def test_one_process_serves_one_image_after_the_other(make_quarantine: MakeQuarantine) -> None:
    quarantine = make_quarantine()
    seen: list[int] = []
    for _ in range(20):
        await made(quarantine)
        seen += quarantine.pids
    assert len(set(seen)) == 1


async def test_images_at_the_same_time_have_a_process_each(make_quarantine: MakeQuarantine) -> None:
    quarantine = make_quarantine()
    await asyncio.gather(made(quarantine), made(quarantine))
    assert len(set(quarantine.pids)) == 2


async def test_a_process_that_nobody_needs_any_more_ends(make_quarantine: MakeQuarantine) -> None:
    quarantine = make_quarantine(linger=0.05)
    await made(quarantine)

    async def alone() -> bool:
        return not quarantine.pids

    await until(alone)
    await made(quarantine)


async def test_closing_ends_every_process_also_one_in_the_middle_of_a_image(make_quarantine: MakeQuarantine) -> None:
    quarantine = make_quarantine()
    task, process = await in_flight(quarantine)
    await quarantine.aclose()
    assert not process.is_running()
    with pytest.raises(DecodeAbandoned):  # it is none of the image's fault
        await task


WORKER = """
import asyncio, sys
from imgsvc.adapters.sandbox.pool import SandboxPool
from imgsvc.domain.imaging.compress import CodecLimits
from imgsvc.domain.imaging.spec import Format, Spec
from imgsvc.services.codec.watchdog import Watchdog

async def main():
    quarantine = SandboxPool(limits=CodecLimits(), memory=2**30, watchdog=Watchdog(600))
    image = sys.stdin.buffer.read()
    await quarantine.compress(image, [Spec(max_width=8)], max_pixels_now=10**8)
    print(*quarantine.pids, flush=True)
    for_minutes = [Spec(name=f"r{number}", format=Format.avif) for number in range(1_000)]
    await quarantine.compress(image, for_minutes, max_pixels_now=10**8)

asyncio.run(main())
"""


async def test_a_process_ends_with_the_worker_that_started_it_also_in_the_middle_of_a_image() -> None:
    worker = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", WORKER), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert worker.stdin is not None
    assert worker.stdout is not None
    worker.stdin.write(LARGE)
    worker.stdin.close()
    process = psutil.Process(int(await asyncio.wait_for(worker.stdout.readline(), 60)))
    before = process.cpu_times().user

    async def busy() -> bool:
        return bool(process.cpu_times().user > before + 0.2)

    await until(busy)
    worker.kill()
    await worker.wait()

    async def ended() -> bool:
        return not process.is_running() or status_of(process) == psutil.STATUS_ZOMBIE

    await until(ended)


# -- what goes wrong --------------------------------------------------------------------------------------------------


async def test_a_process_that_is_killed_in_the_middle_of_a_image_gives_that_image_the_blame(
    make_quarantine: MakeQuarantine,
) -> None:
    quarantine = make_quarantine()
    task, process = await in_flight(quarantine)
    process.send_signal(signal.SIGSEGV)
    with pytest.raises(WorkerCrash) as crash:
        await task
    assert not crash.value.retryable
    assert (await made(quarantine)).width == 320


CRASHING = [signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGILL, signal.SIGFPE]
SENT = [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT]


@pytest.mark.parametrize("number", [*CRASHING, *SENT])
async def test_an_image_is_blamed_for_a_crash_and_not_for_a_signal_from_outside(
    make_quarantine: MakeQuarantine, number: signal.Signals
) -> None:
    """SIGKILL is the kernel's when memory is short, the others are a service manager's that stops a whole group."""
    quarantine = make_quarantine()
    task, process = await in_flight(quarantine)
    process.send_signal(number)
    with pytest.raises(WorkerCrash) as crash:
        await task
    assert isinstance(crash.value, SandboxKilled) == (number in SENT)
    assert crash.value.code == "worker_crash"
    assert (await made(quarantine)).width == 320


@pytest.fixture
def babbling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python, when it is started, says that it begins with an image, and then nonsense."""
    said = frame({"begun": True}) + frame({"nonsense": 1})
    (tmp_path / "sitecustomize.py").write_text(
        f"import os, sys\nif 'quarantine' in ' '.join(sys.orig_argv):\n    os.write(1, {said!r})\n", encoding="utf-8"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)


async def test_a_process_out_of_its_mind_is_the_images_fault(make_quarantine: MakeQuarantine, babbling: None) -> None:
    """It is killed by us, which is not to be taken for a signal that somebody sent."""
    with pytest.raises(WorkerCrash) as crash:
        await made(make_quarantine())
    assert not isinstance(crash.value, SandboxKilled)


async def test_an_image_that_gets_little_of_the_processor_is_not_given_up(
    make_quarantine: MakeQuarantine, watchdog: Watchdog
) -> None:
    """It is waited for for longer, by the clock on the wall, than one that sleeps."""
    task, process = await in_flight(make_quarantine())
    for _ in range(3):
        before = process.cpu_times().user

        async def went_on(before: float = before) -> bool:
            return bool(process.cpu_times().user > before + 2 * PROGRESS * watchdog.seconds)

        await until(went_on)
        for _ in range(int(STALL_TIMEOUT * watchdog.seconds * 0.8 / MAX_TICK_SHARE)):
            watchdog.tick(MAX_TICK_SHARE)
    assert watchdog.awake > 2 * STALL_TIMEOUT * watchdog.seconds
    assert not task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_neighbour_does_not_notice_that_a_process_is_killed(make_quarantine: MakeQuarantine) -> None:
    quarantine = make_quarantine()
    task, process = await in_flight(quarantine)
    neighbour = asyncio.create_task(made(quarantine, LARGE, SLOW[:3]))
    process.kill()
    assert (await neighbour).width == 2_000
    with pytest.raises(WorkerCrash):
        await task


async def test_a_image_that_takes_too_much_of_the_processor_is_given_up(make_quarantine: MakeQuarantine) -> None:
    with pytest.raises(WorkerCrash, match="too long"):
        await made(make_quarantine(watchdog=Watchdog(0.2)), LARGE, SLOW)


async def test_time_is_counted_for_each_image_by_itself(make_quarantine: MakeQuarantine) -> None:
    quarantine = make_quarantine(watchdog=Watchdog(2.0))
    for _ in range(8):
        await made(quarantine, LARGE, SLOW[:1])  # about half a second each
    assert len(quarantine.pids) == 1


async def test_a_process_that_sleeps_is_not_waited_for_for_ever(
    make_quarantine: MakeQuarantine, watchdog: Watchdog
) -> None:
    task, process = await in_flight(make_quarantine())
    process.suspend()
    while not task.done():
        watchdog.tick(2.0)
        await asyncio.sleep(0)
    with pytest.raises(WorkerCrash, match="too long"):
        await task


async def test_a_image_that_needs_too_much_memory_is_given_up(make_quarantine: MakeQuarantine) -> None:
    quarantine = make_quarantine(memory=200 * 2**20, limits=CodecLimits())
    with pytest.raises(WorkerCrash, match="too much memory"):
        await quarantine.compress(photo_jpeg(7_000, 6_000, quality=20), SPECS, max_pixels_now=10**9)
    assert (await made(quarantine)).width == 320


async def test_who_is_cancelled_in_the_middle_leaves_no_process_at_work(make_quarantine: MakeQuarantine) -> None:
    task, process = await in_flight(make_quarantine())
    task.cancel()
    with pytest.raises(DecodeAbandoned):
        await task
    assert not process.is_running()


@pytest.fixture
def never_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python, when it is started, waits for ever before it runs anything."""
    os.mkfifo(tmp_path / "door")
    (tmp_path / "sitecustomize.py").write_text(f"open({str(tmp_path / 'door')!r}).read()", encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)


async def starting(quarantine: SandboxPool) -> "tuple[asyncio.Task[Compressed], int]":
    """An image that waits for its process to come up, and the process."""
    task = asyncio.create_task(made(quarantine))

    async def started() -> list[int]:
        return quarantine.pids

    [pid] = await until(started)
    return task, pid


async def test_who_is_cancelled_before_the_image_was_looked_at_has_left_nothing(
    make_quarantine: MakeQuarantine, never_up: None
) -> None:
    quarantine = make_quarantine()
    task, _ = await starting(quarantine)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not quarantine.pids


async def test_when_no_process_comes_up_the_image_is_not_to_blame(
    make_quarantine: MakeQuarantine, never_up: None
) -> None:
    task, pid = await starting(make_quarantine())
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(SandboxUnavailable):
        await task


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_a_process_that_died_while_idle_is_no_images_fault(
    make_quarantine: MakeQuarantine, number: signal.Signals
) -> None:
    quarantine = make_quarantine()
    await made(quarantine)
    [pid] = quarantine.pids
    os.kill(pid, number)
    assert (await made(quarantine)).width == 320
    assert pid not in quarantine.pids
