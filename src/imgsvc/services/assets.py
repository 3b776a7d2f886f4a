"""One asset from its URL to its stored renditions: fetch, compress, store."""

import asyncio
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from imgsvc.db.queries.claims import Claimed
from imgsvc.db.queries.reuse import Known
from imgsvc.domain.images import Rendition
from imgsvc.domain.specs import Spec
from imgsvc.errors import (
    AssetError,
    InternalError,
    LeftAtWork,
    Overran,
    QuarantineUnavailable,
    WorkerCrash,
)
from imgsvc.logs import get_logger
from imgsvc.services.backoff import RetryPolicy
from imgsvc.services.clock import Clock
from imgsvc.services.codec import CodecPool
from imgsvc.services.fairness import FairGate
from imgsvc.services.fetching import Fetching
from imgsvc.services.outcomes import Failed, Outcome, Postponed, Succeeded
from imgsvc.services.pacing import HostPacer, HostPaused
from imgsvc.services.ports import Fetched, Origin, Storage
from imgsvc.services.tally import Tally
from imgsvc.services.wishes import Wish

log = get_logger(__name__)

MAX_LOST = 10
"""Runs that may die with an asset before it is given up. From the first on it is a suspect, whose picture is
compressed in quarantine: this is for whatever kills workers from there too, and innocents must not come near it."""


@dataclass(frozen=True, slots=True)
class Workshop:
    """What all lanes of a worker process share to work on assets."""

    origin: Origin
    storage: Storage
    codec: CodecPool
    hosts: HostPacer
    fetches: FairGate
    """Fetches in flight."""
    memory: FairGate
    """Bytes of fetched bodies."""
    retries: RetryPolicy
    clock: Clock
    tally: Tally = field(default_factory=Tally)

    async def make(self, asset: Claimed, wish: Wish, known: Known | None = None) -> Outcome:
        """Work on one claimed asset until it has succeeded, failed, or must wait; when cancelled it is postponed.

        With `known`, which was made to the same wish, its origin is asked whether that is still good.
        """
        outcome = await self._made(asset, wish, known)
        self.tally.count(outcome)
        return outcome

    async def _made(self, asset: Claimed, wish: Wish, known: Known | None) -> Outcome:
        if asset.lost >= MAX_LOST:
            return Failed(asset, asset.attempts, WorkerCrash())
        attempts = asset.attempts
        try:
            while True:
                ending = await self._try(asset, attempts, wish, known)
                if not isinstance(ending, timedelta):
                    return ending
                attempts += 1
                await asyncio.sleep(ending.total_seconds())
        except asyncio.CancelledError:
            # Handed back: the attempt under way does not count, those that failed do. Otherwise an origin so slow that
            # no lane lives long enough for the last attempt would keep its batch from ever ending.
            return Postponed(asset, attempts, self.clock())

    async def _try(self, asset: Claimed, attempts: int, wish: Wish, known: Known | None) -> Outcome | timedelta:
        """One attempt: how it ended, or how long to wait for the next."""
        attempt = attempts + 1
        try:
            return await self._attempt(asset, attempt, wish, known)
        except HostPaused as rest:
            return Postponed(asset, attempts, self._after(timedelta(seconds=rest.seconds)))
        except LeftAtWork as left:  # the next must not have the same picture in a thread, where it cannot be stopped
            suspect = asset._replace(lost=asset.lost + 1)
            return Postponed(suspect, attempts, self.clock(), overran=isinstance(left, Overran))
        except (AssetError, QuarantineUnavailable) as error:
            wait = self.retries.wait(attempt, error)
            if wait is None:
                return Failed(asset, attempt, error if isinstance(error, AssetError) else InternalError())
        except Exception:  # the top of an asset's work: a fault of ours must not take 63 neighbours with it
            log.exception("asset_broke_us", batch_id=wish.batch_id, position=asset.position)
            return Failed(asset, attempt, InternalError())
        return Postponed(asset, attempt, self._after(wait)) if wait > self.retries.patience else wait

    def _after(self, wait: timedelta) -> datetime:
        return self.clock() + wait

    async def _attempt(self, asset: Claimed, attempt: int, wish: Wish, known: Known | None) -> Succeeded:
        fetching = Fetching(self.origin, self.hosts, self.fetches, self.memory)
        fetched, lease = await fetching.fetch(asset.origin_url, wish.batch_id, known)
        with lease:
            if fetched is not None:
                return await self._compressed(asset, attempt, wish, fetched)
        taken_over = await self._taken_over(asset, attempt, wish, known) if known else None
        return taken_over or await self._attempt(asset, attempt, wish, None)

    async def _compressed(self, asset: Claimed, attempt: int, wish: Wish, fetched: Fetched) -> Succeeded:
        compressed = await self.codec.compress(fetched.body, wish.specs, key=wish.batch_id, suspect=asset.lost > 0)
        renditions = [
            await self._store(rendition, spec, asset, wish)
            for rendition, spec in zip(compressed.renditions, wish.specs, strict=True)
        ]
        return Succeeded(
            asset,
            attempt,
            input_format=compressed.input_format,
            width=compressed.width,
            height=compressed.height,
            input_bytes=len(fetched.body),
            renditions=tuple(renditions),
            etag=fetched.etag,
            last_modified=fetched.last_modified,
            reuse_hash=wish.hashes.of(asset.origin_url),
        )

    async def _taken_over(self, asset: Claimed, attempt: int, wish: Wish, known: Known) -> Succeeded | None:
        """Renditions of our own from those of an earlier batch; None when they have been deleted since."""
        renditions = []
        for old in known.renditions:
            key = wish.key(asset, name=old["name"], data=old["key"].encode(), kind=old["format"])
            if not await self.storage.copy(old["key"], key):
                return None
            renditions.append({**old, "key": key, "action": "reused"})
        return Succeeded(
            asset,
            attempt,
            input_format=known.input_format,
            width=known.width,
            height=known.height,
            input_bytes=known.input_bytes,
            renditions=tuple(renditions),
            etag=known.etag,
            last_modified=known.last_modified,
            reuse_hash=known.reuse_hash,
        )

    async def _store(self, rendition: Rendition, spec: Spec, asset: Claimed, wish: Wish) -> dict[str, object]:
        key = wish.key(asset, name=spec.name, data=rendition.data, kind=rendition.format)
        await self.storage.put(key, rendition.data, media_type=f"image/{rendition.format}")
        return {
            "name": spec.name,
            "key": key,
            "format": rendition.format,
            "width": rendition.width,
            "height": rendition.height,
            "bytes": len(rendition.data),
            "action": rendition.action,
        }
