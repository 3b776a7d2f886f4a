"""A loopback origin that costs next to nothing: answers are built beforehand, latency is a timer."""

import asyncio
import sys
from pathlib import Path
from typing import cast

import uvloop

from photos import pictures

UNCHANGED = b'HTTP/1.1 304 Not Modified\r\nETag: "1"\r\n\r\n'


class Origin(asyncio.Protocol):
    """HTTP/1.1 with keep-alive; `/anything/{number}.jpg` answers with picture number modulo count.

    Its pictures never change: who asks conditionally hears so.
    """

    def __init__(self, answers: list[bytes], latency: float) -> None:
        self.answers = answers
        self.latency = latency
        self.received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is one, though not by inheritance

    def data_received(self, data: bytes) -> None:
        self.received += data
        while (end := self.received.find(b"\r\n\r\n")) >= 0:
            head, self.received = self.received[:end], self.received[end + 4 :]
            number = int(head.split(b" ", 2)[1].rpartition(b"/")[2].partition(b".")[0])
            answer = UNCHANGED if b"\r\nif-none-match:" in head.lower() else self.answers[number % len(self.answers)]
            if self.latency:
                asyncio.get_running_loop().call_later(self.latency, self.transport.write, answer)
            else:
                self.transport.write(answer)


async def main(port: int, latency: float, folder: Path | None) -> None:
    answers = [
        b'HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nETag: "1"\r\nContent-Length: %d\r\n\r\n%b' % (len(body), body)
        for body in pictures(folder)
    ]
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Origin(answers, latency), "127.0.0.1", port, backlog=1024)
    print("ready", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    port, latency, folder = sys.argv[1:4]
    uvloop.run(main(int(port), float(latency), Path(folder) if folder else None))
