"""The customers' webhook endpoint: it verifies every signature and keeps all messages."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from standardwebhooks import Webhook, WebhookVerificationError

from support.origin_server import Server


@dataclass
class Event:
    """A webhook message that arrived under one id, any number of times."""

    owner: str
    batch_id: str
    event_type: str
    body: bytes
    arrived: int = 0


@dataclass
class WebhookReceiver(Server):
    """A server that accepts every message; faults happen in the proxy before it."""

    secrets: dict[str, str] = field(default_factory=dict)
    """The webhook secret of each owner; an owner's webhooks come to /owner/…."""
    events: dict[str, Event] = field(default_factory=dict)
    """Events by webhook-id."""
    violations: list[str] = field(default_factory=list)
    """Messages with a wrong signature, or with an earlier id but another body."""

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/{owner}/{any:.*}", self._receive)]

    def events_of(self, batch_id: str) -> dict[str, Event]:
        return {key: event for key, event in self.events.items() if event.batch_id == batch_id}

    async def _receive(self, request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self._take(request.match_info["owner"], headers, await request.read())
        return web.Response(text="thank you")

    def _take(self, owner: str, headers: Mapping[str, str], body: bytes) -> None:
        try:
            message: Any = Webhook(self.secrets[owner]).verify(body, dict(headers))
        except WebhookVerificationError as error:
            self.violations.append(f"{error!r}: {headers} {body!r}")
            return
        key = headers["webhook-id"]
        event = self.events.setdefault(key, Event(owner, message["data"]["id"], message["type"], body))
        event.arrived += 1
        if (event.owner, event.body) != (owner, body):
            self.violations.append(f"{key} arrived at {event.owner} as {event.body!r} and at {owner} as {body!r}")
