"""Whatever happens in whatever order, batches, assets and deliveries are as a model in plain Python has them."""

import asyncio
import shutil
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar, TypeVar

import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from states.doubles import Reply
from states.meanwhile import MEANWHILE_FROZEN, MEANWHILE_POSTED, MEANWHILE_TIDIED, retried_and_done
from states.model import Batch
from states.pieces import SCHEDULE, TIDY_AFTER
from states.play import Play

T = TypeVar("T")
DONE = ("succeed a", "succeed b", "fail http_404", "fail http_503 a")
ENDINGS = (*DONE, "fail http_503 a", "store a", "go on", "postpone 0", "postpone 600")
EACH = st.lists(st.sampled_from(ENDINGS), max_size=6) | st.sampled_from(DONE).map(lambda ending: [ending] * 6)
WHICH = st.integers(0, 23)
ASKED = ("retry", "retry", "retry http_404", "retry http_503 invalid_url", "cancel", "delete", "redeliver")
OCCURRENCES = ("sweep", "expire", "a run dies", "the storage goes", "the storage comes", "the storage comes")
REPLIES: st.SearchStrategy[Reply] = st.sampled_from((200, 500, 500, 410, "nothing", "death"))


class Lives(RuleBasedStateMachine):
    """Two batches at a time, three runs at a time at each of them, one database."""

    template: ClassVar[Path]

    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory()
        self.runner = asyncio.Runner()
        self.play = Play(Path(shutil.copy(self.template, self.folder.name)))
        self.well = True

    def do(self, verb: Coroutine[Any, Any, T]) -> T:
        self.well = False
        answer = self.runner.run(verb)
        self.well = True
        return answer

    def teardown(self) -> None:
        try:
            if self.well:
                self.do(self.play.play_on())
        finally:
            self.runner.run(self.play.aclose())
            self.runner.close()
            self.folder.cleanup()

    @invariant()
    def both_look_the_same(self) -> None:
        self.do(self.play.compare())

    @initialize(good=st.integers(1, 4), bad=st.integers(0, 1), endings=EACH)
    def begin(self, good: int, bad: int, endings: list[str]) -> None:
        """The first batch has been worked on, so that there is less to wait for."""
        batch = self.do(self.play.submit(good, bad, hooked=True))
        for told in ([], endings):
            self.do(self.play.compare())
            self.do(self.play.flush(batch, "A", told, claim=6))

    @precondition(lambda self: len(self.play.model.batches) < 2)
    @rule(good=st.integers(0, 3), bad=st.integers(1, 2), hooked=st.booleans())
    def submit(self, good: int, bad: int, hooked: bool) -> None:
        self.do(self.play.submit(good, bad, hooked=hooked))

    @rule(which=WHICH, what=st.sampled_from(ASKED))
    def ask(self, which: int, what: str) -> None:
        verb, *codes = what.split()
        match verb:
            case "cancel":
                self.do(self.play.cancel(self.batch(which, lambda batch: batch.open)))
            case "retry":
                self.do(self.play.retry(self.batch(which, lambda batch: bool(batch.to_retry(codes))), *codes))
            case "delete":
                self.do(self.play.delete(self.batch(which, lambda batch: not batch.open)))
            case "redeliver" if self.play.events:
                self.do(self.play.redeliver(*one_of(list(self.play.events), which)))

    @rule(which=WHICH, who=st.sampled_from("AAABBC"), endings=EACH, most=st.integers(0, 6))
    def work(self, which: int, who: str, endings: list[str], most: int) -> None:
        self.do(self.play.flush(self.batch(which, lambda batch: batch.open), who, endings, claim=most))

    @precondition(lambda self: any(run.held for run in self.play.runs.values()))
    @rule(which=WHICH, endings=EACH, event=st.sampled_from(sorted(MEANWHILE_FROZEN)))
    def freeze(self, which: int, endings: list[str], event: str) -> None:
        """A run sleeps through its lease, and wakes up."""
        name, who = one_of([key for key, run in self.play.runs.items() if run.held], which)
        self.play.clock.forward(60)
        self.do(MEANWHILE_FROZEN[event](self.play, name))
        if (name, who) in self.play.runs:
            self.do(self.play.flush(name, who, endings))

    @rule(seconds=st.sampled_from((1, 30, 60, 3_600, 86_400)))
    def wait(self, seconds: int) -> None:
        self.play.clock.forward(seconds)

    @rule()
    def wait_for_what_is_next(self) -> None:
        self.play.clock.now = min(self.play.model.ahead(self.play.clock()), default=self.play.clock())

    @rule(which=WHICH, what=st.sampled_from(OCCURRENCES))
    def occur(self, which: int, what: str) -> None:
        match what:
            case "sweep" | "expire":
                self.do(getattr(self.play, what)())
            case "a run dies" if self.play.runs:
                self.play.die(*one_of(list(self.play.runs), which))
            case _:
                self.play.reader.away = what == "the storage goes"

    @rule(which=WHICH, at_last=st.booleans(), event=st.sampled_from(sorted(MEANWHILE_TIDIED)))
    def clean_up(self, which: int, at_last: bool, event: str) -> None:
        name = self.batch(which, lambda batch: bool(batch.clean_up and not batch.deleted))
        batch = self.play.model.batches.get(name)
        if at_last and batch and batch.clean_up:
            self.play.clock.now = max(self.play.clock.now, batch.clean_up)
        self.do(self.play.clean_up(name, partial(MEANWHILE_TIDIED[event], self.play, name)))

    @precondition(lambda self: self.play.events)
    @rule(which=WHICH, at_last=st.booleans(), reply=REPLIES, event=st.sampled_from(sorted(MEANWHILE_POSTED)))
    def deliver(self, which: int, at_last: bool, reply: Reply, event: str) -> None:
        if at_last:
            self.play.clock.forward(SCHEDULE[-1] * 1.1)
        due = list(self.play.model.due_deliveries(self.play.clock()))
        name, number = one_of(3 * due + list(self.play.events), which)
        self.do(self.play.deliver(name, number, reply, partial(MEANWHILE_POSTED[event], self.play, name, number)))

    def batch(self, which: int, wanted: Callable[[Batch], bool]) -> str:
        """Mostly one that is as wanted, sometimes another: that must be refused."""
        batches = self.play.model.batches
        return one_of(3 * [name for name in batches if wanted(batches[name])] + self.play.names, which)


