"""Calls that are safe to repeat are made again for a while; what is wrong for good is not."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from threading import Event
from time import monotonic

import pytest

from imgsvc.api.openapi.examples import BATCH, EXAMPLE_ID
from imgsvc.client import ClientError, ConnectionLost, NotFound, ServerUnavailable, TooManyRequests
from imgsvc.client.actions import Call, Pause, RetryBudget
from support.scripted import Answer, Caller, Scripted, either
from support.stack import free_port


async def test_patience_ends(server: Scripted, kind: str) -> None:
    server.script(Answer(503))
    async with either(kind, server.url("/"), retry_timeout=0.5) as call:
        with pytest.raises(ServerUnavailable, match="HTTP 503"):
            await call("batch", EXAMPLE_ID)
    assert len(server.requests) > 1


def test_it_begins_with_the_first_failure() -> None:
    """However long the transfer took that failed."""
    attempts: list[bool] = []

    def call() -> Call[str]:
        attempts.append(Event().wait(0.3 if not attempts else 0))  # longer than the patience
        if len(attempts) == 1:
            raise ConnectionLost("The connection broke off.")
        yield from ()
        return "all of it"

    flow = RetryBudget(0.25).spent_on(call)
    with pytest.raises(StopIteration) as stopped:
        while True:
            next(flow)
    assert stopped.value.value == "all of it"


def test_patience_for_days_survives_thousands_of_pauses() -> None:
    def call() -> Call[str]:
        yield from ()
        raise ConnectionLost("No imgsvc answers.")

    flow = RetryBudget(10**9).spent_on(call)
    pauses = [next(flow) for _ in range(5_000)]
    assert all(isinstance(pause, Pause) and 0 < pause.seconds <= 5 for pause in pauses)


async def test_what_is_wrong_for_good_is_not_asked_again(server: Scripted, call: Caller) -> None:
    server.script(Answer(404))
    with pytest.raises(NotFound, match="HTTP 404"):
        await call("batch", EXAMPLE_ID)
    assert len(server.requests) == 1


async def test_the_server_says_how_long_to_wait(server: Scripted, call: Caller) -> None:
    server.script(Answer(429, {}, {"Retry-After": "1"}), Answer(200, BATCH))
    began = monotonic()
    await call("batch", EXAMPLE_ID)
    assert monotonic() - began >= 1


@pytest.mark.parametrize("is_date", [False, True])
async def test_a_pause_longer_than_the_patience_is_left_to_the_caller(
    server: Scripted, call: Caller, is_date: bool
) -> None:
    said = format_datetime(datetime.now(UTC) + timedelta(seconds=101), usegmt=True) if is_date else "100"
    server.script(Answer(429, {}, {"Retry-After": said}))
    began = monotonic()
    with pytest.raises(TooManyRequests) as raised:
        await call("batch", EXAMPLE_ID)
    assert raised.value.retry_after is not None
    assert 99 - (monotonic() - began) <= raised.value.retry_after <= 101
    assert len(server.requests) == 1


@pytest.mark.parametrize("said", ["soon", "-1", "", "1.5", "²"])
async def test_a_pause_that_is_none_is_our_own(server: Scripted, call: Caller, said: str) -> None:
    server.script(Answer(503, {}, {"Retry-After": said}), Answer(200, BATCH))
    assert (await call("batch", EXAMPLE_ID)).id == EXAMPLE_ID


async def test_whoever_wants_to_is_told_of_each_pause_and_can_end_it(kind: str) -> None:
    told: list[tuple[str, bool]] = []

    def tell(error: ClientError, seconds: float) -> None:
        told.append((type(error).__name__, seconds > 0))
        if len(told) == 2:
            raise error

    async with either(kind, f"http://127.0.0.1:{free_port()}", on_wait=tell) as call:
        with pytest.raises(ClientError, match="No imgsvc answers"):
            await call("batch", EXAMPLE_ID)
    assert told == [("ConnectionRefused", True)] * 2
