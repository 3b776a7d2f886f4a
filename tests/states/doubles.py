"""The storage and the webhook's receiver as small classes: they can fail, die, and let something happen meanwhile."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from imgsvc.errors import ConnectError, StorageError
from imgsvc.services.clock import Clock
from imgsvc.services.ports import EndpointResponse, Stored

Meanwhile = Callable[[], Awaitable[None]]
Reply = int | Literal["nothing", "death"]


class Died(Exception):
    """The process that was at it is no more."""


@dataclass
class ObjectReader:
    """The port Inventory over a dict of keys and when they were stored; `meanwhile` happens once, before a removal."""

    clock: Clock
    files: dict[str, datetime] = field(default_factory=dict)
    away: bool = False
    meanwhile: Meanwhile | None = None
    removals: list[str] = field(default_factory=list)
    """What it was asked to remove, but for what happened meanwhile."""

    def put(self, key: str) -> None:
        self.files[key] = self.clock()

    def folder(self, prefix: str) -> dict[str, datetime]:
        return {key: at for key, at in self.files.items() if key.startswith(prefix)}

    async def list(self, prefix: str) -> AsyncIterator[Sequence[Stored]]:
        self._answer()
        if found := self.folder(prefix):
            yield [Stored(key, 1, at) for key, at in found.items()]
        await self._be_held_up()

    async def remove(self, keys: Sequence[str]) -> None:
        self._answer()
        self.removals += keys
        await self._be_held_up()
        for key in keys:
            self.files.pop(key, None)

    async def _be_held_up(self) -> None:
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile:
            removals, self.removals = self.removals, []
            await meanwhile()
            self.removals = removals

    def _answer(self) -> None:
        if self.away:
            raise StorageError


@dataclass
class Receiver:
    """The port Endpoint: what it replies next, and the webhook ids it was posted."""

    reply: Reply = 200
    meanwhile: Meanwhile | None = None
    posted: list[str] = field(default_factory=list)

    async def post(self, _url: str, *, headers: Mapping[str, str], body: bytes) -> EndpointResponse:
        self.posted.append(headers["webhook-id"])
        reply, meanwhile, self.meanwhile = self.reply, self.meanwhile, None
        if meanwhile:
            await meanwhile()
        match reply:
            case "death":
                raise Died
            case "nothing":
                raise ConnectError
            case int():
                return EndpointResponse(reply, body[:10], None)
