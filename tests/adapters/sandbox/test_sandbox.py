"""The sandbox with real processes that are killed, stopped and starved: which failures are blamed on the image."""

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
from imgsvc.services.codec.watchdog import MAX_TICK, MIN_CPU_SHARE, STALL_TIMEOUT, Watchdog
from support.images import huge_png, photo_jpeg, truncated
from support.stack import status_of, until

pytestmark = pytest.mark.slow

LIMITS = CodecLimits(max_pixels=5_000_000)
MEMORY = 2**30
PHOTO = photo_jpeg(320, 240)
SPECS = [Spec(), Spec(name="thumb", format=Format.webp, max_width=100)]
LARGE = photo_jpeg(2_000, 1_500)
SLOW = [Spec(name=f"r{number}", format=Format.avif) for number in range(60)]
"""A minute of CPU time for `LARGE`, half a second per rendition."""


@pytest.fixture
async def watchdog() -> AsyncIterator[Watchdog]:
    async with Watchdog(60) as watchdog:
        yield watchdog


@pytest.fixture
async def make_sandbox(watchdog: Watchdog) -> AsyncIterator[Callable[..., SandboxPool]]:
    async with AsyncExitStack() as stack:

        def make(**options: Any) -> SandboxPool:
            defaults: dict[str, Any] = {"limits": LIMITS, "memory": MEMORY, "watchdog": watchdog, "linger": 60.0}
            sandbox = SandboxPool(**defaults | options)
            stack.push_async_callback(sandbox.aclose)
            return sandbox

        yield make


MakeSandbox = Callable[..., SandboxPool]


async def compressed(sandbox: SandboxPool, data: bytes = PHOTO, specs: list[Spec] = SPECS) -> Compressed:
    return await sandbox.compress(data, specs, reserved_pixels=5 * LIMITS.max_pixels)


async def in_flight(sandbox: SandboxPool) -> "tuple[asyncio.Task[Compressed], psutil.Process]":
    """Start compressing an image that takes a minute; return the task and the child that works on it."""
    await compressed(sandbox)
    [pid] = sandbox.pids
    process = psutil.Process(pid)
    before = process.cpu_times().user
    task = asyncio.create_task(compressed(sandbox, LARGE, SLOW))

    async def busy() -> bool:
        return bool(process.cpu_times().user > before + 0.2)

    await until(busy)
    return task, process


# -- results ----------------------------------------------------------------------------------------------------------


async def test_an_image_is_compressed_as_in_a_thread(make_sandbox: MakeSandbox) -> None:
    assert await compressed(make_sandbox()) == compress(PHOTO, SPECS, LIMITS)


async def test_an_original_that_is_smallest_is_returned_unchanged(make_sandbox: MakeSandbox) -> None:
    small = photo_jpeg(64, 48, quality=10)
    [rendition] = (await compressed(make_sandbox(), small, [Spec(quality=95)])).renditions
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
async def test_a_codec_error_has_the_same_detail_as_in_a_thread(
    make_sandbox: MakeSandbox, data: bytes, error: type[CodecError]
) -> None:
    sandbox = make_sandbox()
    with pytest.raises(error) as here:
        compress(data, SPECS, LIMITS)
    with pytest.raises(error) as there:
        await compressed(sandbox, data)
    assert there.value.detail == here.value.detail
    assert len(sandbox.pids) == 1  # the child is still running


async def test_an_image_that_needs_more_pixels_reports_how_many(
    make_sandbox: MakeSandbox,
) -> None:
    with pytest.raises(ReservationTooSmall) as more:
        await make_sandbox().compress(PHOTO, SPECS, reserved_pixels=1_000)
    assert more.value.pixels == 320 * 240 + 100 * 75  # includes the WebP of 100 px


# -- processes --------------------------------------------------------------------------------------------------------


async def test_one_process_serves_consecutive_images(make_sandbox: MakeSandbox) -> None:
    sandbox = make_sandbox()
    pids: list[int] = []
    for _ in range(20):
        await compressed(sandbox)
        pids += sandbox.pids
    assert len(set(pids)) == 1