def one_of(names: Sequence[T], which: int) -> T:
    return names[which % len(names)]


LIVES = settings(
    max_examples=10,
    stateful_step_count=50,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    database=None,
)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("number", [1, *(pytest.param(number, marks=pytest.mark.slow) for number in range(2, 6))])
def test_the_services_do_what_the_model_does(migrated_database: Path, number: int) -> None:
    """Ten lives for each number; another number gives others."""
    lives = type("LivesHere", (Lives,), {"template": migrated_database})
    run_state_machine_as_test(seed(number)(lives), settings=LIVES)


async def test_what_is_just_being_removed_cannot_come_into_use_again_in_a_new_round(
    migrated_database: Path, tmp_path: Path
) -> None:
    """Too rare for chance: a retry, at work on the same image, between the look at what is named and the removal."""
    play = Play(Path(shutil.copy(migrated_database, tmp_path)))
    batch = await play.submit(1, 0, hooked=True)
    await play.flush(batch, "A", claim=1)
    await play.flush(batch, "A", ["fail http_503 a"])
    await play.compare()
    play.clock.forward(TIDY_AFTER.total_seconds())
    await play.clean_up(batch, partial(retried_and_done, play, batch))
    assert play.model.batches[batch].status == "completed"
    await play.compare()
    await play.aclose()
