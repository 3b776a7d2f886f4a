"""After any sequence of requests, releases and cancellations, the semaphore agrees with a simple model."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from imgsvc.services.throttling.fair_semaphore import FairSemaphore
from imgsvc.services.throttling.flow import Flow
from imgsvc.services.throttling.reservation import Reservation
from support.semaphores import settled

CAPACITY = 12
WEIGHTS = {"key_0": 4.0, "key_1": 0.5}

Flows = st.builds(Flow, st.sampled_from(["key_0", "key_1", "key_2"]), st.sampled_from(["bat_0", "bat_1", "bat_2"]))
Request = tuple[Flow, int]
Step = Request | tuple[str, int]
STEPS: st.SearchStrategy[list[Step]] = st.lists(
    st.one_of(
        st.tuples(Flows, st.integers(1, CAPACITY // 2)),
        st.tuples(Flows, st.integers(1, 3)),
        st.tuples(st.sampled_from(["release", "release", "cancel"]), st.integers(0, 100)),
    ),
    max_size=60,
)


@dataclass
class Line:
    """Members in the order of their turns, found by looking at all of them."""

    now: float = 0
    count: int = 0
    members: dict[str, tuple[float, int]] = field(default_factory=dict)

    def set(self, name: str, start: float) -> None:
        self.count += 1
        self.members[name] = (start, self.count)

    def join(self, name: str) -> None:
        if name not in self.members:
            self.set(name, self.now)

    def first(self, is_waiting: Callable[[str], bool]) -> str | None:
        while self.members:
            name = min(self.members, key=self.members.__getitem__)
            if is_waiting(name):
                return name
            self.now = self.members.pop(name)[0]
        return None

    def charge(self, name: str, units: float) -> None:
        self.now = self.members[name][0]
        self.set(name, self.now + units)


@dataclass
class Model:
    """A semaphore without limits on what is held."""

    held: dict[int, Request] = field(default_factory=dict)
    waiting: dict[int, Request] = field(default_factory=dict)
    keys: Line = field(default_factory=Line)
    batches: dict[str, Line] = field(default_factory=dict)
    next_waits: bool = False

    def request(self, number: int, flow: Flow, amount: int) -> None:
        if not self.next_waits and self.free >= amount:
            self.held[number] = (flow, amount)
            return
        self.waiting[number] = (flow, amount)
        self.batches.setdefault(flow.api_key_id, Line()).join(flow.batch_id)
        self.keys.join(flow.api_key_id)
        self.grant()

    @property
    def free(self) -> int:
        return CAPACITY - sum(amount for _, amount in self.held.values())

    def grant(self) -> None:
        self.next_waits = False
        while key := self._first_key():
            line = self.batches[key]
            batch = line.first(lambda batch: any(flow == (key, batch) for flow, _ in self.waiting.values()))
            number = next(number for number, (flow, _) in self.waiting.items() if flow == (key, batch))
            amount = self.waiting[number][1]
            self.next_waits = amount > self.free
            if self.next_waits:
                return
            self.held[number] = self.waiting.pop(number)
            line.charge(batch or "", amount)
            self.keys.charge(key, amount / WEIGHTS.get(key, 1))

    def _first_key(self) -> str | None:
        """Return the key whose turn it is; what the batches of a key had before it missed its turn is forgotten."""
        key = self.keys.first(lambda key: any(flow.api_key_id == key for flow, _ in self.waiting.values()))
        self.batches = {key: line for key, line in self.batches.items() if key in self.keys.members}
        return key


@dataclass
class Driver:
    """Tasks that hold units of a semaphore or wait for them, by number."""

    semaphore: FairSemaphore
    tasks: dict[int, asyncio.Task[Reservation]] = field(default_factory=dict)
    requests: dict[int, Request] = field(default_factory=dict)

    @property
    def held(self) -> dict[int, Request]:
        return {number: self.requests[number] for number, task in self.tasks.items() if task.done()}

    @property
    def waiting(self) -> dict[int, Request]:
        return {number: self.requests[number] for number, task in self.tasks.items() if not task.done()}

    async def take(self, step: Step, number: int) -> int | None:
        """Take one step; return the number of the request that it concerns, or None if there is none to concern."""
        if isinstance(step[0], Flow):
            self.requests[number] = (step[0], step[1])
            self.tasks[number] = asyncio.create_task(self.semaphore.acquire(*self.requests[number]))
        elif candidates := sorted(self.held if step[0] == "release" else self.waiting):
            number = candidates[step[1] % len(candidates)]
            task = self.tasks.pop(number)
            if step[0] == "release":
                task.result().release()
            else:
                task.cancel()
        else:
            return None
        await settled()
        return number

    async def end(self) -> None:
        """Release and cancel everything; nothing may remain."""
        number = 0
        while self.tasks:
            number += 1
            await self.take(("release" if self.held else "cancel", number), number)
        assert (self.semaphore.used, self.semaphore.waiting()) == (0, 0)
        assert self.semaphore.idle


@given(STEPS)
@settings(deadline=None)
def test_requests_are_granted_in_the_order_of_the_model(steps: list[Step]) -> None:
    async def run() -> None:
        driver, model = Driver(FairSemaphore(CAPACITY, weights=WEIGHTS)), Model()
        for count, step in enumerate(steps):
            number = await driver.take(step, count)
            if number == count:
                model.request(number, *driver.requests[number])
            elif number is not None:
                model.held.pop(number, None)
                model.waiting.pop(number, None)
                model.grant()
            assert driver.held == model.held
            assert driver.semaphore.used == CAPACITY - model.free
        await driver.end()

    asyncio.run(run())


@dataclass
class Limits:
    """The limits on what flows hold with `max_held_per_free=3`, while the keys `present` hold units or wait."""

    held: Sequence[Request]
    present: set[str]

    @property
    def free(self) -> int:
        return CAPACITY - sum(amount for _, amount in self.held)

    def allow(self, request: Request) -> bool:
        flow, amount = request
        of_key = sum(units for other, units in self.held if other.api_key_id == flow.api_key_id)
        of_batch = sum(units for other, units in self.held if other == flow)
        weights = {key: WEIGHTS.get(key, 1) for key in self.present}
        left = 4 * self.free * weights[flow.api_key_id] / max(weights.values()) - of_key - amount
        return not of_key or (left >= 0 and (not of_batch or of_batch + amount <= 3 * left))

    def allow_all(self, requests: Sequence[Request]) -> bool:
        """Return True if there is an order in which each of `requests` may be granted."""
        return not requests or any(
            self.allow(request)
            and request[1] <= self.free
            and Limits([*self.held, request], self.present).allow_all([*requests[:place], *requests[place + 1 :]])
            for place, request in enumerate(requests)
        )


@given(STEPS)
@settings(deadline=None)
def test_limits_hold_and_no_request_waits_that_could_be_granted(steps: list[Step]) -> None:
    async def run() -> None:
        driver = Driver(FairSemaphore(CAPACITY, max_held_per_free=3, weights=WEIGHTS))
        for count, step in enumerate(steps):
            before = set(driver.held)
            await driver.take(step, count)
            held, waiting = driver.held, driver.waiting
            present = {flow.api_key_id for flow, _ in (held | waiting).values()}
            kept = Limits([request for number, request in held.items() if number in before], present)
            assert kept.allow_all([request for number, request in held.items() if number not in before])

            first = {flow: (flow, amount) for flow, amount in reversed(waiting.values())}
            limits = Limits(list(held.values()), present)
            allowed = [amount for flow, amount in first.values() if limits.allow((flow, amount))]
            assert not allowed or max(allowed) > limits.free
        await driver.end()

    asyncio.run(run())
