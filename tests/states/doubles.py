"""Doubles of the storage and of a webhook receiver that can fail, crash, and be interrupted."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from imgsvc.errors import ConnectError, StorageError
from imgsvc.services.clock import Clock
from imgsvc.services.ports import EndpointResponse, Stored

Interruption = Callable[[], Awaitable[None]]
Reply = int | Literal["nothing", "crash"]


class Crashed(Exception):
    """The process has crashed during the call."""


@dataclass
class MemoryInventory:
    """The port Inventory over a dict of keys and storage times; `interruption` runs once, before a removal."""

    clock: Clock
    files: dict[str, datetime] = field(default_factory=dict)
    unavailable: bool = False
    interruption: Interruption | None = None
    removals: list[str] = field(default_factory=list)
    """The keys that it was asked to remove, except by the interruption."""

    def put(self, key: str) -> None:
        self.files[key] = self.clock()

    def folder(self, prefix: str) -> dict[str, datetime]:
        return {key: at for key, at in self.files.items() if key.startswith(prefix)}

    async def list(self, prefix: str) -> AsyncIterator[Sequence[Stored]]:
        self._check_available()
        if found := self.folder(prefix):
            yield [Stored(key, 1, at) for key, at in found.items()]
        await self._interrupt()

    async def remove(self, keys: Sequence[str]) -> None:
        self._check_available()
        self.removals += keys
        await self._interrupt()
        for key in keys:
            self.files.pop(key, None)

    async def _interrupt(self) -> None:
        interruption, self.interruption = self.interruption, None
        if interruption:
            removals, self.removals = self.removals, []
            await interruption()
            self.removals = removals

    def _check_available(self) -> None:
        if self.unavailable:
            raise StorageError


@dataclass
class Receiver:
    """The port Endpoint, with the reply to the next post and the ids of the webhooks posted so far."""

    reply: Reply = 200
    interruption: Interruption | None = None
    posted: list[str] = field(default_factory=list)

    async def post(self, _url: str, *, headers: Mapping[str, str], body: bytes) -> EndpointResponse:
        self.posted.append(headers["webhook-id"])
        reply, interruption, self.interruption = self.reply, self.interruption, None
        if interruption:
            await interruption()
        match reply:
            case "crash":
                raise Crashed
            case "nothing":
                raise ConnectError
            case int():
                return EndpointResponse(reply, body[:10], None)
