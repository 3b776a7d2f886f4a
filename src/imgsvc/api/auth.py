"""Who may come in: whoever has an API key, or, while none has been made, whoever sits at this machine."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from imgsvc.api.proxy_headers import proxy_header
from imgsvc.db.engine import Sessions
from imgsvc.db.queries.api_keys import LOCAL_KEY
from imgsvc.errors import CrossOriginRefused
from imgsvc.process.loopback import is_loopback
from imgsvc.services.access.api_key_cache import ApiKeyCache
from imgsvc.services.clock import Clock
from imgsvc.settings.server import Settings


@dataclass(frozen=True, slots=True)
class RequestAuthenticator:
    """`keys`: None where whoever reaches the API may use it; `public_url` is the one that links start with."""

    keys: ApiKeyCache | None
    public_url: str

    async def caller(self, token: str | None, headers: Mapping[str, str]) -> str:
        """The id of the API key.

        Raises:
            Unauthorized: an API key is needed, and `token` is none.
            CrossOriginRefused: no key is needed, and a browser sends this for somebody else's page.
        """
        caller = await self.keys.caller(token) if self.keys else LOCAL_KEY
        if caller == LOCAL_KEY:  # with a key no page can: it does not know it, and browsers do not add it by themselves
            self._check_page(headers)
        return caller

    def _check_page(self, headers: Mapping[str, str]) -> None:
        """Keep out what a browser inside our network sends for a page outside of it.

        A page's own name may point to this machine (DNS rebinding): then it stands in `Host`. Or it posts a form here:
        then it stands in `Origin`.
        """
        host, origin = headers.get("host", ""), headers.get("origin")
        if self.keys and (added := proxy_header(headers)):
            raise CrossOriginRefused(
                f"The request has the header `{added}`, which proxies add, and no API key has been made: everyone who "
                "reaches the proxy could use imgsvc. Make a key (`imgsvc keys create NAME`), or set IMGSVC_AUTH=none."
            )
        if not self.is_ours(host):
            raise CrossOriginRefused(
                f"imgsvc is not known as {host}. If that is its name, set IMGSVC_PUBLIC_URL; with API keys it answers "
                "under every name."
            )
        ours = f"http://{host}", f"https://{host}", self._own()
        if origin is not None and origin.lower() not in map(str.lower, ours):
            raise CrossOriginRefused(f"A page of {origin} may not use this imgsvc without an API key.")

    def _own(self) -> str:
        scheme, host, *_ = urlsplit(self.public_url)
        return f"{scheme}://{host}"

    def is_ours(self, host: str) -> bool:
        """Whether nobody else can have this name: an address, a name without a dot, or the one in `public_url`."""
        try:
            name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
        except ValueError:
            return False
        known = urlsplit(self.public_url).hostname
        plain = re.fullmatch(r"[a-z0-9_-]*|[a-z0-9_.-]+\.localhost", name) is not None
        return name == known or plain or _is_address(name)


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def open_authenticator(settings: Settings, *, sessions: Sessions, clock: Clock) -> RequestAuthenticator:
    needs_key = not is_loopback(settings.host)
    ring = ApiKeyCache(sessions=sessions, clock=clock, needs_key=needs_key) if settings.auth == "keys" else None
    return RequestAuthenticator(ring, settings.public_base)
