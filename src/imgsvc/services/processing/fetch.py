"""Fetches an image's bytes when its host, the fetches in flight and the memory for bodies have room for it."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from imgsvc.db.queries.reuse import PreviousResult
from imgsvc.errors import BudgetExhausted, NotModified
from imgsvc.services.ports import Fetched, Origin, Validators
from imgsvc.services.throttling.fair_semaphore import FairSemaphore, Reservation
from imgsvc.services.throttling.host_limiter import HostLimiter

LARGEST = 2**20
"""Bytes; what a body has beyond them is reserved as it comes."""
UNCHANGED = 2**16
"""Bytes for a conditional fetch, whose body is not expected to come."""


def first_reservation(share: int, body_size: int, *, conditional: bool) -> int:
    """Return the bytes to reserve: the fetch's `share` of the memory, so that as many as allowed can be in flight.

    Where the host's bodies are larger (`body_size`; 0: unknown), as many as those, up to `LARGEST`: in a memory that is
    full, a body that outgrows its reservation is fetched again. With the share alone, 400 images of 639 KiB cost 500 to
    560 requests.
    """
    if conditional:
        return max(1, min(share, UNCHANGED))
    return max(1, min(max(share, body_size), LARGEST))


@dataclass(frozen=True, slots=True)
class Fetching:
    """The origins, and the gates in front of them, which all lanes of a worker process share."""

    origin: Origin
    hosts: HostLimiter
    fetches: FairSemaphore
    """Fetches in flight."""
    memory: FairSemaphore
    """Bytes of fetched bodies."""

    async def fetch(self, url: str, batch_id: str, known: PreviousResult | None) -> tuple[Fetched | None, Reservation]:
        """The body, and the lease on the memory it lies in; None when it is the `known` one.

        Memory is waited for without a place at the host: what has it may be long in compressing, and others want the
        place.
        """
        host, needed = urlsplit(url).netloc.lower(), 0
        lease: Reservation | None = None
        while True:
            try:
                async with self.hosts.slot(host, batch_id, conditional=known is not None):
                    with await self.fetches.acquire(batch_id):
                        lease = lease or self._memory_now(batch_id, needed or self._first_size(host, known))
                        fetched = await self._asked(url, host, lease, known)
            except BaseException as error:
                if lease is not None:
                    lease.release()
                if not isinstance(error, BudgetExhausted):
                    raise
                needed = error.size
            else:
                lease.shrink(len(fetched.body) if fetched else 0)
                return fetched, lease
            lease = await self.memory.acquire(batch_id, needed)

    def _first_size(self, host: str, known: PreviousResult | None) -> int:
        share = self.memory.share_of_one // self.fetches.capacity
        return first_reservation(share, self.hosts.body_size(host), conditional=known is not None)

    def _memory_now(self, batch_id: str, size: int) -> Reservation:
        lease = self.memory.try_acquire(batch_id, size)
        if lease is None:
            raise BudgetExhausted(size)
        return lease

    async def _asked(self, url: str, host: str, lease: Reservation, known: PreviousResult | None) -> Fetched | None:
        validators = Validators(known.etag, known.last_modified, known.final_url_hash) if known else None
        try:
            fetched = await self.origin.fetch(url, lease, validators)
        except NotModified:
            self.hosts.note_changes(host, changes=False)
            return None
        except BudgetExhausted as more:
            self.hosts.note_changes(host, changes=known is not None)
            self.hosts.note_body(host, more.size)
            raise
        if known:
            self.hosts.note_changes(host, changes=True)
        self.hosts.note_body(host, len(fetched.body))
        return fetched
