"""Who is calling: the API keys as an API process knows them, a second old at most."""

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
"""Seconds after which the keys are read again: as long may a key that was revoked still work."""


class ApiKeyCache:
    """`needs_key`: whether a caller without a key is refused even while no key has been made."""

    def __init__(
        self, *, sessions: Sessions, clock: Clock, needs_key: bool, timer: Callable[[], float] = monotonic
    ) -> None:
        self._timer = timer
        self._sessions = sessions
        self._clock = clock
        self._needs_key = needs_key
        self._read_at = float("-inf")
        self._hashes: dict[str, KeyHashes] = {}
        self._any_made = False
        self._reading = asyncio.Lock()

    async def caller(self, token: str | None) -> str:
        """The id of the key that `token` is; `key_local` without one, while none has been made.

        Raises:
            Unauthorized: a key is needed, and this is none.
            DatabaseUnavailable: the keys cannot be read.
        """
        await self._read()
        if not self._any_made and not self._needs_key:
            return LOCAL_KEY
        if token is None:
            made = "" if self._any_made else " None has been made yet: `imgsvc keys create NAME` makes one."
            raise Unauthorized(f"Send an API key as `Authorization: Bearer isk_…`.{made}")
        key_id = key_id_of(token)
        hashes = self._hashes.get(key_id) if key_id else None
        if key_id is None or hashes is None or not token_matches(token, hashes, self._clock()):
            raise Unauthorized("This API key is not known, or it has been revoked.")
        return key_id

    async def _read(self) -> None:
        async with self._reading:
            if self._timer() - self._read_at < CACHE_TTL:
                return
            async with self._sessions.read() as session:
                rows = await queries.list_created(session)
            self._any_made = bool(rows)
            self._hashes = {
                row.id: KeyHashes(row.secret_hash, row.former_hash, row.former_until)
                for row in rows
                if row.secret_hash is not None and row.revoked_at is None
            }
            self._read_at = self._timer()
