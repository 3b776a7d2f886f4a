"""The demo's other side: a web server on loopback that serves the catalogue's images and receives the webhook."""

import sys
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Queue
from threading import Thread

from imgsvc.demo.catalogue import Answer

WEBHOOK = "/webhook"
_NOT_FOUND = Answer(404, b"There is no such image.", "text/plain")


@dataclass(frozen=True, slots=True)
class Event:
    """A webhook as it arrived."""

    headers: Mapping[str, str]
    body: bytes


class Origin(ThreadingHTTPServer):
    """Answers each path with its answers in turn, the last one again and again; webhooks come out of `events`."""

    daemon_threads = True
    request_queue_size = 256  # at the base class's 5 the kernel drops connections, which come again seconds later

    def __init__(self, stock: Mapping[str, Sequence[Answer]]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.stock = {path: deque(answers) for path, answers in stock.items()}
        self.events: Queue[Event] = Queue()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that breaks off has its reasons: imgsvc does so when an image is refused before its end."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]  # both are only printed

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def answer(self, path: str) -> Answer:
        """What `path` gets now."""
        answers = self.stock.get(path) or deque([_NOT_FOUND])
        return answers.popleft() if len(answers) > 1 else answers[0]


@contextmanager
def serving(stock: Mapping[str, Sequence[Answer]]) -> Iterator[Origin]:
    """An origin that serves until the end of the block."""
    with Origin(stock) as origin:
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
        self._send(self.server.answer(self.path))

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path != WEBHOOK:
            self._send(_NOT_FOUND)
            return
        self._send(Answer(204, b"", "text/plain"))
        self.server.events.put(Event(dict(self.headers.items()), body))

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name
        """Say nothing: the progress bar has the terminal."""

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        if answer.location:
            self.send_header("Location", answer.location)
        self.send_header("Content-Type", answer.media_type)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)
