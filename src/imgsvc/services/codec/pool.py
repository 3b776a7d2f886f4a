"""Where images are decoded and encoded: the one place where CPU work leaves the event loop."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial

from imgsvc.domain.imaging.compress import CodecLimits, Compressed, ReservationTooSmall, TooSlowForThread, compress
from imgsvc.domain.imaging.file_types import decoder_holds_gil
from imgsvc.domain.imaging.spec import Spec
from imgsvc.errors import DecodeAbandoned, Overran
from imgsvc.logs import get_logger
from imgsvc.services.codec.isolation import Isolation, with_pixels
from imgsvc.services.codec.unfinished import AbandonedDecodes
from imgsvc.services.codec.watchdog import Watch, Watchdog, processor_clock
from imgsvc.services.ports import Quarantine
from imgsvc.services.throttling.fair_semaphore import FairSemaphore, Reservation

log = get_logger(__name__)

CLOSE_WITHIN = 3.0
"""Seconds that a closing pool waits for its threads; nobody wants what they make any more."""


class CodecPool:
    """Compresses images in `threads` threads, fairly between batches, with at most `pixels` pixels worked on at once.

    The pixels are weighted by what the formats take of memory (`domain.weights`). An image starts with an equal share
    of them; one whose header asks for more waits until that many are free. Nothing that may take long is done in a
    thread, where others would wait behind it: suspects, images that take seconds at worst, and those that weigh more
    than all the threads together may have, are sent to quarantine, which has as many pixels and places of its own.

    A thread cannot be stopped. When one works on an image for longer than `watchdog` allows, `on_overrun` is called,
    and the process should end. Until then the further images of that batch are suspects.

    Work that has begun goes on when its caller is cancelled; a later call with the same image and specs joins it. So
    nothing is decoded in two threads at one time, and an image that takes longer than a lane lives is finished.
    """

    def __init__(
        self,
        *,
        threads: int,
        pixels: int,
        limits: CodecLimits,
        quarantine: Quarantine,
        watchdog: Watchdog,
        on_overrun: Callable[[], None],
    ) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="codec")
        self._semaphore = FairSemaphore(max(pixels, limits.max_pixels))
        # Two more than the threads can run: the next image is at hand the moment a thread is free.
        self._share = self._semaphore.capacity // (threads + 2)
        self._unfinished = AbandonedDecodes()
        self._isolation = Isolation(
            quarantine, places=threads, pixels=self._semaphore.capacity, unfinished=self._unfinished
        )
        self._limits = limits
        self._watchdog = watchdog
        self._on_overrun = on_overrun
        self._at_work: set[Future[Compressed]] = set()
        self._overran_with: set[str] = set()
        self._kept_apart: set[str] = set()
        self._one_ended = asyncio.Event()
        self.overran = False

    async def compress(self, data: bytes, specs: Sequence[Spec], *, key: str, suspect: bool = False) -> Compressed:
        """`domain.images.compress` on behalf of the batch `key`.

        Raises:
            CodecError: the image cannot become a rendition.
            WorkerCrash: it brought down its process in quarantine.
            KilledInQuarantine: its process there was killed from outside.
            QuarantineUnavailable: there is no quarantine right now.
            DecodeAbandoned: it was being worked on when the caller was cancelled.
            Overran: it takes too long for a thread.
        """
        if begun := self._unfinished.find(data, specs):
            with suppress(ReservationTooSmall, TooSlowForThread):  # it had only looked at the header
                return await asyncio.shield(begun)
        pixels = self._share
        if not suspect and not self._is_apart(key) and not decoder_holds_gil(data):
            try:
                work = partial(self._in_thread, data, specs, key)
                return await with_pixels(self._semaphore, key, pixels, work, most=self._semaphore.capacity)
            except (ReservationTooSmall, TooSlowForThread) as more:
                pixels = more.pixels
        return await self._isolation.compress(data, specs, key=key, pixels=pixels)

    def keep_apart(self, key: str, *, apart: bool) -> None:
        """Say whether all images of the batch `key` are suspects, because one of them overran somewhere."""
        if apart:
            self._kept_apart.add(key)
        else:
            self._kept_apart.discard(key)

    def _is_apart(self, key: str) -> bool:
        return key in self._overran_with or key in self._kept_apart

    async def _in_thread(
        self, data: bytes, specs: Sequence[Spec], key: str, pixels: int, lease: Reservation
    ) -> Compressed:
        if self._is_apart(key):  # since it began to wait for its pixels
            lease.release()
            raise TooSlowForThread(pixels)
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Compressed] = loop.create_future()
        watch = self._watchdog.watch(partial(self._overrun, key, answer))
        work = self._threads.submit(self._compress, watch, data, specs, pixels)
        self._at_work.add(work)
        work.add_done_callback(partial(loop.call_soon_threadsafe, partial(self._end, watch, lease, answer)))
        try:
            return await asyncio.shield(answer)
        except asyncio.CancelledError:
            work.cancel()
            if work.running():
                self._unfinished.keep(data, specs, answer)
                raise DecodeAbandoned from None
            answer.cancel()
            raise
        finally:
            del work, answer  # they hold what is raised here, which would hold them and the image

    def _compress(self, watch: Watch, data: bytes, specs: Sequence[Spec], pixels: int) -> Compressed:
        watch.begin(processor_clock())
        return compress(data, specs, self._limits, max_pixels_now=pixels, may_take_long=False)

    def _end(
        self, watch: Watch, lease: Reservation, answer: "asyncio.Future[Compressed]", work: Future[Compressed]
    ) -> None:
        """When the thread ends, not when its waiter is cancelled: until then the pixels are still in memory."""
        watch.end()
        lease.release()
        self._at_work.discard(work)
        self._one_ended.set()
        if answer.done():
            return
        if work.cancelled():
            answer.cancel()
        elif error := work.exception():
            answer.set_exception(error)
        else:
            answer.set_result(work.result())

    def _overrun(self, key: str, answer: "asyncio.Future[Compressed]") -> None:
        log.error("codec_timeout_exceeded", batch_id=key, seconds=self._watchdog.seconds)
        self.overran = True
        self._overran_with.add(key)
        if not answer.done():
            answer.set_exception(Overran())
        self._on_overrun()

    async def aclose(self) -> None:
        """Drop the images not begun, and wait a moment for the others in threads; those in quarantine are ended."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        await self._isolation.aclose()
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_WITHIN):
                while self._at_work:
                    self._one_ended.clear()
                    await self._one_ended.wait()
