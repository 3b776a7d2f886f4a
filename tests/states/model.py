"""The model: batches, assets and deliveries in plain Python, with which the services are compared."""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from states.entities import CLEAN_UP_AFTER, RETENTION, Asset, Delivery, Ending, Rows, input_bytes, output_bytes


@dataclass
class Batch:
    has_webhook: bool
    assets: list[Asset]
    expires: datetime
    round: int = 1
    begun: bool = False
    finished: datetime | None = None
    clean_up: datetime | None = None
    deleted: datetime | None = None
    emptied: bool = False
    """True when it is deleted and only its own row is left."""
    change: str | None = None
    """A cancellation, retry or comparison that is recorded but not applied; a retry continues with the codes."""
    is_version: bool = False
    """True when it names a catalogue: it is compared before it ends."""
    deliveries: dict[int, Delivery] = field(default_factory=dict)

    @property
    def open(self) -> bool:
        return self.change is not None or any(asset.open for asset in self.assets)

    def accepts(self, round_number: int) -> bool:
        """Return True while this round can still be processed."""
        return self.open and not self.change and not self.deleted and self.round == round_number

    @property
    def status(self) -> str:
        count = Counter(asset.status for asset in self.assets)
        if self.open:
            return "processing" if self.begun else "pending"
        if count["cancelled"]:
            return "cancelled"
        if not count["failed"]:
            return "completed"
        return "completed_with_errors" if count["succeeded"] else "failed"

    def claim(self, token: str, limit: int, now: datetime, *, in_flight: Collection[int]) -> list[int]:
        takeable = [(asset.due, at) for at, asset in enumerate(self.assets) if asset.open and asset.due <= now]
        others = [at for _, at in sorted(takeable) if self.assets[at].claim != token and at not in in_flight]
        taken = others[:limit]
        for at in taken:
            self.assets[at].take(token, now)
        self.begun = self.begun or bool(taken)
        return taken

    def write_outcomes(self, token: str, endings: Mapping[int, Ending], now: datetime) -> None:
        for at, ending in endings.items():
            if self.assets[at].open and self.assets[at].claim == token:
                self.assets[at].write_outcomes(ending, now)
        self.end_images(now)

    def apply_change(self, now: datetime) -> None:
        """Apply the recorded change to the assets."""
        change, self.change = self.change, None
        if change == "cancel":
            for asset in self.assets:
                if asset.open:
                    asset.status, asset.claim, asset.code = "cancelled", None, "cancelled"
            self.finish_if_nothing_is_open(now)
        elif change == "compare":
            self.finish_if_nothing_is_open(now)
        elif change:
            for asset in self._failed_with(change.split()[1:]):
                asset.status, asset.code, asset.attempts, asset.due = "pending", None, 0, now
                asset.lost = min(asset.lost, 1)

    def end_images(self, now: datetime) -> None:
        """Finish, or begin the comparison, if no image is open."""
        if self.is_version and not self.open:
            self.change = "compare"
        self.finish_if_nothing_is_open(now)

    def finish_if_nothing_is_open(self, now: datetime) -> None:
        if not self.open:
            self.finished, self.expires, self.clean_up = now, now + RETENTION, now + CLEAN_UP_AFTER
            if self.has_webhook:
                assert self.round not in self.deliveries, "a round ends once"
                self.deliveries[self.round] = Delivery(now)

    def retryable(self, codes: Collection[str]) -> list[Asset]:
        return [] if self.open or self.status == "cancelled" else self._failed_with(codes)

    def _failed_with(self, codes: Collection[str]) -> list[Asset]:
        failed = [asset for asset in self.assets if asset.status == "failed" and asset.code != "invalid_url"]
        return [asset for asset in failed if not codes or asset.code in codes]

    def retry(self, codes: Collection[str], now: datetime) -> None:
        self.change = " ".join(("retry", *sorted(codes)))
        self.round, self.begun = self.round + 1, False
        self.finished, self.clean_up, self.expires = None, None, now + RETENTION

    def delete(self, now: datetime) -> None:
        """Hide the batch, and announce nothing more about it."""
        self.deleted = self.clean_up = now
        for delivery in self.deliveries.values():
            delivery.status = "exhausted" if delivery.status == "pending" else delivery.status

    def leftovers(self, files: Mapping[str, datetime], now: datetime) -> tuple[set[str], bool]:
        """Return the `files` (keys and storage times) that a clean-up removes now, and whether it leaves none."""
        if self.deleted:
            return set(files), True
        unnamed = files.keys() - self.named()
        old = {key for key in unnamed if files[key] < now - CLEAN_UP_AFTER / 2}
        return old, old == unnamed

    def cleaned_up(self, seen: datetime, now: datetime, *, is_complete: bool) -> bool:
        """Clean the batch up as due at `seen`; return True when its row is removed as well."""
        if self.clean_up != seen:
            return False
        if self.deleted:
            self.emptied, self.clean_up = True, self.deleted + CLEAN_UP_AFTER
            return self.clean_up <= now
        self.clean_up = None if is_complete else now + CLEAN_UP_AFTER
        return False

    def named(self) -> set[str]:
        return {asset.key for asset in self.assets if asset.key}

    def rows(self) -> Rows:
        """Return all visible state, in the format of `states.snapshots.Snapshot.rows`."""
        if self.emptied:
            return {"clean_up": self.clean_up, "deleted": self.deleted}
        count = Counter(asset.status for asset in self.assets)
        done = [asset.key for asset in self.assets if asset.key]
        return {
            "status": self.status,
            "round": self.round,
            "total": len(self.assets),
            **{status: count[status] for status in ("processing", "succeeded", "failed", "cancelled")},
            "errors": dict(Counter(asset.code for asset in self.assets if asset.status == "failed")),
            "bytes": (sum(map(input_bytes, done)), sum(map(output_bytes, done))),
            "dates": (self.finished, self.expires, self.clean_up, self.deleted),
            "assets": [asset.rows() for asset in self.assets],
            "deliveries": {number: delivery.rows() for number, delivery in self.deliveries.items()},
        }


