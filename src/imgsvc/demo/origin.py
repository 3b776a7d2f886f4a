"""The web server of the demo, on loopback: it serves the catalogue's images and receives the webhook."""

import sys
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Queue
from threading import Thread

from imgsvc.demo.catalogue import Response

WEBHOOK = "/webhook"
_NOT_FOUND = Response(404, b"There is no such image.")


@dataclass(frozen=True, slots=True)
class Event:
    """A webhook as received."""

    headers: Mapping[str, str]
    body: bytes


class Origin(ThreadingHTTPServer):
    """A server that sends each path's responses in order and repeats the last one; webhooks are put into `events`."""

    daemon_threads = True
    request_queue_size = 256  # with the base class's 5 the kernel drops connections; retries come seconds later

    def __init__(self, responses: Mapping[str, Sequence[Response]]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.responses = {path: deque(sequence) for path, sequence in responses.items()}
        self.events: Queue[Event] = Queue()

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore closed connections: imgsvc closes one when it rejects an image before its end."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]  # both are only printed

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def next_response(self, path: str) -> Response:
        """Return the response to send for `path`, and advance to the next one."""
        remaining = self.responses.get(path) or deque([_NOT_FOUND])
        return remaining.popleft() if len(remaining) > 1 else remaining[0]


@contextmanager
def serving(responses: Mapping[str, Sequence[Response]]) -> Iterator[Origin]:
    """Serve `responses` until the end of the block."""
    with Origin(responses) as origin:
        thread = Thread(target=origin.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield origin
        finally:
            origin.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Origin

    def do_GET(self) -> None:  # the base class's name
        self._send(self.server.next_response(self.path))

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path != WEBHOOK:
            self._send(_NOT_FOUND)
            return
        self._send(Response(204))
        self.server.events.put(Event(dict(self.headers.items()), body))

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name
        """Print nothing: the progress bar uses the terminal."""

    def _send(self, response: Response) -> None:
        self.send_response(response.status)
        if response.location:
            self.send_header("Location", response.location)
        self.send_header("Content-Type", response.media_type)
        self.send_header("Content-Length", str(len(response.body)))
        self.end_headers()
        self.wfile.write(response.body)
