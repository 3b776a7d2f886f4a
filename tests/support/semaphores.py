"""Waiters at a gate."""

import asyncio

from imgsvc.services.throttling.fair_semaphore import FairSemaphore, Reservation


async def settled() -> None:
    """Everything that can go on without anybody's help has gone on."""
    for _ in range(10):
        await asyncio.sleep(0)


class Line:
    """Waiters at a gate of one unit that somebody holds; `served` tells who came through, in order."""

    def __init__(self, semaphore: FairSemaphore) -> None:
        self.semaphore = semaphore
        self.served: list[str] = []
        self.tasks: dict[str, asyncio.Task[Reservation]] = {}

    async def join(self, name: str, key: str, amount: int = 1) -> "asyncio.Task[Reservation]":
        async def wait() -> Reservation:
            lease = await self.semaphore.acquire(key, amount)
            self.served.append(name)
            return lease

        self.tasks[name] = asyncio.create_task(wait())
        await settled()
        return self.tasks[name]

    async def drain(self, holder: Reservation) -> list[str]:
        """Give units back one holder after the other until nobody waits."""
        holder.release()
        given_back = 0
        while given_back < len(self.tasks):
            await settled()
            assert len(self.served) > given_back, "nobody is served although units are free"
            self.tasks[self.served[given_back]].result().release()
            given_back += 1
        return self.served
