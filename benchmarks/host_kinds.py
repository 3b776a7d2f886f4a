"""An origin process of a kind that benchmarks/hosts.py measures: it queues, refuses, or is away for a while.

    python benchmarks/host_kinds.py queued|capped|away|rated [--places 8] [--latency 0.15] [--refusal 503] ...

The port is printed. `GET /stats` returns the counts of requests. A refusal is a status, `reset` or `close`.
"""

import argparse
import asyncio
import json
import socket
import struct
from collections import Counter

from origin import TokenBucket
from photos import photo_files


class Kind:
    """The state of the origin."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.stats: Counter[str] = Counter()
        self.queue = asyncio.Semaphore(options.places)
        self.bucket = TokenBucket(options.rate)
        self.busy = 0
        self.first: float | None = None
        body = photo_files(None, 16)[0]
        self.image = b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)

    def refuses(self) -> bool:
        now = asyncio.get_running_loop().time()
        self.first = self.first or now
        match self.options.kind:
            case "capped":
                return bool(self.busy >= self.options.places)
            case "away":
                return bool(1 <= now - self.first < 1 + self.options.away)
            case "rated":
                return not self.bucket.take(now)
        return False

    async def work(self) -> None:
        self.busy += 1
        try:
            if self.options.kind == "queued":
                async with self.queue:
                    await asyncio.sleep(self.options.latency)  # the origin works
            else:
                await asyncio.sleep(self.options.latency)  # the origin works
        finally:
            self.busy -= 1

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                if head.startswith(b"GET /stats "):
                    body = json.dumps(self.stats).encode()
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
                elif self.refuses():
                    self.stats["refused"] += 1
                    if not self.refuse(writer):
                        return
                else:
                    await self.work()
                    self.stats["sent"] += 1
                    writer.write(self.image)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def refuse(self, writer: asyncio.StreamWriter) -> bool:
        """Send the refusal; return False if the connection ends."""
        if self.options.refusal == "reset":
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()
        elif self.options.refusal != "close":
            writer.write(b"HTTP/1.1 %b Refused\r\nContent-Length: 0\r\n\r\n" % self.options.refusal.encode())
            return True
        return False


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=("queued", "capped", "away", "rated"))
    parser.add_argument("--places", type=int, default=8)
    parser.add_argument("--latency", type=float, default=0.15)
    parser.add_argument("--refusal", default="503")
    parser.add_argument("--away", type=float, default=15)
    parser.add_argument("--rate", type=float, default=50)
    kind = Kind(parser.parse_args())
    server = await asyncio.start_server(kind.serve, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