async def test_concurrent_images_have_a_process_each(make_sandbox: MakeSandbox) -> None:
    sandbox = make_sandbox()
    await asyncio.gather(compressed(sandbox), compressed(sandbox))
    assert len(set(sandbox.pids)) == 2


async def test_an_idle_process_ends(make_sandbox: MakeSandbox) -> None:
    sandbox = make_sandbox(linger=0.05)
    await compressed(sandbox)

    async def all_ended() -> bool:
        return not sandbox.pids

    await until(all_ended)
    await compressed(sandbox)


async def test_closing_ends_every_process_even_one_that_works_on_an_image(make_sandbox: MakeSandbox) -> None:
    sandbox = make_sandbox()
    task, process = await in_flight(sandbox)
    await sandbox.aclose()
    assert not process.is_running()
    with pytest.raises(DecodeAbandoned):  # the image is not to blame
        await task


WORKER = """
import asyncio, sys
from imgsvc.adapters.sandbox.pool import SandboxPool
from imgsvc.domain.imaging.compress import CodecLimits
from imgsvc.domain.imaging.spec import Format, Spec
from imgsvc.services.codec.watchdog import Watchdog

async def main():
    sandbox = SandboxPool(limits=CodecLimits(), memory=2**30, watchdog=Watchdog(600))
    image = sys.stdin.buffer.read()
    await sandbox.compress(image, [Spec(max_width=8)], reserved_pixels=10**8)
    print(*sandbox.pids, flush=True)
    many_specs = [Spec(name=f"r{number}", format=Format.avif) for number in range(1_000)]
    await sandbox.compress(image, many_specs, reserved_pixels=10**8)

asyncio.run(main())
"""


async def test_a_process_ends_with_its_worker_even_while_it_works_on_an_image() -> None:
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


# -- failures ---------------------------------------------------------------------------------------------------------


async def test_an_image_is_blamed_when_its_process_crashes(
    make_sandbox: MakeSandbox,
) -> None:
    sandbox = make_sandbox()
    task, process = await in_flight(sandbox)
    process.send_signal(signal.SIGSEGV)
    with pytest.raises(WorkerCrash) as crash:
        await task
    assert not crash.value.retryable
    assert (await compressed(sandbox)).width == 320


CRASHES = [signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGILL, signal.SIGFPE]
FROM_OUTSIDE = [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT]


@pytest.mark.parametrize("number", [*CRASHES, *FROM_OUTSIDE])
async def test_an_image_is_blamed_for_a_crash_and_not_for_a_signal_from_outside(
    make_sandbox: MakeSandbox, number: signal.Signals
) -> None:
    """The kernel sends SIGKILL when memory is short; a service manager sends the others to the whole group."""
    sandbox = make_sandbox()
    task, process = await in_flight(sandbox)
    process.send_signal(number)
    with pytest.raises(WorkerCrash) as crash:
        await task
    assert isinstance(crash.value, SandboxKilled) == (number in FROM_OUTSIDE)
    assert crash.value.code == "worker_crash"
    assert (await compressed(sandbox)).width == 320


