"""Authentication: by API key or, while no key exists, by the origin of the request."""

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
    """Authenticates requests. `keys` is None when authentication is off; links start with `public_url`."""

    keys: ApiKeyCache | None
    public_url: str

    async def authenticate(self, token: str | None, headers: Mapping[str, str]) -> str:
        """Return the id of the caller's API key.

        Raises:
            Unauthorized: an API key is required, and `token` is not a valid one.
            CrossOriginRefused: no key is required, and another website or a proxy sent the request.
        """
        caller = await self.keys.caller(token) if self.keys else LOCAL_KEY
        if caller == LOCAL_KEY:  # an API key needs no such check: other sites do not know it, and browsers never add it
            self._check_origin(headers)
        return caller

    def _check_origin(self, headers: Mapping[str, str]) -> None:
        """Refuse requests that a browser in our network sends on behalf of another site.

        The page's own name may resolve to this machine (DNS rebinding): then `Host` contains it. Or the page posts a
        form to us: then `Origin` contains it.
        """
        host, origin = headers.get("host", ""), headers.get("origin")
        if self.keys and (added := proxy_header(headers)):
            raise CrossOriginRefused(
                f"The request has the header `{added}`, which proxies add, but no API key exists: everyone who can "
                "reach the proxy could use imgsvc. Create a key (`imgsvc keys create NAME`), or set IMGSVC_AUTH=none."
            )
        if not self.is_own_host(host):
            raise CrossOriginRefused(
                f"imgsvc is not known as {host}. If that is its host name, set IMGSVC_PUBLIC_URL; with an API key, "
                "requests to every host name are accepted."
            )
        own_origins = f"http://{host}", f"https://{host}", self._public_origin()
        if origin is not None and origin.lower() not in map(str.lower, own_origins):
            raise CrossOriginRefused(f"Requests from pages of {origin} are refused without an API key.")

    def _public_origin(self) -> str:
        scheme, host, *_ = urlsplit(self.public_url)
        return f"{scheme}://{host}"

    def is_own_host(self, host: str) -> bool:
        """Check that no other site can have this name: an IP address, a name without a dot, or that of `public_url`."""
        try:
            name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
        except ValueError:
            return False
        public_name = urlsplit(self.public_url).hostname
        is_local = re.fullmatch(r"[a-z0-9_-]*|[a-z0-9_.-]+\.localhost", name) is not None
        return name == public_name or is_local or _is_ip_address(name)


def _is_ip_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def open_authenticator(settings: Settings, *, sessions: Sessions, clock: Clock) -> RequestAuthenticator:
    needs_key = not is_loopback(settings.host)
    keys = ApiKeyCache(sessions=sessions, clock=clock, needs_key=needs_key) if settings.auth == "keys" else None
    return RequestAuthenticator(keys, settings.public_base)
