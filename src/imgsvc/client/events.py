"""A parser of server-sent events (WHATWG HTML, "Server-sent events")."""

from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Event:
    """A complete event; `id` is the last one sent, possibly with an earlier event."""

    name: str
    data: str
    id: str


@dataclass(slots=True)
class EventReader:
    """An incremental parser; the bytes may be split anywhere."""

    id: str = ""
    retry: float | None = None
    """Seconds to wait before reconnecting, if the server sent them."""
    _rest: bytes = b""
    _next_id: str = ""
    _name: str = ""
    _data: list[str] = field(default_factory=list)

    def feed(self, data: bytes) -> Iterator[Event]:
        """Yield the events that `data` completes."""
        # The server ends lines with LF. A CR before the LF is removed; a CR alone does not end a line.
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            text = line.removesuffix(b"\r").decode(errors="replace")
            if text:
                self._add_line(text)
            else:
                self.id = self._next_id or self.id  # only now: an incomplete event must not change the id
                if self._data:
                    yield Event(self._name or "message", "\n".join(self._data), self.id)
                self._name, self._data = "", []

    def _add_line(self, line: str) -> None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "event":
                self._name = value
            case "data":
                self._data.append(value)
            case "id":
                self._next_id = value
            case "retry" if value.isascii() and value.isdigit():
                self.retry = int(value) / 1000
