"""After any sequence of events, batches, assets and deliveries agree with a model in plain Python."""

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
from states.entities import CLEAN_UP_AFTER, SCHEDULE
from states.interruptions import WHILE_CLEANING_UP, WHILE_FROZEN, WHILE_POSTING, retried_and_finished
from states.model import Batch
from states.simulation import Simulation

T = TypeVar("T")
DONE = ("succeed a", "succeed b", "fail http_404", "fail http_503 a")
ENDINGS = (*DONE, "fail http_503 a", "store a", "continue", "postpone 0", "postpone 600")
EACH = st.lists(st.sampled_from(ENDINGS), max_size=6) | st.sampled_from(DONE).map(lambda ending: [ending] * 6)
WHICH = st.integers(0, 23)
ASKED = (
    *("retry", "retry", "retry http_404", "retry http_503 invalid_url", "cancel", "delete", "redeliver"),
    *("crash: cancel", "crash: retry", "crash: retry http_404"),
)
OCCURRENCES = (
    *("sweep", "expire", "apply_changes", "apply_changes"),
    *("a run crashes", "the storage fails", "the storage recovers", "the storage recovers"),
)
REPLIES: st.SearchStrategy[Reply] = st.sampled_from((200, 500, 500, 410, "nothing", "crash"))


class BatchLifecycles(RuleBasedStateMachine):
    """A machine with one database, up to two batches at a time, and up to three runs at each of them."""

    template: ClassVar[Path]

    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory()
        self.runner = asyncio.Runner()
        self.simulation = Simulation(Path(shutil.copy(self.template, self.folder.name)))
        self.healthy = True

    def do(self, action: Coroutine[Any, Any, T]) -> T:
        self.healthy = False
        result = self.runner.run(action)
        self.healthy = True
        return result

    def teardown(self) -> None:
        try:
            if self.healthy:
                self.do(self.simulation.run_to_the_end())
        finally:
            self.runner.run(self.simulation.aclose())
            self.runner.close()
            self.folder.cleanup()

    @invariant()
    def services_and_model_agree(self) -> None:
        self.do(self.simulation.compare())

    @initialize(good=st.integers(1, 4), bad=st.integers(0, 1), is_version=st.booleans(), endings=EACH)
    def begin(self, good: int, bad: int, is_version: bool, endings: list[str]) -> None:
        """Submit a batch and process some of it, which saves steps."""
        batch = self.do(self.simulation.submit(good, bad, has_webhook=True, is_version=is_version))
        for outcomes in ([], endings):
            self.do(self.simulation.compare())
            self.do(self.simulation.flush(batch, "A", outcomes, claim=6))

    @precondition(lambda self: len(self.simulation.model.batches) < 2)
    @rule(good=st.integers(0, 3), bad=st.integers(1, 2), has_webhook=st.booleans(), is_version=st.booleans())
    def submit(self, good: int, bad: int, has_webhook: bool, is_version: bool) -> None:
        self.do(self.simulation.submit(good, bad, has_webhook=has_webhook, is_version=is_version))

    @rule(which=WHICH, what=st.sampled_from(ASKED))
    def ask(self, which: int, what: str) -> None:
        crash = what.startswith("crash: ")
        verb, *codes = what.removeprefix("crash: ").split()
        match verb:
            case "cancel":
                self.do(self.simulation.cancel(self.batch(which, lambda batch: batch.open), crash=crash))
            case "retry":
                name = self.batch(which, lambda batch: bool(batch.retryable(codes)))
                self.do(self.simulation.retry(name, *codes, crash=crash))
            case "delete":
                self.do(self.simulation.delete(self.batch(which, lambda batch: not batch.open)))
            case "redeliver" if self.simulation.events:
                self.do(self.simulation.redeliver(*one_of(list(self.simulation.events), which)))

    @rule(which=WHICH, run_name=st.sampled_from("AAABBC"), endings=EACH, limit=st.integers(0, 6))
    def work(self, which: int, run_name: str, endings: list[str], limit: int) -> None:
        self.do(self.simulation.flush(self.batch(which, lambda batch: batch.open), run_name, endings, claim=limit))

    @precondition(lambda self: any(run.held for run in self.simulation.runs.values()))
    @rule(which=WHICH, endings=EACH, event=st.sampled_from(sorted(WHILE_FROZEN)))
    def freeze(self, which: int, endings: list[str], event: str) -> None:
        """Let a run sleep past the end of its lease and wake up."""
        name, run_name = one_of([key for key, run in self.simulation.runs.items() if run.held], which)
        self.simulation.clock.forward(60)
        self.do(WHILE_FROZEN[event](self.simulation, name))
        if (name, run_name) in self.simulation.runs:
            self.do(self.simulation.flush(name, run_name, endings))

    @rule(seconds=st.sampled_from((1, 30, 60, 3_600, 86_400)))
    def wait(self, seconds: int) -> None:
        self.simulation.clock.forward(seconds)

    @rule()
    def wait_for_what_is_next(self) -> None:
        clock = self.simulation.clock
        clock.now = min(self.simulation.model.upcoming(clock()), default=clock())

    @rule(which=WHICH, what=st.sampled_from(OCCURRENCES))
    def occur(self, which: int, what: str) -> None:
        match what:
            case "sweep" | "expire" | "apply_changes":
                self.do(getattr(self.simulation, what)())
            case "a run crashes" if self.simulation.runs:
                self.simulation.crash(*one_of(list(self.simulation.runs), which))
            case _:
                self.simulation.inventory.unavailable = what == "the storage fails"

    @rule(which=WHICH, at_last=st.booleans(), event=st.sampled_from(sorted(WHILE_CLEANING_UP)))
    def clean_up(self, which: int, at_last: bool, event: str) -> None:
        name = self.batch(which, lambda batch: bool(batch.clean_up and not batch.deleted))
        batch = self.simulation.model.batches.get(name)
        if at_last and batch and batch.clean_up:
            self.simulation.clock.now = max(self.simulation.clock.now, batch.clean_up)
        self.do(self.simulation.clean_up(name, partial(WHILE_CLEANING_UP[event], self.simulation, name)))

    @precondition(lambda self: self.simulation.events)
    @rule(which=WHICH, at_last=st.booleans(), reply=REPLIES, event=st.sampled_from(sorted(WHILE_POSTING)))
    def deliver(self, which: int, at_last: bool, reply: Reply, event: str) -> None:
        if at_last:
            self.simulation.clock.forward(SCHEDULE[-1] * 1.1)
        due = list(self.simulation.model.due_deliveries(self.simulation.clock()))
        name, number = one_of(3 * due + list(self.simulation.events), which)
        interruption = partial(WHILE_POSTING[event], self.simulation, name, number)
        self.do(self.simulation.deliver(name, number, reply, interruption))

    def batch(self, which: int, wanted: Callable[[Batch], bool]) -> str:
        """Return mostly a batch that is as wanted, sometimes another, which must be refused."""
        batches = self.simulation.model.batches
        return one_of(3 * [name for name in batches if wanted(batches[name])] + self.simulation.names, which)


