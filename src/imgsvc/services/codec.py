"""Where pictures are decoded and encoded: the one place where CPU work leaves the event loop."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial

from imgsvc.domain.images import CodecLimits, Compressed, MorePixels, compress
from imgsvc.domain.signatures import holds_the_interpreter
from imgsvc.domain.specs import Spec
from imgsvc.errors import LeftAtWork, Overran
from imgsvc.logs import get_logger
from imgsvc.services.fairness import FairGate, Lease
from imgsvc.services.ports import Quarantine
from imgsvc.services.unfinished import Unfinished
from imgsvc.services.watchdog import Watch, Watchdog, processor_clock

log = get_logger(__name__)

CLOSE_WITHIN = 3.0
"""Seconds that a closing pool waits for its threads; nobody wants what they make any more."""


class CodecPool:
    """Compresses pictures in `threads` threads, fairly between batches, with at most `pixels` pixels worked on at once.

    The pixels are weighted by what the formats take of memory (`domain.weights`). A picture starts with an equal share
    of them; one whose header asks for more waits until that many are free. Suspects, and pictures that weigh more than
    all the threads together may have, are sent to quarantine with their share of the same pixels, of the former as many
    at one time as there are threads, of the latter one: when its process ends, the system has all of its memory back.

    A thread cannot be stopped. When one works on a picture for longer than `watchdog` allows, `on_overrun` is called,
    and the process should end.

    Work that has begun goes on when its caller is cancelled, in quarantine too; a later call with the same image and
    specs joins it. So nothing is decoded in two threads at one time, and an image that takes longer than a lane lives
    is finished.
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
        self._gate = FairGate(max(pixels, limits.max_pixels))
        # Two more than the threads can run: the next picture is at hand the moment a thread is free.
        self._share = self._gate.capacity // (threads + 2)
        self._cells = FairGate(threads)
        self._alone = FairGate(1)  # of the pictures that take all pixels: small ones come between two of them
        self._limits = limits
        self._quarantine = quarantine
        self._watchdog = watchdog
        self._on_overrun = on_overrun
        self._at_work: set[Future[Compressed]] = set()
        self._apart: set[asyncio.Task[Compressed]] = set()
        self._unfinished = Unfinished()
        self._one_ended = asyncio.Event()
        self.overran = False

    async def compress(self, data: bytes, specs: Sequence[Spec], *, key: str, suspect: bool = False) -> Compressed:
        """`domain.images.compress` on behalf of the batch `key`.

        Raises:
            CodecError: the picture cannot become a rendition.
            WorkerCrash: it brought down its process in quarantine.
            KilledInQuarantine: its process there was killed from outside.
            QuarantineUnavailable: there is no quarantine right now.
            LeftAtWork: it was being worked on when the caller was cancelled.
            Overran: it takes too long in a thread.
        """
        if begun := self._unfinished.find(data, specs):
            with suppress(MorePixels):  # it had only looked at the header
                return await asyncio.shield(begun)
        pixels = self._share
        if not suspect and not holds_the_interpreter(data):
            try:
                work = partial(self._in_thread, data, specs)
                return await self._in_turn(key, pixels, work, most=self._gate.capacity)
            except MorePixels as more:
                pixels = more.pixels
        return await self._kept_apart(data, specs, key, pixels)

    async def _kept_apart(self, data: bytes, specs: Sequence[Spec], key: str, pixels: int) -> Compressed:
        begun = asyncio.Event()
        work = asyncio.create_task(self._in_a_cell(data, specs, key, pixels, begun))
        self._apart.add(work)
        work.add_done_callback(self._apart.discard)
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            if begun.is_set() and not work.done():
                self._unfinished.keep(data, specs, work)
                raise LeftAtWork from None
            work.cancel()
            raise

    async def _in_a_cell(
        self, data: bytes, specs: Sequence[Spec], key: str, pixels: int, begun: asyncio.Event
    ) -> Compressed:
        # A cell first: what waits for one neither holds pixels nor queues for them, ahead of those that need a thread.
        cells = self._alone if pixels > self._gate.capacity else self._cells
        with await cells.acquire(key):
            return await self._in_turn(key, pixels, partial(self._in_quarantine, data, specs, begun))

    async def _in_turn(
        self,
        key: str,
        pixels: int,
        work: Callable[[int, Lease], Awaitable[Compressed]],
        *,
        most: int | None = None,
    ) -> Compressed:
        """Do `work` with so many pixels, or as many as it asks for; it releases the lease.

        Raises:
            MorePixels: than `most`.
        """
        while True:
            lease = await self._gate.acquire(key, pixels)
            try:
                return await work(pixels, lease)
            except MorePixels as more:
                if most is not None and more.pixels > most:
                    raise
                pixels = more.pixels

    async def _in_quarantine(
        self, data: bytes, specs: Sequence[Spec], begun: asyncio.Event, pixels: int, lease: Lease
    ) -> Compressed:
        begun.set()
        with lease:
            return await self._quarantine.compress(data, specs, max_pixels_now=pixels)

    async def _in_thread(self, data: bytes, specs: Sequence[Spec], pixels: int, lease: Lease) -> Compressed:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Compressed] = loop.create_future()
        watch = self._watchdog.watch(partial(self._overrun, answer))
        work = self._threads.submit(self._compress, watch, data, specs, pixels)
        self._at_work.add(work)
        work.add_done_callback(lambda work: loop.call_soon_threadsafe(self._end, work, watch, lease, answer))
        try:
            return await asyncio.shield(answer)
        except asyncio.CancelledError:
            work.cancel()
            if work.running():
                self._unfinished.keep(data, specs, answer)
                raise LeftAtWork from None
            answer.cancel()
            raise

    def _compress(self, watch: Watch, data: bytes, specs: Sequence[Spec], pixels: int) -> Compressed:
        watch.begin(processor_clock())
        return compress(data, specs, self._limits, max_pixels_now=pixels)

    def _end(self, work: Future[Compressed], watch: Watch, lease: Lease, answer: "asyncio.Future[Compressed]") -> None:
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

    def _overrun(self, answer: "asyncio.Future[Compressed]") -> None:
        log.error("codec_overran", seconds=self._watchdog.seconds)
        self.overran = True
        if not answer.done():
            answer.set_exception(Overran())
        self._on_overrun()

    async def aclose(self) -> None:
        """Drop the pictures not begun, and wait a moment for the others in threads; those in quarantine are ended."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        for work in self._apart:
            work.cancel()
        await asyncio.gather(*self._apart, return_exceptions=True)
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_WITHIN):
                while self._at_work:
                    self._one_ended.clear()
                    await self._one_ended.wait()
