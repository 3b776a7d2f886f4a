"""A loopback origin with almost no CPU cost: responses are built in advance, and latency is a timer.

    python benchmarks/origin.py PORT [--latency 0.15] [--slow-share 0.05] [--rate 100] [--side 300] [--images DIR]

Its images never change, so conditional requests get a 304. `GET /stats` returns the counts of requests so far.
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
"""Seconds that a slow response takes."""
UNCHANGED = b'HTTP/1.1 304 Not Modified\r\nETag: "1"\r\n\r\n'
TOO_MANY = b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n"


class TokenBucket:
    """A rate limit: `rate` requests per second, with bursts of a fifth of a second's worth."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self.capacity = max(1.0, rate / 5)
        self.available = self.capacity
        self.updated = 0.0

    def take(self, now: float) -> bool:
        self.available = min(self.capacity, self.available + (now - self.updated) * self.rate)
        self.updated = now
        if self.available < 1:
            return False
        self.available -= 1
        return True


class Origin(asyncio.Protocol):
    """HTTP/1.1 with keep-alive; `/anything/{number}.jpg` returns the image with that number, modulo their count.

    With a slow share of 0.05, every twentieth number is slow.
    """

    def __init__(
        self, responses: list[bytes], latency: float, slow_share: float, bucket: TokenBucket | None, stats: Counter[str]
    ) -> None:
        self.responses = responses
        self.latency = latency
        self.slow_every = round(1 / slow_share) if slow_share else 0
        self.bucket = bucket
        self.stats = stats
        self.received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(
            "asyncio.Transport", transport
        )  # uvloop's has the interface, but does not inherit from it

    def data_received(self, data: bytes) -> None:
        self.received += data
        while (end := self.received.find(b"\r\n\r\n")) >= 0:
            head, self.received = self.received[:end], self.received[end + 4 :]
            path = head.split(b" ", 2)[1]
            if path == b"/stats":
                body = json.dumps(self.stats).encode()
                self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
            else:
                self.respond(int(path.rpartition(b"/")[2].partition(b".")[0]), head)

    def respond(self, number: int, head: bytes) -> None:
        loop = asyncio.get_running_loop()
        if self.bucket and not self.bucket.take(loop.time()):
            kind, response = "refused", TOO_MANY
        elif b"\r\nif-none-match:" in head.lower():
            kind, response = "unchanged", UNCHANGED
        else:
            kind, response = "sent", self.responses[number % len(self.responses)]
        self.stats[kind] += 1
        delay = SLOW if self.slow_every and number % self.slow_every == 0 else self.latency
        if delay:
            loop.call_later(delay, self.transport.write, response)
        else:
            self.transport.write(response)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("port", type=int, help="0 chooses a free port; the port is printed")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before every response")
    parser.add_argument("--slow-share", type=float, default=0.0, help=f"share of the URLs that take {SLOW:.0f} s")
    parser.add_argument("--rate", type=float, default=0.0, help="requests per second above which it responds with 429")
    parser.add_argument("--side", type=int, default=SIZE[0], help="width of the generated images in pixels")
    parser.add_argument("--images", type=Path, help="a folder of JPEGs to serve instead of generated images")
    options = parser.parse_args()
    head = b'HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nETag: "1"\r\nContent-Length: %d\r\n\r\n%b'
    responses = [head % (len(body), body) for body in photo_files(options.images, options.side)]
    bucket = TokenBucket(options.rate) if options.rate else None
    stats: Counter[str] = Counter()
    server = await asyncio.get_running_loop().create_server(
        lambda: Origin(responses, options.latency, options.slow_share, bucket, stats),
        "127.0.0.1",
        options.port,
        backlog=1024,
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
