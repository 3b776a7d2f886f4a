"""The thread pool where pictures are decoded and encoded: the one place where CPU work leaves the event loop."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from imgsvc.domain.images import CodecLimits, Compressed, MorePixels, compress
from imgsvc.domain.specs import Spec
from imgsvc.services.fairness import FairGate, Lease


class CodecPool:
    """Compresses pictures in `threads` threads, fairly between batches, with at most `pixels` pixels worked on at once.

    A picture starts with an equal share of the pixels; one whose header asks for more waits until that many are free.
    """

    def __init__(self, *, threads: int, pixels: int, limits: CodecLimits) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="codec")
        self._gate = FairGate(max(pixels, limits.max_pixels))
        # Two more than the threads can run: the next picture is at hand the moment a thread is free.
        self._share = self._gate.capacity // (threads + 2)
        self._limits = limits

    async def compress(self, data: bytes, specs: Sequence[Spec], *, key: str) -> Compressed:
        """`domain.images.compress` on behalf of the batch `key`.

        Raises:
            CodecError: the picture cannot become a rendition.
        """
        pixels = self._share
        while True:
            lease = await self._gate.acquire(key, pixels)
            try:
                return await self._run(data, specs, pixels, lease)
            except MorePixels as more:
                pixels = more.pixels

    async def _run(self, data: bytes, specs: Sequence[Spec], pixels: int, lease: Lease) -> Compressed:
        loop = asyncio.get_running_loop()
        work: Future[Compressed] = self._threads.submit(compress, data, specs, self._limits, max_pixels_now=pixels)
        # When the thread ends, not when its waiter is cancelled: until then the pixels are still in memory.
        work.add_done_callback(lambda _: loop.call_soon_threadsafe(lease.release))
        return await asyncio.wrap_future(work)

    async def aclose(self) -> None:
        """Wait for the pictures being worked on; those not begun are dropped."""
        await asyncio.to_thread(self._threads.shutdown, wait=True, cancel_futures=True)
