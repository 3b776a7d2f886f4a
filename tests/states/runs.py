"""Runs of lanes, played by the services on a database and by the model: what they claim, believe to hold and flush."""

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
from imgsvc.domain.ids import digest, rendition_key
from imgsvc.errors import HttpStatusError, NotFound
from imgsvc.services.access.links import Links
from imgsvc.services.batches.finish import Retention
from imgsvc.services.batches.read import read_batch
from imgsvc.services.processing import flush as flushing
from imgsvc.services.processing.outcomes import Failed, Outcome, Postponed, Succeeded
from states.doubles import ObjectReader, Receiver
from states.model import Batch, Model
from states.pieces import LEASE, RETENTION, TIDY_AFTER, Ending, input_bytes, output_bytes
from states.seen import Seen, consistent, followed, look
from support.batches import ManualClock

AFTERCARE = Retention(Links("http://imgsvc.example"), RETENTION, TIDY_AFTER)


@dataclass
class Run:
    """A run of a lane: what it believes to hold, and until when that is leased."""

    token: str
    round: int
    held: dict[int, Claimed] = field(default_factory=dict)
    until: dict[int, datetime] = field(default_factory=dict)


class Runs:
    """One database from its beginning, and the runs of workers that live, perhaps frozen, by batch and name."""

    def __init__(self, database: Path) -> None:
        self.sessions = open_sessions(f"sqlite+aiosqlite:///{database}")
        self.engine = sa.create_engine(f"sqlite:///{database}", poolclass=sa.StaticPool)
        self.clock = ManualClock(datetime(2026, 11, 22, tzinfo=UTC))
        self.reader, self.receiver = ObjectReader(self.clock), Receiver()
        self.model = Model()
        self.names: list[str] = []
        """Every batch there ever was."""
        self.runs: dict[tuple[str, str], Run] = {}
        self.seen: dict[str, Seen] = {}
        self.events: dict[tuple[str, int], str] = {}
        """The id of each event ever announced, by batch and round."""
        self._tokens = count(1)

    async def aclose(self) -> None:
        await self.sessions.aclose()
        self.engine.dispose()

    async def flush(self, name: str, who: str, endings: Sequence[str] = (), *, claim: int = 0) -> None:
        """The run `who` ends what it holds in its order, each as told by `endings`, and claims more."""
        run = self.runs.get((name, who)) or self._begin(name, who)
        told = {at: self._ending(name, run, at, how) for at, how in zip(run.held, endings, strict=False)}
        ended = {at: ending for at, ending in told.items() if ending}
        in_flight = run.held.keys() - ended.keys()
        flushed = await flushing.flush(
            flushing.Run(name, run.round, run.token, LEASE),
            [self._outcome(run.held[at], ending) for at, ending in ended.items()],
            claim=claim,
            in_flight=in_flight,
            sessions=self.sessions,
            retention=AFTERCARE,
            clock=self.clock,
        )
        batch, now = self.model.batches.get(name), self.clock()
        if batch is None or not batch.runs(run.round):
            assert flushed is None
            self.die(name, who)
            return
        assert flushed
        batch.write_outcomes(run.token, ended, now)
        assert [asset.position for asset in flushed.claimed] == batch.claim(run.token, claim, now, in_flight=in_flight)
        assert (flushed.more_due, flushed.ended is None) == (name in self.model.with_due_assets(now), batch.open)
        assert not in_flight & {asset.position for asset in flushed.claimed}
        run.held = {at: asset for at, asset in run.held.items() if at not in ended}
        run.held |= {asset.position: asset for asset in flushed.claimed}
        run.until |= {asset.position: now + LEASE for asset in flushed.claimed}

    def _begin(self, name: str, who: str) -> Run:
        now = look(self.engine).get(name)
        run = self.runs[name, who] = Run(f"{who}{next(self._tokens)}", now.batch["round"] if now else 1)
        return run

    async def wait(self, seconds: float) -> None:
        self.clock.forward(seconds)

    def die(self, name: str, who: str) -> None:
        """It never flushes again; nobody is told."""
        del self.runs[name, who]

    def store(self, name: str, run: Run, at: int, image: str) -> str:
        """Put a rendition on the shelf, as services/processing/process_asset.py does before the flush."""
        key = rendition_key(
            batch_id=name,
            position=at,
            slug=run.held[at].slug,
            name="main",
            digest=digest(image.encode(), run.round),
            extension="jpg",
        )
        self.reader.put(key)
        return key

    def _ending(self, name: str, run: Run, at: int, how: str) -> Ending | None:
        """None: it goes on with this one."""
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

    # -- afterwards ---------------------------------------------------------------------------------------------------

    def visible(self, name: str) -> Batch | None:
        batch = self.model.batches.get(name)
        return None if batch is None or batch.deleted else batch

    async def compare(self) -> None:
        """The database is as the model has it, consistent in itself, and an allowed move away from what it was."""
        seen = look(self.engine)
        assert {name: rows.rows() for name, rows in seen.items()} == self.model.rows()
        for name, rows in seen.items():
            consistent(rows)
            if name in self.seen:
                followed(self.seen[name], rows)
            for number, delivery in rows.deliveries.items():
                assert self.events.setdefault((name, number), delivery["id"]) == delivery["id"]
            assert rows.batch["deleted_at"] or self.model.batches[name].named() <= self.reader.files.keys()
            self.is_held_once(name)
        there, hidden = self.seen.keys(), {name for name in seen if not self.visible(name)}
        for name in (there - seen.keys()) | hidden:
            await self.is_gone(name)
        self.seen = seen

    async def is_gone(self, name: str) -> None:
        with pytest.raises(NotFound):
            await read_batch(name, api_key_id=LOCAL_KEY, sessions=self.sessions)

    def is_held_once(self, name: str) -> None:
        """No two runs whose flushes would be heard have a lease on the same asset at the same time."""
        batch, now = self.model.batches[name], self.clock()
        heard = [run for (of, _), run in self.runs.items() if of == name and batch.runs(run.round)]
        leased = [at for run in heard for at in run.held if run.until[at] > now]
        assert len(leased) == len(set(leased))
