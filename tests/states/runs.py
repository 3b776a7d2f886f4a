"""Runs of lanes, performed by the services on a database and by the model: what they claim, hold and flush."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import pytest
import sqlalchemy as sa

from imgsvc.db.engine import open_sessions
from imgsvc.db.queries.api_keys import LOCAL_KEY
from imgsvc.db.queries.leases import Claimed
from imgsvc.domain.media_keys import digest
from imgsvc.errors import HttpStatusError, NotFound
from imgsvc.services.access.links import Links
from imgsvc.services.batches.finish import EndedBatch, Retention
from imgsvc.services.batches.read import read_batch
from imgsvc.services.processing import flush as flushing
from imgsvc.services.processing.outcomes import Failed, Outcome, Postponed, Succeeded
from states.doubles import MemoryInventory, Receiver
from states.entities import CLEAN_UP_AFTER, LEASE, RETENTION, Ending, input_bytes, output_bytes
from states.model import Batch, Model
from states.snapshots import Snapshot, check_consistent, check_moves, read_snapshots
from support.batches import ManualClock
from support.lanes import plan

RETENTION_POLICY = Retention(Links("http://imgsvc.example"), RETENTION, CLEAN_UP_AFTER)


@dataclass
class Run:
    """A run of a lane: the assets that it believes to hold, and the ends of their leases."""

    token: str
    round: int
    held: dict[int, Claimed] = field(default_factory=dict)
    until: dict[int, datetime] = field(default_factory=dict)


class Runs:
    """A new database, and the live or frozen runs of workers by batch and run name."""

    def __init__(self, database: Path) -> None:
        self.sessions = open_sessions(f"sqlite+aiosqlite:///{database}")
        self.engine = sa.create_engine(f"sqlite:///{database}", poolclass=sa.StaticPool)
        self.clock = ManualClock(datetime(2026, 11, 22, tzinfo=UTC))
        self.inventory, self.receiver = MemoryInventory(self.clock), Receiver()
        self.model = Model()
        self.names: list[str] = []
        """The ids of all batches so far."""
        self.runs: dict[tuple[str, str], Run] = {}
        self.seen: dict[str, Snapshot] = {}
        self.events: dict[tuple[str, int], str] = {}
        """The id of every event announced so far, by batch and round."""
        self._tokens = count(1)

    async def aclose(self) -> None:
        await self.sessions.aclose()
        self.engine.dispose()

    async def flush(self, name: str, run_name: str, endings: Sequence[str] = (), *, claim: int = 0) -> None:
        """End what the run holds, in its order and with these `endings`, and claim up to `claim` more."""
        run = self.runs.get((name, run_name)) or self._begin(name, run_name)
        planned = {at: self._ending(name, run, at, how) for at, how in zip(run.held, endings, strict=False)}
        ended = {at: ending for at, ending in planned.items() if ending}
        in_flight = run.held.keys() - ended.keys()
        flushed = await flushing.flush(
            flushing.Run(plan(name, run.round), run.token, LEASE),
            [self._outcome(run.held[at], ending) for at, ending in ended.items()],
            claim={0: claim} if claim else {},
            in_flight=in_flight,
            sessions=self.sessions,
            retention=RETENTION_POLICY,
            clock=self.clock,
        )
        batch, now = self.model.batches.get(name), self.clock()
        if batch is None or not batch.accepts(run.round):
            assert flushed is None
            self.crash(name, run_name)
            return
        assert flushed
        batch.write_outcomes(run.token, ended, now)
        assert [asset.position for asset in flushed.claimed] == batch.claim(run.token, claim, now, in_flight=in_flight)
        assert isinstance(flushed.ended, EndedBatch) == (not batch.open)
        assert not in_flight & {asset.position for asset in flushed.claimed}
        run.held = {at: asset for at, asset in run.held.items() if at not in ended}
        run.held |= {asset.position: asset for asset in flushed.claimed}
        run.until |= {asset.position: now + LEASE for asset in flushed.claimed}

    def _begin(self, name: str, run_name: str) -> Run:
        now = read_snapshots(self.engine).get(name)
        run = self.runs[name, run_name] = Run(f"{run_name}{next(self._tokens)}", now.batch["round"] if now else 1)
        return run

    async def wait(self, seconds: float) -> None:
        self.clock.forward(seconds)

    def crash(self, name: str, run_name: str) -> None:
        """Crash the run: it never flushes again."""
        del self.runs[name, run_name]

    def store(self, name: str, run: Run, at: int, image: str) -> str:
        """Store a rendition before the flush, under a key of its batch and round, as earlier versions did."""
        key = f"{name}/{at}-{run.held[at].slug}-{digest(f'round {run.round} {image}'.encode())[:8]}.jpg"
        self.inventory.put(key)
        return key

    def _ending(self, name: str, run: Run, at: int, how: str) -> Ending | None:
        """Return the ending described by `how`; None if the run continues with this asset."""
        match how.split():
            case ["store" | "succeed" as verb, image]:
                key = self.store(name, run, at, image)
                return Ending("succeeded", key=key) if verb == "succeed" else None
            case ["fail", code, *stored]:  # the second of two renditions, say
                for image in stored:
                    self.store(name, run, at, image)
                return Ending("failed", code=code)
            case ["postpone", seconds]:
                return Ending("postponed", wait=timedelta(seconds=int(seconds)))
        return None

    def _outcome(self, asset: Claimed, ending: Ending) -> Outcome:
        if ending.kind == "postponed":
            return Postponed(asset, asset.attempts + 1, self.clock() + ending.wait)
        if ending.kind == "failed":
            return Failed(asset, asset.attempts + 1, HttpStatusError(int(ending.code.removeprefix("http_"))))
        rendition = {"name": "main", "key": ending.key, "bytes": output_bytes(ending.key)}
        return Succeeded(
            asset, asset.attempts + 1, input_format="jpeg", width=1, height=1, input_bytes=input_bytes(ending.key),
            renditions=(rendition,), etag=None, last_modified=None, final_url_hash="", reuse_hash="",
        )  # fmt: skip

    # -- checks -------------------------------------------------------------------------------------------------------

    def visible(self, name: str) -> Batch | None:
        batch = self.model.batches.get(name)
        return None if batch is None or batch.deleted else batch

    async def compare(self) -> None:
        """Check that the database agrees with the model, is consistent, and changed only by allowed moves."""
        seen = read_snapshots(self.engine)
        assert {name: rows.rows() for name, rows in seen.items()} == self.model.rows()
        for name, rows in seen.items():
            check_consistent(rows)
            if name in self.seen:
                check_moves(self.seen[name], rows)
            for number, delivery in rows.deliveries.items():
                assert self.events.setdefault((name, number), delivery["id"]) == delivery["id"]
            assert rows.batch["deleted_at"] or self.model.batches[name].named() <= self.inventory.files.keys()
            self.check_held_once(name)
        previous, hidden = self.seen.keys(), {name for name in seen if not self.visible(name)}
        for name in (previous - seen.keys()) | hidden:
            await self.check_gone(name)
        self.seen = seen

    async def check_gone(self, name: str) -> None:
        with pytest.raises(NotFound):
            await read_batch(name, api_key_id=LOCAL_KEY, sessions=self.sessions)

    def check_held_once(self, name: str) -> None:
        """Check that no two runs whose flushes would be accepted lease the same asset at the same time."""
        batch, now = self.model.batches[name], self.clock()
        accepted = [run for (batch_id, _), run in self.runs.items() if batch_id == name and batch.accepts(run.round)]
        leased = [at for run in accepted for at in run.held if run.until[at] > now]
        assert len(leased) == len(set(leased))