@dataclass
class Model:
    """Every batch that has a row."""

    batches: dict[str, Batch] = field(default_factory=dict)

    def workable(self) -> list[str]:
        """Return the batches that lanes may process now or later."""
        return [name for name, batch in self.batches.items() if batch.accepts(batch.round)]

    def changing(self) -> list[str]:
        return [name for name, batch in self.batches.items() if batch.change]

    def due_deliveries(self, now: datetime) -> dict[tuple[str, int], int]:
        """Return the number of attempts at each delivery that is due, by batch and round."""
        kept = {name: batch.deliveries for name, batch in self.batches.items() if not batch.emptied}
        every = {(name, number): delivery for name, group in kept.items() for number, delivery in group.items()}
        return {key: d.attempts for key, d in every.items() if d.status == "pending" and d.due <= now}

    def upcoming(self, now: datetime) -> list[datetime]:
        """Return the times at which something becomes due."""
        assets = [asset.due for batch in self.batches.values() for asset in batch.assets if asset.open]
        deliveries = [each.due for batch in self.batches.values() for each in batch.deliveries.values()]
        ends = [at for batch in self.batches.values() for at in (batch.clean_up, batch.expires) if at]
        return [at for at in assets + deliveries + ends if at > now]

    def not_cleaned_up(self, now: datetime) -> set[str]:
        return {name for name, batch in self.batches.items() if batch.clean_up and batch.clean_up <= now}

    def expire(self, now: datetime) -> None:
        """Delete the batches past their retention, except those whose webhook is still pending."""
        for batch in self.batches.values():
            announcing = any(delivery.status == "pending" for delivery in batch.deliveries.values())
            if batch.finished and batch.expires <= now and not batch.deleted and not announcing:
                batch.delete(now)

    def rows(self) -> dict[str, Rows]:
        return {name: batch.rows() for name, batch in self.batches.items()}
