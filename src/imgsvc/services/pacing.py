"""A pace for each host that follows how it copes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import monotonic

from imgsvc.errors import AssetError, ConnectTimeout, HttpStatusError
from imgsvc.services.fairness import FairGate

SHARES = 4
"""Of a fetch: a conditional one, whose answer is a line if nothing changed, counts for one of them."""
MOST_HOSTS = 10_000
"""Hosts whose pace is remembered; a catalogue of dead hosts must not fill the memory."""


class HostPaused(Exception):  # not an error: a reason to come back later
    """The host asked to be left alone for `seconds` more."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"paused for {seconds:.1f} s")
        self.seconds = seconds


@dataclass(slots=True)
class _Host:
    gate: FairGate
    limit: float
    paused_until: float = 0.0
    halved_at: float = 0.0
    waiting: int = 0


class HostPacer:
    """How many fetches each host gets at one time: additive increase, multiplicative decrease.

    A 429, a 503 or a connect time-out halves a host's limit, each success adds one up to the maximum; `Retry-After`
    pauses that host alone. Answers to fetches that were in flight when the limit was halved do not halve it again: they
    tell of the old pace. Waits longer than `patience` (seconds) are not waited for: `HostPaused` says so.
    """

    def __init__(self, *, maximum: int, patience: float = 3.0) -> None:
        self._maximum = maximum
        self._patience = patience
        self._hosts: dict[str, _Host] = {}

    @asynccontextmanager
    async def slot(self, host: str, key: str, *, conditional: bool = False) -> AsyncIterator[None]:
        """One fetch from `host` on behalf of the batch `key`; learns from the error that leaves the block.

        Raises:
            HostPaused: the host wants a longer rest.
        """
        state = self._hosts.get(host)
        if state is None:
            state = self._hosts[host] = _Host(FairGate(self._maximum * SHARES), self._maximum)
        state.waiting += 1
        began = monotonic()
        try:
            await self._rest(state)
            with await state.gate.acquire(key, 1 if conditional else SHARES):
                await self._rest(state)
                began = monotonic()
                yield
                self._speed_up(state)
        except AssetError as error:
            self._slow_down(state, error, began)
            raise
        finally:
            state.waiting -= 1
            copes = state.limit >= self._maximum and state.paused_until <= monotonic()
            if not state.waiting and (copes or len(self._hosts) > MOST_HOSTS):
                self._hosts.pop(host, None)  # a host that copes needs no memory

    async def _rest(self, state: _Host) -> None:
        rest = state.paused_until - monotonic()
        if rest > self._patience:
            raise HostPaused(rest)
        if rest > 0:
            await asyncio.sleep(rest)

    def _speed_up(self, state: _Host) -> None:
        if state.limit < self._maximum:
            state.limit = min(state.limit + 1, self._maximum)
            state.gate.resize(int(state.limit) * SHARES)

    def _slow_down(self, state: _Host, error: AssetError, began: float) -> None:
        overloaded = isinstance(error, HttpStatusError) and error.http_status in (429, 503)
        if not overloaded and not isinstance(error, ConnectTimeout):
            return
        if began >= state.halved_at:
            state.halved_at = monotonic()
            state.limit = max(1.0, state.limit / 2)
            state.gate.resize(int(state.limit) * SHARES)
        if isinstance(error, HttpStatusError) and error.retry_after:
            state.paused_until = max(state.paused_until, monotonic() + error.retry_after)