def one_of(names: Sequence[T], which: int) -> T:
    return names[which % len(names)]


SETTINGS = settings(
    max_examples=10,
    stateful_step_count=50,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    database=None,
)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("number", [1, *(pytest.param(number, marks=pytest.mark.slow) for number in range(2, 6))])
def test_the_services_agree_with_the_model(migrated_database: Path, number: int) -> None:
    """Each number is the seed of ten lifecycles."""
    machine = type("BatchLifecyclesHere", (BatchLifecycles,), {"template": migrated_database})
    run_state_machine_as_test(seed(number)(machine), settings=SETTINGS)


async def test_a_file_that_is_being_removed_cannot_be_used_by_a_new_round(
    migrated_database: Path, tmp_path: Path
) -> None:
    """A retry stores the same image between the listing of leftovers and their removal: too rare to leave to chance."""
    simulation = Simulation(Path(shutil.copy(migrated_database, tmp_path)))
    batch = await simulation.submit(1, 0, has_webhook=True)
    await simulation.flush(batch, "A", claim=1)
    await simulation.flush(batch, "A", ["fail http_503 a"])
    await simulation.compare()
    simulation.clock.forward(CLEAN_UP_AFTER.total_seconds())
    await simulation.clean_up(batch, partial(retried_and_finished, simulation, batch))
    assert simulation.model.batches[batch].status == "completed"
    await simulation.compare()
    await simulation.aclose()
