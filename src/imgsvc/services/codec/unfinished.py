"""Compressions that outlive the run that began them: the next run of the same image joins them.

A codec thread cannot be stopped, and an image that takes longer than a lane lives would never be finished if every run
began it again.
"""

import asyncio
from collections.abc import Sequence
from hashlib import blake2b
from typing import NamedTuple

from imgsvc.domain.imaging.compress import Compressed
from imgsvc.domain.imaging.spec import Spec
from imgsvc.errors import CodecError, SandboxKilled, WorkerCrash

Compression = asyncio.Future[Compressed]

KEEP_FOR = 300.0
"""Seconds that a result waits for its run: meanwhile other worker processes may have the asset, a lane's life each."""
MAX_KEPT_BYTES = 16 * 2**20
"""Renditions kept; beyond that, the oldest results go."""


class _Key(NamedTuple):
    size: int
    digest: bytes
    specs: str


class AbandonedDecodes:
    """Answers that were not waited for, by the bytes of the image and what is to be made of it."""

    def __init__(self) -> None:
        self._answers: dict[_Key, Compression] = {}

    def find(self, data: bytes, specs: Sequence[Spec]) -> Compression | None:
        """Return what is being made, or has been made, of the same image; None as a rule."""
        if not any(key.size == len(data) for key in self._answers):  # nothing is hashed as long as there is nothing
            return None
        return self._answers.get(_key(data, specs))

    def keep(self, data: bytes, specs: Sequence[Spec], answer: Compression) -> None:
        """Keep `answer` until it has been there for a while; it may not be there yet."""
        key = _key(data, specs)
        if self._answers.get(key) is answer:
            return
        self._answers[key] = answer
        answer.add_done_callback(lambda answer: self._note_end(key, answer))

    def _note_end(self, key: _Key, answer: Compression) -> None:
        if not _is_worth_keeping(answer):
            self._forget(key, answer)
            return
        answer.get_loop().call_later(KEEP_FOR, self._forget, key, answer)
        if key in self._answers:
            self._answers[key] = self._answers.pop(key)  # the newest is the last
        ended = [(key, answer) for key, answer in self._answers.items() if answer.done()]
        kept = sum(_size(answer) for _, answer in ended)
        for old, its_answer in ended[:-1]:
            if kept <= MAX_KEPT_BYTES:
                break
            kept -= _size(its_answer)
            self._forget(old, its_answer)

    def _forget(self, key: _Key, answer: Compression) -> None:
        if self._answers.get(key) is answer:
            del self._answers[key]


def _key(data: bytes, specs: Sequence[Spec]) -> _Key:
    return _Key(len(data), blake2b(data).digest(), "".join(spec.model_dump_json() for spec in specs))


def _is_worth_keeping(answer: Compression) -> bool:
    """Whether it is a result or a verdict; what says nothing about the image is not."""
    if answer.cancelled():
        return False
    error = answer.exception()
    return error is None or (isinstance(error, CodecError | WorkerCrash) and not isinstance(error, SandboxKilled))


def _size(answer: Compression) -> int:
    return 0 if answer.exception() else sum(len(rendition.data) for rendition in answer.result().renditions)
