"""Every action, performed by the services on a database and by the model; after each, both must agree."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from imgsvc.db.queries.api_keys import LOCAL_KEY
from imgsvc.domain.manifest.read_csv import DEFAULT_LIMITS
from imgsvc.errors import BatchFinished, BatchNotFinished, NotFound, NothingToRetry, StorageError
from imgsvc.services.batches.cancel import begin_cancel
from imgsvc.services.batches.change import apply_change
from imgsvc.services.batches.delete import clean_up_batch, delete_batch
from imgsvc.services.batches.retry import begin_retry
from imgsvc.services.intake.submit import submit
from imgsvc.services.intake.upload import Upload
from imgsvc.services.results.compare_versions import compare_versions
from imgsvc.services.sweep import expire_batches
from imgsvc.services.webhooks.deliver import attempt_delivery, request_redelivery
from imgsvc.services.webhooks.host_slots import PerHostLimit
from imgsvc.services.webhooks.send import WebhookSender
from states.doubles import Crashed, Interruption, Reply
from states.entities import CLEAN_UP_AFTER, LEASE, RETENTION, SCHEDULE, Asset, Delivery
from states.model import Batch
from states.runs import RETENTION_POLICY, Runs
from states.snapshots import read_snapshots
from support.batches import RecordingQueue, manifest
from support.stack import SECRET
from support.verbs import wake_due_work

HOOK = "http://shop.example/hook"
FOREVER = 1_000
"""Seconds after which everything that was postponed is due."""


@contextmanager
def refused(refusal: type[Exception] | None) -> Iterator[None]:
    """Expect that the block raises `refusal`, or nothing if it is None."""
    if refusal is None:
        yield
    else:
        with pytest.raises(refusal):
            yield


class Simulation(Runs):
    """The actions of clients and of the service itself."""

    async def submit(self, good: int, bad: int, *, has_webhook: bool, is_version: bool = False) -> str:
        urls = [f"http://shop.example/{n}.jpg" for n in range(good)] + [f"ftp://shop.example/{n}" for n in range(bad)]
        submitted = await submit(
            Upload(
                manifest(urls),
                on_invalid="skip",
                webhook_url=HOOK if has_webhook else None,
                catalogue="shop" if is_version else None,
            ),
            api_key_id=LOCAL_KEY,
            sessions=self.sessions,
            queue=RecordingQueue(),
            retention=RETENTION_POLICY,
            clock=self.clock,
            limits=DEFAULT_LIMITS,
        )
        now = self.clock()
        assets = [Asset(now) for _ in range(good)] + [Asset(now, "failed", code="invalid_url") for _ in range(bad)]
        batch = Batch(has_webhook, assets, now + RETENTION, is_version=is_version)
        self.model.batches[submitted.batch.id] = batch
        batch.end_images(now)
        self.names.append(submitted.batch.id)
        return submitted.batch.id

    async def cancel(self, name: str, *, crash: bool = False) -> None:
        """Cancel the batch; with `crash`, the process ends when it has recorded the cancellation."""
        batch = self.visible(name)
        refusal = NotFound if batch is None else None if batch.open else BatchFinished
        with refused(refusal):
            await begin_cancel(name, api_key_id=LOCAL_KEY, sessions=self.sessions)
        if batch and not refusal:
            batch.change = "cancel"
            if not crash:
                await self.apply_change(name)

    async def retry(self, name: str, *codes: str, crash: bool = False) -> None:
        """Retry the batch; with `crash`, the process ends when it has recorded the retry."""
        batch = self.visible(name)
        refusal: type[Exception] | None = NotFound
        if batch:
            refusal = BatchNotFinished if batch.open else None if batch.retryable(codes) else NothingToRetry
        with refused(refusal):
            await begin_retry(
                name,
                codes=codes,
                api_key_id=LOCAL_KEY,
                sessions=self.sessions,
                retention=RETENTION_POLICY,
                clock=self.clock,
            )
        if batch and not refusal:
            batch.retry(codes, self.clock())
            if not crash:
                await self.apply_change(name)

    async def delete(self, name: str) -> None:
        batch, now = self.visible(name), self.clock()
        refusal = NotFound if batch is None else BatchNotFinished if batch.open else None
        with refused(refusal):
            await delete_batch(
                name,
                api_key_id=LOCAL_KEY,
                sessions=self.sessions,
                inventory=self.inventory,
                queue=RecordingQueue(),
                clock=self.clock,
                clean_up_after=CLEAN_UP_AFTER,
                removal_timeout=FOREVER,
            )
        if batch and not refusal:
            batch.delete(now)
            if not self.inventory.unavailable:
                batch.cleaned_up(now, now, is_complete=True)

    # -- actions of the service ---------------------------------------------------------------------------------------

    async def sweep(self) -> None:
        """Sweep, and check that it wakes exactly what is due."""
        queue, now = RecordingQueue(), self.clock()
        await wake_due_work(sessions=self.sessions, queue=queue, clock=self.clock)
        due = {self.events[key]: attempts + 1 for key, attempts in self.model.due_deliveries(now).items()}
        assert sorted(queue.lanes) == sorted(self.model.workable())
        assert sorted(queue.changes) == sorted(self.model.changing())
        assert sorted(queue.deliveries) == sorted((event, attempt, None) for event, attempt in due.items())
        assert sorted(queue.clean_ups) == sorted(self.model.not_cleaned_up(now))

    async def apply_changes(self) -> None:
        """Apply the changes in progress, as the jobs do that the sweep wakes."""
        for name in self.model.changing():
            await self.apply_change(name)

    async def apply_change(self, name: str) -> None:
        for apply in (apply_change, compare_versions):
            await apply(
                name, sessions=self.sessions, queue=RecordingQueue(), retention=RETENTION_POLICY, clock=self.clock
            )
        self.model.batches[name].apply_change(self.clock())

    async def expire(self) -> None:
        await expire_batches(sessions=self.sessions, clock=self.clock)
        self.model.expire(self.clock())

    async def clean_up(self, name: str, interruption: Interruption | None = None) -> None:
        """Clean up; `interruption` runs once the leftovers have been determined."""
        batch, now = self.model.batches.get(name), self.clock()
        seen = batch.clean_up if batch and batch.clean_up and batch.clean_up <= now else None
        leftovers, is_complete = batch.leftovers(self.inventory.folder(name), now) if batch and seen else (set(), True)
        self.inventory.removals, self.inventory.interruption = [], interruption
        with refused(StorageError if self.inventory.unavailable and seen else None):
            await clean_up_batch(
                name, sessions=self.sessions, inventory=self.inventory, clock=self.clock, clean_up_after=CLEAN_UP_AFTER
            )
        self.inventory.interruption = None
        if batch and seen and not self.inventory.unavailable:
            assert set(self.inventory.removals) == leftovers
            if batch.cleaned_up(seen, now, is_complete=is_complete):
                del self.model.batches[name]

    async def deliver(self, name: str, number: int, reply: Reply, interruption: Interruption | None = None) -> None:
        """Make one attempt; `interruption` runs while the webhook is being posted."""
        delivery, now = self._delivery(name, number), self.clock()
        due = delivery is not None and delivery.status == "pending" and delivery.due <= now
        before, posted = delivery.attempts if delivery else 0, len(self.receiver.posted)
        if delivery and due:
            delivery.due = now + LEASE
        self.receiver.reply, self.receiver.interruption = reply, interruption
        with refused(Crashed if due and reply == "crash" else None):
            await attempt_delivery(
                self.events[name, number],
                sessions=self.sessions,
                sender=WebhookSender(self.receiver, PerHostLimit(), SCHEDULE, (SECRET,)),
                queue=RecordingQueue(),
                clock=self.clock,
            )
        self.receiver.interruption = None
        assert self.receiver.posted[posted : posted + 1] == ([self.events[name, number]] if due else [])
        delivery = self._delivery(name, number)
        noted = due and reply != "crash" and delivery is not None
        if delivery and noted and delivery.status == "pending" and delivery.attempts == before:
            if delivery.due != now + LEASE:  # moved forward by a redelivery
                delivery.attempts += 1
            else:
                delivery.note_attempt(reply, self.clock())
                self._adopt_jitter(name, number, delivery)

    def _adopt_jitter(self, name: str, number: int, delivery: Delivery) -> None:
        """Check the random ±10 % of the schedule, and copy the actual time to the model."""
        due = read_snapshots(self.engine)[name].deliveries[number]["due_at"]
        if delivery.status == "pending":
            wait = delivery.due - self.clock()
            assert 0.9 * wait <= due - self.clock() <= 1.1 * wait
            delivery.due = due

    async def redeliver(self, name: str, number: int) -> None:
        delivery = self._delivery(name, number) if self.visible(name) else None
        with refused(None if delivery else NotFound):
            await request_redelivery(
                self.events[name, number],
                api_key_id=LOCAL_KEY,
                sessions=self.sessions,
                queue=RecordingQueue(),
                clock=self.clock,
            )
        if delivery:
            delivery.status, delivery.due, delivery.since = "pending", self.clock(), delivery.attempts

    # -- to the end ---------------------------------------------------------------------------------------------------

    async def run_to_the_end(self) -> None:
        """Finish everything: open assets succeed, webhooks are delivered, then all batches expire and are removed."""
        self.inventory.unavailable = False
        self.clock.forward(FOREVER)
        await self.apply_changes()
        await self.compare()
        for name, batch in self.model.batches.items():
            if batch.open:
                await self.flush(name, "the last", claim=100)
                await self.compare()
                await self.flush(name, "the last", ["succeed a"] * 100)
                await self.compare()
            if batch.is_version and batch.change:
                await self.apply_change(name)
                await self.compare()
            assert not batch.open
        while due := self.model.due_deliveries(self.clock()):
            for name, number in due:
                await self.deliver(name, number, 200)
            self.clock.forward(FOREVER)
        await self.compare()
        await self._expire_everything()

    async def _expire_everything(self) -> None:
        names = list(self.model.batches)
        for wait in (RETENTION, CLEAN_UP_AFTER):
            self.clock.forward(wait.total_seconds())
            await self.expire()
            for name in names:
                await self.clean_up(name)
            await self.compare()
        assert not self.model.batches
        assert not [key for name in names for key in self.inventory.folder(name)]

    def _delivery(self, name: str, number: int) -> Delivery | None:
        batch = self.model.batches.get(name)
        return None if batch is None or batch.emptied else batch.deliveries[number]
