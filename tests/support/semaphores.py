"""Tasks that wait for a semaphore."""

import asyncio

from imgsvc.services.throttling.fair_semaphore import FairSemaphore
from imgsvc.services.throttling.flow import Flow
from imgsvc.services.throttling.reservation import Reservation


def flow(name: str) -> Flow:
    """Return the flow of an API key with one batch."""
    return Flow(f"key {name}", f"batch {name}")


async def settled() -> None:
    """Let every task run until it waits for something else."""
    for _ in range(10):
        await asyncio.sleep(0)


class Waiters:
    """Tasks that wait for a semaphore whose units are held; `served` lists those that acquired them, in order."""

    def __init__(self, semaphore: FairSemaphore) -> None:
        self.semaphore = semaphore
        self.served: list[str] = []
        self.tasks: dict[str, asyncio.Task[Reservation]] = {}

    async def add(self, name: str, of: str | Flow, amount: int = 1) -> "asyncio.Task[Reservation]":
        async def wait() -> Reservation:
            reservation = await self.semaphore.acquire(flow(of) if isinstance(of, str) else of, amount)
            self.served.append(name)
            return reservation

        self.tasks[name] = asyncio.create_task(wait())
        await settled()
        return self.tasks[name]

    async def drain(self, holder: Reservation) -> list[str]:
        """Release units, one holder after the other, until no task waits; return the order of service."""
        holder.release()
        released = 0
        while released < len(self.tasks):
            await settled()
            assert len(self.served) > released, "no task is served although units are free"
            self.tasks[self.served[released]].result().release()
            released += 1
        return self.served
