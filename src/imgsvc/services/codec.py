"""Where pictures are decoded and encoded: the one place where CPU work leaves the event loop."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial

from imgsvc.domain.images import CodecLimits, Compressed, MorePixels, TakesLong, compress
from imgsvc.domain.signatures import holds_the_interpreter
from imgsvc.domain.specs import Spec
from imgsvc.errors import LeftAtWork, Overran
from imgsvc.logs import get_logger
from imgsvc.services.fairness import FairGate, Lease
from imgsvc.services.ports import Quarantine
from imgsvc.services.watchdog import Watch, Watchdog, processor_clock

log = get_logger(__name__)

CLOSE_WITHIN = 3.0
"""Seconds that a closing pool waits for its threads; nobody wants what they make any more."""


class CodecPool:
    """Compresses pictures in `threads` threads, fairly between batches, with at most `pixels` pixels worked on at once.

    The pixels are weighted by what the formats take of memory (`domain.weights`). A picture starts with an equal share
    of them; one whose header asks for more waits until that many are free. Nothing that may take long is done in a
    thread, where others would wait behind it: suspects, pictures that take seconds at worst, and those that weigh more
    than all the threads together may have, are sent to quarantine. There they have as many pixels of their own, so that
    no thread waits for them: as many pictures at one time as there are threads, and one of those that weigh the most.

    A thread cannot be stopped. When one works on a picture for longer than `watchdog` allows, `on_overrun` is called,
    and the process should end. Until then the further pictures of that batch are suspects.
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
        self._apart = FairGate(self._gate.capacity)
        # Two more than the threads can run: the next picture is at hand the moment a thread is free.
        self._share = self._gate.capacity // (threads + 2)
        self._cells = FairGate(threads)
        self._alone = FairGate(1)  # of the pictures that take all pixels: small ones come between two of them
        self._limits = limits
        self._quarantine = quarantine
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
            CodecError: the picture cannot become a rendition.
            WorkerCrash: it brought down its process in quarantine.
            QuarantineUnavailable: there is no quarantine right now.
            Overran: it takes too long for a thread.
            LeftAtWork: it was being worked on when the caller was cancelled.
        """
        pixels = self._share
        if not suspect and not self._is_apart(key) and not holds_the_interpreter(data):
            try:
                work = partial(self._in_thread, data, specs, key)
                return await self._in_turn(self._gate, key, pixels, work, most=self._gate.capacity)
            except (MorePixels, TakesLong) as more:
                pixels = more.pixels
        return await self._apart_from_others(data, specs, key, pixels)

    def keep_apart(self, key: str, *, apart: bool) -> None:
        """Say whether all images of the batch `key` are suspects, because one of them overran somewhere."""
        if apart:
            self._kept_apart.add(key)
        else:
            self._kept_apart.discard(key)

    def _is_apart(self, key: str) -> bool:
        return key in self._overran_with or key in self._kept_apart

    async def _apart_from_others(self, data: bytes, specs: Sequence[Spec], key: str, pixels: int) -> Compressed:
        while True:
            heavy = pixels > self._apart.capacity
            try:
                # A cell first: what waits for one holds no pixels, and is not ahead of those that have one.
                with await (self._alone if heavy else self._cells).acquire(key):
                    work = partial(self._in_quarantine, data, specs)
                    most = None if heavy else self._apart.capacity
                    return await self._in_turn(self._apart, key, pixels, work, most=most)
            except MorePixels as more:
                pixels = more.pixels

    async def _in_turn(
        self,
        gate: FairGate,
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
            # The heaviest leave half of the pixels to others: their memory is bounded by the process that they are in.
            lease = await gate.acquire(key, pixels if pixels <= gate.capacity else gate.capacity // 2)
            try:
                return await work(pixels, lease)
            except MorePixels as more:
                if most is not None and more.pixels > most:
                    raise
                pixels = more.pixels

    async def _in_quarantine(self, data: bytes, specs: Sequence[Spec], pixels: int, lease: Lease) -> Compressed:
        with lease:
            return await self._quarantine.compress(data, specs, max_pixels_now=pixels)

    async def _in_thread(self, data: bytes, specs: Sequence[Spec], key: str, pixels: int, lease: Lease) -> Compressed:
        if self._is_apart(key):  # since it began to wait for its pixels
            lease.release()
            raise TakesLong(pixels)
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Compressed] = loop.create_future()
        watch = self._watchdog.watch(partial(self._overrun, key, answer))
        work = self._threads.submit(self._compress, watch, data, specs, pixels)
        self._at_work.add(work)
        work.add_done_callback(partial(loop.call_soon_threadsafe, partial(self._end, watch, lease, answer)))
        try:
            return await answer
        except asyncio.CancelledError:
            work.cancel()
            if work.running():
                raise LeftAtWork from None
            raise
        finally:
            del work, answer  # they hold what is raised here, which would hold them and the picture

    def _compress(self, watch: Watch, data: bytes, specs: Sequence[Spec], pixels: int) -> Compressed:
        watch.begin(processor_clock())
        return compress(data, specs, self._limits, max_pixels_now=pixels, may_take_long=False)

    def _end(self, watch: Watch, lease: Lease, answer: "asyncio.Future[Compressed]", work: Future[Compressed]) -> None:
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
        log.error("codec_overran", batch_id=key, seconds=self._watchdog.seconds)
        self.overran = True
        self._overran_with.add(key)
        if not answer.done():
            answer.set_exception(Overran())
        self._on_overrun()

    async def aclose(self) -> None:
        """Drop the pictures not begun, and wait a moment for the others."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_WITHIN):
                while self._at_work:
                    self._one_ended.clear()
                    await self._one_ended.wait()
