"""Server-sent events: bytes as they arrive → events (WHATWG HTML, "Server-sent events")."""

from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Event:
    """A whole event; `id` is the last one that was said, also by an event before."""

    name: str
    data: str
    id: str


@dataclass(slots=True)
class EventReader:
    """Feed it what arrives, in pieces of any size."""

    id: str = ""
    retry: float | None = None
    """Seconds after which the server wants to be asked again when the stream ends."""
    _rest: bytes = b""
    _next_id: str = ""
    _name: str = ""
    _data: list[str] = field(default_factory=list)

    def feed(self, data: bytes) -> Iterator[Event]:
        """The events that are complete with `data`."""
        # The server ends its lines with LF; a CR before it is taken off, and one alone ends no line of JSON.
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            text = line.removesuffix(b"\r").decode(errors="replace")
            if text:
                self._take(text)
            else:
                self.id = self._next_id or self.id  # only now: of half an event nothing has been seen
                if self._data:
                    yield Event(self._name or "message", "\n".join(self._data), self.id)
                self._name, self._data = "", []

    def _take(self, line: str) -> None:
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
