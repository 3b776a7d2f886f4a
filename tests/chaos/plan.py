"""What goes wrong when: a list made from a seed, carried out, and remembered."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from time import monotonic

from chaos.fault import Fault
from chaos.stage import Stage

FIRST_AFTER = 1.0
SHORTEST = 0.5


@dataclass(frozen=True, slots=True)
class Stroke:
    """One fault and for how long, in seconds."""

    fault: type[Fault]
    seconds: float

    def __str__(self) -> str:
        return f"{self.fault.name} ({self.seconds:.1f} s)" if self.fault.lasts else self.fault.name


@dataclass(frozen=True, slots=True)
class Act:
    """A pause, then one stroke or a pair at the same time."""

    pause: float
    strokes: tuple[Stroke, ...]

    @property
    def seconds(self) -> float:
        return self.pause + max(stroke.seconds for stroke in self.strokes)

    def __str__(self) -> str:
        return f"{self.pause:4.1f} s pause, then {' and '.join(map(str, self.strokes))}"


def plan(rng: Random, kinds: Sequence[type[Fault]], *, seconds: float, longest: float) -> list[Act]:
    """Acts for about so many seconds; every kind comes before one comes again."""
    acts: list[Act] = []
    drawn = _shuffled_again_and_again(rng, kinds)
    while sum(act.seconds for act in acts) < seconds:
        fault = next(drawn)
        strokes = [_stroke(rng, fault, longest)]
        others = [kind for kind in kinds if kind.part != fault.part]
        if others and rng.random() < 0.3:
            strokes.append(_stroke(rng, rng.choice(others), longest))
        pause = rng.uniform(0.1, longest / 3) if acts else FIRST_AFTER
        acts.append(Act(pause, tuple(strokes)))
    return acts


def _stroke(rng: Random, fault: type[Fault], longest: float) -> Stroke:
    return Stroke(fault, rng.uniform(SHORTEST, longest) if fault.lasts else SHORTEST)


def _shuffled_again_and_again(rng: Random, kinds: Sequence[type[Fault]]) -> Iterator[type[Fault]]:
    while True:
        yield from rng.sample(kinds, len(kinds))


@dataclass
class History:
    """What was broken from when to when, in seconds since the start."""

    say: Callable[[str], None]
    born: float = field(default_factory=monotonic)
    broken: list[tuple[type[Fault], float, float]] = field(default_factory=list)

    def now(self) -> float:
        return monotonic() - self.born

    def note(self, words: str) -> None:
        self.say(f"{self.now():7.1f} s  {words}")

    def excuses(self, since: float, until: float) -> set[str]:
        """The error codes that what was broken in between can have brought to good images."""
        overlapping = [fault for fault, began, ended in self.broken if began <= until and ended >= since]
        return {code for fault in overlapping for code in fault.excuses}

    def by_kind(self) -> Counter[str]:
        return Counter(fault.name for fault, _, _ in self.broken)


async def carry_out(acts: Sequence[Act], stage: Stage, history: History, rng: Random) -> None:
    for act in acts:
        await asyncio.sleep(act.pause)
        async with asyncio.TaskGroup() as group:
            for stroke in act.strokes:
                group.create_task(_strike(stroke, stage, history, rng))


async def _strike(stroke: Stroke, stage: Stage, history: History, rng: Random) -> None:
    fault = stroke.fault(stage, rng)
    began = history.now()
    history.note(f"{stroke}")
    try:
        await fault.begin()
        await asyncio.sleep(stroke.seconds)
    finally:
        await fault.end()
        history.broken.append((stroke.fault, began, history.now()))
        if fault.lasts:
            history.note(f"    over: {fault.name}")
