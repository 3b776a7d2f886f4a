"""Images that are compressed in quarantine: where nothing else waits behind them, and nothing else dies with them."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from imgsvc.domain.imaging.compress import Compressed, ReservationTooSmall
from imgsvc.domain.imaging.spec import Spec
from imgsvc.errors import DecodeAbandoned
from imgsvc.services.codec.unfinished import AbandonedDecodes
from imgsvc.services.ports import Quarantine
from imgsvc.services.throttling.fair_semaphore import FairSemaphore, Reservation

Work = Callable[[int, Reservation], Awaitable[Compressed]]


async def with_pixels(
    semaphore: FairSemaphore, key: str, pixels: int, work: Work, *, most: int | None = None
) -> Compressed:
    """Do `work` with a lease on `pixels`, or on as many as it asks for; it releases the lease.

    Raises:
        ReservationTooSmall: than `most`.
    """
    while True:
        # The heaviest leave half of the pixels to others: their memory is bounded by the process that they are in.
        lease = await semaphore.acquire(key, pixels if pixels <= semaphore.capacity else semaphore.capacity // 2)
        try:
            return await work(pixels, lease)
        except ReservationTooSmall as more:
            if most is not None and more.pixels > most:
                raise
            pixels = more.pixels


class Isolation:
    """Sends images to quarantine, fairly between batches, with at most `pixels` pixels worked on at once.

    `places` images are there at one time, and one of those that weigh more than all the pixels. Work that has begun
    goes on when its caller is cancelled, and `unfinished` keeps it for the next call.
    """

    def __init__(self, quarantine: Quarantine, *, places: int, pixels: int, unfinished: AbandonedDecodes) -> None:
        self._quarantine = quarantine
        self._semaphore = FairSemaphore(pixels)
        self._places = FairSemaphore(places)
        self._place_of_the_heaviest = FairSemaphore(1)
        self._unfinished = unfinished
        self._tasks: set[asyncio.Task[Compressed]] = set()

    async def compress(self, data: bytes, specs: Sequence[Spec], *, key: str, pixels: int) -> Compressed:
        """`Quarantine.compress` on behalf of the batch `key`, as soon as there is a place with `pixels` pixels."""
        begun = asyncio.Event()
        task = asyncio.create_task(self._in_a_place(data, specs, key, pixels, begun))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if begun.is_set() and not task.done():
                self._unfinished.keep(data, specs, task)
                raise DecodeAbandoned from None
            task.cancel()
            raise

    async def _in_a_place(
        self, data: bytes, specs: Sequence[Spec], key: str, pixels: int, begun: asyncio.Event
    ) -> Compressed:
        while True:
            is_heavy = pixels > self._semaphore.capacity
            places, most = (self._place_of_the_heaviest, None) if is_heavy else (self._places, self._semaphore.capacity)
            try:
                # A place first: an image that waits for one holds no pixels, and is not ahead of those that have one.
                with await places.acquire(key):
                    work = partial(self._in_quarantine, data, specs, begun)
                    return await with_pixels(self._semaphore, key, pixels, work, most=most)
            except ReservationTooSmall as more:
                pixels = more.pixels

    async def _in_quarantine(
        self, data: bytes, specs: Sequence[Spec], begun: asyncio.Event, pixels: int, lease: Reservation
    ) -> Compressed:
        begun.set()
        with lease:
            return await self._quarantine.compress(data, specs, max_pixels_now=pixels)

    async def aclose(self) -> None:
        """End everything that is under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
