"""A loopback origin that costs next to nothing: answers are built beforehand, latency is a timer.

    python benchmarks/origin.py PORT [--latency 0.15] [--slow-share 0.05] [--rate 100] [--side 300] [--images DIR]

Its images never change: who asks conditionally hears so. `GET /figures` tells what it has seen so far.
"""

import argparse
import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import cast

import uvloop

from photos import SIZE, photo_files

SLOW = 3.0
"""Seconds that the slow share of the answers takes."""
UNCHANGED = b'HTTP/1.1 304 Not Modified\r\nETag: "1"\r\n\r\n'
TOO_MANY = b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n"


class Tokens:
    """So many requests a second, and a fifth of a second's worth at once."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self.most = max(1.0, rate / 5)
        self.left = self.most
        self.at = 0.0

    def take(self, now: float) -> bool:
        self.left = min(self.most, self.left + (now - self.at) * self.rate)
        self.at = now
        if self.left < 1:
            return False
        self.left -= 1
        return True


class Origin(asyncio.Protocol):
    """HTTP/1.1 with keep-alive; `/anything/{number}.jpg` answers with image number modulo count.

    With a slow share of 0.05 every twentieth number is slow.
    """

    def __init__(
        self, answers: list[bytes], latency: float, slow_share: float, tokens: Tokens | None, seen: Counter[str]
    ) -> None:
        self.answers = answers
        self.latency = latency
        self.slow_every = round(1 / slow_share) if slow_share else 0
        self.tokens = tokens
        self.seen = seen
        self.received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is one, though not by inheritance

    def data_received(self, data: bytes) -> None:
        self.received += data
        while (end := self.received.find(b"\r\n\r\n")) >= 0:
            head, self.received = self.received[:end], self.received[end + 4 :]
            path = head.split(b" ", 2)[1]
            if path == b"/figures":
                body = json.dumps(self.seen).encode()
                self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
            else:
                self.answer(int(path.rpartition(b"/")[2].partition(b".")[0]), head)

    def answer(self, number: int, head: bytes) -> None:
        loop = asyncio.get_running_loop()
        if self.tokens and not self.tokens.take(loop.time()):
            kind, answer = "refused", TOO_MANY
        elif b"\r\nif-none-match:" in head.lower():
            kind, answer = "unchanged", UNCHANGED
        else:
            kind, answer = "sent", self.answers[number % len(self.answers)]
        self.seen[kind] += 1
        delay = SLOW if self.slow_every and number % self.slow_every == 0 else self.latency
        if delay:
            loop.call_later(delay, self.transport.write, answer)
        else:
            self.transport.write(answer)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("port", type=int, help="0: any that is free; it is printed")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before every answer")
    parser.add_argument("--slow-share", type=float, default=0.0, help=f"part of the URLs that take {SLOW:.0f} s")
    parser.add_argument("--rate", type=float, default=0.0, help="requests a second above which it answers 429")
    parser.add_argument("--side", type=int, default=SIZE[0], help="width of the made images, in pixels")
    parser.add_argument("--images", type=Path, help="a folder of JPEGs instead of made ones")
    options = parser.parse_args()
    head = b'HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nETag: "1"\r\nContent-Length: %d\r\n\r\n%b'
    answers = [head % (len(body), body) for body in photo_files(options.images, options.side)]
    tokens = Tokens(options.rate) if options.rate else None
    seen: Counter[str] = Counter()
    server = await asyncio.get_running_loop().create_server(
        lambda: Origin(answers, options.latency, options.slow_share, tokens, seen),
        "127.0.0.1",
        options.port,
        backlog=1024,
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
