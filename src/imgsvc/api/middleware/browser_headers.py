"""Security headers that keep browsers from interpreting a response as something else, or running parts of it."""

import re
from base64 import b64encode
from hashlib import sha256

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

INLINE_SCRIPT = re.compile(rb"<script>(.*?)</script>", re.DOTALL)
COMMON_HEADERS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
NON_HTML_HEADERS = {
    **COMMON_HEADERS,
    # Nothing in the response may run; browsers need an inline style to show a bare image.
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; sandbox",
}
HTML_POLICY = (
    "default-src 'none'; script-src 'self'{scripts}; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class BrowserHeaders:
    """Adds the headers to every response; our own pages (the docs) may run their own scripts, allowed by hash."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        held: list[Message] = []  # the messages of an HTML page, until it is complete and its scripts are known

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                if headers.get("content-type", "").startswith("text/html"):
                    headers.update(COMMON_HEADERS)
                    held.append(message)
                    return
                headers.update(NON_HTML_HEADERS)
            elif held:
                held.append(message)
                if message.get("more_body"):
                    return
                await _send_page(held, send)
                return
            await send(message)

        await self.app(scope, receive, send_with_headers)


async def _send_page(messages: list[Message], send: Send) -> None:
    page = b"".join(message.get("body", b"") for message in messages)
    hashes = (b64encode(sha256(script).digest()).decode() for script in INLINE_SCRIPT.findall(page))
    scripts = "".join(f" 'sha256-{digest}'" for digest in hashes)
    MutableHeaders(scope=messages[0])["Content-Security-Policy"] = HTML_POLICY.format(scripts=scripts)
    for message in messages:
        await send(message)
