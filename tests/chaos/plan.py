"""The plan of faults: drawn from a seed, carried out, and recorded."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from time import monotonic

from chaos.fault import Fault
from chaos.stage import Stage

FIRST_PAUSE = 1.0
MIN_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class TimedFault:
    """One fault and its duration in seconds."""

    fault: type[Fault]
    seconds: float

    def __str__(self) -> str:
        return f"{self.fault.name} ({self.seconds:.1f} s)" if self.fault.lasts else self.fault.name


@dataclass(frozen=True, slots=True)
class Step:
    """A pause, then one fault or two at the same time."""

    pause: float
    faults: tuple[TimedFault, ...]

    @property
    def seconds(self) -> float:
        return self.pause + max(timed.seconds for timed in self.faults)

    def __str__(self) -> str:
        return f"{self.pause:4.1f} s pause, then {' and '.join(map(str, self.faults))}"


def plan(rng: Random, kinds: Sequence[type[Fault]], *, seconds: float, longest: float) -> list[Step]:
    """Draw steps for about `seconds`; every kind of fault comes once before any comes again."""
    steps: list[Step] = []
    drawn = _shuffled_endlessly(rng, kinds)
    while sum(step.seconds for step in steps) < seconds:
        fault = next(drawn)
        faults = [_draw(rng, fault, longest)]
        others = [kind for kind in kinds if kind.target != fault.target]
        if others and rng.random() < 0.3:
            faults.append(_draw(rng, rng.choice(others), longest))
        pause = rng.uniform(0.1, longest / 3) if steps else FIRST_PAUSE
        steps.append(Step(pause, tuple(faults)))
    return steps


def _draw(rng: Random, fault: type[Fault], longest: float) -> TimedFault:
    return TimedFault(fault, rng.uniform(MIN_SECONDS, longest) if fault.lasts else MIN_SECONDS)


def _shuffled_endlessly(rng: Random, kinds: Sequence[type[Fault]]) -> Iterator[type[Fault]]:
    while True:
        yield from rng.sample(kinds, len(kinds))


@dataclass
class History:
    """The faults so far, with their beginnings and ends in seconds since the start."""

    say: Callable[[str], None]
    started: float = field(default_factory=monotonic)
    faults: list[tuple[type[Fault], float, float]] = field(default_factory=list)

    def now(self) -> float:
        return monotonic() - self.started

    def note(self, text: str) -> None:
        self.say(f"{self.now():7.1f} s  {text}")

    def excuses(self, since: float, until: float, *, of_shop: bool) -> set[str]:
        """Return the error codes that faults in this period may have caused on good images, or on those of the shop."""
        overlapping = [
            fault
            for fault, began, ended in self.faults
            if began <= until and ended >= since and (of_shop or fault.target != "origin")
        ]
        return {code for fault in overlapping for code in fault.excuses}

    def by_kind(self) -> Counter[str]:
        return Counter(fault.name for fault, _, _ in self.faults)


async def carry_out(steps: Sequence[Step], stage: Stage, history: History, rng: Random) -> None:
    for step in steps:
        await asyncio.sleep(step.pause)
        async with asyncio.TaskGroup() as group:
            for timed in step.faults:
                group.create_task(_carry_out(timed, stage, history, rng))


async def _carry_out(timed: TimedFault, stage: Stage, history: History, rng: Random) -> None:
    fault = timed.fault(stage, rng)
    began = history.now()
    history.note(f"{timed}")
    try:
        await fault.begin()
        await asyncio.sleep(timed.seconds)
    finally:
        await fault.end()
        history.faults.append((timed.fault, began, history.now()))
        if fault.lasts:
            history.note(f"    over: {fault.name}")
