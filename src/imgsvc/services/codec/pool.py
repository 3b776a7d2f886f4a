"""The codec pool: the one place where decoding and encoding leave the event loop."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial

from imgsvc.domain.imaging.compress import CodecLimits, Compressed, ReservationTooSmall, TooSlowForThread, compress
from imgsvc.domain.imaging.file_types import decoder_holds_gil
from imgsvc.domain.imaging.spec import Spec
from imgsvc.errors import CpuTimeExceeded, DecodeAbandoned
from imgsvc.logs import get_logger
from imgsvc.services.codec.abandoned import AbandonedDecodes
from imgsvc.services.codec.sandbox_queue import SandboxQueue, with_pixels
from imgsvc.services.codec.watchdog import Watch, Watchdog, thread_clock
from imgsvc.services.ports import Sandbox
from imgsvc.services.throttling.fair_semaphore import FairSemaphore
from imgsvc.services.throttling.flow import Flow
from imgsvc.services.throttling.reservation import Reservation

log = get_logger(__name__)

CLOSE_TIMEOUT = 3.0
"""Seconds that a closing pool waits for its threads; their results are discarded."""


class CodecPool:
    """Compresses images in `threads` threads, fairly between flows, with at most `pixels` pixels decoded at once.

    Pixels are weighted by the memory that their format takes (`domain.imaging.memory_cost`). An image starts with an
    equal share of them; if its header asks for more, it waits until that many are free. Work that may take long never
    runs in a thread, where other images would wait for it. The sandbox, which has as many pixels and slots of its own,
    takes the images of quarantined batches, suspects, images that may take seconds, and images that need more than all
    the pixels.

    A thread cannot be stopped. When an image takes longer than `watchdog` allows, `on_overrun` is called, and the
    process should end. Until then the other images of that batch are suspects.

    Work that has started continues when its caller is cancelled, and a later call with the same image and specs joins
    it. So no image is decoded in two threads at once, and one that takes longer than a lane's lifetime gets finished.
    """

    def __init__(
        self,
        *,
        threads: int,
        pixels: int,
        limits: CodecLimits,
        sandbox: Sandbox,
        watchdog: Watchdog,
        on_overrun: Callable[[], None],
        weights: Mapping[str, float] | None = None,
    ) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="codec")
        self.pixels = FairSemaphore(max(pixels, limits.max_pixels), weights=weights)
        # Two more than the threads can run: the next image is ready the moment a thread is free.
        self._share = self.pixels.capacity // (threads + 2)
        self._abandoned = AbandonedDecodes()
        self.sandbox = SandboxQueue(
            sandbox, slots=threads, pixels=self.pixels.capacity, abandoned=self._abandoned, weights=weights
        )
        self._limits = limits
        self._watchdog = watchdog
        self._on_overrun = on_overrun
        self._running: set[Future[Compressed]] = set()
        self._overran_batches: set[str] = set()
        self._quarantined: set[str] = set()
        self._one_ended = asyncio.Event()
        self.overran = False

    async def compress(self, data: bytes, specs: Sequence[Spec], *, flow: Flow, suspect: bool = False) -> Compressed:
        """Call `domain.imaging.compress` on behalf of `flow`, in a thread or in the sandbox.

        Raises:
            CodecError: the image cannot become a rendition.
            WorkerCrash: the image crashed its sandbox process.
            SandboxKilled: its sandbox process was killed from outside.
            SandboxUnavailable: no sandbox process can be started now.
            DecodeAbandoned: the caller was cancelled while the image was being compressed.
            CpuTimeExceeded: the image takes too long for a thread.
        """
        if running := self._abandoned.find(data, specs):
            with suppress(ReservationTooSmall, TooSlowForThread):  # the thread had only read the header
                return await asyncio.shield(running)
        pixels = self._share
        if not suspect and not self._is_quarantined(flow) and not decoder_holds_gil(data):
            try:
                work = partial(self._in_thread, data, specs, flow)
                return await with_pixels(self.pixels, flow, pixels, work, max_pixels=self.pixels.capacity)
            except (ReservationTooSmall, TooSlowForThread) as more:
                pixels = more.pixels
        return await self.sandbox.compress(data, specs, flow=flow, pixels=pixels)

    def quarantine(self, batch_id: str, *, quarantined: bool) -> None:
        """Set whether all images of a batch are suspects because one of them overran in some worker."""
        if quarantined:
            self._quarantined.add(batch_id)
        else:
            self._quarantined.discard(batch_id)

    def _is_quarantined(self, flow: Flow) -> bool:
        return flow.batch_id in self._overran_batches or flow.batch_id in self._quarantined

    async def _in_thread(
        self, data: bytes, specs: Sequence[Spec], flow: Flow, pixels: int, reservation: Reservation
    ) -> Compressed:
        if self._is_quarantined(flow):  # since it began to wait for its pixels
            reservation.release()
            raise TooSlowForThread(pixels)
        loop = asyncio.get_running_loop()
        result: asyncio.Future[Compressed] = loop.create_future()
        watch = self._watchdog.watch(partial(self._overrun, flow.batch_id, result))
        work = self._threads.submit(self._compress, watch, data, specs, pixels)
        self._running.add(work)
        work.add_done_callback(partial(loop.call_soon_threadsafe, partial(self._end, watch, reservation, result)))
        try:
            return await asyncio.shield(result)
        except asyncio.CancelledError:
            work.cancel()
            if work.running():
                self._abandoned.keep(data, specs, result)
                raise DecodeAbandoned from None
            result.cancel()
            raise
        finally:
            del work, result  # they refer to the exception raised here: a cycle that would keep the image in memory

    def _compress(self, watch: Watch, data: bytes, specs: Sequence[Spec], pixels: int) -> Compressed:
        watch.begin(thread_clock())
        return compress(data, specs, self._limits, reserved_pixels=pixels, may_take_long=False)

    def _end(
        self, watch: Watch, reservation: Reservation, result: "asyncio.Future[Compressed]", work: Future[Compressed]
    ) -> None:
        """Release the pixels when the thread ends, not when its caller is cancelled: they are in memory until then."""
        watch.end()
        reservation.release()
        self._running.discard(work)
        self._one_ended.set()
        if result.done():
            return
        if work.cancelled():
            result.cancel()
        elif error := work.exception():
            result.set_exception(error)
        else:
            result.set_result(work.result())

    def _overrun(self, batch_id: str, result: "asyncio.Future[Compressed]") -> None:
        log.error("codec_timeout_exceeded", batch_id=batch_id, seconds=self._watchdog.seconds)
        self.overran = True
        self._overran_batches.add(batch_id)
        if not result.done():
            result.set_exception(CpuTimeExceeded())
        self._on_overrun()

    async def aclose(self) -> None:
        """Drop the images not started, end those in the sandbox, and wait up to `CLOSE_TIMEOUT` for the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        await self.sandbox.aclose()
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT):
                while self._running:
                    self._one_ended.clear()
                    await self._one_ended.wait()