@pytest.fixture
def sending_nonsense(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment in which a sandbox child reports the start of an image and then sends nonsense."""
    messages = frame({"started": True}) + frame({"nonsense": 1})
    (tmp_path / "sitecustomize.py").write_text(
        f"import os, sys\nif 'imgsvc.adapters.sandbox.child' in sys.orig_argv:\n    os.write(1, {messages!r})\n",
        encoding="utf-8",
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)


async def test_an_image_is_blamed_when_its_process_sends_nonsense(
    make_sandbox: MakeSandbox, sending_nonsense: None
) -> None:
    """We kill the child, which must not count as a signal from outside."""
    with pytest.raises(WorkerCrash) as crash:
        await compressed(make_sandbox())
    assert not isinstance(crash.value, SandboxKilled)


async def test_an_image_that_gets_little_cpu_time_is_not_given_up(
    make_sandbox: MakeSandbox, watchdog: Watchdog
) -> None:
    """It gets more wall-clock time than a process that sleeps."""
    task, process = await in_flight(make_sandbox())
    for _ in range(3):
        before = process.cpu_times().user

        async def has_progressed(before: float = before) -> bool:
            return bool(process.cpu_times().user > before + 2 * MIN_CPU_SHARE * watchdog.seconds)

        await until(has_progressed)
        for _ in range(int(STALL_TIMEOUT * watchdog.seconds * 0.8 / MAX_TICK)):
            watchdog.tick(MAX_TICK)
    assert watchdog.awake > 2 * STALL_TIMEOUT * watchdog.seconds
    assert not task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_another_image_is_not_affected_when_a_process_is_killed(make_sandbox: MakeSandbox) -> None:
    sandbox = make_sandbox()
    task, process = await in_flight(sandbox)
    neighbour = asyncio.create_task(compressed(sandbox, LARGE, SLOW[:3]))
    process.kill()
    assert (await neighbour).width == 2_000
    with pytest.raises(WorkerCrash):
        await task


async def test_an_image_that_takes_too_much_cpu_time_is_given_up(make_sandbox: MakeSandbox) -> None:
    with pytest.raises(WorkerCrash, match="too long"):
        await compressed(make_sandbox(watchdog=Watchdog(0.2)), LARGE, SLOW)


async def test_cpu_time_is_counted_per_image(make_sandbox: MakeSandbox) -> None:
    sandbox = make_sandbox(watchdog=Watchdog(2.0))
    for _ in range(8):
        await compressed(sandbox, LARGE, SLOW[:1])  # about half a second each
    assert len(sandbox.pids) == 1


async def test_a_sleeping_process_is_given_up(make_sandbox: MakeSandbox, watchdog: Watchdog) -> None:
    task, process = await in_flight(make_sandbox())
    process.suspend()
    while not task.done():
        watchdog.tick(2.0)
        await asyncio.sleep(0)
    with pytest.raises(WorkerCrash, match="too long"):
        await task


async def test_an_image_that_needs_too_much_memory_is_given_up(make_sandbox: MakeSandbox) -> None:
    sandbox = make_sandbox(memory=200 * 2**20, limits=CodecLimits())
    with pytest.raises(WorkerCrash, match="too much memory"):
        await sandbox.compress(photo_jpeg(7_000, 6_000, quality=20), SPECS, reserved_pixels=10**9)
    assert (await compressed(sandbox)).width == 320


async def test_a_call_cancelled_while_its_image_is_processed_ends_the_process(make_sandbox: MakeSandbox) -> None:
    task, process = await in_flight(make_sandbox())
    task.cancel()
    with pytest.raises(DecodeAbandoned):
        await task
    assert not process.is_running()


@pytest.fixture
def never_starting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment in which Python waits forever before it runs anything."""
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "sitecustomize.py").write_text(f"open({str(tmp_path / 'fifo')!r}).read()", encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)


async def starting(sandbox: SandboxPool) -> "tuple[asyncio.Task[Compressed], int]":
    """Start compressing an image whose child never starts; return the task and the process id."""
    task = asyncio.create_task(compressed(sandbox))

    async def started() -> list[int]:
        return sandbox.pids

    [pid] = await until(started)
    return task, pid


async def test_a_call_cancelled_before_its_image_was_started_leaves_nothing(
    make_sandbox: MakeSandbox, never_starting: None
) -> None:
    sandbox = make_sandbox()
    task, _ = await starting(sandbox)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not sandbox.pids


async def test_an_image_is_not_blamed_when_no_process_starts(make_sandbox: MakeSandbox, never_starting: None) -> None:
    task, pid = await starting(make_sandbox())
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(SandboxUnavailable):
        await task


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_no_image_is_blamed_when_an_idle_process_dies(make_sandbox: MakeSandbox, number: signal.Signals) -> None:
    sandbox = make_sandbox()
    await compressed(sandbox)
    [pid] = sandbox.pids
    os.kill(pid, number)
    assert (await compressed(sandbox)).width == 320
    assert pid not in sandbox.pids
