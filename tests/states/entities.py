"""An asset and a delivery of the model: their states, and the times between them."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

LEASE = timedelta(seconds=60)
RETENTION = timedelta(days=1)
CLEAN_UP_AFTER = timedelta(hours=1)
SCHEDULE = (0.0, 300.0)
"""Seconds before each attempt at a delivery."""

Rows = dict[str, Any]


@dataclass(frozen=True)
class Ending:
    """The outcome of a run at an asset: the stored `key`, the error `code`, or the `wait` until the next attempt."""

    kind: Literal["succeeded", "failed", "postponed"]
    key: str = ""
    code: str = ""
    wait: timedelta = timedelta()


@dataclass
class Asset:
    due: datetime
    status: str = "pending"
    claim: str | None = None
    attempts: int = 0
    lost: int = 0
    """Crashes: the number of runs that died with it."""
    code: str | None = None
    key: str | None = None

    @property
    def open(self) -> bool:
        return self.status in {"pending", "processing"}

    def take(self, token: str, now: datetime) -> None:
        self.lost += self.status == "processing"
        self.status, self.claim, self.due = "processing", token, now + LEASE

    def write_outcomes(self, ending: Ending, now: datetime) -> None:
        self.claim, self.attempts = None, self.attempts + 1
        if ending.kind == "postponed":
            self.status, self.due = "pending", now + ending.wait
        else:
            self.status, self.code, self.key = ending.kind, ending.code or None, ending.key or None

    def rows(self) -> Rows:
        due = self.due if self.open else None
        return {**vars(self), "due": due}


@dataclass
class Delivery:
    due: datetime
    status: str = "pending"
    attempts: int = 0
    since: int = 0
    """The number of attempts before the current schedule."""

    def note_attempt(self, response: int | str, now: datetime) -> None:
        """Count one more attempt with this response, a status or none; `due` leaves out the schedule's ±10 %."""
        self.attempts += 1
        made = self.attempts - self.since
        if response == 200:
            self.status = "delivered"
        elif response == 410 or made >= len(SCHEDULE):
            self.status = "exhausted"
        else:
            self.due = now + timedelta(seconds=SCHEDULE[made])

    def rows(self) -> Rows:
        return {**vars(self), "due": self.due if self.status == "pending" else None}


def input_bytes(key: str) -> int:
    """Return a size that hardly any two keys share."""
    return 1_000 + sum(key.encode())


def output_bytes(key: str) -> int:
    return sum(key.encode())
