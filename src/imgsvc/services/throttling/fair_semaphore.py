"""A semaphore that is fair between API keys and between their batches; it limits fetches, bytes and pixels."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from math import inf, nextafter

from imgsvc.services.throttling.flow import Flow
from imgsvc.services.throttling.reservation import Reservation
from imgsvc.services.throttling.shares import BatchShare, KeyShare, Request, Shares
from imgsvc.services.throttling.turns import PARKED, Turns


class FairSemaphore:
    """A number of units (fetches, bytes, pixels) shared among flows.

    API keys get their waiting requests granted in turn, in proportion to their `weights` (1 for those not named there);
    the batches of a key do so in equal parts; within a batch, first come is first served. So the three images of a
    small batch never wait for the thousands of a large one, nor a key with one batch for a key with thousands. A
    request never overtakes the next one in that order, even if it would fit, so that large requests are not starved.

    With `max_held_per_free`, what a key and a batch hold is limited by what is free, so that some units are always left
    for another one, however long the others keep theirs (the dynamic thresholds of Choudhury and Hahne, 1998; the two
    levels: `Shares`). With 3, a single batch gets at most three quarters, a single key with many batches four fifths,
    and two keys with one batch each get three sevenths each.
    """

    def __init__(
        self, capacity: int, *, max_held_per_free: float | None = None, weights: Mapping[str, float] | None = None
    ) -> None:
        self._shares = Shares(capacity, max_held_per_free, weights or {})
        self._turns: Turns[KeyShare] = Turns()
        self._waiting = 0
        self._next_waits = False
        """True when the next request in turn waits for more units than are free."""

    @property
    def capacity(self) -> int:
        return self._shares.capacity

    @property
    def used(self) -> int:
        """The units held now."""
        return self._shares.used

    @property
    def idle(self) -> bool:
        return not self._shares.keys

    @property
    def single_batch_share(self) -> int:
        """The units that one batch can hold while no other holds any."""
        return self._shares.of_single_batch

    def waiting(self, flow: Flow | None = None) -> int:
        """Return the number of waiting requests, of `flow` alone if it is given."""
        if flow is None or not self._waiting:
            return self._waiting
        key = self._shares.keys.get(flow.api_key_id)
        batch = key.batches.get(flow.batch_id) if key else None
        return len(batch.requests) if batch else 0

    async def acquire(self, flow: Flow, amount: int = 1) -> Reservation:
        """Wait for `amount` units, or for all of them if `amount` exceeds the capacity."""
        if reservation := self.try_acquire(flow, amount):
            return reservation
        amount = min(amount, self.capacity)
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        batch, request = self._shares.get(flow), (amount, granted)
        self._enqueue(batch, request)
        try:
            await granted
        except asyncio.CancelledError:
            if granted.done() and not granted.cancelled():  # granted at the moment of the cancellation
                self.release(amount, flow)
            else:
                self._withdraw(batch, request)
            raise
        return Reservation(self, flow, amount)

    def try_acquire(self, flow: Flow, amount: int = 1) -> Reservation | None:
        """Acquire `amount` units as `acquire` does, or return None if that would have to wait."""
        amount = min(amount, self._shares.capacity)
        if self._next_waits or self.waiting(flow) or not self.try_take(amount, flow):
            return None
        return Reservation(self, flow, amount)

    def try_take(self, amount: int, flow: Flow) -> bool:
        """Take `amount` units if they are free and `flow` may have them, ahead of all waiting requests.

        This is for reservations that grow: a body that is half received needs its memory more than one that has not
        started. The waiting requests are granted eventually, because no new ones are admitted before them.
        """
        shares = self._shares
        if shares.used + amount > shares.capacity:
            return False
        batch = shares.get(flow)
        if shares.need(batch, amount) > shares.room_of(batch.key):
            shares.forget(batch)
            return False
        shares.take(batch, amount)
        return True

    def release(self, amount: int, flow: Flow) -> None:
        batch = self._shares.get(flow)
        self._shares.take(batch, -amount)
        self._rejoin(batch)
        self._shares.forget(batch)
        self._grant()

    def resize(self, capacity: int) -> None:
        """Change the number of units. Units held beyond it are not revoked; new requests wait until they are free."""
        self._shares.capacity = capacity
        self._grant()

    def _enqueue(self, batch: BatchShare, request: Request) -> None:
        batch.requests.append(request)
        batch.key.waiting += 1
        self._waiting += 1
        if len(batch.requests) == 1:
            batch.key.turns.join(batch)
            self._turns.join(batch.key)
            self._grant()

    def _withdraw(self, batch: BatchShare, request: Request) -> None:
        with suppress(ValueError):  # `_grant` has removed it, after another cancelled task released its units
            batch.requests.remove(request)
            self._note_removal(batch.key)
        self._rejoin(batch)
        self._grant()

    def _note_removal(self, key: KeyShare) -> None:
        key.waiting -= 1
        self._waiting -= 1

    def _rejoin(self, batch: BatchShare) -> None:
        """Queue a parked batch and its parked key again, because they need less room than before."""
        if batch.place == PARKED:
            batch.key.turns.join(batch)
        if batch.key.place == PARKED:
            self._turns.join(batch.key)

    def _grant(self) -> None:
        self._next_waits = False
        shares = self._shares
        while batch := self._next_batch():
            amount, granted = batch.requests[0]
            if not granted.cancelled():
                if shares.used + min(amount, shares.capacity) > shares.capacity:
                    self._next_waits = True
                    return
                shares.take(batch, amount)
                granted.set_result(None)
                batch.key.turns.charge(amount)
                self._turns.charge(amount)
            batch.requests.popleft()
            self._note_removal(batch.key)

    def _next_batch(self) -> BatchShare | None:
        """Return the batch whose request is the next in turn; park the keys that hold too much, drop those done."""
        while key := self._turns.first(self._shares.key_room()):
            if batch := self._next_batch_of(key):
                return batch
            if key.waiting:  # rounding must not bring it back at once
                self._turns.park(max(self._shares.key_need(key), nextafter(self._shares.key_room(), inf)))
            else:
                self._turns.drop()
                self._shares.forget_key(key)
        return None

    def _next_batch_of(self, key: KeyShare) -> BatchShare | None:
        room = self._shares.room_of(key)
        while batch := key.turns.first(room):
            if not batch.requests:
                key.turns.drop()
                self._shares.forget(batch)
            elif (need := self._shares.need(batch, batch.requests[0][0])) > room:
                key.turns.park(need)
            else:
                return batch
        return None
