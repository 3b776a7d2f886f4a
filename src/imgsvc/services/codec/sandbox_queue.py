"""The queue of the sandbox, for images that might crash or block a codec thread."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial

from imgsvc.domain.imaging.compress import Compressed, ReservationTooSmall
from imgsvc.domain.imaging.spec import Spec
from imgsvc.errors import DecodeAbandoned
from imgsvc.services.codec.abandoned import AbandonedDecodes
from imgsvc.services.ports import Sandbox
from imgsvc.services.throttling.fair_semaphore import FairSemaphore
from imgsvc.services.throttling.flow import Flow
from imgsvc.services.throttling.reservation import Reservation

Work = Callable[[int, Reservation], Awaitable[Compressed]]


async def with_pixels(
    semaphore: FairSemaphore, flow: Flow, pixels: int, work: Work, *, max_pixels: int | None = None
) -> Compressed:
    """Run `work` with `pixels` pixels reserved, and again with more if it asks for them; `work` releases them.

    Raises:
        ReservationTooSmall: the image needs more than `max_pixels`.
    """
    while True:
        # An image that needs more than all pixels reserves half of them: the memory limit of its process bounds it.
        reserved = pixels if pixels <= semaphore.capacity else semaphore.capacity // 2
        reservation = await semaphore.acquire(flow, reserved)
        try:
            return await work(pixels, reservation)
        except ReservationTooSmall as more:
            if max_pixels is not None and more.pixels > max_pixels:
                raise
            pixels = more.pixels


class SandboxQueue:
    """Sends images to the sandbox, fairly between flows, with at most `pixels` pixels decoded at once.

    At most `slots` images are in the sandbox at once, and at most one that needs more than all the pixels. Work that
    has started continues when its caller is cancelled, and `abandoned` keeps it for the next call.
    """

    def __init__(
        self,
        sandbox: Sandbox,
        *,
        slots: int,
        pixels: int,
        abandoned: AbandonedDecodes,
        weights: Mapping[str, float] | None = None,
    ) -> None:
        self._sandbox = sandbox
        self.pixels = FairSemaphore(pixels, weights=weights)
        self.slots = FairSemaphore(slots, weights=weights)
        self.heavy_slot = FairSemaphore(1, weights=weights)
        self._abandoned = abandoned
        self._tasks: set[asyncio.Task[Compressed]] = set()

    @property
    def pending(self) -> int:
        """The number of images that wait for the sandbox or are in it."""
        return len(self._tasks)

    async def compress(self, data: bytes, specs: Sequence[Spec], *, flow: Flow, pixels: int) -> Compressed:
        """Call `Sandbox.compress` on behalf of `flow` as soon as a slot and `pixels` pixels are free."""
        started = asyncio.Event()
        task = asyncio.create_task(self._in_slot(data, specs, flow, pixels, started))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if started.is_set() and not task.done():
                self._abandoned.keep(data, specs, task)
                raise DecodeAbandoned from None
            task.cancel()
            raise

    async def _in_slot(
        self, data: bytes, specs: Sequence[Spec], flow: Flow, pixels: int, started: asyncio.Event
    ) -> Compressed:
        while True:
            is_heavy = pixels > self.pixels.capacity
            slots, max_pixels = (self.heavy_slot, None) if is_heavy else (self.slots, self.pixels.capacity)
            try:
                # The slot comes first: an image that waits for one must hold no pixels that images in a slot wait for.
                with await slots.acquire(flow):
                    work = partial(self._in_sandbox, data, specs, started)
                    return await with_pixels(self.pixels, flow, pixels, work, max_pixels=max_pixels)
            except ReservationTooSmall as more:
                pixels = more.pixels

    async def _in_sandbox(
        self, data: bytes, specs: Sequence[Spec], started: asyncio.Event, pixels: int, reservation: Reservation
    ) -> Compressed:
        started.set()
        with reservation:
            return await self._sandbox.compress(data, specs, reserved_pixels=pixels)

    async def aclose(self) -> None:
        """Cancel everything that waits or runs."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
