"""Retries: which calls are repeated, for how long, and after which pauses."""

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


async def test_retries_end_with_the_timeout(server: Scripted, kind: str) -> None:
    server.script(Answer(503))
    async with either(kind, server.url("/"), retry_timeout=0.5) as call:
        with pytest.raises(ServerUnavailable, match="HTTP 503"):
            await call("batch", EXAMPLE_ID)
    assert len(server.requests) > 1


def test_the_budget_starts_with_the_first_failure() -> None:
    """A long transfer that fails is retried too."""
    attempts: list[bool] = []

    def call() -> Call[str]:
        attempts.append(Event().wait(0.3 if not attempts else 0))  # longer than the budget
        if len(attempts) == 1:
            raise ConnectionLost("The connection was lost.")
        yield from ()
        return "all of it"

    retried = RetryBudget(0.25).run(call)
    with pytest.raises(StopIteration) as stopped:
        while True:
            next(retried)
    assert stopped.value.value == "all of it"


def test_a_budget_of_years_survives_thousands_of_pauses() -> None:
    def call() -> Call[str]:
        yield from ()
        raise ConnectionLost("No imgsvc answers.")

    retried = RetryBudget(10**9).run(call)
    pauses = [next(retried) for _ in range(5_000)]
    assert all(isinstance(pause, Pause) and 0 < pause.seconds <= 5 for pause in pauses)


async def test_a_permanent_error_is_not_retried(server: Scripted, call: Caller) -> None:
    server.script(Answer(404))
    with pytest.raises(NotFound, match="HTTP 404"):
        await call("batch", EXAMPLE_ID)
    assert len(server.requests) == 1


async def test_the_pause_follows_retry_after(server: Scripted, call: Caller) -> None:
    server.script(Answer(429, {}, {"Retry-After": "1"}), Answer(200, BATCH))
    began = monotonic()
    await call("batch", EXAMPLE_ID)
    assert monotonic() - began >= 1


@pytest.mark.parametrize("is_date", [False, True])
async def test_a_pause_longer_than_the_budget_is_raised_at_once(server: Scripted, call: Caller, is_date: bool) -> None:
    retry_after = format_datetime(datetime.now(UTC) + timedelta(seconds=101), usegmt=True) if is_date else "100"
    server.script(Answer(429, {}, {"Retry-After": retry_after}))
    began = monotonic()
    with pytest.raises(TooManyRequests) as raised:
        await call("batch", EXAMPLE_ID)
    assert raised.value.retry_after is not None
    assert 99 - (monotonic() - began) <= raised.value.retry_after <= 101
    assert len(server.requests) == 1


@pytest.mark.parametrize("retry_after", ["soon", "-1", "", "1.5", "²"])
async def test_a_malformed_retry_after_is_ignored(server: Scripted, call: Caller, retry_after: str) -> None:
    server.script(Answer(503, {}, {"Retry-After": retry_after}), Answer(200, BATCH))
    assert (await call("batch", EXAMPLE_ID)).id == EXAMPLE_ID


async def test_on_wait_is_called_before_each_pause_and_can_end_the_call(kind: str) -> None:
    calls: list[tuple[str, bool]] = []

    def on_wait(error: ClientError, seconds: float) -> None:
        calls.append((type(error).__name__, seconds > 0))
        if len(calls) == 2:
            raise error

    async with either(kind, f"http://127.0.0.1:{free_port()}", on_wait=on_wait) as call:
        with pytest.raises(ClientError, match="No imgsvc answers"):
            await call("batch", EXAMPLE_ID)
    assert calls == [("ConnectionRefused", True)] * 2
