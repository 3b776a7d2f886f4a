"""What may happen to a batch while a tidying, a post or a run is held up; each is compared as it goes along."""

from states.play import Play


async def nothing(play: Play, *_: object) -> None:
    await play.compare()


async def retried_and_done(play: Play, batch: str, *_: object) -> None:
    """A new round stores the same image again."""
    play.clock.forward(1)
    await play.retry(batch)
    await play.compare()
    for endings in ([], ["succeed a"] * 6):
        await play.flush(batch, "D", endings, claim=6)
        await play.compare()
    play.runs.pop((batch, "D"), None)


async def deleted(play: Play, batch: str, *_: object) -> None:
    play.clock.forward(1)
    await play.delete(batch)
    await play.compare()


async def redelivered(play: Play, batch: str, number: int) -> None:
    await play.redeliver(batch, number)
    await play.compare()


async def lease_ended_and_failed(play: Play, batch: str, number: int) -> None:
    play.clock.forward(60)
    await play.deliver(batch, number, 500)
    await play.compare()


async def lease_ended_and_delivered(play: Play, batch: str, number: int) -> None:
    play.clock.forward(60)
    await play.deliver(batch, number, 200)
    await play.compare()


async def taken_over(play: Play, batch: str, *_: object) -> None:
    await play.flush(batch, "D", claim=6)
    await play.compare()


async def failed_by_another(play: Play, batch: str, *_: object) -> None:
    await taken_over(play, batch)
    await play.flush(batch, "D", ["fail http_404"] * 6)
    await play.compare()


async def failed_and_retried(play: Play, batch: str, *_: object) -> None:
    await failed_by_another(play, batch)
    await play.retry(batch)
    await play.compare()


async def cancelled(play: Play, batch: str, *_: object) -> None:
    await play.cancel(batch)
    await play.compare()


MEANWHILE_FROZEN = {
    verb.__name__: verb for verb in (nothing, taken_over, failed_by_another, failed_and_retried, cancelled)
}
MEANWHILE_TIDIED = {verb.__name__: verb for verb in (nothing, retried_and_done, deleted)}
MEANWHILE_POSTED = {
    verb.__name__: verb for verb in (nothing, redelivered, deleted, lease_ended_and_failed, lease_ended_and_delivered)
}
