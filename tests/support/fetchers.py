"""Fakes for what a Fetcher needs: a memory budget and a name server."""

import socket
from dataclasses import dataclass, field

from aiohttp.abc import AbstractResolver, ResolveResult


@dataclass
class FakeBudget:
    """A memory budget that grants up to `most` bytes and records the requests."""

    most: int = 2**40
    requested: list[int] = field(default_factory=list)

    def grow(self, size: int) -> bool:
        self.requested.append(size)
        return size <= self.most


@dataclass
class FakeResolver(AbstractResolver):
    """A name server that returns the next answer at each look-up, and finally always the last one."""

    answers: dict[str, list[list[str]]]
    closed: bool = field(default=False, init=False)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        answers = self.answers.get(host)
        if answers is None:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        return [ResolveResult(hostname=host, host=each, port=port, family=0, proto=0, flags=0) for each in answer]

    async def close(self) -> None:
        self.closed = True
