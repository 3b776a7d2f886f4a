"""A cache of the API keys in an API process, at most a second old."""

import asyncio
from collections.abc import Callable
from time import monotonic

from imgsvc.db.engine import Sessions
from imgsvc.db.queries import api_keys as queries
from imgsvc.db.queries.api_keys import LOCAL_KEY
from imgsvc.domain.api_keys import KeyHashes, key_id_of, token_matches
from imgsvc.errors import Unauthorized
from imgsvc.services.clock import Clock

CACHE_TTL = 1.0
"""Seconds until the keys are read again; a revoked key may still work for that long."""


class ApiKeyCache:
    """The cache. `needs_key`: refuse callers without a key even while no key has been created."""

    def __init__(
        self, *, sessions: Sessions, clock: Clock, needs_key: bool, timer: Callable[[], float] = monotonic
    ) -> None:
        self._timer = timer
        self._sessions = sessions
        self._clock = clock
        self._needs_key = needs_key
        self._read_at = float("-inf")
        self._hashes: dict[str, KeyHashes] = {}
        self._any_created = False
        self._lock = asyncio.Lock()

    async def caller(self, token: str | None) -> str:
        """Return the id of the key that `token` belongs to, or `key_local` while no keys are required.

        Raises:
            Unauthorized: a key is required, and `token` is not valid.
            DatabaseUnavailable: the keys cannot be read.
        """
        await self._refresh()
        if not self._any_created and not self._needs_key:
            return LOCAL_KEY
        if token is None:
            hint = "" if self._any_created else " No key exists yet: create one with `imgsvc keys create NAME`."
            raise Unauthorized(f"Send an API key as `Authorization: Bearer isk_…`.{hint}")
        key_id = key_id_of(token)
        hashes = self._hashes.get(key_id) if key_id else None
        if key_id is None or hashes is None or not token_matches(token, hashes, self._clock()):
            raise Unauthorized("This API key is unknown or has been revoked.")
        return key_id

    async def _refresh(self) -> None:
        async with self._lock:
            if self._timer() - self._read_at < CACHE_TTL:
                return
            async with self._sessions.read() as session:
                rows = await queries.list_created(session)
            self._any_created = bool(rows)
            self._hashes = {
                row.id: KeyHashes(row.secret_hash, row.former_hash, row.former_until)
                for row in rows
                if row.secret_hash is not None and row.revoked_at is None
            }
            self._read_at = self._timer()
