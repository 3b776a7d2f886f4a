"""Events that interrupt a clean-up, a webhook post or a frozen run; services and model are compared after each."""

from states.simulation import Simulation


async def nothing(simulation: Simulation, *_: object) -> None:
    await simulation.compare()


async def retried_and_finished(simulation: Simulation, batch: str, *_: object) -> None:
    """Retry the batch; the new round stores the same image again."""
    simulation.clock.forward(1)
    await simulation.retry(batch)
    await simulation.compare()
    for endings in ([], ["succeed a"] * 6):
        await simulation.flush(batch, "D", endings, claim=6)
        await simulation.compare()
    simulation.runs.pop((batch, "D"), None)


async def deleted(simulation: Simulation, batch: str, *_: object) -> None:
    simulation.clock.forward(1)
    await simulation.delete(batch)
    await simulation.compare()


async def redelivered(simulation: Simulation, batch: str, number: int) -> None:
    await simulation.redeliver(batch, number)
    await simulation.compare()


async def lease_ended_and_failed(simulation: Simulation, batch: str, number: int) -> None:
    simulation.clock.forward(60)
    await simulation.deliver(batch, number, 500)
    await simulation.compare()


async def lease_ended_and_delivered(simulation: Simulation, batch: str, number: int) -> None:
    simulation.clock.forward(60)
    await simulation.deliver(batch, number, 200)
    await simulation.compare()


async def claimed_by_another(simulation: Simulation, batch: str, *_: object) -> None:
    await simulation.flush(batch, "D", claim=6)
    await simulation.compare()


async def failed_by_another(simulation: Simulation, batch: str, *_: object) -> None:
    await claimed_by_another(simulation, batch)
    await simulation.flush(batch, "D", ["fail http_404"] * 6)
    await simulation.compare()


async def failed_and_retried(simulation: Simulation, batch: str, *_: object) -> None:
    await failed_by_another(simulation, batch)
    await simulation.retry(batch)
    await simulation.compare()


async def cancelled(simulation: Simulation, batch: str, *_: object) -> None:
    await simulation.cancel(batch)
    await simulation.compare()


WHILE_FROZEN = {
    event.__name__: event for event in (nothing, claimed_by_another, failed_by_another, failed_and_retried, cancelled)
}
WHILE_CLEANING_UP = {event.__name__: event for event in (nothing, retried_and_finished, deleted)}
WHILE_POSTING = {
    event.__name__: event
    for event in (nothing, redelivered, deleted, lease_ended_and_failed, lease_ended_and_delivered)
}
