"""Compressions that outlive the run that started them; the next run of the same image joins them.

A codec thread cannot be stopped. If every run started again, an image that takes longer than the lifetime of a lane
would never be finished.
"""

import asyncio
from collections.abc import Sequence
from hashlib import blake2b
from typing import NamedTuple

from imgsvc.domain.imaging.compress import Compressed
from imgsvc.domain.imaging.spec import Spec
from imgsvc.errors import CodecError, SandboxKilled, WorkerCrash

CompressionFuture = asyncio.Future[Compressed]

RESULT_TTL = 300.0
"""Seconds that a result is kept: other worker processes may each hold the asset for one lane's lifetime in between."""
MAX_KEPT_BYTES = 16 * 2**20
"""Total bytes of renditions kept; beyond this, the oldest results are dropped."""


class _Key(NamedTuple):
    size: int
    digest: bytes
    specs: str


class AbandonedDecodes:
    """Compressions whose caller was cancelled, keyed by the bytes of the image and its specs."""

    def __init__(self) -> None:
        self._compressions: dict[_Key, CompressionFuture] = {}

    def find(self, data: bytes, specs: Sequence[Spec]) -> CompressionFuture | None:
        """Return the running or finished compression of the same image to the same specs; usually None."""
        if not any(key.size == len(data) for key in self._compressions):  # usually empty: then nothing is hashed
            return None
        return self._compressions.get(_key(data, specs))

    def keep(self, data: bytes, specs: Sequence[Spec], compression: CompressionFuture) -> None:
        """Keep `compression`, which may still be running, until its result is `RESULT_TTL` seconds old."""
        key = _key(data, specs)
        if self._compressions.get(key) is compression:
            return
        self._compressions[key] = compression
        compression.add_done_callback(lambda compression: self._note_end(key, compression))

    def _note_end(self, key: _Key, compression: CompressionFuture) -> None:
        if not _is_worth_keeping(compression):
            self._forget(key, compression)
            return
        compression.get_loop().call_later(RESULT_TTL, self._forget, key, compression)
        if key in self._compressions:
            self._compressions[key] = self._compressions.pop(key)  # the newest is the last
        ended = [(key, compression) for key, compression in self._compressions.items() if compression.done()]
        kept = sum(_size(compression) for _, compression in ended)
        for old_key, old in ended[:-1]:
            if kept <= MAX_KEPT_BYTES:
                break
            kept -= _size(old)
            self._forget(old_key, old)

    def _forget(self, key: _Key, compression: CompressionFuture) -> None:
        if self._compressions.get(key) is compression:
            del self._compressions[key]


def _key(data: bytes, specs: Sequence[Spec]) -> _Key:
    return _Key(len(data), blake2b(data).digest(), "".join(spec.model_dump_json() for spec in specs))


def _is_worth_keeping(compression: CompressionFuture) -> bool:
    """Return True for a result, and for an error that is the image's own fault."""
    if compression.cancelled():
        return False
    error = compression.exception()
    return error is None or (isinstance(error, CodecError | WorkerCrash) and not isinstance(error, SandboxKilled))


def _size(compression: CompressionFuture) -> int:
    return 0 if compression.exception() else sum(len(rendition.data) for rendition in compression.result().renditions)
